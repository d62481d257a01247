"""Pins deploy/runbooks/restore.md: its commands, run as they stand, do what it says."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway import continuity
from gateway.cli import main as gateway_cli
from sync.hub.cli import main as hub_cli
from tests.exchange_stage import Site, staged, vkey_of

RUNBOOK = Path(__file__).resolve().parents[2] / "deploy/runbooks/restore.md"
TRACKING = "JD014600006281230704"
PROGRAMS = {"locker-gateway": gateway_cli, "locker-hub": hub_cli}


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with staged(tmp_path, monkeypatch) as made:
        yield made


def section(number: int) -> list[str]:
    """The commands of a section, line by line."""
    text = RUNBOOK.read_text(encoding="utf-8").partition(f"\n## {number}. ")[2]
    blocks = re.findall(r"^```sh\n(.*?)^```$", text.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


class Hands:
    """An operator who types what the page says, at this stage's folders."""

    def __init__(self, stage: Site, folder: Path) -> None:
        self.stage, self.folder = stage, folder
        self.vkeys: list[str] = []
        (folder / "gateway.toml").write_text(stage.config_text(), encoding="utf-8")

    async def types(self, line: str) -> str:
        """Do one line; return what it printed. It must end without an error."""
        program, *words = shlex.split(self.here(line))
        if program == "systemctl":
            await self._service(*words)
            return ""
        done = await asyncio.to_thread(CliRunner().invoke, PROGRAMS[program], words)
        assert done.exit_code == 0, (line, done.output, done.exception)
        return done.output

    def here(self, line: str) -> str:
        """The line with this stage's folders and doors in it."""
        stage = self.stage
        for there, here in (
            ("/var/lib/locker-gateway", stage.data),
            ("/var/lib/locker-hub", stage.cloud.data),
            ("/etc/locker-gateway/gateway.toml", self.folder / "gateway.toml"),
            ("/media/stick", self.folder),
            ("http://127.0.0.1:8700", stage.cloud.url),
            ("check 7", "check 1"),
            ("open 7", "open 1"),
        ):
            line = line.replace(there, str(here))
        while "VKEY" in line.replace("--vkey", ""):
            line = line.replace("VKEY", self.vkeys.pop(0), 1)
        return line

    async def _service(self, verb: str, unit: str) -> None:
        stage = self.stage
        match verb, unit:
            case "stop", "locker-gateway":
                assert await stage.stop() == 0
            case "start", "locker-gateway":
                await stage.begin()
            case "stop", _:
                await stage.cloud.stop()
            case _:
                await stage.cloud.start()


async def test_a_marked_gateway(stage: Site, tmp_path: Path) -> None:
    hands = Hands(stage, tmp_path)
    await stage.begin()
    door = await stage.deposit(TRACKING, await stage.courier())
    await stage.agrees()
    stop, mark, start, show, opens, check, lift = section(1)
    for line in (stop, mark, start):
        await hands.types(line)
    assert (await hands.types(show)).splitlines()[:2] == ["fenced: restored", f"not proved: {door}"]
    assert "opened" in await hands.types(opens)
    await stage.hands(door)

    async def closed() -> bool:
        words = shlex.split(hands.here(check))[1:]
        done = await asyncio.to_thread(CliRunner().invoke, gateway_cli, words)
        return bool(done.exit_code == 0)

    await stage.comes(closed)
    await stage.has(lambda: not stage.book.fenced)
    assert lift.startswith("locker-gateway fence lift")


async def test_a_replaced_gateway(stage: Site, tmp_path: Path) -> None:
    hands = Hands(stage, tmp_path)
    await stage.begin()
    await stage.deposit(TRACKING, await stage.courier())
    await stage.agrees()
    assert await stage.stop() == 0
    keys, code_key, replace, rekey = section(2)
    stage.data = tmp_path / "another"
    hands.vkeys = (await hands.types(keys)).split()
    await hands.types(code_key)
    said = await hands.types(replace)
    assert rekey.partition(" --config")[0] in said
    hands.vkeys = [vkey_of(stage.data)]
    await hands.types(rekey)
    await stage.begin()
    await stage.agrees()
    assert stage.book.fenced


async def test_a_marked_hub(stage: Site, tmp_path: Path) -> None:
    hands = Hands(stage, tmp_path)
    await stage.begin()
    await stage.agrees()
    stop, mark, start, show = section(4)
    await hands.types(stop)
    assert "0042 fenced" in await hands.types(mark)
    await hands.types(start)
    assert "0042" in await hands.types(show)
    await stage.agrees()


async def test_the_stick(stage: Site, tmp_path: Path) -> None:
    hands = Hands(stage, tmp_path)
    await stage.cloud.stop()
    for line in section(5):
        await hands.types(line)
    assert continuity.broken(stage.data) == ""
    await stage.cloud.start()
    await stage.agrees()
