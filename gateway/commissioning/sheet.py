"""What a draft consists of, and its file: strict JSON, bounded, with a version. Pure.

A draft is one value. Nothing in it is trusted because it came from our own disk: a file that says
what no draft of ours does is refused whole.
"""

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from gateway.commissioning.findings import Finding
from gateway.commissioning.proof import DoorTrial, Proof
from gateway.errors import GatewayError
from gateway.mapfile import BOARDS_MAX, DOORS_MAX, LEARNED_MS_MAX, MEASURE_MAX, PULSE_MS_MAX
from sync.sitemap import COLUMNS_MAX, ROWS_MAX, BoardItem, DoorItem, LineItem

VERSION: Final = 1
BYTES_MAX: Final = 4 * 1024 * 1024
"""Twice the largest bank there is, taught and proved."""
FOUND_MAX: Final = 1024
FINDINGS_MAX: Final = 32
TEXT_MAX: Final = 256
MATCHES_MAX: Final = 16
DOOR_MAX: Final = 9999
PULSE_MS: Final = 400
RAIL: Final = "main"
"""One rail until somebody says otherwise: then no two coils are ever on together."""

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Confidence = Literal["certain", "likely", "possible"]


class _Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True,
              forbid_unknown_fields=True):  # fmt: skip
    """Base of all parts of a draft."""


class Kind(_Struct, frozen=True, kw_only=True):
    """What a profile offers. `settable`: its number can be written; else `by_hand` says how."""

    profile: str
    title: str = ""
    outputs: int = 0
    inputs: int = 0
    measures: tuple[str, ...] = ()
    by_hand: str = ""
    settable: bool = False
    units: tuple[int, int] = (1, 255)
    max_on_ms: int = PULSE_MS_MAX


class Match(_Struct, frozen=True, kw_only=True):
    """A profile that may be a board's, how sure that is, and why."""

    kind: Kind
    confidence: Confidence
    evidence: tuple[str, ...] = ()


class FoundBoard(_Struct, frozen=True, kw_only=True):
    """A unit that answered on a line. `line` is filled in when it is merged."""

    unit: int
    line: str = ""
    matches: tuple[Match, ...] = ()
    device_id: dict[str, str] = {}
    findings: tuple[Finding, ...] = ()

    @property
    def key(self) -> str:
        """Return what names this row: `<line>/<unit>`."""
        return f"{self.line}/{self.unit}"


class Board(_Struct, frozen=True, kw_only=True):
    """A board that was adopted into the bank."""

    name: Name
    line: str
    unit: int
    kind: Kind
    findings: tuple[Finding, ...] = ()

    @property
    def item(self) -> BoardItem:
        """Return it as the map writes it."""
        return BoardItem(name=self.name, line=self.line, profile=self.kind.profile, unit=self.unit)


class Draft(_Struct, frozen=True, kw_only=True):
    """All that is known. `forgotten` keeps the features of doors that are to be taught again.

    `base` is the SHA-256 (hex) of the site's map as it was then: another map in its place since
    makes this draft one of the past.
    """

    version: int = VERSION
    revision: int = 1
    by: str
    begun_ms: int
    base: str = ""
    changed_ms: int = 0
    lines: dict[str, LineItem] = {}
    line_findings: dict[str, tuple[Finding, ...]] = {}
    found: tuple[FoundBoard, ...] = ()
    boards: dict[str, Board] = {}
    doors: dict[int, DoorItem] = {}
    forgotten: dict[int, DoorItem] = {}
    skipped: tuple[str, ...] = ()
    trials: dict[int, DoorTrial] = {}
    proof: Proof | None = None


KindOf = Callable[[str], Kind | None]
"""Look a profile up; None where there is none of that name."""


def no_kind(_: str) -> Kind | None:
    """Know no profile."""
    return None


# --- the file -------------------------------------------------------------------------------------


def encode(draft: Draft) -> bytes:
    """Return the file of a draft: `decode(encode(draft)) == draft`."""
    return msgspec.json.encode(draft)


def decode(data: bytes) -> Draft:
    """Return the draft of a file. Raises GatewayError `commission.draft_broken`."""
    try:
        if len(data) > BYTES_MAX:
            raise _broken("it is longer than any draft")
        version = msgspec.json.decode(data, type=_Versioned).version
        if version != VERSION:
            raise _broken("another version of this software wrote it", version=version)
        draft = msgspec.json.decode(data, type=Draft)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(ascii(str(error))[:TEXT_MAX]) from None
    reason = next(_incoherent(draft), "")
    if reason:
        raise _broken(reason)
    return draft


class _Versioned(msgspec.Struct):
    version: int = VERSION


def _broken(reason: str, **evidence: int) -> GatewayError:
    remedy = "Begin anew: nothing of the site is lost, its map is in the log"
    return GatewayError("commission.draft_broken", remedy, reason=reason, **evidence)


def _incoherent(draft: Draft) -> Iterator[str]:
    """What no draft of ours says: names that are not their keys, and too much of anything."""
    if any(name != line.name for name, line in draft.lines.items()):
        yield "a line under another name"
    if any(name != board.name for name, board in draft.boards.items()):
        yield "a board under another name"
    for doors in (draft.doors, draft.forgotten):
        if not all(_is_door(number, door) for number, door in doors.items()):
            yield "a door that no map can say"
        if len(doors) > DOORS_MAX:
            yield "too many doors"
    if any(number != trial.number for number, trial in draft.trials.items()):
        yield "a trial under another number"
    if not all(_is_lock(lock) for lock in draft.skipped):
        yield "a lock that is none"
    if any(board.line not in draft.lines for board in draft.boards.values()):
        yield "a board on no line"
    if len(draft.boards) > BOARDS_MAX or len(draft.found) > FOUND_MAX:
        yield "too many boards"


_is_lock = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}:(0|[1-9][0-9]{0,2})").fullmatch
_is_name = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}").fullmatch


def _is_door(number: int, door: DoorItem) -> bool:
    """Whether a door is one that the map could say, whatever the boards are."""
    points = _is_lock(door.lock) and _is_lock(door.switch)
    sensor = _is_lock(door.occupancy) if door.occupancy else not door.occupied_below
    ranges = (
        (door.number, number, number),
        (door.number, 1, DOOR_MAX),
        (door.pulse_ms, 10, PULSE_MS_MAX),
        (door.open_ms, 0, LEARNED_MS_MAX),
        (door.bounce_ms, 0, LEARNED_MS_MAX),
        (door.occupied_below, 0, MEASURE_MAX),
        (door.column, 0, COLUMNS_MAX),
        (door.row, 0, COLUMNS_MAX),
        (door.rows, 1, ROWS_MAX),
    )
    fits = all(low <= value <= high for value, low, high in ranges)
    named = _is_name(door.rail) and (not door.band or _is_name(door.band))
    return bool(points and sensor and fits and named and bool(door.column) == bool(door.row))


# --- points -------------------------------------------------------------------------------------


def points_of(door: DoorItem) -> tuple[str, ...]:
    """Return the inputs of a door; a measure with a mark behind it."""
    mark = "#" if door.occupied_below else ""
    return (door.switch, f"{door.occupancy}{mark}") if door.occupancy else (door.switch,)


def of(point: str) -> str:
    """Return the board of a point."""
    return point.partition(":")[0]


def channel(point: str) -> int:
    """Return the channel of a point."""
    return int(point.partition(":")[2])


def natural(name: str) -> tuple[str, int, str]:
    """Sort `locks-10` behind `locks-9`."""
    role, _, number = name.rpartition("-")
    is_number = number.isdecimal() and number.isascii()
    return (role, int(number), "") if is_number else (name, 0, name)


def plain(value: object) -> str | int:
    """Return evidence as a finding carries it."""
    return value if isinstance(value, int | str) else str(value)
