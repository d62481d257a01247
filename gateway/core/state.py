"""What the rooms of the core share: the book, what was seen since start, and this turn's outputs.

The order is inside: `write` puts an entry into the book and into this turn's `Persist`; `do` keeps
a visible effect (a pulse, a screen, an answer) until everything written by the end of the turn is
durable. Whatever is in memory only (doors seen, openings, sessions, timers) `recover` rebuilds.
"""

import hashlib
from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from certs.keys import Verifier
from gateway.core.inputs import Now
from gateway.core.outputs import (
    Answer,
    Draft,
    Erase,
    Output,
    PairingOpened,
    Persist,
    Poll,
    Pulse,
    Show,
    WakeAt,
)
from gateway.core.policy import Settings
from gateway.core.screen import Screen
from sync import canonical, facts
from sync.book import Book
from sync.codes import CodeKey
from sync.entry import Lane
from sync.errors import OursBroken
from sync.records import Compartment
from sync.sitemap import DoorItem

DECISIONS = (
    facts.OpenIntended, facts.ParcelDeposited, facts.ReservationClosed, facts.CapacityTransferred,
    facts.CapacityReleased, facts.RequestDeclined, facts.CompartmentDisabled,
    facts.CompartmentEnabled, facts.ConfigSet, facts.CapabilityAccepted,
)  # fmt: skip
"""What is decided by what the site has read of the hub: these entries say how far (`seen`)."""
NO_NEWS = (
    facts.CodeRefused, facts.LanesTied, facts.AnnexErased, facts.SnapshotTaken, facts.DoorAjar,
    facts.DoorOpened, facts.AlarmRaised, facts.AlarmCleared, facts.CompartmentFreed,
    facts.HealthSampled, facts.GrantIssued, facts.CapabilityRefused, facts.AccessJudged,
    facts.KeyRotated, facts.SiteDecommissioned, facts.LockIntended, facts.LockEnded,
    facts.SiteCommissioned,
)  # fmt: skip
"""Own entries after which nothing is to be done for the cloud (`gateway.core.cloud`)."""


@dataclass(frozen=True, slots=True)
class Annex:
    """What names a parcel, beside the log: canonical bytes and their salt."""

    data: bytes = field(repr=False)
    salt: bytes = field(repr=False)

    @property
    def private(self) -> str:
        """Return the entry key `private`: base64 SHA-256 of salt and annex."""
        return b64encode(hashlib.sha256(self.salt + self.data).digest()).decode()


class Phase(StrEnum):
    """Where an opening stands."""

    WAITING = "waiting"  # the intent is written; its pulse waits for the disk or the rail
    PULSING = "pulsing"
    WATCHING = "watching"  # pulsed; the command window runs
    OPEN = "open"
    SETTLING = "settling"  # closed, not yet for `stable_ms`
    ASKING = "asking"  # closed; a person is asked what is inside
    GRACE = "grace"  # collected, but may be opened again
    LATE = "late"  # given up; an opening now is late
    RECOVERING = "recovering"  # from before a restart; the door has not been seen yet


@dataclass(slots=True)
class Opening:
    """One door being opened for somebody, or found open (`purpose` none), until that is judged."""

    door: int
    purpose: facts.Purpose | Literal["none"]
    phase: Phase
    by: str = ""
    of: str | None = None
    kiosk: str | None = None
    token: str | None = None
    case: str = ""
    intent: str | None = None
    root: str | None = None
    earlier: str | None = None  # an intent before this one, whose pulse may still act
    attempt: int = 1
    deadline: int = 0
    started_ms: int = 0
    unanswered: bool = False
    opened_ms: int = 0
    occupied: bool | None = None
    size: facts.Size | None = None
    annex: Annex | None = field(default=None, repr=False)
    too_small: bool = False
    unconfirmed: bool = False
    ajar: int = 0
    asked: str | None = None  # the request of the hub that it answers
    reservation: str | None = None  # the promise of the hub that it keeps
    recovered: bool = False  # begun before a restart, or before a restore


@dataclass(slots=True)
class DoorSeenState:
    """A door as seen since start: None where nothing (any more) tells."""

    open: bool | None = None
    occupied: bool | None = None


@dataclass(slots=True)
class Rail:
    """One power rail: the intent whose coil may be on, and who waits."""

    busy: str | None = None
    queue: list[Pulse] = field(default_factory=list)


@dataclass(slots=True)
class Session:
    """The person at one kiosk."""

    kiosk: str
    screen: Screen = field(default_factory=lambda: Screen("welcome"))
    parcel: str | None = None
    grant: str | None = None  # by which the parcel is collected, if not by its own code
    courier: str | None = None
    identity: str | None = field(default=None, repr=False)
    salt: bytes = field(default=b"", repr=False)
    size: facts.Size | None = None
    low: bool = False
    tried: list[int] = field(default_factory=list)
    mine: list[str] = field(default_factory=list)
    service: str | None = None  # the right by which a technician is at work
    room: str = ""  # the class that a capability gives room in: `M`, or `M cold`
    fixed: str | None = field(default=None, repr=False)  # the parcel that a capability is about

    def clear(self) -> None:
        """End it: nobody's rights stay at the screen."""
        self.parcel = self.grant = self.courier = self.service = None
        self.identity = self.size = self.fixed = None
        self.salt, self.low, self.room = b"", False, ""
        self.tried, self.mine = [], []


TimerKey = tuple[str, int | str]


class State:
    """The book and everything volatile, with the few verbs every room uses."""

    def __init__(self, book: Book, settings: Settings, now: Now) -> None:
        self.book = book
        self.settings = settings
        self.now = now
        self.started_ms = now.mono_ms
        self.seen: dict[int, DoorSeenState] = {}
        self.silent: set[str] = set()
        self.openings: dict[int, Opening] = {}
        self.resting: dict[int, int] = {}
        self.rails: dict[str, Rail] = {}
        self.sessions = {kiosk: Session(kiosk) for kiosk in settings.kiosks}
        self.timers: dict[TimerKey, int] = {}
        self.long_after_ms = now.mono_ms + 10_000
        self.staff_after_ms = now.mono_ms
        self.uncharged = 0
        self.uncharged_why = ""
        self.uncharged_form: Literal["short", "long", "staff"] = "short"
        self.support_times: deque[int] = deque(maxlen=settings.support_doors_per_minute)
        self.on_site_ms: int | None = None
        self.scans: dict[str, deque[int]] = {}
        self.unscanned, self.unscanned_why = 0, ""  # capabilities refused, to be written together
        self.occupied_times: dict[str, deque[int]] = {}
        self.keys = {key.version: key for key in (*settings.older_keys, settings.code_key)}
        self.changed = False  # something that the cloud's promises depend on
        self.linked = False
        self.settled_by = ""
        self.full: frozenset[str] = frozenset()
        self.surfaced: set[tuple[str, str]] = set()
        self.other_tags: dict[tuple[str, int], str] = {}
        self.retired_tags: dict[str, tuple[bytes, ...]] = {}
        self.signers: tuple[Verifier, ...] = ()  # who may sign capabilities
        self.denied: frozenset[str] = frozenset()  # their ctis, in hex
        self.accesses: dict[tuple[str, str, str], tuple[int, str]] = {}  # kind: (count, by)
        self.stopped = ""
        self.written = 0
        self.durable = 0
        self.gated: deque[tuple[int, Output]] = deque()
        self._drafts: list[Draft] = []
        self._erase: list[Erase] = []
        self._snapshot: tuple[bytes, bytes] | None = None
        self._effects: list[Output] = []
        self._at_once: list[Output] = []
        self._wake: int | None = None

    # --- reading ------------------------------------------------------------------------------

    @property
    def mono(self) -> int:
        """Return the monotonic milliseconds of this input."""
        return self.now.mono_ms

    def item(self, door: int) -> DoorItem:
        """Return a door's place in the map."""
        return self.book.map.doors[door]

    def compartment(self, door: int) -> Compartment:
        """Return a compartment of the book."""
        return self.book.compartments[door]

    def look(self, door: int) -> DoorSeenState:
        """Return what was last seen of a door."""
        return self.seen.setdefault(door, DoorSeenState())

    def key(self, version: int) -> CodeKey | None:
        """Return the code key of a version, or None where this site does not have it."""
        return self.keys.get(version)

    @property
    def hub(self) -> dict[str, int]:
        """Return what is folded of the hub's logs: nothing while no hub is known."""
        return {log: size for log, size in self.book.sizes.items() if size and ":h" in log}

    @property
    def begun(self) -> bool:
        """Whether this epoch has its first entry, so that others may follow."""
        return self.book.sizes.get(f"{self.settings.epoch}:su", 0) > 0

    @property
    def over(self) -> bool:
        """Whether this epoch has the last entry of the site: nothing may follow it."""
        return self.settings.epoch in self.book.rights.decommissioned

    def reachable(self, door: int) -> bool:
        """Return whether the door's lock and switch can be used now."""
        item = self.item(door)
        boards = {item.lock.partition(":")[0], item.switch.partition(":")[0]}
        return not (boards & self.silent) and self.look(door).open is not None

    # --- writing ------------------------------------------------------------------------------

    def write(self, fact: facts.AnyFact, annex: Annex | None = None) -> str:
        """Give a fact its place in its lane and in the book; return its reference."""
        lane = facts.lane_of(fact)
        log = f"{self.settings.epoch}:s{lane.letter}"
        index = self.book.sizes.get(log, 0)
        entry = facts.to_object(fact) | {"at": list(self.now.at)}
        known = self.book.compartments.get(fact.door) if fact.door is not None else None
        if known is not None and known.last is not None and lane is Lane.CUSTODY:
            entry["prev"] = known.last
        if annex is not None:
            entry["private"] = annex.private
        seen = self.hub if isinstance(fact, DECISIONS) else {}
        if isinstance(fact, facts.ConfigSet) and fact.item != "setting":
            seen = {}
        if seen:
            entry["seen"] = seen
        self._drafts.append(
            Draft(
                lane, index, canonical.encode(entry),
                annex.data if annex else None, annex.salt if annex else None,
            )
        )  # fmt: skip
        beside = (annex.data, annex.salt) if annex else None
        private = annex.private if annex else None
        self.book.take(log, index, self.now.at, fact, beside, private, seen or None)
        stop = self.book.stopped.get(log)
        if stop is not None:
            raise OursBroken(stop.code, entry=f"{log}{index}", evidence=stop.evidence)
        if self.book.sizes.get(log, 0) != index + 1:
            raise OursBroken("engine.not_folded", entry=f"{log}{index}")
        self.changed = self.changed or not isinstance(fact, NO_NEWS)
        return f"{log}{index}"

    def snapshot(self, digest: bytes, data: bytes) -> None:
        """Have the bytes of the book kept in the commit of this turn."""
        self._snapshot = digest, data

    def erase(self, ref: str) -> None:
        """Have the annex of `ref` wiped in the commit of this turn."""
        self._erase.append(Erase(ref))

    def do(self, effect: Pulse | Show | Answer | PairingOpened) -> None:
        """Have an effect done once everything written in this turn is durable."""
        self._effects.append(effect)

    def show(self, kiosk: str, screen: Screen, *, at_once: bool = False) -> None:
        """Put a screen on a kiosk, and set when it ends."""
        session = self.sessions[kiosk]
        session.screen = screen
        if screen.ends_ms:
            warn = screen.ends_ms - self.settings.warn_ms
            self.timers["home", session.kiosk] = self.mono + screen.ends_ms
            self.timers["warn", session.kiosk] = self.mono + (warn if warn > 0 else screen.ends_ms)
        else:
            self.timers.pop(("home", session.kiosk), None)
            self.timers.pop(("warn", session.kiosk), None)
        (self._at_once if at_once else self._effects).append(Show(session.kiosk, screen))

    def warn(self, session: Session, screen: Screen) -> None:
        """Say that the screen will end soon; its end stays where it was."""
        session.screen = screen
        self._effects.append(Show(session.kiosk, screen))

    def answer(
        self, token: str | None, code: str = "", ref: str = "", **evidence: str | int
    ) -> None:
        """Answer a local command, if one asked."""
        if token is not None:
            self.do(Answer(token, code, ref, tuple(sorted(evidence.items()))))

    def poll(self, door: int, for_ms: int) -> None:
        """Have a door watched closely for a while."""
        self.at_once(Poll(door, self.mono + for_ms))

    def at_once(self, output: Output) -> None:
        """Put out something harmless without waiting for the disk."""
        self._at_once.append(output)

    def raise_alarm(self, alarm: str, door: int | None = None, about: str = "") -> None:
        """Raise an alarm that does not stand yet."""
        if not self.book.standing(alarm, door, about):
            self.write(facts.AlarmRaised(alarm=alarm, door=door, about=about))

    def clear_alarm(self, alarm: str, door: int | None = None, about: str = "") -> None:
        """Clear the raises of an alarm that stand."""
        raises = self.book.standing(alarm, door, about)
        if raises:
            self.write(facts.AlarmCleared(raises=raises, door=door))

    # --- the turn -----------------------------------------------------------------------------

    def due(self) -> list[TimerKey]:
        """Take the timers whose moment has come, in a fixed order."""
        keys = sorted(
            (key for key, when in self.timers.items() if when <= self.mono),
            key=lambda key: (self.timers[key], key[0], str(key[1])),
        )
        for key in keys:
            del self.timers[key]
        return keys

    def hand_over(self) -> list[Output]:
        """Return what may leave at once, and this turn's `Persist`; put effects behind it."""
        outputs: list[Output] = list(self._at_once)
        if self._drafts:
            self.written += 1
            erase, drafts = tuple(self._erase), tuple(self._drafts)
            outputs.append(Persist(self.written, drafts, erase, self._snapshot))
        self.gated.extend((self.written, effect) for effect in self._effects)
        self._drafts, self._erase, self._effects, self._at_once = [], [], [], []
        self._snapshot = None
        return outputs

    @property
    def pending(self) -> bool:
        """Whether something was written or asked for that `hand_over` has not taken."""
        return bool(self._drafts or self._effects or self._at_once)

    def next_durable(self) -> Output | None:
        """Take the next effect that waits for nothing any more."""
        if self.gated and self.gated[0][0] <= self.durable:
            return self.gated.popleft()[1]
        return None

    def woken(self) -> None:
        """The `WakeAt` asked for is used up."""
        self._wake = None

    def wake(self) -> list[Output]:
        """Return a `WakeAt` when the earliest timer has changed."""
        earliest = min(self.timers.values(), default=None)
        changed = earliest is not None and earliest != self._wake
        self._wake = earliest
        return [WakeAt(earliest)] if changed and earliest is not None else []
