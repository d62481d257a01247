"""The half of the store that is asked: logs, entries, notes, proofs, and waiting for more.

How each log stands is in memory, and tells only what is durable. The rest is read on one thread of
its own, by a connection that cannot write: an answer costs the event loop nothing, the thread holds
no view of the database longer than one answer, and so many may wait for it and no more.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from certs.keys import SigningKey
from certs.note import Checkpoint
from sync import database, lookup
from sync.commit import Identity, signed
from sync.entry import Lane, LaneRef
from sync.errors import OursBroken, StoreFailed, TheirsInvalid
from sync.merkle import peaks_of, prove_consistency, prove_inclusion, root_at
from sync.reader import read_nodes
from sync.rows import Head, Snapshot
from sync.shelf import Item, Log

READS_MAX: Final = 64
"""Questions that may wait for the one thread: more are refused with `store.busy`."""

_T = TypeVar("_T")


class Reads:
    """One connection that cannot write, on one thread of its own; opened when first asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-reads")
        self._connection: sqlite3.Connection | None = None
        self._waiting = 0

    async def ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return the answer, from one consistent view. `StoreFailed` busy, io or torn."""
        if self._waiting >= READS_MAX:
            raise StoreFailed("busy", "Ask again later.", waiting=self._waiting)
        self._waiting += 1
        try:
            # One thread: who is cancelled leaves his question there, and nobody else's begins
            # before it has ended.
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, self._answer, question
            )
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Let go of the file, after what is being read."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)
        self._thread.shutdown(wait=False)

    def _answer(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        with database.explained(self._path):
            if self._connection is None:
                self._connection = database.connect_reader(self._path)
            self._connection.execute("BEGIN")
            try:
                return question(self._connection)
            finally:
                self._connection.execute("ROLLBACK")

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class StoreShelf:
    """What a store tells of the logs it holds: the reading half of `sync.shelf.Shelf`.

    The writing half keeps `_heads` (by origin) and `_cosigned` (by row of the log) as they are
    durably, and calls `_tell` after each commit.
    """

    def __init__(self, path: Path, identity: Identity | None) -> None:
        self._identity = identity
        self._heads: dict[str, Head] = {}
        self._cosigned: dict[int, int] = {}
        self._about: dict[str, str] = {}
        self._keys: dict[LaneRef, SigningKey | None] = {}
        self._beside: dict[Lane, tuple[SigningKey, ...]] = {}
        self._reads = Reads(path)
        self._grown = asyncio.Event()
        self._ended = False  # nothing grows any more: closed, or failed
        self._closed = False

    @property
    def instance(self) -> str:
        """16 hex digits that name this database file: told to peers."""
        return self._about["instance"]

    @property
    def boot(self) -> int | None:
        """The mark that `mark_boot` left last, or None."""
        mark = self._about.get("boot")
        return None if mark is None else int(mark)

    async def logs(self) -> tuple[Log, ...]:
        """Return every log held, by origin."""
        heads = sorted(self._heads.values(), key=lambda head: head.origin)
        return tuple(self._log(head) for head in heads)

    async def log(self, origin: str) -> Log | None:
        """Return one log, or None."""
        head = self._heads.get(origin)
        return None if head is None else self._log(head)

    async def read(self, origin: str, start: int, stop: int) -> list[Item]:
        """Return the kept entries [start, stop), in order; at most 4,096 at one go."""
        head = self._need(origin)
        return await self._ask(lambda file: lookup.items(file, head, start, stop))

    async def cut(self, origin: str, first: int, entries_max: int, bytes_max: int) -> int:
        """Return how many entries from `first` make a segment, as `Shelf.cut` says.

        Begin at `oldest` or later: what was pruned weighs nothing and cannot be read.
        """
        head, key = self._need(origin), self._key(self._need(origin))

        def answer(file: sqlite3.Connection) -> int:
            count = lookup.fitting(file, head, first, entries_max, bytes_max)
            if not count or key is not None:
                return count
            return lookup.end_with_note(file, head, first, first + count) - first

        return await self._ask(answer)

    async def note(self, origin: str, size: int) -> str | None:
        """Return a signed checkpoint of exactly this size: kept, or signed anew by our own key."""
        head = self._heads.get(origin)
        if head is None or not 0 <= size <= head.size:
            return None
        key = self._key(head)

        def answer(file: sqlite3.Connection) -> str | None:
            kept = lookup.note(file, head, size)
            if kept is not None or key is None:
                return kept
            root = root_at(size, read_nodes(file, head.id))
            return signed(Checkpoint(head.origin, size, root), key, *self._also(head))

        return head.note if size == head.size else await self._ask(answer)

    async def root(self, origin: str, size: int) -> bytes | None:
        """Return the root of the first `size` entries, or None beyond what is held."""
        head = self._heads.get(origin)
        if head is None or not 0 <= size <= head.size:
            return None
        return await self._ask(lambda file: root_at(size, read_nodes(file, head.id)))

    async def peaks(self, origin: str, size: int) -> list[bytes]:
        """Return the roots of the full subtrees of `size`, left to right."""
        head = self._need(origin, size)

        def answer(file: sqlite3.Connection) -> list[bytes]:
            nodes = read_nodes(file, head.id)
            return [nodes(level, at) for level, at in peaks_of(size)]

        return await self._ask(answer)

    async def inclusion(self, origin: str, index: int, size: int) -> list[bytes]:
        """Return the inclusion proof of an entry in the first `size`."""
        head = self._need(origin, size)
        return await self._ask(lambda file: prove_inclusion(index, size, read_nodes(file, head.id)))

    async def consistency(self, origin: str, old: int, size: int) -> list[bytes]:
        """Return the consistency proof between two sizes."""
        head = self._need(origin, size)
        return await self._ask(lambda file: prove_consistency(old, size, read_nodes(file, head.id)))

    async def beyond(self, origin: str, size: int, wait_s: float) -> Log | None:
        """Return the log once it is larger than `size`, or as it stands after `wait_s`.

        A store that fails or is closed ends the wait.
        """
        deadline = asyncio.get_running_loop().time() + wait_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                while not self._ended:
                    head = self._heads.get(origin)
                    if head is not None and head.size > size:
                        break
                    await self._grown.wait()
        return await self.log(origin)

    async def annexes_from(self, origin: str) -> int:
        """Return the first index whose annex is still to come; the log's size if there is none."""
        head = self._need(origin)
        return await self._ask(lambda file: lookup.first_awaited(file, head))

    async def latest_snapshot(self) -> Snapshot | None:
        """Return the latest durable snapshot of the book, or None."""
        return await self._ask(lookup.latest_snapshot)

    # --- for the half that writes -------------------------------------------------------------

    async def _ask(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._closed:
            raise OursBroken("store.closed")
        return await self._reads.ask(question)

    def _tell(self) -> None:
        """Wake whoever waits for a log to grow."""
        self._grown.set()
        self._grown = asyncio.Event()

    def _need(self, origin: str, size: int = 0) -> Head:
        """Return a log that is held up to `size`; `TheirsInvalid` otherwise."""
        head = self._heads.get(origin)
        if head is None:
            raise unknown(origin)
        if not 0 <= size <= head.size:
            raise TheirsInvalid(
                "exchange.ahead", "Ask for what is held here.", origin=origin, size=head.size
            )
        return head

    def _key(self, head: Head) -> SigningKey | None:
        """Return our key if it is the one that signed this log, in whatever epoch of ours."""
        if not head.own or self._identity is None:
            return None
        if head.log not in self._keys:
            key = SigningKey.from_seed(head.origin, self._identity.seed)
            self._keys[head.log] = key if key.vkey == head.vkey else None
        return self._keys[head.log]

    def _also(self, head: Head) -> tuple[SigningKey, ...]:
        """Return the keys that sign beside a log's own: in the present epoch only."""
        present = self._identity is not None and head.log.epoch == self._identity.epoch
        return self._beside.get(head.log.lane, ()) if present else ()

    def _log(self, head: Head) -> Log:
        cosigned = self._cosigned.get(head.id, 0)
        # An epoch that is over is written no more: what is lost of it may come back.
        writes = self._identity is None or head.log.epoch == self._identity.epoch
        own = head.own and writes
        return Log(head.origin, head.vkey, own, head.oldest, head.size, head.note, cosigned)


def unknown(origin: str) -> TheirsInvalid:
    """Return the refusal of a log that nobody here knows."""
    return TheirsInvalid(
        "exchange.unknown_origin",
        "Put its writer's key into the configuration, if this is a log of this site.",
        origin=ascii(origin)[:160],
    )
