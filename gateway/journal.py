"""From `Persist` to the disk and back: what waits is stored together, in the order it was written.

One `Persist` is never split. Whatever gathers while a flush runs goes into the next one. After a
failure nothing more is taken: the engine that wrote it is past, and is recovered anew.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from gateway.core.outputs import Persist
from gateway.ports import StorePort
from sync.errors import StoreFailed
from sync.store import Record

GROUP_MAX: Final = 64
"""`Persist`s in one flush: keeps a transaction short enough to be done in one turn of the disk."""


class Journal:
    """The way to the store. `persisted(upto)` and `failed(reason)` are called on the event loop."""

    def __init__(
        self,
        store: StorePort,
        *,
        persisted: Callable[[int], None],
        failed: Callable[[str], None],
    ) -> None:
        self._store = store
        self._persisted = persisted
        self._failed = failed
        self._waiting: deque[Persist] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.dead = False

    @property
    def backlog(self) -> int:
        """How many `Persist`s are not durable yet. The runtime takes no new input above a bound."""
        return len(self._waiting)

    def put(self, persist: Persist) -> None:
        """Take what is to be stored; after a failure it is dropped, for it will be recovered."""
        if self.dead:
            return
        self._waiting.append(persist)
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Return when all that was put is durable, or will never be."""
        await self._idle.wait()

    async def run(self) -> None:
        """Store what comes, for ever; ends after the first failure."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._group()
                snapshot = group[-1].snapshot
                try:
                    await self._store.append(
                        records(group), snapshot=None if snapshot is None else snapshot[1]
                    )
                except StoreFailed as error:
                    self._die(error.reason)
                    return
                for _ in group:
                    self._waiting.popleft()
                self._persisted(group[-1].upto)
            self._idle.set()

    def _group(self) -> list[Persist]:
        """Return what is stored together: a snapshot of the book ends a group."""
        group = []
        for place in range(min(GROUP_MAX, self.backlog)):
            group.append(self._waiting[place])
            if group[-1].snapshot is not None:
                break
        return group

    def _die(self, reason: str) -> None:
        self.dead = True
        self._waiting.clear()
        self._idle.set()
        self._failed(reason)


def records(group: Sequence[Persist]) -> list[Record]:
    """Return the entries of these, in order, as the store takes them."""
    return [
        Record(draft.lane, draft.index, draft.entry, draft.annex, draft.salt)
        for persist in group
        for draft in persist.drafts
    ]
