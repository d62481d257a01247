"""What the site holds: its map, compartments and parcels, folded from its custody order alone."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import msgspec

from sync import canonical, facts
from sync.custody import Custody, event_of, step
from sync.errors import TheirsInvalid
from sync.join import log_order
from sync.records import Annex, At, Commissioned, Compartment, Intent, Parcel, Retired
from sync.sitemap import MapReader, SiteMap

RETIRED_MAX: Final = 25_000
"""Retired codes remembered: 90 days at 250 parcels a day, and a margin."""

_ABOUT_A_PARCEL = (
    facts.ParcelCollected, facts.ParcelClaimed, facts.ParcelLeft, facts.ParcelTakenBack,
)  # fmt: skip
_MAKES_SURE = (facts.CompartmentChecked, facts.ParcelDeposited)


@dataclass(slots=True)
class Holdings:
    """Compartments by number, parcels by the entry that deposited them."""

    map: SiteMap = field(default_factory=SiteMap)
    compartments: dict[int, Compartment] = field(default_factory=dict)
    parcels: dict[str, Parcel] = field(default_factory=dict)
    retired: deque[Retired] = field(default_factory=lambda: deque(maxlen=RETIRED_MAX))
    counters: dict[str, int] = field(default_factory=dict)
    holders: dict[str, list[str]] = field(default_factory=dict)
    reader: MapReader = field(default_factory=MapReader)
    trials: dict[str, str] = field(default_factory=dict)
    """Locks that an installer tried, by the intent that has no outcome yet."""
    commissioned: Commissioned | None = None

    def install(self, ref: str, at: At, fact: facts.AnyFact) -> None:
        """Take what an installer did at the boards."""
        match fact:
            case facts.LockIntended():
                self.trials[ref] = fact.lock
            case facts.LockEnded(of=str(of)):
                self.trials.pop(of, None)
            case facts.SiteCommissioned():
                self.commissioned = Commissioned(
                    ref, at, fact.by, fact.boards, fact.doors, fact.passed, fact.failed,
                    fact.report, fact.audit,
                )  # fmt: skip
            case _:
                pass

    def configure(self, fact: facts.ConfigSet) -> None:
        """Take an item of the map; it changes when it is whole."""
        try:
            whole = self.reader.add(fact.item, fact.value)
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

    def erase(self, fact: facts.AnnexErased) -> None:
        """Forget what an annex named."""
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

    def fold_door(self, ref: str, at: At, fact: facts.AnyFact, annex: Annex | None) -> None:
        """Take what happened at a door; `TheirsInvalid` where it cannot follow what is held."""
        compartment = self.compartments.get(fact.door or 0)
        if compartment is None:
            raise TheirsInvalid(
                "book.unknown",
                "Import the site's map before anything happens at its doors.",
                door=fact.door,
                entry=ref,
            )
        self._step(compartment, ref, fact)
        self._note_door(compartment, ref, at, fact, annex)
        self._note_parcel(compartment, ref, at, fact, annex)
        if isinstance(fact, _MAKES_SURE):
            compartment.proved = compartment.sure = ref.partition(":")[0]
        elif isinstance(fact, facts.DoorProved):
            compartment.proved = ref.partition(":")[0]
        compartment.last = ref

    def _step(self, compartment: Compartment, ref: str, fact: facts.AnyFact) -> None:
        intent, was = compartment.intent, compartment.custody
        event = event_of(fact, intent.purpose if intent else "")
        if event is None:
            return
        before = was if event.startswith("intended.") else compartment.before
        try:
            after = step(was, event, before=before, parcel_on_record=compartment.parcel is not None)
        except TheirsInvalid:
            if not _histories_meet(compartment, ref):
                raise
            after = Custody.DOUBT
        if _is_of_another(compartment, fact, ref):
            after = Custody.DOUBT
        compartment.custody, compartment.before = after, before

    def _note_door(
        self, compartment: Compartment, ref: str, at: At, fact: facts.AnyFact, annex: Annex | None
    ) -> None:
        match fact:
            case facts.OpenIntended():
                compartment.intent = Intent(
                    ref, fact.purpose, fact.by, fact.of, fact.attempt, fact.deadline, at,
                    fact.again, fact.size, fact.asked, fact.reservation, annex,
                )  # fmt: skip
            case facts.OpenEnded() if compartment.intent and compartment.intent.ref == fact.of:
                compartment.intent.outcome = fact.outcome
            case facts.DoorOpened() | facts.DoorForced():
                compartment.door_open = True
                compartment.openings += 1
            case facts.DoorClosed():
                compartment.door_open = False
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


def _is_of_another(compartment: Compartment, fact: facts.AnyFact, ref: str) -> bool:
    """Say whether two histories of a door mean different parcels."""
    about = isinstance(fact, _ABOUT_A_PARCEL) and fact.of != compartment.parcel
    return about and _histories_meet(compartment, ref)


def _histories_meet(compartment: Compartment, ref: str) -> bool:
    """Say whether this entry's epoch was begun without knowing all of the one before it.

    A witness's proof is no end of it: it says that nothing opened the door since the restored head,
    and the lost entries that come back may say that something did.
    """
    epoch = ref.partition(":")[0]
    return log_order(epoch)[0] > 1 and compartment.sure != epoch


def identity_of(annex: Annex | None) -> str | None:
    """Return the parcel identity that an annex names: `<tenant>/<TRACKING>/<piece>`.

    None where there is no annex, or where it names no parcel: it is what its writer says, and is
    not in the book, so that it stops nothing.
    """
    if annex is None:
        return None
    try:
        known = canonical.decode(annex[0])
        return f"{known['tenant']}/{known['tracking']}/{known['piece']}"
    except (TheirsInvalid, KeyError):
        return None
