"""Pins a running site: kiosk, control socket, boards and log together, and how its lives end."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway import app as app_module
from gateway import desk as desk_module
from gateway import identity, local, site
from gateway.bank import LockBoard
from gateway.boards import Boards
from gateway.control import SOCKET, NotRunning, status
from gateway.core.inputs import ServiceSet, SupportChecked, SupportOpens
from gateway.errors import Busy, GatewayError
from sync.errors import StoreFailed
from sync.store import Record, Store
from tests.contract.site_stage import Stand, import_of, stand

TRACKING = "JD014600006281230704"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stand]:
    async with stand(tmp_path / "data") as stage:
        stage.start()
        await stage.in_service()
        yield stage


async def deposit(stage: Stand) -> int:
    secret = await stage.courier()
    await stage.post("button", button="deliver")
    await stage.post("staff-code", digits=secret)
    await stage.shows("deliver.scan")
    await stage.post("parcel", tracking=TRACKING)
    await stage.shows("deliver.size")
    await stage.post("button", button="size", argument="M")
    door = int((await stage.shows("deliver.open"))["door"])
    await stage.hands(door, parcel=True)
    await stage.shows("deliver.scan")
    await stage.post("button", button="home")
    return door


async def test_deposit_and_pick_up_through_real_boards_and_a_real_log(stage: Stand) -> None:
    door = await deposit(stage)
    book = site.read_book(stage.data)
    parcel = site.parcel_of(book, f"acme/{TRACKING}/1")
    assert parcel is not None
    assert parcel.door == door
    who = site.load(stage.data)
    code = site.code_key(who).code(str(parcel.identity), parcel.counter).short(parcel.digits)
    await stage.post("button", button="collect")
    await stage.post("code", digits=code)
    await stage.shows("collect.open")
    await stage.hands(door, parcel=False)
    await stage.shows("collect.thanks")
    await stage.until(lambda: not site.read_book(stage.data).parcels)
    assert await stage.stop() == 0
    assert stage.coils_on() == []
    written = b"".join(record.entry for record in _records(stage.data))
    for secret in (code, TRACKING):
        assert secret.encode() not in written


def _records(data: Path) -> Sequence[Record]:
    from sync.reader import LogFile  # noqa: PLC0415  # one use

    with LogFile.open(identity.database_of(data)) as log:
        return [record for head in log.heads() for record in log.records(head)]


async def test_control_socket_opens_a_door_and_tells_the_status(stage: Stand) -> None:
    path = stage.data / SOCKET
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    now = local.nobody()
    opened = SupportOpens(now=now, token="", by="eva", door=2, reason="sticks", case="77")
    answer = await stage.send(opened)
    assert answer.code == ""
    told = await status(path)
    assert {row["door"]: row["open"] for row in told["doors"]}[2] is True
    assert told["kiosk"] == stage.app.kiosk_url
    await stage.hands(2)
    disabled = ServiceSet(now=now, token="", by="eva", door=3, enabled=False, reason="bent")
    assert (await stage.send(disabled)).code == ""
    told = await status(path)
    assert {row["door"]: row["disabled"] for row in told["doors"]}[3] == "bent"
    unknown = await stage.send(SupportChecked(now=now, token="", by="eva", door=99, occupied=False))
    assert unknown.code == "door.unknown"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "command.malformed"),
        (b"[]", "command.malformed"),
        (b'{"name": "open.all"}', "command.unknown"),
        (b'{"name": 3}', "command.unknown"),
        (b'{"name": "support.open", "by": "x"}', "command.malformed"),
        (b'{"name": "courier.remove", "by": "x", "grant": "g", "now": {}}', "command.malformed"),
        (b'{"name": "courier.remove", "by": "x", "grant": "g", "k": 1}', "command.malformed"),
        (b"\xff" * 40, "command.malformed"),
        (b"[" * 100_000, "command.malformed"),
    ],
)
async def test_bad_commands_are_refused_with_a_code(stage: Stand, body: bytes, code: str) -> None:
    connector = aiohttp.UnixConnector(str(stage.data / SOCKET))
    async with (
        aiohttp.ClientSession(connector=connector) as client,
        client.post("http://gateway/v1/command", data=body) as answer,
    ):
        assert answer.status == 409
        assert json.loads(await answer.read())["code"] == code


async def test_second_gateway_and_offline_commands_are_refused_while_one_runs(
    stage: Stand,
) -> None:
    with pytest.raises(Busy) as caught:
        await app_module.App(stage.config()).run()
    assert caught.value.code == "site.busy"
    with pytest.raises(Busy):
        await local.offline(stage.data, None)


async def test_new_map_is_taken_by_the_running_site(tmp_path: Path) -> None:
    async with stand(tmp_path / "data", doors=2) as stage:
        stage.start()
        await stage.in_service()
        first = stage.app._life
        assert (await stage.send(import_of(4))).code == ""
        await stage.until(lambda: stage.app._life not in {first, None})
        await stage.in_service()
        rows: Any = stage.app.status()["doors"]
        assert [row["door"] for row in rows] == [1, 2, 3, 4]
        await stage.shows("welcome")


async def test_site_without_a_map_waits_for_one(tmp_path: Path) -> None:
    async with stand(tmp_path / "data", doors=0) as stage:
        stage.start()
        await stage.until(lambda: stage.app._life is not None and stage.app.kiosk_url)
        assert (await stage.screen())["name"] in {"out_of_service", "welcome"}
        await stage.until((stage.data / SOCKET).exists)
        assert (await stage.send(import_of())).code == ""
        await stage.in_service()


async def test_full_disk_opens_nothing_says_so_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "FULL_WAIT_S", (0.3,))
    append, full = Store.append, asyncio.Event()

    async def failing(
        store: Store, records: Sequence[Record], *, snapshot: bytes | None = None
    ) -> None:
        if full.is_set():
            raise StoreFailed("full")
        await append(store, records, snapshot=snapshot)

    monkeypatch.setattr(Store, "append", failing)
    async with stand(tmp_path / "data") as stage:
        stage.start()
        await stage.in_service()
        full.set()
        asked = SupportOpens(now=local.nobody(), token="", by="e", door=1, reason="r", case="c")
        assert (await stage.send(asked)).code == "log.full"
        assert (await stage.shows("out_of_service"))["why"] in {"log.full", "site.starting"}
        assert stage.bank.state()["doors"][0]["pulses"] == 0
        full.clear()
        await stage.shows("welcome")
        assert (await stage.send(asked)).code in {"", "door.silent"}
        assert await stage.stop() == 0


async def test_broken_disk_ends_the_process_with_all_coils_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(tmp_path / "data") as stage:
        stage.start()
        await stage.in_service()

        async def broken(*_: object, **__: object) -> None:
            raise StoreFailed("io")

        monkeypatch.setattr(Store, "append", broken)
        asked = ServiceSet(now=local.nobody(), token="", by="e", door=1, enabled=False, reason="r")
        assert (await stage.send(asked)).code == "log.failed"
        async with asyncio.timeout(20):
            assert await stage.task == 1
        assert stage.coils_on() == []


async def test_every_life_ends_with_all_coils_off_and_no_pulse_after_it(
    stage: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    all_off, pulse = Boards.all_off, LockBoard.pulse

    async def off(boards: Boards) -> tuple[str, ...]:
        told.append("off")
        return await all_off(boards)

    async def on(board: LockBoard, channel: int, ms: int, *, deadline: float) -> Any:
        told.append("pulse")
        return await pulse(board, channel, ms, deadline=deadline)

    monkeypatch.setattr(Boards, "all_off", off)
    monkeypatch.setattr(LockBoard, "pulse", on)
    asked = SupportOpens(now=local.nobody(), token="", by="e", door=1, reason="r", case="c")
    opening = asyncio.create_task(stage.send(asked))
    await stage.until(lambda: "pulse" in told)
    assert await stage.stop() == 0
    opening.cancel()
    assert told == ["pulse", "off"]
    assert stage.coils_on() == []


async def test_overload_is_refused_with_a_code_and_does_not_grow(
    stage: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "PEOPLE_MAX", 0)
    assert await stage.post("code", digits="123456789") == 503
    asked = ServiceSet(now=local.nobody(), token="", by="e", door=1, enabled=True, reason="")
    with pytest.raises(GatewayError) as caught:
        await stage.send(asked)
    assert caught.value.code == "runtime.overloaded"


async def test_silent_board_shows_in_health_and_comes_back(stage: Stand) -> None:
    await stage.bank.line_action("bank", "unplug")
    await stage.until(lambda: stage.app.status()["health"].get("boards_lost"))  # type: ignore[attr-defined]  # a dict
    assert (await stage.screen())["name"]
    await stage.bank.line_action("bank", "replug")
    await stage.until(lambda: stage.app.status()["health"].get("boards_lost") == [])  # type: ignore[attr-defined]  # a dict
    await stage.in_service()


async def test_chores_put_health_lanes_and_a_saved_clock_on_record(stage: Stand) -> None:
    life = stage.app._life
    assert life is not None
    before = dict(life.store.sizes)
    life._sample_health()
    life._tie_lanes()
    life._watch_machine()
    await stage.until(lambda: sum(life.store.sizes.values()) >= sum(before.values()) + 2)
    kinds = {json.loads(record.entry)["kind"] for record in _records(stage.data)}
    assert {"health.sampled", "lanes.tied", "time.anchored", "epoch.opened"} <= kinds


async def test_nobody_listens_is_said_with_a_code(tmp_path: Path) -> None:
    with pytest.raises(NotRunning) as caught:
        await status(tmp_path / SOCKET)
    assert caught.value.code == "gateway.not_running"
    deep = tmp_path / ("d" * 100) / "data"
    async with stand(deep) as stage:
        stage.start()
        await stage.in_service()
        assert (await status(deep / SOCKET))["site"] == "lockers.example/site/0042"
