"""Pins the hub's side of links against sites and rooms that misbehave: bounded, and never silent.

A site that lies costs no spinning and no endless audit, a bug in one link is logged and ends no
other, a disk that died under a link ends the process, and a half-open link gives up what came.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from certs.keys import SigningKey
from certs.note import Checkpoint, parse_note, sign_checkpoint
from sync import message
from sync.errors import StoreFailed
from sync.exchange import Found, Memory, Part
from sync.frontier import Head
from sync.hub import folder
from sync.hub import puller as room
from sync.hub.app import App
from sync.hub.config import Api, Development
from sync.hub.links import SAID_MAX, SAID_MS
from sync.hub.puller import Puller
from sync.hub.rooms import Hub, assembled
from sync.link import WEBSOCKET, Summary
from sync.message import Hello, Signed
from sync.origin import Ring
from sync.pullclient import pull
from sync.session import Counters
from sync.shelf import Log
from tests.hub_stage import KEYS, clock, config
from tests.hubs import NOW_MS, opened
from tests.pull_server import CUSTODY, SITE_SEED, served, serving
from tests.shelf_memory import MemoryShelf, entry

SITE_KEY = SigningKey.from_seed("lockers.example/site/0042", SITE_SEED)
WAITS_S = 10.0


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    url = f"sqlite://{tmp_path}/hub.db"
    storage = await opened(url)
    try:
        yield assembled(config(tmp_path, url), KEYS, storage, clock())
    finally:
        await storage.close()


@pytest.fixture
async def pulling(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Task[None]]:
    monkeypatch.setattr(room, "SITES_S", 0.05)
    task = asyncio.create_task(Puller(hub).run())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def reachable_shelf(*origins: str) -> MemoryShelf:
    """Return a site's shelf that takes this hub's receipts."""
    shelf = MemoryShelf(ring=Ring(SITE_KEY.vkey), cosigners=[KEYS.cosigner("0042").verifier])
    for origin in origins or (CUSTODY,):
        shelf.begin(origin, SITE_SEED)
    return shelf


async def holds(hub: Hub, size: int) -> None:
    async with asyncio.timeout(WAITS_S):
        while True:
            log = await (await hub.shelf("0042")).log(CUSTODY)
            if log is not None and log.size >= size:
                return
            await asyncio.sleep(0.02)


async def reachable(hub: Hub, base: str) -> None:
    await hub.add_site("0042", SITE_KEY.vkey, url=base.removesuffix("/sync/v1"))


async def dialled(hub: Hub, ends: Summary | Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dial in; the session ends as given."""

    async def carried(*_: object, **__: object) -> Summary:
        if isinstance(ends, Exception):
            raise ends
        return ends

    monkeypatch.setattr(room, "carry", carried)
    await hub.add_site("0042", SITE_KEY.vkey)
    async with (
        served(Puller(hub).routes()) as address,
        aiohttp.ClientSession() as web_client,
        web_client.ws_connect(f"{address}/sites/0042/link", **WEBSOCKET) as ws,
    ):
        await ws.receive(timeout=WAITS_S)


async def test_a_reachable_site_with_a_bad_log_is_not_asked_without_end(
    hub: Hub, pulling: asyncio.Task[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = reachable_shelf()
    shelf.write(CUSTODY, entry(0))
    async with serving(shelf) as base:
        await reachable(hub, base)
        await holds(hub, 1)
        # From here on another key signs: every round is refused, and the site says it has more.
        shelf.held[CUSTODY].key = SigningKey.from_seed(CUSTODY, bytes(32))
        shelf.write(CUSTODY, entry(1))
        await asyncio.sleep(0.5)
        before = len(shelf.calls)
        await asyncio.sleep(1.5)
        asked = len(shelf.calls) - before
        assert asked < 60, asked
    lines = await hub.storage.audited("0042", 0, 1000)
    assert [one.evidence["origin"] for one in lines].count(CUSTODY) == 1, lines
    assert not pulling.done()


async def test_a_refused_log_does_not_hold_up_the_others(
    hub: Hub, pulling: asyncio.Task[None]
) -> None:
    urgent = CUSTODY.replace("custody", "urgent")
    shelf = reachable_shelf(CUSTODY, urgent)
    shelf.write(CUSTODY, entry(0))
    shelf.write(urgent, entry(0))
    async with serving(shelf) as base:
        await reachable(hub, base)
        await holds(hub, 1)
        shelf.held[CUSTODY].key = SigningKey.from_seed(CUSTODY, bytes(32))
        shelf.write(CUSTODY, entry(1))
        await asyncio.sleep(0.5)
        shelf.write(urgent, entry(1))
        async with asyncio.timeout(WAITS_S):
            while True:
                log = await (await hub.shelf("0042")).log(urgent)
                if log is not None and log.size == 2:
                    break
                await asyncio.sleep(0.02)
    assert not pulling.done()


async def test_a_bug_in_the_pull_of_one_site_is_logged_and_it_is_pulled_again(
    hub: Hub,
    pulling: asyncio.Task[None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tries = 0

    async def planted(*given: Any, **more: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ValueError("planted")
        return await pull(*given, **more)

    monkeypatch.setattr(room, "pull", planted)
    monkeypatch.setattr(room, "PAUSE_S", 0.05)
    shelf = reachable_shelf()
    shelf.write(CUSTODY, entry(0))
    async with serving(shelf) as base:
        await reachable(hub, base)
        await holds(hub, 1)
    assert tries > 1
    said = capsys.readouterr().out
    assert "pull.bug" in said
    assert "planted:" not in said


@pytest.mark.parametrize("code", ["store.io", "store.torn"])
async def test_a_disk_that_died_under_a_link_ends_the_process(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    summary = Summary("exchange.store", False, {"cause": code}, Counters(), Memory())
    await dialled(hub, summary, monkeypatch)
    assert hub.broken.done()
    assert hub.broken.result().code == code


async def test_a_disk_that_died_between_link_and_hub_ends_the_process(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dialled(hub, StoreFailed("io"), monkeypatch)
    assert hub.broken.done()


async def test_a_disk_that_is_busy_under_a_link_ends_the_link_only(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = Summary("exchange.store", False, {"cause": "store.busy"}, Counters(), Memory())
    await dialled(hub, summary, monkeypatch)
    assert not hub.broken.done()


async def test_a_disk_that_died_under_a_pull_ends_the_process(
    hub: Hub, pulling: asyncio.Task[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object, **__: object) -> None:
        raise StoreFailed("io")

    monkeypatch.setattr(room, "pull", dies)
    async with serving(MemoryShelf()) as base:
        await reachable(hub, base)
        await asyncio.wait_for(asyncio.shield(hub.broken), WAITS_S)


async def test_a_bug_of_the_puller_ends_the_process_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def planted(_: Puller) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(Puller, "run", planted)
    chosen = folder.make(tmp_path / "hub", "lockers.example")
    chosen = msgspec.structs.replace(
        chosen, api=Api(listen="127.0.0.1:0"), development=Development(plain=True)
    )
    with pytest.raises(ValueError, match="planted"):
        await asyncio.wait_for(App(chosen).run(), WAITS_S)


async def test_a_bug_in_a_link_is_said_with_its_place_and_without_its_words(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await dialled(hub, ValueError("somebody's words"), monkeypatch)
    said = capsys.readouterr().out
    assert "link.bug" in said
    assert "carried" in said
    assert "somebody's words" not in said
    assert hub.links.of("0042").trouble == "link.bug"
    assert not hub.broken.done()


async def test_a_new_link_takes_over_what_came_over_one_that_is_half_open(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part(CUSTODY, 0, 9, 0, 900, bytes(8), b"what came", ())
    given: list[Memory] = []
    began: asyncio.Queue[None] = asyncio.Queue()

    async def carried(
        ws: web.WebSocketResponse, options: Any, *_: object, stop: asyncio.Event, **__: object
    ) -> Summary:
        given.append(options.memory)
        began.put_nowait(None)
        await stop.wait()
        if len(given) == 1:
            await ws.close()  # the peer is silent: nobody answers
        memory = msgspec.structs.replace(Memory(), parts=(part,))
        return Summary("stopped", False, {}, Counters(), memory)

    monkeypatch.setattr(room, "carry", carried)
    await hub.add_site("0042", SITE_KEY.vkey)
    puller = Puller(hub)
    async with served(puller.routes()) as address, aiohttp.ClientSession() as web_client:
        url = f"{address}/sites/0042/link"
        async with asyncio.timeout(WAITS_S):
            half_open = await web_client.ws_connect(url, **WEBSOCKET)
            await began.get()
            newer = await web_client.ws_connect(url, **WEBSOCKET)
            await began.get()
            assert given[1].parts == (part,)
            await puller.close()
            await newer.receive()
        await half_open.close()
        await newer.close()


async def test_a_site_that_breaks_every_rule_does_not_fill_the_audit(hub: Hub) -> None:
    await hub.add_site("0042", SITE_KEY.vkey)
    visit = room.Visit(hub, await hub.registry.get("0042"), asyncio.Event())
    for number in range(SAID_MAX + 40):
        await visit.found(Found("refused_by_peer", CUSTODY, {"code": f"a.b{number}"}))
    assert len(await hub.storage.audited("0042", 0, 1000)) == SAID_MAX
    assert hub.links.may_say("0043", NOW_MS), "another site has its own"
    assert hub.links.may_say("0042", NOW_MS + SAID_MS), "an hour later"


def boasts(origin: str, size: int, *can: str) -> bytes:
    """Return the hello of somebody who says to hold so much of a lane of ours."""
    row = message.row("", origin, size, Head.of(size, bytes(32)).tag)
    hello = Hello(
        major=1, instance=b"bad peer", nonce=bytes(8), codecs=[0], can=list(can), table=[row]
    )
    return message.encode(hello)


async def lane_of(hub: Hub) -> Log:
    (ours, *_) = [log for log in await (await hub.shelf("0042")).logs() if log.own]
    return ours


async def test_who_says_and_does_not_show_that_our_lanes_are_lost_begins_no_epoch(
    hub: Hub,
) -> None:
    before = await hub.add_site("0042", SITE_KEY.vkey)
    name, ours = hub.storage.instance, await lane_of(hub)
    async with served(Puller(hub).routes()) as address, aiohttp.ClientSession() as web_client:
        url = f"{address}/sites/0042/link"
        async with web_client.ws_connect(url, **WEBSOCKET) as ws, asyncio.timeout(WAITS_S):
            await ws.send_bytes(boasts(ours.origin, 99))
            while True:
                if lines := await hub.storage.audited("0042", 0, 1000):
                    break
                await asyncio.sleep(0.02)
    (line,) = lines
    assert (line.code, line.evidence["claims"]) == ("log.unproved", "rolled_back")
    after = await hub.registry.get("0042")
    assert (after.epoch, after.fenced, hub.storage.instance) == (before.epoch, False, name)


async def test_who_shows_that_our_lanes_are_lost_begins_one_epoch_an_hour_at_most(
    hub: Hub,
) -> None:
    await hub.add_site("0042", SITE_KEY.vkey)
    names = set()
    async with served(Puller(hub).routes()) as address, aiohttp.ClientSession() as web_client:
        for _ in range(5):
            ours = await lane_of(hub)
            text = Checkpoint(ours.origin, 99, bytes(32))
            note = sign_checkpoint(text, hub.keys.log_key(ours.origin))
            line = parse_note(note)[1][0].line()
            signed = Signed(origin=0, size=99, root=bytes(32), lines=line)
            url = f"{address}/sites/0042/link"
            async with web_client.ws_connect(url, **WEBSOCKET) as ws, asyncio.timeout(WAITS_S):
                await ws.send_bytes(boasts(ours.origin, 99, "checkpoint"))
                await ws.send_bytes(message.encode(signed))
                async for _ in ws:
                    pass
            site = await hub.registry.get("0042")
            assert site.fenced
            names.add((hub.storage.instance, site.epoch))
    assert len(names) == 1
    assert len(await (await hub.shelf("0042")).logs()) == 4, "two of each epoch"
