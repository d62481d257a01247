"""A site that writes and signs its log in memory, for tests of the hub: no engine, no doors.

site = FakeSite(key)            # `key` is K_site, which the hub derives too
site.opens(doors=("S", "M"))    # epoch, map
ref = site.deposits("acme/JD1/1", door=1)
await site.push(shelf)          # what a link would bring
"""

import base64
from dataclasses import dataclass, field

from certs.keys import SigningKey
from certs.note import Checkpoint, sign_checkpoint
from sync import codes, entry, facts
from sync.book import Book
from sync.codes import CodeKey
from sync.entry import Lane, LaneRef, Writer
from sync.fact import Fact, Size
from sync.facts import lane_of, to_object
from sync.fold import read
from sync.hub.parcels import annex_of
from sync.intake import Chunk
from sync.merkle import Tree, leaf_hash, prove_inclusion
from sync.moment import Moment
from sync.proof import Proof
from sync.rows import Annex
from sync.shelf import Shelf
from sync.sitemap import BoardItem, DoorItem, SiteMap, items

SALT = bytes(16)
SEED = bytes(range(7, 39))


@dataclass
class FakeSite:
    """`written` holds the bytes by lane; a reference is what the log says."""

    key: CodeKey
    epoch: str = "e1-0000abcd"
    seed: bytes = SEED
    operator: str = "lockers.example"
    site_id: str = "0042"
    written: dict[Lane, list[bytes]] = field(default_factory=lambda: {lane: [] for lane in Lane})
    annexes: dict[Lane, dict[int, Annex]] = field(
        default_factory=lambda: {lane: {} for lane in Lane}
    )
    mono_ms: int = 0

    @property
    def name(self) -> str:
        return f"{self.operator}/site/{self.site_id}"

    @property
    def vkey(self) -> str:
        return SigningKey.from_seed(self.name, self.seed).vkey

    def origin(self, lane: Lane) -> str:
        return f"{self.name}/{self.epoch}/{lane}"

    def log(self, lane: Lane) -> LaneRef:
        return LaneRef(self.epoch, Writer.SITE, lane)

    def note(self, lane: Lane, size: int | None = None) -> str:
        tree = Tree()
        for data in self.written[lane][:size]:
            tree.append(leaf_hash(data))
        key = SigningKey.from_seed(self.origin(lane), self.seed)
        return sign_checkpoint(Checkpoint(key.name, tree.size, tree.root()), key)

    def write(
        self, fact: Fact, identity: str = "", lane: Lane | None = None, **keys: object
    ) -> str:
        """Write a fact; `keys` go into its bytes as they are."""
        lane = lane or lane_of(fact)
        log, self.mono_ms = self.written[lane], self.mono_ms + 10
        private = None
        if identity:
            annex = annex_of(identity)
            self.annexes[lane][len(log)] = Annex(SALT, annex, None)
            private = entry.private_hash(SALT, annex)
        body = to_object(fact) | keys
        log.append(entry.compose(body, at=Moment(1, self.mono_ms), private=private))
        return f"{self.log(lane)}{len(log) - 1}"

    def opens(self, doors: tuple[Size, ...] = ("S", "M", "M", "L"), band: str = "") -> None:
        self.write(facts.EpochOpened(site=f"site/{self.site_id}", version=1))
        board = BoardItem(name="locks", line="bank", profile="p", unit=1)
        boxes = {
            number: DoorItem(
                number=number, size=size, lock=f"locks:{number}", switch=f"locks:{number}",
                band=band,
                rail="a",
            )
            for number, size in enumerate(doors, 1)
        }  # fmt: skip
        for item, value in items(SiteMap({"locks": board}, boxes)):
            self.write(facts.ConfigSet(item=item, value=value))

    def tag(self, identity: str) -> str:
        tag = codes.parcel_tag(self.key.key, self.key.site, identity)
        return base64.b64encode(tag).decode()

    def deposits(
        self, identity: str, door: int, by: str = "e1-0000abcd:sc0", **keys: object
    ) -> str:
        """A courier puts a parcel in; returns its reference."""
        intent = self.write(
            facts.OpenIntended(
                door=door,
                purpose="deposit",
                by=by,
                attempt=1,
                deadline=self.mono_ms + 500,
                size="M",
            )
        )
        self.write(facts.DoorOpened(door=door, of=intent))
        self.write(facts.OpenEnded(door=door, of=intent, outcome="opened"))
        self.write(facts.DoorClosed(door=door, occupied=True))
        return self.write(
            facts.ParcelDeposited(
                door=door, of=intent, by=by, size="M", digits=8, counter=0,
                key_version=self.key.version, tag=self.tag(identity), basis="sensor",
            ),
            identity,
        )  # fmt: skip

    def gives(self, size: Size, count: int, band: str = "") -> str:
        return self.write(facts.CapacityTransferred(size=size, count=count, band=band))

    def proof(self, ref: str, size: int | None = None) -> str:
        lane = Lane.CUSTODY
        index, log = int(ref.rpartition("c")[2]), self.written[lane][:size]
        leaves = [leaf_hash(data) for data in log]
        tree_hashes = {(0, place): leaf for place, leaf in enumerate(leaves)}
        tree = Tree()
        for leaf in leaves:
            for level, at, node in tree.append(leaf):
                tree_hashes[level, at] = node
        hashes = prove_inclusion(index, len(leaves), lambda level, at: tree_hashes[level, at])
        return Proof(index, tuple(hashes), self.note(lane, size)).text()

    async def push(self, shelf: Shelf, *, annexes: bool = True) -> None:
        """Bring the hub what it does not hold, as a link does: entries first, annexes after."""
        for lane, log in self.written.items():
            if not log:
                continue
            held = await shelf.log(self.origin(lane))
            start = held.size if held else 0
            if start < len(log):
                chunk = Chunk(self.origin(lane), start, tuple(log[start:]), self.note(lane))
                await shelf.extend(chunk)
            if annexes and self.annexes[lane]:
                await shelf.put_annexes(self.origin(lane), list(self.annexes[lane].items()))

    def fold(self, book: Book) -> None:
        """Fold all of it into a book, annexes and all."""
        for lane in (Lane.URGENT, Lane.CUSTODY):
            for index, data in enumerate(self.written[lane]):
                annex = self.annexes[lane].get(index)
                beside = (annex.data, annex.salt) if annex and annex.data and annex.salt else None
                book.take(*read(str(self.log(lane)), index, data, beside))
