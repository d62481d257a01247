"""The proof of a bank: every lock, switch and board tried, and what that is worth. Pure.

    a door fails      it did not open, its switch did not come back, or it was not tried
    a board fails     more than one question in a hundred went wrong (and not just once), or it was
                      hardly asked
    the site fails    a door or a board fails, or the disk is too slow to put an intent on
    a note            worth knowing, and no reason not to sign: a slow or sticky lock, no hub yet

A door that holds something, or is fenced, is left shut and counts as left, not as failed. Every
reason stands with the numbers that make it one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from gateway.commissioning.findings import Finding
from sync.sitemap import DoorItem, SiteMap

SLOW_MS: Final = 1_500
"""People pull at a door that takes longer."""
FLUSH_US_MAX: Final = 500_000
"""An intent is on the disk before a lock moves: slower than this nobody waits."""
FLUSH_US_SLOW: Final = 100_000
ASKED_MIN: Final = 50
ERRORS_PER_1000: Final = 10
LEFT: Final = frozenset({"door.occupied", "door.fenced"})
"""Refusals that keep what is behind a door, and say nothing of its lock."""

Verdict = Literal["passed", "failed", "left"]


class _Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True,
              forbid_unknown_fields=True):  # fmt: skip
    """Base of all parts of a proof."""


class DoorTrial(_Struct, frozen=True, kw_only=True):
    """One door tried. `switch_back`: shut again, its switch said so; None: nobody shut it yet.

    `occupied` is what its sensor said when it was shut, None without one. `code` is why it did not
    open.
    """

    number: int
    attempts: int = 1
    took_ms: int | None = None
    code: str = ""
    switch_back: bool | None = None
    occupied: bool | None = None
    at_ms: int = 0

    @property
    def verdict(self) -> Verdict:
        """Return what it is worth."""
        if self.code in LEFT:
            return "left"
        opened = not self.code and self.took_ms is not None
        return "passed" if opened and self.switch_back else "failed"


class BoardTrial(_Struct, frozen=True, kw_only=True):
    """How often a board was asked at speed, what failed by code, and which settings were wrong."""

    name: str
    asked: int = 0
    failed: dict[str, int] = {}
    corrected: tuple[str, ...] = ()

    @property
    def per_1000(self) -> int:
        """Return how many of a thousand questions went wrong, rounded up."""
        return -(-sum(self.failed.values()) * 1000 // max(self.asked, 1))


class Machine(_Struct, frozen=True, kw_only=True):
    """What the gateway itself is like. `flush_us` is the time of one write to the disk."""

    flush_us: int | None = None
    clock: Literal["trusted", "untrusted", "unknown"] = "unknown"
    hub: Literal["up", "down", "none"] = "none"


class Record(_Struct, frozen=True, kw_only=True):
    """What the log says of a door, for an audit: its custody, and whether it is out of service."""

    number: int
    custody: str
    disabled: bool = False
    fenced: bool = False


class Proof(_Struct, frozen=True, kw_only=True):
    """What was proved, when, by whom. `reasons` are why it is not passed; `notes` are no reasons.

    `audit`: the map in the log was proved as it stands. `differences` are what the log says and the
    bank does not.
    """

    at_ms: int
    by: str
    passed: bool
    doors: tuple[DoorTrial, ...]
    boards: tuple[BoardTrial, ...]
    machine: Machine
    reasons: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    audit: bool = False
    differences: tuple[Finding, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """Return how many doors came out so."""
        return sum(door.verdict == verdict for door in self.doors)

    @property
    def doors_passed(self) -> int:
        """Return how many doors opened and were seen shut again."""
        return self.count("passed")

    @property
    def doors_failed(self) -> int:
        """Return how many did not."""
        return self.count("failed")

    @property
    def open_doors(self) -> tuple[int, ...]:
        """Return the doors that opened and were not seen shut again."""
        return tuple(
            door.number for door in self.doors if door.took_ms is not None and not door.switch_back
        )


def judge(
    site: SiteMap,
    *,
    by: str,
    at_ms: int,
    doors: Iterable[DoorTrial],
    boards: Iterable[BoardTrial],
    machine: Machine,
    findings: Iterable[Finding] = (),
    before: SiteMap | None = None,
    records: Iterable[Record] = (),
) -> Proof:
    """Return what these trials prove of this map. A door of the map without a trial fails.

    `findings` are what is known of lines and boards. `before` and `records` are the log's.
    """
    tried = {trial.number: trial for trial in doors}
    trials = tuple(
        tried.get(number, DoorTrial(number=number, attempts=0, code="proof.untried"))
        for number in sorted(site.doors)
    )
    asked = {board.name: board for board in boards}
    rows = tuple(asked.get(name, BoardTrial(name=name)) for name in sorted(site.boards))
    reasons = (*_door_reasons(trials), *_board_reasons(rows), *_machine_reasons(machine))
    notes = (*_door_notes(trials), *_board_notes(rows), *_machine_notes(machine), *findings)
    old = before or SiteMap()
    return Proof(
        at_ms=at_ms,
        by=by,
        passed=not reasons,
        doors=trials,
        boards=rows,
        machine=machine,
        reasons=reasons,
        notes=notes,
        audit=bool(old.doors) and (old.boards, old.doors) == (site.boards, site.doors),
        differences=tuple(_differences(site, tried, old, records)) if old.doors else (),
    )


def rails(known: Mapping[int, DoorItem]) -> dict[str, tuple[int, ...]]:
    """Return the doors of each rail: of these no two coils are ever on together."""
    by_rail: dict[str, list[int]] = {}
    for number, door in sorted(known.items()):
        by_rail.setdefault(door.rail, []).append(number)
    return {rail: tuple(by_rail[rail]) for rail in sorted(by_rail)}


# --- reasons --------------------------------------------------------------------------------------


def _door_reasons(trials: Collection[DoorTrial]) -> Iterator[Finding]:
    for trial in trials:
        if trial.verdict != "failed":
            continue
        code = trial.code or ("proof.not_opened" if trial.took_ms is None else "proof.not_shut")
        evidence: dict[str, str | int] = {"door": trial.number, "attempts": trial.attempts}
        if trial.took_ms is not None:
            evidence["took_ms"] = trial.took_ms
        yield Finding(code, f"door {trial.number}", evidence)


def _door_notes(trials: Collection[DoorTrial]) -> Iterator[Finding]:
    for trial in trials:
        about = f"door {trial.number}"
        if trial.verdict == "left":
            yield Finding("proof.left", about, {"door": trial.number, "why": trial.code})
        if trial.verdict != "passed":
            continue
        if trial.attempts > 1:
            evidence: dict[str, str | int] = {"door": trial.number, "attempts": trial.attempts}
            yield Finding("proof.sticky", about, evidence)
        if trial.took_ms is not None and trial.took_ms > SLOW_MS:
            evidence = {"door": trial.number, "took_ms": trial.took_ms, "most_ms": SLOW_MS}
            yield Finding("proof.slow", about, evidence)
        if trial.occupied:
            yield Finding("proof.occupied", about, {"door": trial.number})


def _board_reasons(boards: Collection[BoardTrial]) -> Iterator[Finding]:
    for board in boards:
        if _broken(board):
            yield Finding("proof.bus_errors", board.name, _errors(board))
        elif board.asked < ASKED_MIN:
            yield Finding("proof.unasked", board.name, {"asked": board.asked, "least": ASKED_MIN})


def _broken(board: BoardTrial) -> bool:
    failed = sum(board.failed.values())
    return board.per_1000 > ERRORS_PER_1000 and (failed > 1 or board.asked < ASKED_MIN)


def _errors(board: BoardTrial) -> dict[str, str | int]:
    return {
        "asked": board.asked,
        "failed": sum(board.failed.values()),
        "per_1000": board.per_1000,
        "most_per_1000": ERRORS_PER_1000,
        **board.failed,
    }


def _board_notes(boards: Collection[BoardTrial]) -> Iterator[Finding]:
    for board in boards:
        if board.failed and not _broken(board):
            yield Finding("proof.bus_error", board.name, _errors(board))
        if board.corrected:
            settings = " ".join(board.corrected)
            yield Finding("proof.corrected", board.name, {"settings": settings})


def _machine_reasons(machine: Machine) -> Iterator[Finding]:
    if machine.flush_us is not None and machine.flush_us > FLUSH_US_MAX:
        evidence: dict[str, str | int] = {"flush_us": machine.flush_us, "most_us": FLUSH_US_MAX}
        yield Finding("proof.disk", "disk", evidence)


def _machine_notes(machine: Machine) -> Iterator[Finding]:
    if machine.flush_us is None:
        yield Finding("proof.disk_unknown", "disk")
    elif FLUSH_US_SLOW < machine.flush_us <= FLUSH_US_MAX:
        evidence: dict[str, str | int] = {"flush_us": machine.flush_us, "most_us": FLUSH_US_SLOW}
        yield Finding("proof.disk_slow", "disk", evidence)
    if machine.clock != "trusted":
        yield Finding("proof.clock", "clock", {"clock": machine.clock})
    if machine.hub == "down":
        yield Finding("proof.hub", "hub", {"hub": machine.hub})


# --- the audit ------------------------------------------------------------------------------------


def _differences(
    site: SiteMap, tried: Mapping[int, DoorTrial], before: SiteMap, records: Iterable[Record]
) -> Iterator[Finding]:
    """Say where the log and the bank differ, door by door."""
    for number in sorted(before.doors.keys() - site.doors.keys()):
        yield Finding("audit.gone", f"door {number}", {"door": number})
    for number in sorted(site.doors.keys() - before.doors.keys()):
        yield Finding("audit.new", f"door {number}", {"door": number})
    for number in sorted(site.doors.keys() & before.doors.keys()):
        moved = _moved(before.doors[number], site.doors[number])
        if moved:
            yield Finding("audit.moved", f"door {number}", {"door": number, "points": moved})
    for record in sorted(records, key=lambda record: record.number):
        trial = tried.get(record.number)
        if trial is not None and record.number in site.doors:
            yield from _against(record, trial)


def _against(record: Record, trial: DoorTrial) -> Iterator[Finding]:
    about = f"door {record.number}"
    evidence: dict[str, str | int] = {"door": record.number, "custody": record.custody}
    if trial.occupied and record.custody == "free":
        yield Finding("audit.something_inside", about, evidence)
    if trial.occupied is False and record.custody not in {"free", "doubt"}:
        yield Finding("audit.nothing_inside", about, evidence)
    if record.disabled and trial.verdict == "passed":
        yield Finding("audit.works", about, {"door": record.number})
    if not record.disabled and trial.verdict == "failed":
        yield Finding("audit.broken", about, {"door": record.number, "code": trial.code})


def _moved(old: DoorItem, new: DoorItem) -> str:
    names = ("lock", "switch", "open_when", "occupancy", "occupied_when", "occupied_below")
    return " ".join(name for name in names if getattr(old, name) != getattr(new, name))
