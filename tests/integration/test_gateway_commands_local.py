"""Pins the local commands without a gateway: what they print, refuse, and never show."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adapters import trouble
from gateway import doctor, identity
from gateway.cli import main
from gateway.core.inputs import EpochBegun
from gateway.site import read_book
from tests.contract.site_stage import map_text


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def good(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(code: str, *words: object) -> str:
    result = run(*words)
    assert result.exit_code == 1, result.output
    assert code in result.stderr
    assert result.stdout == ""
    return result.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    good("init", "--data", tmp_path / "d", "--site", "0042")
    return tmp_path / "d"


def test_init_makes_a_site_once_and_no_two_share_a_key(tmp_path: Path) -> None:
    told = json.loads(good("init", "--data", tmp_path / "a", "--json"))
    assert told["site"] == "lockers.example/site/0042"
    assert told["entry"] == f"{told['epoch']}:su0"
    assert re.fullmatch(r"e1-[0-9a-f]{8}", told["epoch"])
    refused("site.exists", "init", "--data", tmp_path / "a")
    good("init", "--data", tmp_path / "b")
    keys = {(tmp_path / at / "keys" / name).read_bytes() for at in "ab" for name in ("log", "code")}
    assert len(keys) == 4
    refused("site.name", "init", "--data", tmp_path / "c", "--operator", "Bad Name")
    assert not (tmp_path / "c").exists()


def test_init_torn_before_its_identity_is_made_anew(data: Path) -> None:
    (data / "identity.json").unlink()
    for file in data.glob("site.db*"):
        file.unlink()
    good("init", "--data", data)


def test_init_torn_before_its_first_entry_is_completed(tmp_path: Path) -> None:
    from gateway import site  # noqa: PLC0415  # one use

    site.make(tmp_path / "d", operator="lockers.example", site="7")
    courier = ("courier", "add", "--data", tmp_path / "d", "--tenant", "t", "--label", "l")
    good(*courier)
    book = read_book(tmp_path / "d")
    assert {log.partition(":")[2]: size for log, size in book.sizes.items() if size} == {
        "su": 1,
        "sc": 1,
    }
    assert EpochBegun.__doc__


def test_map_goes_in_and_comes_out_the_same(data: Path, tmp_path: Path) -> None:
    refused("map.none", "site", "export", "--data", data)
    file = tmp_path / "map.toml"
    file.write_text(map_text())
    told = json.loads(good("site", "import", file, "--data", data, "--json"))
    assert (told["boards"], told["doors"]) == (2, 4)
    first = good("site", "export", "--data", data)
    file.write_text(first)
    good("site", "import", file, "--data", data)
    good("site", "export", "--data", data, "--out", tmp_path / "out.toml")
    assert (tmp_path / "out.toml").read_text() == first


@pytest.mark.parametrize(
    "text", ["", "\x00", "door = 3", "[boards]\n", "[[door]]\nnumber = 1\n", "a" * 600_000]
)
def test_bad_map_is_refused_and_nothing_changes(data: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "map.toml"
    file.write_text(text)
    before = read_book(data).canonical()
    assert "line=" in refused("map.invalid", "site", "import", file, "--data", data)
    assert read_book(data).canonical() == before


def test_map_that_is_no_text_is_refused(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_bytes(b"\xff\xfe\x00")
    refused("map.invalid", "site", "import", file, "--data", data)


def test_courier_secret_is_printed_once_and_kept_nowhere(data: Path) -> None:
    told = json.loads(
        good("courier", "add", "--data", data, "--tenant", "acme", "--label", "van", "--json")
    )
    secret = told["secret"]
    assert re.fullmatch(r"[0-9]{16}", secret)
    everything = b"".join(file.read_bytes() for file in data.rglob("*") if file.is_file())
    assert secret.encode() not in everything
    listed = good("courier", "list", "--data", data)
    assert told["ref"] in listed
    assert secret not in listed
    good("courier", "remove", told["ref"], "--data", data)
    assert json.loads(good("courier", "list", "--data", data, "--json"))[0]["removed"] is True
    refused("courier.unknown", "courier", "remove", told["ref"], "--data", data)
    bad = ("courier", "add", "--data", data, "--label", "x", "--tenant")
    refused("courier.tenant", *bad, "ACME")
    refused("courier.label", *bad[:4], "--label", "", "--tenant", "a")


def test_what_needs_boards_says_so_without_a_gateway(data: Path) -> None:
    words = ("1", "--data", data, "--by", "eva")
    refused("gateway.not_running", "support", "open", *words, "--reason", "r", "--case", "c")
    refused("gateway.not_running", "support", "check", *words, "--empty")
    refused("gateway.not_running", "status", "--data", data)


def test_service_code_and_annex_answer_with_their_codes(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "map.toml"
    file.write_text(map_text())
    good("site", "import", file, "--data", data)
    words = ("--data", data, "--by", "eva")
    good("support", "disable", "2", *words, "--reason", "bent")
    assert read_book(data).compartments[2].disabled == "bent"
    good("support", "enable", "2", *words)
    assert read_book(data).compartments[2].disabled == ""
    refused("door.unknown", "support", "disable", "99", *words, "--reason", "r")
    refused("parcel.unknown", "code", "show", "acme/JD1/1", "--data", data)
    refused("annex.unknown", "annex", "erase", "e1-00000000:sc9", *words)


def test_folder_that_is_no_site_is_refused_by_name(tmp_path: Path) -> None:
    refused("identity.missing", "courier", "remove", "x", "--data", tmp_path)
    (tmp_path / "identity.json").write_text("{}")
    refused("identity.invalid", "courier", "remove", "x", "--data", tmp_path)


def config_file(tmp_path: Path, data: Path, listen: str = "127.0.0.1:0") -> Path:
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'data_dir = "{data}"\n[kiosk]\nlisten = "{listen}"\n'
        '[lines.bank]\ntcp = "127.0.0.1:9"\nframing = "rtu"\n[log]\nformat = "json"\n'
    )
    return file


def test_doctor_names_what_is_bad(data: Path, tmp_path: Path) -> None:
    file = config_file(tmp_path, data)
    result = run("doctor", "--config", file, "--json")
    found: dict[str, Any] = {one["check"]: one["level"] for one in json.loads(result.stdout)}
    assert found["keys"] == found["kiosk"] == found["names"] == "ok"
    assert found["map"] == "note"
    map_file = tmp_path / "map.toml"
    map_file.write_text(map_text())
    good("site", "import", map_file, "--data", data)
    data.chmod(0o755)
    result = run("doctor", "--config", file)
    assert result.exit_code == 1
    for check in ("board.eyes", "board.locks", "data.mode"):
        assert re.search(rf"bad +{check}", result.stdout), result.stdout
    (data / "keys" / "code").chmod(0o644)
    assert "keystore.mode" in run("doctor", "--config", file).stdout


TABLE = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t004DA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("host", "level"),
    [
        ("127.0.0.1", "ok"),
        ("192.168.77.10", "ok"),
        ("192.168.0.9", "bad"),
        ("10.1.2.3", "bad"),
        ("boards.example", "note"),
    ],
)
def test_doctor_refuses_a_routed_network_of_boards(host: str, level: str) -> None:
    from gateway import config  # noqa: PLC0415  # one use

    read = config.parse(f'data_dir = "/d"\n[lines.a]\ntcp = "{host}:502"\n')
    (found,) = doctor.networks(read, trouble.routes(TABLE))
    assert found.level == level
    assert next(iter(doctor.networks(read, []))).level in {"ok", "note", "bad"}


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 40, 1), "note"),
        ((3, 44, 6), "ok"),
        ((3, 44, 5), "note"),
        ((3, 50, 7), "ok"),
        ((3, 51, 2), "note"),
        ((3, 51, 3), "ok"),
    ],
)
def test_doctor_knows_the_wal_reset_bug(version: tuple[int, ...], level: str) -> None:
    assert next(iter(doctor.sqlite(version))).level == level


def test_process_runs_and_ends_on_sigterm_with_status_0(data: Path, tmp_path: Path) -> None:
    file = config_file(tmp_path, data)
    command = [
        sys.executable,
        "-c",
        "from gateway.cli import main; main()",
        "run",
        "--config",
        str(file),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert json.loads(line)["action"] == "site.ready", line
        assert json.loads(good("status", "--data", data, "--json"))["health"]["ok"] is True
        began = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(timeout=20) == 0
    assert time.monotonic() - began < 15
    actions = [json.loads(line)["action"] for line in rest.splitlines()]
    assert actions[-1] == "site.stopped"
    assert identity.database_of(data).exists()
    refused("config.invalid", "run", "--config", _spoilt(file))


def _spoilt(file: Path) -> Path:
    file.write_text("data_dir = 3\n")
    return file
