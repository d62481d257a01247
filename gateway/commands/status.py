"""`locker-gateway status`: what a running site says of itself."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway import local
from gateway.commands import _shared as shared


@click.command()
@shared.data()
@shared.as_json
def command(data: Path, *, as_json: bool) -> None:
    """Show doors, custody and health of the running site."""
    told = local.status(data)
    shared.tell(told, "\n".join(_lines(told)), as_json=as_json)


def _certificate(known: dict[str, Any]) -> list[str]:
    if not known:
        return []
    if known["ends_s"] is None:
        return ["no certificate fits a key here: enrol again, with a new claim"]
    ends, renews = (_day(known[key]) for key in ("ends_s", "renews_s"))
    failed = f"  {known['failed']} renewals failed: {known['words']}" if known["reason"] else ""
    return [f"certificate until {ends}, renewed from {renews}{failed}"]


def _day(posix_s: int) -> str:
    return datetime.fromtimestamp(posix_s, UTC).date().isoformat()


def _lines(told: dict[str, Any]) -> list[str]:
    health = told["health"]
    lines = [
        f"{told['site']}  {told['epoch']}  {'ok' if health.get('ok') else 'needs a person'}",
        f"kiosk {told['kiosk']}  clock {health.get('clock', '-')}",
    ]
    if told.get("hub"):
        hub = told["hub"]
        why = ": ".join(filter(None, (hub["reason"], hub["words"])))
        lines.append(f"hub {hub['url']}  {'linked' if hub['up'] else 'no link: ' + why}")
        lines += _certificate(told["certificate"])
    if told.get("installer"):
        url, announced = told["installer"]["url"], told["installer"]["announced"]
        how = f"announced as {announced}" if announced else "not announced"
        lines.append(f"installers {url}  {how}")
    if told.get("plain"):
        lines.append("DEVELOPMENT: plain links, nobody is authenticated")
    lines += [f"alarm {one['alarm']}  door {one['door'] or '-'}" for one in told.get("alarms", ())]
    lines += [f"board {name} is silent" for name in health.get("boards_lost", ())]
    for one in told.get("doors", ()):
        door = {True: "open", False: "closed", None: "unseen"}[one["open"]]
        inside = {True: "occupied", False: "empty", None: "-"}[one["occupied"]]
        out = f"  out of service: {one['disabled']}" if one["disabled"] else ""
        lines.append(
            f"{one['door']:>4}  {one['size']:<2}  {one['custody']:<10}  {door:<6}  {inside}{out}"
        )
    return lines
