"""Pins that a power cut or a kill loses nothing that a shelf acknowledged, and leaves it whole.

Acknowledged are: entries of others, annexes, receipts, marks, books, and that something is pruned.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sync.entry import Lane
from tests.fault.logs import fsck, record
from tests.fault.recording import Recording, recorded_connect
from tests.fault.shelves import HUB, Reached, chunk, history, opened, reached

NIGHT = os.environ.get("NIGHT") == "1"
EACH, ROUNDS = (12, 6) if NIGHT else (1, 3)
SEED = int(os.environ.get("SEED", "1"))


async def script(
    folder: Path, synchronous: str
) -> tuple[dict[str, bytes], Recording, list[Reached]]:
    path = folder / "site.db"
    async with await opened(path):
        pass
    base = {"site.db": path.read_bytes()}
    recording = Recording()
    marks: list[Reached] = [Reached(0, 0, 0, 0, 0, 0, 0, 0)]

    def mark(found: Reached) -> None:
        marks.append(found)
        recording.mark(len(marks) - 1)

    connect = recorded_connect(recording, f"shelf-{synchronous}-{id(recording)}", synchronous)
    async with await opened(path, connect=connect) as store:
        await history(store, mark, ROUNDS)
    return base, recording, marks


async def sweep(folder: Path, synchronous: str) -> Counter[str]:
    base, recording, marks = await script(folder, synchronous)
    images = folder / "images"
    images.mkdir()
    seen: Counter[str] = Counter()
    for number, (acknowledged, files) in enumerate(recording.images(base, SEED, EACH)):
        for left in images.glob("site.db*"):
            left.unlink()
        for name, data in files.items():
            (images / name).write_bytes(data)
        path, promised = images / "site.db", marks[acknowledged]
        report = fsck(path)
        async with await opened(path) as store:
            found = await reached(store)
            if number % 5 == 0:
                await store.append([record(found.own)])
                await store.extend(chunk(HUB, found.theirs, 3))
        kept = all(one >= other for one, other in zip(found, promised, strict=True))
        seen["images"] += 1
        seen["bad"] += not report.ok
        seen["lost"] += not kept
        if synchronous == "FULL":
            assert report.ok, (SEED, number, report.findings[:3])
            assert kept, (SEED, number, promised, found)
            assert number % 5 or fsck(path).ok
    return seen


async def test_no_image_of_a_power_cut_loses_what_a_shelf_acknowledged(tmp_path: Path) -> None:
    seen = await sweep(tmp_path, "FULL")
    print(f"power cut of a shelf, FULL: {dict(seen)}")
    assert seen["images"] > 200
    assert seen["lost"] == seen["bad"] == 0


async def test_the_harness_has_teeth_for_a_shelf(tmp_path: Path) -> None:
    """synchronous=NORMAL does not flush each commit: what was acknowledged is lost."""
    seen = await sweep(tmp_path, "NORMAL")
    print(f"power cut of a shelf, NORMAL: {dict(seen)}")
    assert seen["lost"] > 10


async def told(path: Path) -> None:
    async with await opened(path) as store:
        await history(store, lambda found: print(*found, flush=True), 1)


def killed_at(flush: int, path: Path) -> tuple[int, Reached]:
    """Run the history until a thread's n-th flush; return (exit status, last acknowledged)."""
    command = [
        *("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync,fdatasync"),
        *("-e", f"inject=fsync,fdatasync:signal=KILL:when={flush}"),
        *(sys.executable, "-m", "tests.fault.test_store_shelf_cut", str(path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    lines = done.stdout.splitlines()
    last = map(int, lines[-1].split()) if lines else [0] * len(Reached._fields)
    return done.returncode, Reached(*last)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_killed_at_each_flush_a_shelf_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    killed, flush = 0, 0
    while True:
        flush += 1
        path = tmp_path / str(flush) / "site.db"
        path.parent.mkdir()
        async with await opened(path):
            pass
        status, promised = await asyncio.to_thread(killed_at, flush, path)
        assert fsck(path).ok, flush
        async with await opened(path) as store:
            found = await reached(store)
            kept = [one >= other for one, other in zip(found, promised, strict=True)]
            assert all(kept), (flush, promised, found)
            await store.append([record(store.next_index(Lane.CUSTODY))])
            await store.extend(chunk(HUB, found.theirs, 3))
        assert fsck(path).ok, flush
        if status == 0:
            break
        killed += 1
        assert flush < 100
    print(f"killed at {killed} flushes")
    assert killed > 8
    assert promised == Reached(9, 7, 2, 1, 6, 3, 1, 7)


if __name__ == "__main__":
    asyncio.run(told(Path(sys.argv[1])))
