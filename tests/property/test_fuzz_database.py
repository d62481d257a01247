"""Pins that no database, identity or key file makes a command crash, hang, or change it."""

import contextlib
import json
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from gateway import identity, site
from gateway.cli import main
from gateway.clock import Saved, read
from sync.errors import StoreFailed, SyncError
from sync.reader import LogFile
from tests.property.mutations import plainly_refused, spoilt
from tests.property.test_fuzz_toml import MAP

BUSY_S = 3
"""Of processor time: the goal is one second, and these cores are shared."""
READING = [
    ["log", "verify"],
    ["log", "show", "--json"],
    ["log", "vkey"],
    ["log", "prove", "--lane", "custody", "--index", "1", "--out"],
    ["site", "export"],
    ["courier", "list"],
    ["code", "show", "acme/JD0146/1"],
]
WRITING = [["init"], ["courier", "remove", "nobody"]]


def invoke(*words: str) -> Result:
    began = time.process_time()
    done = CliRunner().invoke(main, list(words))
    assert time.process_time() - began < BUSY_S, words
    return done


class Folder:
    """A small site, and what its files hold when they are whole."""

    def __init__(self, data: Path) -> None:
        self.data, self.db = data, data / "site.db"
        map_file = data.parent / "map.toml"
        map_file.write_bytes(MAP)
        for words in (
            ["init"],
            ["site", "import", str(map_file)],
            ["courier", "add", "--tenant", "acme", "--label", "van"],
        ):
            assert invoke(*words, "--data", str(data)).exit_code == 0
        self.whole = {
            name: (data / name).read_bytes()
            for name in ("site.db", "identity.json", "keys/log", "keys/code")
        }

    def put(self, name: str, content: bytes) -> None:
        """Put everything back, and this content in the place of one file."""
        for whole, was in self.whole.items():
            (self.data / whole).write_bytes(content if whole == name else was)
        for left in ("site.db-wal", "site.db-shm"):
            (self.data / left).unlink(missing_ok=True)

    def asked(self, words: list[str]) -> Result:
        """Run a command on this folder."""
        out = [str(self.data.parent / "out")] if words[-1] == "--out" else []
        return invoke(*words, *out, "--data", str(self.data))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("fuzz") / "data")


def files(folder: Folder) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.data.rglob("*") if file.is_file()}


# The sampled part stays one strategy for all folders: where and what, applied to the whole file.
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "header", "page", "copy", "cut"]),
        st.floats(0, 0.9999),
        st.floats(0, 0.9999),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=8,
)


def edited(data: bytes, edits: list[tuple[str, float, float, int]]) -> bytes:
    """Change bytes anywhere, in the file's header, in the heads of pages; copy, cut."""
    out = bytearray(data)
    for kind, place, other, value in edits:
        at, source = int(place * len(out)), int(other * len(out))
        if kind == "set":
            out[at : at + 1] = bytes((value,))
        elif kind == "header":
            out[int(place * 100)] = value
        elif kind == "page":
            out[at // 4096 * 4096 + int(other * 60)] = value
        elif kind == "copy":
            out[at : at + value] = out[source : source + value]
        else:
            out = out[: max(at, 4096)]
    return bytes(out)


@given(EDITS)
def test_damaged_database_is_named_and_left_untouched(
    folder: Folder, edits: list[tuple[str, float, float, int]]
) -> None:
    folder.put("site.db", edited(folder.whole["site.db"], edits))
    before = files(folder)
    for words in READING:
        plainly_refused(folder.asked(words))
    assert files(folder) == before


@given(EDITS)
def test_who_writes_finds_the_damage_first(
    folder: Folder, edits: list[tuple[str, float, float, int]]
) -> None:
    spoiled = edited(folder.whole["site.db"], edits)
    folder.put("site.db", spoiled)
    for words in WRITING:
        plainly_refused(folder.asked(words))
    if folder.db.read_bytes() != spoiled:
        # It was opened as sound: then nothing but the pages of SQLite's own care differs.
        with contextlib.suppress(SyncError), LogFile.open(folder.db) as log:
            assert log.heads()


@given(spoilt([b"SQLite format 3\0" + bytes(84), b"", b"PK\3\4" + bytes(200)]) | st.binary())
def test_foreign_file_is_named_and_left_untouched(folder: Folder, content: bytes) -> None:
    folder.put("site.db", content)
    for words in [*READING, *WRITING]:
        done = folder.asked(words)
        plainly_refused(done)
        assert done.exit_code == 1
    assert folder.db.read_bytes() == content


TABLES = {
    "log": ["origin", "epoch", "writer", "lane", "own", "vkey", "oldest", "size", "note", "id"],
    "entry": ["leaf", "bytes", "id"],
    "annex": ["salt", "data", "erased_by", "id"],
    "node": ["log", "level", "idx", "hash"],
    "checkpoint": ["log", "size", "note"],
    "about": ["key", "value"],
}
COLUMNS = [(table, column) for table, columns in TABLES.items() for column in columns]
VALUES: list[Any] = [
    None, -1, 0, 1, 2, 7, 1 << 40, (1 << 41) - 1, 1 << 62, -(1 << 63), 1.5, "", "c", "s", "\u2028",
    "e1-00000000:sc0", b"", b"\xff", b"{}", b"\xff" * 32, b"[" * 4000, b"\xc3" * 5000,
    b'{"at":[1,1],"kind":"annex.erased"}', b'{"at":[1,1],"kind":"config.set"}',
]  # fmt: skip


def made_up(path: Path, changes: list[tuple[tuple[str, str], Any, int]]) -> None:
    """Write rows that the schema forbids, and leave the schema as it was."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        kept = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL").fetchall()
        db.execute("PRAGMA writable_schema=ON")
        for name, sql in kept:
            loose = sql.replace(" STRICT, WITHOUT", " WITHOUT").replace(" STRICT", "")
            loose = re.sub(r"(INTEGER|TEXT|BLOB)(\s+)NOT NULL", r"\1", loose)
            db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (loose, name))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        db.execute("INSERT INTO node VALUES (2, 8, 0, zeroblob(32))")
        db.execute("INSERT INTO annex VALUES ((2 << 40) + 1, zeroblob(16), x'7b7d', NULL)")
        db.execute("INSERT INTO checkpoint VALUES (2, 1, 'note')")
        for (table, column), value, nth in changes:
            # The n-th row, so that a change of keys hits one of them.
            row = f"SELECT {column} FROM {table} ORDER BY 1 LIMIT 1 OFFSET {nth}"
            with contextlib.suppress(sqlite3.Error):
                db.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {column} = ({row})",
                    (value,),
                )
        db.execute("PRAGMA writable_schema=ON")
        for name, sql in kept:
            db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, name))


@given(
    st.lists(
        st.tuples(st.sampled_from(COLUMNS), st.sampled_from(VALUES), st.integers(0, 3)), max_size=4
    )
)
def test_made_up_rows_are_found_and_nothing_breaks_on_them(
    folder: Folder, changes: list[tuple[tuple[str, str], Any, int]]
) -> None:
    folder.put("", b"")
    made_up(folder.db, changes)
    before = folder.db.read_bytes()
    for words in READING:
        plainly_refused(folder.asked(words))
    assert folder.asked(["log", "verify"]).exit_code == 1
    assert folder.db.read_bytes() == before
    for words in WRITING:
        plainly_refused(folder.asked(words))


def test_pages_that_lead_in_a_circle_end(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    path.write_bytes(folder.whole["site.db"])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executemany(
            "INSERT INTO entry VALUES (?, zeroblob(32), zeroblob(3000))",
            [((3 << 40) + number,) for number in range(600)],
        )
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entry'").fetchone()[0]
    raw = bytearray(path.read_bytes())
    page = (root - 1) * 4096
    cells = int.from_bytes(raw[page + 3 : page + 5], "big")
    places = [page + 12 + 2 * number for number in range(cells)]
    children = [page + int.from_bytes(raw[at : at + 2], "big") for at in places]
    for child in (*children, page + 8):
        # Each child of the root is now the first one: its rows come again and again.
        raw[child : child + 4] = raw[children[0] : children[0] + 4]
    path.write_bytes(raw)
    done = invoke("log", "verify", "--data", str(path))
    assert done.exit_code == 1
    assert "store.torn" in done.output


def test_a_made_up_index_does_not_fill_the_memory(folder: Folder, tmp_path: Path) -> None:
    """A pruned entry beyond all others: what is remembered of it took 128 GiB."""
    path = tmp_path / "site.db"
    path.write_bytes(folder.whole["site.db"])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        beyond = (2 << 40) + (1 << 40) - 1
        db.execute("INSERT INTO entry VALUES (?, zeroblob(32), NULL)", (beyond,))
    done = invoke("log", "verify", "--data", str(path))
    assert done.exit_code == 1
    assert "WRONG fsck.entry.gap" in done.output


@pytest.mark.parametrize("text", [b"CREATE TABLE about", b"/custody\n6\n"])
def test_text_that_is_none_is_torn(folder: Folder, text: bytes) -> None:
    """In the schema Python itself could not decode it; in a row SQLite's driver could not."""
    whole = folder.whole["site.db"]
    assert text in whole
    folder.put("site.db", whole.replace(text, text[:-3] + b"\xf9\x80" + text[-1:]))
    done = folder.asked(["log", "verify"])
    assert (done.exit_code, "store.torn" in done.output) == (1, True)


def test_a_newer_database_is_refused_politely_and_left_alone(folder: Folder) -> None:
    newer = bytearray(folder.whole["site.db"])
    newer[60:64] = (9).to_bytes(4, "big")
    folder.put("site.db", bytes(newer))
    before = files(folder)
    for words in READING:
        done = folder.asked(words)
        assert (done.exit_code, "store.newer" in done.output) == (1, True)
    done = folder.asked(["courier", "remove", "nobody"])
    assert (done.exit_code, "store.newer" in done.output) == (1, True)
    assert {name: data for name, data in files(folder).items() if "site.db" in name} == {
        name: data for name, data in before.items() if "site.db" in name
    }


NAMES = b'{"operator":"lockers.example","writer":"site/0042","epoch":"e1-9f2c01ab","key_version":1}'


@given(
    st.sampled_from(["identity.json", "keys/log", "keys/code"]),
    spoilt([NAMES, bytes(32)], [b"null", b"1e9", b"-1", b'"', b"9" * 30, b"[" * 3000, b"\\ud800"])
    | st.binary(max_size=60),
)
def test_any_identity_or_key_file_is_taken_or_refused(
    folder: Folder, name: str, content: bytes
) -> None:
    folder.put(name, content)
    for words in [*READING, *WRITING]:
        plainly_refused(folder.asked(words))
    with contextlib.suppress(SyncError):
        assert identity.load_names(folder.data).epoch
    assert (folder.data / name).read_bytes() == content


@given(spoilt([json.dumps({"boot": 7, "saved_ms": 1_795_363_638_000}).encode()]) | st.binary())
def test_any_saved_clock_is_taken_or_forgotten(folder: Folder, content: bytes) -> None:
    file = folder.data / "clock.json"
    file.write_bytes(content)
    assert isinstance(read(file), Saved)


@given(st.sampled_from([["--from"], ["--index"]]), st.integers(-5, 1 << 70))
def test_any_index_is_shown_or_refused(folder: Folder, option: list[str], number: int) -> None:
    folder.put("", b"")
    prove = ["prove", "--lane", "custody", "--out", str(folder.data.parent / "out")]
    words = ["show"] if option == ["--from"] else prove
    plainly_refused(invoke("log", *words, *option, str(number), "--data", str(folder.data)))


@given(st.data())
def test_any_checkpoint_to_hold_it_to_is_compared_or_refused(
    folder: Folder, data: st.DataObject
) -> None:
    folder.put("", b"")
    with LogFile.open(folder.db) as log:
        notes = [head.note.encode() for head in log.heads()]
    kept = folder.data.parent / "kept"
    kept.write_bytes(data.draw(spoilt(notes, [b"\n", b"\xe2\x80\x94 ", b"+", b"0"])))
    done = invoke("log", "verify", "--data", str(folder.data), "--checkpoint", str(kept))
    assert done.exit_code in {0, 1}
    assert done.exit_code == 0 or "fsck.held." in done.output


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "site.db")
    with pytest.raises(StoreFailed, match="not a plain file"):
        site.read_book(tmp_path)
