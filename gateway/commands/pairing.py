"""`locker-gateway pairing`: let installers on the LAN pair, by whoever stands at this machine."""

import asyncio
import io
from pathlib import Path
from typing import Any

import click
import segno

from certs import lan
from gateway import control, local, sticker
from gateway.commands import _shared as shared
from gateway.control import SOCKET


@click.group()
def command() -> None:
    """Let installers pair, see who is paired, end it."""


_by = click.option("--by", default=local.whoami, metavar="WHO", help="Who answers for this.")


def _ask(data: Path, do: str, by: str, name: str = "") -> dict[str, Any]:
    local.quiet()
    return asyncio.run(control.pairing(data / SOCKET, do=do, by=by, name=name))


@command.command("open")
@shared.data()
@click.option("--name", default="", metavar="NAME", help="Whom it is for; a new name otherwise.")
@_by
@shared.as_json
def open_(data: Path, name: str, by: str, *, as_json: bool) -> None:
    """Open pairing for ten minutes, and show the QR, the code and the words."""
    told = _ask(data, "open", by, name)
    shared.tell(told, _shown(told), as_json=as_json)


@command.command()
@shared.data()
@_by
@shared.as_json
def show(data: Path, by: str, *, as_json: bool) -> None:
    """Show the open window's QR, code and words again."""
    told = _ask(data, "show", by)
    shared.tell(told, _shown(told), as_json=as_json)


@command.command()
@shared.data()
@_by
@shared.as_json
def close(data: Path, by: str, *, as_json: bool) -> None:
    """Close pairing now."""
    told = _ask(data, "close", by)
    shared.tell(told, "closed" if told["closed"] else "it was not open", as_json=as_json)


@command.command("list")
@shared.data()
@_by
@shared.as_json
def list_(data: Path, by: str, *, as_json: bool) -> None:
    """List who is paired: certificates, and browsers that are signed in."""
    told = _ask(data, "list", by)
    rows = [
        f"{one['name']:<32}  {'certificate' if 'pin' in one else '-':<11}  "
        f"browsers {one['browsers']}"
        for one in told["installers"]
    ]
    shared.tell(told, "\n".join(rows) or "nobody is paired", as_json=as_json)


@command.command()
@click.argument("name")
@shared.data()
@_by
@shared.as_json
def end(name: str, data: Path, by: str, *, as_json: bool) -> None:
    """End the pairing of NAME: its certificate and its browsers, at once."""
    told = _ask(data, "end", by, name)
    shared.tell(told, f"{told['ended']} is not paired any more", as_json=as_json)


@command.command("sticker")
@shared.data()
@click.option("--address", default="", metavar="HOST:PORT", help="Where it is, if not as it says.")
@click.option(
    "--out",
    default=None,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw it into FILE.svg (with words) or FILE.png (the QR alone).",
)
@_by
@shared.as_json
def sticker_(data: Path, address: str, out: Path | None, by: str, *, as_json: bool) -> None:
    """Show what to print and stick on the gateway: its address, and the pin of its key.

    No secret is on it. A telephone opens the page, `pair` reads it; both then ask for the code that
    `pairing open` shows. Give an address that stays.
    """
    told = _ask(data, "where", by)
    made = lan.Sticker(lan.check_address(address or told["address"]), told["pin"])
    told |= {"address": made.address, "qr": made.text()}
    if out is not None:
        sticker.write(out, made, told["site"])
        shared.tell(told, f"written: {out}", as_json=as_json)
        return
    text = [sticker.terminal(made), told["qr"], f"site   {told['site']}"]
    text += [f"words  {' '.join(told['words'])}"]
    shared.tell(told, "\n".join(text), as_json=as_json)


def _shown(told: dict[str, Any]) -> str:
    """Return what somebody at this machine shows to an installer."""
    lines = []
    if told["qr"]:
        symbol = io.StringIO()
        segno.make(told["qr"], error="m").terminal(symbol, compact=True)
        lines += [symbol.getvalue(), told["qr"], ""]
        lines += ["on a laptop    locker-gateway pair - , and paste the line above"]
    lines += [f"in a browser   https://{told['address']}/"]
    lines += [f"code           {told['typed'] or 'used'}"]
    lines += [f"words          {' '.join(told['words'])}"]
    lines += [f"pin            {told['pin']}"]
    lines += [f"for {told['name']}, {told['ends_in_s']} seconds more"]
    return "\n".join(lines)
