"""What the fault tests of the shelf share: a history of everything it does, and how far it got."""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from certs.keys import KIND_COSIGNATURE, SigningKey
from certs.note import Checkpoint, cosign, sign_checkpoint
from sync.commit import Identity
from sync.entry import Lane, compose, private_hash
from sync.intake import Chunk
from sync.merkle import Tree, leaf_hash
from sync.moment import Moment
from sync.origin import Ring
from sync.rows import Annex, Record
from sync.store import Store
from tests.fault.logs import IDENTITY, SALT, entry, erasure, private, record

HUB = Identity("lockers.example", "hub/0042", "e1-0000000a", bytes(range(32, 64)))
LOST = Identity(IDENTITY.operator, IDENTITY.writer, "e7-00000001", IDENTITY.seed)
COSIGNER = SigningKey.from_seed("lockers.example/hub/0042/cosigner", bytes(32), KIND_COSIGNATURE)
STORE = "00000000000000a1"
OWN, THEIRS = IDENTITY.origin(Lane.CUSTODY), HUB.origin(Lane.CUSTODY)
LOG = str(IDENTITY.log(Lane.CUSTODY))


class Reached(NamedTuple):
    """How far a store is, by everything that may be acknowledged; each only grows."""

    own: int
    theirs: int
    lost: int
    annexes: int
    cosigned: int
    oldest: int
    boot: int
    book: int


async def opened(path: Path, **more: Any) -> Store:
    writer = SigningKey.from_seed("lockers.example/hub/0042", HUB.seed)
    known: dict[str, Any] = {
        "ring": Ring(writer.vkey),
        "cosigners": [COSIGNER.verifier],
        "ballast_bytes": 4096,
    }
    return await Store.open(path, IDENTITY, **{**known, **more})


def theirs(index: int) -> bytes:
    """Return an entry of the hub's: with an annex to come, erasing one of ours, or plain."""
    if index % 5 == 2:
        annex = private_hash(SALT, b"theirs %d" % index)
        return compose({"kind": "parcel.expected"}, at=Moment(1, index), private=annex)
    if index == 6:
        fact = {"kind": "annex.erased", "by": "test", "of": f"{LOG}3"}
        return compose(fact, at=Moment(1, index))
    return entry(index, note="x" * 200)


def chunk(who: Identity, first: int, count: int) -> Chunk:
    """Return entries of another writer with the checkpoint of the size they lead to."""
    key, tree = who.key(Lane.CUSTODY), Tree()
    entries = [theirs(index) for index in range(first + count)]
    for data in entries:
        tree.append(leaf_hash(data))
    note = sign_checkpoint(Checkpoint(key.name, tree.size, tree.root()), key)
    return Chunk(key.name, first, tuple(entries[first:]), note)


def taken(index: int, size: int) -> tuple[Record, bytes]:
    """Return the entry of a snapshot that covers `size` own entries, and the book."""
    book = b"the book at %d" % size * 50
    digest = base64.b64encode(hashlib.sha256(book).digest()).decode()
    fact = {"kind": "snapshot.taken", "fold": 1, "lanes": {LOG: size}, "sha256": digest}
    return Record(Lane.CUSTODY, index, compose(fact, at=Moment(1, index))), book


async def reached(store: Store) -> Reached:
    """Return how far this store is, as it tells it itself."""
    own, hub = await store.log(OWN), await store.log(THEIRS)
    lost, book = await store.log(LOST.origin(Lane.CUSTODY)), await store.latest_snapshot()
    held = await store.read(THEIRS, 0, 500) if hub else []
    return Reached(
        own.size if own else 0,
        hub.size if hub else 0,
        lost.size if lost else 0,
        sum(one.annex is not None for one in held),
        own.cosigned if own else 0,
        own.oldest if own else 0,
        store.boot or 0,
        book.index if book else 0,
    )


async def history(store: Store, mark: Callable[[Reached], None], rounds: int) -> None:
    """Do all that a shelf does, a few times over, and tell after each thing how far it is."""

    async def done(*steps: Any) -> None:
        await asyncio.gather(*steps)
        mark(await reached(store))

    for turn in range(rounds):
        at, hub = store.next_index(Lane.CUSTODY), 7 * turn
        mine = [private(at, b"mine %d" % at), *(record(at + n) for n in range(1, 6))]
        await done(store.append(mine), store.extend(chunk(HUB, hub, 4)))
        await done(store.extend(chunk(HUB, hub + 4, 3)), store.mark_boot(turn + 1))
        await done(store.extend(chunk(LOST, 2 * turn, 2)), store.append([record(at + 6)]))
        awaited = [n for n in range(hub, hub + 7) if n % 5 == 2]
        annexes = [(n, Annex(SALT, b"theirs %d" % n, None)) for n in awaited]
        await done(store.put_annexes(THEIRS, annexes))
        entries, book = taken(at + 7, at + 4)
        await done(store.append([entries], snapshot=book))
        note = await store.note(OWN, at + 6) or ""
        await done(store.receive_receipt(OWN, note + cosign(note, COSIGNER, turn), STORE))
        await done(store.prune(OWN, at + 3, hub=STORE, older=at + 3, cited=[]))
        if turn == 0:
            await done(store.append([erasure(at + 8, at)]))
        else:
            await done(store.append([record(at + 8)]), store.tidy())
