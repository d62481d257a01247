"""Pins what hostile peers, with good certificates and without, cannot do to a hub and its wires."""

import asyncio
import contextlib
import os
import ssl
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from certs import authority, claim, enrol, tls
from sync import places
from sync.errors import TheirsInvalid
from sync.hub import app, ca, claims, est, gate, links, listeners
from sync.hub.devices import Devices
from sync.hub.peers import Pace
from tests.contract.test_hub_enrol import SITE, Gateway, Refused, Stage, made, running
from tests.hubs import url_of
from tests.trust_stage import YEAR_S, Governed, governed, hands

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


@pytest.mark.parametrize("sent", [b"GET \x01canary\x02 HTTP/1.1\r\n\r\n", b"canary\r\n\r\n"])
async def test_what_is_no_request_is_answered_with_its_status_alone(
    small: Stage, sent: bytes
) -> None:
    context = tls.client((await small.enrolled()).roots)
    reader, writer = await _holds(small.hub.ports["api"], context, sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert b" 400 " in answer[:16]
    assert not any(word in answer for word in (b"canary", b"aiohttp", b"Python"))


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


async def test_a_body_that_is_refused_is_not_read_to_its_end(small: Stage) -> None:
    context = tls.client(small.known.roots)
    head = (
        b"POST /api/v1/accounts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 1000000000\r\n\r\n"
    )
    packed = zlib.compress(bytes(1 << 26), 9, wbits=31)
    reader, writer = await _holds(small.hub.ports["api"], context, head + packed)
    async with asyncio.timeout(5):  # the library would unpack for ten seconds more
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        with contextlib.suppress(OSError, ssl.SSLError):
            await reader.read()
    writer.close()


# --- storms ---------------------------------------------------------------------------------------


async def test_slow_strangers_keep_nobody_from_renewing_or_enrolling(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, text = await small.enrolled(), await small.invite("0043")
    context = tls.client(small.known.roots)
    slow = f"POST {enrol.ENROL} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999\r\n\r\n".encode()
    held = [await _holds(small.hub.ports["api"], context, slow + b"{") for _ in range(30)]
    await asyncio.sleep(0.2)
    assert (await gateway.ask(f"/sites/{SITE}/trust"))[0] == 200
    await gateway.renew()
    status, told = await small.ask(context, enrol.ENROL, "api", "POST", b"{}")
    assert (status, told["code"]) == (429, "request.often"), "of this address alone"
    monkeypatch.setattr(Pace, "may", lambda *_: True)  # as from another address
    try:
        await Gateway(small, "0043").enrol(text)
    finally:
        for _, writer in held:
            writer.close()


async def test_a_device_that_renews_in_a_storm_is_told_to_wait(small: Stage) -> None:
    gateway = await small.enrolled()
    told = []
    for number in range(est.RENEWED_EACH + 6):
        try:
            await gateway.renew(at=("link", "renew")[number % 2])
        except Refused as refused:
            told.append(refused.code)
    assert told == ["request.often"] * 6
    assert (await small.audited()).count("device.renewed") == est.RENEWED_EACH
    assert len(await small.hub.devices.pins(SITE)) == 2
    assert (await gateway.ask(f"/sites/{SITE}/trust"))[0] == 200, "all else goes on"


async def test_a_burnt_claim_that_is_said_again_and_again_fills_no_audit(small: Stage) -> None:
    text, gateway = await small.invite(), Gateway(small)
    await gateway.enrol(text)
    codes = set()
    for _ in range(est.TRIED_EACH + 5):
        try:
            await gateway.enrol(text)
        except Refused as refused:
            codes.add(refused.code)
    assert codes == {"request.often"}
    assert (await small.audited()).count("device.enrolled") <= est.TRIED_EACH + 2


# --- a hub out of a backup ------------------------------------------------------------------------


async def test_a_claim_that_was_burnt_after_the_backup_is_not_good_again(small: Stage) -> None:
    text, other = await small.invite(), await small.invite("0043")
    backup = await small.hub.storage.records("", claims.KIND)
    owner = await small.enrolled()
    await owner.enrol(text)
    for record in backup:  # the database is put back
        await small.hub.storage.drop_record("", claims.KIND, record.id)
        await small.hub.storage.add_record("", claims.KIND, record.id, record.data)
    await small.hub.restored()
    for found, site in ((text, SITE), (other, "0043")):
        with pytest.raises(Refused) as refused:
            await Gateway(small, site).enrol(found)
        assert refused.value.code == "claim.refused"
    assert await small.hub.devices.pins(SITE) == {owner.pin}
    assert (await small.audited("")).count("claim.ended") == 3
    await Gateway(small, "0043").enrol(await small.invite("0043"))


# --- what is written down -------------------------------------------------------------------------


async def test_noise_from_the_network_hides_no_refusal_in_the_audit(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "SAID_MAX", 3)
    for _ in range(6):
        with pytest.raises((aiohttp.ClientError, OSError)):
            await small.ask(tls.client(small.known.roots), f"/sites/{SITE}/trust")
    async with asyncio.timeout(10):
        while (await small.audited("")).count("handshake.refused") < 3:  # noqa: ASYNC110  # told later
            await asyncio.sleep(0.05)
    foreign = claim.Invitation(os.urandom(16), small.known.fingerprint, small.hub.url("api"))
    with pytest.raises(Refused):
        await Gateway(small).enrol(foreign.text())
    codes = await small.audited("")
    assert codes.count("handshake.refused") == 3
    assert "claim.refused" in codes


# --- years, and clocks ----------------------------------------------------------------------------


async def test_a_gateway_that_was_off_during_two_root_rotations_comes_back(
    stage: Governed,
) -> None:
    await stage.enrol()
    await stage.begin()
    await stage.linked()
    await stage.stop()
    roots = authority.fingerprint_of(stage.hubbub.authority.root)
    for count in (2, 3):
        await asyncio.to_thread(ca.rotate_root, stage.hubbub.data, int(time.time()))
        async with asyncio.timeout(20):
            while len(stage.hubbub.authority.roots) < count:  # noqa: ASYNC110  # the hub follows
                await asyncio.sleep(0.1)
    await stage.begin()
    await stage.linked()
    await stage.until(lambda: len(stage.app._exchange.wire.known().certificates()) == 3)
    assert authority.fingerprint_of(stage.hubbub.authority.root) != roots
    stage.app._exchange.wire.known().trusted()
    await stage.stop()
    await stage.begin()
    await stage.linked()
    await stage.synced()


async def test_a_hub_whose_clock_was_years_ahead_for_an_hour_locks_nobody_out(
    stage: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "RENEW_AGAIN_S", 1.0)
    await stage.enrol()
    hub = stage.hubbub.hub
    hub.clock._wall_ns = lambda: time.time_ns() + 3 * YEAR_S * 1_000_000_000
    async with asyncio.timeout(20):  # it renews its own certificate by that clock
        now_s = int(time.time())
        while authority.begins_s(stage.hubbub.authority.credentials().leaf) < now_s + YEAR_S:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await stage.begin()
    await stage.until(lambda: stage.app._clock.now().wall_ms > (now_s + 2 * YEAR_S) * 1000)
    hub.clock._wall_ns = time.time_ns
    await stage.stop()
    await stage.begin()
    await stage.linked()
    await stage.synced()
    assert abs(stage.app._clock.now().wall_ms - time.time() * 1000) < 60_000


# --- revocation from elsewhere goes on being heard ------------------------------------------------


async def test_a_watch_that_a_busy_storage_interrupted_still_ends_who_was_revoked(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "AGAIN_S", 0.1)
    gateway, busy = await small.enrolled(), asyncio.Event()

    async def changes(_: Devices) -> int:
        busy.set()
        raise TheirsInvalid("hub.busy", "Ask again in a moment.")

    async with (
        aiohttp.ClientSession() as web_,
        web_.ws_connect(
            f"https://127.0.0.1:{small.hub.ports['link']}/sites/{SITE}/link",
            ssl=tls.client(gateway.roots, gateway.own),
        ) as link,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(Devices, "changes", changes)
            async with asyncio.timeout(10):
                await busy.wait()
        # Another process of this hub: nothing here is told but by the storage.
        await Devices(small.hub.storage, small.hub.clock).revoke(SITE)
        async with asyncio.timeout(10):
            while not link.closed:
                await link.receive()


async def test_a_device_that_takes_many_connections_pushes_out_its_own_idle_ones(
    small: Stage,
) -> None:
    gateway = await small.enrolled()
    port, context = small.hub.ports["link"], tls.client(gateway.roots, gateway.own)
    ask = f"GET /sites/{SITE}/trust HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    async with aiohttp.ClientSession() as web_:
        link = await web_.ws_connect(f"https://127.0.0.1:{port}/sites/{SITE}/link", ssl=context)
        held = []
        for _ in range(gate.CONNECTIONS_MAX + 4):
            reader, writer = await _holds(port, context, ask)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            held.append((reader, writer))
        gone = [asyncio.ensure_future(_drained(reader)) for reader, _ in held]
        done, still = await asyncio.wait(gone, timeout=2)
        assert len(done) >= 4
        assert not link.closed
        for one in still:
            one.cancel()
        for _, writer in held:
            writer.close()
        await asyncio.gather(*gone, return_exceptions=True)
        await link.close()


async def _drained(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        await reader.read()
