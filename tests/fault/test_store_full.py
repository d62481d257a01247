"""Pins a full disk and a broken one: what is told, what is on disk, and that it works again."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync import database
from sync.entry import Lane
from sync.errors import StoreFailed
from sync.store import Store
from tests.fault.logs import IDENTITY, fill, fsck, record

PAGES = 40


def limited(path: Path) -> sqlite3.Connection:
    """Open the writing connection of a database that may not grow beyond PAGES pages."""
    connection = database.connect(path)
    connection.execute(f"PRAGMA max_page_count={PAGES}")
    return connection


async def until_full(store: Store) -> int:
    """Append until it is refused; return how many were acknowledged."""
    done = store.sizes[Lane.CUSTODY]
    while True:
        try:
            await store.append([record(done, note="x" * 1000)])
        except StoreFailed as failure:
            if failure.reason != "full":
                raise
            return done
        done += 1


async def test_a_full_database_refuses_keeps_what_it_has_and_works_after(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    store = await Store.open(path, IDENTITY, ballast_bytes=65536, connect=limited)
    spaces = [store.low_space]
    done = await until_full(store)
    assert done > 5
    spaces.append(store.low_space)
    assert spaces == [False, True]
    assert not (tmp_path / "site.db.ballast").exists()
    for _ in range(2):
        with pytest.raises(StoreFailed) as caught:
            await store.append([record(done)])
        assert caught.value.code == "store.full"
    with pytest.raises(StoreFailed):
        await store.tidy()
    assert store.failed is not None
    await store.close()
    assert fsck(path).ok
    async with await Store.open(path, IDENTITY, ballast_bytes=65536) as again:
        assert again.sizes[Lane.CUSTODY] == done
        assert not again.low_space
        await again.append([record(done)])
    assert fsck(path).ok


async def test_everyone_who_waits_is_told(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "site.db", IDENTITY, ballast_bytes=4096, connect=limited)
    waiting = [store.append([record(i, note="x" * 3000)]) for i in range(200)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, StoreFailed) and one.reason == "full" for one in results)
    await store.close()
    assert fsck(tmp_path / "site.db").ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_on_a_real_full_disk_the_ballast_buys_the_last_entries(small_disk: Path) -> None:
    path = small_disk / "site.db"
    store = await Store.open(path, IDENTITY, ballast_bytes=512 * 1024)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096:
            pass
    async with store:
        before = store.sizes[Lane.CUSTODY]
        done = await until_full(store)
    assert done - before > 20, "the ballast gave room for less than 20 entries"
    assert fsck(path).ok
    # Full still: it opens for reading what is there, takes no ballast, and says so.
    async with await Store.open(path, IDENTITY, ballast_bytes=512 * 1024) as store:
        assert store.sizes[Lane.CUSTODY] == done
        spaces = [store.low_space]
        store.regain_space()
        spaces.append(store.low_space)
        filler.unlink()
        store.regain_space()
        spaces.append(store.low_space)
        assert spaces == [True, True, False]
    async with await Store.open(path, IDENTITY, ballast_bytes=512 * 1024) as store:
        assert not store.low_space
        await store.append([record(done)])
    assert fsck(path).ok


class Broken:
    """A connection whose COMMIT fails as a disk does."""

    def __init__(self, connection: sqlite3.Connection, code: int) -> None:
        self._connection = connection
        self._code = code
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT":
            self.commits += 1
            if self.commits > 2:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = self._code
                raise error
        return self._connection.execute(sql, *values)


async def test_an_io_error_is_never_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    made: list[Broken] = []

    def connect(path: Path) -> Any:
        made.append(Broken(database.connect(path), sqlite3.SQLITE_IOERR_FSYNC))
        return made[-1]

    store = await Store.open(path, IDENTITY, ballast_bytes=4096, connect=connect)
    await store.append([record(0)])
    for index in (1, 1, 2):
        with pytest.raises(StoreFailed) as caught:
            await store.append([record(index)])
        assert caught.value.code == "store.io"
    # One for the lanes that begin, one for the first entry, one that failed, and no other.
    assert made[0].commits == 3
    assert not store.low_space
    await store.close()
    async with await Store.open(path, IDENTITY, ballast_bytes=4096) as again:
        assert again.sizes[Lane.CUSTODY] == 1


async def test_a_bug_in_the_writer_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(tmp_path / "site.db", [record(0)])
    store = await Store.open(tmp_path / "site.db", IDENTITY, ballast_bytes=4096)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("sync.store.commit.plan", broken)
    with pytest.raises(StoreFailed, match="a bug"):
        await store.append([record(1)])
    with pytest.raises(RuntimeError, match="a bug"):
        await store.close()
