"""The hub's tables in one SQLite file: one task writes, in groups; readers cannot.

What arrives while a flush runs, from whatever site, shares the next one. Each request is a
savepoint of its own, so one that cannot be done leaves the others alone. One thread has the one
connection that writes and checkpoints (SQLite before 3.51.3 can corrupt a WAL when two do).

A full disk undoes the group and tells everybody in it; the file goes on. Any other error of the
disk ends this storage: after a failed flush nobody knows what is durable, and opening finds out.
"""

import asyncio
import functools
import json
import queue
import re
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from sync.beside import Lock
from sync.errors import OursBroken, StoreFailed
from sync.hub import file
from sync.hub.sql import ERASING, MERGE_ANNEX
from sync.hub.tables import AnnexRow, Grown, Growth, Row, Span

QUEUE_REQUESTS_MAX: Final = 256
"""Requests that may wait for the running flush: at most 128 MiB of entries, usually a fiftieth."""
READERS: Final = 2

_GROW: Final = (
    "UPDATE log SET size = ?, peaks = ?, sealed = CASE WHEN ? IS NULL THEN sealed ELSE ? END,"
    " note = coalesce(?, note) WHERE site_id = ? AND origin = ? AND size = ? AND own = ?"
)
# One statement, and so one step: between the steps of 512 the thread would give up and want back
# the interpreter each time, while the loop's thread computes. Offsets into the joined bytes.
_ENTRIES: Final = (
    "INSERT INTO entry (site_id, log, idx, leaf, bytes) SELECT ?1, ?2, ?3 + j.key,"
    " substr(?4, j.key * 32 + 1, 32), substr(?5, j.value ->> 0, j.value ->> 1) FROM json_each(?6) j"
)
_NODE: Final = "INSERT INTO node (site_id, log, level, idx, hash) VALUES (?, ?, ?, ?, ?)"
_CHECKPOINT: Final = (
    "INSERT INTO checkpoint (site_id, log, size, note, at_ms) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (site_id, log, size) DO NOTHING"
)
_ANNEX: Final = (
    "INSERT INTO annex (site_id, ref, idx, private, salt, data, erased_by)"  # noqa: S608  # our own
    f" VALUES (?, ?, ?, ?, ?, ?, ?){MERGE_ANNEX}"
)
_LEAVES: Final = (
    "SELECT leaf FROM entry WHERE site_id = ? AND log = ? AND idx >= ? AND idx < ? ORDER BY idx"
)
_NODES: Final = (
    "SELECT hash FROM node WHERE site_id = ? AND log = ? AND level = ? AND idx >= ? AND idx < ?"
    " ORDER BY idx"
)

Step = Callable[[sqlite3.Connection], Any]


@dataclass(slots=True)
class _Request:
    step: Step
    done: asyncio.Future[Any]
    erases: bool = False


class SqliteDatabase:
    """A hub's SQLite file. Made by `open`, ended by `close`."""

    others_s: float | None = None

    def __init__(self, path: Path, lock: Lock) -> None:
        self._path = path
        self._lock = lock
        self._queue: list[_Request] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._truncate_due = False
        self._failure: StoreFailed | None = None
        self._writing = ThreadPoolExecutor(1, "hub-writer")
        self._reading = ThreadPoolExecutor(READERS, "hub-reader")
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._connection: sqlite3.Connection  # used on the thread of `_writing` only
        self._writer: asyncio.Task[None]

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or make the file; raises `StoreFailed` busy, foreign, newer, torn, full or io."""
        self = cls(path, await asyncio.to_thread(file.take_lock, path))
        loop = asyncio.get_running_loop()
        try:
            self._connection = await loop.run_in_executor(self._writing, self._opened)
        except BaseException:
            self._writing.shutdown()
            self._reading.shutdown()
            self._lock.release()
            raise
        self._writer = asyncio.create_task(self._write(), name="hub-writer")
        return self

    async def rows(self, sql: str, *values: object) -> list[Row]:
        """As in `Database`."""
        found: list[Row] = await self._read(
            lambda connection: connection.execute(_numbered(sql), values).fetchall()
        )
        return found

    async def hashes(self, site_id: str, no: int, spans: Sequence[Span]) -> list[list[bytes]]:
        """As in `Database`."""

        def step(connection: sqlite3.Connection) -> list[list[bytes]]:
            return [
                [row[0] for row in connection.execute(*_span(site_id, no, span))] for span in spans
            ]

        found: list[list[bytes]] = await self._read(step)
        return found

    async def run(self, sql: str, *values: object) -> int:
        """As in `Database`."""
        changed = await self._done(
            lambda connection: connection.execute(_numbered(sql), values).rowcount,
            erases=sql in ERASING,
        )
        return int(changed)

    async def grow(self, growth: Growth) -> Grown:
        """As in `Database`."""
        erases = any(row.erased_by for row in growth.annexes)
        done = await self._done(functools.partial(_grow, growth), erases=erases)
        return Grown.DONE if done else Grown.MOVED

    async def put_annexes(self, site_id: str, annexes: Sequence[AnnexRow]) -> None:
        """As in `Database`."""
        rows = [(site_id, *row) for row in annexes]
        await self._done(lambda connection: connection.executemany(_ANNEX, rows))

    async def close(self) -> None:
        """As in `Database`. May be called twice."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        try:
            await self._writer
        finally:
            await asyncio.to_thread(self._let_go)

    # --- readers ------------------------------------------------------------------------------

    async def _read(self, step: Step) -> Any:
        self._refuse_if_failed()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, self._lent, step)

    def _lent(self, step: Step) -> Any:
        """Run a step with a reader; in a thread. There are as many readers as threads."""
        connection = self._readers.get()
        try:
            with file.explained(self._path):
                return step(connection)
        finally:
            self._readers.put(connection)

    # --- the one writer -----------------------------------------------------------------------

    async def _done(self, step: Step, *, erases: bool = False) -> Any:
        """Return what the step gave, once it is durable. Cancelling does not stop the write."""
        self._refuse_if_failed()
        if self._closing:
            raise OursBroken("hub.closed")
        if len(self._queue) >= QUEUE_REQUESTS_MAX:
            raise StoreFailed("busy", waiting=len(self._queue), limit=QUEUE_REQUESTS_MAX)
        request = _Request(step, asyncio.get_running_loop().create_future(), erases)
        self._queue.append(request)
        self._wake.set()
        return await request.done

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch, self._queue = self._queue, []
                await self._commit(batch)
            if self._closing:
                return

    async def _commit(self, batch: list[_Request]) -> None:
        try:
            self._refuse_if_failed()
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._writing, self._transact, batch)
        except (sqlite3.Error, OSError, StoreFailed) as error:
            failure = error if isinstance(error, StoreFailed) else file.explain(error, self._path)
            if failure.code != "store.full":
                self._failure = failure
            self._refuse(batch, failure)
        except BaseException as error:
            # A bug, or the task is being torn down: nobody may be left waiting for ever.
            self._failure = StoreFailed("io", path=str(self._path), cause=repr(error))
            self._refuse(batch + self._queue, self._failure)
            raise
        else:
            for request, result in zip(batch, results, strict=True):
                if request.done.done():
                    continue
                if isinstance(result, Exception):
                    request.done.set_exception(result)
                else:
                    request.done.set_result(result)

    def _refuse(self, batch: list[_Request], failure: StoreFailed) -> None:
        for request in batch:
            if not request.done.done():
                request.done.set_exception(_again(failure))

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise _again(self._failure)

    # --- on the writer's thread ---------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        file.prepare(self._path)
        connection = file.connect(self._path)
        try:
            with file.explained(self._path):
                # Readers with mode=ro need the WAL's index to be there: the writer makes it.
                connection.execute("SELECT count(*) FROM about").fetchone()
                for _ in range(READERS):
                    self._readers.put(file.connect_to_read(self._path))
        except BaseException:
            connection.close()
            raise
        return connection

    def _transact(self, batch: list[_Request]) -> list[Any]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [self._savepoint(connection, request.step) for request in batch]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._truncate_due |= any(request.erases for request in batch)
        if self._truncate_due:
            # What was erased is overwritten in the file; it must leave the WAL too.
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self._truncate_due = bool(busy)
        return results

    def _savepoint(self, connection: sqlite3.Connection, step: Step) -> Any:
        connection.execute("SAVEPOINT request")
        try:
            result = step(connection)
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError) as error:
            connection.execute("ROLLBACK TO request")
            result = StoreFailed("torn", path=str(self._path), sqlite=str(error))
        connection.execute("RELEASE request")
        return None if isinstance(result, sqlite3.Cursor) else result

    def _let_go(self) -> None:
        self._writing.shutdown()
        self._reading.shutdown()
        try:
            while not self._readers.empty():
                self._readers.get().close()
            self._connection.close()
        except sqlite3.Error:
            # The WAL stays beside the file; whoever opens next reads it.
            pass
        finally:
            self._lock.release()


def _grow(growth: Growth, connection: sqlite3.Connection) -> bool:
    sealed = None if growth.note is None else growth.size
    place = (growth.site_id, growth.no)
    head = (growth.size, growth.peaks, sealed, sealed, growth.note)
    guard = (growth.site_id, growth.origin, growth.old, growth.own)
    if connection.execute(_GROW, (*head, *guard)).rowcount != 1:
        return False
    places, at = [], 1
    for data in growth.entries:
        places.append((at, len(data)))
        at += len(data)
    joined = (b"".join(growth.leaves), b"".join(growth.entries), json.dumps(places))
    connection.execute(_ENTRIES, (*place, growth.old, *joined))
    if growth.nodes:
        connection.executemany(_NODE, [(*place, *node) for node in growth.nodes])
    if growth.annexes:
        connection.executemany(_ANNEX, [(growth.site_id, *row) for row in growth.annexes])
    if growth.note is not None:
        connection.execute(_CHECKPOINT, (*place, growth.size, growth.note, growth.at_ms))
    return True


def _span(site_id: str, no: int, span: Span) -> tuple[str, tuple[object, ...]]:
    stop = span.first + span.width
    if span.level == 0:
        return _LEAVES, (site_id, no, span.first, stop)
    return _NODES, (site_id, no, span.level, span.first, stop)


@functools.cache
def _numbered(sql: str) -> str:
    """Return a statement with SQLite's numbered marks."""
    return re.sub(r"\$(\d+)", r"?\1", sql)


def _again(failure: StoreFailed) -> StoreFailed:
    """Return a copy to raise: one exception object must not be raised in two places."""
    return StoreFailed(failure.reason, failure.remedy, **failure.evidence)
