"""`locker-gateway remote`: ask a gateway on the LAN that this computer is paired with."""

import json
from pathlib import Path
from typing import Any

import click

from gateway import pairing
from gateway.commands import _shared as shared
from gateway.commands.trends import lines as worn


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
@click.argument("door", type=click.IntRange(1, 9999))
@_site
@click.option("--out", "reason", metavar="REASON", help="Out of service, for this; no names.")
@click.option("--back", is_flag=True, help="Back into service.")
@shared.as_json
def service(door: int, site: str, reason: str | None, *, back: bool, as_json: bool) -> None:
    """Take the compartment DOOR out of service, or back.

    A parcel inside stays collectable. What support, the hub or a technician took out stays out.
    """
    if back is (reason is not None):
        raise click.UsageError("Give either --out REASON or --back.")
    asked = {"enabled": back, "reason": reason or ""}
    told = _gateway(site).ask("POST", f"/api/doors/{door}/service", asked)
    text = f"door {door} {'in' if back else 'out of'} service, {told['entry'] or 'as it was'}"
    shared.tell(told, text, as_json=as_json)


@command.command()
@_site
@click.option("--door", type=click.IntRange(1, 9999), metavar="N", help="Only this door.")
@shared.as_json
def trends(site: str, door: int | None, *, as_json: bool) -> None:
    """Show what wears out, as its log tells."""
    told = _gateway(site).ask("GET", "/api/trends" + ("" if door is None else f"?door={door}"))
    shared.tell(told, "\n".join(worn(told)), as_json=as_json)


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
