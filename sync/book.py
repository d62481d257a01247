"""The book: what the site holds, folded from entries, and nothing else.

The same set of entries gives the same book, byte for byte (`canonical`), whatever the order,
duplication or delay in which they came: entries of one log are folded in index order, early ones
wait, known ones are ignored, and logs do not disturb each other (custody is one log). No rule here
reads a clock.

What an annex adds (a parcel's identity) stands beside the book and is not part of its bytes, so an
erased annex changes nothing that is compared.
"""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from sync import canonical, facts
from sync.custody import Custody, event_of, step
from sync.entry import Lane
from sync.errors import TheirsInvalid
from sync.sitemap import MapReader, SiteMap

RETIRED_MAX = 25_000
"""Retired codes remembered: 90 days at 250 parcels a day, and a margin."""

At = tuple[int, int]
"""(boot, monotonic milliseconds)."""
Annex = tuple[bytes, bytes]
"""What names a parcel, beside its entry: (annex, salt)."""


@dataclass(slots=True)
class Intent:
    """The latest commanded opening of a compartment, until what it was for is judged."""

    ref: str
    purpose: facts.Purpose
    by: str
    of: str | None
    attempt: int
    deadline: int
    at: At
    again: str | None
    size: facts.Size | None
    annex: Annex | None = None
    outcome: str | None = None


@dataclass(slots=True)
class Parcel:
    """A parcel on record. `identity` is `<tenant>/<TRACKING>/<piece>`, None once erased."""

    ref: str
    door: int
    by: str
    size: facts.Size
    digits: int
    counter: int
    key_version: int
    tag: str
    at: At
    identity: str | None = None


@dataclass(slots=True)
class Compartment:
    """One box: custody, door and service as last written, openings counted, latest entry."""

    number: int
    custody: Custody = Custody.FREE
    before: Custody = Custody.FREE
    parcel: str | None = None
    intent: Intent | None = None
    door_open: bool | None = None
    disabled: str = ""
    openings: int = 0
    claimed_at: At | None = None
    last: str | None = None


@dataclass(slots=True)
class Courier:
    """A courier's right: tenant, label, and the keyed tag of the typed secret."""

    ref: str
    tenant: str
    label: str
    tag: str
    key_version: int
    revoked: bool = False


@dataclass(slots=True, frozen=True)
class Retired:
    """A parcel that is gone: its code still counts as known, and does not open.

    `tags` stand for its code where the identity that it was derived from has been erased.
    """

    ref: str
    identity: str | None
    digits: int
    counter: int
    key_version: int
    tags: tuple[str, ...] = ()


@dataclass(slots=True)
class Alarm:
    """An alarm that stands."""

    ref: str
    alarm: str
    door: int | None
    about: str


@dataclass(slots=True)
class Book:
    """The folded state. Read its fields; change it only through `take`."""

    sizes: dict[str, int] = field(default_factory=dict)
    map: SiteMap = field(default_factory=SiteMap)
    compartments: dict[int, Compartment] = field(default_factory=dict)
    parcels: dict[str, Parcel] = field(default_factory=dict)
    retired: deque[Retired] = field(default_factory=lambda: deque(maxlen=RETIRED_MAX))
    counters: dict[str, int] = field(default_factory=dict)
    couriers: dict[str, Courier] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    guard_level_ms: int | None = None
    guard_witnessed_ms: int = 0
    witnessed_ms: int = 0
    last_at: At = (0, 0)
    anchor: tuple[At, int, int] | None = None
    holders: dict[str, list[str]] = field(default_factory=dict)
    _waiting: dict[str, dict[int, tuple[At, facts.AnyFact | None, Annex | None, str | None]]] = (
        field(default_factory=dict)
    )
    _reader: MapReader = field(default_factory=MapReader)

    def take(  # noqa: PLR0917  # the five parts of a stored entry, in their order
        self,
        log: str,
        index: int,
        at: At,
        fact: facts.AnyFact | None,
        annex: Annex | None = None,
        private: str | None = None,
    ) -> None:
        """Fold the entry `index` of `log` (`<epoch>:<s|h><u|c|t>`) as soon as it is its turn.

        `fact` is None for a kind this version does not know. A fact that cannot follow what the
        book holds is refused with `custody.impossible`, `book.unknown` or `book.map_malformed`, one
        in another lane than its own with `book.wrong_lane`; the log stays at that entry, which is
        not skipped. `annex` and `private` come from beside the entry.
        """
        size = self.sizes.get(log, 0)
        if index < size:
            return
        waiting = self._waiting.setdefault(log, {})
        waiting[index] = (at, fact, annex, private)
        while (turn := waiting.get(size)) is not None:
            self._fold(f"{log}{size}", *turn)
            del waiting[size]
            size += 1
            self.sizes[log] = size

    def live(self) -> list[Parcel]:
        """Return the parcels on record, oldest first."""
        return list(self.parcels.values())

    def parcel_in(self, door: int) -> Parcel | None:
        """Return the parcel on record in a compartment."""
        ref = self.compartments[door].parcel
        return None if ref is None else self.parcels[ref]

    def standing(self, alarm: str, door: int | None, about: str = "") -> tuple[str, ...]:
        """Return the raises of this alarm that stand."""
        return tuple(
            ref
            for ref, known in self.alarms.items()
            if (known.alarm, known.door, known.about) == (alarm, door, about)
        )

    def canonical(self) -> bytes:
        """Return the book as bytes that are equal exactly when two books are equal."""
        view = {
            "sizes": self.sizes,
            "map": msgspec.to_builtins(self.map, str_keys=True),
            "compartments": [self.compartments[n] for n in sorted(self.compartments)],
            "parcels": [self.parcels[ref] for ref in sorted(self.parcels)],
            "retired": list(self.retired),
            "counters": self.counters,
            "couriers": [self.couriers[ref] for ref in sorted(self.couriers)],
            "revoked": sorted(self.revoked),
            "alarms": [self.alarms[ref] for ref in sorted(self.alarms)],
            "guard": [self.guard_level_ms, self.guard_witnessed_ms, self.witnessed_ms],
            "last_at": self.last_at,
            "anchor": self.anchor,
        }
        built = msgspec.to_builtins(view)
        for known in (*built["parcels"], *built["retired"]):
            del known["identity"]
        for compartment in built["compartments"]:
            if compartment["intent"]:
                del compartment["intent"]["annex"]
        return msgspec.json.encode(built, order="sorted")

    # --- the fold -----------------------------------------------------------------------------

    def _fold(  # noqa: C901, PLR0912  # one line a kind
        self,
        ref: str,
        at: At,
        fact: facts.AnyFact | None,
        annex: Annex | None,
        private: str | None,
    ) -> None:
        writer_and_lane = ref.partition(":")[2]
        if fact is not None and writer_and_lane[1] != facts.lane_of(fact).letter:
            raise TheirsInvalid(
                "book.wrong_lane",
                "Stop folding this log here and show the entry to its writer's maintainers.",
                kind=facts.kind_of(fact),
                entry=ref,
            )
        if writer_and_lane.startswith("sc"):
            self._witness(at)
        if private is not None:
            self.holders.setdefault(private, []).append(ref)
        if fact is None:
            return
        match fact:
            case facts.ConfigSet():
                self._configure(fact)
            case facts.GrantIssued(grant="courier"):
                self.couriers[ref] = Courier(
                    ref, fact.tenant, fact.label, fact.tag, fact.key_version,
                    revoked=ref in self.revoked,
                )  # fmt: skip
            case facts.GrantRevoked(of=str(grant)):
                # Another lane: it may be folded before its grant, and holds all the same.
                self.revoked.add(grant)
                if grant in self.couriers:
                    self.couriers[grant].revoked = True
            case facts.AlarmRaised():
                self.alarms[ref] = Alarm(ref, fact.alarm, fact.door, fact.about)
            case facts.AlarmCleared():
                for raised in fact.raises:
                    self.alarms.pop(raised, None)
            case facts.CodeRefused(charged=True):
                self.guard_level_ms = fact.level_ms
                self.guard_witnessed_ms = self.witnessed_ms
            case facts.TimeAnchored():
                self.anchor = (at, fact.utc_ms, fact.error_ms)
            case facts.AnnexErased():
                self._erase(fact)
            case _ if fact.door is not None and facts.lane_of(fact) is Lane.CUSTODY:
                self._fold_door(ref, at, fact, annex)
            case _:
                pass

    def _witness(self, at: At) -> None:
        """Add the monotonic time this entry proves to have passed: within one boot only."""
        boot, mono = self.last_at
        if at[0] == boot and at[1] > mono:
            self.witnessed_ms += at[1] - mono
        self.last_at = at

    def _configure(self, fact: facts.ConfigSet) -> None:
        try:
            whole = self._reader.add(fact.item, fact.value)
        except msgspec.ValidationError as error:
            raise TheirsInvalid(
                "book.map_malformed",
                "Correct the map and import it again.",
                item=fact.item,
                reason=str(error),
            ) from error
        if whole is None:
            return
        self.map = whole
        for number in whole.doors:
            self.compartments.setdefault(number, Compartment(number))

    def _erase(self, fact: facts.AnnexErased) -> None:
        if fact.of in self.parcels:
            self.parcels[fact.of].identity = None
        for refs in self.holders.values():
            if fact.of in refs:
                refs.remove(fact.of)
        self.holders = {private: refs for private, refs in self.holders.items() if refs}
        for place, gone in enumerate(self.retired):
            if gone.ref == fact.of:
                self.retired[place] = Retired(
                    gone.ref, None, gone.digits, gone.counter, gone.key_version, fact.tags
                )

    def _fold_door(self, ref: str, at: At, fact: facts.AnyFact, annex: Annex | None) -> None:
        compartment = self.compartments.get(fact.door or 0)
        if compartment is None:
            raise TheirsInvalid(
                "book.unknown",
                "Import the site's map before anything happens at its doors.",
                door=fact.door,
                entry=ref,
            )
        intent = compartment.intent
        event = event_of(fact, intent.purpose if intent else "")
        was = compartment.custody
        if event is not None:
            before = was if event.startswith("intended.") else compartment.before
            compartment.custody = step(
                was, event, before=before, parcel_on_record=compartment.parcel is not None
            )
            compartment.before = before
        self._note_door(compartment, ref, at, fact, annex)
        self._note_parcel(compartment, ref, at, fact, annex)
        compartment.last = ref

    def _note_door(
        self, compartment: Compartment, ref: str, at: At, fact: facts.AnyFact, annex: Annex | None
    ) -> None:
        match fact:
            case facts.OpenIntended():
                compartment.intent = Intent(
                    ref, fact.purpose, fact.by, fact.of, fact.attempt, fact.deadline, at,
                    fact.again, fact.size, annex,
                )  # fmt: skip
            case facts.OpenEnded() if compartment.intent and compartment.intent.ref == fact.of:
                compartment.intent.outcome = fact.outcome
            case facts.DoorOpened() | facts.DoorForced():
                compartment.door_open = True
                compartment.openings += 1
            case facts.DoorClosed():
                compartment.door_open = False
            case facts.CompartmentDisabled():
                compartment.disabled = fact.why
            case facts.CompartmentEnabled():
                compartment.disabled = ""
            case _:
                pass

    def _note_parcel(
        self, compartment: Compartment, ref: str, at: At, fact: facts.AnyFact, annex: Annex | None
    ) -> None:
        match fact:
            case facts.ParcelDeposited():
                self._retire(compartment)  # what was claimed here is gone: the courier looked
                self.parcels[ref] = Parcel(
                    ref, compartment.number, fact.by, fact.size, fact.digits, fact.counter,
                    fact.key_version, fact.tag, at, identity_of(annex),
                )  # fmt: skip
                self.counters[fact.tag] = max(fact.counter, self.counters.get(fact.tag, -1))
                compartment.parcel = ref
                compartment.intent = None
            case facts.ParcelClaimed():
                compartment.claimed_at = at
                compartment.intent = None
            case facts.ParcelLeft() | facts.CompartmentDoubted(why="courier.not_empty"):
                compartment.intent = None
                compartment.claimed_at = None  # it was seen: still its recipient's to collect
            case facts.CompartmentDoubted():
                compartment.intent = None
            case _:
                pass
        if compartment.custody is Custody.FREE:
            self._retire(compartment)

    def _retire(self, compartment: Compartment) -> None:
        """Forget the parcel of a compartment that no longer holds one: its code is retired."""
        if compartment.parcel is None:
            return
        gone = self.parcels.pop(compartment.parcel)
        self.retired.append(
            Retired(gone.ref, gone.identity, gone.digits, gone.counter, gone.key_version)
        )
        compartment.parcel = None
        compartment.claimed_at = None


def identity_of(annex: Annex | None) -> str | None:
    """Return the parcel identity that an annex names: `<tenant>/<TRACKING>/<piece>`."""
    if annex is None:
        return None
    known = canonical.decode(annex[0])
    return f"{known['tenant']}/{known['tracking']}/{known['piece']}"
