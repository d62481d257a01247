"""The vocabulary: one frozen type for each thing that can happen.

A fact becomes an entry when the site gives it a place in a log (`sync.entry`). The fields here are
the keys of the entry (FORMATS.md 2) beside `at`, `prev` and `private`, which the writer adds. Kinds
are never reused. References are text, `<epoch>:<s|h><u|c|t><index>`. Fields that do not apply are
left out of the bytes: the format has no null.

No names, phone numbers or codes in any fact, ever. What is personal lives in the annex.
"""

from typing import Literal, Union, get_args

import msgspec

from sync.entry import Entry, Lane, Writer
from sync.errors import TheirsInvalid
from sync.fact import *  # noqa: F403  # one vocabulary, in four files that read in a sitting
from sync.fact import Basis, Fact, Outcome, Purpose, Scalar, Size
from sync.installing import *  # noqa: F403
from sync.installing import LockEnded, LockIntended, SiteCommissioned, SiteDecommissioned
from sync.promises import *  # noqa: F403
from sync.promises import (
    CapacityReleased,
    CapacityTransferred,
    ClaimMade,
    ExpectationEnded,
    FoldSwitched,
    OpenRequested,
    ParcelExpected,
    RequestDeclined,
    ReservationCancelled,
    ReservationClosed,
    ReservationMade,
)

# --- urgent -----------------------------------------------------------------------------------


class EpochOpened(Fact, frozen=True, kw_only=True, tag="epoch.opened"):
    """A log begins. `parents` maps each earlier origin to [size, base64 root]; none at first start.

    `site` is the writer (`site/0042`, or `hub/0042`), `version` the entry format. A later epoch
    says `why` it began, and `snapshot` is the base64 SHA-256 of the book that it began with.
    """

    site: str
    version: int
    parents: dict[str, tuple[int, str]] = {}  # noqa: RUF012  # msgspec copies it
    why: str = ""
    snapshot: str = ""


class FenceSet(Fact, frozen=True, kw_only=True, tag="fence.set"):
    """Continuity is not proved: until lifted, only proved doors open for a code, none is given."""

    why: str


class FenceLifted(Fact, frozen=True, kw_only=True, tag="fence.lifted"):
    """The fence `of` ends: the lost entries are back, or given up, and the doors taken stock of."""

    by: str


class AlarmRaised(Fact, frozen=True, kw_only=True, tag="alarm.raised"):
    """Something needs a person: `alarm` is a stable code such as `door.forced`."""

    alarm: str
    about: str = ""


class AlarmCleared(Fact, frozen=True, kw_only=True, tag="alarm.cleared"):
    """Ends the raises it names (add-wins: a raise it has not seen stays)."""

    raises: tuple[str, ...]


class CompartmentFreed(Fact, frozen=True, kw_only=True, tag="compartment.freed"):
    """News: a class of compartments (size, climate band) that had none free has one again."""

    size: Size
    band: str = ""


class GrantRevoked(Fact, frozen=True, kw_only=True, tag="grant.revoked"):
    """The grant `of` ends; once seen it wins over everything."""

    by: str


# --- custody: time, configuration, rights -----------------------------------------------------


class TimeAnchored(Fact, frozen=True, kw_only=True, tag="time.anchored"):
    """(boot, monotonic) of this entry was `utc_ms` +- `error_ms`, says `source`."""

    utc_ms: int
    error_ms: int
    source: str


class LanesTied(Fact, frozen=True, kw_only=True, tag="lanes.tied"):
    """Sizes and base64 roots of the lanes, so that lanes of different days cannot be mixed."""

    lanes: dict[str, tuple[int, str]]


class ConfigSet(Fact, frozen=True, kw_only=True, tag="config.set"):
    """One item of the site's map. `item` is `map` (a new map begins), `line`, `board` or `door`.

    `setting` is one setting, {"key", "value"}: the hub's versions, and the site's overrides, which
    end when a version of the hub has seen them.
    """

    item: str
    value: dict[str, Scalar]


class GrantIssued(Fact, frozen=True, kw_only=True, tag="grant.issued"):
    """A right; `grant` says which, `tag` is the keyed tag of its secret (base64).

    `courier`: deliver, until revoked or `until_ms` (UTC). `collect`: open the parcel `of` once.
    One that goes out as a capability (FORMATS.md 7) has its `cti` (16 hex digits), no `tag`, and
    may be of any kind that `CapabilityAccepted` names.
    """

    grant: str
    tenant: str
    label: str
    tag: str
    key_version: int
    until_ms: int | None = None
    cti: str | None = None


class CapabilityAccepted(Fact, frozen=True, kw_only=True, tag="capability.accepted"):
    """A capability was shown here for the first time, and is good: from now on a right of this log.

    `cti` is its id (16 hex digits), `action` what it gives (another version's stops no log), `kid`
    (8 hex digits) who signed it, `of` the parcel it opens or the entry it is about, `tenant` and
    `room` as in it, `clock` how far that was trusted. What it opens names this entry (`by`).
    """

    cti: str
    action: str
    kid: str
    until_ms: int
    clock: str
    tenant: str = ""
    room: str = ""


class CapabilityRefused(Fact, frozen=True, kw_only=True, tag="capability.refused"):
    """Capabilities that opened nothing: `why` is stable, `cti` is left out where none was read."""

    why: str
    cti: str | None = None
    count: int = 1


class AccessJudged(Fact, frozen=True, kw_only=True, tag="access.judged"):
    """Somebody tried to get in or to change who may: `what` (`pair`, `sign_in`, `enrol`, ...).

    `by` is who as far as it is known, `why` the stable code of a refusal, empty when it was done.
    """

    what: str
    by: str
    why: str = ""
    count: int = 1


class KeyRotated(Fact, frozen=True, kw_only=True, tag="key.rotated"):
    """The key of one use is another from here on.

    `log`: `vkey` (named `<operator>/<writer>`) signs from now on, for an overlap beside the older
    one. `code`: what is deposited from now on is derived by `key_version`. `tls`, `lan`: `pin` is
    the SHA-256 of the new SPKI (64 hex digits). Another use, of a later version, stops no log.
    """

    use: str
    vkey: str = ""
    key_version: int | None = None
    pin: str = ""


class AnnexErased(Fact, frozen=True, kw_only=True, tag="annex.erased"):
    """The annex of `of` is gone for good; replayed on every import, restore and heal.

    The site erases any annex, the hub only those of its own entries (`entry.may_erase`): another
    one of the hub's erases nothing, on no disk and in no book.

    `tags` are the keyed tags (base64) of its parcel's retired code, short and long: typed once
    more, it is still known as used, and costs nobody a guess.
    """

    by: str
    tags: tuple[str, ...] = ()


# --- custody: doors ---------------------------------------------------------------------------


class OpenIntended(Fact, frozen=True, kw_only=True, tag="open.intended"):
    """The site is about to pulse this door's lock once, not later than `deadline` (monotonic ms).

    `by` names the authority: `code`, a grant's reference, or `support:<who>`. `of` is the parcel or
    the grant it acts for. A repeated attempt names the one before in `again`, and `why`. `asked` is
    the hub's request that it answers, `reservation` the promise that a deposit keeps.
    """

    purpose: Purpose
    by: str
    attempt: int
    deadline: int
    again: str | None = None
    why: str = "asked"
    case: str = ""
    size: Size | None = None
    asked: str | None = None
    reservation: str | None = None


class OpenEnded(Fact, frozen=True, kw_only=True, tag="open.ended"):
    """The one outcome of the intent `of`; only `late` may follow `failed` or `doubt`.

    `occupied` is the occupancy evidence where the outcome had to be judged without the door.
    """

    outcome: Outcome
    why: str = ""
    took_ms: int | None = None
    occupied: bool | None = None


class DoorOpened(Fact, frozen=True, kw_only=True, tag="door.opened"):
    """The door was seen open within the command window of the intent `of`."""


class DoorClosed(Fact, frozen=True, kw_only=True, tag="door.closed"):
    """The door is closed, stable for a second. `occupied` is left out where nothing tells."""

    occupied: bool | None = None


class DoorForced(Fact, frozen=True, kw_only=True, tag="door.forced"):
    """The door was seen open outside every command window. `found`: already so at start."""

    found: bool = False


class DoorAjar(Fact, frozen=True, kw_only=True, tag="door.ajar"):
    """The door has been open for `open_ms`."""

    open_ms: int


# --- custody: parcels -------------------------------------------------------------------------


class ParcelDeposited(Fact, frozen=True, kw_only=True, tag="parcel.deposited"):
    """A parcel is in this compartment; this entry's reference is the parcel's identity in the log.

    `digits`, `counter` and `key_version` say how its code is derived (FORMATS.md 6), `tag` is the
    keyed tag of its identity (base64 of 12 bytes), `by` the courier's grant, `of` the intent.
    """

    by: str
    size: Size
    digits: int
    counter: int
    key_version: int
    tag: str
    basis: Basis


class ParcelCollected(Fact, frozen=True, kw_only=True, tag="parcel.collected"):
    """The parcel `of` is gone with its recipient: opened, closed, empty by evidence, grace over."""

    by: str
    basis: Basis


class ParcelClaimed(Fact, frozen=True, kw_only=True, tag="parcel.claimed"):
    """Opened and closed, but nothing tells whether it is empty: the next courier confirms."""

    by: str


class ParcelLeft(Fact, frozen=True, kw_only=True, tag="parcel.left"):
    """Opened and closed with the parcel still inside; its code stays good."""


class ParcelTakenBack(Fact, frozen=True, kw_only=True, tag="parcel.taken_back"):
    """The courier of this session took the own deposit out again."""

    by: str
    basis: Basis


# --- custody: compartments and codes ----------------------------------------------------------


class CompartmentDisabled(Fact, frozen=True, kw_only=True, tag="compartment.disabled"):
    """Nothing is deposited here until somebody who saw this enables it again."""

    by: str
    why: str


class CompartmentEnabled(Fact, frozen=True, kw_only=True, tag="compartment.enabled"):
    """In service again."""

    by: str


class CompartmentDoubted(Fact, frozen=True, kw_only=True, tag="compartment.doubted"):
    """The site cannot tell what is inside; `occupied` is what the sensor says."""

    why: str
    occupied: bool | None = None


class CompartmentChecked(Fact, frozen=True, kw_only=True, tag="compartment.checked"):
    """A person looked: `by` says it is occupied or empty."""

    by: str
    occupied: bool


class CodeRefused(Fact, frozen=True, kw_only=True, tag="code.refused"):
    """Entries at the keypad that opened nothing; `why` is stable, never what was typed.

    A charged one has spent a token before the answer was shown: `level_ms` is what the site's
    bucket holds afterwards, in milliseconds of refill. Uncharged ones are counted together.
    """

    form: Literal["short", "long", "staff"]
    why: str
    charged: bool = False
    count: int = 1
    level_ms: int | None = None


class DoorProved(Fact, frozen=True, kw_only=True, tag="door.proved"):
    """Behind a fence: a witness outside the disk (`why`) shows that nothing opened this door."""

    why: str


class SnapshotTaken(Fact, frozen=True, kw_only=True, tag="snapshot.taken"):
    """The book up to `lanes` (log: size), folded by rules `fold`, has this base64 SHA-256."""

    fold: int
    lanes: dict[str, int]
    sha256: str


# --- telemetry --------------------------------------------------------------------------------


class HealthSampled(Fact, frozen=True, kw_only=True, tag="health.sampled"):
    """Counters and gauges of this site at this moment."""

    values: dict[str, int]


URGENT = (
    EpochOpened, FenceSet, FenceLifted, AlarmRaised, AlarmCleared, CompartmentFreed, GrantRevoked,
)  # fmt: skip
TELEMETRY = (HealthSampled,)
HUB_ONLY = (
    ParcelExpected, ExpectationEnded, ClaimMade, OpenRequested, ReservationMade,
    ReservationCancelled, FoldSwitched,
)  # fmt: skip
"""What only the hub writes, in its lanes for the site."""
EITHER = (
    EpochOpened, AlarmCleared, GrantIssued, GrantRevoked, ConfigSet, TimeAnchored, LanesTied,
    CompartmentDisabled, CompartmentEnabled, CapacityTransferred, AnnexErased, KeyRotated,
)  # fmt: skip
"""What both write, each in its own lanes. Everything else is the site's alone."""
AnyFact = Union[  # noqa: UP007  # forty bars read worse
    EpochOpened, FenceSet, FenceLifted, AlarmRaised, AlarmCleared, CompartmentFreed, GrantRevoked,
    TimeAnchored, LanesTied, ConfigSet, GrantIssued, CapabilityAccepted, CapabilityRefused,
    AccessJudged, KeyRotated, SiteDecommissioned, AnnexErased, LockIntended, LockEnded,
    SiteCommissioned, OpenIntended, OpenEnded, DoorOpened, DoorClosed, DoorForced, DoorAjar,
    ParcelDeposited, ParcelCollected, ParcelClaimed, ParcelLeft, ParcelTakenBack,
    CompartmentDisabled, CompartmentEnabled, CompartmentDoubted, CompartmentChecked, CodeRefused,
    DoorProved, SnapshotTaken, ParcelExpected, ExpectationEnded, ClaimMade, OpenRequested,
    RequestDeclined, ReservationMade, ReservationCancelled, ReservationClosed, CapacityTransferred,
    CapacityReleased, FoldSwitched, HealthSampled,
]  # fmt: skip
KINDS: dict[str, type[Fact]] = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyFact)}
"""The vocabulary: every kind and its type."""


def kind_of(fact: Fact) -> str:
    """Return the dotted name of what the fact says."""
    return str(fact.__struct_config__.tag)


def lane_of(fact: Fact) -> Lane:
    """Return the one lane in which facts of this type are written."""
    return lane_of_type(type(fact))


def lane_of_type(kind: type[Fact]) -> Lane:
    """Return the one lane of a type of fact."""
    if kind in URGENT:
        return Lane.URGENT
    return Lane.TELEMETRY if kind in TELEMETRY else Lane.CUSTODY


def may_write(writer: Writer, fact: Fact) -> bool:
    """Return whether facts of this type are this writer's to write."""
    if isinstance(fact, EITHER):
        return True
    return isinstance(fact, HUB_ONLY) == (writer is Writer.HUB)


def to_object(fact: Fact) -> dict[str, object]:
    """Return the entry's keys that come from the fact, in the types that JSON has."""
    built: dict[str, object] = msgspec.json.decode(msgspec.json.encode(fact))
    return built


def from_entry(entry: Entry) -> AnyFact | None:
    """Return the fact an entry states, or None for a kind this version does not know.

    Unknown keys are ignored. A known kind with a missing or mistyped key: `fact.malformed`.
    """
    kind = KINDS.get(entry.kind)
    if kind is None:
        return None
    try:
        return msgspec.convert(entry.body, kind)  # type: ignore[return-value]  # KINDS holds AnyFact
    except msgspec.ValidationError as error:
        raise TheirsInvalid(
            "fact.malformed",
            "Keep the entry, and ask its writer which version wrote it.",
            kind=entry.kind,
            reason=str(error),
        ) from error
