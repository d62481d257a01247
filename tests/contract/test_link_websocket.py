"""Pins the carrier over a real aiohttp server and client: exchange, cut, resume, hostile peers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from certs.keys import SigningKey
from certs.note import cosign
from sync import message
from sync.clerk import Hooks
from sync.entry import Writer
from sync.exchange import Found, Memory
from sync.link import WEBSOCKET, Summary, carry
from sync.message import Frame, Have, Hello
from sync.redial import IDLE_LEAST_MS, IdleTime
from sync.shelf import Item, Log
from sync.terms import Options
from tests.pair import COSIGNER, HUB, SITE, SITE_SEED, log_of, shelf_of
from tests.shelf_memory import MemoryShelf, entry, private

CUSTODY = log_of(SITE, "custody")
URGENT = log_of(SITE, "urgent")
TELEMETRY = log_of(SITE, "telemetry")
HUB_CUSTODY = log_of(HUB, "custody")


Handler = Callable[[web.Request], Awaitable[web.WebSocketResponse]]


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@dataclass
class Side:
    """One end with its shelf; what its owner was told."""

    writer: Writer
    shelf: MemoryShelf
    memory: Memory = field(default_factory=Memory)
    arrived: list[tuple[str, int, int]] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    holds: dict[str, int] = field(default_factory=dict)
    summaries: list[Summary] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    idle: IdleTime = field(default_factory=IdleTime)
    more: dict[str, Any] = field(default_factory=dict)
    cosigner: SigningKey = COSIGNER

    def options(self) -> Options:
        options: dict[str, Any] = {
            "side": self.writer,
            "instance": self.shelf.instance,
            "nonce": bytes(8),
            "accepts": lambda origin: "/0042/" in origin,
            "memory": self.memory,
        }
        return Options(**(options | self.more))

    async def carry(self, ws: web.WebSocketResponse | aiohttp.ClientWebSocketResponse) -> Summary:
        summary = await carry(
            ws,
            self.options(),
            self.shelf,
            Hooks(arrived=self._arrived, found=self._found, holds=self._holds, cosign=self._cosign),
            now_ms=now_ms,
            idle=self.idle,
            stop=self.stop,
        )
        self.summaries.append(summary)
        self.memory = summary.memory
        return summary

    async def _arrived(self, origin: str, first: int, items: Sequence[Item]) -> None:
        self.arrived.append((origin, first, len(items)))

    async def _found(self, found: Found) -> None:
        self.found.append(found)

    async def _holds(self, origin: str, size: int, _: str) -> None:
        self.holds[origin] = size

    async def _cosign(self, log: Log) -> str | None:
        return log.note + cosign(log.note, self.cosigner, 1_800_000_000)


@contextlib.asynccontextmanager
async def serving(side: Side, handler: Handler | None = None) -> AsyncIterator[int]:
    """Listen; every connection is one link of `side`, or the handler's. Gives the port."""

    async def answer(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(**WEBSOCKET)
        await ws.prepare(request)
        await side.carry(ws)
        return ws

    app = web.Application()
    app.router.add_get("/link", handler or answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        side.stop.set()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def wire(port: int, bytes_a_way: int) -> AsyncIterator[int]:
    """Stand between: the first connection dies after so many bytes to the listener."""
    left = [bytes_a_way]
    tasks: set[asyncio.Task[None]] = set()

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(512):
                if counted and left:
                    left[0] -= len(data)
                    if left[0] < 0:
                        left.clear()
                        writer.transport.abort()
                        return
                writer.write(data)
                await writer.drain()
        writer.close()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        both = [
            asyncio.ensure_future(pump(reader, far_writer, counted=True)),
            asyncio.ensure_future(pump(far_reader, writer, counted=False)),
        ]
        tasks.update(both)
        _, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        writer.transport.abort()
        far_writer.transport.abort()
        await asyncio.gather(*pending, return_exceptions=True)

    server = await asyncio.start_server(between, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  # two ends and a wire: no one event
            await asyncio.sleep(0.01)


async def dial(side: Side, port: int) -> Summary:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/link", **WEBSOCKET) as ws,
    ):
        return await side.carry(ws)


def ends(**more: Any) -> tuple[Side, Side]:
    return (
        Side(Writer.SITE, shelf_of(SITE), more=more),
        Side(Writer.HUB, shelf_of(HUB), more=more),
    )


def size(side: Side, origin: str) -> int:
    held = side.shelf.held.get(origin)
    return 0 if held is None else len(held.entries)


async def test_both_ends_end_up_with_the_same_and_hear_of_what_is_appended_later() -> None:
    site, hub = ends()
    site.shelf.write(CUSTODY, *[private(b"parcel %d" % n, n) for n in range(700)])
    hub.shelf.write(HUB_CUSTODY, *[entry(n) for n in range(3)])
    async with serving(hub) as port:
        link = asyncio.ensure_future(dial(site, port))
        await until(lambda: site.holds.get(CUSTODY) == 700 and size(site, HUB_CUSTODY) == 3)
        site.shelf.write(URGENT, entry(1))
        hub.shelf.write(HUB_CUSTODY, entry(9))
        await until(lambda: site.holds.get(URGENT) == 1 and hub.holds.get(HUB_CUSTODY) == 4)
        await until(lambda: bool(site.shelf.receipts))
        site.stop.set()
        summary = await link
    assert summary.reason == "stopped"
    assert summary.progress
    assert summary.counters.entries_out == 701
    assert hub.summaries[0].reason == "gone"
    assert hub.summaries[0].counters.entries_in == 701
    assert len(hub.shelf.held[CUSTODY].annexes) == 700
    assert sum(count for origin, _, count in hub.arrived if origin == CUSTODY) == 700
    assert site.shelf.receipts[0][2] == hub.shelf.instance
    assert not site.found
    assert not hub.found


async def test_a_cut_link_goes_on_at_a_byte() -> None:
    site, hub = ends(codecs=(0,), segment_bytes=100_000)
    site.shelf.write(CUSTODY, *[entry(n, door=n % 90) for n in range(400)])
    whole = sum(len(data) + 1 for data in site.shelf.held[CUSTODY].entries)
    async with serving(hub) as port, wire(port, whole * 3 // 4) as shaky:
        first = await dial(site, shaky)
        assert first.reason == "gone"
        assert first.progress, "half a segment is kept"
        await until(lambda: len(hub.summaries) == 1)
        assert size(hub, CUSTODY) == 0
        held = len(hub.memory.parts[0].data)
        assert held > whole // 2
        link = asyncio.ensure_future(dial(site, shaky))
        await until(lambda: site.holds.get(CUSTODY) == 400)
        site.stop.set()
        second = await link
    assert second.counters.bytes_out < whole - held + 2_000


async def test_a_hostile_peer_is_closed_with_a_code_while_another_link_goes_on() -> None:
    site, hub = ends()
    site.shelf.write(CUSTODY, *[entry(n) for n in range(50)])
    stranger = Hello(major=1, instance=bytes(8), nonce=bytes(8), codecs=[0], table=[])
    forged = Frame(origin=0, data=b"x", first=0, count=1)
    attacks = [
        ([b"\xa1\x00\x18\x63\x00"], "exchange.message"),
        ([message.encode(Have(received=0, credit=0))], "exchange.no_hello"),
        ([message.encode(stranger), message.encode(forged)], "exchange.place"),
        ([message.encode(stranger)] + [b"\xa1\x00\x18\x63"] * 2_000, "exchange.flood"),
        ([message.encode(msgspec.structs.replace(stranger, major=2))], "exchange.version"),
    ]
    async with serving(hub) as port, aiohttp.ClientSession() as session:
        link = asyncio.ensure_future(dial(site, port))
        for sent, code in attacks:
            async with session.ws_connect(f"http://127.0.0.1:{port}/link") as ws:
                for data in sent:
                    with contextlib.suppress(ConnectionError):
                        await ws.send_bytes(data)
                closed = await _read_to_the_end(ws)
            assert closed == code
        async with session.ws_connect(f"http://127.0.0.1:{port}/link") as ws:
            await ws.send_bytes(bytes(70_000))
            await _read_to_the_end(ws)
            assert ws.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        site.shelf.write(URGENT, entry(1))
        await until(lambda: site.holds.get(URGENT) == 1 and site.holds.get(CUSTODY) == 50)
        site.stop.set()
        assert (await link).reason == "stopped"


async def _read_to_the_end(ws: aiohttp.ClientWebSocketResponse) -> str:
    code = ""
    async with asyncio.timeout(30):
        async for one in ws:
            if one.type is aiohttp.WSMsgType.BINARY:
                read = message.decode(one.data).message
                if isinstance(read, message.Trouble):
                    code = read.code
    return code


async def test_a_full_disk_closes_the_link_and_says_that_it_is_ours() -> None:
    site, hub = ends()
    site.shelf.write(CUSTODY, entry(1))
    hub.shelf.fail_next("extend")
    async with serving(hub) as port:
        summary = await dial(site, port)
    assert summary.reason == "exchange.peer_error"
    assert hub.summaries[0].reason == "exchange.store"
    assert not hub.summaries[0].theirs
    assert size(hub, CUSTODY) == 0
    assert site.holds == {}


async def test_what_a_hook_raises_reaches_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    site, hub = ends()
    hub.shelf.write(HUB_CUSTODY, entry(1))

    async def breaks(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(site, "_arrived", breaks)
    async with serving(hub) as port:
        with pytest.raises(ZeroDivisionError):
            await dial(site, port)
    assert size(site, HUB_CUSTODY) == 1


async def test_a_quiet_link_is_pinged_and_what_survives_is_learned() -> None:
    site, hub = ends()
    site.idle.ms = 40
    async with serving(hub) as port:
        link = asyncio.ensure_future(dial(site, port))
        await until(lambda: site.idle.ms >= 160)
        assert not link.done()
        site.stop.set()
        assert (await link).reason == "stopped"


async def test_a_ping_that_is_not_answered_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.link.PONG_MS", 50)
    site, hub = ends()
    site.idle.ms = 1_000

    async def deaf(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(**WEBSOCKET)
        await ws.prepare(request)
        await asyncio.sleep(20)
        return ws

    async with serving(hub, deaf) as port:
        summary = await dial(site, port)
    assert summary.reason == "exchange.dead"
    assert not summary.theirs
    assert site.idle.ms == IDLE_LEAST_MS


async def test_text_is_no_message_and_a_peer_that_leaves_is_gone() -> None:
    _, hub = ends()
    expected: list[str] = []
    async with serving(hub) as port, aiohttp.ClientSession() as session:
        for says, reason in (("hello", "exchange.message"), ("", "gone")):
            async with session.ws_connect(f"http://127.0.0.1:{port}/link", **WEBSOCKET) as ws:
                if says:
                    await ws.send_str(says)
                    await _read_to_the_end(ws)
            expected.append(reason)
            await until(lambda: [one.reason for one in hub.summaries] == expected)
    assert [one.theirs for one in hub.summaries] == [True, False]
    assert not any(one.progress for one in hub.summaries)


async def test_a_peer_that_does_not_read_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.link.OUTBOX_BYTES_MAX", 100)
    site, hub = ends()
    async with serving(hub) as port:
        summary = await dial(site, port)
    assert summary.reason == "exchange.not_reading"
    assert summary.theirs


@pytest.mark.parametrize("call", ["logs", "beyond", "root"])
async def test_a_disk_that_fails_on_reading_ends_the_link(call: str) -> None:
    site, hub = ends()
    for number in range(3):
        site.shelf.write(CUSTODY, entry(number))
    async with serving(hub) as port:
        link = asyncio.ensure_future(dial(site, port))
        await until(lambda: site.holds.get(CUSTODY) == 3)
        site.stop.set()
        await link
        site.stop.clear()
        hub.shelf.forget_to(2, CUSTODY)
        site.shelf.fail_next(call)
        summary = await dial(site, port)
    assert summary.reason == "exchange.store"
    assert not summary.theirs


async def test_a_bug_beside_the_work_reaches_the_owner() -> None:
    site, hub = ends()
    site.shelf.fail_next("beyond", ZeroDivisionError())
    async with serving(hub) as port:
        with pytest.raises(ZeroDivisionError):
            await dial(site, port)


async def test_an_epoch_that_begins_during_a_link_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sync.link.WATCH_S", 0.05)
    site, hub = ends()
    later = log_of(SITE, "custody", "e2-00000002")
    async with serving(hub) as port:
        link = asyncio.ensure_future(dial(site, port))
        await until(lambda: bool(hub.shelf.calls))
        site.shelf.begin(later, SITE_SEED)
        site.shelf.write(later, entry(1))
        await until(lambda: site.holds.get(later) == 1)
        site.stop.set()
        await link
