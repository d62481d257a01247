"""What the signed log says happened: read back while the site runs, and counted at the end."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.demo.process import DemoFailed
from sync import entry
from sync.entry import Lane
from sync.reader import LogFile

_LOOK_S: Final = 0.04
_WITHIN_S: Final = 30.0
PULSE_MS_MAX: Final = 1_000
_MAY_HAVE_OPENED: Final = frozenset({"opened", "late", "doubt"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry as it stands in the log. `body` holds its keys."""

    ref: str
    lane: Lane
    index: int
    at: tuple[int, int]
    kind: str
    body: Mapping[str, Any]

    @property
    def boot(self) -> int:
        """The start of the gateway in which it was written."""
        return self.at[0]

    @property
    def door(self) -> int | None:
        """The compartment it is about."""
        number: int | None = self.body.get("door")
        return number


class Record:
    """The log of a data folder from now on; what was there before is not counted."""

    def __init__(self, database: Path) -> None:
        self.entries: list[Seen] = []
        self.untold = 0
        self._database = database
        self._sizes: dict[str, int] = {}
        self.read()
        self.entries.clear()

    def read(self) -> None:
        """Take what became durable since the last look."""
        with LogFile.open(self._database) as log:
            for head in log.heads():
                start = self._sizes.get(head.origin, 0)
                self._sizes[head.origin] = head.size
                for row in log.records(head, start):
                    parsed = entry.parse(row.entry)
                    self.entries.append(
                        Seen(
                            f"{head.log}{row.index}",
                            head.log.lane,
                            row.index,
                            (parsed.at.boot, parsed.at.mono_ms),
                            parsed.kind,
                            parsed.body,
                        )
                    )

    @property
    def total(self) -> int:
        """Entries in the log, those from before included."""
        return sum(self._sizes.values())

    def mark(self) -> int:
        """Return where the next entry will stand in `entries`."""
        self.read()
        return len(self.entries)

    async def until(self, kind: str, start: int, **keys: object) -> Seen:
        """Return the first entry of this kind with these keys, from `start` on, once durable."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                while True:
                    self.read()
                    for seen in self.entries[start:]:
                        if seen.kind == kind and keys.items() <= seen.body.items():
                            return seen
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise DemoFailed(
                "demo.not_on_record", "Read the gateway's log", kind=kind, **keys
            ) from None

    def outcome(self, intent: str) -> Seen | None:
        """Return the outcome of an intent, None while it has none."""
        self.read()
        ended = (seen for seen in self.entries if seen.kind == "open.ended")
        return next((seen for seen in ended if seen.body.get("of") == intent), None)

    def news(self) -> list[Seen]:
        """Return what is on record and has not been told yet, as it happened."""
        told, self.untold = self.untold, len(self.entries)
        return sorted(self.entries[told:], key=lambda seen: seen.at)


@dataclass(frozen=True, slots=True)
class Counts:
    """The day in numbers, out of the log."""

    deposits: int
    pickups: int
    refused: int
    faults: int
    crashes: int
    entries: int


def counts(entries: list[Seen], total: int) -> Counts:
    """Count a day. `faults`: alarms about a door. `crashes`: restarts that found an open intent."""
    kinds = Counter(seen.kind for seen in entries)
    intents = {seen.ref: seen for seen in entries if seen.kind == "open.intended"}
    ended = [seen for seen in entries if seen.kind == "open.ended"]
    later = {
        seen.boot
        for seen in ended
        if (intent := intents.get(seen.body.get("of", ""))) and seen.boot > intent.boot
    }
    return Counts(
        deposits=kinds["parcel.deposited"],
        pickups=kinds["parcel.collected"],
        refused=sum(seen.body.get("count", 1) for seen in entries if seen.kind == "code.refused"),
        faults=sum(seen.kind == "alarm.raised" and seen.door is not None for seen in entries),
        crashes=len(later),
        entries=total,
    )


def opened_by_pulse(doors: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Return how often each door really sprang open at a pulse, from the bank's state.

    A door slammed while its coil is still on springs back: that is the same opening. Two pulses of
    one coil are further apart than any pulse is long.
    """
    return {door["number"]: _apart(door["openings"]) for door in doors}


def _apart(openings: Iterable[Mapping[str, Any]]) -> int:
    count, last = 0, -PULSE_MS_MAX
    for opening in openings:
        if opening["cause"] == "pulse":
            count += opening["at_ms"] - last >= PULSE_MS_MAX
            last = opening["at_ms"]
    return count


def unlogged(entries: list[Seen], doors: Iterable[Mapping[str, Any]]) -> int:
    """Return how many openings by pulse no intent on record accounts for."""
    known = Counter(
        seen.door
        for seen in entries
        if seen.kind == "open.ended" and seen.body["outcome"] in _MAY_HAVE_OPENED
    )
    return _excess(opened_by_pulse(doors), known.get)


def unintended(entries: list[Seen], doors: Iterable[Mapping[str, Any]]) -> int:
    """Return how many pulses the locks got beyond the intents on record."""
    known = Counter(seen.door for seen in entries if seen.kind == "open.intended")
    return _excess({door["number"]: door["pulses"] for door in doors}, known.get)


def _excess(real: Mapping[int, int], known: Callable[[int, int], int]) -> int:
    return sum(max(0, count - known(door, 0)) for door, count in real.items())
