"""Pins that the store killed in any flush comes back with everything acknowledged, verified.

strace kills the process at the n-th fsync or fdatasync of a scripted history: creation of the
database, first lanes, commits, an erasure, the WAL emptied, and closing.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sync.entry import Lane
from sync.store import Store
from tests.fault.logs import IDENTITY, erasure, fill, fsck, private, record

NIGHT = os.environ.get("NIGHT") == "1"


async def history(path: Path) -> None:
    """Append, telling after each commit how many entries are acknowledged."""
    async with await Store.open(path, IDENTITY, ballast_bytes=4096) as store:
        for index in range(24 if NIGHT else 8):
            made = private(index, b"annex") if index % 2 else record(index)
            await store.append([made])
            print(index + 1, flush=True)
        index = store.next_index(Lane.CUSTODY)
        await store.append([erasure(index, 1), record(index + 1)])
        print(index + 2, flush=True)
        await store.tidy()


def killed_at(flush: int, path: Path) -> tuple[int, int]:
    """Run the history until a thread's n-th flush; return (exit status, entries acknowledged)."""
    # Not with --seccomp-bpf: there strace 6.1 kills at the first flush or never.
    command = [
        *("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync,fdatasync"),
        *("-e", f"inject=fsync,fdatasync:signal=KILL:when={flush}"),
        *(sys.executable, "-m", "tests.fault.test_store_kill", str(path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    told = done.stdout.split()
    return done.returncode, int(told[-1]) if told else 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("made", [False, True], ids=["creating", "committing"])
async def test_killed_at_each_flush_nothing_acknowledged_is_lost(
    tmp_path: Path, made: bool
) -> None:
    """strace counts flushes by thread: one thread makes a database, another commits to it."""
    acknowledged = killed = 0
    for flush in range(1, 200):
        path = tmp_path / str(flush) / "site.db"
        path.parent.mkdir()
        if made:
            await fill(path, [])
        status, acknowledged = await asyncio.to_thread(killed_at, flush, path)
        if path.exists():  # a test
            assert fsck(path).ok, flush
        async with await Store.open(path, IDENTITY, ballast_bytes=4096) as store:
            size = store.sizes[Lane.CUSTODY]
            assert size >= acknowledged, flush
            await store.append([record(size)])
        assert fsck(path).ok, flush
        if status == 0:
            break
        killed += 1
    print(f"killed at {killed} flushes")
    assert killed > 10
    assert acknowledged == (26 if NIGHT else 10)


async def test_the_folder_left_by_a_kill_during_creation_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    (tmp_path / "site.db.new").write_bytes(b"half")
    await fill(path, [record(0)])
    assert not (tmp_path / "site.db.new").exists()


if __name__ == "__main__":
    asyncio.run(history(Path(sys.argv[1])))
