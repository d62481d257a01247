"""The SQL of one commit: the rows that were computed go in, all or nothing. Blocking.

The order matters in two places. Logs come before their entries; and what is awaited comes after
every mark, so that no annex is ever awaited that an entry has erased.
"""

import sqlite3
from typing import Final

from sync.commit import Changes, Pruning
from sync.rows import row_id

_BEGIN: Final = (
    "INSERT INTO log (id, origin, epoch, writer, lane, own, vkey, size, note)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ENTRY: Final = "INSERT INTO entry (id, leaf, bytes) VALUES (?, ?, ?)"
# An erasure wins over an annex, whichever comes first.
_ANNEX: Final = (
    "INSERT INTO annex (id, salt, data, erased_by) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
    " SET salt = NULL, data = NULL, erased_by = coalesce(erased_by, excluded.erased_by)"
    " WHERE erased_by IS NOT NULL OR excluded.erased_by IS NOT NULL"
)
_FORETELL: Final = (
    "INSERT OR IGNORE INTO foretold (epoch, writer, lane, idx, by) VALUES (?, ?, ?, ?, ?)"
)
_COME_TRUE: Final = (
    "INSERT INTO annex (id, salt, data, erased_by)"
    " SELECT (log.id << 40) | f.idx, NULL, NULL, f.by FROM foretold f"
    " JOIN log ON (log.epoch, log.writer, log.lane) = (f.epoch, f.writer, f.lane) WHERE true"
    " ON CONFLICT (id) DO UPDATE"
    " SET salt = NULL, data = NULL, erased_by = coalesce(erased_by, excluded.erased_by)"
)
_HAS_COME_TRUE: Final = (
    "DELETE FROM foretold WHERE (epoch, writer, lane) IN (SELECT epoch, writer, lane FROM log)"
)
_AWAIT: Final = (
    "INSERT OR IGNORE INTO awaited (id) SELECT ?1"
    " WHERE NOT EXISTS (SELECT 1 FROM annex WHERE id = ?1)"
)
_ARRIVED: Final = "DELETE FROM awaited WHERE id = ?"
_NODE: Final = "INSERT INTO node (log, level, idx, hash) VALUES (?, ?, ?, ?)"
_CHECKPOINT: Final = "INSERT OR IGNORE INTO checkpoint (log, size, note) VALUES (?, ?, ?)"
_HEAD: Final = "UPDATE log SET size = ?, note = ? WHERE id = ?"
# The largest of each hub store, and of these stores the last four: the present one, and what a
# dispute may need.
_RECEIPT: Final = (
    "INSERT INTO receipt (log, instance, size, note, vkey, turn) VALUES (?1, ?2, ?3, ?4, ?5,"
    " (SELECT 1 + coalesce(max(turn), 0) FROM receipt WHERE log = ?1))"
    " ON CONFLICT (log, instance) DO UPDATE SET turn = excluded.turn,"
    " note = CASE WHEN excluded.size >= size THEN excluded.note ELSE note END,"
    " vkey = CASE WHEN excluded.size >= size THEN excluded.vkey ELSE vkey END,"
    " size = max(size, excluded.size)"
)
_RECEIPTS_THIN: Final = (
    "DELETE FROM receipt WHERE log = ?1 AND turn NOT IN"
    " (SELECT turn FROM receipt WHERE log = ?1 ORDER BY turn DESC LIMIT 4)"
)
# The latest, and the one before it: while the latest is new, somebody may be reading the other.
_SNAPSHOT: Final = "INSERT INTO snapshot (entry, sha256, lanes, book) VALUES (?, ?, ?, ?)"
_SNAPSHOTS_THIN: Final = (
    "DELETE FROM snapshot WHERE turn NOT IN (SELECT turn FROM snapshot ORDER BY turn DESC LIMIT 2)"
)
_ABOUT: Final = "INSERT OR REPLACE INTO about (key, value) VALUES (?, ?)"

_SPARE: Final = (
    "INSERT OR IGNORE INTO spared (id) SELECT id FROM entry WHERE id = ? AND bytes IS NOT NULL"
)
_UNSPARE: Final = "DELETE FROM spared WHERE id = ?"
_LEAVES: Final = (
    "SELECT id, leaf FROM entry"
    " WHERE id >= ? AND id < ? AND bytes IS NOT NULL AND id NOT IN (SELECT id FROM spared)"
)
_LEAF: Final = "INSERT INTO entry (id, leaf) VALUES (?, ?)"
_OUT: Final = (
    "DELETE FROM entry"
    " WHERE id >= ? AND id < ? AND bytes IS NOT NULL AND id NOT IN (SELECT id FROM spared)"
)
_FORGET: Final = (
    _OUT,
    "DELETE FROM annex WHERE id >= ? AND id < ? AND id NOT IN (SELECT id FROM spared)",
    "DELETE FROM awaited WHERE id >= ? AND id < ? AND id NOT IN (SELECT id FROM spared)",
)
_OLDEST: Final = "UPDATE log SET oldest = ?1 WHERE id = ?2 AND oldest < ?1"


def transact(connection: sqlite3.Connection, changes: Changes) -> None:
    """Write all of it durably. On any error of SQLite's the caller rolls back."""
    run = connection
    run.execute("BEGIN IMMEDIATE")
    for sql, rows in (
        (_BEGIN, changes.begun),
        (_ENTRY, changes.entries),
        (_ANNEX, changes.annexes),
        (_FORETELL, changes.foretold),
    ):
        if rows:
            run.executemany(sql, rows)
    if changes.begun or changes.foretold:
        run.execute(_COME_TRUE)
        run.execute(_HAS_COME_TRUE)
    for sql, rows in (
        (_AWAIT, changes.awaited),
        (_ARRIVED, [row[:1] for row in changes.annexes]),
        (_NODE, changes.nodes),
        (_CHECKPOINT, changes.kept),
        (_RECEIPT, changes.receipts),
        (_RECEIPTS_THIN, [row[:1] for row in changes.receipts]),
        (_SNAPSHOT, changes.snapshots),
        (_ABOUT, changes.about),
        (_HEAD, changes.heads),
    ):
        if rows:
            run.executemany(sql, rows)
    if changes.snapshots:
        run.execute(_SNAPSHOTS_THIN)
    for pruning in changes.pruned:
        _prune(run, pruning)
    run.execute("COMMIT")


def undo(connection: sqlite3.Connection) -> None:
    """Take back a transaction that did not end."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _prune(run: sqlite3.Connection, pruning: Pruning) -> None:
    run.executemany(_SPARE, [(number,) for number in pruning.spared])
    run.executemany(_UNSPARE, [(number,) for number in pruning.again])
    spans = [(number, number + 1) for number in pruning.again]
    if pruning.first < pruning.stop:
        spans.append((row_id(pruning.log, pruning.first), row_id(pruning.log, pruning.stop)))
    # Out and in again: an update that makes rows smaller gives no page back.
    leaves = [row for span in spans for row in run.execute(_LEAVES, span).fetchall()]
    for sql in _FORGET:
        run.executemany(sql, spans)
    run.executemany(_LEAF, leaves)
    run.execute(_OLDEST, (pruning.oldest, pruning.log))
