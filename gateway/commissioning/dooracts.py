"""Acts on locks and doors of a draft: left out, forgotten, described, placed. Pure."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import asdict, replace

from gateway.commissioning import draft as drafts
from gateway.commissioning.asks import Forget, PlaceDoor, SetDoor, SetDoors, Skip
from gateway.commissioning.draft import Draft
from gateway.commissioning.proof import DoorTrial
from gateway.errors import GatewayError
from gateway.mapfile import DOORS_MAX
from sync.sitemap import COLUMNS_MAX, DoorItem


def skipped(draft: Draft, act: Skip) -> Draft:
    """Leave a lock out, or take that back."""
    if act.lock not in drafts.locks(draft):
        raise GatewayError("teach.no_lock", "Adopt the board of this lock first", lock=act.lock)
    door = drafts.door_of(draft, act.lock)
    if door is not None:
        raise GatewayError("teach.taught", "Forget the door of this lock first", door=door.number)
    others = tuple(lock for lock in draft.skipped if lock != act.lock)
    return drafts.changed(draft, skipped=others if act.undo else (*others, act.lock))


def forgotten(draft: Draft, act: Forget) -> Draft:
    """Take a door off its points."""
    _door(draft, act.number)
    return forget(draft, {act.number})


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


def described(
    draft: Draft, numbers: tuple[int, ...], act: SetDoor | SetDoors, to: int | None
) -> Draft:
    """Say what doors are like; `to` gives the one another number."""
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


def placed(draft: Draft, act: PlaceDoor) -> Draft:
    """Put a door into the picture of the bank."""
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
