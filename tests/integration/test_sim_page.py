"""Pins the page's JSON interface: hands, faults, events, and that a foreign page can do nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

import adapters.simulator
from adapters.simulator.errors import ActionRefused, BankRefused, WiringRefused
from adapters.simulator.page import Page
from adapters.simulator.site import Site
from adapters.simulator.wiring import Wiring, parse, plain

STATIC = Path(adapters.simulator.__file__).parent / "static"


class Client:
    """A person at the page."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url

    async def post(self, path: str, **body: object) -> tuple[int, dict[str, object]]:
        async with self.http.post(f"{self.url}api/{path}", json=body) as answer:
            return answer.status, await answer.json()

    async def state(self) -> dict[str, list[dict[str, object]]]:
        async with self.http.get(f"{self.url}api/state") as answer:
            assert answer.status == 200
            told: dict[str, list[dict[str, object]]] = await answer.json()
            return told


def wiring(folder: Path) -> Wiring:
    text = (STATIC / "example-bank.toml").read_text("utf-8")
    return parse(text.replace('"bank-tty"', json.dumps(str(folder / "tty"))))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    site = Site(wiring(tmp_path))
    await site.start()
    page = Page(site, "127.0.0.1", 0)
    url = await page.start()
    async with aiohttp.ClientSession() as http:
        yield Client(http, url)
    await page.stop()
    await site.stop()


async def test_hands_open_fill_and_shut_a_door(client: Client) -> None:
    assert (await client.post("doors/1/parcel", inside=True))[0] == 409
    assert (await client.post("doors/1/open_by_hand"))[1] == {"done": False, "pulling": False}
    assert (await client.post("doors/1/force")) == (200, {"done": True})
    assert (await client.post("doors/1/parcel", inside=True))[0] == 200
    door = (await client.state())["doors"][0]
    assert (door["door"], door["parcel"], door["locked"]) == ("open", True, False)
    assert (await client.post("doors/1/parcel", inside=False))[0] == 200
    await client.post("doors/1/slam")
    await client.post("doors/1/close")
    door = (await client.state())["doors"][0]
    assert (door["door"], door["parcel"], door["locked"]) == ("closed", False, True)


async def test_jam_and_other_faults_come_and_go(client: Client) -> None:
    await client.post("doors/2/jam")
    await client.post("faults", compartment=2, fault="bounce", value=50)
    await client.post("faults", board="relays", fault="late", value=200, count=3)
    await client.post("faults", line="outputs", fault="hang")
    state = await client.state()
    assert state["doors"][1]["faults"] == {"jam": 1, "bounce": 50}
    assert state["boards"][0]["faults"] == {"late": 200}
    assert state["lines"][1]["faults"] == ["hang"]
    await client.post("doors/2/unjam")
    await client.post("faults", compartment=2, fault="bounce", on=False)
    await client.post("faults", board="relays", fault="late", on=False)
    await client.post("lines/outputs/hang", on=False)
    state = await client.state()
    assert state["doors"][1]["faults"] == state["boards"][0]["faults"] == {}
    assert state["lines"][1]["faults"] == []


async def test_boards_die_and_lines_are_pulled_out(client: Client, tmp_path: Path) -> None:
    await client.post("boards/relays/kill")
    await client.post("lines/rs485/unplug")
    await client.post("lines/inputs/unplug")
    assert not (tmp_path / "tty").is_symlink()
    state = await client.state()
    assert state["boards"][0]["alive"] is False
    assert [line["plugged"] for line in state["lines"]] == [False, True, False]
    await client.post("boards/relays/revive", keep_outputs=True)
    await client.post("boards/relays/reboot", boot_ms=10)
    await client.post("lines/rs485/replug")
    await client.post("lines/inputs/replug")
    await client.post("lines/rs485/echo")
    await client.post("boards/sensors/input", channel=7, active=True)
    state = await client.state()
    assert [line["plugged"] for line in state["lines"]] == [True, True, True]
    assert state["lines"][0]["faults"] == ["echo"]
    assert state["boards"][1]["inputs"][7] is True  # type: ignore[index]  # a JSON list
    assert (tmp_path / "tty").is_symlink()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("doors/99/close", {}, 404),
        ("doors/1/dance", {}, 404),
        ("doors/x/close", {}, 404),
        ("boards/none/kill", {}, 404),
        ("boards/relays/dance", {}, 404),
        ("boards/relays/input", {"channel": 0, "active": True}, 404),
        ("lines/none/echo", {}, 404),
        ("lines/rs485/half_open", {}, 404),
        ("doors/1/close", {"x": 1}, 400),
        ("doors/1/parcel", {}, 400),
        ("faults", {"fault": "late"}, 400),
        ("faults", {"fault": "late", "board": "relays", "line": "rs485"}, 400),
        ("faults", {"fault": "nonsense", "board": "relays"}, 404),
        ("faults", {"fault": "nonsense", "compartment": 1}, 404),
        ("faults", {"fault": "nonsense", "line": "rs485"}, 404),
        ("doors/1/close", {"x": "y" * 5000}, 413),
    ],
)
async def test_bad_requests_are_refused_with_a_code(
    client: Client, path: str, body: dict[str, object], status: int
) -> None:
    got, told = await client.post(path, **body)
    assert got == status
    assert str(told["code"]).startswith("bank.")


async def test_foreign_page_can_neither_read_nor_write(client: Client) -> None:
    async with client.http.get(
        f"{client.url}api/state", headers={"Host": "evil.example"}
    ) as answer:
        assert answer.status == 403
    url = f"{client.url}api/doors/1/force"
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": kind}
        async with client.http.post(url, data=b"{}", headers=headers) as answer:
            assert answer.status == 415
    assert (await client.state())["doors"][0]["door"] == "closed"
    headers = {"Content-Type": "application/json"}
    async with client.http.post(url, data=b"[" * 4000, headers=headers) as answer:
        assert answer.status == 400


async def test_page_and_its_parts_are_served(client: Client) -> None:
    for path in ("", "static/page.js", "static/page.css", "static/icon.svg", "api/faults"):
        async with client.http.get(client.url + path) as answer:
            assert answer.status == 200, path
            assert await answer.read()
    async with client.http.get(client.url) as answer:
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    async with client.http.get(client.url + "nothing") as answer:
        assert answer.status == 404
        assert (await answer.json())["code"] == "bank.http"


async def test_events_tell_what_changed(client: Client) -> None:
    async def next_state(stream: aiohttp.StreamReader) -> dict[str, list[dict[str, object]]]:
        while not (line := await stream.readline()).startswith(b"data: "):
            assert line
        told: dict[str, list[dict[str, object]]] = json.loads(line[6:])
        return told

    async with asyncio.timeout(10), client.http.get(f"{client.url}api/events") as answer:
        assert answer.content_type == "text/event-stream"
        assert (await next_state(answer.content))["doors"][2]["door"] == "closed"
        await client.post("doors/3/force")
        while (await next_state(answer.content))["doors"][2]["door"] != "open":
            pass


async def test_watchers_are_bounded(client: Client) -> None:
    watching = [await client.http.get(f"{client.url}api/events") for _ in range(32)]
    async with client.http.get(f"{client.url}api/events") as answer:
        assert answer.status == 503
    for one in watching:
        one.close()


async def test_page_is_for_loopback_only() -> None:
    site = Site(wiring(Path("unused")))
    for host in ("0.0.0.0", "192.0.2.1", "example.org"):
        with pytest.raises(BankRefused, match=r"bank\.page_host"):
            Page(site, host, 0)


async def test_line_without_a_listener_or_with_a_strange_fault_is_refused() -> None:
    with pytest.raises(WiringRefused, match=r"bank\.no_listener"):
        Site(plain("moxa-e1210", (1,)))
    text = '[[line]]\nname = "l"\ntcp = "127.0.0.1:0"\n'
    text += '[[board]]\nname = "b"\nline = "l"\nprofile = "xy-md02"\n'
    with pytest.raises(ActionRefused, match=r"bank\.no_fault"):
        Site(parse(text + '[[fault]]\nline = "l"\nfault = "echo"\n'))
    assert Site(parse(text + '[[fault]]\nline = "l"\nfault = "hang"\n')).lines["l"].faults == {
        "hang"
    }
