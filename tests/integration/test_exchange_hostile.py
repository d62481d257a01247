"""Pins that a hostile peer is closed with its code while another site of the same hub goes on.

Real processes: a hub, a gateway of site 0042, and in this process somebody who dials as site 0043.
"""

import asyncio
import base64
import sys
import time
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from certs.keys import SigningKey
from gateway import local
from gateway.core.inputs import CourierAdded
from gateway.site import read_book
from sync import message, segment
from sync.frontier import Head
from sync.link import WEBSOCKET
from sync.message import Frame, Have, Hello, Message, Seal, Trouble, Want, Wanted
from tests.processes import SITE, Duo
from tests.shelf_memory import entry

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BAD: Final = "0043"
NAME: Final = f"lockers.example/site/{BAD}"
KEY: Final = SigningKey.from_seed(NAME, bytes([9]) * 32)
CUSTODY: Final = f"{NAME}/e1-00000001/custody"
ROUNDS: Final = 6
GROWTH_KB_MAX: Final = 48 * 1024
PASSES_S: Final = 20.0

HELLO: Final = Hello(
    major=1,
    instance=b"bad peer",
    nonce=bytes(8),
    codecs=[0, 1, 2],
    table=[message.row("", CUSTODY, 9, Head.of(9, bytes(32)).tag)],
)


def framed(data: bytes, count: int, codec: int = 0, first: int = 0) -> list[Message]:
    """Return a whole segment in frames, and a seal that nobody signed."""
    frames: list[Message] = []
    for at in range(0, len(data), 4096):
        head: dict[str, Any] = (
            {} if at else {"first": first, "count": count, "codec": codec, "total": len(data),
                           "digest": sha256(data).digest()[:8]}
        )  # fmt: skip
        frames.append(Frame(origin=0, offset=at, data=data[at : at + 4096], **head))
    seal = Seal(origin=0, size=first + count, key_id=bytes(4), signature=bytes(64))
    return [*frames, seal]


BOMB: Final = zstd.compress(bytes(300 << 20))
LINES: Final = segment.encode(0, [entry(n) for n in range(9)])
CASES: Final[tuple[tuple[str, Sequence[Message | bytes]], ...]] = (
    ("exchange.bomb", [HELLO, *framed(BOMB, 9, codec=1)]),
    ("exchange.codec", [HELLO, *framed(LINES, 9, codec=7)]),
    ("exchange.flood", [HELLO, *[Have(received=0, credit=0)] * 2_000]),
    ("exchange.gap", [HELLO, *framed(LINES, 9, first=5)]),
    ("exchange.message", [HELLO, b"\xff" * 5_000]),
    ("exchange.no_hello", framed(LINES, 9)),
    ("exchange.note", [HELLO, *framed(LINES, 9)]),
    ("exchange.segment", [HELLO, *framed(LINES.replace(b":", b": ", 1), 9)]),
    ("exchange.total", [HELLO, Frame(origin=0, data=bytes(90), first=0, count=9, total=5)]),
)


@pytest.fixture
async def duo(tmp_path: Path) -> AsyncIterator[Duo]:
    async with Duo.open(tmp_path) as duo:
        assert await duo.ask("POST", "/sites", site=BAD, vkey=KEY.vkey)
        yield duo


async def said(duo: Duo, messages: Sequence[Message | bytes], site: str = BAD) -> list[str]:
    """Dial, say it, and return the codes of the errors that the hub answers before it closes."""
    url = f"http://127.0.0.1:{duo.link.target[1]}/sites/{site}/link"
    codes = []
    async with duo.web.ws_connect(url, **WEBSOCKET) as ws, asyncio.timeout(PASSES_S):
        try:
            for one in messages:
                await ws.send_bytes(one if isinstance(one, bytes) else message.encode(one))
        except ConnectionError:
            pass  # it was closed in the middle: what it said is there to be read
        async for told in ws:
            if told.type is not aiohttp.WSMsgType.BINARY:
                continue
            read = message.decode(told.data).message
            if isinstance(read, Trouble):
                codes.append(read.code)
                if read.origin:  # one log was stopped: the link lives
                    return codes
    return codes


async def passes(duo: Duo, number: int) -> float:
    """Write at the good site; return how long until the hub has it in its book."""
    tag = base64.b64encode(number.to_bytes(16, "big")).decode()
    added = CourierAdded(
        now=local.nobody(), token="", by="test", tenant="acme", label=f"n{number}", tag=tag
    )
    answer = await duo.send(added)
    assert answer is not None
    began = time.monotonic()
    async with asyncio.timeout(PASSES_S):
        while answer.ref not in await refs(duo):  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def refs(duo: Duo) -> set[str]:
    told = await duo.ask("GET", f"/sites/{SITE}/book?part=grants")
    return {grant["ref"] for grant in told["grants"]}


async def audit(duo: Duo, site: str) -> dict[str, dict[str, Any]]:
    """Return what the hub wrote down of a site: evidence by code."""
    told = await duo.ask("GET", f"/sites/{site}/audit?count=1000")
    return {line["code"]: line["evidence"] for line in told["lines"]}


def memory_kb(duo: Duo) -> int:
    """Return the resident memory of the hub's process."""
    status = Path(f"/proc/{duo.hub._child.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def equal(duo: Duo) -> None:
    async with asyncio.timeout(60):
        while True:
            ours = sha256(read_book(duo.data).canonical()).digest()
            told = await duo.ask("GET", f"/sites/{SITE}/book?part=alarms")
            if told["sha256"] == base64.b64encode(ours).decode():
                return
            await asyncio.sleep(0.2)


async def test_each_broken_rule_closes_its_own_link_and_no_other(duo: Duo) -> None:
    await passes(duo, 1)
    for code, messages in CASES:
        assert await said(duo, messages) == [code], code
    connects = (await duo.status())["hub"]["connects"]
    before = memory_kb(duo)
    slowest = 0.0
    for number in range(ROUNDS):
        async with asyncio.TaskGroup() as group:
            for _, messages in CASES:
                group.create_task(said(duo, messages))
            slowest = max(slowest, await passes(duo, 2 + number))
    grown = memory_kb(duo) - before
    print(f"the hub grew by {grown} KiB; another site's entry took {slowest:.2f} s at most")
    assert grown < GROWTH_KB_MAX
    assert (await duo.status())["hub"]["connects"] == connects, "the good site's link was ended"
    lines = await audit(duo, BAD)
    for code, _ in CASES:
        assert code in lines or f"log.{code}" in lines or "log.refused" in lines, code
    assert lines["exchange.gap"] == {"size": "0", "first": "5"}
    shown = await duo.ask("GET", f"/sites/{BAD}")
    assert all(log["own"] for log in shown["logs"] if log["size"]), "nothing of it was stored"
    await equal(duo)


async def test_peers_that_take_nothing_hold_up_nobody(duo: Duo) -> None:
    for number in range(40):
        assert await duo.ask(
            "POST", f"/sites/{BAD}/grants", by="test", grant="courier", tenant="acme",
            label=f"a courier of a site that does not listen {number}",
        )  # fmt: skip
    before = memory_kb(duo)
    url = f"http://127.0.0.1:{duo.link.target[1]}/sites/{BAD}/link"
    for number in range(20):
        async with duo.web.ws_connect(url, **WEBSOCKET) as ws:
            theirs = message.decode((await ws.receive()).data).message
            assert isinstance(theirs, Hello)
            logs = [Wanted(at, 0, bytes(8), 0) for at in range(len(theirs.table))]
            await ws.send_bytes(message.encode(HELLO))
            await ws.send_bytes(message.encode(Want(logs=logs, credit=256 * 1024)))
            # It reads no further, and never says what it has.
            assert await passes(duo, number) < PASSES_S
    assert memory_kb(duo) - before < GROWTH_KB_MAX
    await equal(duo)


async def test_a_second_link_of_a_site_ends_the_first_and_the_site_comes_back(duo: Duo) -> None:
    await passes(duo, 1)
    first = (await duo.status())["hub"]["connects"]
    for number in range(3):
        url = f"http://127.0.0.1:{duo.link.target[1]}/sites/{SITE}/link"
        async with duo.web.ws_connect(url, **WEBSOCKET) as ws:
            await ws.send_bytes(message.encode(HELLO))
            assert await passes(duo, 2 + number) < PASSES_S
    assert (await duo.status())["hub"]["connects"] > first
    await equal(duo)


@pytest.mark.night
async def test_both_ends_of_a_half_open_link_notice_within_their_times(tmp_path: Path) -> None:
    async with Duo.open(tmp_path, hole=True) as duo:
        await passes(duo, 1)
        duo.link.cut()
        began = time.monotonic()
        tag = base64.b64encode(bytes(16)).decode()
        assert await duo.send(
            CourierAdded(now=local.nobody(), token="", by="t", tenant="acme", label="n", tag=tag)
        )
        async with asyncio.timeout(150):  # SILENCE_MS, and something for the machine
            while (await duo.status())["hub"]["up"]:  # noqa: ASYNC110  # another process
                await asyncio.sleep(1)
        site_s = time.monotonic() - began
        async with asyncio.timeout(330):  # IDLE_START_MS and PONG_MS, and something
            while (await duo.ask("GET", f"/sites/{SITE}"))["link"]["up"]:  # noqa: ASYNC110  # it too
                await asyncio.sleep(1)
        print(
            f"the site noticed after {site_s:.0f} s, the hub after {time.monotonic() - began:.0f}"
        )
        duo.link.mend()
        await equal(duo)
