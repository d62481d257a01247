"""The figure hub.ingest: entries a second that a hub verifies, stores and folds.

Four sites send a week each (`workload`) in segments of at most 512 entries: every entry parsed and
hashed, every segment's checkpoint verified, all stored durably, read back and folded into the
site's book as the hub does it. The limit is the same rows inserted and nothing else: by asyncpg
(unnest, on conflict do nothing) with as many tasks, or, where there is no server, by sqlite3, one
transaction a segment. A server of our own, fsync on; best of three, in turn, each in a process of
its own.
"""

import asyncio
import contextlib
import gc
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from certs.keys import SigningKey
from certs.note import Checkpoint, sign_checkpoint
from sync.commit import Identity
from sync.entry import Lane
from sync.hub.opening import open_storage
from sync.hub.projections import Projection
from sync.hub.storage import Storage
from sync.intake import CHUNK_ENTRIES_MAX, Chunk
from sync.merkle import Tree, leaf_hash
from sync.origin import Ring
from tests import postgres
from tests.bench import workload

Figure = dict[str, Any]
SITES = ("0042", "0043", "0044", "0045")
RUNS = 3
REFRESH_EVERY = 8
"""Segments between two looks at the book: a burst of a link that came back."""
GOAL = 0.25
GOAL_RATE = 5_000
TABLE = (
    "CREATE TABLE plain (site text NOT NULL, log integer NOT NULL, idx bigint NOT NULL,"
    " leaf {blob} NOT NULL, bytes {blob}, PRIMARY KEY (site, log, idx))"
)
UNNEST = (
    "INSERT INTO plain (site, log, idx, leaf, bytes) SELECT $1, $2, r.idx, r.leaf, r.bytes"
    " FROM unnest($3::bigint[], $4::bytea[], $5::bytea[]) AS r (idx, leaf, bytes)"
    " ON CONFLICT (site, log, idx) DO NOTHING"
)


def identity(site_id: str) -> Identity:
    return Identity("lockers.example", f"site/{site_id}", workload.EPOCH, site_id.encode() * 8)


def segments(site_id: str) -> list[Chunk]:
    """Return a site's week as signed segments, in about the order of writing."""
    who = identity(site_id)
    waiting: dict[Lane, list[bytes]] = {lane: [] for lane in Lane}
    trees = {lane: Tree() for lane in Lane}
    chunks: list[Chunk] = []

    def cut(lane: Lane) -> None:
        entries, waiting[lane] = tuple(waiting[lane]), []
        tree, first = trees[lane], trees[lane].size
        for data in entries:
            tree.append(leaf_hash(data))
        checkpoint = Checkpoint(who.origin(lane), tree.size, tree.root())
        note = sign_checkpoint(checkpoint, who.key(lane))
        chunks.append(Chunk(checkpoint.origin, first, entries, note))

    for one in workload.written(int(site_id)):
        waiting[one.lane].append(one.entry)
        if len(waiting[one.lane]) == CHUNK_ENTRIES_MAX:
            # Urgent and telemetry first: custody may cite them.
            for lane in (Lane.URGENT, Lane.TELEMETRY):
                if waiting[lane] and one.lane is Lane.CUSTODY:
                    cut(lane)
            cut(one.lane)
    for lane in (Lane.URGENT, Lane.TELEMETRY, Lane.CUSTODY):
        if waiting[lane]:
            cut(lane)
    return chunks


def with_leaves(chunks: list[Chunk]) -> list[tuple[Chunk, list[bytes]]]:
    """Add the leaf hashes, which the rows have too."""
    return [(chunk, [leaf_hash(data) for data in chunk.entries]) for chunk in chunks]


# --- children: one process each -----------------------------------------------------------------


async def ours(url: str) -> Figure:
    """Take in all weeks, each site by a task of its own."""
    storage = await open_storage(url, lambda: 0)
    work = {site_id: segments(site_id) for site_id in SITES}
    total = sum(len(chunk.entries) for chunks in work.values() for chunk in chunks)
    async with measured(total) as figure:
        await asyncio.gather(*(site(storage, name, chunks) for name, chunks in work.items()))
    await storage.close()
    return figure


async def site(storage: Storage, site_id: str, chunks: Iterable[Chunk]) -> None:
    """Take in segment after segment, and bring the site's book up to date now and then."""
    who = identity(site_id)
    writer = SigningKey.from_seed(f"{who.operator}/{who.writer}", who.seed)
    shelf = storage.shelf(site_id, Ring(writer.vkey))
    projection = Projection(site_id, shelf)
    total = 0
    for number, chunk in enumerate(chunks, 1):
        total += len(chunk.entries)
        await shelf.extend(chunk)
        if number % REFRESH_EVERY == 0:
            await projection.refresh()
    await projection.refresh()
    assert not projection.book.stopped, projection.book.stopped
    assert projection.folded == total


async def plain_postgres(url: str) -> Figure:
    import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  # only this child needs it

    work = {site_id: with_leaves(segments(site_id)) for site_id in SITES}
    pool = await asyncpg.create_pool(url)
    await pool.execute(TABLE.format(blob="bytea"))

    async def insert(site_id: str, chunks: list[tuple[Chunk, list[bytes]]]) -> None:
        for chunk, leaves in chunks:
            indices = list(range(chunk.first, chunk.size))
            log = len(chunk.origin)
            await pool.execute(UNNEST, site_id, log, indices, leaves, chunk.entries)

    total = sum(len(leaves) for chunks in work.values() for _, leaves in chunks)
    async with measured(total) as figure:
        await asyncio.gather(*(insert(*one) for one in work.items()))
    await pool.close()
    return figure


async def plain_sqlite(url: str) -> Figure:
    work = {site_id: with_leaves(segments(site_id)) for site_id in SITES}
    total = sum(len(leaves) for chunks in work.values() for _, leaves in chunks)
    path = url.removeprefix("sqlite://")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(TABLE.format(blob="blob"))
        async with measured(total) as figure:
            for site_id, chunks in work.items():
                for chunk, leaves in chunks:
                    place = (site_id, len(chunk.origin))
                    pairs = enumerate(zip(leaves, chunk.entries, strict=True), chunk.first)
                    rows = [(*place, index, *pair) for index, pair in pairs]
                    connection.execute("BEGIN IMMEDIATE")
                    connection.executemany(
                        "INSERT INTO plain VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows
                    )
                    connection.execute("COMMIT")
    return figure


@contextlib.asynccontextmanager
async def measured(entries: int) -> AsyncIterator[Figure]:
    figure: Figure = {"entries": entries}
    gc.collect()
    gc.freeze()  # what the measurement itself has made is not to be walked through again
    wall, cpu = time.monotonic(), time.process_time()
    yield figure
    figure["cpu_us"] = (time.process_time() - cpu) / entries * 1e6
    figure["rate"] = entries / (time.monotonic() - wall)


CHILDREN = {"ours": ours, "plain-postgres": plain_postgres, "plain-sqlite": plain_sqlite}


def child(kind: str, url: str) -> Figure:
    command = [sys.executable, "-m", "tests.bench.hub", kind, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figure: Figure = json.loads(done.stdout.splitlines()[-1])
    return figure


# --- figures ------------------------------------------------------------------------------------


def ingest() -> Iterator[Figure]:
    """On each storage: the rate against the bare insert, and against the floor of MEASURES."""
    folder = Path(tempfile.mkdtemp(prefix="bench-hub-"))
    try:
        server = postgres.make(durable=True)
    except RuntimeError as error:
        print(f"hub.ingest.postgres is left out: {error}", file=sys.stderr)
        server = None
    try:
        yield from figures(folder, server)
    finally:
        shutil.rmtree(folder)
        if server is not None:
            server.stop()


def figures(folder: Path, server: postgres.Server | None) -> Iterator[Figure]:
    """Yield the figures of each storage that is there, measured in turn."""

    def sqlite_url() -> str:
        return f"sqlite://{tempfile.mkdtemp(dir=folder)}/hub.db"

    def postgres_url() -> str:
        assert server is not None
        return asyncio.run(postgres.fresh_in(server))

    kinds = {"sqlite": ("ours", sqlite_url), "limit": ("plain-sqlite", sqlite_url)}
    limit_is = "by sqlite3"
    if server is not None:
        kinds |= {"postgres": ("ours", postgres_url), "limit": ("plain-postgres", postgres_url)}
        limit_is = "by asyncpg (unnest, on conflict do nothing)"
    best: dict[str, Figure] = {}
    for _ in range(RUNS):
        for name, (kind, url) in kinds.items():
            found = child(kind, url())
            best[name] = max(best.get(name, found), found, key=lambda one: float(one["rate"]))
    limit = best.pop("limit")
    for name, mine in sorted(best.items()):
        how = (
            f"{mine['entries']} entries of {len(SITES)} sites, segments of {CHUNK_ENTRIES_MAX},"
            f" {os.cpu_count()} cores; our CPU {mine['cpu_us']:.0f} us an entry; limit:"
        )
        what = f"the same rows inserted {limit_is} and nothing else"
        yield row(f"hub.ingest.{name}", mine, limit["rate"], GOAL, f"{how} {what}")
        what = "what a hub of 2 cores must take"
        yield row(f"hub.ingest.{name}.rate", mine, GOAL_RATE, 1, f"{how} {what}")


def row(name: str, mine: Figure, limit: float, goal: float, how: str) -> Figure:
    return {
        "name": name,
        "ours": round(mine["rate"]),
        "limit": round(limit),
        "ratio": round(mine["rate"] / limit, 3),
        "unit": "entries/s",
        "goal": goal,
        "how": how,
    }


FIGURES: dict[str, Callable[[], Iterator[Figure]]] = {"hub.ingest": ingest}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(CHILDREN[sys.argv[1]](sys.argv[2]))))
