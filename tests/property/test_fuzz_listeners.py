"""Pins that no bytes on the kiosk's port, the control socket or the bank's page break a server."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulator.page import Page
from adapters.simulator.site import Site
from adapters.simulator.wiring import parse as parse_bank
from gateway import control, local, mapfile
from gateway.control import Control
from gateway.core.inputs import Command, MapImported
from gateway.core.outputs import Answer
from gateway.errors import GatewayError
from gateway.web.kiosk import BODY_BYTES_MAX, make_app
from gateway.web.stage import Stage
from tests.property.mutations import spoilt

LIMIT_S = 20.0
PEERS_AT_ONCE = 8
TO_ASCII = bytes(byte if byte < 0x80 else 0x3F for byte in range(256))
NO_REQUEST = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


def request(line: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole request; PORT is put in later."""
    head = [line, "Host: 127.0.0.1:PORT", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


JSON = "Content-Type: application/json"
KIOSK = [
    request("GET / HTTP/1.1"),
    request("GET /api/screen?kiosk=main HTTP/1.1"),
    request("GET /healthz HTTP/1.0", b"", "Connection: close"),
    request("GET /static/kiosk.js HTTP/1.1", b"", "Range: bytes=0-9", "If-None-Match: x"),
    request("POST /api/code HTTP/1.1", b'{"digits":"483920517"}', JSON),
    request("POST /api/staff-code HTTP/1.1", b'{"digits":"4839205170661234"}', JSON),
    request("POST /api/parcel HTTP/1.1", b'{"tracking":"JJD0003900078"}', JSON),
    request("POST /api/button HTTP/1.1", b'{"button":"size","argument":"S low"}', JSON),
    request("POST /api/code HTTP/1.1", b"x" * 2000, JSON, "Expect: 100-continue"),
    request("POST /api/code HTTP/1.1", b"\x1f\x8bzz", JSON, "Content-Encoding: gzip"),
    request("POST /api/code HTTP/1.1", b"\x78\x9czz", JSON, "Content-Encoding: deflate"),
    request("POST /api/code HTTP/1.1", b"", JSON).replace(
        b"Content-Length: 0\r\n\r\n",
        b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"dig\r\n0\r\n\r\n',
    ),
]
BANK = [
    request("GET /api/state HTTP/1.1"),
    request("POST /api/doors/1/open_by_hand HTTP/1.1", b'{"hold_ms":5}', JSON),
    request("POST /api/doors/1/parcel HTTP/1.1", b'{"inside":true}', JSON),
    request("POST /api/doors/99999/close HTTP/1.1", b"{}", JSON),
    request("POST /api/boards/io/input HTTP/1.1", b'{"channel":3,"active":true}', JSON),
    request("POST /api/boards/io/reboot HTTP/1.1", b'{"boot_ms":600000}', JSON),
    request("POST /api/lines/line/hang HTTP/1.1", b'{"on":false}', JSON),
    request(
        "POST /api/faults HTTP/1.1", b'{"fault":"jam","compartment":1,"value":3,"count":2}', JSON
    ),
]
CONTROL = [
    request("GET /v1/status HTTP/1.1"),
    request("POST /v1/command HTTP/1.1", b'{"name":"courier.remove","by":"x","grant":"g"}'),
    request(
        "POST /v1/command HTTP/1.1",
        b'{"name":"support.open","by":"e","door":1,"reason":"r","case":"c"}',
    ),
    request("POST /v1/command HTTP/1.1", b'{"name":"map.import","by":"e","map":{}}'),
]
TOKENS = [
    b"\r\n", b"\r\n\r\n", b"\0", b"%00", b"%ff", b"..%2f", b"../", b"?kiosk=", b"&kiosk=main",
    b"[" * 500, b'"\\ud800"', b"1e999", b"-1", b"9" * 40, b"null",
    b"Transfer-Encoding: chunked\r\n", b"HTTP/9.9", b"Content-Length: 99999999\r\n",
    b"Content-Encoding: br\r\n", b"Host: evil.example\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"ffffffff\r\n", b"A" * 9000, b"\xc3\x28",
    b"Origin: null\r\n", b"Cookie: " + b"a=b;" * 400 + b"\r\n", b"Expect: nothing\r\n",
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_handler_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Assert at the end that no server logged an error: a handler that raised would be one."""
    caplog.set_level(logging.ERROR)
    yield
    # The server itself tells of a request that was none; `gateway.logs` makes one word of it.
    told = [
        record.getMessage()
        for record in caplog.get_records("call")
        if not isinstance((record.exc_info or (None, None))[1], NO_REQUEST)
    ]
    assert told == []


async def tell(where: int | Path, data: bytes, wait_s: float = 0.05) -> bytes:
    """Send bytes to a port or socket and return the beginning of what is answered by then."""
    if isinstance(where, Path):
        reader, writer = await asyncio.open_unix_connection(str(where))
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", where)
        data = data.replace(b"PORT", str(where).encode())
    answer = b""
    with suppress(ConnectionError, TimeoutError):
        writer.write(data)
        async with asyncio.timeout(wait_s):
            await writer.drain()
            answer = await reader.read(1 << 16)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return answer


async def still_answers(where: int | Path, good: bytes) -> None:
    """Assert that the next peer gets an answer."""
    assert b"200 OK" in await tell(where, good, LIMIT_S / 2)


def answered(answer: bytes) -> None:
    """Assert that an answer, if one came, is HTTP and no failure of the server's own."""
    if answer:
        assert answer.startswith(b"HTTP/"), answer[:80]
        assert b" 500 " not in answer.split(b"\r\n")[0], answer


# Several peers at once, each with one or two (spoilt) requests on one connection.
def crowd(examples: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    one = spoilt(examples, TOKENS) | st.binary(max_size=300) | st.sampled_from(examples)
    two = st.builds(bytes.__add__, one, one)
    sent = st.lists(one | two, min_size=1, max_size=PEERS_AT_ONCE)
    return sent.map(lambda requests: [ascii_expect(data) for data in requests])


def ascii_expect(data: bytes) -> bytes:
    """Spare aiohttp one header: it answers an Expect that is no text with 500, before any of us."""
    return re.sub(rb"(?im)^expect:[^\r\n]*", lambda found: found[0].translate(TO_ASCII), data)


@asynccontextmanager
async def kiosk_on_a_port(stage: Stage) -> AsyncIterator[int]:
    runner = web.AppRunner(make_app(stage), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@given(crowd(KIOSK))
async def test_any_bytes_on_the_kiosks_port(sent: list[bytes]) -> None:
    stage = Stage("main", "left")
    async with asyncio.timeout(LIMIT_S), kiosk_on_a_port(stage) as port:
        for answer in await asyncio.gather(*(tell(port, data) for data in sent)):
            answered(answer)
        await still_answers(port, KIOSK[1])
    for heard in stage.heard:
        typed = getattr(heard, "digits", getattr(heard, "tracking", "x"))
        assert 0 < len(typed) <= 64


class Asked:
    """Where commands end up, instead of a site."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    async def ask(self, command: Command) -> Answer:
        self.commands.append(command)
        return Answer("", "door.unknown", "", (("door", 1),))

    def status(self) -> Mapping[str, object]:
        return {"site": "x"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sockets")


@given(crowd(CONTROL))
async def test_any_bytes_on_the_control_socket(folder: Path, sent: list[bytes]) -> None:
    path, asked = folder / "control.sock", Asked()
    listener = Control(asked.ask, asked.status, local.nobody)
    async with asyncio.timeout(LIMIT_S):
        await listener.start(path)
        try:
            for answer in await asyncio.gather(*(tell(path, data) for data in sent)):
                answered(answer)
            await still_answers(path, CONTROL[0])
        finally:
            await listener.close()


MAPS: dict[str, dict[str, Any]] = {
    "boards": {"b": {"name": "b", "line": "l", "profile": "moxa-e1211", "unit": 1}},
    "doors": {"1": {"number": 1, "size": "M", "lock": "b:0", "switch": "b:1", "rail": "r"}},
}
COMMANDS = [
    {"name": "map.import", "by": "e", "map": MAPS},
    {"name": "courier.add", "by": "e", "tenant": "acme", "label": "van", "tag": "AA=="},
    {"name": "support.open", "by": "e", "door": 1, "reason": "r", "case": "c"},
    {"name": "support.check", "by": "e", "door": 1, "occupied": False},
    {"name": "service.set", "by": "e", "door": 1, "enabled": False, "reason": "r"},
    {"name": "annex.erase", "by": "e", "ref": "e1-00000000:sc0"},
]
BODIES = spoilt(
    [json.dumps(command).encode() for command in COMMANDS],
    [
        b"null",
        b"1.5",
        b'"\\ud800"',
        b'"\\u0000"',
        b"9" * 30,
        b"[" * 2000,
        b'"x":1,',
        b'"now":{},',
        b'"b:"',
    ],
)


@given(BODIES | st.binary(max_size=100))
def test_any_command_is_understood_or_refused_and_no_map_is_worse_than_a_files(
    body: bytes,
) -> None:
    command, code = None, ""
    try:
        command = control.decode(body, local.nobody())
    except GatewayError as refused:
        code = str(control._refusal(refused)["code"])
    assert code in {"", "command.unknown", "command.malformed", "map.invalid"}
    if isinstance(command, MapImported):
        assert mapfile.parse(mapfile.write(command.map), mapfile._any_profile) == command.map


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("doors", "1", "switch"), "b"), (("doors", "1", "lock"), ""),
        (("doors", "1", "lock"), "c:0"), (("doors", "1", "number"), 2),
        (("boards", "b", "name"), "c"), (("boards", "b", "unit"), 0),
        (("doors", "1", "pulse_ms"), 60_000), (("doors", "1", "rail"), ""), (("doors",), {}),
    ],
)  # fmt: skip
def test_a_map_over_the_socket_is_held_to_what_a_file_may_say(
    place: tuple[str, ...], value: object
) -> None:
    spoiled = json.loads(json.dumps(MAPS))
    inner = spoiled
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    good = {"name": "map.import", "by": "e", "map": MAPS}
    assert isinstance(control.decode(json.dumps(good).encode(), local.nobody()), MapImported)
    with pytest.raises(GatewayError, match=r"^map\.invalid"):
        control.decode(json.dumps(good | {"map": spoiled}).encode(), local.nobody())


WIRING = """
[[line]]
name = "line"
tcp = "127.0.0.1:0"
framing = "FRAMING"
[[board]]
name = "io"
line = "line"
profile = "waveshare-rtu-io-8ch"
[[compartment]]
number = 1
lock = "io:0"
door = "io:0"
"""


@given(crowd(BANK))
async def test_any_bytes_on_the_banks_page(sent: list[bytes]) -> None:
    site = Site(parse_bank(WIRING.replace("FRAMING", "tcp")))
    page = Page(site, "127.0.0.1", 0)
    async with asyncio.timeout(LIMIT_S):
        await page.start()
        try:
            for answer in await asyncio.gather(*(tell(page.port, data) for data in sent)):
                answered(answer)
            await still_answers(page.port, BANK[0])
        finally:
            await page.stop()
            await site.stop()


READ_INPUTS = bytes.fromhex("000100000006010200000008")


@given(st.lists(spoilt([READ_INPUTS, bytes.fromhex("01020000000879cc")]), max_size=4))
async def test_any_bytes_on_a_line_of_the_bank(sent: list[bytes]) -> None:
    for framing in ("tcp", "rtu"):
        site = Site(parse_bank(WIRING.replace("FRAMING", framing)))
        async with asyncio.timeout(LIMIT_S):
            await site.start()
            try:
                port = int(site.where()["line"].rpartition(":")[2])
                await asyncio.gather(*(tell(port, data) for data in sent))
                if framing == "tcp":
                    answer = await tell(port, READ_INPUTS, LIMIT_S / 2)
                    assert answer.startswith(b"\0\1\0\0\0\4\1\2\1")
            finally:
                await site.stop()


async def test_many_connections_that_say_nothing_leave_room_for_one_that_does() -> None:
    async with asyncio.timeout(LIMIT_S), kiosk_on_a_port(Stage("main")) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        for _, writer in silent:
            writer.write(b"POST /api/code HT")
        await still_answers(port, KIOSK[1])
        for _, writer in silent:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in silent))


async def test_a_huge_body_is_refused_before_it_is_read() -> None:
    stage = Stage("main")
    async with asyncio.timeout(LIMIT_S), kiosk_on_a_port(stage) as port:
        for size in (BODY_BYTES_MAX + 1, 1 << 22):
            body = b'{"digits":"' + b"1" * size + b'"}'
            answer = await tell(port, request("POST /api/code HTTP/1.1", body, JSON), 1)
            assert answer == b"" or b" 413 " in answer.split(b"\r\n")[0]
    assert stage.heard == []
