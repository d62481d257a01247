"""The book of each site in memory, folded from what is stored; a bounded number of them.

A projection is nothing of its own: it is made from the latest kept book and the entries after it,
and thrown away at will. Before it is looked at it is brought up to date with the shelf, so entries
that another process appended or a link brought are in it, whoever told whom. A book that is `stale`
(a lost suffix of an older epoch came back) is folded again from the first entry on.

Annexes may come after their entries, in a message of their own. A name that is not known yet is
looked up on the shelf when somebody asks for it (`Projection.identity`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from sync import fold
from sync.book import FOLD, Book
from sync.entry import Ref
from sync.errors import TheirsInvalid
from sync.holdings import identity_of
from sync.hub import logs
from sync.hub.storage import HubShelf, Snapshot, Storage
from sync.origin import Origin
from sync.records import Annex
from sync.shelf import Item, Log

READ_ENTRIES: Final = 512
KEEP_EVERY: Final = 4_096
"""After so many folded entries the book is kept, so that a restart folds no more than these."""

_log = logs.get("projections")


class Projection:
    """One site's book, and how far each stored log has been read into it."""

    def __init__(self, site_id: str, shelf: HubShelf) -> None:
        self.site_id = site_id
        self.shelf = shelf
        self.book = Book()
        self.origins: dict[str, str] = {}
        self.lock = asyncio.Lock()
        self._read: dict[str, int] = {}
        self._kept_at = 0

    @property
    def folded(self) -> int:
        """How many entries the book has taken in."""
        return sum(self.book.sizes.values())

    def read_of(self, log: str) -> int:
        """Return how many entries of a log were read, folded or not (a stopped log is read on)."""
        return self._read.get(log, 0)

    async def refresh(self) -> int:
        """Fold what the shelf holds and the book does not; return how many entries were read."""
        read = await self._read_all()
        if self.book.stale:
            _log.info("book.stale", site=self.site_id)
            self.book, self._read, self._kept_at = Book(), {}, 0
            read += await self._read_all()
        return read

    async def identity(self, ref: str) -> str | None:
        """Return the parcel that the annex of an entry names, or None: unknown, or erased."""
        record = self.book.parcels.get(ref) or self.book.rights.expected.get(ref)
        if record is not None and record.identity is not None:
            return record.identity
        parsed = Ref.parse(ref)
        origin = self.origins.get(str(parsed.log))
        if origin is None:
            return None
        for item in await self.shelf.read(origin, parsed.index, parsed.index + 1):
            identity = _named(item)
            if record is not None:
                record.identity = identity
            return identity
        return None

    async def restore(self, snapshot: Snapshot | None) -> None:
        """Begin with a kept book, where there is a sound one; it says itself how far it is."""
        if snapshot is None:
            return
        try:
            self.book = Book.restored(snapshot.data)
        except TheirsInvalid as error:
            _log.warning("book.not_restored", site=self.site_id, code=error.code)
            return
        self._read = dict(self.book.sizes)
        self._kept_at = self.folded

    def snapshot(self, now_ms: int) -> Snapshot | None:
        """Return the book to keep, once enough was folded since the last one."""
        folded = self.folded
        if folded - self._kept_at < KEEP_EVERY or self.book.stale or self.book.stopped:
            return None
        self._kept_at = folded
        return Snapshot(FOLD, dict(self.book.sizes), self.book.canonical(), now_ms)

    async def _read_all(self) -> int:
        held = [(str(Origin.parse(log.origin).log), log) for log in await self.shelf.logs()]
        self.origins = {ref: log.origin for ref, log in held}
        read = 0
        for ref, log in sorted(held, key=lambda one: fold.turn(one[0])):
            read += await self._read_log(ref, log)
        return read

    async def _read_log(self, ref: str, log: Log) -> int:
        start = self._read.get(ref, 0)
        first = max(start, log.oldest)
        for at in range(first, log.size, READ_ENTRIES):
            for item in await self.shelf.read(log.origin, at, min(at + READ_ENTRIES, log.size)):
                self.book.take(*fold.read(ref, item.index, item.entry, annex_in(item)))
            self._read[ref] = min(at + READ_ENTRIES, log.size)
        return max(log.size - first, 0)


class Projections:
    """The books that are in memory: at most `held_max`, the least recently used one goes."""

    def __init__(
        self,
        storage: Storage,
        shelf_of: Callable[[str], Awaitable[HubShelf]],
        now_ms: Callable[[], int],
        *,
        held_max: int,
    ) -> None:
        self._storage, self._shelf_of, self._now_ms = storage, shelf_of, now_ms
        self._held_max = held_max
        self._held: OrderedDict[str, Projection] = OrderedDict()

    async def of(self, site_id: str) -> Projection:
        """Return a site's projection, up to date with what is stored now.

        Raises `TheirsInvalid` (`hub.unknown_site`) as `shelf_of` does, and `StoreFailed`.
        """
        held = self._held.get(site_id)
        if held is None:
            shelf = await self._shelf_of(site_id)
            held = self._held.setdefault(site_id, Projection(site_id, shelf))
        self._held.move_to_end(site_id)
        while len(self._held) > self._held_max:
            self._held.popitem(last=False)
        async with held.lock:
            if not held.folded:
                await held.restore(await self._storage.latest_book(site_id, FOLD))
            await held.refresh()
            kept = held.snapshot(self._now_ms())
        if kept is not None:
            await self._storage.keep_book(site_id, kept)
        return held

    def forget(self, site_id: str) -> None:
        """Drop a site's projection: its keys or its epoch changed."""
        self._held.pop(site_id, None)

    @property
    def held(self) -> int:
        """How many books are in memory."""
        return len(self._held)


def annex_in(item: Item) -> Annex | None:
    """Return the annex of a stored entry as the book wants it: (annex, salt)."""
    annex = item.annex
    if annex is None or annex.data is None or annex.salt is None:
        return None
    return annex.data, annex.salt


def _named(item: Item) -> str | None:
    try:
        return identity_of(annex_in(item))
    except (TheirsInvalid, KeyError):
        return None  # an annex is what its writer says; one that names no parcel names none
