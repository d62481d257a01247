"""Pins the kiosk's HTTP door: what it takes, refuses by which code, and never tells."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.inputs import Button
from gateway.core.screen import Screen
from gateway.web import kiosk
from gateway.web.kiosk import CodeTyped, Pressed, Scanned, StaffCodeTyped, make_app
from gateway.web.stage import EXAMPLES, Stage

Client = TestClient[web.Request, web.Application]
SECRET = "4839205170661234"
POSTS: dict[str, dict[str, Any]] = {
    "/api/code": {"digits": "483920517"},
    "/api/staff-code": {"digits": SECRET},
    "/api/parcel": {"tracking": "JJD0003900078"},
    "/api/button": {"button": "collect"},
}


@pytest.fixture
def stage() -> Stage:
    return Stage("main", "left")


@pytest.fixture
async def client(stage: Stage, aiohttp_client: Callable[..., Awaitable[Client]]) -> Client:
    return await aiohttp_client(make_app(stage))


async def refused(answer: ClientResponse, status: int, code: str) -> None:
    body = await answer.json()
    assert (answer.status, body["code"]) == (status, code)
    assert body.keys() == {"code", "remedy"}
    assert body["remedy"]
    assert answer.headers["Cache-Control"] == "no-store"


async def next_event(answer: ClientResponse) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while not (line := await answer.content.readline()).startswith(b"data: "):
            assert line in (b"event: screen\n", b": here\n", b"\n")
    assert await answer.content.readline() == b"\n"
    loaded: dict[str, Any] = json.loads(line[6:])
    return loaded


# --- what goes in ------------------------------------------------------------------------------


async def test_what_people_do_reaches_the_site_as_values(client: Client, stage: Stage) -> None:
    for path, body in POSTS.items():
        answer = await client.post(path, json=body)
        assert (answer.status, await answer.json()) == (202, {})
    await client.post("/api/button?kiosk=left", json={"button": "size", "argument": "S low"})
    assert stage.heard == [
        CodeTyped(kiosk="main", digits="483920517"),
        StaffCodeTyped(kiosk="main", digits=SECRET),
        Scanned(kiosk="main", tracking="JJD0003900078"),
        Pressed(kiosk="main", button=Button.COLLECT),
        Pressed(kiosk="left", button=Button.SIZE, argument="S low"),
    ]


async def test_a_qr_code_goes_to_the_site_and_a_list_of_denials_beside_it(
    client: Client, stage: Stage
) -> None:
    shown = "PLG1:6BF 8F$%*+-./:"
    longest = "PLG1D:" + "A" * (kiosk.TEXT_CHARACTERS_MAX - 6)
    assert (await client.post("/api/scan", json={"text": shown})).status == 202
    assert (await client.post("/api/scan", json={"text": longest})).status == 202
    assert stage.heard == [kiosk.Shown(kiosk="main", text=shown)]
    assert stage.carried == [longest]
    assert shown not in repr(stage.heard)


async def test_a_kiosk_that_is_not_there_takes_no_qr_code(client: Client, stage: Stage) -> None:
    answer = await client.post("/api/scan?kiosk=nowhere", json={"text": "PLG1:"})
    await refused(answer, 404, "kiosk.unknown")


BAD_BODIES = [
    ("/api/scan", b'{"text": ""}'),
    ("/api/scan", b'{"text": "483920517"}'),
    ("/api/scan", b'{"text": " PLG1:A"}'),
    ("/api/scan", b'{"text": "PLG1:A\\n"}'),
    ("/api/scan", '{"text": "PLG1:\u00c4"}'.encode()),
    ("/api/scan", json.dumps({"text": "PLG1:" + "A" * 4_396}).encode()),
    ("/api/code", b""),
    ("/api/code", b"{}"),
    ("/api/code", b"[]"),
    ("/api/code", b'{"digits": 483920517}'),
    ("/api/code", b'{"digits": ""}'),
    ("/api/code", json.dumps({"digits": "1" * 65}).encode()),
    ("/api/code", b'{"digits": "1", "kiosk": "left"}'),
    ("/api/code", b'{"digits": "1"} {}'),
    ("/api/code", b'{"digits": "\xff"}'),
    ("/api/code", b"[" * 1000),
    ("/api/staff-code", b'{"tracking": "1"}'),
    ("/api/parcel", b'{"tracking": null}'),
    ("/api/button", b'{"button": "open_all"}'),
    ("/api/button", b'{"button": "COLLECT"}'),
    ("/api/button", b'{"button": "size", "argument": "S\\nlow"}'),
    ("/api/button", b'{"button": "size", "argument": "S\\n"}'),
    ("/api/button", b'{"button": "size", "argument": "12345678901234567"}'),
]


@pytest.mark.parametrize(("path", "body"), BAD_BODIES)
async def test_a_body_that_is_not_exactly_right_is_refused(
    client: Client, stage: Stage, path: str, body: bytes
) -> None:
    answer = await client.post(path, data=body, headers={"Content-Type": "application/json"})
    await refused(answer, 400, "kiosk.body")
    assert stage.heard == []


async def test_sixty_four_characters_are_taken_as_typed(client: Client, stage: Stage) -> None:
    typed = "ü " * 32
    assert (await client.post("/api/parcel", json={"tracking": typed})).status == 202
    assert stage.heard == [Scanned(kiosk="main", tracking=typed)]


async def test_more_than_a_kilobyte_is_refused(client: Client, stage: Stage) -> None:
    answer = await client.post("/api/code", json={"digits": "1" * 1024})
    await refused(answer, 413, "kiosk.too_long")
    assert stage.heard == []


async def test_more_than_a_qr_code_is_refused(client: Client, stage: Stage) -> None:
    answer = await client.post("/api/scan", json={"text": "PLG1:" + "A" * 5_120})
    await refused(answer, 413, "kiosk.too_long")
    assert stage.heard == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_form_cannot_type_a_code(client: Client, stage: Stage, kind: str) -> None:
    answer = await client.post("/api/code", data=b'{"digits":"1"}', headers={"Content-Type": kind})
    await refused(answer, 415, "kiosk.media_type")
    assert stage.heard == []


async def test_a_body_that_never_ends_is_not_waited_for(
    client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kiosk, "BODY_S", 0.01)
    ended = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"digits":'
        await ended.wait()

    answer = await client.post(
        "/api/code", data=slowly(), headers={"Content-Type": "application/json"}
    )
    await refused(answer, 408, "kiosk.slow")
    ended.set()
    assert stage.heard == []


async def test_a_full_queue_is_said_and_not_hidden(client: Client, stage: Stage) -> None:
    stage.full = True
    for path, body in POSTS.items():
        await refused(await client.post(path, json=body), 503, "site.overloaded")
    assert stage.heard == []


@given(body=st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_bytes_are_refused_with_a_code(body: bytes) -> None:
    for kind in (kiosk._DigitsBody, kiosk._TrackingBody, kiosk._ButtonBody):
        asyncio.run(_decode_or_refuse(body, kind))


async def _decode_or_refuse(body: bytes, kind: type[Any]) -> None:
    class Request:
        content_type = "application/json"

        async def read(self) -> bytes:
            return body

    with pytest.raises(kiosk.KioskRefused) as told:
        await kiosk._body(Request(), kind)  # type: ignore[arg-type]  # only these two are used
    assert told.value.code == "kiosk.body"
    assert told.value.__cause__ is None


# --- who may ask -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.3.2.1", "[::1]"])
async def test_loopback_names_are_ours(client: Client, host: str) -> None:
    answer = await client.get("/api/screen", headers={"Host": f"{host}:{client.port}"})
    assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}", "127.0.0.1.evil.example:{port}", "192.168.1.7:{port}", "localhost",
        "127.0.0.1:1", "[::1]", "::1:{port}", "[127.0.0.1:{port}", "localhost:{port}.evil.example",
        "localhost:+{port}", "localhost:000000{port}", "[localhost]:x", "", "localhost.:{port}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/static/kiosk.js", "/api/screen", "/healthz", "/nowhere"])
async def test_no_other_name_is_answered(client: Client, host: str, path: str) -> None:
    answer = await client.get(path, headers={"Host": host.format(port=client.port)})
    await refused(answer, 403, "kiosk.host")


@pytest.mark.parametrize("path", sorted(POSTS))
async def test_a_page_from_elsewhere_can_do_nothing(
    client: Client, stage: Stage, path: str
) -> None:
    own = f"http://127.0.0.1:{client.port}"
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https" + own.removeprefix("http")},
        {"Origin": f"http://127.0.0.1:{(client.port or 0) + 1}"},
        {"Origin": f"http://localhost:{client.port}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": own},
    ):
        answer = await client.post(path, json=POSTS[path], headers=headers)
        await refused(answer, 403, "kiosk.origin")
    assert stage.heard == []
    ours = {"Origin": own, "Sec-Fetch-Site": "same-origin"}
    assert (await client.post(path, json=POSTS[path], headers=ours)).status == 202


async def test_unknown_paths_methods_and_kiosks_are_refused_by_code(client: Client) -> None:
    await refused(await client.get("/api/open-all"), 404, "kiosk.path")
    await refused(await client.get("/static/../kiosk.py"), 404, "kiosk.path")
    await refused(await client.get("/static/%2e%2e/kiosk.py"), 404, "kiosk.path")
    await refused(await client.post("/api/screen"), 405, "kiosk.method")
    await refused(await client.get("/api/code"), 405, "kiosk.method")
    for name in ("", "A", "a" * 17, "../etc", "main&kiosk=left"):
        await refused(await client.get(f"/api/screen?kiosk={name}"), 400, "kiosk.name")
    for path in ("/api/screen", "/api/events"):
        await refused(await client.get(f"{path}?kiosk=right"), 404, "kiosk.unknown")
    answer = await client.post("/api/code?kiosk=right", json={"digits": "1"})
    await refused(answer, 404, "kiosk.unknown")


async def test_every_answer_carries_the_strict_headers(client: Client) -> None:
    for path in ("/", "/static/kiosk.js", "/static/none", "/api/screen", "/healthz", "/none"):
        answer = await client.get(path)
        for name, value in kiosk.SECURITY_HEADERS.items():
            assert answer.headers[name] == value, path
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        static = path in {"/", "/static/kiosk.js"}
        assert answer.headers["Cache-Control"] == ("no-cache" if static else "no-store"), path


async def test_nothing_typed_is_logged_or_echoed(
    client: Client, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = ""
    for full in (False, True):
        stage.full = full
        for path in ("/api/code", "/api/staff-code", "/api/parcel"):
            for body in ({"digits": SECRET}, {"tracking": SECRET}, {"digits": SECRET * 5}):
                answer = await client.post(path, json=body)
                told += await answer.text() + str(answer.headers)
    assert SECRET not in told + caplog.text + repr(stage.heard)


# --- what comes out ----------------------------------------------------------------------------


async def test_every_screen_comes_whole(client: Client, stage: Stage) -> None:
    async with client.get("/api/events") as events:
        assert events.headers["Content-Type"].startswith("text/event-stream")
        for screen in EXAMPLES:
            stage.show(screen)
            while (seen := await next_event(events)) != json.loads(json.dumps(asdict(screen))):
                assert seen == asdict(EXAMPLES[0]) | {"doors": [], "sizes": []}
            answer = await client.get("/api/screen")
            assert await answer.json() == seen


async def test_the_current_screen_comes_first_and_each_kiosk_has_its_own(
    client: Client, stage: Stage
) -> None:
    stage.show(Screen("collect.open", door=12))
    async with client.get("/api/events") as main, client.get("/api/events?kiosk=left") as left:
        assert (await next_event(main))["door"] == 12
        assert (await next_event(left))["name"] == "welcome"
        stage.show(Screen("help"), "left")
        stage.show(Screen("welcome"))
        assert (await next_event(left))["name"] == "help"
        # A new turn of another kiosk may repeat the own screen; it never brings another's.
        assert (await next_event(main))["name"] == "welcome"


async def test_a_quiet_stream_says_that_it_lives(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kiosk, "HEARTBEAT_S", 0.01)
    async with client.get("/api/events") as events:
        await next_event(events)
        async with asyncio.timeout(20):
            assert await events.content.readline() == b": here\n"


async def test_streams_are_bounded_and_a_page_that_went_gives_its_place_back(
    client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kiosk, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(kiosk, "STREAMS_MAX", 3)
    open_streams = [await client.get("/api/events") for _ in range(3)]
    await refused(await client.get("/api/events"), 503, "kiosk.streams")
    for stream in open_streams:
        stream.close()
    async with asyncio.timeout(20):
        await stage.watched_by(0)
    again = await client.get("/api/events")
    assert (await next_event(again))["name"] == "welcome"
    again.close()


async def test_a_page_that_does_not_read_is_let_go(
    stage: Stage, aiohttp_client: Callable[..., Awaitable[Client]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kiosk, "WRITE_S", 0.05)
    monkeypatch.setattr(kiosk, "HEARTBEAT_S", 0.001)
    client = await aiohttp_client(make_app(stage))
    _reader, writer = await asyncio.open_connection(client.host, client.port, limit=1)
    writer.write(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode())
    async with asyncio.timeout(20):
        await stage.watched_by(1)
        many = Screen("deliver.mine", doors=tuple(range(100_000)))
        for _ in range(100):
            stage.show(many)
            await asyncio.sleep(0.02)
            if stage.watching == 0:
                break
        await stage.watched_by(0)
    writer.close()


async def test_stopping_ends_the_streams_at_once(stage: Stage) -> None:
    runner = web.AppRunner(make_app(stage))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    async with asyncio.timeout(20):
        await stage.watched_by(1)
        await runner.cleanup()
        assert b"welcome" in await reader.read()
    assert stage.watching == 0
    writer.close()


async def test_health_is_the_sites_own_word(client: Client, stage: Stage) -> None:
    answer = await client.get("/healthz")
    assert (answer.status, await answer.json()) == (200, {"ok": True})
    stage.ok = False
    answer = await client.get("/healthz")
    assert (answer.status, await answer.json()) == (503, {"ok": False})


async def test_the_page_and_all_its_parts_are_served(client: Client) -> None:
    page = await client.get("/")
    assert page.content_type == "text/html"
    kinds = {".js": "javascript", ".css": "text/css", ".json": "json", ".svg": "image/svg+xml"}
    for path in kiosk.STATIC.rglob("*.*"):
        answer = await client.get(f"/static/{path.relative_to(kiosk.STATIC)}")
        assert answer.status == 200
        assert kinds.get(path.suffix, "text/html") in answer.content_type
    assert (await client.get("/static/")).status == 403
