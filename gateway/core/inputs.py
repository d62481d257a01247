"""What can happen to this site, as values. Each carries `now`; nothing here reads a clock or dice.

Text from people (`digits`, `tracking`) comes as typed, at most 64 characters, a scanned `text` at
most `capability.TEXT_MAX`; the engine judges it.
Randomness that a decision needs comes inside its input.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from certs.keys import Verifier
from gateway.core.commands import *  # noqa: F403  # one vocabulary, in three files
from gateway.core.moments import *  # noqa: F403
from gateway.core.moments import Input
from sync.codes import CodeKey
from sync.fold import Taken

# --- people at a kiosk ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeEntered(Input):
    """Somebody typed a pick-up code."""

    kiosk: str
    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffCodeEntered(Input):
    """Somebody typed a courier's secret."""

    kiosk: str
    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelScanned(Input):
    """A courier scanned or typed a tracking number. `salt` is 16 random bytes for its annex."""

    kiosk: str
    tracking: str = field(repr=False)
    salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityScanned(Input):
    """Somebody showed a capability (FORMATS.md 7). `salt` is 16 random bytes for an annex."""

    kiosk: str
    text: str = field(repr=False)
    salt: bytes = field(repr=False)


class Button(StrEnum):
    """Every button a kiosk can show. `argument` of `ButtonPressed` is named in brackets."""

    COLLECT = "collect"
    DELIVER = "deliver"
    HOME = "home"
    STAY = "stay"
    OPEN_AGAIN = "open_again"
    SIZE = "size"  # [S, M, L, XL], or with `low` appended: `S low`
    ANOTHER_PIECE = "another_piece"
    TOO_SMALL = "too_small"
    RETRY = "retry"
    YES = "yes"
    NO = "no"
    MINE = "mine"
    TAKE_BACK = "take_back"  # [compartment number]
    NEXT = "next"
    HELP = "help"
    DOOR = "door"  # [compartment number]
    TEST = "test"
    EMPTY = "empty"
    OCCUPIED = "occupied"
    DISABLE = "disable"
    ENABLE = "enable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ButtonPressed(Input):
    """Somebody pressed a button of the screen they see."""

    kiosk: str
    button: Button
    argument: str = ""


# --- doors and boards -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSeen(Input):
    """The door switch, debounced: sent when it changes, and for each door after start or `Poll`."""

    door: int
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OccupancySeen(Input):
    """The occupancy sensor, debounced: sent when it changes, and after start or `Poll`."""

    door: int
    occupied: bool


PulseResult = Literal["done", "not_sent", "unanswered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseDone(Input):
    """The end of a `Pulse`: done, surely not sent (`why` is a stable code), or unanswered."""

    intent: str
    door: int
    result: PulseResult
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSilent(Input):
    """A board is lost (3 s and 2 cycles); these doors cannot be seen or opened through it."""

    board: str
    doors: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardBack(Input):
    """A board answers again. `DoorSeen` and `OccupancySeen` of its doors follow."""

    board: str
    doors: tuple[int, ...]


# --- the log and the clock --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted(Input):
    """Everything up to the `Persist` of this number is durable."""

    upto: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistFailed(Input):
    """Nothing after the last `Persisted` is durable, and nothing more will be: recover anew."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePassed(Input):
    """The moment asked for by `WakeAt` has come (early or late is harmless)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockAnchored(Input):
    """The clock room found what UTC is: written at start, and when trust or offset change."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanesMeasured(Input):
    """Once an hour: sizes and base64 roots of the durable lanes, to be tied together."""

    lanes: dict[str, tuple[int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthMeasured(Input):
    """Counters and gauges for the telemetry lane."""

    values: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Input):
    """Something outside the doors needs a person, or no longer does (`disk.low`, `clock.floor`)."""

    alarm: str
    about: str = ""
    standing: bool = True


# --- trust ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustTold(Input):
    """Whom this site believes: who may sign capabilities, and which are denied (cti in hex).

    Told at every start and whenever a newer list of denials came; the whole of it each time. Until
    then no capability is believed. `number` is that of the list.
    """

    signers: tuple[Verifier, ...]
    denied: frozenset[str]
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTold(Input):
    """Somebody tried to get in: `what`, `by` and `why` as in `access.judged`.

    The first of a (what, why) goes on record at once, more of them together once a minute.
    """

    what: str
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeKeyTold(Input):
    """A code key of this site came while it runs; `KeyRotates` of use `code` then begins its use.

    Nothing is written. After a start it comes with the settings as the others do.
    """

    key: CodeKey = field(repr=False)


# --- the cloud --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesArrived(Input):
    """Entries of others, durable here by now, as `sync.fold.read` gives them, logs by `fold.turn`.

    Order and repeats are harmless. They are acknowledged by the session, which may do so once they
    are stored: nothing waits for this turn. Where the book is `stale` afterwards (the lost suffix
    of an earlier epoch came back), the shell recovers a new engine from the store.
    """

    entries: tuple[Taken, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp(Input):
    """The hub can be reached. Health only: nothing that people do depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDown(Input):
    """The hub cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceRaised(Input):
    """Continuity is broken in the middle of an epoch, says `why` (a stable code).

    From here on no door opens for a code: what proved a door in this epoch proves nothing any more.
    The way out is a restart into a new epoch (`EpochBegun` with `fence`).
    """

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorsWitnessed(Input):
    """A witness outside the disk (`why`) shows that these doors were not opened since the head.

    The head is that of the restored log. Counts behind a fence only, and not for a door that was
    touched since this epoch began.
    """

    unopened: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySettled(Input):
    """The hub (`by`) holds no more of this site's earlier epochs than we do.

    Said once a connection; a fence with every door proved is lifted then.
    """

    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotAsked(Input):
    """Sign the book as it stands: `snapshot.taken`, and its bytes in the same `Persist`."""


Recovered = Taken
"""A stored entry as `Book.take` wants it."""
