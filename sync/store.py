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
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiosqlite

from sync import commit, database
from sync.beside import BALLAST_BYTES, Ballast, Lock
from sync.commit import Changes, Identity, LogState
from sync.entry import Lane, LaneRef, Ref
from sync.errors import OursBroken, StoreFailed
from sync.reader import LogFile, count_entries, read_heads, read_nodes
from sync.rows import Record, row_id

__all__ = ["Identity", "Record", "Store"]

QUEUE_RECORDS_MAX: Final = 8192
"""Records that may wait for the running flush: half a second of the busiest site there is."""

_CHUNK_ROWS: Final = 64  # aiosqlite asks for it; rows are only read by `sync.reader`

_INSERT_ENTRY: Final = "INSERT INTO entry (id, leaf, bytes) VALUES (?, ?, ?)"
# An erasure wins over an annex, whichever comes first.
_PUT_ANNEX: Final = (
    "INSERT INTO annex (id, salt, data, erased_by) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
    " SET salt = NULL, data = NULL, erased_by = coalesce(erased_by, excluded.erased_by)"
)
_INSERT_NODE: Final = "INSERT INTO node (log, level, idx, hash) VALUES (?, ?, ?, ?)"
_KEEP_CHECKPOINT: Final = "INSERT INTO checkpoint (log, size, note) VALUES (?, ?, ?)"
_UPDATE_HEAD: Final = "UPDATE log SET size = ?, note = ? WHERE id = ?"
_BEGIN_LOG: Final = (
    "INSERT INTO log (origin, epoch, writer, lane, own, vkey, size, note)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

Connect = Callable[[Path], sqlite3.Connection]


@dataclass(slots=True)
class _Request:
    """What one caller waits for. Without records: that the WAL is emptied into the database."""

    done: asyncio.Future[None]
    records: Sequence[Record] = ()
    erased: list[tuple[int, Ref]] = field(default_factory=list)


class Store:
    """The durable log of one site. Made by `open`, ended by `close` or `async with`."""

    def __init__(self, path: Path, lock: Lock, ballast: Ballast, queue_max: int) -> None:
        self._path = path
        self._lock = lock
        self._ballast = ballast
        self._queue_max = queue_max
        self._states: dict[Lane, LogState] = {}
        self._logs: dict[LaneRef, tuple[int, int]] = {}
        self._next: dict[Lane, int] = {}
        self._queue: list[_Request] = []
        self._queued = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._failure: StoreFailed | None = None
        self._truncate_due = False
        self._low_space = False
        self._connection: aiosqlite.Connection
        self._raw: sqlite3.Connection  # used on the thread of `_connection` only
        self._writer: asyncio.Task[None]

    @classmethod
    async def open(
        cls,
        path: Path,
        identity: Identity | None = None,
        *,
        queue_max: int = QUEUE_RECORDS_MAX,
        ballast_bytes: int = BALLAST_BYTES,
        connect: Connect = database.connect,
    ) -> Self:
        """Open or make the database at `path`; begin the lanes of the identity's epoch if new.

        Without an identity nothing can be appended. Raises `StoreFailed`: foreign, newer, torn
        (nothing is changed then), busy (another process has it), full, io. `connect` opens the
        connection that writes; tests give one that records or breaks.
        """
        database.examine(path)
        with database.explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock.take(path)
        store = cls(path, lock, Ballast(path, ballast_bytes), queue_max)
        try:
            await store._start(identity, connect)
        except BaseException:
            lock.release()
            raise
        return store

    async def append(self, records: Sequence[Record]) -> None:
        """Return when all `records` are durable, in one transaction, under signed checkpoints.

        Each record carries the next index of its lane (`next_index`). An entry of kind
        `annex.erased` erases the annex of the entry it names in `of`: when this returns, its bytes
        are gone from the file, and from the WAL unless `erasure_pending`.

        Raises `OursBroken` (`store.index_gap`, `store.bad_entry`, `store.bad_annex`,
        `store.no_entry`, `store.no_identity`) and `StoreFailed` busy, with nothing taken in;
        `StoreFailed` full or io when the store has failed. Cancelling does not stop the write.
        """
        if records:
            await self._enqueue(self._accepted(records))

    async def tidy(self) -> None:
        """Empty the WAL into the database, for a quiet minute; raises `StoreFailed` as append."""
        self._refuse_if_failed()
        await self._enqueue(_Request(asyncio.get_running_loop().create_future()))

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

    @property
    def failed(self) -> StoreFailed | None:
        """Why this store takes nothing any more, or None."""
        return self._failure

    @property
    def low_space(self) -> bool:
        """The ballast is gone: write how things ended, begin nothing new."""
        return self._low_space

    def regain_space(self) -> None:
        """Take the ballast again where there is room by now. Blocks: for a thread of its own."""
        if self._low_space:
            self._low_space = not self._ballast.fill()

    @property
    def erasure_pending(self) -> bool:
        """A reader kept an erased annex in the WAL; the next commit or `tidy` tries again."""
        return self._truncate_due

    def read(
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

    async def close(self) -> None:
        """Write what is queued, then let go of the file. May be called twice."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        try:
            await self._writer
        finally:
            try:
                await self._connection.close()
            except sqlite3.Error:
                # The WAL stays beside the file; whoever opens next reads it.
                pass
            finally:
                self._lock.release()

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

    def _accepted(self, records: Sequence[Record]) -> _Request:
        """Check everything before anything is taken in."""
        self._refuse_if_failed()
        if not self._states:
            raise OursBroken("store.no_identity", "Open the store with the site's identity.")
        if self._queued + len(records) > self._queue_max and self._queue:
            raise StoreFailed("busy", waiting=self._queued, limit=self._queue_max)
        following = dict(self._next)
        erased = []
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
            following[record.lane] += 1
        self._next = following
        self._queued += len(records)
        return _Request(asyncio.get_running_loop().create_future(), records, erased)

    def _row(self, ref: Ref, following: Mapping[Lane, int]) -> int:
        """Return the row of an entry that this store has or is about to have."""
        number, size = self._logs.get(ref.log, (0, 0))
        own = self._states[ref.lane]
        if ref.index >= (following[ref.lane] if own.log == ref.log else size):
            raise OursBroken("store.no_entry", "Name an entry of this database.", ref=str(ref))
        return row_id(number, ref.index)

    async def _enqueue(self, request: _Request) -> None:
        if self._closing:
            raise OursBroken("store.closed")
        self._queue.append(request)
        self._wake.set()
        # Cancelling whoever waits cancels this future and nothing else.
        await request.done

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise _again(self._failure)

    # --- the one writer -----------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch, self._queue, self._queued = self._queue, [], 0
                await self._commit_batch(batch)
            if self._closing:
                return

    async def _commit_batch(self, batch: list[_Request]) -> None:
        try:
            await self._commit(batch)
        except (sqlite3.Error, OSError) as error:
            self._fail(batch, database.explain(error, self._path))
        except BaseException as error:
            # A bug, or the task is being torn down: nobody may be left waiting for ever.
            self._fail(batch, StoreFailed("io", path=str(self._path), cause=repr(error)))
            raise
        else:
            for request in batch:
                if not request.done.done():
                    request.done.set_result(None)

    async def _commit(self, batch: list[_Request]) -> None:
        if self._failure is not None:
            raise OSError(self._failure.code)
        changes = commit.plan(
            self._states,
            (record for request in batch for record in request.records),
            [mark for request in batch for mark in request.erased],
        )
        if changes.entries:
            await self._transact_or_lighten(changes)
            self._states |= changes.states
        tidying = any(not request.records for request in batch)
        self._truncate_due |= any(request.erased for request in batch)
        if self._truncate_due or tidying:
            await self._run(self._truncate)

    async def _transact_or_lighten(self, changes: Changes) -> None:
        try:
            await self._run(self._transact, changes)
        except sqlite3.Error as error:
            if database.explain(error, self._path).reason != "full":
                raise
            await self._run(self._undo)
            if not self._ballast.release():
                raise
            self._low_space = True
            await self._run(self._transact, changes)

    async def _run(self, step: Callable[..., None], *arguments: object) -> None:
        """Run a step on the connection's own thread."""
        # One hop a commit in place of six: aiosqlite has no public way to run several statements
        # in one, and each hop costs as much as the statement.
        await self._connection._execute(step, *arguments)  # type: ignore[no-untyped-call]  # noqa: SLF001  # see above

    # --- on the connection's thread -----------------------------------------------------------

    def _transact(self, changes: Changes) -> None:
        run = self._raw
        run.execute("BEGIN IMMEDIATE")
        run.executemany(_INSERT_ENTRY, changes.entries)
        for sql, rows in (
            (_PUT_ANNEX, changes.annexes),
            (_INSERT_NODE, changes.nodes),
            (_KEEP_CHECKPOINT, changes.kept),
        ):
            if rows:
                run.executemany(sql, rows)
        run.executemany(_UPDATE_HEAD, changes.heads)
        run.execute("COMMIT")

    def _undo(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")

    def _truncate(self) -> None:
        """Copy the WAL into the database and cut it to nothing, unless a reader needs it."""
        busy = self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if not busy:
            self._truncate_due = False

    def _fail(self, batch: list[_Request], failure: StoreFailed) -> None:
        """Tell everybody who waits; from here on this store takes nothing."""
        if self._failure is None:
            self._failure = failure
        waiting, self._queue, self._queued = batch + self._queue, [], 0
        for request in waiting:
            if not request.done.done():
                request.done.set_exception(_again(self._failure))

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
        self._logs = {log: (head.id, head.size) for log, head in heads.items()}
        self._next = self.sizes


def _again(failure: StoreFailed) -> StoreFailed:
    """Return a copy to raise: one exception object must not be raised in two places."""
    return StoreFailed(failure.reason, failure.remedy, **failure.evidence)
