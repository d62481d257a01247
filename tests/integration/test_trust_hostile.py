"""Pins what hostile peers, with good certificates and without, cannot do to a hub and its wires."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from certs import enrol, tls
from tests.contract.test_hub_enrol import SITE, Gateway, Stage, made, running
from tests.hubs import url_of


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Stage]:
    async with running(made(tmp_path), await url_of("sqlite", tmp_path)) as stage:
        yield stage


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
