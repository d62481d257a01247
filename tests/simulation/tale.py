"""What the entries say, reduced by other hands than the book's: the checkers' own memory.

It follows drafts as the engine writes them; after a crash it is told again from what is durable.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from sync import facts
from sync.holdings import identity_of
from sync.sitemap import BoardItem, DoorItem, LineItem, SiteMap
from tests.simulation.disk import Stored


@dataclass(slots=True)
class DoorTale:
    """One compartment as the entries tell it. `*_at` are true milliseconds when first drafted."""

    parcel: str | None = None
    given: str = ""
    doubted: bool = False
    disabled: bool = False
    open: bool = False
    opened_since_deposit: bool = False
    closed_empty: bool | None = None
    closed_at: int = 0
    last: str | None = None


@dataclass(slots=True)
class IntentTale:
    """One intent and its outcomes."""

    row: Stored
    fact: facts.OpenIntended
    outcomes: list[str] = field(default_factory=list)
    drafted_at: int = 0


@dataclass(slots=True)
class TrialTale:
    """One lock that an installer tried, and the outcomes of it."""

    fact: facts.LockIntended
    outcomes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ParcelTale:
    """One deposit. `ended` is the entry that consumed its code."""

    ref: str
    door: int
    identity: str
    fact: facts.ParcelDeposited
    ended: str = ""


class Tale:
    """The reduction."""

    def __init__(self, drafted_at: dict[str, int]) -> None:
        self._drafted_at = drafted_at
        self.doors: dict[int, DoorTale] = {}
        self.intents: dict[str, IntentTale] = {}
        self.parcels: dict[str, ParcelTale] = {}
        self.revoked: set[str] = set()
        self.issued: set[str] = set()
        self.accepted: dict[str, facts.CapabilityAccepted] = {}
        self.used: set[str] = set()  # ctis of the rights by which something came or went
        self.rows: dict[str, Stored] = {}
        self.trials: dict[str, TrialTale] = {}
        self.maps: list[SiteMap] = []  # whole ones, oldest first
        self.half: list[facts.ConfigSet] = []  # of the one that is being read

    def door(self, number: int) -> DoorTale:
        """Return the tale of a door."""
        return self.doors.setdefault(number, DoorTale())

    def tell(self, rows: Iterable[Stored]) -> None:
        """Take entries in the order in which they were written."""
        for row in rows:
            self.rows[row.ref] = row
            self._tell(row)

    def _tell(self, row: Stored) -> None:
        fact = row.fact
        match fact:
            case facts.GrantIssued():
                self.issued.add(row.ref)
            case facts.CapabilityAccepted():
                self.accepted[row.ref] = fact
            case facts.GrantRevoked(of=str(grant)):
                self.revoked.add(grant)
            case facts.OpenIntended():
                at = self._drafted_at[row.ref]
                self.intents[row.ref] = IntentTale(row, fact, drafted_at=at)
            case facts.OpenEnded(of=str(intent)) if intent in self.intents:
                self.intents[intent].outcomes.append(fact.outcome)
            case facts.ParcelCollected() | facts.ParcelTakenBack():
                self._end(fact.of or "", row.ref)
            case facts.LockIntended():
                self.trials[row.ref] = TrialTale(fact)
            case facts.LockEnded(of=str(intent)) if intent in self.trials:
                self.trials[intent].outcomes.append(fact.outcome)
            case facts.ConfigSet():
                self._tell_map(fact)
            case _:
                pass
        if isinstance(fact, facts.ParcelCollected | facts.ParcelDeposited) and (
            fact.by in self.accepted
        ):
            self.used.add(self.accepted[fact.by].cti)
        if fact is not None and fact.door is not None and not isinstance(fact, facts.URGENT):
            self._tell_door(self.door(fact.door), row, fact)

    def _tell_map(self, fact: facts.ConfigSet) -> None:
        """A map begins with how many boards, doors and lines follow."""
        if fact.item == "map":
            self.half = []
        self.half.append(fact)
        head = self.half[0].value
        many = [int(head.get(name) or 0) for name in ("boards", "doors", "lines")]
        if len(self.half) == 1 + sum(many):
            told = [(one.item, one.value) for one in self.half]
            boards = [msgspec.convert(value, BoardItem) for item, value in told if item == "board"]
            doors = [msgspec.convert(value, DoorItem) for item, value in told if item == "door"]
            lines = [msgspec.convert(value, LineItem) for item, value in told if item == "line"]
            self.maps.append(
                SiteMap(
                    boards={one.name: one for one in boards},
                    doors={one.number: one for one in doors},
                    lines={one.name: one for one in lines},
                )
            )
            self.half = []

    def _tell_door(self, door: DoorTale, row: Stored, fact: facts.AnyFact) -> None:
        door.last = row.ref
        match fact:
            case facts.OpenIntended(purpose="deposit") if door.parcel is not None:
                door.given = door.parcel
                self._end(door.parcel, row.ref)  # claimed long ago: the next courier looks
            case facts.DoorOpened() | facts.DoorForced():
                door.open, door.opened_since_deposit, door.closed_empty = True, True, None
                door.doubted |= isinstance(fact, facts.DoorForced)
            case facts.DoorClosed():
                door.open = False
                door.closed_empty = None if fact.occupied is None else not fact.occupied
                door.closed_at = self._drafted_at[row.ref]
                if door.closed_empty and door.parcel is None:
                    door.doubted = False  # shut, seen empty, and nobody's parcel is missed
            case facts.ParcelDeposited():
                self.parcels[row.ref] = ParcelTale(
                    row.ref, fact.door or 0, identity_of(row.annex) or "", fact
                )
                door.parcel, door.doubted, door.opened_since_deposit = row.ref, False, False
            case facts.ParcelCollected() | facts.ParcelTakenBack() | facts.ParcelLeft():
                door.doubted = False
            case facts.ParcelClaimed():
                door.doubted = False  # its owner looked
            case facts.CompartmentDoubted():
                door.doubted = True
                if fact.why == "courier.not_empty" and door.parcel is None and door.given:
                    door.parcel, self.parcels[door.given].ended = door.given, ""
            case facts.CompartmentChecked():
                door.doubted = fact.occupied and door.parcel is None
                if not fact.occupied and door.parcel is not None:
                    self._end(door.parcel, row.ref)
            case facts.CompartmentDisabled() | facts.CompartmentEnabled():
                door.disabled = isinstance(fact, facts.CompartmentDisabled)
            case _:
                pass

    def _end(self, ref: str, by: str) -> None:
        parcel = self.parcels.get(ref)
        if parcel is not None:
            parcel.ended = parcel.ended or by
            door = self.door(parcel.door)
            if door.parcel == ref:
                door.parcel = None
