"""Pins the journal: order kept, what waits goes together, nothing after a failure."""

import asyncio
from contextlib import suppress
from typing import Any

from gateway.core.outputs import Draft, Persist
from gateway.journal import GROUP_MAX, Journal
from sync.entry import Lane
from sync.errors import StoreFailed


class StoreDouble:
    def __init__(self) -> None:
        self.flushes: list[list[int]] = []
        self.gate = asyncio.Event()
        self.trouble = None

    @property
    def sizes(self) -> Any:
        return {}

    async def append(self, records: Any, *, snapshot: bytes | None = None) -> None:
        await self.gate.wait()
        if self.trouble:
            raise self.trouble
        self.flushes.append([record.index for record in records])

    async def close(self) -> None:
        """Nothing to close."""


def persist(number: Any) -> Any:
    return Persist(number, (Draft(Lane.CUSTODY, number, b"{}"),))


async def stage() -> Any:
    store = StoreDouble()
    told: list[Any] = []
    journal = Journal(store, persisted=told.append, failed=told.append)
    return store, told, journal, asyncio.create_task(journal.run())


async def test_what_gathers_during_a_flush_goes_into_the_next_one() -> None:
    store, told, journal, task = await stage()
    journal.put(persist(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for number in range(2, GROUP_MAX + 5):
        journal.put(persist(number))
    assert journal.backlog == GROUP_MAX + 4
    store.gate.set()
    await journal.drained()
    assert store.flushes[0] == [1]
    assert len(store.flushes[1]) == GROUP_MAX
    assert [index for flush in store.flushes for index in flush] == list(range(1, GROUP_MAX + 5))
    assert told[-1] == GROUP_MAX + 4
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_after_a_failure_nothing_is_taken_and_nobody_waits() -> None:
    store, told, journal, task = await stage()
    store.trouble = StoreFailed("full")
    store.gate.set()
    journal.put(persist(1))
    await task
    assert told == ["full"]
    assert journal.dead
    journal.put(persist(2))
    await journal.drained()
    assert journal.backlog == 0
    assert store.flushes == []
