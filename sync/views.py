"""What one can ask of a book: read-only, computed from what is folded."""

from collections import Counter, deque
from typing import Final

from sync.capacity import Deficit, Reservation, name_of
from sync.custody import Custody
from sync.fact import SIZES
from sync.holdings import Holdings
from sync.join import log_order, split
from sync.records import Alarm, Commissioned, Compartment, Conflict, Grant, Parcel, Retired
from sync.rights import Rights
from sync.sitemap import SiteMap

BEGUN_WITH: Final = 1
"""`fence.set` is the second urgent entry of an epoch that began fenced."""


class Views:
    """The questions. `sync.book.Book` has the fields that they are about."""

    __slots__ = ()

    sizes: dict[str, int]
    holdings: Holdings
    rights: Rights

    @property
    def map(self) -> SiteMap:
        """The site's map."""
        return self.holdings.map

    @property
    def compartments(self) -> dict[int, Compartment]:
        """Every compartment that was ever in the map, by number."""
        return self.holdings.compartments

    @property
    def parcels(self) -> dict[str, Parcel]:
        """The parcels on record, oldest first."""
        return self.holdings.parcels

    @property
    def trials(self) -> dict[str, str]:
        """Locks that an installer tried, by the intent that has no outcome yet."""
        return self.holdings.trials

    @property
    def commissioned(self) -> Commissioned | None:
        """The last time this site was signed off."""
        return self.holdings.commissioned

    @property
    def retired(self) -> deque[Retired]:
        """The parcels that are gone, as far as they are remembered."""
        return self.holdings.retired

    @property
    def counters(self) -> dict[str, int]:
        """The highest code counter used, by keyed tag of a parcel's identity."""
        return self.holdings.counters

    @property
    def holders(self) -> dict[str, list[str]]:
        """The entries that share an annex, by its `private` hash."""
        return self.holdings.holders

    @property
    def couriers(self) -> dict[str, Grant]:
        """Couriers' rights, by reference."""
        return self.rights.couriers

    @property
    def alarms(self) -> dict[str, Alarm]:
        """The alarms that stand, by the entry that raised them."""
        return self.rights.alarms

    @property
    def fences(self) -> dict[str, str]:
        """The fences that stand and why, by the entry that set them."""
        return self.rights.fences

    @property
    def fenced(self) -> bool:
        """Whether continuity is not proved: no walk-ins, no rights spent (FORMATS.md 4)."""
        return bool(self.fences)

    def fenced_door(self, door: int) -> bool:
        """Return whether a fence stands and nothing proves what is behind this door.

        Proved in the epoch that began with a fence, or in a later one, counts. A fence that was
        raised in the middle of an epoch is another matter: what proved a door before it looks the
        same in the book as what would after it, so it holds every door, until a new epoch.
        """
        proved = self.compartments[door].proved
        return any(_is_before(proved, ref) for ref in self.fences)

    def live(self) -> list[Parcel]:
        """Return the parcels on record, oldest first."""
        return list(self.parcels.values())

    def parcel_in(self, door: int) -> Parcel | None:
        """Return the parcel on record in a compartment."""
        ref = self.compartments[door].parcel
        return None if ref is None else self.parcels[ref]

    def cautious(self, door: int) -> bool:
        """Return whether an entry of a newer version restricts this compartment or its parcel."""
        named = {str(door), self.compartments[door].parcel}
        return not named.isdisjoint(self.rights.cautious)

    def standing(self, alarm: str, door: int | None, about: str = "") -> tuple[str, ...]:
        """Return the raises of this alarm that stand."""
        return tuple(
            ref
            for ref, known in self.alarms.items()
            if (known.alarm, known.door, known.about) == (alarm, door, about)
        )

    def known(self, ref: str) -> bool:
        """Return whether the entry is folded."""
        log, index = split(ref)
        return self.sizes.get(log, 0) > index

    def kind_of(self, door: int) -> str:
        """Return the class of a compartment, as `sync.capacity` names it."""
        item = self.map.doors[door]
        return name_of(item.size, item.band)

    def free(self) -> Counter[str]:
        """Return how many compartments of each class are free on record, and in service."""
        return Counter(
            self.kind_of(door)
            for door in self.map.doors
            if self.compartments[door].custody is Custody.FREE
            and not self.compartments[door].disabled
            and not self.cautious(door)
        )

    def being_filled(self) -> Counter[str]:
        """Return, by class, the deposits under way that keep a promise of that very class."""
        found: Counter[str] = Counter()
        promises = self.rights.escrow.promises | self.unheard()
        for door in self.map.doors:
            compartment = self.compartments[door]
            intent = compartment.intent
            if compartment.custody is Custody.DEPOSITING and intent is not None:
                promise = promises.get(intent.reservation or "")
                found[self.kind_of(door)] += promise is not None and promise.kind == self.kind_of(
                    door
                )
        return found

    def unheard(self) -> dict[str, Reservation]:
        """Return the promises that a capability alone tells of: shown here, not kept yet.

        Their rights are among the hub's: it has spent them, whether or not that was heard.
        """
        found = {}
        for grant in self.rights.others.values():
            of, (size, _, band) = grant.of or "", grant.room.partition(" ")
            stands = grant.grant == "reservation" and ":s" in grant.ref and not grant.revoked
            if not stands or not of or size not in SIZES or self.known(of):
                continue
            if of not in self.rights.escrow.unheard and not self.rights.is_used(grant):
                found[of] = Reservation(of, size, band, "", 0, grant.until_ms)
        return found

    def site_free(self, kind: str) -> int:
        """Return how many compartments of a class the site may give away by itself."""
        escrow = self.rights.escrow
        return escrow.site_free(kind, self.free()[kind], self.being_filled()[kind])

    def deficits(self) -> tuple[Deficit, ...]:
        """Return the classes that owe more compartments than they have."""
        return self.rights.escrow.deficits(self.free(), self.being_filled())

    def conflicts(self) -> list[Conflict]:
        """Return what the two ends did against each other, and claims that the facts contradict."""
        here = {parcel.tag for parcel in self.parcels.values()}
        found = self.rights.used_revoked()
        for claim in self.rights.claims.values():
            is_here = claim.tag in here
            if claim.tag in self.counters and is_here != (claim.says == "deposited"):
                how = "held" if is_here else "gone"
                found.append(Conflict("claim.contradicted", claim.ref, claim.tag, how))
        return sorted(found, key=lambda one: (one.what, one.ref, one.other))


def _is_before(proved: str, fence: str) -> bool:
    """Return whether a door proved in this epoch (or never) is not proved behind this fence."""
    log, index = split(fence)
    epoch = log.partition(":")[0]
    if proved == epoch:
        return index > BEGUN_WITH
    return proved == "" or log_order(proved) < log_order(epoch)
