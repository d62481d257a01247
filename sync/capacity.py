"""Escrow of compartments: who may promise or give away how many of each class, without asking.

A *class* is (size, climate band). The site owns every compartment. It hands *rights* over to the
hub; the hub spends one on each promise (`reservation.made`) and can promise no more than it holds,
so both ends decide alone and the sum never exceeds the compartments (a bounded counter: Balegas et
al. 2015, with transfers between two holders).

    hub_rights = transferred to it - handed back by it - ended by the site (closed or released)
    hub_free   = hub_rights - promises that the site has not ended
    site_free  = compartments that are free - hub_rights, those being filled for a promise added

Three rules carry it:

1. *Only the site ends a right that stands behind a promise.* A cancelled promise keeps its right
   until the site releases it: a courier may be putting the parcel in at that very moment.
2. *A right is charged for the compartment taken.* A parcel promised an S and put into an M takes an
   M of the site's own, and the right to the S goes back.
3. *Free is what the book says*: custody `free`, in service, nothing held back. A compartment that
   breaks takes no right with it, so a class may owe more than it has. Such a deficit is surfaced:
   the oldest promises are kept first, the youngest are named for another bank.

Every number here is a sum over facts of one writer's log, or a set of them: nothing depends on the
order between the two writers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sync.fact import Size

Class = tuple[Size, str]
"""(size, climate band); the band is empty where compartments have none."""


def name_of(size: Size, band: str) -> str:
    """Return a class as it is written: `M`, or `M/chilled`."""
    return f"{size}/{band}" if band else size


@dataclass(slots=True)
class Reservation:
    """A promise of the hub: a compartment of this class for the parcel with this keyed tag."""

    ref: str
    size: Size
    band: str
    tag: str
    key_version: int
    until_ms: int | None
    cancelled: bool = False

    @property
    def kind(self) -> str:
        """The class promised."""
        return name_of(self.size, self.band)


@dataclass(slots=True, frozen=True)
class Deficit:
    """A class that owes more than it has: rights too many, and the promises to move elsewhere."""

    kind: str
    rights: int
    reroute: tuple[str, ...]


@dataclass(slots=True)
class Escrow:
    """The sums, by class, and the promises that stand, by reference.

    `unheard`: the class of promises that the site has ended before their entry was folded here.
    """

    to_hub: dict[str, int] = field(default_factory=dict)
    handed_back: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    promises: dict[str, Reservation] = field(default_factory=dict)
    unheard: dict[str, str] = field(default_factory=dict)

    def hub_rights(self, kind: str) -> int:
        """Return how many compartments of a class the hub has a right to."""
        unheard = sum(one == kind for one in self.unheard.values())
        gone = self.handed_back.get(kind, 0) + self.ended.get(kind, 0) + unheard
        return self.to_hub.get(kind, 0) - gone

    def hub_free(self, kind: str) -> int:
        """Return how many more promises of a class the hub can make."""
        return self.hub_rights(kind) - sum(one.kind == kind for one in self.promises.values())

    def site_free(self, kind: str, free: int, being_filled: int = 0) -> int:
        """Return how many of `free` compartments the site may give away by itself.

        `being_filled`: deposits under way for promises of this class, in compartments of it. Not
        above nought in a deficit.
        """
        return free + being_filled - self.hub_rights(kind)

    def deficits(
        self, free: Mapping[str, int], being_filled: Mapping[str, int]
    ) -> tuple[Deficit, ...]:
        """Return the classes that owe more than they have, and what to re-route, oldest first."""
        found = []
        for kind in sorted(set(self.to_hub) | {one.kind for one in self.promises.values()}):
            room = free.get(kind, 0) + being_filled.get(kind, 0)
            missing = self.hub_rights(kind) - room
            owed = [one.ref for one in self.oldest_first(kind)]
            if missing > 0 or len(owed) > room:
                found.append(Deficit(kind, max(missing, 0), tuple(owed[max(room, 0) :])))
        return tuple(found)

    def oldest_first(self, kind: str) -> list[Reservation]:
        """Return the promises of a class that nobody took back, in the order they were made."""
        standing: Iterable[Reservation] = self.promises.values()
        kept = [one for one in standing if one.kind == kind and not one.cancelled]
        return sorted(kept, key=lambda one: _order(one.ref))

    @staticmethod
    def add(sums: dict[str, int], kind: str, count: int = 1) -> None:
        """Add to one of the sums."""
        sums[kind] = sums.get(kind, 0) + count


def _order(ref: str) -> tuple[int, str, int]:
    epoch, _, rest = ref.partition(":")
    return int(epoch[1:].partition("-")[0]), epoch, int(rest[2:])
