"""Pins the overlap of a log key: two signature lines, the log's own key first, in any bearer."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from certs.keys import SigningKey, Verifier
from certs.note import open_checkpoint, parse_note
from sync.entry import Lane
from sync.errors import OursBroken, TheirsInvalid
from sync.intake import Chunk
from sync.origin import Ring
from sync.store import Store
from tests.fault.logs import IDENTITY, fill, fsck, record
from tests.shelf_memory import MemoryShelf

NEXT_SEED = bytes(range(40, 72))
BOTH = replace(IDENTITY, next_seed=NEXT_SEED)
ORIGIN = IDENTITY.origin(Lane.CUSTODY)
OLD = IDENTITY.key(Lane.CUSTODY).verifier
NEW = SigningKey.from_seed(ORIGIN, NEXT_SEED).verifier


def signers(note: str) -> list[bytes]:
    return [line.key_id for line in parse_note(note)[1]]


def vkey(seed: bytes) -> str:
    return SigningKey.from_seed("lockers.example/site/0042", seed).vkey


async def test_every_checkpoint_of_the_overlap_verifies_by_either_key(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    await fill(path, [record(0)])
    async with await Store.open(path, BOTH, ballast_bytes=4096) as store:
        await store.append([record(index) for index in range(1, 600)])
        await store.append([record(600)])
        notes = [store.checkpoint(Lane.CUSTODY)]
        notes += [str(await store.note(ORIGIN, size)) for size in (600, 300, 2)]
        for note in notes:
            assert signers(note) == [OLD.key_id, NEW.key_id]
            assert open_checkpoint(note, OLD) == open_checkpoint(note, NEW)
            assert open_checkpoint(note, OLD, NEW).origin == ORIGIN
        # What the old key alone signed stays as it is.
        assert signers(str(await store.note(ORIGIN, 1))) == [OLD.key_id]
        head = await store.log(ORIGIN)
        assert head is not None
        assert head.vkey == OLD.vkey
    assert fsck(path).ok
    async with await Store.open(path, IDENTITY, ballast_bytes=4096) as store:
        await store.append([record(601)])
        assert signers(store.checkpoint(Lane.CUSTODY)) == [OLD.key_id]
    assert fsck(path).ok


async def test_a_running_store_begins_the_overlap_with_its_next_commit(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "site.db", IDENTITY, ballast_bytes=4096) as store:
        await store.append([record(0)])
        assert signers(store.checkpoint(Lane.CUSTODY)) == [OLD.key_id]
        store.sign_also(NEXT_SEED)
        await store.append([record(1)])
        assert signers(store.checkpoint(Lane.CUSTODY)) == [OLD.key_id, NEW.key_id]
        assert NEXT_SEED.hex() not in repr(BOTH)
    async with await Store.open(tmp_path / "site.db", ballast_bytes=4096) as store:
        with pytest.raises(OursBroken):
            store.sign_also(NEXT_SEED)


async def test_an_epoch_that_begins_in_the_overlap_is_signed_by_both_from_its_first_note(
    tmp_path: Path,
) -> None:
    async with await Store.open(tmp_path / "site.db", BOTH, ballast_bytes=4096) as store:
        assert (
            signers(store.checkpoint(Lane.URGENT))[0] == IDENTITY.key(Lane.URGENT).verifier.key_id
        )
        assert len(signers(store.checkpoint(Lane.URGENT))) == 2
    assert fsck(tmp_path / "site.db").ok


@pytest.mark.parametrize(
    "known", [[IDENTITY.seed], [IDENTITY.seed, NEXT_SEED]], ids=["old", "both"]
)
async def test_who_knows_the_old_key_or_both_takes_in_what_both_signed(
    tmp_path: Path, known: Sequence[bytes]
) -> None:
    """By plain pull the note comes whole; a session carries the one line of the log's own key."""
    async with await Store.open(tmp_path / "site.db", BOTH, ballast_bytes=4096) as store:
        await store.append([record(0), record(1)])
        whole = store.checkpoint(Lane.CUSTODY)
        one_line = whole.rpartition("\u2014")[0]
        for note in (whole, one_line):
            shelf = MemoryShelf(ring=Ring(*map(vkey, known)))
            await shelf.extend(_chunk(note))
            log = await shelf.log(ORIGIN)
            assert log is not None
            assert Verifier.from_vkey(log.vkey) == OLD
    with pytest.raises(TheirsInvalid):
        await MemoryShelf(ring=Ring(vkey(bytes(32)))).extend(_chunk(whole))


def _chunk(note: str) -> Chunk:
    return Chunk(ORIGIN, 0, (record(0).entry, record(1).entry), note)
