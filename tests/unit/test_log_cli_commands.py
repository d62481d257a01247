"""Pins `locker-gateway log`: exit status, machine output, proof files that others can check."""

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from certs.keys import Verifier
from certs.keystore import KeyStore
from gateway import identity
from gateway.cli import main
from sync.entry import Lane, compose
from sync.errors import TheirsInvalid
from sync.moment import Moment
from sync.proof import check
from sync.store import Record
from tests.fault.logs import IDENTITY, entry, filled, record

NAMES = {"operator": "lockers.example", "writer": "site/0042", "epoch": "e1-9f2c01ab"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    anchor = compose(
        {"kind": "time.anchored", "utc_ms": 1_795_363_638_000, "error_ms": 20, "source": "ntp"},
        at=Moment(1, 0),
    )
    records = [record(i, note="\x1b[2J" if i == 3 else "é") for i in range(9)]
    records += [Record(Lane.CUSTODY, 9, anchor), record(0, Lane.URGENT)]
    filled(tmp_path / "site.db", records)
    (tmp_path / "identity.json").write_text(json.dumps(NAMES))
    KeyStore(tmp_path / "keys").create("log", IDENTITY.seed)
    return tmp_path


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["log", *map(str, words)])


def test_verify_says_ok_and_exits_0(data: Path) -> None:
    done = run("verify", "--data", data)
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "verified")
    told = json.loads(run("verify", "--data", data, "--json").output)
    assert told["ok"] is True
    assert [log["entries"] for log in told["logs"]] == [1, 10, 0]


def test_verify_names_the_wrong_entry_and_exits_1(data: Path) -> None:
    with sqlite3.connect(data / "site.db") as connection:
        connection.execute("UPDATE entry SET bytes = x'7b7d' WHERE log = 2 AND idx = 4")
    connection.close()
    done = run("verify", "--data", data)
    assert done.exit_code == 1
    wrong = "WRONG fsck.entry.leaf lockers.example/site/0042/e1-9f2c01ab/custody entry 4: its bytes"
    assert wrong in done.output
    told = json.loads(run("verify", "--data", data, "--json").output)
    assert (told["ok"], told["findings"][0]["index"]) == (False, 4)


def test_verify_holds_the_log_to_a_checkpoint_kept_elsewhere(data: Path, tmp_path: Path) -> None:
    later = filled(tmp_path / "other.db", (record(i) for i in range(30)))[Lane.CUSTODY]
    kept = tmp_path / "kept"
    kept.write_text(later)
    done = run("verify", "--data", data, "--checkpoint", kept)
    assert done.exit_code == 1
    assert "fsck.held.rolled_back" in done.output
    kept.write_bytes(b"\xff\xfe")
    assert run("verify", "--data", data, "--checkpoint", kept).exit_code == 1


@pytest.mark.parametrize("garbage", [b"", b"hello", bytes(5000), b"SQLite format 3\0" * 300])
def test_any_other_file_is_refused_by_code(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "site.db").write_bytes(garbage)
    for words in (["verify"], ["show"], ["vkey"]):
        done = run(*words, "--data", tmp_path)
        assert (done.exit_code, isinstance(done.exception, SystemExit)) == (1, True)
        assert "store." in done.output


def test_no_log_at_all_is_said_plainly(tmp_path: Path) -> None:
    done = run("verify", "--data", tmp_path)
    assert done.exit_code == 1
    assert "There is no log here" in done.output


def test_show_prints_entries_with_derived_time(data: Path) -> None:
    lines = run("show", "--data", data, "--lane", "custody").output.splitlines()
    assert len(lines) == 10
    assert lines[3].startswith("2026-11-22T16:07:18.003Z +-0.021 s  e1-9f2c01ab:sc3  door.opened")
    assert "\x1b" not in lines[3]
    shown = run("show", "--data", data, "--json", "--from", "8", "--kind", "door.opened").output
    told = [json.loads(line) for line in shown.splitlines()]
    assert [one["ref"] for one in told] == ["e1-9f2c01ab:sc8"]
    assert told[0]["entry"]["door"] == 8


def test_prove_writes_a_proof_and_the_leaf_that_check(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "proof"
    done = run("prove", "--data", data, "--lane", "custody", "--index", 7, "--out", out)
    assert done.exit_code == 0, done.output
    leaf = (tmp_path / "proof.entry").read_bytes()
    assert leaf == entry(7, note="é")
    keys = run("vkey", "--data", data).output.splitlines()
    assert keys == [IDENTITY.key(lane).vkey for lane in Lane]
    assert check(leaf, out.read_bytes(), Verifier.from_vkey(keys[1])).index == 7
    with pytest.raises(TheirsInvalid):
        check(leaf.replace(b"7", b"8"), out.read_bytes(), Verifier.from_vkey(keys[1]))
    assert run("prove", "--data", data, "--lane", "custody", "--index", 10, "--out", out).exit_code


def test_a_key_that_did_not_write_this_log_is_noticed(data: Path) -> None:
    KeyStore(data / "keys").replace("log", bytes(32))
    assert run("verify", "--data", data).exit_code == 1
    assert "fsck.key" in run("vkey", "--data", data).output


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"operator": "a b", "writer": "w", "epoch": "e1-9f2c01ab"}', "x" * 5000],
)
def test_a_bad_identity_is_refused_by_code(data: Path, text: str) -> None:
    (data / "identity.json").write_text(text)
    with pytest.raises(TheirsInvalid) as caught:
        identity.load(data)
    assert caught.value.code == "identity.invalid"


def test_identity_is_read_without_showing_the_seed(data: Path) -> None:
    who = identity.load(data)
    assert who == IDENTITY
    assert "seed" not in repr(who)
    (data / "identity.json").unlink()
    with pytest.raises(TheirsInvalid, match=r"identity\.missing"):
        identity.load(data)
