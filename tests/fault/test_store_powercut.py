"""Pins that a power cut at any moment loses nothing acknowledged and leaves a log that verifies.

The images come from a recording of the real store: unflushed writes lost, reordered and torn. The
same harness finds acknowledged entries lost with synchronous=NORMAL, so it has teeth.
"""

import asyncio
import os
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from sync.entry import Lane
from sync.errors import StoreFailed
from sync.rows import Record
from sync.store import Store
from tests.fault.logs import IDENTITY, erasure, fill, fsck, private, record
from tests.fault.recording import Recording, recorded_connect

NIGHT = os.environ.get("NIGHT") == "1"
EACH = 40 if NIGHT else 2
SEED = int(os.environ.get("SEED", "1"))


async def script(folder: Path, synchronous: str) -> tuple[dict[str, bytes], Recording]:
    """Run a history on a recording disk: commits of 1 to 9, annexes, erasures, WAL emptied."""
    path = folder / "site.db"
    await fill(path, [record(0)])
    base = {"site.db": path.read_bytes()}  # a test
    recording = Recording()
    name = f"recording-{synchronous}-{id(recording)}"
    connect = recorded_connect(recording, name, synchronous)
    async with await Store.open(path, IDENTITY, ballast_bytes=4096, connect=connect) as store:
        number = 1
        recording.mark(number)
        for commit in range(40):
            batch: list[Record] = []
            for _ in range(1 + commit % 9 if commit % 3 == 0 else 1):
                index = number + len(batch)
                batch.append(private(index, b"x" * 50) if index % 7 == 1 else record(index))
            if commit in {20, 30}:
                batch.append(erasure(number + len(batch), commit - 19 if commit == 20 else 8))
            await store.append(batch)
            number += len(batch)
            recording.mark(number)
            if commit % 15 == 14:
                await store.tidy()
    return base, recording


async def examine(files: dict[str, bytes], folder: Path, *, deep: bool) -> tuple[str, int]:
    """Open one image as the gateway would; return (verdict, entries found)."""
    for left in folder.glob("site.db*"):  # noqa: ASYNC240  # a test
        left.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    path = folder / "site.db"
    if deep:
        try:
            store = await Store.open(path, IDENTITY, ballast_bytes=4096)
        except StoreFailed as failure:
            return failure.code, 0
        async with store:
            size = store.sizes[Lane.CUSTODY]
            assert [one.index for one in store.records(Lane.CUSTODY)] == list(range(size))
            await store.append([record(size)])
    connection = sqlite3.connect(path)
    verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    found = connection.execute("SELECT count(*) FROM entry").fetchone()[0]
    connection.close()
    report = fsck(path)
    return ("ok" if verdict == "ok" and report.ok else f"{verdict} {report.findings[:2]}"), found


async def sweep(folder: Path, synchronous: str, each: int, every: int) -> Counter[str]:
    base, recording = await script(folder, synchronous)
    images = folder / "images"
    images.mkdir()
    seen: Counter[str] = Counter()
    for number, (acknowledged, files) in enumerate(recording.images(base, SEED, each)):
        if number % every:
            continue
        verdict, found = await examine(files, images, deep=number % (8 * every) == 0)
        seen["images"] += 1
        seen["bad"] += verdict != "ok"
        seen["lost"] += found < acknowledged
        if synchronous == "FULL":
            assert verdict == "ok", (SEED, number, verdict)
            assert found >= acknowledged, (SEED, number)
    return seen


async def test_no_image_of_a_power_cut_loses_what_was_acknowledged(tmp_path: Path) -> None:
    seen = await sweep(tmp_path, "FULL", EACH, 1)
    print(f"power cut, FULL: {dict(seen)}")
    assert seen["images"] > 200
    assert seen["lost"] == seen["bad"] == 0


async def test_the_harness_has_teeth(tmp_path: Path) -> None:
    """synchronous=NORMAL does not flush each commit: entries are lost, and this notices."""
    seen = await sweep(tmp_path, "NORMAL", EACH, 1)
    print(f"power cut, NORMAL: {dict(seen)}")
    assert seen["lost"] > 10


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk image needs root")
@pytest.mark.night
async def test_a_copied_ext4_image_has_everything_acknowledged(tmp_path: Path) -> None:
    """A whole file system between the store and the disk: what it kept back is gone in the copy."""
    image, mount = tmp_path / "disk.img", tmp_path / "mount"
    mount.mkdir()
    for number in range(3):
        await run("truncate", "-s", "64M", str(image))
        await run("mkfs.ext4", "-q", "-F", str(image))
        await run("mount", "-o", "loop", str(image), str(mount))
        acknowledged = 0
        try:
            store = await Store.open(mount / "site.db", IDENTITY, ballast_bytes=4096)
            async with store:
                for index in range(50 + number):
                    await store.append([record(index)])
                    acknowledged += 1
                await run("cp", "--sparse=always", str(image), str(tmp_path / "copy.img"))
        finally:
            await run("umount", str(mount))
        await run("mount", "-o", "loop", str(tmp_path / "copy.img"), str(mount))
        try:
            assert fsck(mount / "site.db").ok
            async with await Store.open(mount / "site.db", IDENTITY, ballast_bytes=4096) as store:
                assert store.sizes[Lane.CUSTODY] >= acknowledged
        finally:
            await run("umount", str(mount))


async def run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0, command
