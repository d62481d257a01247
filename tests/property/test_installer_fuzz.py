"""Pins that no bytes on the installer's port break the server, let anybody in or open a door."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from certs import lan
from gateway import local, site
from gateway.commissioning.bench import Bench
from gateway.commissioning.place import Place
from gateway.core.outputs import Answer
from gateway.upkeep import Upkeep
from gateway.web.installer import listener as listener_module
from gateway.web.installer.listener import Listener
from gateway.web.installer.office import Office, Site
from gateway.wired import Known
from sync.book import Book
from tests.lan_stage import proof_body
from tests.property.mutations import spoilt
from tests.property.test_fuzz_listeners import (
    JSON,
    LIMIT_S,
    NO_REQUEST,
    TOKENS,
    answered,
    request,
    tell,
)

FORM = "Content-Type: application/x-www-form-urlencoded"
COOKIE = "Cookie: __Host-installer=" + "A" * 43
SENT = [
    request("GET / HTTP/1.1", b"", "Accept-Language: de"),
    request("GET /?door=3&code=door.late HTTP/1.1", b"", COOKIE),
    request("GET /static/installer.js HTTP/1.1"),
    request("POST /pair/session HTTP/1.1", b"code=AAAQ-EAYE-AUDA-OCAJ-S", FORM),
    request("POST /pair/session HTTP/1.1", b"code=%ff%00&code=%zz", FORM + "; charset=nonsense"),
    request("POST /pair/certificate HTTP/1.1", proof_body("ab" * 32, bytes(16)), JSON),
    request("POST /pair/certificate HTTP/1.1", b'{"csr":"AAAA","proof":"AAAA"}', JSON),
    request("POST /pair/end HTTP/1.1", b"csrf=x", FORM, COOKIE),
    request("GET /api/me HTTP/1.1", b"", COOKIE),
    request("POST /api/doors/1/test HTTP/1.1", b"", COOKIE, "X-Csrf-Token: x"),
    request("POST /api/doors/1/service HTTP/1.1", b'{"enabled":false,"reason":"x"}', JSON, COOKIE),
    request("GET /api/trends?door=1 HTTP/1.1", b"", COOKIE),
    request("GET /api/diagnostics HTTP/1.1", b"", "Origin: https://127.0.0.1:PORT"),
    request("POST /pair/session HTTP/1.1", b"\x1f\x8bzz", FORM, "Content-Encoding: gzip"),
    request(
        "POST /pair/session HTTP/1.1", b"--x\r\n", "Content-Type: multipart/form-data; boundary=x"
    ),
]


@pytest.fixture(autouse=True)
def no_handler_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.ERROR)
    yield
    told = [
        record.getMessage()
        for record in caplog.get_records("call")
        if not isinstance((record.exc_info or (None, None))[1], NO_REQUEST)
    ]
    assert told == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("fuzz") / "data"
    site.make(data, operator="lockers.example", site="0042")
    return data


def site_of(folder: Path, ask: Any, status: Any) -> Site:
    """A site that is asked here: with the real bench, whose boards nobody has."""

    async def machine() -> dict[str, Any]:
        return {}

    def nothing(*_: Any) -> None:
        pass

    place = Place(
        site="s", now=local.nobody, ask=ask, tell=nothing, book=Book, apart=nothing,
        machine=machine, lines={},
    )  # fmt: skip
    upkeep = Upkeep(None, folder, Known)
    return Site(local.nobody, ask, status, nothing, Bench(folder, place), upkeep)


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[tuple[int, Office, list[Any]]]:
    """The application on a plain port, a window open; what the site is asked is kept."""
    asked: list[Any] = []

    async def ask(command: Any) -> Answer:
        asked.append(command)
        return Answer("")

    status: dict[str, Any] = {"site": "s", "health": {"ok": True}}
    office = Office(folder, site_of(folder, ask, lambda: status))
    office.lan.renew(["127.0.0.1"], 1_790_000_000)
    office.open_window("eva", "anna")
    runner = web.AppRunner(
        Listener(office).app, access_log=None, handle_signals=False, shutdown_timeout=0.1,
        lingering_time=0.0,
    )  # fmt: skip
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1], office, asked
    finally:
        await runner.cleanup()


@given(st.lists(spoilt(SENT, TOKENS) | st.binary(max_size=300), min_size=1, max_size=4))
async def test_any_bytes_let_nobody_in(folder: Path, sent: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listener_module, "STRANGER_S", 0.0)
        patch.setattr(listener_module, "REFUSED_S", 0.0)
        await send(folder, sent)


async def send(folder: Path, sent: list[bytes]) -> None:
    async with listening(folder) as (port, office, asked):
        for data in sent:
            answered(await tell(port, data))
        assert asked == []
        assert office.paired() == []
        assert b"200 OK" in await tell(port, SENT[0], LIMIT_S / 2)


@given(st.binary(max_size=2_100), st.binary(max_size=64))
def test_any_request_and_proof_pair_nobody(folder: Path, csr: bytes, proof: bytes) -> None:
    async def ask(_: Any) -> Answer:
        raise AssertionError

    office = Office(folder, site_of(folder, ask, dict))
    office.lan.renew(["127.0.0.1"], 1_790_000_000)
    window = office.open_window("eva", "anna")
    good = lan.proof(window.secret, office.lan.pin, "ab" * 32)
    for given_proof in (proof, good):
        with pytest.raises(Exception, match=r"^(csr|pair)\."):
            office.pair(csr, given_proof)
    assert office.paired() == []
