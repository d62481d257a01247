"""Pins who may work at the bench: one installer, one job, and no longer than somebody is there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.commissioning import bench
from gateway.core.inputs import MapImported
from gateway.errors import GatewayError
from sync import facts
from sync.sitemap import BoardItem, DoorItem, LineItem, SiteMap
from tests.bench_stage import TCP, BenchStand, bench_stand, found, kinds, told, wiring
from tests.lan_stage import Browser


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[BenchStand]:
    async with bench_stand(tmp_path / "data", wiring(2, line=TCP)) as made:
        await made.running()
        yield made


def small_map(stage: BenchStand) -> SiteMap:
    """The bank's two doors, as a file would have said it."""
    units = {"relays": 1, "doors": 11, "parcels": 21}
    makes = {"relays": "waveshare-rtu-relay-8"}
    boards = {
        name: BoardItem(
            name=name, line="bus", profile=makes.get(name, "waveshare-rtu-io-8ch"), unit=unit
        )
        for name, unit in units.items()
    }
    doors = {
        n: DoorItem(
            number=n, size="M", lock=f"relays:{n - 1}", switch=f"doors:{n - 1}", rail="a",
            open_when="active", occupancy=f"parcels:{n - 1}",
        )
        for n in (1, 2)
    }  # fmt: skip
    line = LineItem(name="bus", tcp=stage.place, framing="rtu")
    return SiteMap(boards=boards, doors=doors, lines={"bus": line})


async def in_service(stage: BenchStand) -> None:
    """Import the map the old way; its line comes with it."""
    command = MapImported(now=stage.app._clock.now(), token="", by="eva", map=small_map(stage))
    async with asyncio.timeout(30):
        while (await stage.send(command)).code == "site.starting":  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # between two lives
    await stage.in_service()


async def test_two_installers_at_once_are_one_after_the_other(stage: BenchStand) -> None:
    assert (await stage.act("begin"))["mine"]
    view = await stage.view(by="ben")
    assert (view["mine"], view["by"]) == (False, "support:anna")
    assert await told(stage, "begin", by="ben") == "commission.taken"
    assert await told(stage, "cancel", by="ben") == "commission.taken"
    assert (await stage.act("take", by="ben"))["mine"]
    assert await told(stage, "adopt_all") == "commission.taken"
    await stage.act("take")

    def taken() -> list[str]:
        judged = [one for one in kinds(stage.data) if isinstance(one, facts.AccessJudged)]
        return [one.by for one in judged if one.what == "commission.take"]

    await stage.until(lambda: len(taken()) == 2)
    assert taken() == ["support:ben", "support:anna"]


async def test_one_job_at_a_time_and_no_act_on_an_older_draft(stage: BenchStand) -> None:
    view = await stage.act("begin")
    await stage.act("look", tcp=stage.place, framing="rtu")
    assert await told(stage, "look", tcp=stage.place) == "commission.busy"
    assert await told(stage, "begin", **{"from": "empty"}) == "commission.busy"
    await stage.act("stop")
    view = await stage.until_view(lambda seen: seen["job"] is None)
    revision = view["revision"]
    view = await stage.work("look", tcp=stage.place, framing="rtu", units=[1, 11])
    assert await told(stage, "adopt_all", revision=revision) == "commission.stale"
    assert (await stage.act("adopt_all", revision=view["revision"]))["boards"]


async def test_nobody_there_gives_the_boards_back(
    stage: BenchStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_service(stage)
    monkeypatch.setattr(bench, "IDLE_MS", 300)
    monkeypatch.setattr(bench, "IDLE_LOOK_S", 0.1)
    await stage.act("begin")
    await stage.in_service()
    view = await stage.view()
    assert (view["state"], len(view["doors"])) == ("closed", 2)
    assert (await stage.shows("welcome"))["name"] == "welcome"


async def test_people_wait_while_an_installer_has_the_boards(stage: BenchStand) -> None:
    await in_service(stage)
    await stage.act("begin")
    shown = await stage.shows("out_of_service")
    assert shown["why"] == "site.commissioning"
    assert await stage.post("code", digits="1234567890") == 503
    await stage.act("close")
    await stage.in_service()
    assert (await stage.shows("welcome"))["name"] == "welcome"


async def test_a_compartment_with_a_parcel_is_never_pulsed(stage: BenchStand) -> None:
    await in_service(stage)
    with stage.bank.guard():
        stage.bank.bank.doors[2].parcel = True
        stage.bank.bank.touched(stage.bank.bank.doors[2])
    await stage.until(
        lambda: stage.app.status()["doors"][1]["custody"] == "doubt"  # type: ignore[index]
    )
    await stage.act("begin", **{"from": "empty"})  # an installer who knows nothing of it
    await found(stage)
    pulses = stage.door(2)["pulses"]
    for lock in ("locks-1:1",):
        assert (await stage.work("try", lock=lock))["last"]["code"] == "door.occupied"
    assert stage.door(2)["pulses"] == pulses
    await stage.act("rename_board", name="locks-1", to="other")
    assert (await stage.work("try", lock="other:1"))["last"]["code"] == "door.occupied"
    view = await stage.work("address", line="tcp-1", profile="waveshare-rtu-relay-8", unit=7)
    assert view["last"]["code"].startswith("address.")
    assert stage.door(2)["pulses"] == pulses


async def test_a_map_that_was_changed_meanwhile_is_not_overwritten(stage: BenchStand) -> None:
    await stage.act("begin")
    await stage.act("close")
    await in_service(stage)
    assert await told(stage, "sign") == "commission.map_moved"


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ({"do": "scan", "ports": ["/etc/passwd"]}, "scan.no_port"),
        ({"do": "scan", "ports": ["/dev/null"]}, "scan.no_port"),
        ({"do": "look", "tcp": "8.8.8.8:502"}, "scan.far"),
        ({"do": "sweep", "network": "8.8.8.0/24"}, "scan.far"),
        ({"do": "sweep", "network": "10.0.0.0/8"}, "scan.too_wide"),
        ({"do": "sweep", "network": "nonsense"}, "scan.network"),
        ({"do": "try", "lock": "nobody:1"}, "teach.no_lock"),
        ({"do": "again"}, "teach.no_lesson"),
    ],
)
async def test_what_is_refused_ends_its_job_and_nothing_else(
    stage: BenchStand, act: dict[str, Any], code: str
) -> None:
    await stage.act("begin")
    view = await stage.work(act.pop("do"), **act)
    assert (view["last"]["code"], view["state"]) == (code, "open")
    assert view["last"]["remedy"]


async def test_a_stop_with_the_bench_open_ends_with_its_coils_off(stage: BenchStand) -> None:
    await found(stage)
    await stage.act("try", lock="locks-1:0")
    await stage.until(lambda: stage.door(1)["coil_on"])
    began = asyncio.get_running_loop().time()
    assert await stage.stop() == 0
    assert asyncio.get_running_loop().time() - began < 4
    assert not stage.coils_on()
    assert stage.door(1)["max_on_ms"] <= 1_000


async def test_a_browser_and_a_computer_do_the_same_over_the_lan(
    stage: BenchStand, tmp_path: Path
) -> None:
    page = await stage.browser()
    computer = await stage.paired(tmp_path / "xdg")
    body = msgspec.json.encode({"do": "begin"})
    json: Any = {"Content_Type": "application/json"}
    assert (await page.ask("POST", "/api/commission", body, X_Csrf_Token="no", **json)).code
    view = (await page.ask("POST", "/api/commission", body, **json)).json
    assert (view["state"], view["by"], view["mine"]) == ("open", "installer:ben", True)
    refused = await page.ask("POST", "/api/commission", b'{"do":"dance"}', **json)
    assert (refused.status, refused.code) == (409, "commission.unknown_act")
    with pytest.raises(GatewayError) as caught:
        await asyncio.to_thread(computer.ask, "POST", "/api/commission", {"do": "begin"})
    assert caught.value.code == "commission.taken"
    waiting = asyncio.create_task(page.ask("GET", f"/api/commission?after={view['tick']}&wait=20"))
    await asyncio.to_thread(computer.ask, "POST", "/api/commission", {"do": "take"})
    assert (await waiting).json["mine"] is False
    assert (await page.ask("GET", "/api/commission?after=x")).code == "request.number"
    assert (await page.ask("GET", "/report")).code == "report.none"
    assert (await page.ask("GET", "/map.toml")).code == "map.none"
    assert (await Browser(stage.address).ask("GET", "/api/commission")).status == 401
    strict = msgspec.json.encode({"do": "scan", "ports": ["/dev/ptmx"]})
    await page.ask("POST", "/api/commission", b'{"do":"take"}', **json)
    await page.ask("POST", "/api/commission", strict, **json)
    view = await stage.until_view(lambda seen: seen["job"] is None)
    assert view["last"]["code"] == "scan.no_port"
