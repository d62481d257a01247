"""Pins a full and a broken disk for what a shelf takes in: refused, nothing half done, own first.

The room that is left belongs to what this site itself has to write: how an open door ends.
"""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from certs.note import cosign
from sync import database
from sync.entry import Lane
from sync.errors import StoreFailed
from sync.rows import Annex
from sync.store import Store
from tests.fault.logs import SALT, fsck, record
from tests.fault.shelves import (
    COSIGNER,
    HUB,
    LOST,
    OWN,
    STORE,
    THEIRS,
    chunk,
    opened,
    reached,
    taken,
)
from tests.fault.test_store_full import Broken, small_disk

__all__ = ["small_disk"]

PAGES = 100


def limited(path: Path) -> sqlite3.Connection:
    """Open the writing connection of a database that may not grow beyond PAGES pages."""
    connection = database.connect(path)
    connection.execute(f"PRAGMA max_page_count={PAGES}")
    return connection


async def until_full(store: Store, count: int = 60) -> int:
    """Take in chunks until one is refused; return how much of the log is held."""
    size = (await reached(store)).theirs
    while True:
        try:
            size = (await store.extend(chunk(HUB, size, count))).size
        except StoreFailed as failure:
            if failure.reason != "full":
                raise
            return size


async def receipt(store: Store, size: int) -> None:
    note = await store.note(OWN, size) or ""
    await store.receive_receipt(OWN, note + cosign(note, COSIGNER, 1), STORE)


async def test_what_others_send_is_refused_on_a_full_disk_and_the_store_lives(
    tmp_path: Path,
) -> None:
    path = tmp_path / "site.db"
    async with await opened(path, connect=limited) as store:
        await store.append([record(n, note="x" * 900) for n in range(20)])
        entries, book = taken(20, 20)
        await store.append([entries], snapshot=book)
        await receipt(store, 20)
        size = await until_full(store)
        assert size > 20
        for step in (
            store.extend(chunk(HUB, size, 60)),
            store.extend(chunk(LOST, 0, 400)),
        ):
            with pytest.raises(StoreFailed) as caught:
                await step
            assert caught.value.code == "store.full"
        assert (store.failed, store.low_space) == (None, False)
        # Together with a chunk that does not fit goes what this site writes itself.
        both = await asyncio.gather(
            store.append([record(21)]), store.extend(chunk(HUB, size, 60)), return_exceptions=True
        )
        assert both[0] is None
        assert isinstance(both[1], StoreFailed)
        assert (await reached(store)).theirs == size
        assert (await reached(store)).own == 22
        # Letting go of what is old makes room again.
        await store.prune(OWN, 20, hub=STORE, older=20)
        assert (await store.extend(chunk(HUB, size, 20))).size == size + 20
    assert fsck(path).ok


class Full:
    """A connection whose COMMIT finds no room while `full` is set."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT" and self.full:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._connection.execute(sql, *values)


async def test_each_thing_taken_in_is_refused_alone_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    made: list[Full] = []

    def connect(path: Path) -> Any:
        made.append(Full(database.connect(path)))
        return made[-1]

    async with await opened(path, connect=connect) as store:
        await store.append([record(n) for n in range(5)])
        entries, book = taken(5, 5)
        await store.append([entries], snapshot=book)
        await store.extend(chunk(HUB, 0, 10))
        await receipt(store, 5)
        annex = [(2, Annex(SALT, b"theirs 2", None))]
        before = await reached(store)
        for steps in range(2):
            made[0].full = not steps
            for step in (
                store.put_annexes(THEIRS, annex),
                receipt(store, 6),
                store.mark_boot(7),
                store.extend(chunk(HUB, 10, 3)),
                store.extend(chunk(LOST, 0, 3)),
                store.prune(OWN, 4, hub=STORE, older=5),
            ):
                if steps:
                    await step
                    continue
                with pytest.raises(StoreFailed) as caught:
                    await step
                assert caught.value.code == "store.full"
                assert (store.failed, store.low_space) == (None, False)
                assert await reached(store) == before
        assert await reached(store) == (6, 13, 3, 1, 6, 4, 7, 5)
    assert fsck(path).ok


async def test_the_ballast_is_not_for_what_others_send(small_disk: Path) -> None:
    path = small_disk / "site.db"
    store = await opened(path, ballast_bytes=512 * 1024)
    filler = small_disk / "filler"
    async with store:
        await store.extend(chunk(HUB, 0, 5))
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
        size = await until_full(store)
        spaces, done = [store.low_space], 0
        while not spaces[-1]:
            await store.append([record(done, note="x" * 1000)])
            done += 1
            spaces.append(store.low_space)
        assert len(spaces) > 1
        for step in (
            store.extend(chunk(HUB, size, 1)),
            store.put_annexes(THEIRS, []),
        ):
            with pytest.raises(StoreFailed) as caught:
                await step
            assert caught.value.code == "store.full"
        for _ in range(20):
            await store.append([record(done, note="x" * 1000)])
            done += 1
        filler.unlink()
        store.regain_space()
        assert (await store.extend(chunk(HUB, size, 1))).size == size + 1
    assert fsck(path).ok


async def test_after_an_io_error_nothing_is_taken_in_and_nobody_waits(tmp_path: Path) -> None:
    path = tmp_path / "site.db"

    def connect(path: Path) -> Any:
        return Broken(database.connect(path), sqlite3.SQLITE_IOERR_FSYNC)

    store = await opened(path, connect=connect)
    await store.extend(chunk(HUB, 0, 5))
    waiting = asyncio.create_task(store.beyond(THEIRS, 5, 3600))
    steps = [store.extend(chunk(HUB, 5, 5)), store.append([record(0)]), store.mark_boot(1)]
    ends = await asyncio.gather(*steps, return_exceptions=True)
    assert [one.code for one in ends if isinstance(one, StoreFailed)] == ["store.io"] * 3
    async with asyncio.timeout(10):
        log = await waiting
    assert log is not None
    assert log.size == 5
    for step in (store.extend(chunk(HUB, 5, 5)), store.renew_instance()):
        with pytest.raises(StoreFailed, match=r"store\.io"):
            await step
    await store.close()
    async with await opened(path) as again:
        assert (await again.extend(chunk(HUB, 5, 5))).size == 10
        await again.append([record(again.next_index(Lane.CUSTODY))])
    assert fsck(path).ok


async def test_a_chunk_that_is_refused_harms_no_other_of_the_same_commit(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    async with await opened(path) as store:
        bad = chunk(LOST, 0, 3)
        ends = await asyncio.gather(
            store.append([record(0)]),
            store.extend(type(bad)(bad.origin, 0, bad.entries, chunk(LOST, 0, 2).note)),
            store.extend(chunk(HUB, 0, 3)),
            return_exceptions=True,
        )
        assert [type(one).__name__ for one in ends] == ["NoneType", "TheirsInvalid", "Log"]
        assert (await reached(store))[:3] == (1, 3, 0)
    assert fsck(path).ok
