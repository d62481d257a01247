# ruff: noqa: ASYNC240  # a test may look at a small file from the event loop
"""Pins the store: durable when it returns, in order, grouped, bounded, and refusing by code."""

import asyncio
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from certs.note import open_checkpoint
from sync import database
from sync.entry import Lane, LaneRef, Writer
from sync.errors import OursBroken, StoreFailed, TheirsInvalid
from sync.merkle import Tree, leaf_hash
from sync.proof import check
from sync.reader import LogFile
from sync.store import Identity, Record, Store
from tests.fault.logs import IDENTITY, SALT, codes, entry, erasure, fill, fsck, private, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site.db"


async def opened(path: Path, **more: Any) -> Store:
    return await Store.open(path, IDENTITY, ballast_bytes=4096, **more)


async def test_what_is_appended_is_there_after_reopening_under_a_signed_root(path: Path) -> None:
    records = [record(i) for i in range(5)] + [private(5, b"tracking"), record(0, Lane.URGENT)]
    async with await opened(path) as store:
        await store.append(records)
        assert store.sizes == {Lane.URGENT: 1, Lane.CUSTODY: 6, Lane.TELEMETRY: 0}
    async with await opened(path) as store:
        assert list(store.records(Lane.CUSTODY)) == records[:6]
        assert list(store.records(Lane.CUSTODY, 2, 4)) == records[2:4]
        assert list(store.records(Lane.URGENT)) == records[6:]
        tree = Tree()
        for one in records[:6]:
            tree.append(leaf_hash(one.entry))
        verifier = IDENTITY.key(Lane.CUSTODY).verifier
        checkpoint = open_checkpoint(store.checkpoint(Lane.CUSTODY), verifier)
        assert (checkpoint.size, checkpoint.root) == (6, tree.root())
        assert store.next_index(Lane.CUSTODY) == 6
        await store.append([])
        await store.append([record(6)])
    assert fsck(path).ok


async def test_proofs_hold_at_every_size_across_stored_nodes(path: Path) -> None:
    await fill(path, (record(i) for i in range(700)), 70)
    verifier = IDENTITY.key(Lane.CUSTODY).verifier
    with LogFile.open(path) as file:
        head = file.head(Lane.CUSTODY)
        assert [size for size, _ in file.kept(head)] == [490]
        for index in (0, 1, 255, 256, 511, 512, 699):
            check(entry(index), file.proof(head, index), verifier)
        with pytest.raises(TheirsInvalid, match=r"merkle\.index"):
            file.proof(head, 700)


async def test_callers_that_come_during_a_flush_share_the_next_one(path: Path) -> None:
    async with await opened(path) as store:
        await asyncio.gather(*(store.append([record(i)]) for i in range(500)))
        assert store.sizes[Lane.CUSTODY] == 500
    with sqlite3.connect(path) as connection:
        kept = connection.execute("SELECT count(*) FROM checkpoint").fetchone()[0]
    connection.close()
    assert kept == 0
    assert fsck(path).ok


async def test_a_gap_and_a_repeat_are_refused_and_leave_no_trace(path: Path) -> None:
    async with await opened(path) as store:
        for wrong in ([record(1)], [record(0), record(2)], [record(0), record(0)]):
            with pytest.raises(OursBroken) as caught:
                await store.append(wrong)
            assert caught.value.code == "store.index_gap"
        await store.append([record(0)])
        with pytest.raises(OursBroken):
            await store.append([record(0)])
        assert store.sizes[Lane.CUSTODY] == 1


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (Record(Lane.CUSTODY, 0, b"{}"), "store.bad_entry"),
        (Record(Lane.CUSTODY, 0, b'{"at":[1,2], "kind":"a.b"}'), "store.bad_entry"),
        (Record(Lane.CUSTODY, 0, entry(0), b"annex", SALT), "store.bad_annex"),
        (Record(Lane.CUSTODY, 0, private(0, b"x").entry, b"y", SALT), "store.bad_annex"),
        (Record(Lane.CUSTODY, 0, private(0, b"x").entry), "store.bad_annex"),
        (Record(Lane.CUSTODY, 0, private(0, b"x").entry, b"x"), "store.bad_annex"),
        (Record(Lane.CUSTODY, 0, private(0, b"x").entry, b"x", b"short"), "store.bad_annex"),
        (erasure(0, 0), "store.no_entry"),
        (erasure(0, 9), "store.no_entry"),
    ],
)
async def test_what_must_not_be_written_is_refused_before(
    path: Path, bad: Record, code: str
) -> None:
    async with await opened(path) as store:
        with pytest.raises(OursBroken) as caught:
            await store.append([bad])
        assert caught.value.code == code
        assert store.next_index(Lane.CUSTODY) == 0


async def test_overload_is_refused_with_a_code_and_nothing_is_lost(path: Path) -> None:
    async with await opened(path, queue_max=8) as store:
        waiting = [asyncio.create_task(store.append([record(i)])) for i in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(StoreFailed) as caught:
            await store.append([record(8)])
        assert caught.value.code == "store.busy"
        await asyncio.gather(*waiting)
        await store.append([record(8)])
        assert store.sizes[Lane.CUSTODY] == 9


async def test_cancelling_a_caller_does_not_touch_the_write(path: Path) -> None:
    async with await opened(path) as store:
        task = asyncio.create_task(store.append([record(0)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.append([record(1)])
        assert [one.index for one in store.records(Lane.CUSTODY)] == [0, 1]


async def test_an_erased_annex_is_gone_from_every_byte_and_everything_verifies(path: Path) -> None:
    """Whatever the order of erasing, while others are added and pages are rebalanced."""
    order = list(range(300))
    random.Random(7).shuffle(order)
    async with await opened(path) as store:
        await store.append([private(i, b"<%04d>" % i * (i % 40 + 1)) for i in range(300)])
        size = 300
        for done, index in enumerate(order[:120]):
            await store.append([erasure(size, index), private(size + 1, b"live" * 20)])
            size += 2
            assert not store.erasure_pending
            if done % 20 == 0:
                gone = {b"<%04d>" % number for number in order[: done + 1]}
                for file in path.parent.glob("site.db*"):
                    data = file.read_bytes()
                    assert not [mark for mark in gone if mark in data]
    assert fsck(path).ok
    with LogFile.open(path) as log:
        kept = {one.index for one in log.records(log.head(Lane.CUSTODY)) if one.annex}
    assert kept == set(range(301, size, 2)) | set(order[120:])


async def test_a_reader_delays_an_erasure_and_the_next_commit_completes_it(path: Path) -> None:
    async with await opened(path) as store:
        await store.append([private(0, b"secret-annex")])
        reading = store.records(Lane.CUSTODY)
        next(reading)
        await store.append([erasure(1, 0)])
        pending = [store.erasure_pending]
        reading.close()
        await store.tidy()
        assert [*pending, store.erasure_pending] == [True, False]
        for file in path.parent.glob("site.db*"):
            assert b"secret-annex" not in file.read_bytes()


async def test_one_process_owns_the_database(path: Path) -> None:
    async with await opened(path):
        with pytest.raises(StoreFailed) as caught:
            await opened(path)
        assert caught.value.code == "store.busy"
    async with await opened(path):
        pass


async def test_a_new_epoch_begins_new_lanes_and_keeps_the_old_ones(path: Path) -> None:
    await fill(path, [private(0, b"old")])
    second = Identity("lockers.example", "site/0042", "e2-00000001", bytes(32))
    async with await Store.open(path, second, ballast_bytes=4096) as store:
        assert store.sizes[Lane.CUSTODY] == 0
        await store.append([erasure(0, 0)])
        old = LaneRef("e1-9f2c01ab", Writer.SITE, Lane.CUSTODY)
        assert [one.annex for one in store.records(old)] == [None]
    report = fsck(path)
    assert report.ok
    assert len(report.logs) == 6


async def test_another_key_is_refused(path: Path) -> None:
    await fill(path, [record(0)])
    other = Identity("lockers.example", "site/0042", "e1-9f2c01ab", bytes(32))
    with pytest.raises(StoreFailed) as caught:
        await Store.open(path, other)
    assert caught.value.code == "store.foreign"


async def test_without_an_identity_nothing_is_appended(path: Path) -> None:
    await fill(path, [record(0)])
    async with await Store.open(path, ballast_bytes=4096) as store:
        with pytest.raises(OursBroken, match=r"store\.no_identity"):
            await store.append([record(1)])


async def test_a_closed_store_takes_nothing_and_closes_twice(path: Path) -> None:
    store = await opened(path)
    waiting = asyncio.create_task(store.append([record(0)]))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    await waiting
    with pytest.raises(OursBroken, match=r"store\.closed"):
        await store.append([record(1)])
    assert not Path(f"{path}-wal").exists()


def test_the_seed_is_in_no_text() -> None:
    assert bytes(range(32)).hex() not in repr(IDENTITY)
    assert "seed" not in repr(IDENTITY)


def header(application: bytes, version: int) -> bytes:
    text = bytearray(b"SQLite format 3\0" + bytes(84))
    text[68:72], text[60:64] = application, version.to_bytes(4, "big")
    return bytes(text)


PLG1 = database.APPLICATION_ID.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "torn"),
        (b"SQLite for", "torn"),
        (bytes(4096), "torn"),
        (header(PLG1, 0), "torn"),
        (b"X" + header(PLG1, 1)[1:], "torn"),
        (header(PLG1, 99), "newer"),
        (header(b"\0\0\0\0", 1), "foreign"),
        (b"# a TOML file\n", "foreign"),
        (bytes(range(100, 200)), "foreign"),
    ],
)
async def test_what_is_not_ours_whole_and_known_is_named_and_left_alone(
    path: Path, data: bytes, reason: str
) -> None:
    path.write_bytes(data)
    for attempt in (opened(path), asyncio.to_thread(fsck, path)):
        with pytest.raises(StoreFailed) as caught:
            await attempt
        assert caught.value.reason == reason
        assert str(path) in str(caught.value)
    assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == ["site.db"]


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.99])
async def test_a_cut_file_is_torn_and_left_alone(path: Path, keep: float) -> None:
    await fill(path, (record(i) for i in range(200)), 50)
    whole = path.read_bytes()
    cut = whole[: int(len(whole) * keep)]
    path.write_bytes(cut)
    with pytest.raises(StoreFailed) as caught:
        await opened(path)
    assert caught.value.reason == "torn"
    assert path.read_bytes() == cut


async def test_a_newer_version_in_the_wal_only_is_refused_too(path: Path) -> None:
    await fill(path, [record(0)])
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version=99")
    before = {file: file.read_bytes() for file in path.parent.glob("site.db*")}
    with pytest.raises(StoreFailed) as caught:
        await opened(path)
    assert caught.value.reason == "newer"
    after = {file: file.read_bytes() for file in before}
    assert {key for key in before if before[key] != after[key]} <= {Path(f"{path}-shm")}
    other.close()


async def test_tables_that_are_not_ours_are_refused(path: Path) -> None:
    await fill(path, [record(0)])
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE more (x)")
    connection.close()
    for attempt in (opened(path), asyncio.to_thread(fsck, path)):
        with pytest.raises(StoreFailed, match="not ours"):
            await attempt


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM entry WHERE idx = 9",
        "UPDATE log SET size = 9 WHERE lane = 'c'",
        "UPDATE log SET note = replace(note, 'custody', 'urgent') WHERE lane = 'c'",
        "UPDATE entry SET leaf = zeroblob(32) WHERE idx = 8",
        "UPDATE log SET note = (SELECT note FROM log WHERE lane = 't') WHERE lane = 'c'",
    ],
)
async def test_a_store_writes_nothing_on_top_of_a_log_that_does_not_fit(
    path: Path, sql: str
) -> None:
    await fill(path, (record(i) for i in range(10)))
    with sqlite3.connect(path) as connection:
        connection.execute(sql)
    connection.close()
    with pytest.raises(StoreFailed) as caught:
        await opened(path)
    assert caught.value.reason == "torn"
    assert codes(fsck(path))


async def test_an_older_schema_is_brought_up_to_date(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path, [record(0)])
    steps = [*database.migrations(), (3, "CREATE TABLE later (x INTEGER) STRICT;")]
    monkeypatch.setattr(database, "migrations", lambda: steps)
    async with await opened(path) as store:
        await store.append([record(1)])
    assert int.from_bytes(path.read_bytes()[60:64], "big") == 3
    monkeypatch.undo()
    with pytest.raises(StoreFailed) as caught:
        await opened(path)
    assert caught.value.reason == "newer"
