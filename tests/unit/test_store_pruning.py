# ruff: noqa: ASYNC240  # a test may look at a small file from the event loop
"""Pins pruning: behind which words it stays, what of a log is left, and that all of it verifies."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from certs.note import cosign
from sync.entry import Lane, Ref
from sync.errors import OursBroken
from sync.fsck import verify
from sync.pruning import Bound, Case, bounds, furthest, refusals
from sync.reader import LogFile
from sync.roots import Source
from sync.rows import Annex, Record
from sync.store import Store
from sync.storeintake import PRUNE_ENTRIES
from tests.contract.shelves import COSIGNER, HUB, SITE
from tests.contract.test_shelf_contract import SALT, Writing, erasure, own, plain, private
from tests.fault.logs import codes, fsck
from tests.unit.test_store_shelf import change, opened, snapshot

LOG = SITE.log(Lane.CUSTODY)
ORIGIN = SITE.origin(Lane.CUSTODY)
HERE, ELSEWHERE = "00000000000000a1", "00000000000000a2"
FREE = Case(
    own=True, size=100, cosigned=100, receipts={HERE: 100}, hub=HERE, older=100, snapshot=100
)


def ref(index: int) -> Ref:
    return Ref(LOG.epoch, LOG.writer, LOG.lane, index)


# --- the rule -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ()),
        ({"own": False}, ("own",)),
        ({"size": 49}, ("held",)),
        ({"cosigned": 49}, ("cosignature",)),
        ({"receipts": {HERE: 49}}, ("receipt",)),
        ({"receipts": {}}, ("receipt",)),
        ({"receipts": {ELSEWHERE: 100}}, ("receipt",)),
        ({"hub": ""}, ("receipt",)),
        ({"older": 49}, ("age",)),
        ({"snapshot": 0}, ("snapshot",)),
        ({"cosigned": 0, "receipts": {}, "older": 1}, ("cosignature", "receipt", "age")),
    ],
)
def test_each_condition_alone_forbids_by_its_word(
    change: dict[str, object], words: tuple[str, ...]
) -> None:
    fields = {name: getattr(FREE, name) for name in FREE.__struct_fields__}
    case = Case(**{**fields, **change})
    assert refusals(case, 50) == words
    assert furthest(case) == min(bounds(case).values())
    assert (furthest(case) >= 50) == (not words)


def test_the_words_are_stable() -> None:
    assert [*Bound] == ["own", "held", "cosignature", "receipt", "age", "snapshot"]


# --- the store ------------------------------------------------------------------------------------


async def receipt(store: Store, size: int, instance: str = HERE) -> None:
    note = await store.note(ORIGIN, size) or ""
    await store.receive_receipt(ORIGIN, note + cosign(note, COSIGNER, 1), instance)


async def filled(path: Path, count: int = 60) -> Store:
    """A log of plain entries with an annex at every tenth, and a snapshot of all but itself."""
    store = await opened(path)
    records = own([plain(n) for n in range(count)])
    for n in range(0, count, 10):
        records[n] = Record(Lane.CUSTODY, n, private(n, b"name %d" % n), b"name %d" % n, SALT)
    await store.append(records)
    taken = snapshot(count, b"the book", {str(LOG): count})
    await store.append([taken], snapshot=b"the book")
    return store


async def refused(store: Store, upto: int, older: int = 10**6, hub: str = HERE) -> str:
    with pytest.raises(OursBroken) as caught:
        await store.prune(ORIGIN, upto, hub=hub, older=older)
    assert caught.value.code == "store.unprunable"
    assert [one.index for one in await store.read(ORIGIN, 0, 9)] == list(range(9))
    return str(caught.value.evidence["bounds"])


async def test_nothing_is_pruned_before_its_receipt(tmp_path: Path) -> None:
    """Planted: the hub has cosigned nothing, then less, then another store of its did."""
    async with await filled(tmp_path / "site.db") as store:
        assert await refused(store, 40) == "cosignature,receipt"
        await receipt(store, 39)
        assert await refused(store, 40) == "cosignature,receipt"
        await receipt(store, 50, ELSEWHERE)
        assert await refused(store, 40) == "receipt"
        await receipt(store, 61, ELSEWHERE)
        assert await refused(store, 61, hub=ELSEWHERE) == "snapshot"
        assert await refused(store, 40, hub="") == "receipt"
        assert await refused(store, 40, older=39, hub=ELSEWHERE) == "age"
        assert await refused(store, 62, hub=ELSEWHERE) == "held,cosignature,receipt,snapshot"
        assert await store.prune(ORIGIN, 40, hub=ELSEWHERE, older=40) == 40


async def test_nothing_is_pruned_without_a_snapshot_nor_of_another_s_log(tmp_path: Path) -> None:
    async with await opened(tmp_path / "site.db") as store:
        await store.append(own([plain(n) for n in range(20)]))
        await receipt(store, 20)
        assert await refused(store, 10) == "snapshot"
        theirs = Writing(HUB).add(*(plain(n) for n in range(9)))
        await store.extend(theirs.chunk(0, 9))
        with pytest.raises(OursBroken, match="own"):
            await store.prune(theirs.origin, 5, hub=HERE, older=9)


async def test_a_pruned_log_keeps_its_roots_proofs_and_what_lives(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    async with await filled(path) as store:
        await receipt(store, 61)
        before = [await store.root(ORIGIN, size) for size in range(62)]
        cited = [ref(10), ref(11), ref(55), Ref("e1-00000009", LOG.writer, LOG.lane, 12)]
        assert await store.prune(ORIGIN, 50, hub=HERE, older=50, cited=cited) == 50
        log = await store.log(ORIGIN)
        assert log is not None
        assert (log.oldest, log.size) == (50, 61)
        assert [one.index for one in await store.read(ORIGIN, 0, 52)] == [10, 11, 50, 51]
        (ten,) = await store.read(ORIGIN, 10, 11)
        assert ten.annex == Annex(SALT, b"name 10", None)
        assert [await store.root(ORIGIN, size) for size in range(62)] == before
        assert len(await store.inclusion(ORIGIN, 11, 61)) == 6
        # An annex of what is gone is not wanted any more; nor does it come back.
        assert await store.put_annexes(ORIGIN, [(20, Annex(SALT, b"name 20", None))]) == 0
        for file in tmp_path.glob("site.db*"):
            assert b"name 20" not in file.read_bytes()
        await store.append(own([plain(61)], 61))
    assert fsck(path).ok
    async with await opened(path) as store:
        # The parcel of 10 and 11 is gone: now they go too, though `oldest` does not move.
        assert await store.prune(ORIGIN, 50, hub=HERE, older=50, cited=[ref(11)]) == 50
        assert [one.index for one in await store.read(ORIGIN, 0, 51)] == [11, 50]
        assert await store.prune(ORIGIN, 20, hub=HERE, older=50) == 50
        assert [one.index for one in await store.read(ORIGIN, 0, 51)] == [50]
        assert await store.prune(ORIGIN, 60, hub=HERE, older=60) == 60
    assert fsck(path).ok
    with sqlite3.connect(path) as connection:
        count = connection.execute("SELECT count(bytes) FROM entry").fetchone()[0]
    connection.close()
    assert count == 2


async def test_erasures_and_snapshots_that_were_pruned_leave_no_doubt(tmp_path: Path) -> None:
    """What erased the annex of a cited entry goes; the entry and the mark stay."""
    path = tmp_path / "site.db"
    async with await opened(path) as store:
        parcel = Record(Lane.CUSTODY, 0, private(0, b"x"), b"x", SALT)
        await store.append([parcel, *own([erasure(1, f"{LOG}0"), plain(2)], 1)])
        theirs = Writing(HUB).add(private(0, b"hub"), erasure(1, f"{LOG}0"))
        await store.extend(theirs.chunk(0, 2))
        for index in (3, 4):
            book = b"book %d" % index
            await store.append([snapshot(index, book, {str(LOG): index})], snapshot=book)
        await receipt(store, 5)
        await store.prune(ORIGIN, 4, hub=HERE, older=4, cited=[ref(0)])
        (item,) = await store.read(ORIGIN, 0, 4)
        assert item.annex == Annex(None, None, f"{LOG}1")
    assert fsck(path).ok
    change(path, "UPDATE log SET oldest = 2 WHERE id = 2")
    assert "entry.pruned" in codes(fsck(path))


async def test_a_kept_entry_and_a_pruned_one_are_verified_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    async with await filled(path) as store:
        await receipt(store, 61)
        await store.prune(ORIGIN, 50, hub=HERE, older=50, cited=[ref(10)])
    held = 2 << 40
    for sql, code in (
        (f"UPDATE entry SET bytes = CAST('{{}}' AS BLOB) WHERE id = {held + 10}", "entry.leaf"),
        (f"UPDATE entry SET leaf = zeroblob(32) WHERE id = {held + 7}", "checkpoint.root"),
        (f"UPDATE entry SET leaf = zeroblob(32) WHERE id = {held + 7}", "receipt.root"),
        (f"UPDATE annex SET data = x'00' WHERE id = {held + 10}", "annex.hash"),
        (f"DELETE FROM entry WHERE id = {held + 9}", "entry.gap"),
    ):
        shutil.copy(path, path.with_name("bad.db"))
        change(path.with_name("bad.db"), sql)
        assert code in codes(fsck(path.with_name("bad.db")))


async def test_much_is_pruned_in_steps_and_others_write_between(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    count = 2 * PRUNE_ENTRIES + 100
    async with await opened(path) as store:
        for start in range(0, count, 2048):
            stop = min(start + 2048, count)
            await store.append(own([plain(n, 120) for n in range(start, stop)], start))
        book = b"book"
        await store.append([snapshot(count, book, {str(LOG): count})], snapshot=book)
        await receipt(store, count)
        await store.tidy()
        before = path.stat().st_size
        assert await store.prune(ORIGIN, count, hub=HERE, older=count) == count
        await store.append(own([plain(count + 1)], count + 1))
        # The room is used again before the file grows.
        for start in range(count + 2, count + 1002, 500):
            await store.append(own([plain(n) for n in range(start, start + 500)], start))
    assert path.stat().st_size <= before
    assert fsck(path).ok
    with LogFile.open(path) as file:
        sources = [Source(head, file.kept(head), file.stored_nodes(head)) for head in file.heads()]
        assert verify(sources, file.pages()).logs[1].size == count + 1002
