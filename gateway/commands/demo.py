"""`locker-gateway demo`: a whole site on this machine, and a short day."""

import asyncio
import contextlib
import io
import sys
from functools import partial
from pathlib import Path

import click

from gateway.errors import GatewayError


@click.command()
@click.option("--once", is_flag=True, help="Play the day and end, on a terminal too.")
@click.option("--stay", is_flag=True, help="Play nothing: stand there until stopped.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object of counts last; the story on stderr."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the site's data there. Default: a temporary folder.",
)
def command(data: Path | None, *, once: bool, stay: bool, as_json: bool) -> None:
    """Start simulated boards and a gateway, and play a short day.

    Deposits, pick-ups, wrong codes, a jammed and a forced door, and a gateway killed between an
    intent and its outcome: each step through the kiosk and the boards, each count read back from
    the log. On a terminal it then stays up; Ctrl-C stops it. With --stay --json the first line
    holds the addresses. A second run with the same --data goes on with that site.
    """
    from gateway.demo.run import Demo  # noqa: PLC0415  # --help needs none of it

    program = click.get_current_context().find_root().command

    if once and stay:
        raise click.UsageError("--once and --stay: choose one.")
    lasting = stay or (not once and sys.stdin.isatty() and sys.stdout.isatty())
    demo = Demo(
        data, play=not stay, stay=lasting, as_json=as_json, invoke=partial(_invoke, program)
    )
    try:
        status = asyncio.run(demo.run())
    finally:
        demo.forget()
    sys.exit(status)


def _invoke(program: click.Command, words: list[str]) -> str:
    """Run a command line of this program in this process and return what it printed."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            program.main(words, prog_name="locker-gateway", standalone_mode=False)
    except click.ClickException as refused:
        raise GatewayError("demo.command_failed", refused.format_message()) from refused
    except SystemExit as ended:
        if ended.code:
            raise GatewayError("demo.command_failed", out.getvalue().strip()[-600:]) from ended
    return out.getvalue()
