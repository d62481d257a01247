"""What the hub's storage and its shelves both do with a database: find, begin, prove, keep."""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from sync.errors import StoreFailed
from sync.hub import sql
from sync.hub.storage import Receipt
from sync.hub.tables import Database, LogRow, Span
from sync.merkle import Nodes, root_at
from sync.rows import LEVEL_STEP, fold_level

TRIES: Final = 16
"""How often a compare-and-set is tried again: each miss means that somebody else got on."""

_T = TypeVar("_T")


async def find_log(database: Database, site_id: str, origin: str) -> LogRow | None:
    """Return a log's row, or None."""
    if not origin.isascii() or "\0" in origin:
        return None  # the one text that PostgreSQL cannot even be asked for, and no name of a log
    rows = await database.rows(sql.LOG, site_id, origin)
    return LogRow._make(rows[0]) if rows else None


async def begin_log(
    database: Database, site_id: str, origin: str, *, own: bool, vkey: str, note: str
) -> LogRow:
    """Return a log's row, begun if there is none."""
    for _ in range(TRIES):
        row = await find_log(database, site_id, origin)
        if row is not None:
            return row
        await database.run(sql.BEGIN_LOG, site_id, origin, own, vkey, note)
    raise StoreFailed("busy", "Many logs begin at once: try again.", origin=origin)


async def put_receipt(database: Database, site_id: str, row: LogRow, receipt: Receipt) -> None:
    """Keep a receipt, and up to where receipts are held."""
    size, note, instance, at_ms = msgspec.structs.astuple(receipt)
    await database.run(sql.KEEP_COSIGNATURE, site_id, row.no, instance, size, note, at_ms)
    await database.run(sql.NOTE_COSIGNED, site_id, row.origin, size)


async def read_root(database: Database, site_id: str, no: int, size: int) -> bytes:
    """Return the root of the first `size` stored entries."""
    return await answered(database, site_id, no, lambda nodes: root_at(size, nodes))


async def answered(
    database: Database, site_id: str, no: int, question: Callable[[Nodes], _T]
) -> _T:
    """Answer a question about the tree: asked once to learn which nodes, once with them.

    Reads at most a few hundred hashes, at once; `StoreFailed` torn where one is missing.
    """
    spans: dict[tuple[int, int], Span] = {}

    def ask(level: int, index: int) -> bytes:
        below = level % LEVEL_STEP
        spans[level, index] = Span(level - below, index << below, 1 << below)
        return bytes(32)

    question(ask)
    found = await database.hashes(site_id, no, list(spans.values())) if spans else []
    known: dict[tuple[int, int], bytes] = {}
    for (place, span), hashes in zip(spans.items(), found, strict=True):
        if len(hashes) != span.width:
            raise StoreFailed("torn", site=site_id, log=no, what="hashes are missing")
        known[place] = fold_level(hashes)
    return question(lambda level, index: known[level, index])
