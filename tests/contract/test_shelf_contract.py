"""Pins what every shelf promises, whatever it stores in: run against each holder of `shelves`."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path

import pytest

from certs.note import Checkpoint, cosign, open_checkpoint, sign_checkpoint
from sync.commit import Identity
from sync.entry import Lane, compose, may_erase, private_hash
from sync.errors import TheirsInvalid
from sync.intake import CHUNK_ENTRIES_MAX, Chunk
from sync.merkle import (
    FullTree,
    Tree,
    leaf_hash,
    peaks_of,
    root_at,
    verify_consistency,
    verify_inclusion,
)
from sync.moment import Moment
from sync.rows import Annex, Record
from sync.shelf import Log, Shelf
from tests.contract.shelves import COSIGNER, IMPOSTOR, SHELVES, STRANGER, Holder

SALT = bytes(range(16))
INSTANCE = "00112233445566aa"


@pytest.fixture(params=sorted(SHELVES))
async def holder(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Holder]:
    async with SHELVES[request.param](tmp_path) as made:
        yield made


def plain(number: int, size: int = 0) -> bytes:
    more = {"note": "x" * size} if size else {}
    return compose({"kind": "compartment.enabled", "door": number, **more}, at=Moment(1, number))


def private(number: int, annex: bytes) -> bytes:
    fact = {"kind": "parcel.expected", "tag": "x"}
    return compose(fact, at=Moment(1, number), private=private_hash(SALT, annex))


def erasure(number: int, of: str) -> bytes:
    return compose({"kind": "annex.erased", "by": "test", "of": of}, at=Moment(1, number))


class Writing:
    """A log of somebody else, as its writer has it: gives chunks of it and checkpoints."""

    def __init__(self, who: Identity, lane: Lane = Lane.CUSTODY) -> None:
        self.origin, self.key = who.origin(lane), who.key(lane)
        self.log = who.log(lane)
        self.entries: list[bytes] = []
        self.tree = FullTree()

    def add(self, *entries: bytes) -> "Writing":
        for data in entries:
            self.entries.append(data)
            self.tree.append(leaf_hash(data))
        return self

    def note(self, size: int) -> str:
        root = root_at(size, self.tree)
        return sign_checkpoint(Checkpoint(self.origin, size, root), self.key)

    def chunk(self, first: int, stop: int) -> Chunk:
        return Chunk(self.origin, first, tuple(self.entries[first:stop]), self.note(stop))


def theirs(holder: Holder, count: int) -> Writing:
    return Writing(holder.other).add(*(plain(number) for number in range(count)))


def own(entries: Sequence[bytes], first: int = 0, lane: Lane = Lane.CUSTODY) -> list[Record]:
    return [Record(lane, first + place, data) for place, data in enumerate(entries)]


async def refused(step: Awaitable[object], code: str) -> TheirsInvalid:
    with pytest.raises(TheirsInvalid) as caught:
        await step
    assert caught.value.code == code
    return caught.value


async def held(shelf: Shelf, origin: str) -> Log:
    log = await shelf.log(origin)
    assert log is not None
    return log


# --- own logs ---------------------------------------------------------------------------------


async def test_an_own_log_is_told_with_its_size_root_and_signature(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    await holder.write(own([plain(n) for n in range(5)]))
    log = await held(holder.shelf, origin)
    assert (log.origin, log.own, log.oldest, log.size, log.cosigned) == (origin, True, 0, 5, 0)
    assert log.vkey == holder.own.key(Lane.CUSTODY).vkey
    checkpoint = open_checkpoint(log.note, holder.own.key(Lane.CUSTODY).verifier)
    assert (checkpoint.size, checkpoint.root) == (5, log.root)
    assert await holder.shelf.root(origin, 5) == log.root


async def test_logs_come_by_origin_and_each_as_log_tells_it(holder: Holder) -> None:
    await holder.shelf.extend(theirs(holder, 3).chunk(0, 3))
    logs = await holder.shelf.logs()
    assert [log.origin for log in logs] == sorted(log.origin for log in logs)
    assert [await holder.shelf.log(log.origin) for log in logs] == list(logs)
    assert await holder.shelf.log(STRANGER.origin(Lane.CUSTODY)) is None


async def test_an_own_log_is_signed_at_every_size(holder: Holder) -> None:
    origin, key = holder.own.origin(Lane.CUSTODY), holder.own.key(Lane.CUSTODY)
    tree = Tree()
    entries = [plain(n) for n in range(11)]
    await holder.write(own(entries))
    for size in range(12):
        note = await holder.shelf.note(origin, size)
        assert note is not None
        assert open_checkpoint(note, key.verifier) == Checkpoint(origin, size, tree.root())
        if size < 11:
            tree.append(leaf_hash(entries[size]))
    assert await holder.shelf.note(origin, 12) is None
    assert await holder.shelf.note(STRANGER.origin(Lane.CUSTODY), 0) is None


async def test_entries_are_read_as_they_were_written(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    records = own([plain(0), private(1, b"annex"), plain(2)])
    records[1] = Record(Lane.CUSTODY, 1, records[1].entry, b"annex", SALT)
    await holder.write(records)
    items = await holder.shelf.read(origin, 0, 3)
    assert [(one.index, one.entry) for one in items] == [(r.index, r.entry) for r in records]
    assert items[0].annex is None
    assert items[1].annex == Annex(SALT, b"annex", None)
    assert [one.index for one in await holder.shelf.read(origin, 1, 99)] == [1, 2]
    assert await holder.shelf.read(origin, 3, 9) == []
    await refused(holder.shelf.read(STRANGER.origin(Lane.CUSTODY), 0, 1), "exchange.unknown_origin")


async def test_an_own_log_is_cut_by_count_and_by_bytes(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    entries = [plain(n, 100) for n in range(20)] + [plain(20, 3000)]
    await holder.write(own(entries))
    sizes = [len(data) for data in entries]
    cut = holder.shelf.cut
    assert await cut(origin, 0, 7, 1 << 20) == 7
    assert await cut(origin, 0, 100, sum(sizes[:9])) == 9
    assert await cut(origin, 0, 100, sum(sizes[:9]) - 1) == 8
    assert await cut(origin, 3, 100, 1) == 1
    assert await cut(origin, 20, 100, 16) == 1
    assert await cut(origin, 21, 100, 16) == 0


async def test_proofs_hold_at_every_size(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    entries = [plain(n) for n in range(300)]
    await holder.write(own(entries))
    tree = FullTree(map(leaf_hash, entries))
    for size in (0, 1, 2, 13, 255, 256, 257, 300):
        root = await holder.shelf.root(origin, size)
        assert root == root_at(size, tree)
        assert await holder.shelf.peaks(origin, size) == [tree(*peak) for peak in peaks_of(size)]
        for old in sorted({0, size // 3, size // 2, size}):
            old_root = root_at(old, tree)
            proof = await holder.shelf.consistency(origin, old, size)
            verify_consistency(old, old_root, size, root, proof)
        for index in sorted({0, size // 2, size - 1}) if size else ():
            proof = await holder.shelf.inclusion(origin, index, size)
            verify_inclusion(leaf_hash(entries[index]), index, size, proof, root)


async def test_nothing_is_proved_beyond_what_is_held(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    await holder.write(own([plain(0)]))
    assert await holder.shelf.root(origin, 2) is None
    assert await holder.shelf.root(STRANGER.origin(Lane.CUSTODY), 0) is None
    shelf = holder.shelf
    for step in (
        shelf.peaks(origin, 2),
        shelf.inclusion(origin, 0, 2),
        shelf.inclusion(origin, 1, 1),
        shelf.consistency(origin, 1, 2),
        shelf.consistency(origin, 2, 1),
        shelf.peaks(STRANGER.origin(Lane.CUSTODY), 1),
    ):
        with pytest.raises(TheirsInvalid):
            await step


# --- taking in --------------------------------------------------------------------------------


async def test_a_foreign_log_begins_when_its_writer_is_known(holder: Holder) -> None:
    writing = theirs(holder, 10)
    log = await holder.shelf.extend(writing.chunk(0, 6))
    assert (log.origin, log.own, log.size, log.vkey) == (writing.origin, False, 6, writing.key.vkey)
    assert log.note == writing.note(6)
    log = await holder.shelf.extend(writing.chunk(6, 10))
    assert log == await holder.shelf.log(writing.origin)
    assert log.root == writing.tree(3, 0) or log.root == root_at(10, writing.tree)
    items = await holder.shelf.read(writing.origin, 0, 10)
    assert [one.entry for one in items] == writing.entries


async def test_an_unknown_writer_is_refused(holder: Holder) -> None:
    stranger = Writing(STRANGER).add(plain(0))
    await refused(holder.shelf.extend(stranger.chunk(0, 1)), "exchange.unknown_origin")
    with pytest.raises(TheirsInvalid):
        await holder.shelf.extend(Chunk("no origin", 0, (), ""))
    assert await holder.shelf.log(stranger.origin) is None


async def test_own_lanes_are_written_by_their_holder_only(holder: Holder) -> None:
    await holder.write(own([plain(0)]))
    forged = Writing(holder.own).add(plain(0), plain(1))
    await refused(holder.shelf.extend(forged.chunk(0, 2)), "exchange.own")
    assert (await held(holder.shelf, forged.origin)).size == 1


async def test_what_is_sent_again_changes_nothing(holder: Holder) -> None:
    writing = theirs(holder, 9)
    await holder.shelf.extend(writing.chunk(0, 4))
    for first, stop, size in ((0, 4, 4), (1, 3, 4), (2, 7, 7), (0, 7, 7), (0, 9, 9), (8, 9, 9)):
        log = await holder.shelf.extend(writing.chunk(first, stop))
        assert log.size == size
        assert log.note == writing.note(size)
    items = await holder.shelf.read(writing.origin, 0, 99)
    assert [one.entry for one in items] == writing.entries


async def test_a_gap_is_refused_with_the_size_held(holder: Holder) -> None:
    writing = theirs(holder, 9)
    told = await refused(holder.shelf.extend(writing.chunk(1, 3)), "exchange.gap")
    assert told.evidence["size"] == 0
    await holder.shelf.extend(writing.chunk(0, 3))
    told = await refused(holder.shelf.extend(writing.chunk(5, 9)), "exchange.gap")
    assert told.evidence["size"] == 3


async def test_bad_chunks_leave_no_trace(holder: Holder) -> None:
    writing = theirs(holder, 8)
    good = writing.chunk(0, 8)
    await holder.shelf.extend(writing.chunk(0, 4))
    before = await holder.shelf.logs()
    fork = Writing(holder.other).add(plain(0), plain(1), plain(77), *writing.entries[3:])
    imposter = Identity("lockers.example", holder.other.writer, holder.other.epoch, bytes(32))
    forger = Writing(imposter).add(*writing.entries)
    entries = writing.entries
    for chunk, code in (
        (Chunk(good.origin, 4, (b"{}", *entries[5:]), good.note), "exchange.entry"),
        (Chunk(good.origin, 4, (entries[4] + b" ", *entries[5:]), good.note), "exchange.entry"),
        (fork.chunk(0, 8), "exchange.differs"),
        (fork.chunk(3, 8), "exchange.root"),
        (fork.chunk(3, 4), "exchange.root"),
        (Chunk(good.origin, 4, (*entries[4:7], plain(99)), good.note), "exchange.root"),
        (Chunk(good.origin, 4, tuple(entries[4:7]), good.note), "exchange.size"),
        (Chunk(good.origin, 4, tuple(entries[4:8]), "nothing"), "exchange.note"),
        (forger.chunk(4, 8), "exchange.note"),
    ):
        await refused(holder.shelf.extend(chunk), code)
    assert await holder.shelf.logs() == before
    assert len(await holder.shelf.read(good.origin, 0, 99)) == 4
    assert (await holder.shelf.extend(good)).size == 8


async def test_a_chunk_has_a_bound(holder: Holder) -> None:
    writing = theirs(holder, CHUNK_ENTRIES_MAX + 1)
    await refused(holder.shelf.extend(writing.chunk(0, CHUNK_ENTRIES_MAX + 1)), "exchange.size")
    assert (await holder.shelf.extend(writing.chunk(0, CHUNK_ENTRIES_MAX))).size > 0


async def test_many_who_bring_the_same_end_with_one_log(holder: Holder) -> None:
    writing = theirs(holder, 40)
    for stop in range(10, 41, 10):
        chunks = [writing.chunk(first, stop) for first in range(stop - 10)[-3:] or (0,)]
        await asyncio.gather(
            *(holder.shelf.extend(chunk) for chunk in [*chunks, writing.chunk(stop - 10, stop)])
        )
    log = await held(holder.shelf, writing.origin)
    assert (log.size, log.note) == (40, writing.note(40))
    items = await holder.shelf.read(writing.origin, 0, 99)
    assert [one.entry for one in items] == writing.entries


async def test_segments_of_another_s_log_end_where_a_checkpoint_came(holder: Holder) -> None:
    writing = theirs(holder, 60)
    for first, stop in itertools.pairwise((0, 3, 10, 30, 31, 60)):
        await holder.shelf.extend(writing.chunk(first, stop))
    cut, origin = holder.shelf.cut, writing.origin
    assert await cut(origin, 0, 100, 1 << 20) == 60
    assert await cut(origin, 0, 59, 1 << 20) == 31
    assert await cut(origin, 0, 9, 1 << 20) == 3
    assert await cut(origin, 0, 2, 1 << 20) == 3
    assert await cut(origin, 10, 5, 1 << 20) == 20
    assert await cut(origin, 0, 100, sum(map(len, writing.entries[:12]))) == 10
    assert await cut(origin, 31, 5, 1) == 29
    assert await cut(origin, 60, 5, 1 << 20) == 0
    for size in range(61):
        expected = writing.note(size) if size in {3, 10, 30, 31, 60} else None
        if size:
            assert await holder.shelf.note(origin, size) == expected
    for size in (13, 45):
        assert await holder.shelf.root(origin, size) == root_at(size, writing.tree)


# --- annexes ----------------------------------------------------------------------------------


async def test_annexes_come_apart_and_must_match(holder: Holder) -> None:
    writing = Writing(holder.other).add(plain(0), private(1, b"one"), private(2, b"two"))
    await holder.shelf.extend(writing.chunk(0, 3))
    put, origin = holder.shelf.put_annexes, writing.origin
    one, two = (1, Annex(SALT, b"one", None)), (2, Annex(SALT, b"two", None))
    for bad in (
        (1, Annex(SALT, b"two", None)),
        (1, Annex(bytes(16), b"one", None)),
        (0, Annex(SALT, b"one", None)),
        (3, Annex(SALT, b"one", None)),
    ):
        await refused(put(origin, [two, bad]), "exchange.annex")
    assert [item.annex for item in await holder.shelf.read(origin, 0, 3)] == [None] * 3
    assert await put(origin, []) == 0
    assert await put(origin, [two]) == 1
    assert await put(origin, [one, two]) == 1
    assert await put(origin, [one, two]) == 0
    assert [item.annex for item in await holder.shelf.read(origin, 0, 3)] == [None, one[1], two[1]]
    await refused(put(STRANGER.origin(Lane.CUSTODY), [one]), "exchange.unknown_origin")


@pytest.mark.lasting
async def test_an_erasing_entry_takes_the_annex_and_it_does_not_come_back(holder: Holder) -> None:
    writing = Writing(holder.other).add(private(0, b"one"), private(1, b"two"))
    await holder.shelf.extend(writing.chunk(0, 2))
    first = (0, Annex(SALT, b"one", None))
    assert await holder.shelf.put_annexes(writing.origin, [first]) == 1
    writing.add(erasure(2, f"{writing.log}0"), erasure(3, f"{writing.log}1"))
    await holder.shelf.extend(writing.chunk(2, 4))
    both = [first, (1, Annex(SALT, b"two", None))]
    assert await holder.shelf.put_annexes(writing.origin, both) == 0
    items = await holder.shelf.read(writing.origin, 0, 2)
    marks = [f"{writing.log}2", f"{writing.log}3"]
    assert [item.annex for item in items] == [Annex(None, None, mark) for mark in marks]


@pytest.mark.lasting
async def test_an_own_annex_is_erased_by_the_site_and_not_by_the_hub(holder: Holder) -> None:
    """A site whose live parcels lost their names could open for no code of theirs."""
    await holder.write([Record(Lane.CUSTODY, 0, private(0, b"one"), b"one", SALT)])
    writing = Writing(holder.other).add(erasure(0, f"{holder.own.log(Lane.CUSTODY)}0"))
    await holder.shelf.extend(writing.chunk(0, 1))
    (item,) = await holder.shelf.read(holder.own.origin(Lane.CUSTODY), 0, 1)
    if may_erase(writing.log.writer, holder.own.log(Lane.CUSTODY)):
        assert item.annex == Annex(None, None, f"{writing.log}0")
    else:
        assert item.annex == Annex(SALT, b"one", None)


@pytest.mark.lasting
async def test_an_erasure_may_come_before_what_it_erases(holder: Holder) -> None:
    """Of an entry, and of a log, that nobody here has seen yet; and one that means nothing."""
    urgent = Writing(holder.other, Lane.URGENT)
    log = holder.other.log(Lane.CUSTODY)
    strange = erasure(2, "e9-00000000:sc5")
    urgent.add(erasure(0, f"{log}1"), erasure(1, f"{log}999999999999999"), strange)
    await holder.shelf.extend(urgent.chunk(0, 3))
    writing = Writing(holder.other).add(private(0, b"one"), private(1, b"two"))
    await holder.shelf.extend(writing.chunk(0, 2))
    both = [(0, Annex(SALT, b"one", None)), (1, Annex(SALT, b"two", None))]
    assert await holder.shelf.put_annexes(writing.origin, both) == 1
    items = await holder.shelf.read(writing.origin, 0, 2)
    assert items[0].annex == both[0][1]
    assert items[1].annex == Annex(None, None, f"{urgent.log}0")


# --- receipts ---------------------------------------------------------------------------------


async def test_a_receipt_is_kept_when_a_known_cosigner_signed_what_is_held(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    await holder.write(own([plain(n) for n in range(4)]))
    note = (await holder.shelf.note(origin, 3)) or ""
    receive = holder.shelf.receive_receipt
    await refused(receive(origin, note, INSTANCE), "exchange.receipt")
    forged = note + cosign(note, IMPOSTOR, 1_800_000_000)
    await refused(receive(origin, forged, INSTANCE), "exchange.receipt")
    bad = note + cosign(note, COSIGNER, 1_800_000_000).replace("A", "B")
    await refused(receive(origin, bad, INSTANCE), "exchange.receipt")
    await refused(receive(origin, "nothing", INSTANCE), "exchange.receipt")
    assert (await held(holder.shelf, origin)).cosigned == 0
    for size in (3, 4, 2):
        note = (await holder.shelf.note(origin, size)) or ""
        await receive(origin, note + cosign(note, COSIGNER, 1_800_000_000), INSTANCE)
    assert (await held(holder.shelf, origin)).cosigned == 4


async def test_a_receipt_of_more_or_of_other_entries_is_refused(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    await holder.write(own([plain(n) for n in range(4)]))
    ahead = Writing(holder.own).add(*(plain(n) for n in range(6)))
    note = ahead.note(6)
    receive = holder.shelf.receive_receipt
    told = await refused(
        receive(origin, note + cosign(note, COSIGNER, 1), INSTANCE), "exchange.ahead"
    )
    assert told.evidence["size"] == 4
    note = Writing(holder.own).add(*(plain(n + 9) for n in range(4))).note(4)
    line = cosign(note, COSIGNER, 1)
    await refused(receive(origin, note + line, INSTANCE), "exchange.receipt")
    stranger = STRANGER.origin(Lane.CUSTODY)
    await refused(receive(stranger, note + line, INSTANCE), "exchange.unknown_origin")
    other = Writing(holder.own, Lane.URGENT).note(0)
    await refused(receive(origin, other + cosign(other, COSIGNER, 1), INSTANCE), "exchange.receipt")


# --- waiting ----------------------------------------------------------------------------------


async def test_a_log_that_is_larger_already_is_told_at_once(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    await holder.write(own([plain(0)]))
    async with asyncio.timeout(10):
        log = await holder.shelf.beyond(origin, 0, 3600)
    assert log == await holder.shelf.log(origin)


async def test_whoever_waits_is_told_when_the_log_grows(holder: Holder) -> None:
    writing = theirs(holder, 4)
    await holder.shelf.extend(writing.chunk(0, 2))
    origin = holder.own.origin(Lane.CUSTODY)
    async with asyncio.timeout(20):
        waiting = [
            asyncio.create_task(holder.shelf.beyond(origin, 0, 3600)),
            asyncio.create_task(holder.shelf.beyond(writing.origin, 2, 3600)),
        ]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in waiting)
        await holder.write(own([plain(0)]))
        mine = await waiting[0]
        assert not waiting[1].done()
        await holder.shelf.extend(writing.chunk(2, 4))
        other = await waiting[1]
    assert mine is not None
    assert other is not None
    assert (mine.size, other.size) == (1, 4)


async def test_waiting_has_an_end(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    async with asyncio.timeout(10):
        assert await holder.shelf.beyond(origin, 0, 0.01) == await holder.shelf.log(origin)
        assert await holder.shelf.beyond(STRANGER.origin(Lane.CUSTODY), 0, 0.01) is None


async def test_cancelling_a_wait_or_a_read_harms_nobody(holder: Holder) -> None:
    origin = holder.own.origin(Lane.CUSTODY)
    await holder.write(own([plain(n) for n in range(50)]))
    for _ in range(20):
        tasks = [
            asyncio.create_task(holder.shelf.beyond(origin, 50, 3600)),
            asyncio.create_task(holder.shelf.peaks(origin, 49)),
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(await holder.shelf.read(origin, 0, 50)) == 50


# --- what lasts -------------------------------------------------------------------------------


def test_an_instance_is_sixteen_hex_digits(holder: Holder) -> None:
    assert len(holder.shelf.instance) == 16
    assert set(holder.shelf.instance) <= set("0123456789abcdef")


@pytest.mark.lasting
async def test_everything_taken_in_is_there_after_reopening(holder: Holder) -> None:
    assert holder.reopen is not None
    origin = holder.own.origin(Lane.CUSTODY)
    await holder.write(own([plain(n) for n in range(3)]))
    writing = Writing(holder.other).add(plain(0), private(1, b"one"))
    await holder.shelf.extend(writing.chunk(0, 1))
    await holder.shelf.extend(writing.chunk(1, 2))
    await holder.shelf.put_annexes(writing.origin, [(1, Annex(SALT, b"one", None))])
    note = (await holder.shelf.note(origin, 2)) or ""
    await holder.shelf.receive_receipt(origin, note + cosign(note, COSIGNER, 7), INSTANCE)
    logs, instance = await holder.shelf.logs(), holder.shelf.instance
    items = await holder.shelf.read(writing.origin, 0, 2)
    again = await holder.reopen()
    assert again.instance == instance
    assert await again.logs() == logs
    assert await again.read(writing.origin, 0, 2) == items
    assert await again.note(writing.origin, 1) == writing.note(1)
    assert (await held(again, origin)).cosigned == 2
    writing.add(plain(2))
    assert (await again.extend(writing.chunk(0, 3))).size == 3
