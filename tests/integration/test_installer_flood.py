"""Pins requirement 15: a flood on the LAN has bounds, and a pick-up beside it goes on as ever."""

import asyncio
import socket
import ssl
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from certs import tls
from gateway import site
from gateway.web.installer import gate
from tests.lan_stage import Browser, LanStand, lan_stand

ROOT = Path(__file__).resolve().parents[2]
RATIO_MAX = 3.0
FEW = 2


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LanStand]:
    async with lan_stand(tmp_path / "data") as stage:
        yield stage


async def deposit_all(stage: LanStand) -> list[str]:
    """Fill the bank; return the pick-up codes."""
    secret = await stage.courier()
    await stage.post("button", button="deliver")
    await stage.post("staff-code", digits=secret)
    for number in range(2 * FEW):
        await stage.shows("deliver.scan")
        await stage.post("parcel", tracking=f"JD01460000628123070{number}")
        await stage.shows("deliver.size")
        await stage.post("button", button="size", argument="M")
        door = int((await stage.shows("deliver.open"))["door"])
        await stage.hands(door, parcel=True)
    await stage.shows("deliver.scan")
    await stage.post("button", button="home")
    key, book = site.code_key(site.load(stage.data)), site.read_book(stage.data)
    return [
        key.code(str(one.identity), one.counter).short(one.digits) for one in book.parcels.values()
    ]


async def pick_up(stage: LanStand, code: str) -> float:
    """Collect one parcel; return how long it took from the code to the open door."""
    await stage.post("button", button="collect")
    begun = time.monotonic()
    await stage.post("code", digits=code)
    door = int((await stage.shows("collect.open"))["door"])
    took = time.monotonic() - begun
    await stage.hands(door, parcel=False)
    await stage.shows("collect.thanks")
    await stage.post("button", button="home")
    return took


async def test_a_flood_does_not_delay_a_pick_up(stage: LanStand) -> None:
    codes = await deposit_all(stage)
    alone = [await pick_up(stage, code) for code in codes[:FEW]]
    port = stage.address.rpartition(":")[2]
    flood = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.lan_flood", port, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    counters = stage.app._installers._open.gate.counters  # type: ignore[union-attr]
    try:
        assert flood.stdout is not None
        await flood.stdout.readline()
        await stage.until(lambda: counters["accepted"] > 40)
        beside = [await pick_up(stage, code) for code in codes[FEW:]]
        assert flood.returncode is None
    finally:
        with suppress(ProcessLookupError):
            flood.kill()
        await flood.wait()
    ratio = statistics.mean(beside) / statistics.mean(alone)
    print(f"alone {alone}, beside {beside}, ratio {ratio:.2f}, {dict(counters)}")
    assert ratio < RATIO_MAX, (alone, beside, dict(counters))
    async with asyncio.timeout(30):  # and the listener is there again for an installer
        while True:
            with suppress(OSError, ssl.SSLError):
                answer = await Browser(stage.address).ask("GET", "/")
                assert answer.status == 200
                break
            await asyncio.sleep(0.1)


def connect(stage: LanStand) -> socket.socket:
    host, _, port = stage.address.rpartition(":")
    return socket.create_connection((host, int(port)), 5)


async def hung_up(wire: socket.socket, limit_s: float = 20.0) -> bool:
    """Say whether the other end hung up without a word."""
    wire.settimeout(limit_s)

    def read() -> bool:
        try:
            return wire.recv(1) == b""
        except ConnectionError:
            return True

    return await asyncio.to_thread(read)


async def test_one_address_takes_no_more_than_its_share(stage: LanStand) -> None:
    wires = [await asyncio.to_thread(connect, stage) for _ in range(gate.PER_ADDRESS + 1)]
    assert await hung_up(wires[-1])
    for wire in wires:
        wire.close()


async def test_whoever_dawdles_is_cut_off(stage: LanStand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "IDLE_S", 0.5)
    monkeypatch.setattr(gate, "HANDSHAKE_S", 0.5)
    silent = await asyncio.to_thread(connect, stage)
    assert await hung_up(silent)
    wire = await asyncio.to_thread(connect, stage)
    secure = await asyncio.to_thread(
        lambda: tls.unchecked_client().wrap_socket(wire, server_hostname="127.0.0.1")
    )
    secure.sendall(b"GET / HTTP/1.1\r\nHos")
    assert await hung_up(secure)
    for one in (silent, secure):
        one.close()


async def test_a_body_has_an_end(stage: LanStand) -> None:
    await stage.command("open")
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        path = "/pair/session" if "form" in kind else "/pair/certificate"
        answer = await Browser(stage.address).ask("POST", path, b"x" * 20_000, Content_Type=kind)
        assert answer.status in {403, 413}
    assert stage.office.pairing.current(stage.office.site.now().mono_ms).wrong == 0
