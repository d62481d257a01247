"""Pins what a store holds of others, whatever the order of arrival, repetition and reopening.

The model is two dictionaries: a log is the longest beginning that came, an annex is there unless an
entry that is held erases it.
"""

import asyncio
import sqlite3
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.note import Checkpoint, sign_checkpoint
from sync import database
from sync.commit import Identity
from sync.entry import Lane, LaneRef, Ref, compose, may_erase, parse, private_hash
from sync.errors import TheirsInvalid
from sync.intake import Chunk
from sync.merkle import Tree, leaf_hash
from sync.moment import Moment
from sync.rows import Annex, Record
from sync.store import Store
from tests.contract.shelves import HUB, SITE, ring
from tests.fault.logs import fsck

SALT = bytes(16)
LOST = Identity(SITE.operator, SITE.writer, "e1-00000001", SITE.seed)
WRITERS = ((HUB, Lane.CUSTODY), (HUB, Lane.URGENT), (LOST, Lane.CUSTODY))
LENGTH = 4
OWN = SITE.log(Lane.CUSTODY)


class Bring(NamedTuple):
    """Entries [first, stop) of a log arrive."""

    log: int
    first: int
    stop: int


class Show(NamedTuple):
    """The annexes from an entry on arrive."""

    log: int
    at: int


class Write(NamedTuple):
    """The site writes an entry of its own, with an annex."""


class Reopen(NamedTuple):
    """The store is closed and opened."""


SPANS = st.sampled_from([(0, 0), (0, 1), (0, 2), (0, LENGTH), (1, 3), (2, LENGTH), (3, LENGTH)])
STEPS = st.lists(
    st.one_of(
        st.builds(lambda log, span: Bring(log, *span), st.integers(0, 2), SPANS),
        st.builds(Show, st.integers(0, 2), st.integers(0, LENGTH - 1)),
        st.builds(Write),
        st.builds(Reopen),
    ),
    max_size=14,
)
TARGETS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 3), st.integers(0, LENGTH)),
    st.tuples(st.integers(0, 2), st.integers(0, LENGTH - 1)),
    st.just((4, 10**14)),
)
LOGS = st.lists(st.lists(TARGETS, min_size=LENGTH, max_size=LENGTH), min_size=3, max_size=3)


def name(log: int) -> LaneRef:
    """Return one of the three logs, the own one, or one that nobody ever brings."""
    if log < len(WRITERS):
        who, lane = WRITERS[log]
        return who.log(lane)
    return OWN if log == len(WRITERS) else LaneRef("e9-00000000", OWN.writer, OWN.lane)


def written(log: int, targets: list[tuple[int, int] | None]) -> list[bytes]:
    """Return the entries of a log: each erases its target's annex, or has an annex of its own."""
    entries = []
    for index, target in enumerate(targets):
        at = Moment(1, index)
        if target is None or (target[0] == log and target[1] >= index):
            annex = private_hash(SALT, b"%d %d" % (log, index))
            entries.append(compose({"kind": "parcel.expected"}, at=at, private=annex))
        else:
            of = f"{name(target[0])}{target[1]}"
            entries.append(compose({"kind": "annex.erased", "by": "x", "of": of}, at=at))
    return entries


def brought(log: int, entries: list[bytes], step: Bring) -> Chunk:
    who, lane = WRITERS[log]
    tree = Tree()
    for data in entries[: step.stop]:
        tree.append(leaf_hash(data))
    key = who.key(lane)
    note = sign_checkpoint(Checkpoint(key.name, step.stop, tree.root()), key)
    return Chunk(key.name, step.first, tuple(entries[step.first : step.stop]), note)


def quick(path: Path) -> sqlite3.Connection:
    """Open the writing connection without flushes: what is pinned here is no durability."""
    connection = database.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    return connection


async def opened(path: Path) -> Store:
    return await Store.open(path, SITE, ring=ring(), ballast_bytes=1, connect=quick)


async def lived(folder: Path, logs: list[list[bytes]], steps: list[object]) -> None:
    path = folder / "site.db"
    sizes, shown, own = [0, 0, 0], set[Ref](), 0
    store = await opened(path)
    for step in steps:
        if isinstance(step, Bring) and step.first <= step.stop:
            size = sizes[step.log]
            try:
                told = await store.extend(brought(step.log, logs[step.log], step))
            except TheirsInvalid:
                assert step.first > size
            else:
                sizes[step.log] = max(size, step.stop)
                assert told.size == sizes[step.log]
        elif isinstance(step, Show):
            who, lane = WRITERS[step.log]
            for index in range(step.at, LENGTH):
                annex = Annex(SALT, b"%d %d" % (step.log, index), None)
                fits = index < sizes[step.log] and parse(logs[step.log][index]).private
                try:
                    await store.put_annexes(who.origin(lane), [(index, annex)])
                except TheirsInvalid:
                    assert not fits
                else:
                    assert fits
                    shown.add(ref(name(step.log), index))
        elif isinstance(step, Write):
            data = compose({"kind": "parcel.expected"}, at=Moment(1, own), private=private_hash(SALT, b"own"))  # fmt: skip  # noqa: E501  # one entry
            await store.append([Record(Lane.CUSTODY, own, data, b"own", SALT)])
            shown.add(ref(OWN, own))
            own += 1
        elif isinstance(step, Reopen):
            await store.close()
            store = await opened(path)
    erased = {
        of
        for log, entries in enumerate(logs)
        for data in entries[: sizes[log]]
        if parse(data).kind == "annex.erased"
        and (of := parse(data).of) is not None
        and may_erase(name(log).writer, of.log)
    }
    async with store:
        await agrees(store, [*zip(range(3), logs, sizes, strict=True)], shown, erased)
    report = fsck(path)
    assert report.ok, report.findings


def ref(log: LaneRef, index: int) -> Ref:
    return Ref(log.epoch, log.writer, log.lane, index)


async def agrees(
    store: Store,
    held: list[tuple[int, list[bytes], int]],
    shown: set[Ref],
    erased: set[Ref],
) -> None:
    """Compare every log with the model: entries, annexes, marks, and what is awaited first."""
    for log, entries, size in held:
        who, lane = WRITERS[log]
        origin = who.origin(lane)
        if await store.log(origin) is None:
            assert size == 0
            continue
        items = await store.read(origin, 0, 99)
        assert [one.entry for one in items] == entries[:size]
        owed = []
        for one in items:
            here = ref(name(log), one.index)
            if here in erased:
                assert one.annex is not None
                assert one.annex.data is None
            elif here in shown:
                assert one.annex == Annex(SALT, b"%d %d" % (log, one.index), None)
            else:
                assert one.annex is None
                owed += [one.index] if parse(one.entry).private else []
        assert await store.annexes_from(origin) == (owed or [size])[0]
    for one in await store.read(SITE.origin(Lane.CUSTODY), 0, 99):
        assert one.annex is not None
        assert (one.annex.data is None) == (ref(OWN, one.index) in erased)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("empty") / "site.db"

    async def made() -> None:
        await (await opened(path)).close()

    asyncio.run(made())
    return path.read_bytes()


@given(logs=LOGS, steps=STEPS)
def test_a_shelf_is_what_came_whatever_the_order(
    empty: bytes, logs: list[list[tuple[int, int] | None]], steps: list[object]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "site.db").write_bytes(empty)
        entries = [written(log, targets) for log, targets in enumerate(logs)]
        asyncio.run(lived(Path(folder), entries, steps))
