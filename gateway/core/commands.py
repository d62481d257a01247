"""What people with access to this machine, or installers, ask of the engine, as values.

Each is answered by `Answer(token, ...)`. Part of the vocabulary (`gateway.core.inputs`).
"""

from dataclasses import dataclass, field
from typing import Literal

from gateway.core.moments import Input
from sync.sitemap import SiteMap

__all__ = [
    "AnnexEraseAsked",
    "BenchAsked",
    "Command",
    "CourierAdded",
    "CourierRemoved",
    "Decommissions",
    "DoorServiced",
    "DoorTested",
    "EpochBegun",
    "FenceLiftAsked",
    "KeyRotates",
    "LockTold",
    "LockTried",
    "MapImported",
    "ServiceSet",
    "SiteSigned",
    "SupportChecked",
    "SupportOpens",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Input):
    """A person with access to this machine asks; `by` names them, `token` finds the answer."""

    token: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochBegun(Command):
    """The very first input of a new epoch. `parents`, `why`, `snapshot` as in `epoch.opened`.

    A later epoch names at least the custody log of the one before it, no longer than folded here.
    With `fence` (why) it begins fenced: a restore, a lost disk, a replaced gateway.
    """

    site: str
    parents: dict[str, tuple[int, str]] = field(default_factory=dict)
    why: str = ""
    snapshot: str = ""
    fence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceLiftAsked(Command):
    """End the fence. `trust_history`: an operator answers for the doors that nothing proves."""

    trust_history: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MapImported(Command):
    """A whole new map of the bank."""

    map: SiteMap


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchAsked(Command):
    """An installer wants the boards: refused (`site.busy`) while anybody is at a door."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTried(Command):
    """An installer is about to pulse a coil by its place: `lock` is `<board>:<channel>`.

    Answered once the intent is durable: its reference, and `deadline` (monotonic ms) in evidence.
    Refused where a parcel may be behind the door that the map gives this lock (`door.occupied`).
    """

    lock: str
    line: str
    unit: int
    ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTold(Command):
    """What came of the intent `of`: as in `lock.ended`."""

    of: str
    outcome: Literal["pulsed", "opened", "failed", "doubt"]
    why: str = ""
    took_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSigned(Command):
    """An installer signs this site off: the map, and what the proof said, in one turn.

    `report` is the base64 SHA-256 of the report. The same map again writes no map.
    """

    map: SiteMap
    report: str
    passed: int
    failed: int
    audit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierAdded(Command):
    """A courier's right; `tag` is the keyed tag (base64) of the typed secret, never the secret."""

    tenant: str
    label: str
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierRemoved(Command):
    """The right `grant` ends now."""

    grant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportOpens(Command):
    """Open one door, for a reason, on a case."""

    door: int
    reason: str
    case: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorTested(Command):
    """An installer (`by`) opens one door to try it: refused where a parcel may be behind it."""

    door: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportChecked(Command):
    """Somebody on site looked into a compartment."""

    door: int
    occupied: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSet(Command):
    """Take a compartment out of service (`enabled` false, with its reason) or back."""

    door: int
    enabled: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorServiced(Command):
    """An installer (`by`) takes a compartment out of service, with a reason, or back.

    Refused (`service.others`) where somebody else took it out: support, the hub, a technician.
    """

    door: int
    enabled: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnexEraseAsked(Command):
    """Erase what names the parcel `ref` (refused while the parcel is live)."""

    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotates(Command):
    """The key of one use is another from here on; the rest as in `key.rotated`.

    For `code` the key itself is here already (settings, or `CodeKeyTold`): else `key.unknown`.
    """

    use: Literal["log", "code", "tls", "lan"]
    vkey: str = ""
    key_version: int | None = None
    pin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decommissions(Command):
    """The last command: after its entry this site writes nothing more in this epoch.

    Refused (`site.holds`) while a compartment holds something, unless `force`.
    """

    why: str
    force: bool = False
