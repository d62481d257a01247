"""What a person can ask of the bench, as values; and those acts that change the draft alone. Pure.

An act is one JSON object; `do` names it. It may carry the revision that its author saw: then it is
refused when the draft has moved since. Whatever an act may not say is refused before anything is
done, and a refused act changes nothing.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import asdict, replace

from gateway.commissioning import draft as drafts
from gateway.commissioning.draft import DOOR_MAX, Board, Draft, FoundBoard, Kind, KindOf, Name
from gateway.commissioning.proof import DoorTrial
from gateway.errors import GatewayError
from gateway.mapfile import BOARDS_MAX, DOORS_MAX, MEASURE_MAX, PULSE_MS_MAX
from sync.facts import Size
from sync.sitemap import COLUMNS_MAX, ROWS_MAX, DoorItem, Reach

BODY_MAX: Final = 64 * 1024

Number = Annotated[int, Meta(ge=1, le=DOOR_MAX)]
Unit = Annotated[int, Meta(ge=1, le=255)]
Text = Annotated[str, Meta(min_length=1, max_length=300)]
Lock = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}:(0|[1-9][0-9]{0,2})$")]
Pulse = Annotated[int, Meta(ge=10, le=PULSE_MS_MAX)]
Below = Annotated[int, Meta(ge=0, le=MEASURE_MAX)]
Row = Annotated[int, Meta(ge=0, le=COLUMNS_MAX)]
Framing = Literal["tcp", "rtu"]


class _Act(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Base of all acts."""

    revision: int | None = None


class Begin(_Act, frozen=True, kw_only=True, tag="begin"):
    """Open the bench: with the draft that is there, or a new one from the map or from nothing."""

    from_: Literal["", "map", "empty"] = msgspec.field(default="", name="from")


class Take(_Act, frozen=True, kw_only=True, tag="take"):
    """Take over from another installer."""


class Close(_Act, frozen=True, kw_only=True, tag="close"):
    """Give the lines back and keep the draft."""


class Cancel(_Act, frozen=True, kw_only=True, tag="cancel"):
    """Throw the draft away; the map stays as it is."""


class Scan(_Act, frozen=True, kw_only=True, tag="scan"):
    """Look for boards on serial ports: on all, or on these."""

    ports: tuple[Text, ...] | None = None
    depth: Literal["quick", "full"] = "quick"
    units: tuple[Unit, Unit] | None = None


class Look(_Act, frozen=True, kw_only=True, tag="look"):
    """Look for boards at one network address."""

    tcp: Text
    framing: Framing | None = None


class Sweep(_Act, frozen=True, kw_only=True, tag="sweep"):
    """Look for boards on a network."""

    network: Text


class Stop(_Act, frozen=True, kw_only=True, tag="stop"):
    """End the job that runs."""


class Adopt(_Act, frozen=True, kw_only=True, tag="adopt"):
    """Make a found unit a board of the bank."""

    key: Text
    profile: Text
    name: Name | None = None


class AdoptAll(_Act, frozen=True, kw_only=True, tag="adopt_all"):
    """Adopt all that is certain or likely."""


class DropBoard(_Act, frozen=True, kw_only=True, tag="drop_board"):
    """Leave a board out, and forget its doors."""

    name: Name


class RenameBoard(_Act, frozen=True, kw_only=True, tag="rename_board"):
    """Give a board another name; its doors keep their points."""

    name: Name
    to: Name


class ReplaceBoard(_Act, frozen=True, kw_only=True, tag="replace_board"):
    """Put a found unit in the place of a board; its doors keep their points."""

    name: Name
    key: Text
    profile: Text | None = None


class Address(_Act, frozen=True, kw_only=True, tag="address"):
    """Give the one new board on a line its number, and its rate."""

    line: Text
    profile: Text
    unit: Unit
    baud: Annotated[int, Meta(ge=1200, le=256_000)] | None = None
    name: Name | None = None


class Try(_Act, frozen=True, kw_only=True, tag="try"):
    """Pulse a lock, to see which door opens."""

    lock: Lock
    ms: Pulse | None = None


class Popped(_Act, frozen=True, kw_only=True, tag="popped"):
    """Say which door opened."""

    number: Number
    size: Size | None = None


class Nothing(_Act, frozen=True, kw_only=True, tag="nothing"):
    """Say that no door opened."""


class Again(_Act, frozen=True, kw_only=True, tag="again"):
    """Pulse the same lock once more."""


class Skip(_Act, frozen=True, kw_only=True, tag="skip"):
    """Leave a lock out: nothing is wired to it. `undo` takes that back."""

    lock: Lock
    undo: bool = False


class Forget(_Act, frozen=True, kw_only=True, tag="forget"):
    """Take a door off its points; its number and features wait for it."""

    number: Number


class _Features(_Act, frozen=True, kw_only=True):
    """What a person says of a door."""

    size: Size | None = None
    reach: Reach | None = None
    rail: Name | None = None
    heated: bool | None = None
    cooled: bool | None = None
    pulse_ms: Pulse | None = None
    occupied_below: Below | None = None


class SetDoor(_Features, frozen=True, kw_only=True, tag="door"):
    """Say what a door is like; `to` gives it another number."""

    number: Number
    to: Number | None = None


class SetDoors(_Features, frozen=True, kw_only=True, tag="doors"):
    """Say what many doors are like."""

    numbers: Annotated[tuple[Number, ...], Meta(max_length=4096)]


class PlaceDoor(_Act, frozen=True, kw_only=True, tag="place"):
    """Put a door into the picture of the bank; column 0 takes it out."""

    number: Number
    column: Row
    row: Row
    rows: Annotated[int, Meta(ge=1, le=ROWS_MAX)] | None = None


class Prove(_Act, frozen=True, kw_only=True, tag="prove"):
    """Try every door, or these."""

    doors: Annotated[tuple[Number, ...], Meta(max_length=4096)] | None = None


class Sign(_Act, frozen=True, kw_only=True, tag="sign"):
    """Make the draft the site's map, and sign what was proved."""


DataAct = (
    Adopt | AdoptAll | DropBoard | RenameBoard | ReplaceBoard
    | Skip | Forget | SetDoor | SetDoors | PlaceDoor
)  # fmt: skip
BenchAct = (
    Begin | Take | Close | Cancel | Scan | Look | Sweep | Stop | Address
    | Try | Popped | Nothing | Again | Prove | Sign
)  # fmt: skip
Act = DataAct | BenchAct
_names: Final = frozenset(
    str(kind.__struct_config__.tag) for kind in (*DataAct.__args__, *BenchAct.__args__)
)


def read(body: bytes) -> Act:
    """Return the act of a body. GatewayError `commission.malformed`, `commission.unknown_act`."""
    try:
        if len(body) > BODY_MAX:
            raise _malformed("too long")
        do = msgspec.json.decode(body, type=_Do).do
        if do not in _names:
            raise GatewayError(
                "commission.unknown_act", "Reload the page, or update the client", do=do[:64]
            )
        act: Act = msgspec.json.decode(body, type=Act)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(ascii(str(error))[: drafts.TEXT_MAX]) from None
    return act


class _Do(msgspec.Struct):
    do: str


def _malformed(reason: str) -> GatewayError:
    return GatewayError("commission.malformed", "Correct this request", reason=reason)


def fresh(draft: Draft, act: Act) -> None:
    """Refuse an act whose author saw another draft. GatewayError `commission.stale`."""
    if act.revision is not None and act.revision != draft.revision:
        raise GatewayError(
            "commission.stale", "Look at how it stands now, then do it again if it still holds",
            revision=draft.revision, seen=act.revision,
        )  # fmt: skip


def perform(draft: Draft, act: DataAct, at_ms: int, *, kind_of: KindOf = drafts.no_kind) -> Draft:
    """Return the draft after an act on data alone. Raises GatewayError; then nothing changed.

    `kind_of` looks a profile up that is not among those a scan proposed.
    """
    fresh(draft, act)
    match act:
        case Adopt() | AdoptAll() | DropBoard() | RenameBoard() | ReplaceBoard():
            after = _board_act(draft, act, kind_of)
        case _:
            after = _door_act(draft, act)
    return replace(after, changed_ms=at_ms)


def _board_act(
    draft: Draft, act: Adopt | AdoptAll | DropBoard | RenameBoard | ReplaceBoard, kind_of: KindOf
) -> Draft:
    match act:
        case Adopt():
            return _adopted(draft, act, kind_of)
        case AdoptAll():
            return _all_adopted(draft)
        case DropBoard():
            return _dropped(draft, act)
        case RenameBoard():
            return _renamed(draft, act)
        case ReplaceBoard():
            return _replaced(draft, act, kind_of)


def _door_act(draft: Draft, act: Skip | Forget | SetDoor | SetDoors | PlaceDoor) -> Draft:
    match act:
        case Skip():
            return _skipped(draft, act)
        case Forget():
            _door(draft, act.number)
            return forget(draft, {act.number})
        case SetDoor():
            return _set(draft, (act.number,), act, act.to)
        case SetDoors():
            return _set(draft, act.numbers, act, None)
        case PlaceDoor():
            return _placed(draft, act)


# --- boards ---------------------------------------------------------------------------------------


def _adopted(draft: Draft, act: Adopt, kind_of: KindOf) -> Draft:
    row = _row(draft, act.key)
    kind = _kind(row, act.profile, kind_of)
    holder = _holder(draft, row)
    if holder is not None:
        raise GatewayError(
            "board.adopted", "Drop the board that it is now, first", board=holder.name
        )
    if act.name is not None and act.name in draft.boards:
        raise GatewayError("board.exists", "Choose another name", board=act.name)
    return _with_boards(draft, {**draft.boards, **_board(draft, row, kind, act.name)})


def _all_adopted(draft: Draft) -> Draft:
    boards = dict(draft.boards)
    for row in draft.found:
        sure = row.matches[:1] if row.matches[:1] and _is_sure(row) else ()
        if not sure or _holder(draft, row) is not None:
            continue
        if sure[0].kind.units[0] <= row.unit <= sure[0].kind.units[1]:
            boards |= _board(replace(draft, boards=boards), row, sure[0].kind, None)
    if len(boards) == len(draft.boards):
        raise GatewayError("board.none_sure", "Choose what each board is, one by one")
    return _with_boards(draft, boards)


def _is_sure(row: FoundBoard) -> bool:
    """Return whether the best match stands alone, and nothing says that two boards answer."""
    alone = len(row.matches) == 1 or row.matches[1].confidence != row.matches[0].confidence
    doubled = any(finding.code == "board.same_number" for finding in row.findings)
    return alone and not doubled and row.matches[0].confidence in {"certain", "likely"}


def _with_boards(draft: Draft, boards: dict[str, Board]) -> Draft:
    if len(boards) > BOARDS_MAX:
        raise GatewayError("commission.too_many", "Make two sites of it", most=BOARDS_MAX)
    return drafts.changed(draft, boards=boards)


def _board(draft: Draft, row: FoundBoard, kind: Kind, name: str | None) -> dict[str, Board]:
    name = name or drafts.fresh(role(kind), draft.boards)
    return {name: Board(name=name, line=row.line, unit=row.unit, kind=kind, findings=row.findings)}


def role(kind: Kind) -> str:
    """Return what a board is for, as its name says it."""
    if kind.outputs:
        return "io" if kind.inputs else "locks"
    return "doors" if kind.inputs else "sensor"


def _dropped(draft: Draft, act: DropBoard) -> Draft:
    _board_named(draft, act.name)
    there = {
        number
        for number, door in draft.doors.items()
        if act.name in {drafts.of(point) for point in (door.lock, door.switch, door.occupancy)}
    }
    after = forget(draft, there)
    boards = {name: board for name, board in after.boards.items() if name != act.name}
    skipped = tuple(lock for lock in after.skipped if drafts.of(lock) != act.name)
    return replace(after, boards=boards, skipped=skipped, proof=None)


def _renamed(draft: Draft, act: RenameBoard) -> Draft:
    board = _board_named(draft, act.name)
    if act.to in draft.boards:
        raise GatewayError("board.exists", "Choose another name", board=act.to)

    def moved(point: str) -> str:
        is_there = drafts.of(point) == act.name
        return f"{act.to}:{drafts.channel(point)}" if is_there else point

    boards = {name: one for name, one in draft.boards.items() if name != act.name}
    doors = {
        number: replace(
            door, lock=moved(door.lock), switch=moved(door.switch), occupancy=moved(door.occupancy)
        )
        for number, door in draft.doors.items()
    }
    return drafts.changed(
        draft, boards=boards | {act.to: replace(board, name=act.to)}, doors=doors,
        skipped=tuple(map(moved, draft.skipped)),
    )  # fmt: skip


def _replaced(draft: Draft, act: ReplaceBoard, kind_of: KindOf) -> Draft:
    """Another unit under an old name: it must have every channel that is in use."""
    old = _board_named(draft, act.name)
    row = _row(draft, act.key)
    holder = _holder(draft, row)
    if holder is not None and holder.name != act.name:
        raise GatewayError(
            "board.adopted", "Drop the board that it is now, first", board=holder.name
        )
    offered = [match.kind.profile for match in row.matches]
    usual = old.kind.profile if old.kind.profile in offered else next(iter(offered), "")
    kind = _kind(row, act.profile or usual, kind_of)
    for number, door in sorted(draft.doors.items()):
        for point, count in _uses(door, kind):
            if drafts.of(point) == act.name and drafts.channel(point) >= count:
                raise GatewayError(
                    "board.too_small", "Choose a board with as many channels, or forget this door",
                    board=act.name, door=number, point=point,
                )  # fmt: skip
    board = Board(name=act.name, line=row.line, unit=row.unit, kind=kind, findings=row.findings)
    gone = {
        number
        for number, door in draft.doors.items()
        if act.name in {drafts.of(point) for point in (door.lock, door.switch, door.occupancy)}
    }
    return drafts.changed(
        draft, boards={**draft.boards, act.name: board},
        trials={number: one for number, one in draft.trials.items() if number not in gone},
    )  # fmt: skip


def _uses(door: DoorItem, kind: Kind) -> tuple[tuple[str, int], ...]:
    sensed = len(kind.measures) if door.occupied_below else kind.inputs
    occupancy = ((door.occupancy, sensed),) if door.occupancy else ()
    return (door.lock, kind.outputs), (door.switch, kind.inputs), *occupancy


def _row(draft: Draft, key: str) -> FoundBoard:
    for row in draft.found:
        if row.key == key:
            return row
    raise GatewayError("board.not_found", "Scan again: this board is not among the found", key=key)


def _holder(draft: Draft, row: FoundBoard) -> Board | None:
    boards = draft.boards.values()
    return next((one for one in boards if (one.line, one.unit) == (row.line, row.unit)), None)


def _kind(row: FoundBoard, profile: str, kind_of: KindOf) -> Kind:
    offered = next((one.kind for one in row.matches if one.kind.profile == profile), None)
    kind = offered or kind_of(profile)
    if kind is None:
        raise GatewayError("board.no_profile", "Choose one of the profiles", profile=profile)
    low, high = kind.units
    if not low <= row.unit <= high:
        raise GatewayError(
            "board.unit", "Give this board a number that its make can have",
            unit=row.unit, low=low, high=high,
        )  # fmt: skip
    return kind


def _board_named(draft: Draft, name: str) -> Board:
    board = draft.boards.get(name)
    if board is None:
        raise GatewayError("board.unknown", "Look at the boards there are", board=name)
    return board


# --- locks and doors ------------------------------------------------------------------------------


def _skipped(draft: Draft, act: Skip) -> Draft:
    if act.lock not in drafts.locks(draft):
        raise GatewayError("teach.no_lock", "Adopt the board of this lock first", lock=act.lock)
    door = drafts.door_of(draft, act.lock)
    if door is not None:
        raise GatewayError("teach.taught", "Forget the door of this lock first", door=door.number)
    others = tuple(lock for lock in draft.skipped if lock != act.lock)
    return drafts.changed(draft, skipped=others if act.undo else (*others, act.lock))


def forget(draft: Draft, numbers: set[int]) -> Draft:
    """Return the draft without these doors; what a person said of them is kept."""
    doors = {number: door for number, door in draft.doors.items() if number not in numbers}
    gone = {number: door for number, door in draft.doors.items() if number in numbers}
    kept = dict([*draft.forgotten.items(), *gone.items()][-DOORS_MAX:])
    return drafts.changed(
        draft, doors=doors, forgotten=kept,
        trials={number: one for number, one in draft.trials.items() if number not in numbers},
    )  # fmt: skip


_TRIED_AGAIN: Final = frozenset({"pulse_ms", "occupied_below"})
"""What makes a trial of the door as it was worth nothing."""


def _set(draft: Draft, numbers: tuple[int, ...], act: SetDoor | SetDoors, to: int | None) -> Draft:
    said = {
        name: value
        for name, value in asdict(act).items()
        if value is not None and name not in {"revision", "number", "numbers", "to"}
    }
    doors, trials = dict(draft.doors), dict(draft.trials)
    for number in numbers:
        door = _door(draft, number)
        _fits(draft, door, said)
        doors[number] = replace(door, **said)
        if any(getattr(door, name) != said[name] for name in said.keys() & _TRIED_AGAIN):
            trials.pop(number, None)
    if to is not None and to != numbers[0]:
        if to in doors:
            raise GatewayError("door.exists", "Give that door another number first", door=to)
        doors, trials = _renumbered(doors, trials, numbers[0], to)
    forgotten = {number: door for number, door in draft.forgotten.items() if number != to}
    return drafts.changed(draft, doors=doors, trials=trials, forgotten=forgotten)


def _renumbered(
    doors: Mapping[int, DoorItem], trials: Mapping[int, DoorTrial], number: int, to: int
) -> tuple[dict[int, DoorItem], dict[int, DoorTrial]]:
    """The same door under another number: what was proved of it still holds."""
    return (
        {
            (to if one == number else one): replace(door, number=to) if one == number else door
            for one, door in doors.items()
        },
        {
            (to if one == number else one): replace(trial, number=to) if one == number else trial
            for one, trial in trials.items()
        },
    )


def _fits(draft: Draft, door: DoorItem, said: Mapping[str, object]) -> None:
    below, pulse_ms = said.get("occupied_below"), said.get("pulse_ms")
    if below is not None and bool(below) != bool(door.occupied_below):
        raise GatewayError(
            "door.no_measure", "Teach this door again, with something put in and taken out",
            door=door.number,
        )  # fmt: skip
    most = draft.boards[drafts.of(door.lock)].kind.max_on_ms
    if isinstance(pulse_ms, int) and pulse_ms > most:
        raise GatewayError(
            "map.pulse", "Shorten the pulse of this door", door=door.number, most_ms=most
        )


def _placed(draft: Draft, act: PlaceDoor) -> Draft:
    door = _door(draft, act.number)
    rows = act.rows or door.rows
    if bool(act.column) != bool(act.row):
        raise GatewayError("door.place", "A place has both column and row, from 1")
    if act.column and act.row + rows - 1 > COLUMNS_MAX:
        raise GatewayError("door.place", "This picture has no such place", most=COLUMNS_MAX)
    span = range(act.row, act.row + rows)
    for other in draft.doors.values():
        theirs = range(other.row, other.row + other.rows)
        meets = span.start < theirs.stop and theirs.start < span.stop
        if other is not door and act.column and other.column == act.column and meets:
            raise GatewayError(
                "map.same_place", "Move one of these two doors in the picture of the bank",
                door=act.number, other=other.number,
            )  # fmt: skip
    moved = replace(door, column=act.column, row=act.row, rows=rows)
    return drafts.changed(draft, doors={**draft.doors, act.number: moved})


def _door(draft: Draft, number: int) -> DoorItem:
    door = draft.doors.get(number)
    if door is None:
        raise GatewayError("door.unknown", "Look at the doors there are", door=number)
    return door
