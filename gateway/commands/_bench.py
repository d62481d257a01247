"""The bench from a command line: over the control socket of this machine, or over the LAN.

The same acts and the same view as the installer's page (`GET` and `POST /api/commission`). Progress
goes to stderr and only to a terminal; what a program reads is one JSON object on stdout.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import click
import msgspec
from click.decorators import FC

from gateway import control, local, pairing
from gateway.errors import GatewayError

WAIT_S: Final = 20
View = dict[str, Any]


class Bench(Protocol):
    """Somebody's way to a bench."""

    def view(self, after: int | None = None) -> View:
        """Return how it stands, or wait until it is no longer at tick `after`."""
        ...

    def act(self, do: str, **more: object) -> View:
        """Do one act. Raises GatewayError with the bench's code."""
        ...

    def report(self) -> View:
        """Return the last signed report."""
        ...


class Here:
    """The gateway of this machine, by its data folder."""

    def __init__(self, data: Path, by: str) -> None:
        self._socket, self._by = data / control.SOCKET, by

    def view(self, after: int | None = None) -> View:
        """See `Bench.view`."""
        wait_s = 0 if after is None else WAIT_S
        return asyncio.run(
            control.commission(self._socket, by=self._by, after=after, wait_s=wait_s)
        )

    def act(self, do: str, **more: object) -> View:
        """See `Bench.act`."""
        body = msgspec.json.encode({"do": do, **more})
        return asyncio.run(control.commission(self._socket, by=self._by, body=body))

    def report(self) -> View:
        """See `Bench.report`."""
        return asyncio.run(control.report(self._socket))


class There:
    """A gateway on the LAN that this computer is paired with."""

    def __init__(self, site: str) -> None:
        self._gateway = pairing.load(pairing.folder_of(site))[1]

    def view(self, after: int | None = None) -> View:
        """See `Bench.view`."""
        query = "" if after is None else f"?after={after}&wait={WAIT_S}"
        return self._gateway.ask("GET", f"/api/commission{query}")

    def act(self, do: str, **more: object) -> View:
        """See `Bench.act`."""
        return self._gateway.ask("POST", "/api/commission", {"do": do, **more})

    def report(self) -> View:
        """See `Bench.report`."""
        return self._gateway.ask("GET", "/api/report")


def reached(function: FC) -> FC:
    """Add the options that say which gateway: `--data DIR` or `--site NAME`."""
    for option in (
        click.option("--site", metavar="NAME", help="A gateway on the LAN, as it was paired."),
        click.option(
            "--data",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            metavar="DIR",
            help="The gateway of this machine, by its data folder.",
        ),
    ):
        function = option(function)
    return function


def reach(data: Path | None, site: str | None) -> Bench:
    """Return the bench that the options name."""
    if (data is None) == (site is None):
        raise click.UsageError("Give either --data DIR or --site NAME.")
    return There(site) if data is None and site is not None else Here(_folder(data), local.whoami())


def _folder(data: Path | None) -> Path:
    assert data is not None  # one of the two was given
    return data


def follow(bench: Bench, view: View, *, until: Callable[[View], object], quiet: bool) -> View:
    """Follow the view until something holds, and say on a terminal how far it has come."""
    shown = ""
    while not until(view):
        text = "" if quiet else progress(view)
        if text != shown and sys.stderr.isatty():
            click.echo(f"\r{text:<70}", err=True, nl=False)
            shown = text
        view = bench.view(view["tick"])
    if shown:
        click.echo(f"\r{'':<70}\r", err=True, nl=False)
    return view


def done(bench: Bench, view: View, *, quiet: bool) -> View:
    """Return the view when the job that began is over. GatewayError where it was refused."""
    view = follow(bench, view, until=lambda seen: seen["job"] is None, quiet=quiet)
    last = view["last"]
    if last and last["code"]:
        raise GatewayError(last["code"], last.get("remedy", ""), **last["evidence"])
    return view


def progress(view: View) -> str:
    """Return one line of what is going on."""
    job = view["job"]
    if job is None:
        return ""
    share = f" {job['done']} of {job['total']}" if job["total"] else ""
    return f"{job['name']} {job['about']}{share}".rstrip()


def findings(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Return the lines of findings: code, what about, evidence."""
    return [
        f"  ! {one['code']}  {one['about']}  "
        + " ".join(f"{key}={value}" for key, value in one["evidence"].items())
        for one in rows
    ]
