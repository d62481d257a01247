"""What a person can ask of the bench, as values: one JSON object an act, `do` names it. Pure.

An act may carry the revision that its author saw: then it is refused when the draft has moved
since. Whatever an act may not say is refused before anything is done.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from gateway.commissioning.sheet import DOOR_MAX, TEXT_MAX, Draft, Name
from gateway.errors import GatewayError
from gateway.mapfile import MEASURE_MAX, PULSE_MS_MAX
from sync.facts import Size
from sync.sitemap import COLUMNS_MAX, ROWS_MAX, Reach

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
    units: tuple[Unit, Unit] | None = None


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
        raise _malformed(ascii(str(error))[:TEXT_MAX]) from None
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
