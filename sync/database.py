"""The file under the log: ours or not, made, brought up to date, opened. SQL is in `schema/`.

Nothing is written before `examine` has seen that the file is ours, whole and not newer than this
program. A new database is made beside its place and renamed, so a crash leaves all of it or none.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from sync.errors import StoreFailed

APPLICATION_ID: Final = 0x504C4731
"""`PLG1` in the header: tells a gateway's log from any other SQLite file."""

_HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\x00"
_TORN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

# synchronous=FULL: one flush a commit, before anyone is told. secure_delete: an erased annex is
# overwritten, not only forgotten. mmap_size=0: a disk error comes as an error, not as a signal.
_PRAGMAS: Final = (
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
    "PRAGMA mmap_size=0",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA busy_timeout=1000",
)


def migrations() -> list[tuple[int, str]]:
    """Return (version, SQL) of every step in `schema/`, in order, numbered from 1 with no gap."""
    folder = resources.files("sync") / "schema"
    steps = sorted(
        (int(file.name[:4]), file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    )
    assert [number for number, _ in steps] == list(range(1, len(steps) + 1))
    return steps


def examine(path: Path) -> bool:
    """Say whether there is a database at `path` that this program may open; False if no file.

    Raises `StoreFailed` foreign, newer, torn or io, and leaves every byte as it is.
    """
    try:
        # Opening a FIFO would wait for ever.
        if path.exists() and not path.is_file():
            raise StoreFailed("foreign", path=str(path), what="not a plain file")
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            length = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return False
    except OSError as error:
        raise explain(error, path) from error
    _check_header(header, path)
    if not _has_wal(path):
        _check_length(header, length, path)
        _check_version(int.from_bytes(header[60:64], "big"), path)
        return True
    with opened_read_only(path) as connection, explained(path):
        _check_version(connection.execute("PRAGMA user_version").fetchone()[0], path)
        # A WAL that has something in it was left by an unclean stop, or belongs to a running
        # gateway: worth the look either way.
        verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreFailed("torn", path=str(path), sqlite=verdict)
    return True


def prepare(path: Path) -> None:
    """Make the database if there is none, and bring an older one up to date."""
    if not examine(path):
        _create(path)
    steps = migrations()
    with contextlib.closing(connect(path)) as connection, explained(path):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        missing = [step for step in steps if step[0] > version]
        for number, sql in missing:
            connection.executescript(_script(number, sql))
        if missing:
            # An older program reads the version from the first page of the file itself.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        check_schema(connection, path)


def connect(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes and checkpoints; it uses its own BEGIN and COMMIT."""
    with explained(path):
        # Opened in one thread and used in another, never in two at once: the store sees to it.
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write or checkpoint, beside the one that does."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with explained(path):
        # Used on one thread, and closed on another once that has ended.
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=1
        )
        for pragma in ("query_only=ON", "mmap_size=0", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")
    return connection


def configure(connection: sqlite3.Connection) -> None:
    """Set WAL and the rest on a connection that writes."""
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreFailed("io", "This file system cannot hold a WAL database.", mode=mode)
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `StoreFailed` torn unless the tables are exactly those of `schema/` at its version.

    A file made to look like ours could otherwise bring any types into the rows.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    with contextlib.closing(sqlite3.connect(":memory:")) as model:
        for number, sql in migrations():
            if number <= version:
                model.executescript(_script(number, sql))
        if _tables(connection) != _tables(model):
            raise StoreFailed("torn", path=str(path), what="the tables are not ours")


@contextlib.contextmanager
def opened_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Lend a connection that cannot write or checkpoint, and leaves no file behind.

    Without a WAL file nobody writes: the file is then read as it stands, from a read-only medium
    too.
    """
    wal = Path(f"{path}-wal").exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if wal else '&immutable=1'}"
    with explained(path):
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        connection.execute("PRAGMA query_only=ON")
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise inside into `StoreFailed`."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read what we print has gone: no trouble of the database
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise explain(error, path) from error


def explain(error: sqlite3.Error | OSError | UnicodeDecodeError, path: Path) -> StoreFailed:
    """Return the failure that an error of SQLite or of the system stands for."""
    unread = isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorcode")
    if unread or isinstance(error, UnicodeDecodeError):
        # Without a number of SQLite's it is Python, which found a text that is not UTF-8.
        return StoreFailed("torn", path=str(path), what="a text in it is none")
    if isinstance(error, OSError):
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return StoreFailed("full", path=str(path), system=reason)
        return StoreFailed("io", path=str(path), system=reason)
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return StoreFailed("full", path=str(path), sqlite=str(error))
    if primary in _TORN:
        return StoreFailed("torn", path=str(path), sqlite=str(error))
    return StoreFailed("io", path=str(path), sqlite=str(error), sqlite_code=code)


def fsync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create(path: Path) -> None:
    new = path.with_name(f"{path.name}.new")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Left by a power cut during creation: never in use, so it can go.
        for left in (new, Path(f"{new}-journal")):
            left.unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            for number, sql in migrations():
                connection.executescript(_script(number, sql))
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.rename(path)
        fsync_folder(path.parent)


def _tables(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


def _script(number: int, sql: str) -> str:
    return f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version={number};\nCOMMIT;"


def _check_header(header: bytes, path: Path) -> None:
    magic, application = header[:16], int.from_bytes(header[68:72], "big")
    if magic == _MAGIC and len(header) == _HEADER_BYTES:
        if application != APPLICATION_ID:
            raise StoreFailed("foreign", path=str(path), application_id=f"{application:08x}")
    elif application == APPLICATION_ID or not header.strip(b"\0") or _MAGIC.startswith(magic):
        raise StoreFailed("torn", path=str(path), what="the header is damaged or cut")
    else:
        raise StoreFailed("foreign", path=str(path), what="not an SQLite file")


def _check_length(header: bytes, length: int, path: Path) -> None:
    """Compare the file with the pages it says it has; only while no WAL may hold some of them."""
    page = int.from_bytes(header[16:18], "big")
    expected = (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
    if length < expected:
        raise StoreFailed("torn", path=str(path), bytes=length, expected=expected)


def _check_version(version: int, path: Path) -> None:
    newest = len(migrations())
    if version > newest:
        raise StoreFailed("newer", path=str(path), version=version, known=newest)
    if version == 0:
        raise StoreFailed("torn", path=str(path), what="it has no schema version")


def _has_wal(path: Path) -> bool:
    wal = Path(f"{path}-wal")
    return wal.exists() and wal.stat().st_size > 0
