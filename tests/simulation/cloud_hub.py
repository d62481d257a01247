"""The hub of the cloud simulation: real decisions (`sync.hub.issue`), taken by two processes.

Both work on one disk. Each decides on its own book, which may be behind, and appends by
compare-and-set. A hub out of a backup has another instance, begins another epoch and is fenced
until its gateways have nothing of it that it has not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from certs.keys import KIND_COSIGNATURE, SigningKey
from certs.note import cosign
from sync import entry as entries
from sync import fold
from sync.book import Book
from sync.clerk import Hooks
from sync.entry import SALT_BYTES, LaneRef, Writer, private_hash
from sync.facts import EpochOpened, to_object
from sync.hub.issue import Decision, Desk, Say
from sync.moment import Moment
from sync.origin import Origin, epoch_order
from sync.rows import Annex
from sync.shelf import Item, Log
from tests.shelf_memory import Private
from tests.simulation.cloud_disk import Disk, Image, Moved
from tests.simulation.cloud_site import OPERATOR, WALL_MS, CloudSite, read_all

if TYPE_CHECKING:
    from tests.simulation.cloud import Cloud

Decide = Callable[[Book, Desk], Decision]
LANES = ("urgent", "custody")


class Process:
    """One process of the hub: a book in memory, and how far each log was read into it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.book = Book()
        self.read: dict[str, int] = {}

    def refresh(self) -> None:
        """Fold what is stored and not folded yet; everything anew where something came late."""
        for origin in sorted(self.disk.held, key=lambda one: fold.turn(_ref(one))):
            held, ref = self.disk.held[origin], _ref(origin)
            for index in range(self.read.get(ref, 0), len(held.entries)):
                annex = held.annexes.get(index)
                beside = (annex.data, annex.salt) if annex and annex.data and annex.salt else None
                self.book.take(*fold.read(ref, index, held.entries[index], beside))
            self.read[ref] = len(held.entries)
        if self.book.stale:
            self.book = fold.fold(read_all(self.disk))


class SiteHub:
    """The hub for one site: its disk, its epoch, its two processes."""

    def __init__(self, cloud: "Cloud", site: CloudSite, disk: Disk, seed: bytes) -> None:
        self.cloud, self.site, self.disk, self.seed = cloud, site, disk, seed
        self.sites = [site]
        self.writer = site.writer.replace("site", "hub")
        self.cosigner = SigningKey.from_seed(
            f"{OPERATOR}/{self.writer}/cosigner", bytes([9]) * 32, KIND_COSIGNATURE
        )
        self.epoch = f"e1-{site.number + (1 << 16):08x}"
        self.fenced = False
        self.salt = 0
        self.acknowledged: dict[str, int] = {}
        self.processes = [Process(disk), Process(disk)]
        self.begin({})

    def begin(self, parents: dict[str, tuple[int, str]]) -> None:
        for lane in LANES:
            self.disk.begin(self.origin(lane), self.seed)
        opened = EpochOpened(
            site=self.writer, version=1, parents=parents, why="hub.restored" if parents else ""
        )
        self.write("urgent", 0, [self.compose(opened, None)])

    def origin(self, lane: str) -> str:
        return f"{OPERATOR}/{self.writer}/{self.epoch}/{lane}"

    # --- saying ---------------------------------------------------------------------------------

    def say(self, decide: Decide, process: int = 0, *, stale: bool = False) -> str:
        """Have `decide` decided and written by one process; return the entry, or nothing."""
        for attempt in range(3):
            mine = self.processes[process]
            if not stale or attempt:
                mine.refresh()
            decision = decide(mine.book, Desk("ada", self.utc_ms(), self.site.key, self.fenced))
            if not isinstance(decision, Say):
                return ""
            lane = decision.lane.value
            size = mine.read.get(_ref(self.origin(lane)), 0)
            seen = {log: read for log, read in mine.book.sizes.items() if read and ":s" in log}
            written = [
                self.compose(one.fact, one.annex, seen if one.seen else None)
                for one in decision.statements
            ]
            try:
                self.write(lane, size, written)
            except Moved:
                self.cloud.struck["hub.moved"] += 1
                continue
            return f"{_ref(self.origin(lane))}{size}"
        return ""

    def write(self, lane: str, size: int, written: Sequence[bytes | Private]) -> None:
        origin = self.origin(lane)
        if self.cloud.plan.compares:
            log = self.disk.append(origin, size, *written)
        else:
            log = self.disk.overwrite(origin, size, written)
        for site in self.sites:
            for link in site.links:
                link.hub.grown(log)

    def compose(
        self, fact: Any, annex: bytes | None, seen: Mapping[str, int] | None = None
    ) -> bytes | Private:
        self.salt += 1
        salt = self.salt.to_bytes(SALT_BYTES, "big")
        data = entries.compose(
            to_object(fact),
            at=Moment(1, self.cloud.now),
            seen=None if seen is None else {LaneRef.parse(log): n for log, n in seen.items()},
            private=None if annex is None else private_hash(salt, annex),
        )
        return data if annex is None else Private(data, Annex(salt, annex, None))

    def utc_ms(self) -> int:
        return WALL_MS + self.cloud.now

    # --- crash, restore, heal -------------------------------------------------------------------

    def crash(self) -> None:
        """Both processes die; the disk stays."""
        for site in self.sites:
            self.cloud.cut(site)
        self.processes = [Process(self.disk), Process(self.disk)]

    def restore(self, image: Image) -> None:
        """The database is yesterday's, and marked so."""
        for site in self.sites:
            self.cloud.cut(site)
        self.disk.put_back(image, self.cloud.instance())
        for origin in self.disk.own():
            self.disk.disown(origin)
        parents = {
            origin: (len(held.entries), "")
            for origin, held in self.disk.held.items()
            if f"/{self.writer}/" in origin and held.entries
        }
        number = epoch_order(self.epoch)[0] + 1
        self.epoch = f"e{number}-{self.cloud.dice.randrange(1 << 32):08x}"
        self.fenced = True
        self.processes = [Process(self.disk), Process(self.disk)]
        self.begin(parents)

    def hooks(self) -> Hooks:
        """The hub's part of a link, as `sync.hub.puller.Visit` plays it."""
        return Visit(self).hooks()


class Visit:
    """One link's view: what the hub lost and the site holds."""

    def __init__(self, hub: SiteHub) -> None:
        self.hub = hub
        self.owed: dict[str, int] = {}

    def hooks(self) -> Hooks:
        return Hooks(
            arrived=self.arrived, greeted=self.greeted, found=self.found, cosign=self.cosign,
            holds=self.holds,
        )  # fmt: skip

    async def greeted(self, told: Mapping[str, int]) -> None:
        held = self.hub.disk.sizes()
        self.owed = {
            origin: size
            for origin, size in told.items()
            if size > held.get(origin, 0) and f"/{self.hub.writer}/" in origin
        }
        self.heal()

    async def arrived(self, origin: str, first: int, items: Sequence[Item]) -> None:
        if self.owed.get(origin, 0) <= first + len(items):
            self.owed.pop(origin, None)
        self.heal()

    def heal(self) -> None:
        if self.hub.fenced and not self.owed:
            self.hub.fenced = False
            self.hub.cloud.struck["hub.healed"] += 1

    async def found(self, found: Any) -> None:
        self.hub.cloud.watch.hub_found(self.hub.site, found)

    async def holds(self, origin: str, size: int, instance: str) -> None:
        self.hub.cloud.watch.acknowledged(self.hub.site, origin, size, instance, by_hub=False)

    async def cosign(self, log: Log) -> str | None:
        if Origin.parse(log.origin).voice is not Writer.SITE:
            return None
        return log.note + cosign(log.note, self.hub.cosigner, self.hub.utc_ms() // 1000)


def _ref(origin: str) -> str:
    return str(Origin.parse(origin).log)
