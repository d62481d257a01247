"""What the log says of wear: of each door, each lock's coil and each line, entry by entry. Pure.

`Trends.take` reads stored entries in the order of each log, the logs in any order. It keeps a
bounded number of figures and no entry, so that a year's log fits and a later call goes on where
this one stopped. What was pruned is not counted: `since` says where counting begins. What the
figures mean is in `gateway.wear`.
"""

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, assert_never

import msgspec

from sync.moment import Moment
from sync.sitemap import SiteMap

WINDOW: Final = 20
"""How many openings are compared: the first and the last of a lock."""
DAY_SAMPLES: Final = 144
"""Health is sampled every ten minutes."""
COUNTERS: Final = ("answered", "timeouts", "nonsense", "link_losses")
"""What `gateway.health` samples of each line, as `line_<name>_<counter>`."""
LINES_MAX: Final = 64
SERIES_MAX: Final = 64
WHYS_MAX: Final = 12
"""More reasons than a site has; another one is counted as `other`."""
LOCKS_MAX: Final = 8192
TRIES_MAX: Final = 64
INTENTS_MAX: Final = 4
"""A late opening belongs to one of the last pulses of its door."""
SENT: Final = frozenset({"door.no_opening", "lock.no_effect"})
"""Reasons of a failure that say that the coil has moved."""

_wanted = re.compile(
    rb'"kind":"(?:open\.intended|open\.ended|lock\.intended|lock\.ended|health\.sampled'
    rb'|alarm\.raised|config\.set|site\.commissioned|time\.anchored)"'
).search
_counter = re.compile(rf"line_([a-z0-9][a-z0-9_-]{{0,31}})_({'|'.join(COUNTERS)})").fullmatch


# --- the entries, as far as they are read here ----------------------------------------------------


class _Entry(msgspec.Struct, frozen=True, tag_field="kind", gc=False):
    at: tuple[int, int]


class _Intended(_Entry, frozen=True, tag="open.intended", gc=False):
    door: int
    attempt: int


class _Ended(_Entry, frozen=True, tag="open.ended", gc=False):
    door: int
    of: str
    outcome: str
    why: str = ""
    took_ms: int | None = None


class _Tried(_Entry, frozen=True, tag="lock.intended", gc=False):
    lock: str


class _Told(_Entry, frozen=True, tag="lock.ended", gc=False):
    of: str
    outcome: str
    why: str = ""


class _Sampled(_Entry, frozen=True, tag="health.sampled", gc=False):
    values: dict[str, int]


class _Raised(_Entry, frozen=True, tag="alarm.raised", gc=False):
    alarm: str


class _Config(_Entry, frozen=True, tag="config.set", gc=False):
    item: str
    value: dict[str, str | int | bool]


class Commissioned(_Entry, frozen=True, tag="site.commissioned", gc=False):
    """The latest sign-off, as its entry says it."""

    by: str
    doors: int | None = None
    boards: int | None = None
    passed: int | None = None
    failed: int | None = None
    report: str = ""
    audit: bool = False


class _Anchored(_Entry, frozen=True, tag="time.anchored", gc=False):
    utc_ms: int


_Any = _Intended | _Ended | _Tried | _Told | _Sampled | _Raised | _Config | Commissioned | _Anchored
_decode = msgspec.json.Decoder(_Any).decode


class Place(NamedTuple):
    """An entry: its reference and its moment."""

    ref: str
    at: Moment


# --- figures --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Intent:
    """A pulse that may follow; `sent` once its coil is counted."""

    attempt: int
    sent: bool = False


@dataclass(slots=True)
class DoorTrend:
    """The openings of one door. `timed`, `first`, `last` and `again` are of its present lock."""

    lock: str
    asked: int = 0
    opened: int = 0
    pulses: int = 0
    doubts: int = 0
    retries: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    timed: int = 0
    first: list[int] = field(default_factory=list)
    last: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))
    again: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _intents: dict[str, _Intent] = field(default_factory=dict)

    def begin_lock(self, lock: str) -> None:
        """Another coil has this door: times and retries of the one before say nothing of it."""
        if lock != self.lock:
            self.lock, self.timed = lock, 0
            self.first.clear()
            self.last.clear()
            self.again.clear()

    def intended(self, ref: str, attempt: int) -> None:
        """Take a pulse in that is about to be sent."""
        if attempt == 1:
            self.asked += 1
            self.again.append(False)
        else:
            self.retries += 1
            if self.again:
                self.again[-1] = True
        self._intents[ref] = _Intent(attempt)
        if len(self._intents) > INTENTS_MAX:
            del self._intents[next(iter(self._intents))]

    def ended(self, of: str, outcome: str, why: str, took_ms: int | None) -> bool:
        """Take an outcome in; say whether it tells of a pulse that was not counted yet."""
        if outcome in {"opened", "late"}:
            self.opened += 1
        elif outcome == "doubt":
            self.doubts += 1
        else:
            count(self.failed, why)
        intent = self._intents.get(of) or _Intent(0)
        if intent.attempt == 1 and outcome == "opened" and not why and took_ms is not None:
            self.timed += 1
            self.last.append(took_ms)
            if len(self.first) < WINDOW:
                self.first.append(took_ms)
        fresh = (outcome != "failed" or why in SENT) and not intent.sent
        intent.sent |= fresh
        self.pulses += fresh
        return fresh


@dataclass(slots=True)
class LineTrend:
    """The counters of one line, added up over the lives of the gateway.

    `series` is (asked, not answered well) by turns of `each` samples.
    """

    total: Counter[str] = field(default_factory=Counter)
    day: deque[dict[str, int]] = field(default_factory=lambda: deque(maxlen=DAY_SAMPLES))
    series: list[tuple[int, int]] = field(default_factory=list)
    each: int = 1
    _before: Mapping[str, int] = field(default_factory=dict)
    _samples: int = 0

    def sample(self, now: Mapping[str, int]) -> None:
        """Take a sample in: what came since the last one, or since this life began."""
        anew = any(now.get(name, 0) < self._before.get(name, 0) for name in COUNTERS)
        before = {} if anew else self._before
        came = {name: now.get(name, 0) - before.get(name, 0) for name in COUNTERS}
        self._before = now
        self.total.update(came)
        self.day.append(came)
        asked, errors = asked_of(came)
        if self._samples % self.each:
            known = self.series[-1]
            self.series[-1] = known[0] + asked, known[1] + errors
        else:
            if len(self.series) == SERIES_MAX:
                self._coarsen()
            self.series.append((asked, errors))
        self._samples += 1

    def _coarsen(self) -> None:
        """Keep half as many figures, each of twice as many samples."""
        pairs = zip(self.series[::2], self.series[1::2], strict=True)
        self.series = [(one[0] + two[0], one[1] + two[1]) for one, two in pairs]
        self.each *= 2

    def recent(self) -> dict[str, int]:
        """Return the counts of the last day."""
        return {name: sum(came[name] for came in self.day) for name in COUNTERS}


class Trends:
    """The figures of one site's own logs."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        """What was read of each log: {"<epoch>:s<lane>": index of the next entry}."""
        self.entries = 0
        self.whole = True
        """False where entries before the first one of a log were pruned."""
        self.doors: dict[int, DoorTrend] = {}
        self.cycles: Counter[str] = Counter()
        """Pulses by lock (`<board>:<channel>`), those of the installer's bench included."""
        self.lines: dict[str, LineTrend] = {}
        self.alarms: Counter[str] = Counter()
        self.since: Place | None = None
        self.upto: Place | None = None
        self.since_utc_ms: int | None = None
        self.commissioned: tuple[Place, Commissioned, int | None] | None = None
        """The latest sign-off, and when it was (UTC) where an anchor of its boot came before."""
        self._tries: dict[str, str] = {}
        self._anchor: tuple[Moment, int] | None = None

    def take(self, log: str, index: int, data: bytes, site: SiteMap) -> None:
        """Take the next entry of a log in. `site` knows the locks that no entry named."""
        self.whole &= index == self.sizes.get(log, 0)
        self.sizes[log] = index + 1
        self.entries += 1
        if _wanted(data) is None:
            return
        try:
            entry = _decode(data)
        except msgspec.MsgspecError:
            return  # of another version: it is for `log verify` to judge
        place = Place(f"{log}{index}", Moment(*entry.at))
        match entry:
            case _Intended() | _Ended() | _Tried() | _Told():
                self._moved(place, entry, site)
            case _:
                self._note(place, entry, site)

    def _moved(
        self, place: Place, entry: _Intended | _Ended | _Tried | _Told, site: SiteMap
    ) -> None:
        """Take in what was asked of a lock, or what became of it."""
        if self.since is None:
            self.since, self.since_utc_ms = place, self._utc(place.at)
        self.upto = place
        match entry:
            case _Intended():
                self._door(entry.door, site).intended(place.ref, entry.attempt)
            case _Ended():
                door = self._door(entry.door, site)
                if door.ended(entry.of, entry.outcome, entry.why, entry.took_ms):
                    self._pulsed(door.lock)
            case _Tried():
                self._tries[place.ref] = entry.lock
                if len(self._tries) > TRIES_MAX:
                    del self._tries[next(iter(self._tries))]
            case _Told():
                lock = self._tries.pop(entry.of, "")
                if lock and (entry.outcome != "failed" or entry.why in SENT):
                    self._pulsed(lock)
            case _:
                assert_never(entry)

    def _note(
        self,
        place: Place,
        entry: _Sampled | _Raised | _Config | Commissioned | _Anchored,
        site: SiteMap,
    ) -> None:
        """Take in everything else."""
        match entry:
            case _Sampled():
                self._sampled(entry.values)
            case _Raised():
                count(self.alarms, entry.alarm)
            case _Config():
                number, point = entry.value.get("number"), entry.value.get("lock")
                if entry.item == "door" and isinstance(number, int) and isinstance(point, str):
                    self._door(number, site).begin_lock(point)
            case Commissioned():
                self.commissioned = place, entry, self._utc(place.at)
            case _Anchored():
                self._anchor = place.at, entry.utc_ms
                if self.since is not None and self.since_utc_ms is None:
                    self.since_utc_ms = self._utc(self.since.at)
            case _:
                assert_never(entry)

    def _utc(self, at: Moment) -> int | None:
        """Return UTC of a moment, by the latest anchor if that is of the same boot."""
        if self._anchor is None or self._anchor[0].boot != at.boot:
            return None
        return self._anchor[1] + at.mono_ms - self._anchor[0].mono_ms

    def _door(self, number: int, site: SiteMap) -> DoorTrend:
        known = self.doors.get(number)
        if known is None:
            item = site.doors.get(number)
            known = self.doors[number] = DoorTrend("" if item is None else item.lock)
        return known

    def _pulsed(self, lock: str) -> None:
        if lock in self.cycles or len(self.cycles) < LOCKS_MAX:
            self.cycles[lock] += 1

    def _sampled(self, values: Mapping[str, int]) -> None:
        told: dict[str, dict[str, int]] = {}
        for key, value in values.items():
            found = _counter(key)
            if found is not None:
                told.setdefault(found[1], {})[found[2]] = value
        for name, now in told.items():
            if name in self.lines or len(self.lines) < LINES_MAX:
                self.lines.setdefault(name, LineTrend()).sample(now)


def asked_of(came: Mapping[str, int]) -> tuple[int, int]:
    """Return (asked, not answered well) of a line's counts."""
    errors = came["timeouts"] + came["nonsense"]
    return came["answered"] + errors, errors


def count(counts: Counter[str], why: str) -> None:
    """Count a reason; beyond so many different ones they are `other`."""
    counts[why if why in counts or len(counts) < WHYS_MAX else "other"] += 1
