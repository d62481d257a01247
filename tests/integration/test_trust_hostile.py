"""Pins what hostile peers, with good certificates and without, cannot do to a hub and its wires."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from certs import enrol, tls
from sync import places
from sync.hub import listeners
from tests.contract.test_hub_enrol import SITE, Gateway, Stage, made, running
from tests.hubs import url_of
from tests.trust_stage import Governed, governed, hands

__all__ = ["hands"]


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Stage]:
    async with running(made(tmp_path), await url_of("sqlite", tmp_path)) as stage:
        yield stage


@pytest.fixture
async def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hands: object
) -> AsyncIterator[Governed]:
    assert hands
    async with governed(tmp_path, monkeypatch) as governed_site:
        yield governed_site


# --- revoked in the middle of something -----------------------------------------------------------


async def _renews_slowly(stage: Stage, gateway: Gateway, fresh: Gateway, at: str) -> Any:
    """Begin a renewal, and return (how to send the rest, how to hear the answer)."""
    body = enrol.renewal(fresh.key)
    context = tls.client(gateway.roots, gateway.own)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", stage.hub.ports[at], ssl=context, server_hostname="127.0.0.1"
    )
    head = (
        f"POST {enrol.RENEW} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body[:10])
    await writer.drain()

    async def rest() -> bytes:
        try:
            writer.write(body[10:])
            await writer.drain()
            return await reader.read()
        except (OSError, ssl.SSLError):
            return b""
        finally:
            writer.close()

    return rest


@pytest.mark.parametrize("at", ["link", "renew"])
@pytest.mark.parametrize("how", ["revoked", "replaced"])
async def test_a_device_that_ends_in_the_middle_of_its_renewal_gets_no_new_key(
    small: Stage, at: str, how: str
) -> None:
    gateway = await small.enrolled()
    fresh = Gateway(small)
    rest = await _renews_slowly(small, gateway, fresh, at)
    async with asyncio.timeout(5):
        while not small.hub.peers.open():  # noqa: ASYNC110  # the hub has it
            await asyncio.sleep(0.01)
    if how == "revoked":
        await small.hub.revoke(SITE)
        expected: set[str] = set()
    else:
        expected = {(await small.enrolled()).pin}
    answer = await rest()
    assert b"code_key" not in answer
    assert await small.hub.devices.pins(SITE) == expected, "nobody came in by the back door"


# --- whoever takes every place --------------------------------------------------------------------


async def _holds(port: int, context: ssl.SSLContext | None, sent: bytes) -> Any:
    return_ = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="127.0.0.1" if context else None
    )
    return_[1].write(sent)
    return return_


async def _gone(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except (OSError, ssl.SSLError):
        return True


@pytest.mark.parametrize("at", ["api", "link", "renew"])
@pytest.mark.parametrize("how", ["silent", "half a hello", "half a head"])
async def test_one_address_that_takes_every_place_pushes_out_itself_alone(
    small: Stage, monkeypatch: pytest.MonkeyPatch, at: str, how: str
) -> None:
    gateway = await small.enrolled()
    context: ssl.SSLContext | None = None
    if how == "half a head":
        context = tls.client(gateway.roots, None if at == "api" else gateway.own)
    sent = {
        "silent": b"",
        "half a hello": b"\x16\x03\x01\x02\x00\x01",
        "half a head": b"GET / HTTP/1.1\r\nX: ",
    }[how]
    port = small.hub.ports[at]
    async with aiohttp.ClientSession() as web_:
        link = await web_.ws_connect(
            f"https://127.0.0.1:{small.hub.ports['link']}/sites/{SITE}/link",
            ssl=tls.client(gateway.roots, gateway.own),
        )
        held = []
        for _ in range(6):
            held += await asyncio.gather(*(_holds(port, context, sent) for _ in range(50)))
        waiting = [asyncio.ensure_future(_gone(reader)) for reader, _ in held]
        try:
            await asyncio.wait(waiting, timeout=2)
            assert sum(one.done() for one in waiting) >= 300 - listeners.STRANGERS_MAX
            assert (await gateway.ask(f"/sites/{SITE}/trust"))[0] == 200
            await small.trust()
            assert isinstance(await gateway.renew(), Gateway)
            assert not link.closed, "who was let in stays"
        finally:
            for one in waiting:
                one.cancel()
            for _, writer in held:
                writer.close()
            await asyncio.gather(*waiting, return_exceptions=True)
            await link.close()


async def test_a_head_that_comes_letter_by_letter_is_not_waited_for(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "IDLE_S", 0.5)
    context = tls.client(small.known.roots)
    reader, writer = await _holds(small.hub.ports["api"], context, b"GET / HTTP/1.1\r\n")
    async with asyncio.timeout(10):
        assert await _gone(reader)
    writer.close()


async def test_a_gateways_pull_listener_is_no_place_for_strangers(stage: Governed) -> None:
    await stage.enrol()
    stage.listen = "127.0.0.1:0"
    await stage.begin()
    known, url = stage.hubbub.authority, stage.app._exchange.pull_url
    port = int(url.split(":")[2].partition("/")[0])
    held = [await _holds(port, None, b"\x16\x03\x01\x02\x00\x01") for _ in range(100)]
    waiting = [asyncio.ensure_future(_gone(reader)) for reader, _ in held]
    try:
        await asyncio.wait(waiting, timeout=2)
        assert sum(one.done() for one in waiting) >= 60
        context = tls.client(known.roots, known.credentials())
        context.check_hostname = False
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/logs", ssl=context) as answer,
        ):
            assert answer.status == 200
    finally:
        for one in waiting:
            one.cancel()
        for _, writer in held:
            writer.close()
        await asyncio.gather(*waiting, return_exceptions=True)
