"""Pins that a commissioning which is cut leaves the old map or the new one, never half."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from gateway import control, site
from gateway.commissioning.keeping import DRAFT
from gateway.control import SOCKET, NotRunning
from gateway.demo.process import Process
from gateway.errors import GatewayError
from sync import facts
from tests.bench_stage import (
    TCP,
    BenchStand,
    bench_stand,
    found,
    kinds,
    proved,
    taught,
    told,
    wiring,
)


class KilledStand(BenchStand):
    """The stage with its gateway in a process of its own, to be killed."""

    gateway: Process

    @override
    async def running(self) -> None:
        """Start it, and wait until its socket answers for a site that lives."""
        file = self.data.parent / "gateway.toml"
        file.write_text(
            f'data_dir = "{self.data}"\n[kiosk]\nlisten = "127.0.0.1:0"\n'
            "[timing]\npoll_idle_ms = 100\n"
        )
        self.gateway = await Process.start(
            "locker-gateway", "run", "--config", str(file), cwd=self.data.parent,
            log=self.data.parent / "gateway.log",
        )  # fmt: skip
        self.task = asyncio.get_running_loop().create_future()  # type: ignore[assignment]
        async with asyncio.timeout(60):
            while not await self._lives():  # noqa: ASYNC110  # another process: nothing to await
                await asyncio.sleep(0.05)

    async def _lives(self) -> bool:
        try:
            told = await control.status(self.data / SOCKET)
        except (NotRunning, GatewayError):
            return False
        return bool(told["health"].get("entries"))

    async def killed(self) -> None:
        """SIGKILL, and the boards see nobody any more."""
        await self.gateway.killed()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[KilledStand]:
    async with bench_stand(tmp_path / "data", wiring(2, line=TCP), made=KilledStand) as made:
        assert isinstance(made, KilledStand)
        await made.running()
        try:
            yield made
        finally:
            await made.killed()
            del made.task


async def after_kill(stage: KilledStand) -> dict[str, Any]:
    """Kill and start again; whatever was pulsed has its outcome, no coil is on."""
    await stage.killed()
    await stage.running()

    def ended() -> bool:
        written = kinds(stage.data)
        intents = sum(isinstance(one, facts.LockIntended) for one in written)
        return intents == sum(isinstance(one, facts.LockEnded) for one in written)

    await stage.until(ended)
    await stage.until(lambda: not stage.coils_on())
    return await stage.view()


async def test_a_gateway_killed_in_a_lesson_has_its_draft_and_an_outcome(
    stage: KilledStand,
) -> None:
    await found(stage)
    await taught(stage, "locks-1:0", 1)
    await stage.act("try", lock="locks-1:1")
    await stage.until(lambda: stage.door(2)["coil_on"])
    view = await after_kill(stage)
    assert [door["number"] for door in view["doors"]] == [1]
    assert (view["state"], view["job"], view["lesson"]) == ("closed", None, None)
    assert len(view["boards"]) == 3
    assert site.read_book(stage.data).map.doors == {}
    outcomes = [one.outcome for one in kinds(stage.data) if isinstance(one, facts.LockEnded)]
    assert outcomes == ["opened", "doubt"]
    with stage.bank.guard():
        stage.bank.bank.person.close(2)
    await stage.act("begin")  # the same draft goes on
    await taught(stage, "locks-1:1", 2)
    assert [door["number"] for door in (await stage.view())["doors"]] == [1, 2]


async def test_a_gateway_killed_around_the_sign_off_has_the_old_map_or_the_new(
    stage: KilledStand,
) -> None:
    await found(stage)
    for number in (1, 2):
        await taught(stage, f"locks-1:{number - 1}", number)
    await proved(stage, 2)
    signing = asyncio.create_task(stage.act("sign"))
    await asyncio.sleep(0.03)  # sent, and perhaps on the disk
    await after_kill(stage)
    await asyncio.gather(signing, return_exceptions=True)
    book = site.read_book(stage.data)
    assert set(book.map.doors) in ({1, 2}, set())
    assert (book.commissioned is not None) == bool(book.map.doors)
    if not book.map.doors:
        await stage.act("begin")
        await stage.act("sign")
        assert set(site.read_book(stage.data).map.doors) == {1, 2}


async def test_cancelled_twice_and_signed_twice(stage: KilledStand) -> None:
    await found(stage)
    await taught(stage, "locks-1:0", 1)
    view = await stage.act("cancel")
    assert (view["state"], view["doors"]) == ("none", [])
    assert await told(stage, "cancel") == "commission.none"
    assert await told(stage, "sign") == "commission.none"
    assert site.read_book(stage.data).map.doors == {}
    assert not (stage.data / DRAFT).exists()


async def test_a_broken_draft_is_told_and_keeps_nobody_from_working(stage: KilledStand) -> None:
    await stage.killed()
    (stage.data / DRAFT).write_bytes(b'{"version":1,"by":')
    await stage.running()
    view = await stage.view()
    assert (view["state"], view["last"]["code"]) == ("none", "commission.draft_broken")
    assert (await stage.act("begin"))["state"] == "open"
