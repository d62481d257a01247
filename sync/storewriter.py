"""The one task that writes: what waits, what goes into one commit, and who is told what after it.

Two kinds wait. *Records* are this site's own entries: all that wait go into the next commit. A
*step* is anything else (entries of others, a receipt, pruning): it is asked on the connection's
thread what it would write, knowing what is durable, and a few that touch different logs ride along.

When the disk is full the two part. Own records get the ballast. A step gets nothing of it: it is
refused with `store.full`, nothing is half done, and the store lives on.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from sync import commit, database, writing
from sync.beside import Ballast, Lock
from sync.commit import Changes, Identity, LogState, Values
from sync.entry import Lane, Ref
from sync.errors import OursBroken, StoreFailed, SyncError, TheirsInvalid
from sync.intake import CHUNK_ENTRIES_MAX
from sync.rows import Record
from sync.storeshelf import StoreShelf

STEPS_MAX: Final = 64
"""Steps that may wait; with chunks as large as they may be, some seconds of a slow disk."""

_T = TypeVar("_T")

Step = Callable[[sqlite3.Connection], tuple[Changes, Callable[[], object]]]
"""What it writes, computed on the connection's thread; and what to do and return once it holds."""


@dataclass(slots=True)
class Request:
    """What one caller waits for. Without records or a step: that the WAL is emptied.

    Of steps with one `key` only one goes into a commit; `weight` counts entries.
    """

    done: asyncio.Future[Any]
    records: Sequence[Record] = ()
    erased: list[tuple[int, Ref]] = field(default_factory=list)
    snapshot: Values | None = None
    step: Step | None = None
    key: str = ""
    weight: int = 0
    outcome: Callable[[], object] | None = None
    refusal: SyncError | None = None


class StoreWriter(StoreShelf):
    """The queue, the task and the connection of a store."""

    def __init__(self, path: Path, identity: Identity | None, lock: Lock, ballast: Ballast) -> None:
        super().__init__(path, identity)
        self._path = path
        self._lock = lock
        self._ballast = ballast
        self._states: dict[Lane, LogState] = {}
        self._next: dict[Lane, int] = {}
        self._queue: list[Request] = []
        self._queued = 0
        self._steps = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._failure: StoreFailed | None = None
        self._truncate_due = False
        self._low_space = False
        self._connection: aiosqlite.Connection
        self._raw: sqlite3.Connection  # used on the thread of `_connection` only
        self._writer: asyncio.Task[None]

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

    async def tidy(self) -> None:
        """Empty the WAL into the database, for a quiet minute; raises `StoreFailed` as append."""
        self._refuse_if_failed()
        await self._enqueue(Request(asyncio.get_running_loop().create_future()))

    async def close(self) -> None:
        """Write what is queued, then let go of the file. May be called twice."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        try:
            await self._writer
        finally:
            self._ended = self._closed = True
            self._tell()
            try:
                await self._reads.close()
                await self._connection.close()
            except sqlite3.Error:
                # The WAL stays beside the file; whoever opens next reads it.
                pass
            finally:
                self._lock.release()

    # --- what waits ---------------------------------------------------------------------------

    async def _enqueue(self, request: Request) -> Any:
        if self._closing:
            raise OursBroken("store.closed")
        self._queue.append(request)
        self._wake.set()
        # Cancelling whoever waits cancels this future and nothing else.
        return await request.done

    async def _take(
        self,
        step: Callable[[sqlite3.Connection], tuple[Changes, Callable[[], _T]]],
        key: str,
        weight: int = 0,
    ) -> _T:
        """Let a step have its turn; return what it returned once its rows are durable."""
        self._refuse_if_failed()
        if self._steps >= STEPS_MAX:
            raise StoreFailed("busy", waiting=self._steps)
        self._steps += 1
        future = asyncio.get_running_loop().create_future()
        found: _T = await self._enqueue(Request(future, step=step, key=key, weight=weight))
        return found

    def _refuse_if_failed(self) -> None:
        if self._failure is not None:
            raise again(self._failure)

    def _batch(self) -> list[Request]:
        """Take what goes into the next commit: all records, and steps that do not meet."""
        taken: list[Request] = []
        left: list[Request] = []
        keys: set[str] = set()
        weight = 0
        for request in self._queue:
            if request.step is None:
                taken.append(request)
            elif request.key in keys or (keys and weight + request.weight > CHUNK_ENTRIES_MAX):
                left.append(request)
                # Whoever came later with the same key waits behind this one.
                keys.add(request.key)
            else:
                taken.append(request)
                keys.add(request.key)
                weight += request.weight
                self._steps -= 1
        self._queue, self._queued = left, 0
        return taken

    # --- the one writer -----------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._commit_batch(self._batch())
            if self._closing:
                return

    async def _commit_batch(self, batch: list[Request]) -> None:
        try:
            await self._commit(batch)
        except (sqlite3.Error, OSError) as error:
            self._fail(batch, database.explain(error, self._path))
        except BaseException as error:
            # A bug, or the task is being torn down: nobody may be left waiting for ever.
            self._fail(batch, StoreFailed("io", path=str(self._path), cause=repr(error)))
            raise
        else:
            # Every state first: whoever wakes must find all of this commit.
            results = [
                None if one.refusal or one.outcome is None else one.outcome() for one in batch
            ]
            for request, result in zip(batch, results, strict=True):
                if request.done.done():
                    continue
                if request.refusal is None:
                    request.done.set_result(result)
                else:
                    request.done.set_exception(request.refusal)
            self._tell()

    async def _commit(self, batch: list[Request]) -> None:
        if self._failure is not None:
            raise OSError(self._failure.code)
        changes = commit.plan(
            self._states,
            (record for request in batch for record in request.records),
            [mark for request in batch for mark in request.erased],
            self._beside,
        )
        changes.snapshots += [one.snapshot for one in batch if one.snapshot is not None]
        steps = [request for request in batch if request.step is not None]
        more = await self._run(self._prepared, steps) if steps else Changes()
        if changes or more:
            await self._transact_or_part(changes, more, steps)
            self._states |= changes.states
            for state in changes.states.values():
                head = self._heads[state.key.name]
                self._heads[head.origin] = head.grown(state.tree.size, state.note)
        tidying = any(not request.records and request.step is None for request in batch)
        self._truncate_due |= changes.forgets or more.forgets
        if self._truncate_due or tidying:
            await self._run(self._truncate)

    async def _transact_or_part(
        self, changes: Changes, more: Changes, steps: list[Request]
    ) -> None:
        """Write everything; on a full disk what is our own goes first, alone."""
        if more:
            both = Changes()
            both.add(changes)
            both.add(more)
            try:
                await self._run(self._transact, both)
            except sqlite3.Error as error:
                if database.explain(error, self._path).reason != "full":
                    raise
                await self._run(self._undo)
                for request in steps:
                    request.refusal = request.refusal or StoreFailed("full", path=str(self._path))
            else:
                return
        if changes:
            await self._transact_or_lighten(changes)

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

    async def _run(self, step: Callable[..., _T], *arguments: object) -> _T:
        """Run a step on the connection's own thread."""
        # One hop a commit in place of six: aiosqlite has no public way to run several statements
        # in one, and each hop costs as much as the statement.
        found: _T = await self._connection._execute(step, *arguments)  # type: ignore[no-untyped-call]  # noqa: SLF001  # see above
        return found

    def _fail(self, batch: list[Request], failure: StoreFailed) -> None:
        """Tell everybody who waits; from here on this store takes nothing."""
        if self._failure is None:
            self._failure = failure
        waiting, self._queue, self._queued, self._steps = batch + self._queue, [], 0, 0
        for request in waiting:
            if not request.done.done():
                request.done.set_exception(again(self._failure))
        self._ended = True
        self._tell()

    # --- on the connection's thread -----------------------------------------------------------

    def _prepared(self, steps: list[Request]) -> Changes:
        """Return what all the steps write; each that is refused writes nothing."""
        more = Changes()
        for request in steps:
            assert request.step is not None
            try:
                changes, request.outcome = request.step(self._raw)
            except (TheirsInvalid, OursBroken, StoreFailed) as error:
                request.refusal = error
            else:
                more.add(changes)
        return more

    def _transact(self, changes: Changes) -> None:
        writing.transact(self._raw, changes)

    def _undo(self) -> None:
        writing.undo(self._raw)

    def _truncate(self) -> None:
        """Copy the WAL into the database and cut it to nothing, unless a reader needs it."""
        busy = self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if not busy:
            self._truncate_due = False


def again(failure: StoreFailed) -> StoreFailed:
    """Return a copy to raise: one exception object must not be raised in two places."""
    return StoreFailed(failure.reason, failure.remedy, **failure.evidence)
