"""`locker-gateway remote`: ask a gateway on the LAN that this computer is paired with."""

import json
from pathlib import Path
from typing import Any

import click

from gateway import pairing
from gateway.commands import _shared as shared


@click.group()
def command() -> None:
    """Ask a gateway on the LAN that this computer is paired with."""


_site = click.option("--site", required=True, metavar="NAME", help="Which gateway.")


def _gateway(site: str) -> pairing.Gateway:
    return pairing.load(pairing.folder_of(site))[1]


@command.command()
@_site
@shared.as_json
def status(site: str, *, as_json: bool) -> None:
    """Show doors and health."""
    told = _gateway(site).ask("GET", "/api/status")
    shared.tell(told, "\n".join(_lines(told)), as_json=as_json)


@command.command()
@click.argument("door", type=click.IntRange(1, 9999))
@_site
@shared.as_json
def test(door: int, site: str, *, as_json: bool) -> None:
    """Open the empty compartment DOOR once; returns when it has opened."""
    told = _gateway(site).ask("POST", f"/api/doors/{door}/test")
    shared.tell(told, f"door {door} opened", as_json=as_json)


@command.command()
@_site
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it there instead of printing it.",
)
@shared.as_json
def diagnostics(site: str, out: Path | None, *, as_json: bool) -> None:
    """Fetch one bundle (JSON) for whoever helps: no secrets, no parcels."""
    told = _gateway(site).ask("GET", "/api/diagnostics")
    if out is None:
        shared.tell(told, json.dumps(told, indent=1), as_json=as_json)
        return
    out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    shared.tell({"file": str(out)}, f"wrote {out}", as_json=as_json)


def _lines(told: dict[str, Any]) -> list[str]:
    lines = [f"{told['site']}  {'ok' if told['health'].get('ok') else 'needs a person'}"]
    lines += [f"alarm {one['alarm']}  door {one['door'] or '-'}" for one in told["alarms"]]
    for one in told["doors"]:
        door = {True: "open", False: "closed", None: "unseen"}[one["open"]]
        out = "  out of service" if one["disabled"] else ""
        lines.append(f"{one['door']:>4}  {one['size']:<2}  {one['custody']:<10}  {door}{out}")
    return lines
