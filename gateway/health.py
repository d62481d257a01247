"""What is measured every ten minutes, and what `status` shows: numbers and ids, no names."""

import os
import shutil
import statistics
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.clock import Machine
from gateway.trends import COUNTERS
from sync.book import Book

FLUSHES: Final = 5
LINES_BYTES_MAX: Final = 2_600
"""What lines may take of an entry: with 4,096 bytes and everything else that is measured it fits
16 lines with names of everyday length. Of longer ones some are left out, and their number told."""


def machine(data: Path, database: Path) -> dict[str, int]:
    """Return free and used disk and our memory, in kB."""
    disk = shutil.disk_usage(data)
    return {
        "disk_free_kb": disk.free // 1024,
        "disk_free_percent": disk.free * 100 // max(1, disk.total),
        "log_kb": database.stat().st_size // 1024 if database.exists() else 0,
        "memory_kb": resident_kb(),
    }


def flush_ms(data: Path) -> float:
    """Return how long the disk takes to make one entry durable, in the middle of five tries.

    Raises OSError.
    """
    file, took, ticks_us = data / ".flush", [], Machine().ticks_us
    handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(FLUSHES):
            began_us = ticks_us()
            os.write(handle, bytes(4096))
            os.fsync(handle)
            took.append((ticks_us() - began_us) / 1000)
    finally:
        os.close(handle)
        file.unlink(missing_ok=True)
    return statistics.median(took)


def resident_kb() -> int:
    """Return this process's resident memory; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def site(book: Book, counters: Mapping[str, int]) -> dict[str, int]:
    """Return what the book and the boards' counters say."""
    states = Counter(compartment.custody.value for compartment in book.compartments.values())
    return {
        "parcels": len(book.parcels),
        "alarms": len(book.alarms),
        "doors_disabled": sum(bool(one.disabled) for one in book.compartments.values()),
        **{f"doors_{state}": count for state, count in sorted(states.items())},
        **{f"boards_{name}": count for name, count in sorted(counters.items())},
    }


def lines(told: Mapping[str, object]) -> dict[str, int]:
    """Return the counters of each line as `Bank.health` has them, as far as an entry has room."""
    values: dict[str, int] = {}
    room, left_out = LINES_BYTES_MAX, 0
    for name in sorted(told):
        line = told[name]
        assert isinstance(line, Mapping)
        counted = {f"line_{name}_{counter}": int(line[counter]) for counter in COUNTERS}
        room -= sum(len(f'"{key}":{value},') for key, value in counted.items())
        if room < 0:
            left_out += 1
        else:
            values |= counted
    return values | ({"lines_left_out": left_out} if left_out else {})


def doors(
    book: Book, seen: Mapping[int, tuple[bool | None, bool | None]]
) -> list[dict[str, object]]:
    """Return one row a compartment; `seen` is (open, occupied) as the boards say now."""
    rows: list[dict[str, object]] = []
    for number in sorted(book.map.doors):
        one = book.compartments[number]
        is_open, occupied = seen.get(number, (None, None))
        rows.append(
            {
                "door": number,
                "size": book.map.doors[number].size,
                "custody": one.custody.value,
                "open": is_open,
                "occupied": occupied,
                "parcel": one.parcel,
                "disabled": one.disabled,
                "openings": one.openings,
            }
        )
    return rows


def alarms(book: Book) -> list[dict[str, object]]:
    """Return the alarms that stand."""
    return [
        {"ref": one.ref, "alarm": one.alarm, "door": one.door, "about": one.about}
        for one in book.alarms.values()
    ]
