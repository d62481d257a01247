"""Invariants 5, 8, 9, 10 and 11 over sites and a hub, and what a fence and a service flag promise.

The checkers watch signatures, commits, acknowledgements and the physical doors. Each counts what it
really checked.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

from gateway.core.outputs import Persist, Pulse
from sync import entry as entries
from sync import facts, fold, join
from sync.frontier import Verdict
from sync.merkle import root_at
from tests.simulation.checkers import Violated
from tests.simulation.cloud_disk import Disk
from tests.simulation.cloud_hub import SiteHub
from tests.simulation.cloud_site import CloudSite, read_all

if TYPE_CHECKING:
    from tests.simulation.cloud import Cloud


class CloudWatch:
    """See above. A violation says which checker, and why."""

    def __init__(self, cloud: "Cloud") -> None:
        self.cloud = cloud
        self.count: Counter[str] = Counter()
        self.roots: dict[tuple[str, int], bytes] = {}
        self.forked: set[str] = set()
        self.acked: dict[tuple[str, str], int] = {}
        self.promised: dict[str, tuple[int, str, str]] = {}
        self.ended: set[str] = set()
        self.cancelled: set[str] = set()

    def check(self, checker: str, *, holds: bool, why: str) -> None:
        self.count[checker] += 1
        if not holds:
            raise Violated(checker, why)

    # --- 10: forks, rollbacks, clones -----------------------------------------------------------

    def signs(self, site: CloudSite | None, origin: str, size: int, root: bytes) -> None:
        """One writer never signs two heads of one size, but from a disk that was put back."""
        before = self.roots.setdefault((origin, size), root)
        excused = site is not None and site.unnoticed
        if excused:
            return
        self.check("10_one_history", holds=before == root, why=f"two heads: {origin} {size}")

    def began(self, site: CloudSite, why: str) -> None:
        """After a restore the site writes in a new epoch, behind a fence."""
        if why:
            fenced = site.engine.book.fenced
            self.check("10_new_epoch", holds=fenced, why=f"{site.writer} began {why} unfenced")

    def noticed(self, site: CloudSite, why: str) -> None:
        self.count["10_noticed"] += 1
        site.was_told = True
        self.cloud.struck[f"noticed.{why}"] += 1

    def hub_found(self, site: CloudSite, found: Any) -> None:
        self.cloud.struck[f"hub.{found.what}"] += 1
        if found.what == "fork":
            self.forked.add(found.origin)

    def met(self, site: CloudSite, hub: SiteHub) -> None:
        """Both ends have compared and nothing is under way: a put-back disk is known by now."""
        if not site.unnoticed or not site.up:
            return
        for origin in site.disk.own():
            theirs = hub.disk.held.get(origin)
            if theirs is None:
                continue
            mine = site.disk.held[origin]
            size = min(len(mine.entries), len(theirs.entries))
            same = root_at(size, mine.tree) == root_at(size, theirs.tree)
            ahead = len(theirs.entries) > len(mine.entries)
            self.check(
                "10_first_contact", holds=same and not ahead,
                why=f"{origin}: {len(mine.entries)} here, {len(theirs.entries)} there, unnoticed",
            )  # fmt: skip

    def clones(self, sites: list[CloudSite]) -> None:
        """Two of one disk have both been at the hub: one of them at least knows."""
        self.check(
            "10_clone_noticed",
            holds=any(site.was_told or site.engine.book.fenced for site in sites)
            or sites[0].disk.sizes() == sites[1].disk.sizes(),
            why=f"two of {sites[0].writer}, and neither knows",
        )

    # --- 5: revocations -------------------------------------------------------------------------

    def durable(self, site: CloudSite, persist: Persist) -> None:
        """What the site has just made durable."""
        revoked = site.engine.book.rights.revoked
        for draft in persist.drafts:
            parsed = entries.parse(draft.entry)
            fact = facts.from_entry(parsed)
            match fact:
                case facts.OpenIntended() if join.is_ref(fact.by):
                    self.check(
                        "05_revoked_wins", holds=fact.by not in revoked,
                        why=f"{site.writer} opens door {fact.door} by {fact.by}, revoked",
                    )  # fmt: skip
                case facts.ReservationClosed() | facts.CapacityReleased():
                    self.ended.add(f"{site.number} {fact.of}")
                case _:
                    pass

    # --- 4 and 6 under a fence ------------------------------------------------------------------

    def pulse(self, site: CloudSite, pulse: Pulse) -> None:
        """A lock is pulsed."""
        intent = site.engine.book.compartments[pulse.door].intent
        if intent is not None and intent.ref == pulse.intent and site.engine.book.fenced:
            self.check(
                "10_fenced_gives_nothing", holds=intent.purpose != "deposit",
                why=f"{site.writer} takes a walk-in at door {pulse.door} behind its fence",
            )  # fmt: skip

    def opened(self, site: CloudSite, door: int, tracking: str) -> None:
        """A code opened a door: its own parcel is there, or nothing."""
        if site.blind:
            return  # nothing on the disk could tell before the first contact
        there = site.inside.get(door)
        self.check(
            "04_only_its_own", holds=there in {None, tracking},
            why=f"{site.writer} door {door}: the code of {tracking} opened to {there}",
        )  # fmt: skip

    def given(self, site: CloudSite, door: int, tracking: str) -> None:
        """A compartment was given to a parcel."""
        there = site.inside.get(door)
        excused = site.blind or there is None
        self.check("06_given_once", holds=excused, why=f"door {door} of {site.writer}: {there}")

    # --- 8: acknowledged ------------------------------------------------------------------------

    def acknowledged(
        self, site: CloudSite, origin: str, size: int, instance: str, *, by_hub: bool
    ) -> None:
        """A store said that it holds so much durably."""
        key = (instance, origin)
        self.acked[key] = max(size, self.acked.get(key, 0))
        self.kept(site, by_hub=by_hub)

    def kept(self, site: CloudSite, *, by_hub: bool) -> None:
        """As long as a store is that store, it holds what it acknowledged."""
        disk = self.cloud.hubs[site.number].disk if by_hub else site.disk
        for (instance, origin), size in self.acked.items():
            if instance == disk.instance:
                held = disk.held.get(origin)
                has = len(held.entries) if held is not None else 0
                self.check(
                    "08_ack_lasts", holds=has >= size,
                    why=f"{origin}: {size} acknowledged, {has} held",
                )  # fmt: skip

    # --- 11: the escrow -------------------------------------------------------------------------

    def fits(self, site: CloudSite) -> None:
        """Parcels inside and promises that stand never exceed compartments, class by class.

        Where a disk was put back and nobody said so, the site does not know of rights that it gave
        away: until the first contact nothing can.
        """
        if site.blind:
            return
        hub = self.cloud.hubs[site.number]
        owed = Counter(str(site.map.doors[door].size) for door in site.inside)
        for ref, (number, kind, tracking) in self.promised.items():
            over = f"{number} {ref}" in self.ended or ref in self.cancelled
            if number != site.number or over or tracking in self.cloud.brought:
                continue
            if _holds(site.disk, hub, ref) or _holds(hub.disk, hub, ref):
                owed[kind] += 1  # else a hub out of a backup lost it before anybody heard of it
        has = Counter(str(item.size) for item in site.map.doors.values())
        for kind, count in owed.items():
            self.check(
                "11_fits", holds=count <= has[kind],
                why=f"{site.writer}: {count} parcels and promises for {has[kind]} of {kind}",
            )  # fmt: skip

    # --- 9 and the end --------------------------------------------------------------------------

    def finish(self, site: CloudSite, hub: SiteHub) -> None:
        """The links were up until nobody had anything to say."""
        self.kept(site, by_hub=True)
        self.kept(site, by_hub=False)
        here, there = site.disk.held, hub.disk.held
        forks = set()
        for origin in sorted(here.keys() | there.keys()):
            mine = here[origin].entries if origin in here else []
            theirs = there[origin].entries if origin in there else []
            size = min(len(mine), len(theirs))
            if mine[:size] != theirs[:size]:
                forks.add(origin)
                self.check("10_fork_known", holds=origin in self.forked and site.blind,
                           why=f"{origin} has two histories, and nobody said so")  # fmt: skip
                continue
            self.check(
                "09_all_came", holds=len(mine) == len(theirs),
                why=f"{origin}: {len(mine)} at the site, {len(theirs)} at the hub",
            )  # fmt: skip
        if forks:
            self.cloud.struck["ended.forked"] += 1
            return
        hub.processes[0].refresh()
        book = site.engine.book.canonical()
        anew = fold.fold(read_all(hub.disk))
        self.check("09_same_book", holds=book == hub.processes[0].book.canonical(),
                   why=f"{site.writer}: the two books differ")  # fmt: skip
        self.check("09_same_book", holds=book == anew.canonical(),
                   why=f"{site.writer}: the book is not that of its entries")  # fmt: skip
        for conflict in anew.conflicts():
            self.check("05_no_fault", holds=conflict.how != "known", why=str(conflict))
        self._flags(site, anew)

    def _flags(self, site: CloudSite, book: Any) -> None:
        """Out of service until somebody who saw the flag puts it back."""
        writes = [
            one
            for one in read_all(site.disk)
            if isinstance(one[3], facts.CompartmentDisabled | facts.CompartmentEnabled)
        ]
        for off in writes:
            if isinstance(off[3], facts.CompartmentDisabled) and off[3].door is not None:
                later = [on for on in writes if on[3] is not None and on[3].door == off[3].door]
                over = any(_ends(on, off) for on in later if on is not off)
                self.check(
                    "06_out_of_service",
                    holds=over or bool(book.compartments[off[3].door].disabled),
                    why=f"{site.writer} door {off[3].door} is back though nobody saw {off[:2]}",
                )


def _holds(disk: Disk, hub: SiteHub, ref: str) -> bool:
    """Whether the entry of the hub that made a promise is on a disk."""
    log, index = join.split(ref)
    epoch, _, lane = log.partition(":")
    name = f"/{hub.writer}/{epoch}/{'urgent' if lane[1] == 'u' else 'custody'}"
    return any(
        origin.endswith(name) and len(held.entries) > index for origin, held in disk.held.items()
    )


def _ends(one: Any, off: Any) -> bool:
    """Whether a later write of the same writer, or one that had seen it, is over a flag."""
    if one[0][-2] == off[0][-2]:
        return (join.log_order(one[0]), one[1]) > (join.log_order(off[0]), off[1])
    return join.has_seen(one[6] or {}, off[0], off[1])


__all__ = ["CloudWatch", "Verdict"]
