"""The hub's tables on PostgreSQL, by asyncpg; several hub processes may share them.

A growth is one statement, and so one transaction and one round trip: the compare-and-set of the log
and, only if it hit, every row. A lost connection is tried again a few times with jitter; that never
doubles anything, because whatever was carried the first time makes the second one miss.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Self, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has no stubs
import tenacity

from sync.errors import Reason, StoreFailed
from sync.hub.file import migrations
from sync.hub.sql import ABOUT, ABOUT_SITE, LEAVES, MERGE_ANNEX, PUT_ABOUT
from sync.hub.tables import AnnexRow, Grown, Growth, Row, Span

POOL_MAX: Final = 8
"""Connections of one hub process. A growth uses one for some milliseconds."""
STATEMENT_S: Final = 20.0
"""After so long a statement is given up, and its connection with it."""
OTHERS_S: Final = 1.0
ATTEMPTS_MAX: Final = 6
RETRY_S_MAX: Final = 15.0
_MIGRATION_LOCK: Final = 0x504C4748
_SCHEMA: Final = "schema"

_ROWS: Final = (
    " entries AS (INSERT INTO entry (site_id, log, idx, leaf, bytes)"
    " SELECT $1, head.no, r.idx, r.leaf, r.bytes FROM head,"
    " unnest($9::bigint[], $10::bytea[], $11::bytea[]) AS r (idx, leaf, bytes)),"
    " nodes AS (INSERT INTO node (site_id, log, level, idx, hash)"
    " SELECT $1, head.no, r.level, r.idx, r.hash FROM head,"
    " unnest($12::integer[], $13::bigint[], $14::bytea[]) AS r (level, idx, hash))"
)
_NOTES: Final = (
    ", notes AS (INSERT INTO checkpoint (site_id, log, size, note, at_ms)"
    " SELECT $1, head.no, $4, $7, $15 FROM head WHERE $7 IS NOT NULL"
    " ON CONFLICT (site_id, log, size) DO NOTHING)"
)
_ANNEX_COLUMNS: Final = "(site_id, ref, idx, private, salt, data, erased_by)"
_ANNEXES: Final = (
    f", annexes AS (INSERT INTO annex {_ANNEX_COLUMNS} SELECT $1, r.* FROM head,"  # noqa: S608  # our own constant
    " unnest($16::text[], $17::bigint[], $18::bytea[], $19::bytea[], $20::bytea[], $21::text[])"
    f" AS r (ref, idx, private, salt, data, erased_by){MERGE_ANNEX})"
)
_HEAD: Final = (
    "WITH head AS (UPDATE log SET size = $4, peaks = $5, sealed = coalesce($6, sealed),"
    " note = coalesce($7, note)"
    " WHERE site_id = $1 AND origin = $2 AND size = $3 AND own = $8 RETURNING no),"
)
_GROW: Final = f"{_HEAD}{_ROWS}{_NOTES} SELECT count(*) FROM head"  # noqa: S608  # our own
_GROW_ALL: Final = f"{_HEAD}{_ROWS}{_NOTES}{_ANNEXES} SELECT count(*) FROM head"  # noqa: S608  # our own
_PUT_ANNEXES: Final = (
    f"INSERT INTO annex {_ANNEX_COLUMNS} SELECT $1, r.* FROM"  # noqa: S608  # our own constant
    " unnest($2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::text[])"
    f" AS r (ref, idx, private, salt, data, erased_by){MERGE_ANNEX}"
)
_NODES: Final = (
    "SELECT hash FROM node WHERE site_id = $1 AND log = $2 AND level = $3"
    " AND idx >= $4 AND idx < $5 ORDER BY idx"
)
# Who cannot be reached, goes away, or asks to be asked again; a deadlock undoes all of one side.
_AGAIN: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    OSError,
    TimeoutError,
)

_T = TypeVar("_T")
_Call = Callable[[asyncpg.Connection], Awaitable[_T]]


class PostgresDatabase:
    """The hub's tables in one PostgreSQL database. Made by `open`, ended by `close`."""

    others_s: float | None = OTHERS_S

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect, and bring the schema up to date; raises `StoreFailed` newer, busy or io."""
        pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=POOL_MAX,
            command_timeout=STATEMENT_S,
            reset=_left_as_it_is,
        )
        try:
            self = cls(await pool)
            await self._asked(_migrated)
        except ValueError as error:  # the URL, which nobody reads before it connects
            await pool.close()
            raise _failure(error) from None
        except BaseException:
            await pool.close()
            raise
        return self

    async def rows(self, sql: str, *values: object) -> list[Row]:
        """As in `Database`."""
        found, _ = await self._asked(lambda connection: connection.fetch(sql, *values))
        return [tuple(row) for row in found]

    async def run(self, sql: str, *values: object) -> int:
        """As in `Database`."""
        status, _ = await self._asked(lambda connection: connection.execute(sql, *values))
        return int(status.rpartition(" ")[2])

    async def grow(self, growth: Growth) -> Grown:
        """As in `Database`."""
        sealed = None if growth.note is None else growth.size
        indices = list(range(growth.old, growth.size))
        values: list[object] = [
            *(growth.site_id, growth.origin, growth.old, growth.size, growth.peaks),
            *(sealed, growth.note, growth.own, indices, growth.leaves, growth.entries),
            *_columns(growth.nodes, 3),
            growth.at_ms,
        ]
        statement = _GROW
        if growth.annexes:
            statement = _GROW_ALL
            values += _columns(growth.annexes, 6)
        done, tries = await self._asked(lambda connection: connection.fetchval(statement, *values))
        if done:
            return Grown.DONE
        return Grown.MOVED if tries == 1 else Grown.UNSURE

    async def put_annexes(self, site_id: str, annexes: Sequence[AnnexRow]) -> None:
        """As in `Database`."""
        values = (site_id, *_columns(annexes, 6))
        await self._asked(lambda connection: connection.execute(_PUT_ANNEXES, *values))

    async def hashes(self, site_id: str, no: int, spans: Sequence[Span]) -> list[list[bytes]]:
        """As in `Database`."""

        async def call(connection: asyncpg.Connection) -> list[list[bytes]]:
            return [await _span(connection, site_id, no, span) for span in spans]

        found, _ = await self._asked(call)
        return found

    async def close(self) -> None:
        """As in `Database`. May be called twice."""
        try:
            async with asyncio.timeout(STATEMENT_S):
                await self._pool.close()
        except (asyncpg.PostgresError, OSError, TimeoutError):
            self._pool.terminate()

    async def _asked(self, call: _Call[_T]) -> tuple[_T, int]:
        """Return what `call` gave, and at which try."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(ATTEMPTS_MAX) | tenacity.stop_after_delay(RETRY_S_MAX),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=3),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    async with self._pool.acquire(timeout=STATEMENT_S) as connection:
                        result = await call(connection)
                    return result, attempt.retry_state.attempt_number
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise _failure(error) from error
        raise StoreFailed("busy", _UNREACHABLE)


def _may_pass(error: BaseException) -> bool:
    """Say whether asking again may help; a value that does not fit (ValueError) stays so."""
    return isinstance(error, _AGAIN) and not isinstance(error, ValueError)


async def _left_as_it_is(_: asyncpg.Connection) -> None:
    """Give a connection back with no question asked: no session of ours changes anything."""


async def _migrated(connection: asyncpg.Connection) -> None:
    """Bring the schema up to date; of several processes one does it, the others wait."""
    steps = migrations("postgres")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        if await connection.fetchval("SELECT to_regclass('about')") is None:
            version = 0
        else:
            found = await connection.fetchval(ABOUT, ABOUT_SITE, _SCHEMA)
            if found is None:
                raise StoreFailed("foreign", "This schema has other tables: give the hub its own.")
            version = int(found)
        if version > len(steps):
            raise StoreFailed("newer", version=version, known=len(steps))
        for _, text in steps[version:]:
            await connection.execute(text)
        if version < len(steps):
            await connection.execute(PUT_ABOUT, ABOUT_SITE, _SCHEMA, str(len(steps)))


async def _span(connection: asyncpg.Connection, site_id: str, no: int, span: Span) -> list[bytes]:
    stop = span.first + span.width
    if span.level == 0:
        found = await connection.fetch(LEAVES, site_id, no, span.first, stop)
    else:
        found = await connection.fetch(_NODES, site_id, no, span.level, span.first, stop)
    return [row[0] for row in found]


def _columns(rows: Sequence[Sequence[object]], count: int) -> list[list[object]]:
    """Turn rows into as many arrays."""
    return [[row[at] for row in rows] for at in range(count)]


_UNREACHABLE: Final = "The database does not answer: see to it; the hub goes on when it is back."
_REASONS: Final[tuple[tuple[type[BaseException], Reason, str], ...]] = (
    (asyncpg.DiskFullError, "full", "Free space for PostgreSQL; nothing was half-written."),
    (
        asyncpg.IntegrityConstraintViolationError,
        "torn",
        "Rows are there that the log does not know: keep them, and restore from a backup.",
    ),
    (asyncpg.DataCorruptedError, "torn", "Restore the database from a backup."),
    *((kind, "busy", _UNREACHABLE) for kind in _AGAIN),
)


def _failure(error: BaseException) -> StoreFailed:
    """Return the failure that an error of PostgreSQL or of the way to it stands for."""
    # What a bad URL is answered with repeats parts of it, the password among them.
    cause = type(error).__name__
    if not isinstance(error, ValueError):
        cause = f"{cause}: {error}"[:200]
    for kind, reason, remedy in _REASONS:
        if isinstance(error, kind):
            return StoreFailed(reason, remedy, cause=cause)
    return StoreFailed("io", "Check the database and its URL, then restart the hub.", cause=cause)
