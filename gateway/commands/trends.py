"""`locker-gateway trends`: what the log says of wear, read beside a running gateway or without."""

from pathlib import Path
from typing import Any

import click

from gateway import identity, local, site, wear
from gateway.commands import _shared as shared
from gateway.errors import GatewayError
from gateway.upkeep import LogReading
from sync.moment import utc_text


@click.command()
@shared.data()
@click.option("--door", type=click.IntRange(1, 9999), metavar="N", help="Only this door.")
@shared.as_json
def command(data: Path, door: int | None, *, as_json: bool) -> None:
    """Show what wears out, as the log tells.

    Times to open, retries, pulses of each relay, errors of each line; warnings come first. Reads
    the log, beside a running gateway too, and changes nothing.
    """
    local.quiet()
    identity.load_names(data)
    map_of_site = site.read_book(data).map
    if door is not None and door not in map_of_site.doors:
        raise GatewayError("door.unknown", local.REMEDIES["door.unknown"], door=door)
    reading = LogReading(data)
    reading.read_on(map_of_site)
    told = wear.report(reading.trends, map_of_site, rows_max=len(map_of_site.doors), only=door)
    shared.tell(told, "\n".join(lines(told)), as_json=as_json)


def lines(told: dict[str, Any]) -> list[str]:
    """Return a report as lines for a person: here, and what a gateway on the LAN answered."""
    since = told["since"]
    when = "" if since["utc_ms"] is None else f", {utc_text(since['utc_ms'])}"
    began = f"since {since['ref']}{when}" if since["ref"] else "no door was opened yet"
    out = [began if since["whole"] else f"{began} (older entries are pruned)"]
    for one in told["warnings"]:
        seen = ", ".join(f"{key}={value}" for key, value in one["evidence"].items())
        out.append(f"WARNING {one['code']}  {one['about']}  {seen}")
    out += [
        f"line {one['line']}  {one['answered']} answered  {one['timeouts']} timeouts  "
        f"{one['nonsense']} nonsense  {one['link_losses']} link losses"
        for one in told["lines"]
    ]
    out += [
        f"board {one['board']}  {one['cycles']} pulses  {one['opened']} openings  "
        f"{one['retries']} retries  {one['failed']} failed"
        for one in told["boards"]
    ]
    out += [_door(one) for one in told["doors"]]
    if told["left_out"] and len(told["doors"]) > 1:
        out.append(f"{told['left_out']} doors more: ask for one by its number")
    return out


def _door(row: dict[str, Any]) -> str:
    failed = sum(row["failed"].values()) + row["doubts"]
    counts = (
        f"{row['cycles']:>6} pulses  {row['opened']:>6} openings  {row['retries']:>4} retries  "
        f"{failed:>4} failed"
    )
    return f"{row['door']:>4}  {row['lock']:<12} {counts}  {_times(row)}  {row['trend']}"


def _times(row: dict[str, Any]) -> str:
    first, last = row["first"], row["last"]
    if last is None:
        return "-"
    return f"{first['median_ms']} -> {last['median_ms']} ms (9 of 10: {last['p90_ms']} ms)"
