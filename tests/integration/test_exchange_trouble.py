"""Pins what the cloud side may do to the site when it fails: nothing, or a clean end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import exchange, uplink
from gateway.runtime import End
from sync.errors import StoreFailed
from sync.exchange import Memory
from sync.link import Summary
from sync.session import Counters
from tests.exchange_stage import Site, staged

TRACKING = "JD014600006281230704"


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with staged(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
async def mute(stage: Site) -> AsyncIterator[list[int]]:
    """A hub that takes every connection and says nothing; counts them."""
    taken: list[int] = []
    ends: list[asyncio.StreamWriter] = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(len(taken))
        ends.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    stage.dial = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield taken
    server.close()
    for end in ends:
        end.transport.abort()


async def test_a_hub_that_never_answers_holds_nothing_up(
    stage: Site, mute: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "ASK_S", 0.5)
    monkeypatch.setattr(uplink, "CONNECT_S", 0.3)
    stage.start()
    await stage.until(lambda: mute)
    assert (await stage.refusal(stage.lift())).startswith("site."), "while it asks"
    await stage.in_service()
    asked = len(mute)
    door = await stage.deposit(TRACKING, await stage.courier())
    await stage.pick_up(stage.code(TRACKING), door)
    await stage.until(lambda: len(mute) > asked + 1)
    stand = stage.app._exchange.kept.stand
    assert (stand.connects, stand.reason) == (0, "link.unreachable")
    # Another life of the same process has nothing to ask: nobody swapped the disk meanwhile.
    life = stage.app._life
    assert life is not None
    monkeypatch.setattr(exchange, "ASK_S", 1000.0)
    life.finish(End.HISTORY)
    await stage.until(lambda: stage.app._life not in {life, None})
    await stage.in_service()


async def test_a_bug_in_the_link_ends_the_process_with_its_traceback(
    stage: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def greeted(*_: object) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(uplink.Uplink, "_greeted", greeted)
    stage.start()
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(stage.task, 20)
    assert caught.group_contains(ValueError, match="planted")
    assert not stage.coils_on()


async def test_a_broken_disk_under_the_link_ends_the_life_as_the_journal_does(
    stage: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waits(_: object) -> None:
        raise StoreFailed("io")

    monkeypatch.setattr(uplink.Uplink, "_wait", waits)
    await stage.cloud.stop()
    stage.start()
    assert await asyncio.wait_for(stage.task, 20) == 1
    assert not stage.coils_on()


async def test_a_busy_disk_under_the_link_is_waited_for(
    stage: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, tries = uplink.Uplink._once, 0

    async def busy(link: Any, http: Any) -> bool:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StoreFailed("busy")
        return await once(link, http)

    monkeypatch.setattr(uplink.Uplink, "_once", busy)
    monkeypatch.setattr(exchange, "BUSY_S", 0.05)
    await stage.begin()
    await stage.agrees()
    assert not stage.task.done()


async def test_a_disk_that_broke_within_a_session_ends_the_life_too(
    stage: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def carried(*_: object, **__: object) -> Summary:
        return Summary("exchange.store", False, {"cause": "store.io"}, Counters(), Memory())

    monkeypatch.setattr(uplink, "carry", carried)
    stage.start()
    assert await asyncio.wait_for(stage.task, 20) == 1
    assert not stage.coils_on()
