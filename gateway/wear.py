"""What the figures of the log mean: one report of doors, locks, boards and lines. Pure.

`lock.slowing`  the last 20 openings of a lock took half again as long as its first 20, and 250 ms
                longer (medians): told from 40 openings on
`lock.retries`  5 of the last 20 requests needed a second pulse
`lock.worn`     80,000 pulses: relays and latches are made for about 100,000
`bus.errors`    1 in 100 questions of the last day was not answered well, of 200 at least

Time to open counts from the intent to the switch, where the first pulse opened. A door that is
being opened is looked at every 120 ms: what is less than two looks apart says nothing.
"""

import statistics
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from gateway.trends import COUNTERS, WINDOW, DoorTrend, LineTrend, Trends, asked_of
from sync.sitemap import SiteMap

SLOWER_PERCENT: Final = 150
SLOWER_MS: Final = 250
RETRIED: Final = 5
WORN_CYCLES: Final = 80_000
ERRORS_PERMILLE: Final = 10
ASKED_MIN: Final = 200
ROWS_MAX: Final = 1000
"""Doors in one report: 350 kB. The largest bank has three times as many; ask for one by number."""
_LIMITS: Final = {
    "window": WINDOW, "slower_percent": SLOWER_PERCENT, "slower_ms": SLOWER_MS, "retried": RETRIED,
    "worn_cycles": WORN_CYCLES, "errors_permille": ERRORS_PERMILLE, "asked_min": ASKED_MIN,
}  # fmt: skip


def report(
    trends: Trends, site: SiteMap, *, rows_max: int = ROWS_MAX, only: int | None = None
) -> dict[str, Any]:
    """Return everything in JSON's types: at most `rows_max` doors, those with warnings first.

    `only`: of the doors that one alone. `left_out` says how many doors are not in it.
    """
    numbers = sorted(site.doors if only is None else {only} & site.doors.keys())
    rows = [_door_row(number, trends, site) for number in numbers]
    lines = [_line_row(name, trends.lines[name]) for name in sorted(trends.lines)]
    first = sorted(rows, key=lambda row: (not row["warnings"], -row["cycles"], row["door"]))
    shown = sorted(first[:rows_max], key=lambda row: int(row["door"]))
    mapped = {item.lock for item in site.doors.values()}
    others = sorted(lock for lock in trends.cycles if lock and lock not in mapped)
    return {
        "since": _since(trends),
        "entries": trends.entries,
        "warnings": list(_warnings(rows, lines))[:rows_max],
        "doors": [{key: row[key] for key in row if key != "evidence"} for row in shown],
        "left_out": len(site.doors) - len(shown),
        "other_locks": {lock: trends.cycles[lock] for lock in others[:rows_max]},
        "boards": list(_boards(trends, site).values()),
        "lines": lines,
        "alarms": dict(sorted(trends.alarms.items())),
        "commissioned": _commissioned(trends),
        "limits": _LIMITS,
    }


def _since(trends: Trends) -> dict[str, Any]:
    since, upto = trends.since, trends.upto
    return {
        "ref": "" if since is None else since.ref,
        "utc_ms": trends.since_utc_ms,
        "upto": "" if upto is None else upto.ref,
        "whole": trends.whole,
    }


def _commissioned(trends: Trends) -> dict[str, Any] | None:
    if trends.commissioned is None:
        return None
    place, entry, utc_ms = trends.commissioned
    body = msgspec.structs.asdict(entry)
    del body["at"]
    return {"ref": place.ref, "utc_ms": utc_ms} | body


def _warnings(
    rows: Iterable[dict[str, Any]], lines: Iterable[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for row in rows:
        for code, evidence in row["evidence"].items():
            yield {"code": code, "about": f"door {row['door']}", "evidence": evidence}
    for row in lines:
        for code in row["warnings"]:
            yield {"code": code, "about": f"line {row['line']}", "evidence": row["recent"]}


def _door_row(number: int, trends: Trends, site: SiteMap) -> dict[str, Any]:
    door = trends.doors.get(number) or DoorTrend(site.doors[number].lock)
    cycles = trends.cycles[door.lock]
    evidence = dict(_judged(door, cycles))
    trend = "unknown"
    if door.timed >= 2 * WINDOW:
        trend = "rising" if "lock.slowing" in evidence else "steady"
    return {
        "door": number,
        "lock": door.lock,
        "cycles": cycles,
        "asked": door.asked,
        "opened": door.opened,
        "pulses": door.pulses,
        "retries": door.retries,
        "doubts": door.doubts,
        "failed": dict(sorted(door.failed.items())),
        "first": _times(door.first),
        "last": _times(door.last),
        "trend": trend,
        "warnings": sorted(evidence),
        "evidence": evidence,
    }


def _judged(door: DoorTrend, cycles: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield what is to be looked after, with its evidence."""
    if door.timed >= 2 * WINDOW:
        first, last = statistics.median_low(door.first), statistics.median_low(door.last)
        if last * 100 >= first * SLOWER_PERCENT and last - first >= SLOWER_MS:
            yield "lock.slowing", {"first_ms": first, "last_ms": last}
    if sum(door.again) >= RETRIED:
        yield "lock.retries", {"retried": sum(door.again), "of": len(door.again)}
    if cycles >= WORN_CYCLES:
        yield "lock.worn", {"cycles": cycles, "limit": WORN_CYCLES}


def _times(values: Iterable[int]) -> dict[str, int] | None:
    """Return how many, median and 90th percentile (nearest rank) in ms; None of nothing."""
    ranked = sorted(values)
    if not ranked:
        return None
    return {
        "n": len(ranked),
        "median_ms": statistics.median_low(ranked),
        "p90_ms": ranked[(len(ranked) * 9 + 9) // 10 - 1],
    }


def _boards(trends: Trends, site: SiteMap) -> dict[str, dict[str, Any]]:
    """Return what the locks of each board did, by name."""
    rows: dict[str, dict[str, Any]] = {
        name: {
            "board": name, "line": board.line, "doors": 0, "cycles": 0, "opened": 0, "retries": 0,
            "failed": 0,
        }
        for name, board in sorted(site.boards.items())
    }  # fmt: skip
    for lock, cycles in trends.cycles.items():
        name = lock.partition(":")[0]
        if name in rows:
            rows[name]["cycles"] += cycles
    for number, item in site.doors.items():
        name, door = item.lock.partition(":")[0], trends.doors.get(number)
        if name in rows and door is not None:
            rows[name]["doors"] += 1
            rows[name]["opened"] += door.opened
            rows[name]["retries"] += door.retries
            rows[name]["failed"] += sum(door.failed.values()) + door.doubts
    return rows


def _line_row(name: str, line: LineTrend) -> dict[str, Any]:
    recent = line.recent()
    asked, errors = asked_of(recent)
    bad = asked >= ASKED_MIN and errors * 1000 >= asked * ERRORS_PERMILLE
    return {
        "line": name,
        **{counter: line.total[counter] for counter in COUNTERS},
        "recent": recent | {"asked": asked, "errors": errors},
        "each_minutes": line.each * 10,
        "asked_over_time": [asked for asked, _ in line.series],
        "errors_over_time": [errors for _, errors in line.series],
        "warnings": ["bus.errors"] if bad else [],
    }
