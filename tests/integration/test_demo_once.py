"""Pins the demo: a day played by real processes, counted from its log, and nothing left behind."""

import json
import os
import select
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from adapters.simulator import wiring
from gateway import mapfile
from gateway.bank import known
from gateway.demo import stage
from gateway.demo.record import Seen, counts, unintended, unlogged
from gateway.demo.story import Words
from sync.entry import Lane

PROGRAM = [sys.executable, "-P", "-c", "from gateway.cli import main; main()"]
DAY_S = 400


def demo(*words: Any, within_s: float = DAY_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "demo", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=within_s, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def on_record(data: Path) -> list[dict[str, Any]]:
    shown = subprocess.run(
        [*PROGRAM, "log", "show", "--json", "--data", str(data)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [json.loads(line)["entry"] for line in shown.stdout.splitlines()]


def running_in(data: Path) -> list[str]:
    """Command lines of processes whose working directory is the demo's."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == data / "demo":
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_day_is_played_counted_and_gone_on_with(tmp_path: Path) -> None:
    data = tmp_path / "site"
    day = demo("--once", "--json", "--data", data)
    assert day.returncode == 0, day.stderr
    assert data.stat().st_mode & 0o777 == 0o700  # as doctor wants it
    [told] = day.stdout.splitlines()
    first = json.loads(told)
    page = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    listed = page.partition("The object counts")[2].partition("\n\n")[0].split("`")[1::2]
    assert sorted(listed) == sorted(first)
    entries = on_record(data)
    kinds = Counter(entry["kind"] for entry in entries)
    link = {
        name: first.pop(name)
        for name in ("link_cuts", "entries_synced", "bytes_on_wire", "books_equal",
                     "conflicts_surfaced")
    }  # fmt: skip
    assert link["entries_synced"] == len(entries)
    assert link["bytes_on_wire"] > len(entries)
    assert (link["link_cuts"], link["books_equal"], link["conflicts_surfaced"]) == (1, True, 0)
    assert (kinds["grant.revoked"], kinds["reservation.made"]) == (1, 1)
    assert [one["outcome"] for one in entries if one["kind"] == "reservation.closed"] == ["used"]
    assert first == {
        "deposits": 7, "pickups": 4, "refused": 2, "faults": 2, "crashes": 1,
        "entries": len(entries), "log_verified": True, "doors_opened_unlogged": 0,
    }  # fmt: skip
    assert (kinds["parcel.deposited"], kinds["parcel.collected"]) == (7, 4)
    assert (kinds["parcel.taken_back"], kinds["parcel.left"], kinds["door.forced"]) == (1, 1, 1)
    outcomes = Counter(entry["outcome"] for entry in entries if entry["kind"] == "open.ended")
    assert outcomes == {"opened": 14, "failed": 3, "doubt": 1}
    for said in (
        "SIGKILL",
        "Pull door",
        "equal, byte for byte",
        "Your parcel is still inside",
        "doubt",
        "verified",
    ):
        assert said in day.stderr
    assert running_in(data) == []

    second = _stands_and_stops(data, told)
    assert second["entries"] > first["entries"]
    assert (second["deposits"], second["faults"]) == (0, 0)  # what was left in a door is still held
    assert second["log_verified"] is True
    assert running_in(data) == []


def _stands_and_stops(data: Path, counted: str) -> dict[str, Any]:
    """`--stay --json` on the data of an earlier day: addresses first, counts last."""
    with subprocess.Popen(
        [*PROGRAM, "demo", "--stay", "--json", "--data", str(data)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as stays:  # fmt: skip
        assert stays.stdout is not None
        places = json.loads(stays.stdout.readline())
        assert places.keys() == {"kiosk", "bank", "courier_code", "tracking", "data"}
        busy = demo("--stay", "--data", data, within_s=60)
        assert (busy.returncode, "demo.busy" in busy.stderr) == (1, True)
        stays.send_signal(signal.SIGTERM)
        out, err = stays.communicate(timeout=60)
        assert stays.returncode == 0, err
    last: dict[str, Any] = json.loads(out)
    assert last.keys() == json.loads(counted).keys()
    return last


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    refused = demo("--once", "--data", tmp_path, within_s=60)
    assert refused.returncode == 1
    assert "demo.foreign_data" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_broken_off_it_stops_everything_and_says_so(tmp_path: Path) -> None:
    data = tmp_path / "site"
    with subprocess.Popen(
        [*PROGRAM, "demo", "--once", "--data", str(data)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as broken:  # fmt: skip
        assert broken.stdout is not None
        while "scans" not in broken.stdout.readline():
            assert broken.poll() is None
        assert len(running_in(data)) == 3  # bank, hub, gateway
        broken.send_signal(signal.SIGINT)
        out, _ = broken.communicate(timeout=60)
    assert broken.returncode == 130
    assert "Everything is stopped" in out
    assert running_in(data) == []


def test_killed_it_leaves_no_process_behind(tmp_path: Path) -> None:
    data = tmp_path / "site"
    with subprocess.Popen(
        [*PROGRAM, "demo", "--stay", "--json", "--data", str(data)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as killed:  # fmt: skip
        assert killed.stdout is not None
        assert killed.stdout.readline()
        children = [os.pidfd_open(int(pid)) for pid in _children(killed.pid)]
        assert len(children) == 3  # bank, hub, gateway
        killed.kill()
    for child in children:
        with os.fdopen(child, "rb"):
            assert _ends(child)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _ends(child: int) -> bool:
    readable, _, _ = select.select([child], [], [], 30)
    return bool(readable)


def test_bank_and_map_are_the_same_wall() -> None:
    folder = Path(stage.__file__).parent
    wall = wiring.parse((folder / "bank.toml").read_text())
    site = mapfile.parse((folder / "site.toml").read_text(), known)
    assert len(site.doors) == len(wall.compartment) == 32
    for box in wall.compartment:
        door = site.doors[box.number]
        assert (box.lock, box.door, box.occupancy) == (door.lock, door.switch, door.occupancy)
        assert (box.door_open_is, box.occupied_is) == (door.open_when, door.occupied_when)
    for board in wall.board:
        item = site.boards[board.name]
        assert (board.line, board.profile, board.unit) == (item.line, item.profile, item.unit)
    assert {door.size for door in site.doors.values()} == {"S", "M", "L", "XL"}


def seen(kind: str, door: int, ref: str = "", boot: int = 1, **body: Any) -> Seen:
    return Seen(ref, Lane.CUSTODY, 0, (boot, 0), kind, {"door": door, **body})


def test_an_opening_or_a_pulse_that_no_intent_accounts_for_is_counted() -> None:
    entries = [
        seen("open.intended", 1, "a"), seen("open.ended", 1, of="a", outcome="opened"),
        seen("open.intended", 2, "b"), seen("open.ended", 2, of="b", outcome="failed"),
    ]  # fmt: skip
    pulse, later = {"cause": "pulse", "at_ms": 50}, {"cause": "pulse", "at_ms": 4_000}
    slammed = {"cause": "pulse", "at_ms": 350}  # while the coil is on: the same opening
    forced = {"cause": "forced", "at_ms": 2_000}
    doors = [
        {"number": 1, "pulses": 2, "openings": [pulse, slammed, forced, later]},
        {"number": 2, "pulses": 1, "openings": [pulse]},
        {"number": 3, "pulses": 1, "openings": []},
    ]
    assert unlogged(entries, doors) == 2
    assert unintended(entries, doors) == 2


def test_a_crash_is_an_intent_whose_outcome_a_later_start_wrote() -> None:
    entries = [
        seen("open.intended", 1, "a"), seen("open.ended", 1, of="a", outcome="opened"),
        seen("open.intended", 2, "b"), seen("open.ended", 2, boot=2, of="b", outcome="doubt"),
        seen("code.refused", 0, count=3), seen("alarm.raised", 2, alarm="door.stuck"),
        Seen("", Lane.URGENT, 0, (1, 0), "alarm.raised", {"alarm": "clock.floor"}),
    ]  # fmt: skip
    day = counts(entries, 7)
    assert (day.crashes, day.refused, day.faults, day.entries) == (1, 3, 1, 7)


def test_screens_are_told_in_the_words_that_stand_on_them() -> None:
    def screen(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "door": 7, "why": "", "count": 0, "sizes": [], **more}

    words = Words()
    assert words.of(screen("deliver.scan")).startswith("Door 7: parcel stored. Scan the parcel.")
    assert "another try" in words.of(screen("collect.opening", count=2))
    assert words.of(screen("deliver.open", why="parcel.take_out")).endswith("push the door shut.")
    assert "2 seconds" in words.of(screen("collect.enter", why="code.wait", count=2))
    assert words.of(screen("deliver.size", sizes=[["S", 4]])) == "Choose a size. Free: 4 S."
