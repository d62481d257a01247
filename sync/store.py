"""The durable log: one task writes, groups what arrived, and signs every commit.

    append(records) -> queue -> BEGIN IMMEDIATE, entries, annexes, nodes, signed heads, COMMIT
                                -> everyone whose records are in it returns

Rules that hold here, and why:

- One task owns the one connection that writes *and* checkpoints. SQLite before 3.51.3 can corrupt a
  WAL when two do; two tasks on one connection would share a transaction.
- A caller waits, it does not write. Cancelling the caller leaves the write as it was.
- An error of the disk is never retried: after a failed flush nobody knows what is durable. The
  store is failed, everybody who waits is told, and a new one, opened later, reads what is there.
- A full disk is not an error of the disk. The transaction is undone, the ballast (a file of some
  MB beside the database) is given back, and the same transaction is done once more. From then on
  `low_space` is true: write how things ended, begin nothing. Full again: failed, nothing half done.
- The queue is bounded; what does not fit is refused with `store.busy` and leaves no trace.
"""

import asyncio
import base64
import hashlib
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiosqlite
import msgspec

from certs.keys import Verifier
from sync import commit, database, lookup
from sync.beside import BALLAST_BYTES, Ballast, Lock
from sync.commit import Changes, Identity, Values
from sync.entry import Entry, Lane, LaneRef, Ref
from sync.errors import OursBroken, StoreFailed
from sync.origin import Ring
from sync.reader import LogFile, count_entries, read_heads, read_nodes
from sync.rows import Record, row_id
from sync.storeintake import StoreIntake
from sync.storewriter import Request

__all__ = ["Identity", "Record", "Store"]

QUEUE_RECORDS_MAX: Final = 8192
"""Records that may wait for the running flush: half a second of the busiest site there is."""

SNAPSHOT_KIND: Final = "snapshot.taken"

_CHUNK_ROWS: Final = 64  # aiosqlite asks for it; rows are only read by `sync.reader`

Connect = Callable[[Path], sqlite3.Connection]


class Store(StoreIntake):
    """The durable logs of one site: its own, and those of others that it holds.

    Made by `open`, ended by `close` or `async with`. A `sync.shelf.Shelf`.
    """

    _queue_max = QUEUE_RECORDS_MAX

    @classmethod
    async def open(
        cls,
        path: Path,
        identity: Identity | None = None,
        *,
        ring: Ring | None = None,
        cosigners: Sequence[Verifier] = (),
        queue_max: int = QUEUE_RECORDS_MAX,
        ballast_bytes: int = BALLAST_BYTES,
        connect: Connect = database.connect,
    ) -> Self:
        """Open or make the database at `path`; begin the lanes of the identity's epoch if new.

        Without an identity nothing can be written. `ring` are the keys of the other writers whose
        logs may be taken in, `cosigners` (kind 4) those whose receipts count. Raises `StoreFailed`:
        foreign, newer, torn (nothing is changed then), busy (another process has it), full, io.
        `connect` opens the connection that writes; tests give one that records or breaks.
        """
        database.examine(path)
        with database.explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock.take(path)
        keys = Ring() if ring is None else ring
        ballast = Ballast(path, ballast_bytes)
        store = cls(path, identity, lock, ballast, ring=keys, cosigners=cosigners)
        store._queue_max = queue_max
        try:
            await store._start(identity, connect)
        except BaseException:
            lock.release()
            raise
        return store

    async def append(self, records: Sequence[Record], *, snapshot: bytes | None = None) -> None:
        """Return when all `records` are durable, in one transaction, under signed checkpoints.

        Each record carries the next index of its lane (`next_index`). An entry of kind
        `annex.erased` erases the annex of the entry it names in `of`: when this returns, its bytes
        are gone from the file, and from the WAL unless `erasure_pending`. `snapshot` are the bytes
        of the canonical book whose hash the one `snapshot.taken` among the records has: they are
        kept in the same transaction, and the latest two stay.

        Raises `OursBroken` (`store.index_gap`, `store.bad_entry`, `store.bad_annex`,
        `store.bad_snapshot`, `store.no_entry`, `store.no_identity`) and `StoreFailed` busy, with
        nothing taken in; `StoreFailed` full or io when the store has failed. Cancelling does not
        stop the write.
        """
        if records or snapshot is not None:
            await self._enqueue(self._accepted(records, snapshot))

    async def mark_boot(self, boot: int) -> int | None:
        """Note durably that the site runs in its boot `boot`; return what stood there before.

        A number that does not fit the one kept beside the database tells of a restore.
        """
        before = self.boot
        await self._set_about("boot", lambda _: str(boot))
        return before

    async def renew_instance(self) -> str:
        """Give this database another name, because it is a copy or was restored; return it."""
        made = "SELECT lower(hex(randomblob(8)))"
        return await self._set_about("instance", lambda file: str(file.execute(made).fetchone()[0]))

    def sign_also(self, seed: bytes) -> None:
        """Sign every checkpoint from the next commit on with this key too, after the log's own.

        Whoever calls it has the seed in a key store already: a restart opens with it again.
        """
        if self._identity is None:
            raise OursBroken("store.no_identity", "Open the store with the site's identity.")
        self._identity = replace(self._identity, next_seed=seed)
        self._beside = {lane: self._identity.beside(lane) for lane in Lane}

    @property
    def sizes(self) -> dict[Lane, int]:
        """How many entries of each own lane are durable."""
        return {lane: state.tree.size for lane, state in self._states.items()}

    def next_index(self, lane: Lane) -> int:
        """Return the index that the next record of `lane` must carry, queued ones counted."""
        return self._next[lane]

    def checkpoint(self, lane: Lane) -> str:
        """Return the latest durable signed checkpoint of an own lane."""
        return self._states[lane].note

    def records(
        self, lane: Lane | LaneRef, start: int = 0, stop: int | None = None
    ) -> Generator[Record, None, None]:
        """Yield the durable records [start, stop) of a lane, by a connection that cannot write.

        A `Lane` means this epoch's; a `LaneRef` any log here. Blocks while it reads. An iterator
        that is kept open keeps the WAL from shrinking.
        """
        log = self._states[lane].log if isinstance(lane, Lane) else lane
        with LogFile.open(self._path) as file:
            for head in file.heads():
                if head.log == log:
                    yield from file.records(head, start, stop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # --- taking in ----------------------------------------------------------------------------

    def _accepted(self, records: Sequence[Record], snapshot: bytes | None) -> Request:
        """Check everything before anything is taken in."""
        self._refuse_if_failed()
        if not self._states:
            raise OursBroken("store.no_identity", "Open the store with the site's identity.")
        if self._queued + len(records) > self._queue_max and self._queue:
            raise StoreFailed("busy", waiting=self._queued, limit=self._queue_max)
        following = dict(self._next)
        erased = []
        taken: list[tuple[int, Entry]] = []
        for record in records:
            expected = following[record.lane]
            if record.index != expected:
                raise OursBroken(
                    "store.index_gap", lane=record.lane.value, index=record.index, next=expected
                )
            entry = commit.check(record)
            if entry.kind == commit.ERASES and entry.of is not None:
                by = self._states[record.lane].log
                number = self._row(entry.of, following)
                erased.append((number, Ref(by.epoch, by.writer, by.lane, record.index)))
            if entry.kind == SNAPSHOT_KIND:
                taken.append((row_id(self._states[record.lane].id, record.index), entry))
            following[record.lane] += 1
        kept = None if snapshot is None else _snapshot(snapshot, taken)
        self._next = following
        self._queued += len(records)
        return Request(asyncio.get_running_loop().create_future(), records, erased, kept)

    def _row(self, ref: Ref, following: Mapping[Lane, int]) -> int:
        """Return the row of an entry that this store has or is about to have."""
        logs = {head.log: (head.id, head.size) for head in self._heads.values()}
        number, size = logs.get(ref.log, (0, 0))
        own = self._states[ref.lane]
        if ref.index >= (following[ref.lane] if own.log == ref.log else size):
            raise OursBroken("store.no_entry", "Name an entry of this database.", ref=str(ref))
        return row_id(number, ref.index)

    async def _set_about(self, key: str, made: Callable[[sqlite3.Connection], str]) -> str:
        def step(file: sqlite3.Connection) -> tuple[Changes, Callable[[], str]]:
            value = made(file)
            changes = Changes()
            changes.about.append((key, value))

            def outcome() -> str:
                self._about[key] = value
                return value

            return changes, outcome

        return await self._take(step, f"about {key}")

    # --- beginning ----------------------------------------------------------------------------

    async def _start(self, identity: Identity | None, connect: Connect) -> None:
        def opened() -> sqlite3.Connection:
            database.prepare(self._path)
            connection = connect(self._path)
            try:
                with database.explained(self._path):
                    self._load(connection, identity)
            except BaseException:
                connection.close()
                raise
            return connection

        # Opened before aiosqlite has it: when its own opening fails, its thread may outlive the
        # event loop and break on it.
        try:
            self._raw = await asyncio.to_thread(opened)
        except StoreFailed as failure:
            if failure.reason != "full" or not self._ballast.release():
                raise
            # The disk is full: take the ballast to get at what is durable.
            self._raw = await asyncio.to_thread(opened)
        self._connection = await aiosqlite.Connection(lambda: self._raw, _CHUNK_ROWS)
        self._low_space = not self._ballast.fill()
        self._writer = asyncio.create_task(self._write(), name="store-writer")

    def _load(self, connection: sqlite3.Connection, identity: Identity | None) -> None:
        """Read the heads, beginning the identity's lanes where they are new. In the thread."""
        heads = {head.log: head for head in read_heads(connection)}
        if identity is not None:
            self._beside = {lane: identity.beside(lane) for lane in Lane}
            new = [lane for lane in Lane if identity.log(lane) not in heads]
            if new:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(_BEGIN_LOG, [commit.begin(identity, lane) for lane in new])
                connection.execute("COMMIT")
                heads = {head.log: head for head in read_heads(connection)}
            for lane in Lane:
                head = heads[identity.log(lane)]
                stored = count_entries(connection, head.id)
                nodes = read_nodes(connection, head.id)
                self._states[lane] = commit.resume(head, identity.key(lane), stored, nodes)
        self._heads = {head.origin: head for head in heads.values()}
        self._cosigned = lookup.cosigned(connection)
        self._about = lookup.about(connection)
        self._next = self.sizes


_BEGIN_LOG: Final = (
    "INSERT INTO log (origin, epoch, writer, lane, own, vkey, size, note)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def _snapshot(book: bytes, taken: Sequence[tuple[int, Entry]]) -> Values:
    """Return the row of a snapshot, if the one entry that takes it says so."""
    digest = hashlib.sha256(book).digest()
    for number, entry in taken[:1]:
        lanes = entry.body.get("lanes")
        said = base64.b64encode(digest).decode("ascii")
        if entry.body.get("sha256") == said and isinstance(lanes, dict) and len(taken) == 1:
            return (number, digest, msgspec.json.encode(lanes).decode("utf-8"), book)
    raise OursBroken("store.bad_snapshot", "Append it with the one entry that has its hash.")
