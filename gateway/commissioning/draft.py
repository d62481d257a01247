"""The draft: all that is known of a bank while it is commissioned, and the map it makes. Pure.

A draft is one value; whoever changes it gets another, with the next revision. It is kept in one
file outside the log, so losing it loses an installer's time and never a parcel. Everything in it is
bounded. The map is made of taught doors only, and refused as soon as two things claim one place.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from gateway.commissioning import lesson as lessons
from gateway.commissioning.findings import Finding
from gateway.commissioning.lesson import Lesson, Sample
from gateway.commissioning.proof import DoorTrial, Proof
from gateway.errors import GatewayError
from gateway.mapfile import BOARDS_MAX, DOORS_MAX, PULSE_MS_MAX
from sync.sitemap import BoardItem, DoorItem, LineItem, SiteMap

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
    """All that is known. `forgotten` keeps the features of doors that are to be taught again."""

    version: int = VERSION
    revision: int = 1
    by: str
    begun_ms: int
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
        if any(number != door.number for number, door in doors.items()):
            yield "a door under another number"
        if len(doors) > DOORS_MAX:
            yield "too many doors"
    if any(number != trial.number for number, trial in draft.trials.items()):
        yield "a trial under another number"
    if any(board.line not in draft.lines for board in draft.boards.values()):
        yield "a board on no line"
    if len(draft.boards) > BOARDS_MAX or len(draft.found) > FOUND_MAX:
        yield "too many boards"


# --- beginning ------------------------------------------------------------------------------------


def begun(by: str, at_ms: int, site: SiteMap | None = None, kind_of: KindOf = no_kind) -> Draft:
    """Return a draft of the map that stands, all doors taught; or an empty one."""
    site = site or SiteMap()
    lines = dict(site.lines)
    for board in site.boards.values():  # older maps leave lines to the machine's configuration
        lines.setdefault(board.line, LineItem(name=board.line))
    boards = {
        name: Board(
            name=name, line=board.line, unit=board.unit,
            kind=kind_of(board.profile) or _guessed(board, site),
        )
        for name, board in site.boards.items()
    }  # fmt: skip
    return Draft(
        by=by, begun_ms=at_ms, changed_ms=at_ms, lines=lines, boards=boards, doors=dict(site.doors)
    )


def _guessed(board: BoardItem, site: SiteMap) -> Kind:
    """Of a board whose profile nobody knows any more: as many channels as its doors use."""
    outputs = [channel(door.lock) for door in site.doors.values() if of(door.lock) == board.name]
    points = [
        point
        for door in site.doors.values()
        for point in (door.switch, door.occupancy)
        if of(point) == board.name
    ]
    return Kind(
        profile=board.profile,
        outputs=max(outputs, default=-1) + 1,
        inputs=max(map(channel, points), default=-1) + 1,
    )


def changed(draft: Draft, at_ms: int | None = None, **fields: Any) -> Draft:
    """Return the next revision. What is on the map changes: then no proof holds any more."""
    if fields.keys() & {"lines", "boards", "doors"}:
        fields.setdefault("proof", None)
    return replace(
        draft,
        revision=draft.revision + 1,
        changed_ms=draft.changed_ms if at_ms is None else at_ms,
        **fields,
    )


# --- what a scan brought --------------------------------------------------------------------------


def named(draft: Draft, line: LineItem) -> LineItem:
    """Return the line under the name that its place has here already, or under a new one."""
    for known in draft.lines.values():
        if (line.serial, line.tcp) == (known.serial, known.tcp):
            return replace(line, name=known.name)
    if line.name and line.name not in draft.lines:
        return line
    return replace(line, name=fresh("rs485" if line.serial else "tcp", draft.lines))


def found(
    draft: Draft,
    line: LineItem,
    boards: Iterable[FoundBoard],
    findings: Iterable[Finding] = (),
) -> Draft:
    """Return the draft with what a scan of one line brought, instead of what earlier ones did.

    A line that is known by its place keeps its name. Adopted boards stay. Raises GatewayError
    `commission.too_many`.
    """
    item = named(draft, line)
    rows = {board.unit: _bounded(replace(board, line=item.name)) for board in boards}
    kept = [row for row in draft.found if row.line != item.name]
    if len(kept) + len(rows) > FOUND_MAX or len(draft.lines) > BOARDS_MAX:
        raise GatewayError(
            "commission.too_many", "Make two sites of it, or begin anew", most=FOUND_MAX
        )
    known = {name: draft.lines[name] for name in draft.lines if name != item.name}
    fields: dict[str, Any] = {
        "found": (*kept, *(rows[unit] for unit in sorted(rows))),
        "line_findings": draft.line_findings | {item.name: _few(findings)},
    }
    if draft.lines.get(item.name) != item:
        fields["lines"] = known | {item.name: item}
    return changed(draft, **fields)


def _bounded(board: FoundBoard) -> FoundBoard:
    """What came over a wire is cut to size."""
    matches = tuple(
        replace(match, evidence=tuple(text[:TEXT_MAX] for text in match.evidence[:MATCHES_MAX]))
        for match in board.matches[:MATCHES_MAX]
    )
    told = list(board.device_id.items())[:MATCHES_MAX]
    return replace(
        board, matches=matches, findings=_few(board.findings),
        device_id={key[:TEXT_MAX]: value[:TEXT_MAX] for key, value in told},
    )  # fmt: skip


def _few(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            finding.code[:TEXT_MAX],
            finding.about[:TEXT_MAX],
            {
                key: value[:TEXT_MAX] if isinstance(value, str) else value
                for key, value in list(finding.evidence.items())[:FINDINGS_MAX]
            },
        )
        for finding in list(findings)[:FINDINGS_MAX]
    )


def fresh(role: str, taken: Mapping[str, object]) -> str:
    """Return the first free name of a role: `locks-1`, `locks-2`."""
    number = 1
    while f"{role}-{number}" in taken:
        number += 1
    return f"{role}-{number}"


# --- what a lesson brought ------------------------------------------------------------------------


def locks(draft: Draft) -> tuple[str, ...]:
    """Return every lock output there is, board by board."""
    return tuple(
        f"{board.name}:{number}"
        for board in sorted(draft.boards.values(), key=lambda board: natural(board.name))
        for number in range(board.kind.outputs)
    )


def teach(draft: Draft, lock: str, sample: Sample, *, ms: int | None = None) -> Lesson:
    """Return the lesson of one lock. Raises GatewayError `teach.no_lock`, `teach.open_before`."""
    if lock not in locks(draft):
        raise GatewayError("teach.no_lock", "Adopt the board of this lock first", lock=lock)
    board = draft.boards[of(lock)]
    door = door_of(draft, lock)
    shut = {} if door is None else {door.switch: door.open_when == "inactive"}
    return lessons.begun(
        lock, sample,
        taken=_taken(draft), suggest=_suggested(draft, lock), door=door.number if door else 0,
        pulse_ms=ms or (door.pulse_ms if door else PULSE_MS), pulse_max=board.kind.max_on_ms,
        shut=shut, distances=_distances(draft),
    )  # fmt: skip


def taught(draft: Draft, lesson: Lesson, at_ms: int | None = None) -> Draft:
    """Return the draft with the door of a lesson that is done.

    A door that was forgotten keeps its features. Raises GatewayError `teach.unfinished`,
    `teach.duplicate`, `commission.too_many`.
    """
    if not lesson.taught:
        raise GatewayError("teach.unfinished", "Finish this door first", phase=lesson.phase)
    other = door_of(draft, lesson.lock)
    doors = {number: door for number, door in draft.doors.items() if door is not other}
    number = lesson.number
    points = {point for door in doors.values() for point in points_of(door)}
    mark = "#" if lesson.occupied_below else ""
    mine = {lesson.switch, f"{lesson.occupancy}{mark}"} - {""}
    if number in doors or points & mine:
        raise GatewayError(
            "teach.duplicate", "Forget the other door first, then teach this one", door=number
        )
    if len(doors) >= DOORS_MAX:
        raise GatewayError("commission.too_many", "Make two sites of it", most=DOORS_MAX)
    like = draft.forgotten.get(number) or other
    if like is None:
        like = DoorItem(number=number, size=_usual_size(draft), lock="", switch="", rail=RAIL)
    doors[number] = replace(
        like, number=number, size=lesson.size or like.size, lock=lesson.lock,
        switch=lesson.switch, open_when=lesson.open_when, occupancy=lesson.occupancy,
        occupied_when=lesson.occupied_when, occupied_below=lesson.occupied_below,
        pulse_ms=lesson.attempts[-1].ms, open_ms=lesson.open_ms, bounce_ms=lesson.bounce_ms,
    )  # fmt: skip
    gone = {number, *([other.number] if other else [])}
    return changed(
        draft, at_ms, doors=doors,
        forgotten={n: door for n, door in draft.forgotten.items() if n not in gone},
        trials={n: trial for n, trial in draft.trials.items() if n not in gone},
        skipped=tuple(lock for lock in draft.skipped if lock != lesson.lock),
    )  # fmt: skip


def proved(draft: Draft, proof: Proof, at_ms: int | None = None) -> Draft:
    """Return the draft with its proof, and with the trials that it was made of."""
    trials = {trial.number: trial for trial in proof.doors if trial.number in draft.doors}
    return changed(draft, at_ms, trials=trials, proof=proof)


def door_of(draft: Draft, lock: str) -> DoorItem | None:
    """Return the door that a lock belongs to."""
    return next((door for door in draft.doors.values() if door.lock == lock), None)


def points_of(door: DoorItem) -> tuple[str, ...]:
    """Return the inputs of a door; a measure with a mark behind it."""
    mark = "#" if door.occupied_below else ""
    return (door.switch, f"{door.occupancy}{mark}") if door.occupancy else (door.switch,)


def _taken(draft: Draft) -> dict[str, int]:
    return {point: number for number, door in draft.doors.items() for point in points_of(door)}


def _suggested(draft: Draft, lock: str) -> int:
    """A lock's own number; the one behind its neighbour's; the lowest that is free."""
    own = door_of(draft, lock)
    if own is not None:
        return own.number
    before = door_of(draft, f"{of(lock)}:{channel(lock) - 1}")
    if before is not None and before.number + 1 not in draft.doors and before.number < DOOR_MAX:
        return before.number + 1
    return next(number for number in range(1, DOOR_MAX + 1) if number not in draft.doors)


def _distances(draft: Draft) -> list[str]:
    return [
        f"{board.name}:{number}"
        for board in draft.boards.values()
        for number, measure in enumerate(board.kind.measures)
        if measure == "distance"
    ]


def _usual_size(draft: Draft) -> Literal["S", "M", "L", "XL"]:
    """Banks come in runs of one size: that of the last door."""
    return next(reversed(draft.doors.values())).size if draft.doors else "M"


# --- the map --------------------------------------------------------------------------------------


def site_map(draft: Draft) -> SiteMap:
    """Return the map of all taught doors. Raises GatewayError `map.*`, with the door."""
    for code, remedy, evidence in _objections(draft):
        raise GatewayError(code, remedy, **evidence)
    used = {board.line for board in draft.boards.values()}
    return SiteMap(
        boards={name: draft.boards[name].item for name in sorted(draft.boards)},
        doors={number: draft.doors[number] for number in sorted(draft.doors)},
        lines={
            name: line
            for name, line in sorted(draft.lines.items())
            if name in used and (line.serial or line.tcp)
        },
    )


_Objection = tuple[str, str, dict[str, str | int]]


def _objections(draft: Draft) -> Iterator[_Objection]:
    if not draft.boards:
        yield "map.no_boards", "Scan, and adopt a board", {}
    if not draft.doors:
        yield "map.no_doors", "Teach a door first", {}
    places: dict[tuple[str, int], str] = {}
    for name, board in sorted(draft.boards.items()):
        other = places.setdefault((board.line, board.unit), name)
        if other != name:
            evidence: dict[str, str | int] = {"board": name, "other": other, "unit": board.unit}
            yield "map.same_unit", "Give one of these boards another number", evidence
        low, high = board.kind.units
        if not low <= board.unit <= high:
            evidence = {"board": name, "unit": board.unit, "low": low, "high": high}
            yield "map.unit", "Give this board a number that its make can have", evidence
    taken: dict[str, int] = {}
    cells: dict[tuple[int, int], int] = {}
    for _, door in sorted(draft.doors.items()):
        yield from _door_objections(draft, door, taken, cells)


def _door_objections(
    draft: Draft, door: DoorItem, taken: dict[str, int], cells: dict[tuple[int, int], int]
) -> Iterator[_Objection]:
    number = door.number
    for point in (f">{door.lock}", *points_of(door)):
        bare = point.strip(">#")
        board = draft.boards.get(of(bare))
        if board is None:
            remedy = "Adopt the board of this door again, or forget the door"
            yield "map.no_board", remedy, {"door": number, "point": bare}
            continue
        kind = board.kind
        counts = {">": kind.outputs, "#": len(kind.measures)}
        count = counts.get(point[0], counts.get(point[-1], kind.inputs))
        if channel(bare) >= count:
            remedy = "Forget this door and teach it again: its board has no such channel"
            yield "map.no_channel", remedy, {"door": number, "point": bare, "channels": count}
        other = taken.setdefault(point, number)
        if other != number:
            remedy = "Forget one of these two doors and teach it again"
            yield "map.same_point", remedy, {"door": number, "other": other, "point": bare}
    if door.occupancy == door.switch and not door.occupied_below:
        remedy = "Forget this door and teach it again: its sensor is its switch"
        yield "map.same_point", remedy, {"door": number, "other": number, "point": door.switch}
    board = draft.boards.get(of(door.lock))
    if board is not None and door.pulse_ms > board.kind.max_on_ms:
        most = board.kind.max_on_ms
        yield "map.pulse", "Shorten the pulse of this door", {"door": number, "most_ms": most}
    for row in range(door.row, door.row + door.rows) if door.column else ():
        other = cells.setdefault((door.column, row), number)
        if other != number:
            remedy = "Move one of these two doors in the picture of the bank"
            yield "map.same_place", remedy, {"door": number, "other": other}


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
