"""The hub's SQLite file: ours or not, made, brought up to date, opened, owned by one process."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from sync import database
from sync.beside import Lock
from sync.errors import Reason, StoreFailed

APPLICATION_ID: Final = 0x504C4748
"""`PLGH` in the header: tells a hub's file from any other, a gateway's log too."""

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_ID_BYTES: Final = slice(68, 72)

Steps = list[tuple[int, str]]


REMEDIES: Final[dict[Reason, str]] = {
    "full": "Free space on the hub's disk; nothing was half-written, and the sites send it again.",
    "io": "Check the hub's disk, then restart the hub; it reads what is durable.",
}


def migrations(kind: str) -> Steps:
    """Return (version, SQL) of every step in `schema/<kind>`, in order, from 1 with no gap."""
    folder = resources.files("sync") / "hub" / "schema" / kind
    steps = sorted(
        (int(file.name[:4]), file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    )
    assert [number for number, _ in steps] == list(range(1, len(steps) + 1))
    return steps


def take_lock(path: Path) -> Lock:
    """Own the file until the process ends; `StoreFailed` busy when another process does."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return Lock.take(path)
        except StoreFailed as error:
            raise StoreFailed(
                "busy",
                "Another hub runs on this file: stop it first. For several hub processes use"
                " PostgreSQL.",
                path=str(path),
            ) from error


def prepare(path: Path) -> None:
    """Make the file if there is none, and bring an older one up to date.

    Raises `StoreFailed` foreign, newer, torn, full or io, and then leaves it as it was.
    """
    steps = migrations("sqlite")
    with explained(path):
        if not path.exists():
            _create(path, steps)
            return
        _check_header(path)
        with database.opened_read_only(path) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise StoreFailed("torn", _RESTORE, path=str(path), sqlite=verdict)
        if version > len(steps):
            raise StoreFailed("newer", path=str(path), version=version, known=len(steps))
        with contextlib.closing(connect(path)) as connection:
            for number, text in steps[version:]:
                connection.executescript(_script(number, text))


def connect(path: Path) -> sqlite3.Connection:
    """Open the connection that writes and checkpoints; it uses its own BEGIN and COMMIT."""
    return database.connect(path)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a connection that can neither write nor checkpoint, beside the one that does."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    # Used by one thread at a time, not always the same.
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA mmap_size=0")
    connection.execute("PRAGMA busy_timeout=1000")
    return connection


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system raise inside into `StoreFailed`."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise explain(error, path) from error


def explain(error: sqlite3.Error | OSError | UnicodeDecodeError, path: Path) -> StoreFailed:
    """Return the failure that an error of SQLite or of the system stands for, at a hub."""
    failure = database.explain(error, path)
    return StoreFailed(failure.reason, REMEDIES.get(failure.reason, ""), **failure.evidence)


_RESTORE: Final = "Keep the file as it is, to be examined, and restore the hub from a backup."


def _create(path: Path, steps: Steps) -> None:
    """Make it beside its place and rename it: a crash leaves all of it or none."""
    new = path.with_name(f"{path.name}.new")
    for left in (new, Path(f"{new}-journal")):
        left.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        for number, text in steps:
            connection.executescript(_script(number, text))
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.rename(path)
    database.fsync_folder(path.parent)


def _check_header(path: Path) -> None:
    if not path.is_file():
        raise StoreFailed("foreign", _FOREIGN, path=str(path), what="not a plain file")
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header.startswith(_MAGIC):
        raise StoreFailed("foreign", _FOREIGN, path=str(path), what="not an SQLite file")
    found = int.from_bytes(header[_ID_BYTES], "big")
    if found != APPLICATION_ID:
        raise StoreFailed("foreign", _FOREIGN, path=str(path), application_id=f"{found:08x}")


def _script(number: int, text: str) -> str:
    return f"BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version={number};\nCOMMIT;"


_FOREIGN: Final = "This file is not a hub's: point to the right one; nothing was changed."
