"""Pins pruning end to end: what a gateway forgets, and what everybody is told who asks for it."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from typing_extensions import override

from gateway import clock, site
from gateway.cli import main as gateway_cli
from sync.entry import Lane
from tests.exchange_stage import Site, staged, vkey_of

TRACKING = "JD014600006281230704"
DAY_MS = 86_400_000


class Disciplined(clock.Machine):
    """A wall clock that somebody disciplines, some days from now."""

    days = 0

    @override
    def wall_ms(self) -> int:
        return super().wall_ms() + self.days * DAY_MS

    @override
    def kernel_error_ms(self) -> int | None:
        return 5


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(clock, "Machine", Disciplined)
    monkeypatch.setattr(Disciplined, "days", 0)
    async with staged(tmp_path, monkeypatch) as made:
        made.listen = "127.0.0.1:0"
        yield made


async def grown_old(stage: Site) -> None:
    """A hundred days after a busy day: the site runs, its hub has receipts for all of that day."""
    await stage.begin()
    secret = await stage.courier()
    door = await stage.deposit(TRACKING, secret)
    await stage.pick_up(stage.code(TRACKING), door)
    await stage.agrees()
    assert await stage.stop() == 0
    Disciplined.days = 100
    await stage.begin()
    life: Any = stage.app._life
    life._take_snapshot()
    await stage.until(lambda: stage.app._exchange.kept.stand.instance)
    await stage.comes(life.store.latest_snapshot)
    await stage.agrees()


async def prune(stage: Site) -> dict[str, int]:
    life: Any = stage.app._life
    return await stage.app._exchange.prune(life, life.store)


async def test_old_entries_go_and_everything_else_goes_on(stage: Site, tmp_path: Path) -> None:
    await grown_old(stage)
    done = await prune(stage)
    custody = next(origin for origin in done if origin.endswith("/custody"))
    assert done[custody] > 10
    assert await prune(stage) == {}, "once"
    canonical = site.read_book(stage.data).canonical()
    url = stage.app._exchange.pull_url
    async with stage.web.get(f"{url}/logs/{custody}/entries?from=0") as answer:
        assert answer.status == 410
        assert "snapshots/latest" in await answer.text()
    async with stage.web.get(f"{url}/snapshots/latest") as answer:
        told = await answer.json()
    assert (
        told["sha256"] == base64.b64encode(hashlib.sha256(told["book"].encode()).digest()).decode()
    )
    async with stage.web.get(f"{url}/logs/{custody}/proof?index={done[custody]}") as answer:
        assert answer.status == 200, "what is kept can be proved"
    assert await stage.stop() == 0
    assert site.read_book(stage.data).canonical() == canonical, "snapshot and suffix"
    words = ["log", "verify", "--data", str(stage.data)]
    verified = await asyncio.to_thread(CliRunner().invoke, gateway_cli, words)
    assert verified.exit_code == 0, verified.output
    await stage.begin()
    assert Lane.CUSTODY in stage.app._life.store.sizes  # type: ignore[union-attr]
    door = await stage.deposit("JD2", await stage.courier())
    await stage.pick_up(stage.code("JD2"), door)
    await stage.agrees()


async def test_nothing_goes_while_nobody_vouches_for_the_time_or_no_hub_was_heard(
    stage: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await grown_old(stage)
    monkeypatch.setattr(Disciplined, "kernel_error_ms", lambda _: None)
    stage.app._exchange.clock._synced = None
    assert await prune(stage) == {}
    monkeypatch.setattr(Disciplined, "kernel_error_ms", lambda _: 5)
    stand = stage.app._exchange.kept.stand
    held, stand.held = stand.held, dict.fromkeys(stand.held, 1)
    assert set((await prune(stage)).values()) <= {1}, "a hub that has less than it signed for"
    stand.held, stand.instance = held, "0123456789abcdef"
    assert await prune(stage) == {}, "another store than the one that gave the receipts"


async def test_a_hub_that_was_lost_meanwhile_is_told_what_it_cannot_have(
    stage: Site, tmp_path: Path
) -> None:
    await grown_old(stage)
    assert await prune(stage)
    await stage.cloud.stop()
    for left in stage.cloud.data.glob("hub.db*"):
        left.unlink()
    await stage.cloud.start()
    await stage.cloud.hub.add_site("0042", vkey_of(stage.data))

    async def told() -> bool:
        return "exchange.pruned" in str([row.evidence for row in await stage.cloud.audited()])

    await stage.comes(told)
    await stage.has(lambda: "link.stuck" in stage.alarms)
    door = await stage.deposit("JD3", await stage.courier())
    await stage.pick_up(stage.code("JD3"), door)
