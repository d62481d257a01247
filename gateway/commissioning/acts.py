"""Acts: what a person asks, and those that change the draft alone, done. Pure.

A refused act changes nothing. What needs hardware is done by `gateway.commissioning.bench`.
"""

from msgspec.structs import replace

from gateway.commissioning import boardacts, dooracts
from gateway.commissioning.asks import (
    Act,
    Address,
    Adopt,
    AdoptAll,
    Again,
    Begin,
    BenchAct,
    Cancel,
    Close,
    DataAct,
    DropBoard,
    Forget,
    Look,
    Nothing,
    PlaceDoor,
    Popped,
    Prove,
    RenameBoard,
    ReplaceBoard,
    Scan,
    SetDoor,
    SetDoors,
    Sign,
    Skip,
    Stop,
    Sweep,
    Take,
    Try,
    fresh,
    read,
)
from gateway.commissioning.sheet import Draft, KindOf, no_kind

__all__ = [
    "Act",
    "Address",
    "Adopt",
    "AdoptAll",
    "Again",
    "Begin",
    "BenchAct",
    "Cancel",
    "Close",
    "DataAct",
    "DropBoard",
    "Forget",
    "Look",
    "Nothing",
    "PlaceDoor",
    "Popped",
    "Prove",
    "RenameBoard",
    "ReplaceBoard",
    "Scan",
    "SetDoor",
    "SetDoors",
    "Sign",
    "Skip",
    "Stop",
    "Sweep",
    "Take",
    "Try",
    "fresh",
    "perform",
    "read",
]


def perform(draft: Draft, act: DataAct, at_ms: int, *, kind_of: KindOf = no_kind) -> Draft:
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
            return boardacts.adopted(draft, act, kind_of)
        case AdoptAll():
            return boardacts.all_adopted(draft)
        case DropBoard():
            return boardacts.dropped(draft, act)
        case RenameBoard():
            return boardacts.renamed(draft, act)
        case _:
            return boardacts.replaced(draft, act, kind_of)


def _door_act(draft: Draft, act: Skip | Forget | SetDoor | SetDoors | PlaceDoor) -> Draft:
    match act:
        case Skip():
            return dooracts.skipped(draft, act)
        case Forget():
            return dooracts.forgotten(draft, act)
        case SetDoor():
            return dooracts.described(draft, (act.number,), act, act.to)
        case SetDoors():
            return dooracts.described(draft, act.numbers, act, None)
        case _:
            return dooracts.placed(draft, act)
