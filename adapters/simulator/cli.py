"""`locker-bank`: a bank of simulated boards on real lines, until it is told to stop."""

import asyncio
import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from adapters.simulator.errors import BankRefused, WiringRefused
from adapters.simulator.models import MODELS
from adapters.simulator.page import Page
from adapters.simulator.site import Site
from adapters.simulator.wiring import Wiring, checked, parse, plain

_SWITCH_INTERVAL_S = 0.0005
_FILE_MAX = 4_000_000
_EXAMPLE = Path(__file__).parent / "static" / "example-bank.toml"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parcel-locker-gateway", prog_name="locker-bank")
def main() -> None:
    """Simulate locker boards, doors and locks on real serial and TCP lines."""


@main.command()
def example() -> None:
    """Print a bank file to start from."""
    click.echo(_EXAMPLE.read_text("utf-8"), nl=False)


@main.command()
@click.option("--profile", type=click.Choice(sorted(MODELS)), help="One make, nothing wired to it.")
@click.option(
    "--unit", "units", type=click.IntRange(0, 255), multiple=True, help="Address; may repeat."
)
@click.option(
    "--bank",
    "bank_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Bank file: lines, boards, compartments, faults.",
)
@click.option("--serial-pty", metavar="LINK", help="Serve on a pty; LINK is made to point at it.")
@click.option("--tcp", metavar="HOST:PORT", help="Serve on TCP; port 0 takes a free one.")
@click.option("--framing", type=click.Choice(["rtu", "tcp"]), help="Frames inside TCP.")
@click.option("--baud", type=click.IntRange(300, 1_000_000), help="The boards' fixed rate.")
@click.option("--page", metavar="HOST:PORT", help="Serve the page and its JSON, loopback only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when ready.")
def run(**options: Any) -> None:
    """Serve boards until SIGTERM or Ctrl-C, then remove the links.

    Give a --profile (with its --unit), or a --bank file. The options --serial-pty, --tcp, --framing
    and --baud are for the line of --profile, or for the one line of a file that does not say where
    it listens.
    """
    try:
        wiring = _wiring(options)
        # The serial thread shares the interpreter with the page: let it in within half a ms.
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        asyncio.run(_serve(wiring, options["page"], as_json=options["as_json"]))
    except BankRefused as refusal:
        raise click.ClickException(str(refusal)) from None
    except OSError as error:
        raise click.ClickException(f"bank.listen: choose another place ({error})") from None


def _wiring(options: dict[str, Any]) -> Wiring:
    if (options["profile"] is None) == (options["bank_file"] is None):
        raise click.UsageError("give --profile or --bank, one of them")
    if options["serial_pty"] is not None and options["tcp"] is not None:
        raise click.UsageError("give --serial-pty or --tcp, not both")
    if options["serial_pty"] is not None and options["framing"] == "tcp":
        raise click.UsageError("--framing tcp needs --tcp: a serial line carries RTU frames")
    if options["profile"] is not None:
        wiring = plain(options["profile"], options["units"] or (1,))
    else:
        if options["units"]:
            raise click.UsageError("--unit goes with --profile; a bank file names its units")
        wiring = parse(_read(options["bank_file"]))
    return _with_transport(wiring, options)


def _read(path: Path) -> str:
    # Not blocking: a FIFO without a writer would be waited for.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise WiringRefused("bank.file", "name a plain file", file=path.name)
        data = file.read(_FILE_MAX + 1)  # a bound of its own: some files have no size
    if len(data) > _FILE_MAX:
        raise WiringRefused("bank.size", "a bank file is smaller than this", file=path.name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WiringRefused("bank.syntax", "write it in UTF-8", reason=str(error)) from None


def _with_transport(wiring: Wiring, options: dict[str, Any]) -> Wiring:
    """Put what the command line says about the transport on the line it is meant for."""
    names = ("serial_pty", "tcp", "framing", "baud")
    given = {name: options[name] for name in names if options[name] is not None}
    if not given:
        return wiring
    silent = [
        index
        for index, line in enumerate(wiring.line)
        if line.serial_pty is None and line.tcp is None
    ]
    chosen = silent if "serial_pty" in given or "tcp" in given else list(range(len(wiring.line)))
    if len(chosen) != 1:
        raise click.UsageError("--serial-pty, --tcp, --framing, --baud need one line to mean")
    lines = list(wiring.line)
    lines[chosen[0]] = msgspec.structs.replace(lines[chosen[0]], **given)
    return checked(msgspec.structs.replace(wiring, line=tuple(lines)))


async def _serve(wiring: Wiring, page_at: str | None, *, as_json: bool) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    site = Site(wiring)
    page = None if page_at is None else Page(site, *_address(page_at))
    await site.start()
    try:
        url = None if page is None else await page.start()
        _announce(site, url, as_json=as_json)
        await told.wait()
    finally:
        if page is not None:
            await page.stop()
        await site.stop()


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:  # noqa: PLR2004  # ports
        raise BankRefused("bank.address", "write HOST:PORT", given=text)
    return host.strip("[]"), int(port)


def _announce(site: Site, url: str | None, *, as_json: bool) -> None:
    where = site.where()
    if as_json:
        click.echo(json.dumps({"ready": True, "lines": where, "page": url}))
    else:
        for name, place in where.items():
            boards = ", ".join(
                f"{station.board.model} unit {station.board.unit}"
                for station in site.bank.lines[name]
            )
            click.echo(f"line {name}: {place}  ({boards})")
        if url is not None:
            click.echo(f"page: {url}")
        click.echo("ready; stop with Ctrl-C")
    sys.stdout.flush()
