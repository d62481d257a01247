"""A disk that remembers: an SQLite VFS that records every write and flush, and images of a cut.

The store runs on it unchanged, through a connection of apsw dressed as one of `sqlite3`. An image
is what a power cut may leave: all that was flushed, any part of what was not, one write torn at a
512-byte sector.
"""

import random
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
from typing_extensions import override

from sync import database

SECTOR = 512


@dataclass
class Recording:
    """The operations on the files of one database, in order: (file, what, offset, bytes)."""

    operations: list[tuple[str, str, int, bytes]] = field(default_factory=list)

    def add(self, name: str, what: str, offset: int = 0, data: bytes = b"") -> None:
        self.operations.append((name, what, offset, data))

    def mark(self, acknowledged: int) -> None:
        """Note that so many entries have been acknowledged by now."""
        self.operations.append(("", "acknowledged", acknowledged, b""))

    def images(
        self, base: dict[str, bytes], seed: int, each: int
    ) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Yield (entries acknowledged, files) for `each` random cuts before every operation."""
        chance = random.Random(seed)
        acknowledged = 0
        durable = {name: bytearray(data) for name, data in base.items()}
        waiting: dict[str, list[tuple[str, int, bytes]]] = {}
        for name, what, offset, data in self.operations:
            for _ in range(each):
                yield acknowledged, cut(durable, waiting, chance)
            if what == "acknowledged":
                acknowledged = offset
            elif what == "sync":
                for step in waiting.pop(name, []):
                    apply(durable, name, step)
            elif what == "delete":
                waiting.pop(name, None)
                durable.pop(name, None)
            else:
                waiting.setdefault(name, []).append((what, offset, data))


def cut(
    durable: dict[str, bytearray],
    waiting: dict[str, list[tuple[str, int, bytes]]],
    chance: random.Random,
) -> dict[str, bytes]:
    files = {name: bytearray(data) for name, data in durable.items()}
    for name, steps in waiting.items():
        share = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        kept = [step for step in steps if chance.random() < share]
        if chance.random() < 0.5:
            chance.shuffle(kept)
        torn = chance.randrange(len(kept)) if kept and chance.random() < 0.5 else -1
        for place, (what, offset, data) in enumerate(kept):
            if place == torn and what == "write":
                start = SECTOR * chance.randrange(1 + len(data) // SECTOR)
                stop = start + SECTOR * chance.randrange(1 + len(data) // SECTOR)
                apply(files, name, (what, offset + start, data[start:stop]))
            else:
                apply(files, name, (what, offset, data))
    return {name: bytes(data) for name, data in files.items()}


def apply(files: dict[str, bytearray], name: str, step: tuple[str, int, bytes]) -> None:
    what, offset, data = step
    file = files.setdefault(name, bytearray())
    if what == "truncate":
        del file[offset:]
        return
    file.extend(bytes(max(0, offset + len(data) - len(file))))
    file[offset : offset + len(data)] = data


def recorded_connect(recording: Recording, name: str, synchronous: str = "FULL") -> Any:
    """Return a `connect` for `Store.open` that records; `synchronous` weakens it on purpose."""

    class File(apsw.VFSFile):
        def __init__(self, filename: Any, flags: list[int]) -> None:
            super().__init__("", filename, flags)
            shown = filename.filename() if hasattr(filename, "filename") else filename
            self.name = Path(shown).name

        @override
        def xWrite(self, data: bytes, offset: int) -> None:  # apsw's name
            super().xWrite(data, offset)
            recording.add(self.name, "write", offset, bytes(data))

        @override
        def xTruncate(self, newsize: int) -> None:  # apsw's name
            super().xTruncate(newsize)
            recording.add(self.name, "truncate", newsize)

        @override
        def xSync(self, flags: int) -> None:  # apsw's name
            super().xSync(flags)
            recording.add(self.name, "sync")

    class Disk(apsw.VFS):
        def __init__(self) -> None:
            super().__init__(name, "")

        @override
        def xOpen(self, filename: Any, flags: list[int]) -> File:  # apsw's name
            return File(filename, flags)

        @override
        def xDelete(self, filename: str, syncdir: bool) -> None:  # apsw's name
            super().xDelete(filename, syncdir)
            recording.add(Path(filename).name, "delete")

    disk = Disk()

    def connect(path: Path) -> Any:
        shim = Shim(apsw.Connection(str(path), vfs=name), synchronous)
        shim.disk = disk
        database.configure(shim)  # type: ignore[arg-type]  # it has what the store uses
        return shim

    return connect


class Shim:
    """As much of `sqlite3.Connection` as the store uses, over apsw."""

    disk: object = None

    def __init__(self, connection: apsw.Connection, synchronous: str) -> None:
        self._connection = connection
        self._synchronous = synchronous

    @property
    def in_transaction(self) -> bool:
        return bool(self._connection.in_transaction)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> "Rows":
        sql = sql.replace("synchronous=FULL", f"synchronous={self._synchronous}")
        return Rows(self._run(lambda: list(self._connection.execute(sql, tuple(values)))))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._run(lambda: list(self._connection.executemany(sql, map(tuple, rows))))

    def close(self) -> None:
        self._run(self._connection.close)

    @staticmethod
    def _run(step: Any) -> Any:
        try:
            return step()
        except apsw.Error as error:
            told = sqlite3.OperationalError(str(error))
            told.sqlite_errorcode = getattr(error, "extendedresult", sqlite3.SQLITE_ERROR)
            raise told from error


class Rows:
    """A cursor that has run."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def fetchall(self) -> list[Any]:
        return self._rows
