"""What is measured every ten minutes, and what `status` shows: numbers and ids, no names."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from sync.book import Book


def machine(data: Path, database: Path) -> dict[str, int]:
    """Return free and used disk and our memory, in kB."""
    disk = shutil.disk_usage(data)
    return {
        "disk_free_kb": disk.free // 1024,
        "disk_free_percent": disk.free * 100 // max(1, disk.total),
        "log_kb": database.stat().st_size // 1024 if database.exists() else 0,
        "memory_kb": resident_kb(),
    }


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
