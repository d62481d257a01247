"""The figures log.commit, log.group and log.verify: the durable signed log beside plain SQLite.

Rates are taken with the flush made 10 ms long by strace (a development machine's flushes lie about
an SD card); ours and the plain one run in turn, each in a process of its own, on the same disk.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sync import canonical
from sync.entry import Lane
from sync.fsck import verify
from sync.merkle import leaf_hash
from sync.reader import LogFile
from sync.roots import Source
from sync.store import Identity, Record, Store

Figure = dict[str, Any]

FLUSH_US = 10_000
YEAR = 365_000
IDENTITY = Identity("lockers.example", "site/0042", "e1-9f2c01ab", bytes(range(32)))
LANES = (Lane.CUSTODY, Lane.TELEMETRY, Lane.CUSTODY, Lane.URGENT)


def entry(number: int, index: int) -> bytes:
    """Return an entry of about 230 bytes, like those of a working site."""
    body: dict[str, object] = {
        "kind": ("door.opened", "health.sampled", "open.intended", "alarm.raised")[number % 4],
        "at": [1 + number // 50_000, number * 86_400],
        "door": 1 + number % 96,
        "by": f"code/{hashlib.sha256(b'%d' % number).hexdigest()[:40]}",
        "purpose": "collect",
        "why": "asked",
        "took_ms": 300 + number % 97,
    }
    if index > 8:
        body["of"] = f"e1-9f2c01ab:s{LANES[number % 4].letter}{index - 5}"
    return canonical.encode(body)


def batches(total: int, size: int, counts: dict[Lane, int]) -> Iterator[list[Record]]:
    """Yield `total` records, `size` at a time, with the next index of each lane."""
    for start in range(0, total, size):
        batch = []
        for number in range(start, min(start + size, total)):
            lane = LANES[number % 4] if size > 1 else Lane.CUSTODY
            batch.append(Record(lane, counts[lane], entry(number, counts[lane])))
            counts[lane] += 1
        yield batch


# --- children: one process each, under strace ---------------------------------------------------


async def ours(folder: Path, commits: int, size: int) -> Figure:
    async with await Store.open(folder / "site.db", IDENTITY) as store:
        work = list(batches(commits * size, size, dict(store.sizes)))
        with measured(commits * size) as figure:
            for batch in work:
                await store.append(batch)
    return figure


async def ours_group(folder: Path, producers: int, each: int) -> Figure:
    work = [Record(Lane.CUSTODY, index, entry(index, index)) for index in range(producers * each)]
    async with await Store.open(folder / "site.db", IDENTITY) as store:

        async def produce() -> None:
            for _ in range(each):
                await store.append([work[store.next_index(Lane.CUSTODY)]])

        with measured(producers * each) as figure:
            await asyncio.gather(*(produce() for _ in range(producers)))
    return figure


def plain(folder: Path, commits: int, size: int) -> Figure:
    with contextlib.closing(
        sqlite3.connect(folder / "plain.db", isolation_level=None)
    ) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, leaf BLOB, bytes BLOB)")
        work = list(batches(commits * size, size, dict.fromkeys(Lane, 0)))
        hashes = [[leaf_hash(record.entry) for record in batch] for batch in work]
        number = 0
        with measured(commits * size) as figure:
            for batch, leaves in zip(work, hashes, strict=True):
                rows = []
                for record, leaf in zip(batch, leaves, strict=True):
                    rows.append((number, leaf, record.entry))
                    number += 1
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
                connection.execute("COMMIT")
    return figure


@contextlib.contextmanager
def measured(facts: int) -> Iterator[Figure]:
    """Measure wall time, CPU time and bytes written; a mark in the trace cuts off the rest."""
    figure: Figure = {}
    os.access("/begin-of-measure", os.F_OK)
    before, wall, cpu = written(), time.monotonic(), time.process_time()
    yield figure
    figure["cpu_s"] = time.process_time() - cpu
    figure["rate"] = facts / (time.monotonic() - wall)
    figure["bytes"] = written() - before
    os.access("/end-of-measure", os.F_OK)


def written() -> int:
    """Return the bytes that this process has handed to write calls."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    return 0


def child(kind: str, first: int, second: int, *, slow: bool = True) -> Figure:
    """Run one measurement in a process of its own, with slow flushes, and count the flushes."""
    folder = Path(tempfile.mkdtemp(prefix="bench-log-"))
    trace = folder / "trace"
    command = [sys.executable, "-m", "tests.bench.log", kind, str(folder), str(first), str(second)]
    if slow:
        calls = "fdatasync,fsync"
        command = [
            *("strace", "-f", "--seccomp-bpf", "-o", str(trace), "-e", f"trace={calls},access"),
            *("-e", f"inject={calls}:delay_exit={FLUSH_US}", *command),
        ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        figure: Figure = json.loads(done.stdout.splitlines()[-1])
        if slow:
            part = trace.read_text().split("/begin-of-measure")[1].split("/end-of-measure")[0]
            figure["flushes"] = part.count("sync(")
        return figure
    finally:
        shutil.rmtree(folder)


# --- figures -----------------------------------------------------------------------------------


def log_commit() -> Iterator[Figure]:
    """Durable signed commits of 1, 10 and 100 facts: rate, flushes, CPU and bytes."""
    slow = shutil.which("strace") is not None
    how = f"flush made {FLUSH_US // 1000} ms" if slow else "no strace here: flush as it is"
    for size, goal in ((1, 0.8), (10, 0.6), (100, 0.5)):
        commits = 100 if size > 1 else 200
        mine = child("ours", commits, size, slow=slow)
        other = child("plain", commits, size, slow=slow)
        yield figure(
            f"log.commit.{size}",
            mine["rate"],
            other["rate"],
            "facts/s",
            goal,
            f"{how}; plain SQLite, same rows, WAL and FULL",
        )
        if slow:
            yield figure(
                f"log.commit.{size}.flushes",
                mine["flushes"] / commits,
                1,
                "flushes a commit",
                1,
                "strace counts fsync and fdatasync",
            )
        yield figure(
            f"log.commit.{size}.cpu",
            child("ours", commits, size, slow=False)["cpu_s"] / commits * 1000,
            1,
            "CPU ms a commit",
            1,
            "process time, signatures and threads included",
        )
        yield figure(
            f"log.commit.{size}.bytes",
            mine["bytes"] / commits / 1024,
            13.5 if size == 1 else other["bytes"] / commits / 1024,
            "KiB written a commit",
            1 if size == 1 else 2,
            "wchar of the process; limit: the wear of MEASURES for 1, plain SQLite for more",
        )


def log_group() -> Iterator[Figure]:
    """256 producers, each waiting for its own fact, against plain batches of the same size."""
    slow = shutil.which("strace") is not None
    mine, other = child("group", 256, 12, slow=slow), child("plain", 12, 256, slow=slow)
    how = f"256 producers, flush made {FLUSH_US // 1000} ms; plain SQLite in batches of 256"
    yield figure("log.group", mine["rate"], other["rate"], "facts/s", 0.6, how)


def log_verify() -> Iterator[Figure]:
    """A year of entries verified, beside reading and hashing the same bytes."""
    folder = Path(tempfile.mkdtemp(prefix="bench-log-"))
    try:
        asyncio.run(build(folder / "site.db", YEAR))
        results = [child_of(kind, folder) for kind in ("verify", "floor") * 3]
        mine = min(result["cpu_s"] for result in results[::2])
        floor = min(result["cpu_s"] for result in results[1::2])
        how = f"{YEAR} entries; CPU; limit is SELECT of every row and SHA-256 of its bytes"
        yield figure("log.verify", mine, floor, "s", 4, how)
        grown = max(result["rss_kib"] for result in results[::2])
        base = results[0]["rss_before_kib"]
        yield figure(
            "log.verify.rss", grown / 1024, base / 1024, "MiB", 1.5, "peak against after import"
        )
    finally:
        shutil.rmtree(folder)


async def build(path: Path, total: int) -> None:
    """Write a log of `total` entries in commits of 500."""
    async with await Store.open(path, IDENTITY) as store:
        for batch in batches(total, 500, dict(store.sizes)):
            await store.append(batch)


def child_of(kind: str, folder: Path) -> Figure:
    command = [sys.executable, "-m", "tests.bench.log", kind, str(folder), "0", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figure: Figure = json.loads(done.stdout.splitlines()[-1])
    return figure


def verify_file(folder: Path) -> Figure:
    before, cpu = peak_kib(), time.process_time()
    with LogFile.open(folder / "site.db") as file:
        sources = [Source(head, file.kept(head), file.stored_nodes(head)) for head in file.heads()]
        report = verify(sources, file.pages(), strays=file.strays())
    assert report.ok, report.findings[:3]
    assert sum(log.entries for log in report.logs) == YEAR
    used = time.process_time() - cpu
    return {"cpu_s": used, "rss_kib": peak_kib(), "rss_before_kib": before}


def floor_of_file(folder: Path) -> Figure:
    cpu = time.process_time()
    with contextlib.closing(sqlite3.connect(folder / "site.db")) as connection:
        sha256 = hashlib.sha256
        for (data,) in connection.execute("SELECT bytes FROM entry ORDER BY id"):
            sha256(data).digest()
    return {"cpu_s": time.process_time() - cpu}


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def figure(  # noqa: PLR0917  # the columns of a table
    name: str, mine: float, limit: float, unit: str, goal: float, how: str
) -> Figure:
    return {
        "name": name,
        "ours": round(mine, 3),
        "limit": round(limit, 3),
        "ratio": round(mine / limit, 3),
        "unit": unit,
        "goal": goal,
        "how": how,
    }


FIGURES: dict[str, Callable[[], Iterator[Figure]]] = {
    "log.commit": log_commit,
    "log.group": log_group,
    "log.verify": log_verify,
}


def main(kind: str, folder: Path, first: int, second: int) -> None:
    """Be one of the children."""
    if kind == "ours":
        result = asyncio.run(ours(folder, first, second))
    elif kind == "group":
        result = asyncio.run(ours_group(folder, first, second))
    elif kind == "plain":
        result = plain(folder, first, second)
    elif kind == "verify":
        result = verify_file(folder)
    else:
        result = floor_of_file(folder)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
