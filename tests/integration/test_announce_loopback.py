"""Pins announcing and asking in one process, on loopback: state, names, goodbye, a flood."""

import asyncio
import dataclasses
import fcntl
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from typing_extensions import override

from gateway import announce as announce_module
from gateway import config, discover, interfaces, nearby
from gateway.announce import Announcer
from gateway.errors import GatewayError
from gateway.nearby import Gateway, Said
from tests import mdns
from tests.contract.site_stage import stand
from tests.integration.test_installer_flood import FEW, RATIO_MAX, deposit_all, pick_up
from tests.lan_stage import LanStand

ROOT = Path(__file__).resolve().parents[2]
HERE = "127.0.0.1"
LIMIT_S = 30.0
PIN = "00112233" + "ab" * 28


@pytest.fixture(autouse=True)
async def alone() -> AsyncIterator[None]:
    """All of one machine hear each other on loopback: one test at a time, of all workers."""
    with (Path(tempfile.gettempdir()) / "locker-gateway-mdns.lock").open("a") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield


class Speaker:
    """An announcer, and what it says at the moment."""

    def __init__(self, site: str, pin: str = PIN, port: int = 8443) -> None:
        self.said: Said | Exception = Said(site, "1.0", "new", pin, port)
        self.announcer = Announcer(self.ask, HERE, look_s=0.1)

    def ask(self) -> Said:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    @asynccontextmanager
    async def speaking(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.announcer.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def announced(self) -> None:
        await until(lambda: asyncio.sleep(0.02, self.announcer.name))


async def until(true: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            if await true():
                return


async def found(site: str, seconds: float = 1.5) -> list[Gateway]:
    """Return what is announced of this site; other tests may run beside."""
    return [one for one in (await discover.browse(seconds, HERE)).gateways if one.site == site]


async def test_what_is_said_is_found_and_followed_and_taken_back() -> None:
    one = Speaker("loop-1")
    async with one.speaking():
        await one.announced()
        [seen] = await found("loop-1")
        assert (seen.state, seen.addresses, seen.port) == ("new", (HERE,), 8443)
        assert seen.fingerprint == "00112233"
        assert isinstance(one.said, Said)
        one.said = dataclasses.replace(one.said, state="commissioning")

        async def changed() -> bool:
            return [row.state for row in await found("loop-1")] == ["commissioning"]

        await until(changed)
    assert one.announcer.name == ""
    assert await found("loop-1") == []


async def test_trouble_is_told_once_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(announce_module, "RETRY_S", 0.05)
    one = Speaker("loop-2")
    good, one.said = one.said, RuntimeError("a bug")
    async with one.speaking():
        await asyncio.sleep(0.6)
        assert one.announcer.name == ""
        one.said = good
        await one.announced()
        assert len(await found("loop-2")) == 1
        one.said = OSError(101, "unreachable")  # while it is announced, too
        await until(lambda: asyncio.sleep(0.02, not one.announcer.name))
        one.said = good
        await one.announced()
    told = capsys.readouterr()
    failed = [row for row in (told.out + told.err).splitlines() if "announce.failed" in row]
    warned = [row for row in failed if "debug" not in row]
    assert len(warned) == 2, failed


async def test_without_its_address_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    real = interfaces.here
    monkeypatch.setattr(interfaces, "here", tuple)
    one = Speaker("loop-3")
    async with one.speaking():
        await asyncio.sleep(0.5)
        assert one.announcer.name == ""
        monkeypatch.setattr(interfaces, "here", real)
        await one.announced()
        monkeypatch.setattr(interfaces, "here", tuple)  # the cable is out again
        await until(lambda: asyncio.sleep(0.02, not one.announcer.name))
    with pytest.raises(GatewayError) as caught:
        await discover.browse(0.5, HERE)
    assert caught.value.code == "discover.no_network"


async def test_a_name_that_somebody_claims_later_is_settled_by_both_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announce_module, "CLASH_S", 0.5)
    one = Speaker("loop-4")
    async with one.speaking():
        await one.announced()
        assert one.announcer.name == "loop-4"
        said = mdns.text(mdns.GOOD)
        with mdns.multicast(HERE) as out:
            # A host name that sorts before ours: we keep the name, and say so again.
            mdns.send(out, mdns.service("loop-4", said, host="aaa", addresses=[HERE]))
            assert [row.name for row in await found("loop-4", 3.0)] == ["loop-4"]
            assert one.announcer.name == "loop-4"
            # One that sorts after ours: the name is theirs, and no goodbye of ours takes it away.
            listening = asyncio.create_task(discover.browse(4.0, HERE))
            await asyncio.sleep(0.5)  # it listens by then
            mdns.send(out, mdns.service("loop-4", said, host="zzz", addresses=[HERE]))
            await until(lambda: asyncio.sleep(0.02, one.announcer.name == "loop-4-2"))
        rows = [(row.site, row.name) for row in (await listening).gateways]
        assert ("loop-4", "loop-4-2") in rows
        assert ("6666", "loop-4") in rows


async def test_boards_that_announce_themselves_are_listed() -> None:
    async def shouting() -> None:
        with mdns.multicast(HERE) as out:
            while True:
                for label, port in (("Relay 7", 502), ("none", 0)):
                    made = mdns.service(
                        label, b"", port=port, kind=mdns.BOARDS, addresses=[HERE], host="board-7"
                    )
                    mdns.send(out, made)
                await asyncio.sleep(0.1)

    task = asyncio.create_task(shouting())
    try:
        boards = await discover.browse_modbus(0.6, HERE)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert nearby.Board(HERE, 502, "Relay 7") in boards
    assert [one for one in boards if one.name == "none"] == []


async def test_an_address_that_is_none_is_told_in_one_line() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from gateway.cli import main; main()", "discover", "--on", "nowhere",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    _, err = await child.communicate()
    assert (child.returncode, err.decode().count("\n")) == (1, 1)
    assert b"discover.address" in err


class Announced(LanStand):
    """The stage of a whole site that is announced on loopback."""

    @override
    def config(self) -> config.Config:
        chosen = super().config()
        lan = msgspec.structs.replace(chosen.installer, announce=True)
        return msgspec.structs.replace(chosen, installer=lan)


async def test_a_flood_of_multicast_does_not_delay_a_pick_up(tmp_path: Path) -> None:
    async with stand(tmp_path / "data", made=Announced) as stage:
        assert isinstance(stage, Announced)
        stage.start()
        await stage.in_service()
        await stage.until(lambda: stage.app.status()["installer"]["announced"])  # type: ignore[index]
        codes = await deposit_all(stage)
        alone = [await pick_up(stage, code) for code in codes[:FEW]]
        flood = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "tests/mdns.py"), "flood", HERE, "60",
            cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            await asyncio.sleep(1.0)
            beside = [await pick_up(stage, code) for code in codes[FEW:]]
            assert flood.returncode is None
        finally:
            with suppress(ProcessLookupError):
                flood.kill()
            await flood.communicate()
        ratio = statistics.mean(beside) / statistics.mean(alone)
        print(json.dumps({"alone": alone, "beside": beside, "ratio": round(ratio, 2)}))
        assert ratio < RATIO_MAX, (alone, beside)
        assert await stage.stop() == 0
