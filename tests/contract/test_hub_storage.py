"""Pins what the hub's storage promises beside the shelves: own lanes, sites, and what hangs on."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from certs.keys import SigningKey
from certs.note import Checkpoint, cosign, sign_checkpoint
from sync.entry import Lane, compose, private_hash
from sync.errors import OursBroken, StoreFailed, SyncError, TheirsInvalid
from sync.hub import file, sql, sqlite
from sync.hub import postgres as module
from sync.hub.opening import open_storage
from sync.hub.storage import Moved, Site, Snapshot, Storage
from sync.intake import Chunk
from sync.merkle import EMPTY_ROOT, Tree, leaf_hash
from sync.moment import Moment
from sync.origin import Ring
from sync.rows import Annex
from tests import postgres
from tests.contract.shelves import COSIGNER, HUB, SITE, ring
from tests.contract.test_shelf_contract import Writing, erasure
from tests.hubs import NOW_MS, STORAGES, opened, url_of

SALT = bytes(range(16))
ID = "0042"
ORIGIN = HUB.origin(Lane.CUSTODY)
RELAYED = SITE.origin(Lane.CUSTODY)


def plain(number: int) -> bytes:
    return compose({"kind": "compartment.enabled", "door": number}, at=Moment(1, number))


def private(number: int, annex: bytes) -> bytes:
    fact = {"kind": "parcel.expected", "tag": "x"}
    return compose(fact, at=Moment(1, number), private=private_hash(SALT, annex))


def sign(checkpoint: Checkpoint) -> str:
    return sign_checkpoint(checkpoint, SigningKey.from_seed(checkpoint.origin, HUB.seed))


async def begun(storage: Storage, origin: str = ORIGIN, site_id: str = ID) -> Storage:
    key = SigningKey.from_seed(origin, HUB.seed)
    await storage.begin(site_id, origin, key.vkey, sign(Checkpoint(origin, 0, EMPTY_ROOT)))
    return storage


async def written(storage: Storage, size: int, *entries: bytes) -> None:
    done = await storage.append(ID, ORIGIN, size, entries)
    await storage.seal(ID, ORIGIN, sign(done))


async def refused(step: Awaitable[object], kind: type[SyncError], code: str) -> SyncError:
    with pytest.raises(kind) as caught:
        await step
    assert caught.value.code == code
    return caught.value


@pytest.fixture(params=STORAGES)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return await url_of(request.param, tmp_path)


@pytest.fixture
async def storage(url: str) -> AsyncIterator[Storage]:
    storage = await opened(url)
    yield storage
    await storage.close()


@pytest.fixture(params=[name for name in STORAGES if name != "sqlite"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Storage]]:
    """Two hub processes' storages over one database: only PostgreSQL lets two in."""
    url = await url_of(request.param, tmp_path)
    pair = [await opened(url), await opened(url)]
    yield pair
    for one in pair:
        await one.close()


# --- own lanes: compare-and-set, commit, sign, seal -------------------------------------------


async def test_an_entry_is_told_only_once_it_is_sealed(storage: Storage) -> None:
    await begun(storage)
    shelf = storage.shelf(ID, ring())
    done = await storage.append(ID, ORIGIN, 0, [plain(0), plain(1)])
    tree = Tree()
    for number in range(2):
        tree.append(leaf_hash(plain(number)))
    assert done == Checkpoint(ORIGIN, 2, tree.root())
    log = await shelf.log(ORIGIN)
    assert log is not None
    assert log.size == 0
    assert await shelf.read(ORIGIN, 0, 9) == []
    assert await shelf.root(ORIGIN, 2) is None
    assert await shelf.cut(ORIGIN, 0, 9, 9999) == 0
    await storage.seal(ID, ORIGIN, sign(done))
    assert [item.entry for item in await shelf.read(ORIGIN, 0, 9)] == [plain(0), plain(1)]
    assert await shelf.note(ORIGIN, 2) == sign(done)


async def test_who_appends_at_another_size_is_told_the_real_one(storage: Storage) -> None:
    await begun(storage)
    await storage.append(ID, ORIGIN, 0, [plain(0), plain(1)])
    for size in (0, 1, 3):
        moved = await refused(storage.append(ID, ORIGIN, size, [plain(9)]), Moved, "hub.moved")
        assert moved.evidence["size"] == 2
    assert (await storage.append(ID, ORIGIN, 2, [plain(2)])).size == 3


async def test_of_many_who_append_one_number_one_gets_it(storage: Storage) -> None:
    await begun(storage)
    ends = await asyncio.gather(
        *(storage.append(ID, ORIGIN, 0, [plain(n)]) for n in range(12)), return_exceptions=True
    )
    won = [place for place, end in enumerate(ends) if isinstance(end, Checkpoint)]
    assert len(won) == 1
    assert all(isinstance(end, Moved) for end in ends if not isinstance(end, Checkpoint))
    await storage.seal(ID, ORIGIN, sign(ends[won[0]]))  # type: ignore[arg-type]  # it is the one
    (item,) = await storage.shelf(ID, ring()).read(ORIGIN, 0, 9)
    assert item.entry == plain(won[0])


async def test_two_hub_processes_never_write_one_number_twice(pair: list[Storage]) -> None:
    """Each appends 40 entries at whatever size is told; every one is there once, in one tree."""
    for one in pair:
        await begun(one)

    async def hub(storage: Storage, voice: int) -> None:
        size = 0
        for number in range(40):
            while True:
                try:
                    done = await storage.append(ID, ORIGIN, size, [plain(voice * 100 + number)])
                except Moved as moved:
                    size = int(str(moved.evidence["size"]))
                else:
                    await storage.seal(ID, ORIGIN, sign(done))
                    size = done.size
                    break

    await asyncio.gather(*(hub(one, voice) for voice, one in enumerate(pair, 1)))
    first, second = (one.shelf(ID, ring()) for one in pair)
    items = await first.read(ORIGIN, 0, 999)
    assert sorted(item.entry for item in items) == sorted(
        plain(voice * 100 + number) for voice in (1, 2) for number in range(40)
    )
    log = await second.log(ORIGIN)
    assert log == await first.log(ORIGIN)
    assert log is not None
    assert log.size == 80
    tree = Tree()
    for item in items:
        tree.append(leaf_hash(item.entry))
    assert (log.root, await pair[0].unsealed(ID)) == (tree.root(), ())


@pytest.mark.parametrize("name", STORAGES)
async def test_planted_no_compare_and_two_sign_one_number(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests above would see if the size were set and not compared."""
    rows = module._GROW.replace(" AND size = $3 AND own", " AND $3::bigint >= 0 AND own")
    rows = rows.replace(
        "AS r (idx, leaf, bytes))", "AS r (idx, leaf, bytes) ON CONFLICT DO NOTHING)"
    )
    assert rows != module._GROW
    monkeypatch.setattr(module, "_GROW", rows)
    head = sqlite._GROW.replace("AND size = ?", "AND 0 <= ?")
    assert head != sqlite._GROW
    monkeypatch.setattr(sqlite, "_GROW", head)
    monkeypatch.setattr(sqlite, "_ENTRIES", sqlite._ENTRIES + " WHERE 1 ON CONFLICT DO NOTHING")
    storage = await begun(await opened(await url_of(name, tmp_path)))
    ends = await asyncio.gather(
        *(storage.append(ID, ORIGIN, 0, [plain(n)]) for n in range(4)), return_exceptions=True
    )
    heads = [end for end in ends if isinstance(end, Checkpoint)]
    assert len(heads) > 1
    assert {head.size for head in heads} == {1}
    assert len({head.root for head in heads}) == len(heads)
    await storage.close()


async def test_a_crash_between_commit_and_seal_is_found_and_sealed_later(url: str) -> None:
    storage = await begun(await opened(url))
    await written(storage, 0, plain(0))
    lost = await storage.append(ID, ORIGIN, 1, [plain(1)])
    await storage.close()
    storage = await opened(url)
    assert await storage.unsealed(ID) == (lost,)
    assert await storage.unsealed("0099") == ()
    await storage.seal(ID, ORIGIN, sign(lost))
    assert await storage.unsealed(ID) == ()
    log = await storage.shelf(ID, ring()).log(ORIGIN)
    assert log is not None
    assert log.size == 2
    await storage.close()


async def test_seals_come_in_any_order_and_never_go_back(storage: Storage) -> None:
    await begun(storage)
    done = [await storage.append(ID, ORIGIN, size, [plain(size)]) for size in range(3)]
    shelf = storage.shelf(ID, ring())
    for place, told in ((1, 2), (0, 2), (1, 2), (2, 3), (0, 3), (2, 3)):
        await storage.seal(ID, ORIGIN, sign(done[place]))
        log = await shelf.log(ORIGIN)
        assert log is not None
        assert (log.size, log.note) == (told, sign(done[told - 1]))
    assert [await shelf.note(ORIGIN, size) for size in (1, 2)] == [sign(one) for one in done[:2]]


async def test_a_seal_must_be_the_keys_and_of_what_is_stored(storage: Storage) -> None:
    await begun(storage)
    done = await storage.append(ID, ORIGIN, 0, [plain(0)])
    other = SigningKey.from_seed(ORIGIN, bytes(32))
    for note in (
        sign(Checkpoint(ORIGIN, 1, bytes(32))),
        sign(Checkpoint(ORIGIN, 2, done.root)),
        sign(Checkpoint(HUB.origin(Lane.URGENT), 1, done.root)),
        sign_checkpoint(done, other),
        "nothing",
    ):
        await refused(storage.seal(ID, ORIGIN, note), OursBroken, "hub.bad_note")
    log = await storage.shelf(ID, ring()).log(ORIGIN)
    assert log is not None
    assert log.size == 0


async def test_what_no_reader_would_take_is_not_appended(storage: Storage) -> None:
    await begun(storage)
    annex = Annex(SALT, b"annex", None)
    for entries, annexes in (
        ([], {}),
        ([plain(n) for n in range(513)], {}),
        ([b"{}"], {}),
        ([plain(0) + b" "], {}),
        ([private(0, b"annex")], {}),
        ([plain(0)], {0: annex}),
        ([private(0, b"other")], {0: annex}),
        ([private(0, b"annex")], {0: annex, 1: annex}),
        ([private(0, b"annex")], {0: Annex(SALT[:5], b"annex", None)}),
        ([private(0, b"annex")], {0: Annex(None, None, "x")}),
    ):
        step = storage.append(ID, ORIGIN, 0, entries, annexes)
        await refused(step, OursBroken, "hub.bad_entry")
    step = storage.append(ID, HUB.origin(Lane.URGENT), 0, [plain(0)])
    await refused(step, OursBroken, "hub.no_log")
    assert (await storage.append(ID, ORIGIN, 0, [private(0, b"annex")], {0: annex})).size == 1


async def test_an_own_log_begins_once_with_its_own_key(storage: Storage) -> None:
    await begun(await begun(storage))
    key = SigningKey.from_seed(ORIGIN, bytes(32))
    note = sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), key)
    await refused(storage.begin(ID, ORIGIN, key.vkey, note), OursBroken, "hub.bad_note")
    vkey = HUB.key(Lane.CUSTODY).vkey
    await refused(storage.begin(ID, ORIGIN, vkey, note), OursBroken, "hub.bad_note")
    note = sign(Checkpoint(ORIGIN, 1, bytes(32)))
    await refused(storage.begin(ID, ORIGIN, vkey, note), OursBroken, "hub.bad_note")


async def test_a_lost_own_suffix_comes_back_once_the_epoch_has_ended(storage: Storage) -> None:
    """The hub was restored: the gateway holds what the hub signed and lost."""
    await begun(storage)
    await written(storage, 0, plain(0), plain(1))
    await storage.append(ID, ORIGIN, 2, [plain(2)])  # in the backup, and not signed in it
    lost = Writing(HUB).add(*(plain(n) for n in range(5)))
    shelf = storage.shelf(ID, ring())
    await refused(shelf.extend(lost.chunk(0, 5)), TheirsInvalid, "exchange.own")
    await storage.disown(ID, ORIGIN)
    await refused(storage.append(ID, ORIGIN, 3, [plain(3)]), Moved, "hub.moved")
    assert (await shelf.extend(lost.chunk(0, 3))).size == 3
    log = await shelf.log(ORIGIN)
    assert log is not None
    assert (log.size, log.note, log.own) == (3, lost.note(3), False)
    assert (await shelf.extend(lost.chunk(2, 5))).size == 5
    assert await storage.unsealed(ID) == ()
    assert await shelf.note(ORIGIN, 2) == lost.note(2)


# --- taking in --------------------------------------------------------------------------------


async def test_two_processes_that_take_in_the_same_end_with_one_log(pair: list[Storage]) -> None:
    writing = Writing(SITE).add(*(plain(n) for n in range(60)))
    shelves = [one.shelf(ID, ring()) for one in pair]
    for stop in range(10, 61, 10):
        chunks = [writing.chunk(first, stop) for first in (stop - 10, max(stop - 15, 0), 0)]
        await asyncio.gather(*(shelf.extend(chunk) for shelf in shelves for chunk in chunks))
    logs = [await shelf.log(RELAYED) for shelf in shelves]
    assert logs[0] == logs[1]
    assert logs[0] is not None
    assert (logs[0].size, logs[0].note) == (60, writing.note(60))
    items = await shelves[1].read(RELAYED, 0, 99)
    assert [item.entry for item in items] == writing.entries


async def test_of_two_forks_that_come_at_once_one_is_refused(pair: list[Storage]) -> None:
    one, other = (Writing(SITE).add(plain(0), plain(n)) for n in (1, 2))
    ends = await asyncio.gather(
        *(
            storage.shelf(ID, ring()).extend(fork.chunk(0, 2))
            for storage, fork in zip(pair, (one, other), strict=True)
        ),
        return_exceptions=True,
    )
    codes = [end.code for end in ends if isinstance(end, TheirsInvalid)]
    assert codes == ["exchange.differs"]


async def test_a_wait_ends_when_another_process_writes(pair: list[Storage]) -> None:
    writing = Writing(SITE).add(plain(0))
    async with asyncio.timeout(20):
        wait = asyncio.create_task(pair[0].shelf(ID, ring()).beyond(RELAYED, 0, 3600))
        await asyncio.sleep(0.05)
        await pair[1].shelf(ID, ring()).extend(writing.chunk(0, 1))
        log = await wait
    assert log is not None
    assert log.size == 1


async def test_sites_do_not_touch_each_other(storage: Storage) -> None:
    """The same name of a log may stand under two sites only by mistake: its writer names one."""
    writing = Writing(SITE).add(plain(0), private(1, b"annex"))
    await storage.shelf(ID, ring()).extend(writing.chunk(0, 2))
    other = storage.shelf("0077", ring())
    await refused(other.extend(writing.chunk(0, 2)), TheirsInvalid, "exchange.unknown_origin")
    await refused(other.read(RELAYED, 0, 2), TheirsInvalid, "exchange.unknown_origin")
    assert await other.logs() == ()
    assert await other.log(RELAYED) is None
    assert [log.origin for log in await storage.shelf(ID, ring()).logs()] == [RELAYED]


async def test_a_log_with_a_lying_checkpoint_of_known_entries_keeps_the_first(
    storage: Storage,
) -> None:
    """The entries are those held, the signed root is not: a fork by the log's own key."""
    writing = Writing(SITE).add(*(plain(n) for n in range(4)))
    shelf = storage.shelf(ID, ring())
    await shelf.extend(writing.chunk(0, 4))
    key = SITE.key(Lane.CUSTODY)
    notes = [sign_checkpoint(Checkpoint(RELAYED, size, bytes(32)), key) for size in (2, 4)]
    for size, lie in zip((2, 4), notes, strict=True):
        chunk = Chunk(RELAYED, size - 1, (plain(size - 1),), lie)
        await refused(shelf.extend(chunk), TheirsInvalid, "exchange.root")
    note = notes[1]
    assert await shelf.note(RELAYED, 2) is None
    assert await storage.keep_fork(ID, RELAYED, note)
    assert not await storage.keep_fork(ID, RELAYED, note)
    (fork,) = await storage.forks(ID)
    assert (fork.origin, fork.size, fork.root, fork.note) == (RELAYED, 4, bytes(32), note)
    assert await storage.forks("0077") == ()


async def test_an_empty_log_that_was_told_is_kept(storage: Storage) -> None:
    shelf = storage.shelf(ID, ring())
    empty = Writing(SITE)
    assert (await shelf.extend(empty.chunk(0, 0))).size == 0
    log = await shelf.log(RELAYED)
    assert log is not None
    assert (log.size, log.note) == (0, empty.note(0))
    await refused(
        storage.shelf(ID, Ring()).cut(ORIGIN, 0, 1, 1), TheirsInvalid, "exchange.unknown_origin"
    )


async def test_the_first_annex_that_lacks_is_found_in_what_is_stored(storage: Storage) -> None:
    shelf = storage.shelf(ID, ring())
    writing = Writing(SITE).add(plain(0), private(1, b"a"), plain(2), private(3, b"b"), plain(4))
    await shelf.extend(writing.chunk(0, 3))
    assert await shelf.annexes_from(RELAYED) == 1
    await shelf.extend(writing.chunk(3, 5))
    await shelf.put_annexes(RELAYED, [(3, Annex(SALT, b"b", None))])
    assert await shelf.annexes_from(RELAYED) == 1
    await shelf.put_annexes(RELAYED, [(1, Annex(SALT, b"a", None))])
    assert await shelf.annexes_from(RELAYED) == 5
    writing.add(private(5, b"c"), erasure(6, f"{writing.log}5"))
    await shelf.extend(writing.chunk(5, 7))
    assert await shelf.annexes_from(RELAYED) == 7
    await refused(shelf.annexes_from(ORIGIN), TheirsInvalid, "exchange.unknown_origin")


async def test_annexes_far_apart_are_not_read_with_all_between(storage: Storage) -> None:
    """Neither a made-up index nor a wide range costs more than what was sent."""
    shelf = storage.shelf(ID, ring())
    writing = Writing(SITE).add(*(private(n, b"x") for n in range(1100)))
    for first in range(0, 1100, 500):
        await shelf.extend(writing.chunk(first, min(first + 500, 1100)))
    annexes = [(n, Annex(SALT, b"x", None)) for n in (1099, 3, 511, 512, 3, 700)]
    assert await shelf.put_annexes(RELAYED, annexes) == 5
    held = [item.index for item in await shelf.read(RELAYED, 0, 1100) if item.annex]
    assert held == [3, 511, 512, 700, 1099]
    for index in (-1, 1100, 10**15, 2**70):
        lie = [(index, Annex(SALT, b"x", None))]
        await refused(shelf.put_annexes(RELAYED, lie), TheirsInvalid, "exchange.annex")


async def test_numbers_and_names_that_cannot_be_are_answered_as_none(storage: Storage) -> None:
    shelf = storage.shelf(ID, ring())
    await shelf.extend(Writing(SITE).add(plain(0), plain(1)).chunk(0, 2))
    for far in (2, 10**15, 2**64, 2**70):
        assert await shelf.read(RELAYED, far, far + 5) == []
        assert await shelf.cut(RELAYED, far, 5, 5) == 0
        assert await shelf.root(RELAYED, far + 1) is None
        assert await shelf.note(RELAYED, far + 1) is None
        for step in (shelf.inclusion(RELAYED, far, 2), shelf.consistency(RELAYED, far + 1, 2)):
            with pytest.raises(TheirsInvalid):
                await step
        chunk = Chunk(RELAYED, far + 1, (plain(0),), "")
        await refused(shelf.extend(chunk), TheirsInvalid, "exchange.gap")
        chunk = Chunk(RELAYED, -far, (plain(0),), "")
        await refused(shelf.extend(chunk), TheirsInvalid, "exchange.gap")
    assert len(await shelf.read(RELAYED, -(2**70), 2**70)) == 2
    assert await shelf.cut(RELAYED, -1, 5, 5) == 0
    for name in ("", "\0", "a\0b", "\ud800", "ä" * 300, "x" * 100_000):
        assert await shelf.log(name) is None
        await refused(shelf.read(name, 0, 1), TheirsInvalid, "exchange.unknown_origin")
        chunk = Chunk(name, 0, (plain(0),), "")
        await refused(shelf.extend(chunk), TheirsInvalid, "exchange.unknown_origin")


async def test_an_erased_annex_is_gone_from_the_file(tmp_path: Path) -> None:
    url = await url_of("sqlite", tmp_path)
    storage = await opened(url)
    shelf = storage.shelf(ID, ring())
    secret = b"4711-nobody-may-find-this-0815"
    writing = Writing(SITE).add(private(0, secret))
    await shelf.extend(writing.chunk(0, 1))
    await shelf.put_annexes(RELAYED, [(0, Annex(SALT, secret, None))])
    files = [tmp_path / "hub.db", tmp_path / "hub.db-wal"]
    assert any(secret in one.read_bytes() for one in files)
    writing.add(erasure(1, f"{writing.log}0"))
    await shelf.extend(writing.chunk(1, 2))
    assert not any(secret in one.read_bytes() for one in files)
    await storage.close()


# --- beside the logs --------------------------------------------------------------------------


def site(site_id: str = ID, **more: object) -> Site:
    known = {"operator": "lockers.example", "label": "Main Street", "vkey": "v", "epoch": "e1"}
    return Site(site_id=site_id, created_ms=NOW_MS, **{**known, **more})  # type: ignore[arg-type]  # test values


async def test_sites_are_added_once_and_changed_by_who_read_them(storage: Storage) -> None:
    await storage.add_site(site())
    await storage.add_site(site())
    await storage.add_site(site("0007", url="https://10.0.0.7", enabled=False, fenced=True))
    await refused(storage.add_site(site(label="Other")), TheirsInvalid, "hub.site_exists")
    assert [one.site_id for one in await storage.sites()] == ["0007", ID]
    assert await storage.site("0099") is None
    one = await storage.site("0007")
    assert one == site("0007", url="https://10.0.0.7", enabled=False, fenced=True)
    changed = await storage.update_site(msgspec.structs.replace(one, label="Harbour", enabled=True))
    assert (changed.label, changed.enabled, changed.version) == ("Harbour", True, 1)
    assert await storage.site("0007") == changed
    late = msgspec.structs.replace(one, label="Late")
    await refused(storage.update_site(late), Moved, "hub.moved")
    await refused(storage.update_site(site("0099")), TheirsInvalid, "hub.no_site")


async def test_cosignatures_are_kept_the_largest_last(storage: Storage) -> None:
    writing = Writing(SITE).add(*(plain(n) for n in range(3)))
    shelf = storage.shelf(ID, ring())
    for size in (1, 2, 3):
        await shelf.extend(writing.chunk(size - 1, size))
    assert await storage.cosignature(ID, RELAYED) is None
    for size, at in ((2, 7), (3, 8), (1, 9)):
        note = writing.note(size)
        await storage.keep_cosignature(ID, RELAYED, note + cosign(note, COSIGNER, at))
    receipt = await storage.cosignature(ID, RELAYED)
    assert receipt is not None
    assert (receipt.size, receipt.instance) == (3, storage.instance)
    assert receipt.note == writing.note(3) + cosign(writing.note(3), COSIGNER, 8)
    log = await shelf.log(RELAYED)
    assert log is not None
    assert log.cosigned == 3
    ahead = writing.add(plain(3)).note(4)
    await refused(storage.keep_cosignature(ID, RELAYED, ahead), OursBroken, "hub.bad_note")
    missing = storage.keep_cosignature(ID, ORIGIN, ahead)
    await refused(missing, OursBroken, "hub.no_log")


async def test_a_book_is_kept_by_its_rules(storage: Storage) -> None:
    assert await storage.latest_book(ID, 1) is None
    one = Snapshot(1, {"e1-00000001:sc": 5, "e1-00000001:su": 2}, b"\x00book", NOW_MS)
    two = Snapshot(2, {}, b"", NOW_MS)
    for snapshot in (Snapshot(1, {}, b"old", 1), one, two):
        await storage.keep_book(ID, snapshot)
    assert await storage.latest_book(ID, 1) == one
    assert await storage.latest_book(ID, 2) == two
    assert await storage.latest_book("0077", 1) is None


async def test_news_is_told_once_and_settled(storage: Storage) -> None:
    assert await storage.put_news(ID, "a", b"one")
    assert not await storage.put_news(ID, "a", b"other")
    assert await storage.put_news(ID, "b", b"two")
    await storage.settle_news(ID, "b", "confirmed", b"bare")
    assert [(one.key, one.payload) for one in await storage.news(ID)] == [("a", b"one")]
    assert [one.key for one in await storage.news(ID, "confirmed")] == ["b"]
    assert await storage.news("0077") == ()


async def test_the_audit_has_no_gap_whoever_writes(storage: Storage) -> None:
    lines = [storage.audit(ID, "conflict.used", {"n": n, "of": "e1:sc1"}) for n in range(20)]
    assert sorted(await asyncio.gather(*lines)) == list(range(20))
    assert await storage.audit("0077", "other", {}) == 0
    found = await storage.audited(ID, 0, 99)
    assert [one.seq for one in found] == list(range(20))
    assert sorted(one.evidence["n"] for one in found) == list(range(20))  # type: ignore[type-var]  # ints
    assert {one.at_ms for one in found} == {NOW_MS}
    assert [one.seq for one in await storage.audited(ID, 3, 2)] == [3, 4]


async def test_two_processes_write_one_audit_with_no_gap(pair: list[Storage]) -> None:
    lines = [
        one.audit(ID, "x", {"by": by, "n": n}) for by, one in enumerate(pair) for n in range(9)
    ]
    assert sorted(await asyncio.gather(*lines)) == list(range(18))
    found = await pair[0].audited(ID, 0, 99)
    assert len({(one.evidence["by"], one.evidence["n"]) for one in found}) == 18


async def test_a_store_keeps_its_name_until_it_is_renamed(url: str) -> None:
    storage = await opened(url)
    name = storage.instance
    await storage.close()
    storage = await opened(url)
    assert storage.instance == name
    renamed = await storage.renew_instance()
    assert storage.instance == storage.shelf(ID, ring()).instance == renamed != name
    await storage.close()
    await storage.close()
    storage = await opened(url)
    assert storage.instance == renamed
    await storage.close()


async def test_every_statement_names_its_site() -> None:
    """So that a database dealt out by site_id finds the one place that has the rows."""
    texts = {
        f"{one.__name__}.{name}": value
        for one in (sql, sqlite, module)
        for name, value in vars(one).items()
        if isinstance(value, str)
        and value.startswith(("SELECT", "INSERT INTO", "UPDATE", "WITH", "DELETE"))
    }
    assert len(texts) > 40
    for name, text in texts.items():
        assert "site_id" in text, name
        assert "site_id = " in text or text.startswith("INSERT") or name.endswith("SITES"), name
        assert "ON CONFLICT (" not in text or "ON CONFLICT (site_id" in text, name
    assert "REFERENCES" not in "".join(postgres.schema_text())


# --- the databases themselves -----------------------------------------------------------------


async def test_one_process_owns_a_file(tmp_path: Path) -> None:
    url = await url_of("sqlite", tmp_path)
    storage = await opened(url)
    await refused(opened(url), StoreFailed, "store.busy")
    await storage.close()
    await (await opened(url)).close()


async def test_two_writers_of_one_file_still_meet_in_compare_and_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock taken away: what stands in the file is right all the same."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    url = await url_of("sqlite", tmp_path)
    pair = [await begun(await opened(url)) for _ in range(2)]
    for size in range(10):
        ends = await asyncio.gather(
            *(one.append(ID, ORIGIN, size, [plain(n)]) for n, one in enumerate(pair)),
            return_exceptions=True,
        )
        assert sorted(type(end).__name__ for end in ends) == ["Checkpoint", "Moved"]
    for one in pair:
        await one.close()


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "foreign"), (b"text", "foreign"), (b"SQLite format 3\x00" + bytes(84), "foreign")],
)
async def test_a_file_that_is_not_ours_is_left_alone(
    tmp_path: Path, content: bytes, code: str
) -> None:
    (tmp_path / "hub.db").write_bytes(content)
    await refused(opened(await url_of("sqlite", tmp_path)), StoreFailed, f"store.{code}")
    assert (tmp_path / "hub.db").read_bytes() == content


async def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    url = await url_of("sqlite", tmp_path)
    await (await opened(url)).close()
    with sqlite3.connect(tmp_path / "hub.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    await refused(opened(url), StoreFailed, "store.newer")


@pytest.mark.parametrize("name", ["postgres", "sqlite"])
async def test_an_older_schema_is_brought_up_to_date_with_what_it_holds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version adds a step: it is done once, and a program without it is too old then."""
    url = await url_of(name, tmp_path)
    storage = await begun(await opened(url))
    await written(storage, 0, plain(0))
    await storage.close()
    later = "CREATE TABLE later (site_id TEXT NOT NULL PRIMARY KEY);"

    kind = "sqlite" if name == "sqlite" else "postgres"
    known = file.migrations(kind)
    known.append((len(known) + 1, later))
    with monkeypatch.context() as patch:
        patch.setattr(file, "migrations", lambda _: known)
        patch.setattr(module, "migrations", lambda _: known)
        for _ in range(2):
            storage = await opened(url)
            (item,) = await storage.shelf(ID, ring()).read(ORIGIN, 0, 9)
            assert item.entry == plain(0)
            await storage.close()
    await refused(opened(url), StoreFailed, "store.newer")


@pytest.mark.parametrize("dealt", [False, True])
async def test_a_newer_or_foreign_schema_is_left_alone(dealt: bool) -> None:
    url = await postgres.fresh(dealt=dealt)
    await (await opened(url)).close()
    await postgres.execute(url, "UPDATE about SET value = '99' WHERE key = 'schema'")
    await refused(opened(url), StoreFailed, "store.newer")
    await postgres.execute(url, "DELETE FROM about WHERE key = 'schema'")
    await refused(opened(url), StoreFailed, "store.foreign")


async def test_of_many_processes_that_open_at_once_one_makes_the_tables() -> None:
    url = await postgres.fresh()
    storages = await asyncio.gather(*(opened(url) for _ in range(5)))
    assert len({one.instance for one in storages}) == 1
    for one in storages:
        await one.close()


@pytest.mark.parametrize(
    "bad",
    ["", "hub.db", "sqlite:", "sqlite://host/hub.db", "sqlite:///", "sqlite:///a?b", "mysql://x/y"],
)
async def test_a_url_that_names_no_storage_is_refused(bad: str) -> None:
    await refused(open_storage(bad, lambda: 0), TheirsInvalid, "hub.bad_url")


async def test_a_database_that_is_not_there_is_said_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sync.hub.postgres.ATTEMPTS_MAX", 2)
    url = "postgresql://hub:hunter2@127.0.0.1:1/hub"
    failed = await refused(opened(url), StoreFailed, "store.busy")
    assert "hunter2" not in str(failed)


@pytest.mark.parametrize(
    "bad",
    ["postgresql://hub:hunter2/x@host/hub", "postgresql://hub:x@host:hunter2/hub"],
)
async def test_a_url_that_cannot_be_read_is_not_repeated(bad: str) -> None:
    failed = await refused(opened(bad), StoreFailed, "store.io")
    assert "hunter2" not in str(failed)


async def test_a_role_that_may_not_is_said_as_it_is() -> None:
    url = await postgres.fresh()
    failed = await refused(opened(url.replace("locker@", "stranger@")), StoreFailed, "store.io")
    assert "stranger" in str(failed)


async def test_a_full_disk_undoes_the_group_and_the_file_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await begun(await opened(await url_of("sqlite", tmp_path)))
    await written(storage, 0, plain(0))
    transact = sqlite.SqliteDatabase._transact

    def full(self: sqlite.SqliteDatabase, batch: list[object]) -> object:
        self._connection.execute("PRAGMA max_page_count = 1")
        return transact(self, batch)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(sqlite.SqliteDatabase, "_transact", full)
    entries = [compose({"kind": "a.b", "x": "y" * 4000}, at=Moment(1, n)) for n in range(500)]
    await refused(storage.append(ID, ORIGIN, 1, entries), StoreFailed, "store.full")
    monkeypatch.setattr(sqlite.SqliteDatabase, "_transact", transact)
    await storage._database._done(  # type: ignore[attr-defined]  # room again
        lambda connection: connection.execute("PRAGMA max_page_count = 1000000")
    )
    await written(storage, 1, plain(1))
    await storage.close()


async def test_an_error_of_the_disk_ends_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await begun(await opened(await url_of("sqlite", tmp_path)))

    def broken(*_: object) -> object:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite.SqliteDatabase, "_savepoint", broken)
    with pytest.raises(StoreFailed):
        await storage.append(ID, ORIGIN, 0, [plain(0)])
    monkeypatch.undo()
    with pytest.raises(StoreFailed):
        await storage.append(ID, ORIGIN, 0, [plain(0)])
    with pytest.raises(StoreFailed):
        await storage.sites()
    await storage.close()


async def test_more_than_may_wait_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "QUEUE_REQUESTS_MAX", 3)
    storage = await opened(await url_of("sqlite", tmp_path))
    ends = await asyncio.gather(
        *(storage.put_news(ID, str(n), b"x") for n in range(20)), return_exceptions=True
    )
    told = [end for end in ends if end is True]
    busy = [end for end in ends if isinstance(end, StoreFailed) and end.code == "store.busy"]
    assert len(told) + len(busy) == 20
    assert len(told) >= 3
    assert len(await storage.news(ID)) == len(told)
    await storage.close()


async def test_what_arrives_during_a_flush_shares_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    transact = sqlite.SqliteDatabase._transact

    def counted(self: sqlite.SqliteDatabase, batch: list[object]) -> object:
        groups.append(len(batch))
        return transact(self, batch)  # type: ignore[arg-type]  # passed on

    storage = await opened(await url_of("sqlite", tmp_path))
    monkeypatch.setattr(sqlite.SqliteDatabase, "_transact", counted)
    await asyncio.gather(*(storage.audit(f"{n:04}", "x", {}) for n in range(100)))
    assert sum(groups) == 100
    assert len(groups) < 60
    await storage.close()


# --- lost connections and killed processes ----------------------------------------------------


async def test_a_connection_lost_before_or_after_the_commit_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The statement is carried and its answer lost, or never carried at all; each in turn."""
    import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  # only where it is needed

    storage = await begun(await opened(await postgres.fresh()))
    real: dict[str, Callable[..., Awaitable[object]]] = {
        name: getattr(asyncpg.Connection, name) for name in ("fetchval", "execute")
    }
    lost = {"at": "", "count": 0}

    def losing(name: str) -> Callable[..., Awaitable[object]]:
        async def call(self: object, text: str, *values: object, **more: object) -> object:
            # Only ours: asyncpg has statements of its own when a connection goes back.
            if lost["at"] and "site_id" in text:
                at, lost["at"] = lost["at"], ""
                lost["count"] = int(str(lost["count"])) + 1
                if at == "after":
                    await real[name](self, text, *values, **more)
                raise asyncpg.ConnectionDoesNotExistError("lost")
            return await real[name](self, text, *values, **more)

        return call

    for name in real:
        monkeypatch.setattr(asyncpg.Connection, name, losing(name))
    shelf = storage.shelf(ID, ring())
    writing = Writing(SITE).add(*(plain(n) for n in range(12)))
    for size in range(12):
        at = ("before", "after", "")[size % 3]
        lost["at"] = at
        done = await storage.append(ID, ORIGIN, size, [plain(size)])
        lost["at"] = at
        await storage.seal(ID, ORIGIN, sign(done))
        lost["at"] = at
        await shelf.extend(writing.chunk(size, size + 1))
        lost["at"] = at
        assert await storage.audit(ID, "x", {"n": size}) == size
    assert lost["count"] == 32
    for origin in (ORIGIN, RELAYED):
        items = await shelf.read(origin, 0, 99)
        assert [item.entry for item in items] == [plain(n) for n in range(12)]
    assert len(await storage.audited(ID, 0, 99)) == 12
    await storage.close()


async def test_a_server_that_restarts_is_found_again() -> None:
    postgres.server()  # skips where there is none
    server = postgres.make()
    storage = await begun(await opened(server.url))
    await written(storage, 0, plain(0))
    await asyncio.to_thread(server.stop, hard=True)
    again = asyncio.create_task(asyncio.to_thread(server.start))
    await written(storage, 1, plain(1))
    await again
    items = await storage.shelf(ID, ring()).read(ORIGIN, 0, 9)
    assert [item.entry for item in items] == [plain(0), plain(1)]
    await storage.close()
    await asyncio.to_thread(server.stop)


async def hub_process(url: str) -> None:
    """Append and take in until killed, telling what is durable."""
    storage = await begun(await opened(url))
    shelf = storage.shelf(ID, ring())
    writing = Writing(SITE)
    for size in range(10_000):
        done = await storage.append(ID, ORIGIN, size, [plain(size)])
        await storage.seal(ID, ORIGIN, sign(done))
        await shelf.extend(writing.add(plain(size)).chunk(size, size + 1))
        print(size + 1, flush=True)


async def test_a_killed_hub_loses_nothing_it_told(url: str) -> None:
    command = [sys.executable, "-m", "tests.contract.test_hub_storage", url]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = 0
    while told < 25:
        told = int(await process.stdout.readline() or b"99999")
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = await process.communicate()
    told = max([told, *map(int, rest.split())])
    assert told < 9999
    storage = await opened(url)
    for left in await storage.unsealed(ID):
        await storage.seal(ID, left.origin, sign(left))
    shelf = storage.shelf(ID, ring())
    for origin in (ORIGIN, RELAYED):
        log = await shelf.log(origin)
        assert log is not None
        assert told <= log.size <= told + 1
        items = await shelf.read(origin, 0, 99_999)
        assert [item.entry for item in items] == [plain(n) for n in range(log.size)]
        tree = Tree()
        for item in items:
            tree.append(leaf_hash(item.entry))
        assert log.root == tree.root()
    await storage.close()


if __name__ == "__main__":
    asyncio.run(hub_process(sys.argv[1]))
