"""Reading the log: heads, entries, hashes. Blocking, by a connection that cannot write.

`LogFile` is one consistent view of a database, running gateway or not. The functions below it work
on any connection; the store uses them when it opens.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from sync import database
from sync.entry import Lane, LaneRef, Writer, is_epoch
from sync.errors import StoreFailed, TheirsInvalid
from sync.merkle import Nodes, prove_inclusion
from sync.origin import epoch_order
from sync.proof import Proof
from sync.rows import (
    INDEX_BITS,
    LEVEL_STEP,
    Annex,
    Head,
    Page,
    Receipt,
    Record,
    Row,
    Taken,
    fold_level,
    place_of,
    row_id,
)

PAGE_ROWS: Final = 256
"""Rows read at a time: what they become still fits the processor's cache."""
SHELF_VERSION: Final = 2
"""The schema that first held receipts, snapshots and annexes to come."""
_ENTRIES_MAX: Final = (1 << INDEX_BITS) - 1
_LOGS_MAX: Final = 1 << 22
"""As the schema says, which a made-up file does not obey."""


class LogFile:
    """One consistent view of the database: what is committed later does not show in it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        # A backup that an older version wrote is read as it stands.
        self._has_shelf = version >= SHELF_VERSION

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator["LogFile"]:
        """Lend a view of the database at `path`; raises `StoreFailed` and changes nothing."""
        if not database.examine(path):
            raise StoreFailed("io", "There is no log here: check the path.", path=str(path))
        with database.opened_read_only(path) as connection, database.explained(path):
            connection.execute("BEGIN")
            database.check_schema(connection, path)
            yield cls(connection, path)

    def heads(self) -> tuple[Head, ...]:
        """Return all logs, oldest first."""
        return read_heads(self._connection)

    def head(self, lane: Lane) -> Head:
        """Return this site's log of that lane in its newest epoch.

        By the epochs' names: a lost one that came back lies behind later ones.
        """
        mine = [head for head in self.heads() if head.own and head.log.lane is lane]
        if not mine:
            raise TheirsInvalid("store.no_lane", "Run init first.", lane=lane.value)
        return max(mine, key=lambda head: epoch_order(head.log.epoch))

    def kept(self, head: Head) -> list[tuple[int, str]]:
        """Return (size, note) of the earlier checkpoints that are kept, by size."""
        sql = (
            "SELECT CAST(size AS INTEGER), coalesce(CAST(note AS TEXT), '') FROM checkpoint"
            " WHERE log = ? ORDER BY size"
        )
        return list(_rising(self._connection.execute(sql, (head.id,)), 1))

    def stored_nodes(self, head: Head) -> list[tuple[int, int, bytes]]:
        """Return (level, index, hash) of the stored subtree roots, in order of level and index."""
        sql = (
            "SELECT CAST(level AS INTEGER), CAST(idx AS INTEGER),"
            " coalesce(CAST(hash AS BLOB), x'') FROM node WHERE log = ? ORDER BY level, idx"
        )
        return list(_rising(self._connection.execute(sql, (head.id,)), 2))

    def pages(self) -> Iterator[Page]:
        """Yield every stored row with its annex, by log and index, some at a time.

        Values have their types whatever the file holds: a damaged or made-up one may hold any.
        """
        cursor = self._connection.execute(
            "SELECT id, coalesce(CAST(leaf AS BLOB), x''), CAST(bytes AS BLOB) FROM entry"
            " ORDER BY id"
        )
        between = (
            "SELECT id, CAST(salt AS BLOB), CAST(data AS BLOB), CAST(erased_by AS TEXT)"
            " FROM annex WHERE id BETWEEN ? AND ? ORDER BY id"
        )
        last = None
        while rows := cursor.fetchmany(PAGE_ROWS):
            if (last is not None and rows[0][0] <= last) or not _is_rising(rows):
                raise _looped()
            last = rows[-1][0]
            span = (rows[0][0], last)
            found = _rising(self._connection.execute(between, span), 1)
            annexes = {row[0]: Annex(*row[1:]) for row in found}
            yield Page(rows, annexes, self._awaited(span))

    def _awaited(self, span: tuple[int, int]) -> frozenset[int]:
        """Return the rows whose annex is still to come."""
        if not self._has_shelf:
            return frozenset()
        sql = "SELECT id FROM awaited WHERE id BETWEEN ? AND ? ORDER BY id"
        return frozenset(row[0] for row in _rising(self._connection.execute(sql, span), 1))

    def receipts(self, head: Head) -> list[Receipt]:
        """Return the receipts of a log, the latest that came at the end."""
        if not self._has_shelf:
            return []
        found = self._connection.execute(
            "SELECT CAST(instance AS TEXT), CAST(size AS INTEGER),"
            " coalesce(CAST(note AS TEXT), ''), coalesce(CAST(vkey AS TEXT), '')"
            " FROM receipt WHERE log = ? ORDER BY turn LIMIT 100",
            (head.id,),
        )
        return [Receipt(*row) for row in found.fetchall()]

    def snapshots(self) -> list[Taken]:
        """Return the kept snapshots of the book, the latest at the end."""
        if not self._has_shelf:
            return []
        found = self._connection.execute(
            "SELECT CAST(entry AS INTEGER), coalesce(CAST(sha256 AS BLOB), x''),"
            " coalesce(CAST(lanes AS TEXT), ''), coalesce(CAST(book AS BLOB), x'')"
            " FROM snapshot ORDER BY turn LIMIT 10"
        )
        return [Taken(*row) for row in found.fetchall()]

    def annexes(self) -> Iterator[tuple[str, tuple[bytes, bytes]]]:
        """Yield (reference, (annex, salt)) of every annex that is kept, pruned entries' too."""
        logs = {head.id: head.log for head in self.heads()}
        cursor = self._connection.execute(
            "SELECT id, CAST(data AS BLOB), CAST(salt AS BLOB) FROM annex"
            " WHERE data IS NOT NULL ORDER BY id"
        )
        for number, annex, salt in _rising(cursor, 1):
            log, index = place_of(number)
            if log in logs:
                yield f"{logs[log]}{index}", (annex, salt)

    def strays(self) -> list[int]:
        """Return the ids of annexes that belong to no entry; an erasure may come before."""
        sql = (
            "SELECT a.id FROM annex a LEFT JOIN entry e ON e.id = a.id"
            " WHERE e.id IS NULL AND a.erased_by IS NULL LIMIT 100"
        )
        return [row[0] for row in self._connection.execute(sql)]

    def records(self, head: Head, start: int = 0, stop: int | None = None) -> Iterator[Record]:
        """Yield the records [start, stop) of a log that are kept, in order."""
        end = min(head.size, _ENTRIES_MAX, head.size if stop is None else stop)
        if start >= end:
            return
        cursor = self._connection.execute(
            "SELECT e.id, CAST(e.bytes AS BLOB), CAST(a.data AS BLOB), CAST(a.salt AS BLOB)"
            " FROM entry e LEFT JOIN annex a ON a.id = e.id"
            " WHERE e.id >= ? AND e.id < ? AND e.bytes IS NOT NULL ORDER BY e.id",
            (row_id(head.id, max(start, 0)), row_id(head.id, end)),
        )
        for number, entry, annex, salt in _rising(cursor, 1):
            yield Record(head.log.lane, number & _ENTRIES_MAX, entry, annex, salt)

    def nodes(self, head: Head) -> Nodes:
        """Return what proofs over this log ask for hashes."""
        return read_nodes(self._connection, head.id)

    def proof(self, head: Head, index: int) -> Proof:
        """Prove entry `index` under the latest checkpoint; `TheirsInvalid` `merkle.index`."""
        hashes = prove_inclusion(index, head.size, self.nodes(head))
        return Proof(index, tuple(hashes), head.note)


def _rising(cursor: sqlite3.Cursor, keys: int) -> Iterator[tuple[Any, ...]]:
    """Yield rows while the first `keys` columns rise; `StoreFailed` torn where they do not.

    A made-up file can lead a scan in a circle, page to page, for ever.
    """
    last: tuple[Any, ...] | None = None
    while page := cursor.fetchmany(PAGE_ROWS):
        for row in page:
            key = row[:keys]
            if last is not None and key <= last:
                raise _looped()
            last = key
            yield row


def _is_rising(rows: list[Row]) -> bool:
    """Say whether ids rise strictly; quick for the usual case, where no id is left out."""
    numbers = [row[0] for row in rows]
    return all(one < other for one, other in pairwise(numbers))


def _looped() -> StoreFailed:
    return StoreFailed("torn", what="rows do not come in the order of their keys")


def read_heads(connection: sqlite3.Connection) -> tuple[Head, ...]:
    """Return all logs, oldest first."""
    rows = connection.execute(
        "SELECT id, origin, epoch, writer, lane, own, vkey, oldest, size, note FROM log ORDER BY id"
    ).fetchall()
    try:
        return tuple(map(_head, rows))
    except ValueError as error:
        raise StoreFailed("torn", what="a log has a name that is none", cause=str(error)) from error


def _head(row: tuple[Any, ...]) -> Head:
    number, origin, epoch, writer, lane, own, vkey, oldest, size, note = row
    numbers, texts = (number, own, oldest, size), (origin, epoch, writer, lane, vkey, note)
    typed = all(type(one) is int for one in numbers) and all(type(one) is str for one in texts)
    if (
        not typed
        or not 0 < number < _LOGS_MAX
        or not 0 <= oldest <= size <= _ENTRIES_MAX
        or not is_epoch(epoch)
    ):
        raise StoreFailed("torn", what="a log's head is none")
    log = LaneRef(epoch, Writer(writer), Lane.of_letter(lane))
    return Head(number, origin, log, bool(own), vkey, oldest, size, note)


def count_entries(connection: sqlite3.Connection, log: int) -> int:
    """Return one more than the last index stored of a log; 0 if there is none."""
    sql = "SELECT max(id) FROM entry WHERE id >= ? AND id < ?"
    row = connection.execute(sql, (row_id(log, 0), row_id(log + 1, 0))).fetchone()
    return 0 if row[0] is None else place_of(row[0])[1] + 1


def read_nodes(connection: sqlite3.Connection, log: int) -> Nodes:
    """Return the hashes of full subtrees, folded from leaf hashes and every eighth level.

    Reads at most a few hundred hashes a question; `StoreFailed` torn where one is missing.
    """

    def node(level: int, index: int) -> bytes:
        below = level % LEVEL_STEP
        first, count = index << below, 1 << below
        if level < LEVEL_STEP:
            start = row_id(log, first)
            found = connection.execute(
                "SELECT coalesce(CAST(leaf AS BLOB), x'') FROM entry WHERE id >= ? AND id < ?"
                " ORDER BY id LIMIT 256",
                (start, start + count),
            ).fetchall()
        else:
            found = connection.execute(
                "SELECT coalesce(CAST(hash AS BLOB), x'') FROM node"
                " WHERE log = ? AND level = ? AND idx >= ? AND idx < ? ORDER BY idx LIMIT 256",
                (log, level - below, first, first + count),
            ).fetchall()
        if len(found) != count:
            raise StoreFailed("torn", log=log, level=level, index=index, what="hashes are missing")
        return fold_level([row[0] for row in found])

    return node
