"""What a shelf is asked, answered by a connection. Blocking; every answer has a bound.

A damaged or made-up file may hold any value in any column: texts and bytes are cast, and what does
not come out right is `StoreFailed` torn.
"""

import sqlite3
from collections.abc import Collection
from typing import Any, Final

import msgspec

from sync.errors import StoreFailed
from sync.rows import Annex, Head, Snapshot, place_of, row_id
from sync.shelf import Item

ITEMS_MAX: Final = 4096
"""Entries read at one go: at most 16 MB and as much of annexes."""


def items(
    connection: sqlite3.Connection, head: Head, start: int, stop: int, *, limit: int = ITEMS_MAX
) -> list[Item]:
    """Return the kept entries [start, stop) of a log, at most `limit` of them."""
    first, last = max(start, 0), min(stop, head.size)
    if first >= last:
        return []
    found = connection.execute(
        "SELECT e.id, CAST(e.bytes AS BLOB), a.id, CAST(a.salt AS BLOB), CAST(a.data AS BLOB),"
        " CAST(a.erased_by AS TEXT) FROM entry e LEFT JOIN annex a ON a.id = e.id"
        " WHERE e.id >= ? AND e.id < ? AND e.bytes IS NOT NULL ORDER BY e.id LIMIT ?",
        (row_id(head.id, first), row_id(head.id, last), limit),
    ).fetchall()
    return [
        Item(place_of(number)[1], data, None if at is None else Annex(salt, annex, by))
        for number, data, at, salt, annex, by in found
    ]


def leaves(connection: sqlite3.Connection, log: int, first: int, stop: int) -> list[bytes]:
    """Return the leaf hashes [first, stop) of a log, which has them."""
    if first >= stop:
        return []
    found = connection.execute(
        "SELECT coalesce(CAST(leaf AS BLOB), x'') FROM entry WHERE id >= ? AND id < ? ORDER BY id",
        (row_id(log, first), row_id(log, stop)),
    ).fetchall()
    if len(found) != stop - first:
        raise StoreFailed("torn", log=log, first=first, stop=stop, what="hashes are missing")
    return [row[0] for row in found]


def note(connection: sqlite3.Connection, head: Head, size: int) -> str | None:
    """Return the kept checkpoint of exactly this size."""
    if size == head.size:
        return head.note
    row = connection.execute(
        "SELECT CAST(note AS TEXT) FROM checkpoint WHERE log = ? AND size = ?", (head.id, size)
    ).fetchone()
    return None if row is None or not row[0] else str(row[0])


def fitting(
    connection: sqlite3.Connection, head: Head, first: int, entries_max: int, bytes_max: int
) -> int:
    """Return how many entries from `first` fit both bounds; one at least, if there is one."""
    stop = min(head.size, first + min(max(entries_max, 1), ITEMS_MAX))
    if first < 0 or first >= stop:
        return 0
    found = connection.execute(
        "SELECT coalesce(length(bytes), 0) FROM entry WHERE id >= ? AND id < ? ORDER BY id",
        (row_id(head.id, first), row_id(head.id, stop)),
    )
    total = count = 0
    for (length,) in found:
        total += length
        if count and total > bytes_max:
            break
        count += 1
    return count


def end_with_note(connection: sqlite3.Connection, head: Head, first: int, stop: int) -> int:
    """Return the last size in (first, stop] with a kept checkpoint, or the next one after."""
    if stop >= head.size:
        return head.size
    for sql in (
        "SELECT max(size) FROM checkpoint WHERE log = ? AND size > ? AND size <= ?",
        "SELECT min(size) FROM checkpoint WHERE log = ? AND size > ? AND size > ?",
    ):
        size = connection.execute(sql, (head.id, first, stop)).fetchone()[0]
        if type(size) is int and size <= head.size:
            return size
    return head.size


def first_awaited(connection: sqlite3.Connection, head: Head) -> int:
    """Return the first index whose annex is still to come; the size if there is none."""
    row = connection.execute(
        "SELECT min(id) FROM awaited WHERE id >= ? AND id < ?",
        (row_id(head.id, 0), row_id(head.id, head.size)),
    ).fetchone()
    return head.size if row[0] is None else place_of(row[0])[1]


def receipts(connection: sqlite3.Connection, log: int) -> dict[str, int]:
    """Return the cosigned size of a log by the instance of the hub store that gave the receipt."""
    found = connection.execute("SELECT instance, size FROM receipt WHERE log = ?", (log,))
    return dict(found.fetchall())


def cosigned(connection: sqlite3.Connection) -> dict[int, int]:
    """Return the largest cosigned size by log."""
    found = connection.execute("SELECT log, max(size) FROM receipt GROUP BY log").fetchall()
    return dict(found)


def latest_snapshot(connection: sqlite3.Connection) -> Snapshot | None:
    """Return the latest snapshot of the book, or None."""
    row = connection.execute(
        "SELECT s.entry, CAST(s.sha256 AS BLOB), CAST(s.lanes AS TEXT), CAST(s.book AS BLOB),"
        " log.origin FROM snapshot s JOIN log ON log.id = s.entry >> 40"
        " ORDER BY s.turn DESC LIMIT 1"
    ).fetchone()
    return None if row is None else _snapshot(row)


def about(connection: sqlite3.Connection) -> dict[str, str]:
    """Return what the database says of itself."""
    return dict(connection.execute("SELECT key, CAST(value AS TEXT) FROM about").fetchall())


def spared(connection: sqlite3.Connection, log: int) -> list[int]:
    """Return the rows of a log that were kept when those around them were pruned."""
    found = connection.execute(
        "SELECT id FROM spared WHERE id >= ? AND id < ? ORDER BY id",
        (row_id(log, 0), row_id(log + 1, 0)),
    )
    return [row[0] for row in found.fetchall()]


def with_annex(connection: sqlite3.Connection, numbers: Collection[int]) -> set[int]:
    """Return those of the rows that have an annex already, or the mark of an erasure."""
    return {
        number
        for number in numbers
        if connection.execute("SELECT 1 FROM annex WHERE id = ?", (number,)).fetchone()
    }


def _snapshot(row: tuple[Any, ...]) -> Snapshot:
    number, digest, lanes, book, origin = row
    try:
        sizes = msgspec.json.decode(lanes or "", type=dict[str, int])
    except msgspec.MsgspecError as error:
        raise StoreFailed("torn", what="a snapshot's lanes are none", cause=str(error)) from error
    return Snapshot(origin, place_of(number)[1], digest, sizes, book)
