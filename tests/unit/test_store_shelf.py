# ruff: noqa: ASYNC240  # a test may look at a small file from the event loop
"""Pins what a site's store holds besides its own lanes: what came back, was erased, cosigned, kept.

What every shelf promises is pinned in tests/contract; here is what only this store does.
"""

import asyncio
import base64
import hashlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from certs.note import cosign
from sync import database
from sync.commit import Identity
from sync.entry import Lane, compose
from sync.errors import OursBroken, StoreFailed, TheirsInvalid
from sync.intake import Chunk
from sync.moment import Moment
from sync.origin import Ring
from sync.reader import LogFile
from sync.rows import Annex, Record
from sync.shelf import Shelf
from sync.store import Store
from sync.storeintake import FOREIGN_LOGS_MAX
from sync.storeshelf import READS_MAX
from tests.contract.shelves import COSIGNER, HUB, SITE, ring
from tests.contract.test_shelf_contract import (
    INSTANCE,
    SALT,
    Writing,
    erasure,
    own,
    plain,
    private,
    refused,
)
from tests.fault.logs import codes, fsck

CORPUS = Path(__file__).resolve().parents[1] / "vectors" / "corpus"
OLD = Identity(SITE.operator, SITE.writer, "e1-00000001", SITE.seed)
OLDER = Identity(SITE.operator, SITE.writer, "e1-00000000", SITE.seed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site.db"


async def opened(path: Path, who: Identity | None = SITE, **more: Any) -> Store:
    known: dict[str, Any] = {
        "ring": ring(),
        "cosigners": [COSIGNER.verifier],
        "ballast_bytes": 4096,
    }
    more = {**known, **more}
    return await Store.open(path, who, **more)


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for sql in statements:
            connection.execute(sql)
    connection.close()


async def test_a_store_is_a_shelf(path: Path) -> None:
    async with await opened(path) as store:
        shelf: Shelf = store
        assert len(await shelf.logs()) == 3
    with pytest.raises(OursBroken, match=r"store\.closed"):
        await shelf.root(SITE.origin(Lane.CUSTODY), 0)


# --- what came back -----------------------------------------------------------------------------


async def test_a_restored_site_gets_its_lost_suffix_back_under_its_old_signatures(
    path: Path,
) -> None:
    lost = Writing(OLD).add(*(plain(n) for n in range(9)))
    async with await opened(path, OLD) as store:
        await store.append(own(lost.entries[:4]))
        await refused(store.extend(lost.chunk(0, 9)), "exchange.own")
    async with await opened(path) as store:
        await refused(store.extend(Writing(SITE).chunk(0, 0)), "exchange.own")
        log = await store.extend(lost.chunk(4, 9))
        # An epoch that is over is ours, and written no more.
        assert (log.size, log.own, log.note) == (9, False, lost.note(9))
        # Our key signs what it signed before, at any size.
        assert await store.note(lost.origin, 6) == lost.note(6)
        assert await store.cut(lost.origin, 0, 7, 1 << 20) == 7
        await store.append([Record(Lane.CUSTODY, 0, erasure(0, f"{lost.log}8"))])
    assert fsck(path).ok


async def test_a_lost_disk_gets_whole_epochs_back_behind_the_present_one(path: Path) -> None:
    lost = Writing(OLD).add(private(0, b"one"), plain(1))
    async with await opened(path) as store:
        await store.append(own([plain(0)]))
        log = await store.extend(lost.chunk(0, 2))
        assert log.size == 2
        assert await store.annexes_from(lost.origin) == 0
    assert fsck(path).ok
    with LogFile.open(path) as file:
        assert file.head(Lane.CUSTODY).origin == SITE.origin(Lane.CUSTODY)
        assert [head.own for head in file.heads()] == [True] * 4


async def test_another_key_of_our_own_name_is_not_ours(path: Path) -> None:
    stranger = Identity(OLD.operator, OLD.writer, OLD.epoch, bytes(32))
    forged = Writing(stranger).add(plain(0))
    async with await opened(path) as store:
        await refused(store.extend(forged.chunk(0, 1)), "exchange.note")
    async with await opened(path, stranger) as store:
        await store.append(own([plain(0)]))
    async with await opened(path) as store:
        # An old epoch under a key that we have no more: kept, extended, signed by nobody.
        forged.add(plain(1), plain(2), plain(3))
        assert (await store.extend(forged.chunk(1, 4))).size == 4
        assert await store.note(forged.origin, 2) is None
        assert await store.note(forged.origin, 1) == forged.note(1)
        assert await store.cut(forged.origin, 0, 3, 1 << 20) == 1
    assert fsck(path).ok


async def test_others_cannot_fill_the_disk_with_logs(path: Path) -> None:
    async with await opened(path) as store:
        for number in range(FOREIGN_LOGS_MAX):
            epoch = Identity(HUB.operator, HUB.writer, f"e{number + 1}-00000000", HUB.seed)
            await store.extend(Writing(epoch).add(plain(0)).chunk(0, 1))
        late = Identity(HUB.operator, HUB.writer, "e99-00000000", HUB.seed)
        await refused(
            store.extend(Writing(late).add(plain(0)).chunk(0, 1)), "exchange.too_many_logs"
        )
        assert (await store.extend(Writing(OLD).add(plain(0)).chunk(0, 1))).size == 1


@pytest.mark.parametrize(
    ("operator", "writer"), [("lockers.example", "hub/0043"), ("other.example", "hub/0042")]
)
async def test_a_log_of_another_site_is_not_held_here(
    path: Path, operator: str, writer: str
) -> None:
    who = Identity(operator, writer, "e1-00000001", HUB.seed)
    known = Ring(who.key(Lane.CUSTODY).vkey, who.key(Lane.URGENT).vkey)
    known.add(type(who.key(Lane.URGENT).verifier)(f"{operator}/{writer}", who.key(Lane.URGENT).verifier.public))  # fmt: skip  # noqa: E501  # a key under its writer's name
    async with await opened(path, ring=known) as store:
        chunk = Writing(who).add(plain(0)).chunk(0, 1)
        await refused(store.extend(chunk), "exchange.unknown_origin")


async def test_a_log_may_begin_with_nothing_but_its_name(path: Path) -> None:
    theirs = Writing(HUB).add(plain(0), erasure(1, f"{SITE.log(Lane.CUSTODY)}999999999999999"))
    async with await opened(path) as store:
        log = await store.extend(theirs.chunk(0, 0))
        assert (log.size, log.note) == (0, theirs.note(0))
        assert await store.extend(theirs.chunk(0, 0)) == log
        assert (await store.extend(theirs.chunk(0, 2))).size == 2
        assert await store.note(theirs.origin, 0) is None
    assert fsck(path).ok


async def test_no_entry_comes_before_the_first(path: Path) -> None:
    theirs = Writing(HUB).add(plain(0), plain(1))
    async with await opened(path) as store:
        wrong = Chunk(theirs.origin, -1, (plain(7), plain(0)), theirs.note(1))
        await refused(store.extend(wrong), "exchange.size")


async def test_without_an_identity_nothing_is_taken_in(path: Path) -> None:
    async with await opened(path):
        pass
    async with await opened(path, None) as store:
        with pytest.raises(OursBroken, match=r"store\.no_identity"):
            await store.extend(Writing(HUB).chunk(0, 0))


async def test_a_foreign_log_that_does_not_fit_is_not_built_upon(path: Path) -> None:
    theirs = Writing(HUB).add(*(plain(n) for n in range(6)))
    async with await opened(path) as store:
        await store.extend(theirs.chunk(0, 4))
    for sql in (
        "UPDATE entry SET leaf = zeroblob(32) WHERE id = (4 << 40) + 3",
        "DELETE FROM entry WHERE id = (4 << 40) + 3",
        "UPDATE log SET note = (SELECT note FROM log WHERE id = 1) WHERE id = 4",
    ):
        shutil.copy(path, path.with_name("bad.db"))
        change(path.with_name("bad.db"), sql)
        async with await opened(path.with_name("bad.db")) as store:
            with pytest.raises(StoreFailed) as caught:
                await store.extend(theirs.chunk(4, 6))
            assert caught.value.reason == "torn"
            assert store.failed is None
            await store.append(own([plain(0)]))
        assert codes(fsck(path.with_name("bad.db")))


# --- annexes --------------------------------------------------------------------------------------


async def test_what_is_awaited_is_found_without_reading_the_log(path: Path) -> None:
    theirs = Writing(HUB).add(plain(0), private(1, b"a"), private(2, b"b"), private(3, b"c"))
    async with await opened(path) as store:
        await store.extend(theirs.chunk(0, 4))
        origin = theirs.origin
        assert await store.annexes_from(origin) == 1
        assert await store.put_annexes(origin, [(2, Annex(SALT, b"b", None))]) == 1
        assert await store.annexes_from(origin) == 1
        await store.append(own([erasure(0, f"{theirs.log}1")]))
        assert await store.annexes_from(origin) == 3
    assert fsck(path).ok
    async with await opened(path) as store:
        assert await store.annexes_from(origin) == 3
        await store.put_annexes(origin, [(3, Annex(SALT, b"c", None))])
        assert await store.annexes_from(origin) == 4
        assert await store.annexes_from(SITE.origin(Lane.CUSTODY)) == 1
        with pytest.raises(TheirsInvalid, match=r"exchange\.size"):
            await store.put_annexes(origin, [(3, Annex(SALT, b"c", None))] * 513)
    assert fsck(path).ok
    for sql, found in (
        (f"INSERT INTO awaited VALUES ({(4 << 40) + 3})", {"annex.awaited"}),
        (f"INSERT INTO awaited VALUES ({4 << 40})", {"annex.awaited"}),
        (f"DELETE FROM annex WHERE id = {(4 << 40) + 3}", {"annex.missing"}),
    ):
        shutil.copy(path, path.with_name("bad.db"))
        change(path.with_name("bad.db"), sql)
        assert codes(fsck(path.with_name("bad.db"))) == found


async def test_what_was_erased_by_another_is_in_no_byte_of_the_file(path: Path) -> None:
    async with await opened(path) as store:
        record = Record(Lane.CUSTODY, 0, private(0, b"a name to forget"), b"a name to forget", SALT)
        await store.append([record])
        await store.extend(Writing(OLD).add(erasure(0, f"{SITE.log(Lane.CUSTODY)}0")).chunk(0, 1))
        assert not store.erasure_pending
        for file in path.parent.glob("site.db*"):
            assert b"a name to forget" not in file.read_bytes()
    assert fsck(path).ok


async def test_a_healed_erasure_is_obeyed_whatever_comes_first(path: Path) -> None:
    """The log that erases comes back before the log it erases from, and names its future too."""
    parcels, erasing = Writing(OLD), Writing(OLD, Lane.URGENT)
    parcels.add(private(0, b"one"), private(1, b"two"))
    erasing.add(erasure(0, f"{parcels.log}0"), erasure(1, f"{parcels.log}0"))
    async with await opened(path) as store:
        await store.extend(erasing.chunk(0, 2))
        assert fsck(path).ok
        both = await asyncio.gather(
            store.extend(parcels.chunk(0, 2)),
            store.extend(Writing(OLDER).add(erasure(0, f"{parcels.log}1")).chunk(0, 1)),
        )
        assert both[0].size == 2
        assert await store.annexes_from(parcels.origin) == 2
        annexes = [(0, Annex(SALT, b"one", None)), (1, Annex(SALT, b"two", None))]
        assert await store.put_annexes(parcels.origin, annexes) == 0
    assert fsck(path).ok


async def test_two_in_one_commit_a_log_that_begins_and_the_erasure_of_its_annex(
    path: Path,
) -> None:
    """Planted once: the mark was put aside for a log that the same commit began, and slept."""
    parcels = Writing(OLD).add(private(0, b"one"))
    async with await opened(path) as store:
        for first in (True, False):
            wanted = Identity(OLD.operator, OLD.writer, f"e1-0000000{int(first) + 3}", OLD.seed)
            parcels = Writing(wanted).add(private(0, b"one"))
            other = Identity(OLD.operator, OLD.writer, f"e1-0000000{int(first) + 7}", OLD.seed)
            steps = [
                store.extend(parcels.chunk(0, 1)),
                store.extend(Writing(other).add(erasure(0, f"{parcels.log}0")).chunk(0, 1)),
            ]
            await asyncio.gather(*(steps if first else steps[::-1]))
            assert await store.put_annexes(parcels.origin, [(0, Annex(SALT, b"one", None))]) == 0
    assert fsck(path).ok


async def test_a_hub_erases_no_name_of_a_parcel_on_this_disk(path: Path) -> None:
    """Planted once: it did, and a live parcel's code was lost with its name at the next start."""
    origin = SITE.origin(Lane.CUSTODY)
    said = Writing(HUB).add(
        erasure(0, f"{SITE.log(Lane.CUSTODY)}0"), erasure(1, f"{SITE.log(Lane.CUSTODY)}1")
    )
    async with await opened(path) as store:
        await store.append([Record(Lane.CUSTODY, 0, private(0, b"one"), b"one", SALT)])
        await store.extend(said.chunk(0, 2))
        await store.append([Record(Lane.CUSTODY, 1, private(1, b"two"), b"two", SALT)])
    assert fsck(path).ok
    async with await opened(path) as store:
        kept = [item.annex.data for item in await store.read(origin, 0, 2) if item.annex]
        assert kept == [b"one", b"two"]


# --- receipts -------------------------------------------------------------------------------------


async def receipt(store: Store, size: int, instance: str, time_s: int = 1) -> None:
    origin = SITE.origin(Lane.CUSTODY)
    note = await store.note(origin, size) or ""
    await store.receive_receipt(origin, note + cosign(note, COSIGNER, time_s), instance)


async def test_receipts_are_kept_by_store_of_the_hub_and_verified(path: Path) -> None:
    async with await opened(path) as store:
        await store.append(own([plain(n) for n in range(9)]))
        for number in range(6):
            await receipt(store, 3 + number, f"00000000000000a{number}")
        await receipt(store, 2, "00000000000000a5")
        await refused(receipt(store, 2, "A0000000000000a5"), "exchange.receipt")
        case = await store.prune_case(SITE.origin(Lane.CUSTODY), hub="x", older=0)
        # The last four instances, the largest of each.
        assert case.receipts == {f"00000000000000a{n}": 3 + n for n in range(2, 6)}
        assert case.cosigned == 8
    report = fsck(path)
    assert report.ok
    for sql, found in (
        ("UPDATE receipt SET note = replace(note, '8', '7')", {"receipt.note"}),
        ("UPDATE receipt SET size = size - 1", {"receipt.note"}),
        ("UPDATE receipt SET vkey = 'x'", {"receipt.note"}),
        ("UPDATE log SET vkey = 'x' WHERE id = 2", {"checkpoint.vkey"}),
        ("UPDATE receipt SET vkey = (SELECT vkey FROM log)", {"receipt.note"}),
        ("UPDATE receipt SET note = (SELECT note FROM log WHERE id = 2)", {"receipt.note"}),
    ):
        shutil.copy(path, path.with_name("bad.db"))
        change(path.with_name("bad.db"), sql)
        assert codes(fsck(path.with_name("bad.db"))) == found


async def test_a_receipt_of_a_forked_log_is_found(path: Path) -> None:
    async with await opened(path) as store:
        await store.append(own([plain(0)]))
        await receipt(store, 1, INSTANCE)
    other = path.with_name("other.db")
    async with await opened(other) as store:
        await store.append(own([plain(1)]))
        await receipt(store, 1, INSTANCE)
    with sqlite3.connect(other) as connection:
        (note,) = connection.execute("SELECT note FROM receipt").fetchone()
    connection.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE receipt SET note = ?", (note,))
    connection.close()
    assert codes(fsck(path)) == {"receipt.root"}


# --- what the file says of itself -----------------------------------------------------------------


async def test_the_boot_is_marked_and_the_instance_renewed_when_told(path: Path) -> None:
    async with await opened(path) as store:
        first = store.instance
        assert [await store.mark_boot(3), await store.mark_boot(4)] == [None, 3]
        assert store.boot == 4
    async with await opened(path) as store:
        assert (store.instance, store.boot) == (first, 4)
        second = await store.renew_instance()
        assert store.instance == second != first
        assert len(second) == 16
    async with await opened(path) as store:
        assert store.instance == second


# --- snapshots ------------------------------------------------------------------------------------


def snapshot(index: int, book: bytes, lanes: dict[str, int]) -> Record:
    fact = {"kind": "snapshot.taken", "fold": 1, "lanes": lanes}
    fact["sha256"] = base64.b64encode(hashlib.sha256(book).digest()).decode()
    return Record(Lane.CUSTODY, index, compose(fact, at=Moment(1, index)))


async def test_a_book_is_kept_with_the_entry_that_signs_it(path: Path) -> None:
    lanes = {"e2-00000002:sc": 1}
    async with await opened(path) as store:
        assert await store.latest_snapshot() is None
        for index, book in enumerate((b"one", b"two", b"three")):
            record = snapshot(index, book, lanes | {"e2-00000002:sc": index})
            await store.append([record], snapshot=book)
        found = await store.latest_snapshot()
        assert found is not None
        assert (found.origin, found.index, found.book) == (SITE.origin(Lane.CUSTODY), 2, b"three")
        assert found.lanes == {"e2-00000002:sc": 2}
        assert found.sha256 == hashlib.sha256(b"three").digest()
        for bad in ([snapshot(3, b"four", {})] * 1, [own([plain(3)], 3)[0]], []):
            with pytest.raises(OursBroken, match=r"store\.bad_snapshot"):
                await store.append(bad, snapshot=b"five")
        two = [snapshot(3, b"four", {}), snapshot(4, b"four", {})]
        with pytest.raises(OursBroken, match=r"store\.bad_snapshot"):
            await store.append(two, snapshot=b"four")
        assert store.next_index(Lane.CUSTODY) == 3
    with LogFile.open(path) as file:
        assert [taken.book for taken in file.snapshots()] == [b"two", b"three"]
    assert fsck(path).ok
    for sql, code in (
        ("UPDATE snapshot SET book = x'00' WHERE turn = 3", "snapshot.book"),
        ("UPDATE snapshot SET entry = entry - 2 WHERE turn = 3", "snapshot.entry"),
        ("UPDATE snapshot SET entry = 99 WHERE turn = 3", "snapshot.entry"),
        ("UPDATE snapshot SET lanes = '{}' WHERE turn = 3", "snapshot.entry"),
        ("UPDATE snapshot SET lanes = '[' WHERE turn = 3", "snapshot.entry"),
        (f"UPDATE entry SET bytes = x'7b7d00' WHERE id = {(2 << 40) + 2}", "snapshot.entry"),
    ):
        shutil.copy(path, path.with_name("bad.db"))
        change(path.with_name("bad.db"), sql)
        assert code in codes(fsck(path.with_name("bad.db")))


# --- bounds and versions --------------------------------------------------------------------------


async def test_questions_have_a_bound_and_so_have_steps(path: Path) -> None:
    async with await opened(path) as store:
        await store.append(own([plain(n) for n in range(200)]))
        origin = SITE.origin(Lane.CUSTODY)
        asked = [store.peaks(origin, 199) for _ in range(READS_MAX + 1)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        refusals = [one for one in results if isinstance(one, StoreFailed)]
        assert [one.reason for one in refusals] == ["busy"]
        theirs = Writing(HUB).add(*(plain(n) for n in range(100)))
        chunks = [store.extend(theirs.chunk(n, n + 1)) for n in range(100)]
        ends = await asyncio.gather(*chunks, return_exceptions=True)
        assert sum(not isinstance(one, StoreFailed) for one in ends) == 64
        assert (await store.log(theirs.origin)).size == 64  # type: ignore[union-attr]  # it is here
        assert (await store.extend(theirs.chunk(0, 100))).size == 100
    assert fsck(path).ok


async def test_a_log_of_the_first_version_is_read_migrated_and_verified(path: Path) -> None:
    """The file was written by the first version: two epochs, annexes, erasures, kept roots."""
    shutil.copy(CORPUS / "log-0001.db", path)
    before = path.read_bytes()
    report = fsck(path)
    assert report.ok
    with LogFile.open(path) as file:
        logs = [(head, [*file.records(head)], file.kept(head)) for head in file.heads()]
        assert [file.receipts(head) for head in file.heads()] == [[]] * 6
        assert file.snapshots() == []
    assert [head.size for head, _, _ in logs] == [3, 150, 1, 0, 6, 0]
    assert path.read_bytes() == before
    second = Identity("lockers.example", "site/0042", "e2-00000001", bytes(range(32)))
    async with await opened(path, second) as store:
        await store.append(own([plain(6)], 6))
        first = Writing(Identity(second.operator, second.writer, "e1-9f2c01ab", second.seed))
        first.add(*(one.entry for one in logs[1][1]))
        assert (await store.extend(first.add(plain(150)).chunk(149, 151))).size == 151
        assert (await store.extend(Writing(HUB).add(plain(0)).chunk(0, 1))).size == 1
        await receipt_of(store, "lockers.example/site/0042/e2-00000001/custody", 3)
    after = fsck(path)
    assert after.ok
    with LogFile.open(path) as file:
        for head, records, kept in logs:
            same = next(one for one in file.heads() if one.origin == head.origin)
            assert [*file.records(same, 0, head.size)] == records
            assert set(kept) <= set(file.kept(same))
    assert int.from_bytes(path.read_bytes()[60:64], "big") == len(database.migrations()) == 2


async def receipt_of(store: Store, origin: str, size: int) -> None:
    note = await store.note(origin, size) or ""
    await store.receive_receipt(origin, note + cosign(note, COSIGNER, 5), INSTANCE)


async def test_a_program_of_the_first_version_refuses_the_second(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await opened(path) as store:
        await store.append(own([plain(0)]))
    before = path.read_bytes()
    first = database.migrations()[:1]
    monkeypatch.setattr(database, "migrations", lambda: first)
    with pytest.raises(StoreFailed) as caught:
        await opened(path)
    assert caught.value.reason == "newer"
    assert path.read_bytes() == before
