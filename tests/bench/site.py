"""The figures site.footprint, door.detect and code.check: a large site running, and its keypad.

The site runs as it would: `locker-gateway run` in a process of its own, against `locker-bank` in
another, 26 boards of eight inputs (the largest RTU boards with inputs that there are profiles for)
on two RS485 lines with real wire time.
"""

import contextlib
import hmac
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway.core import keypad
from gateway.identity import database_of
from sync.entry import Lane
from sync.reader import LogFile
from sync.sitemap import BoardItem, DoorItem, SiteMap
from tests.stage import KEY, Stage

Figure = dict[str, object]

LINES, BOARDS, CHANNELS = ("left", "right"), 26, 8
BAUD = 19_200
IDLE_MS = 400
IDLE_S = 20.0
ROUNDS = 4
PARCELS = 600
WORDS = {"site": "gateway.cli", "bank": "adapters.simulator.cli"}
BARE = """
import asyncio
from aiohttp import web
async def main():
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def program(what: str, *words: str, folder: Path) -> subprocess.Popen[str]:
    code = f"from {WORDS[what]} import main; main()"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *words], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=(folder / f"{what}.log").open("ab"),
        start_new_session=True,
    )  # fmt: skip


def files(folder: Path) -> None:
    """Write the bank, the map and the configuration of the large site."""
    bank = [f'[[line]]\nname = "{ln}"\nserial_pty = "{ln}"\nbaud = {BAUD}\n' for ln in LINES]
    site = []
    for number in range(BOARDS):
        name, line, unit = f"b{number}", LINES[number % 2], number // 2 + 1
        profile = "waveshare-rtu-io-8ch"
        bank.append(
            f'[[board]]\nname = "{name}"\nline = "{line}"\nprofile = "{profile}"\nunit = {unit}\n'
        )
        site.append(f'[boards.{name}]\nline = "{line}"\nprofile = "{profile}"\nunit = {unit}\n')
    for number in range(BOARDS * CHANNELS):
        name, channel = f"b{number // CHANNELS}", number % CHANNELS
        bank.append(
            f'[[compartment]]\nnumber = {number + 1}\nlock = "{name}:{channel}"\n'
            f'door = "{name}:{channel}"\ndoor_open_is = "inactive"\n'
        )
        site.append(
            f'[[door]]\nnumber = {number + 1}\nsize = "M"\nlock = "{name}:{channel}"\n'
            f'switch = "{name}:{channel}"\nrail = "{name}"\n'
        )
    lines = "".join(
        f'[lines.{line}]\nserial = "{folder / line}"\nbaud = {BAUD}\n' for line in LINES
    )
    # A forced door is not watched closely for minutes: the next one is found by idle looks.
    timing = f"[timing]\npoll_idle_ms = {IDLE_MS}\najar_ms = 1000\najar_alarm_ms = 1100\n"
    (folder / "bank.toml").write_text("\n".join(bank))
    (folder / "site.toml").write_text("\n".join(site))
    (folder / "gateway.toml").write_text(
        f'data_dir = "{folder}/data"\n[kiosk]\nlisten = "127.0.0.1:0"\n{lines}{timing}'
    )


@contextlib.contextmanager
def large_site() -> Iterator[tuple[Path, str, int]]:
    """Yield (data folder, the bank's URL, process number of the gateway), all doors seen."""
    with TemporaryDirectory(prefix="bench-site-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        files(folder)
        (folder / "data").mkdir()
        data = folder / "data"
        run_to_end("init", folder, data)
        run_to_end("site", folder, data, "import", "site.toml")
        bank = stack.enter_context(_ends(program(
            "bank", "run", "--bank", "bank.toml", "--page", "127.0.0.1:0", "--json", folder=folder
        )))  # fmt: skip
        assert bank.stdout is not None
        url = json.loads(bank.stdout.readline())["page"]
        gateway = stack.enter_context(
            _ends(program("site", "run", "--config", "gateway.toml", folder=folder))
        )
        _wait_until_seen(folder, data)
        yield data, url, gateway.pid


def run_to_end(word: str, folder: Path, data: Path, *words: str) -> str:
    command = program("site", word, *words, "--data", str(data), folder=folder)
    out, _ = command.communicate(timeout=60)
    if command.returncode:
        raise RuntimeError((folder / "site.log").read_text())
    return out


def _wait_until_seen(folder: Path, data: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with contextlib.suppress(RuntimeError):
            doors = json.loads(run_to_end("status", folder, data, "--json")).get("doors", [])
            if doors and all(door["open"] is False for door in doors):
                return
        time.sleep(0.5)
    raise TimeoutError((folder / "site.log").read_text()[-2000:])


@contextlib.contextmanager
def _ends(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    [row] = [row for row in status if row.startswith("VmRSS")]
    return int(row.split()[1]) / 1024


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def footprint() -> Iterator[Figure]:
    """Memory and CPU of the idle site, beside a bare aiohttp server."""
    bare = subprocess.Popen([sys.executable, "-c", BARE], stdout=subprocess.PIPE, text=True)
    try:
        assert bare.stdout is not None
        bare.stdout.readline()
        bare_mib = memory_mib(bare.pid)
    finally:
        bare.kill()
        bare.communicate()
    with large_site() as (_, _, pid):
        time.sleep(3.0)
        began, used = time.perf_counter(), cpu_s(pid)
        time.sleep(IDLE_S)
        took, used = time.perf_counter() - began, cpu_s(pid) - used
        mib = memory_mib(pid)
    what = f"{BOARDS} boards, {BOARDS * CHANNELS} doors, two RS485 lines at {BAUD}"
    yield figure(
        "site.footprint", mib, bare_mib, "MiB", "<= 80 MiB",
        f"resident memory of `locker-gateway run`, {what}; limit: Python and aiohttp, idle",
    )  # fmt: skip
    looks = BOARDS * 1000 / IDLE_MS
    yield figure(
        "site.footprint", 100 * used / took, 5.0, "% of a core", "<= 5 %",
        f"CPU over {IDLE_S:.0f} s, nobody there, {looks:.0f} looks a second; {what}; "
        "the limit is the goal",
    )  # fmt: skip


def figure(name: str, ours: float, limit: float, unit: str, goal: str, how: str) -> Figure:  # noqa: PLR0917  # columns
    return {
        "name": name, "ours": round(ours, 3), "limit": round(limit, 3),
        "ratio": round(ours / limit, 3), "unit": unit, "goal": goal, "how": how,
    }  # fmt: skip


def detect() -> Iterator[Figure]:
    """Force doors one after the other, each board long left alone; see the fact in the file."""
    took: list[float] = []
    chance = random.Random(7)
    with large_site() as (data, url, _):
        size = _urgent(data, 0)[0]
        for turn in range(ROUNDS):
            for board in range(BOARDS):
                door = board * CHANNELS + turn + 1
                time.sleep(chance.uniform(0.05, 0.05 + IDLE_MS / 1000))
                began = time.perf_counter()
                _hand(url, door, "force")
                size = _durable(data, size, door)
                took.append((time.perf_counter() - began) * 1000)
                _hand(url, door, "close")
    took.sort()
    yield figure(
        "door.detect", took[math.ceil(len(took) * 0.99) - 1], IDLE_MS, "ms", "<= 1.2",
        f"door levered open -> door.forced read back from the log, p99 of {len(took)} (p50 "
        f"{statistics.median(took):.0f} ms); {BOARDS} boards; limit: one sweep, {IDLE_MS} ms",
    )  # fmt: skip


def _hand(url: str, door: int, action: str) -> None:
    request = urllib.request.Request(
        f"{url}api/doors/{door}/{action}", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def _urgent(data: Path, start: int) -> tuple[int, list[bytes]]:
    with LogFile.open(database_of(data)) as log:
        head = log.head(Lane.URGENT)
        return head.size, [record.entry for record in log.records(head, start)]


def _durable(data: Path, start: int, door: int) -> int:
    """Return the size of the urgent lane once it holds the alarm of this door."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        size, new = _urgent(data, start)
        for entry in new:
            read: dict[str, Any] = json.loads(entry)
            if read.get("alarm") == "door.forced" and read.get("door") == door:
                return size
        time.sleep(0.003)
    msg = f"door {door} was never seen"
    raise TimeoutError(msg)


def code_check() -> Iterator[Figure]:
    """The code of one of 600 parcels that are here, and a code of nobody, beside 600 HMACs."""
    boards = {"all": BoardItem(name="all", line="bus", profile="any", unit=1)}
    doors = {
        n: DoorItem(number=n, size="S", lock=f"all:{n}", switch=f"all:{n}", rail=str(n))
        for n in range(1, PARCELS + 1)
    }
    stage = Stage(map=SiteMap(boards=boards, doors=doors))
    state = stage.engine.state
    _fill(stage)
    parcels = list(state.book.parcels.values())
    digits = [KEY.code(p.identity or "", p.counter).short(p.digits) for p in parcels]
    messages = [f"pickup-code/v1\0{KEY.site}\0{p.identity}\0\0".encode() for p in parcels]

    def check(typed: str) -> None:
        assert not isinstance(keypad.collector(state, typed), keypad.Refused)

    def hmacs() -> None:
        for message in messages:
            hmac.digest(KEY.key, message, "sha256")

    taken = [
        (cpu_ms(partial(check, typed)), cpu_ms(hmacs))
        for typed in random.Random(7).sample(digits, 40)
    ]
    ours, limit = (statistics.median(column) for column in zip(*taken, strict=True))
    wrong = statistics.median(
        cpu_ms(lambda: keypad._live(state, "0" * len(digits[0]))) for _ in taken
    )
    yield figure(
        "code.check", ours, limit, "ms", "<= 2",
        f"CPU of one code against {len(parcels)} live parcels; limit: as many HMAC-SHA-256; "
        f"a code of nobody (also compared with every re-issue): {wrong:.2f} ms",
    )  # fmt: skip


def _fill(stage: Stage) -> None:
    """Deposit one parcel in each compartment."""
    for number in range(PARCELS):
        stage.deposit(f"JD{number:010d}")


def cpu_ms(work: Callable[[], object]) -> float:
    began = time.process_time_ns()
    work()
    return (time.process_time_ns() - began) / 1e6


FIGURES: dict[str, Callable[[], Iterator[Figure]]] = {
    "site.footprint": footprint,
    "door.detect": detect,
    "code.check": code_check,
}
