"""Pins service later: what wears out, out of service and back, one bundle; here and on the LAN."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import bundle, site, upkeep
from gateway.cli import main
from gateway.core.inputs import ServiceSet, SupportOpens
from gateway.errors import Overloaded
from gateway.local import nobody
from gateway.upkeep import LogReading, Upkeep
from gateway.wired import Known
from sync import facts
from tests.contract.site_stage import Stand, stand
from tests.lan_stage import Browser, LanStand, lan_stand

KEYS = {"since", "warnings", "doors", "left_out", "boards", "lines", "alarms", "limits", "entries"}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LanStand]:
    async with lan_stand(tmp_path / "data") as stage:
        yield stage


async def opened(stage: Stand, door: int, times: int = 1) -> None:
    for _ in range(times):
        asked = SupportOpens(now=nobody(), token="", by="eva", door=door, reason="look", case="C1")
        assert (await stage.send(asked)).code == ""
        await stage.hands(door)
        await stage.until(lambda: stage.app._life and not stage.app._life.engine.state.openings)


async def run(*words: object) -> Any:
    done = await asyncio.to_thread(CliRunner().invoke, main, list(map(str, words)))
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


async def told(browser: Browser, path: str) -> dict[str, Any]:
    answer = await browser.ask("GET", path)
    assert answer.status == 200, answer
    return answer.json


# --- trends ---------------------------------------------------------------------------------------


async def test_openings_show_beside_the_running_gateway_and_after_it(stage: LanStand) -> None:
    await opened(stage, 2)
    report = json.loads(await run("trends", "--data", stage.data, "--json"))
    assert report.keys() >= KEYS
    row = report["doors"][1]
    assert (row["door"], row["lock"], row["opened"], row["cycles"]) == (2, "locks:1", 1, 1)
    assert row["last"]["n"] == 1
    assert 0 < row["last"]["median_ms"] < 5000
    text = await run("trends", "--data", stage.data, "--door", 2)
    assert "locks:1" in text
    assert "locks:0" not in text
    assert await stage.stop() == 0
    assert json.loads(await run("trends", "--data", stage.data, "--json"))["doors"][1] == row


async def test_a_session_and_a_certificate_see_the_same(stage: LanStand, tmp_path: Path) -> None:
    await opened(stage, 1)
    browser = await stage.browser()
    gateway = await stage.paired(tmp_path / "xdg")
    seen = await told(browser, "/api/trends")
    assert [row["opened"] for row in seen["doors"]] == [1, 0, 0, 0]
    assert await asyncio.to_thread(gateway.ask, "GET", "/api/trends") == seen
    one = await told(browser, "/api/trends?door=1")
    assert (len(one["doors"]), one["left_out"]) == (1, 3)
    for door in ("9", "0", "x", "1x", "99999"):
        answer = await browser.ask("GET", f"/api/trends?door={door}")
        assert (answer.status, answer.code) == (403, "door.unknown")


async def test_the_log_is_read_at_most_once_a_minute_and_then_only_what_is_new(
    stage: LanStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    keep = LogReading.read_on

    def read_on(self: LogReading, known: Any, most: int | None = None) -> bool:
        before = self.trends.entries
        done = keep(self, known, most)
        read.append(self.trends.entries - before)
        return done

    monkeypatch.setattr(LogReading, "read_on", read_on)
    browser = await stage.browser()
    first = await told(browser, "/api/trends")
    await opened(stage, 3)
    assert await told(browser, "/api/trends") == first
    assert len(read) == 1
    monkeypatch.setattr(upkeep, "FRESH_S", 0.0)
    later = await told(browser, "/api/trends?door=3")
    assert later["doors"][0]["opened"] == 1
    assert 0 < read[1] < read[0]
    assert later["entries"] == sum(read)


async def test_slices_read_all_of_it_and_a_long_log_is_gone_on_with(
    stage: LanStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(stage, 1)
    assert await stage.stop() == 0  # a log that grows meanwhile is another one for each reader
    known = Known.of(site.read_book(stage.data))
    whole = LogReading(stage.data)
    assert whole.read_on(known.map)
    sliced = LogReading(stage.data)
    while not sliced.read_on(known.map, 3):
        pass
    assert sliced.trends.sizes == whole.trends.sizes
    assert sliced.trends.doors == whole.trends.doors
    monkeypatch.setattr(upkeep, "SLICE", 3)
    monkeypatch.setattr(upkeep, "READ_S", 0.0)
    slow = Upkeep(None, stage.data, lambda: known)
    for _ in range(3):
        with pytest.raises(Overloaded, match=r"^trends\.reading"):
            await slow.trends()
    monkeypatch.setattr(upkeep, "READ_S", 20.0)
    assert (await slow.trends())["doors"][0]["opened"] == 1
    monkeypatch.setattr(upkeep, "READ_S", 0.0)
    parts = dict(await Upkeep(None, stage.data, lambda: known).parts())
    assert parts["trends"]["code"] == "trends.reading", "the bundle does not wait for it"


async def test_a_pruned_log_tells_what_is_kept(stage: LanStand) -> None:
    await opened(stage, 1)
    await opened(stage, 2)
    assert await stage.stop() == 0
    here = site.read_book(stage.data).map
    reading = LogReading(stage.data)
    reading.read_on(here)
    assert reading.trends.whole
    own = f"{site.load(stage.data).identity.epoch}:sc"
    with sqlite3.connect(stage.data / "site.db") as connection:
        log = connection.execute("SELECT id FROM log WHERE origin LIKE '%custody'").fetchone()[0]
        first = int(str(reading.trends.since.ref).removeprefix(own))  # type: ignore[union-attr]
        connection.execute(
            "UPDATE entry SET bytes = NULL WHERE log = ? AND idx <= ?", (log, first + 1)
        )
    connection.close()
    pruned = LogReading(stage.data)
    pruned.read_on(here)
    assert not pruned.trends.whole
    assert pruned.trends.doors[2].opened == 1
    assert 1 not in pruned.trends.doors


async def test_health_samples_each_line(stage: LanStand) -> None:
    life = stage.app._life
    assert life is not None
    life._sample_health()
    await stage.until(lambda: b"line_bank_answered" in (stage.data / "site.db-wal").read_bytes())
    report = json.loads(await run("trends", "--data", stage.data, "--json"))
    (line,) = report["lines"]
    assert line["line"] == "bank"
    assert line["answered"] > 0
    assert line["warnings"] == []


# --- out of service and back ----------------------------------------------------------------------


async def serve(browser: Browser, door: int, body: Any, **more: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content_Type": "application/json"} | more
    return await browser.ask("POST", f"/api/doors/{door}/service", data, bare=False, **headers)


async def test_an_installer_takes_a_door_out_and_back_by_their_name(stage: LanStand) -> None:
    browser = await stage.browser()
    answer = await serve(browser, 3, {"enabled": False, "reason": "bent hinge"})
    assert (answer.status, answer.json["enabled"]) == (200, False)
    assert (await told(browser, "/api/status"))["doors"][2]["disabled"] == "installer: bent hinge"
    assert (await serve(browser, 3, {"enabled": True})).json["entry"]
    assert (await serve(browser, 3, {"enabled": True})).json["entry"] == "", "it was so already"
    said = [
        (taken[3].by, getattr(taken[3], "why", ""))
        for taken in site.entries(stage.data)
        if isinstance(taken[3], facts.CompartmentDisabled | facts.CompartmentEnabled)
    ]
    assert said == [("installer:ben", "installer: bent hinge"), ("installer:ben", "")]


async def test_what_support_took_out_stays_out(stage: LanStand) -> None:
    await stage.send(
        ServiceSet(now=nobody(), token="", by="eva", door=3, enabled=False, reason="police")
    )
    browser = await stage.browser()
    answer = await serve(browser, 3, {"enabled": True})
    assert (answer.status, answer.code) == (409, "service.others")
    assert answer.json["evidence"] == {"door": "3", "why": "police"}
    await stage.until(lambda: _judged(stage, "door.service") == ["service.others"])


def _judged(stage: LanStand, what: str) -> list[str]:
    return [
        taken[3].why
        for taken in site.entries(stage.data)
        if isinstance(taken[3], facts.AccessJudged) and taken[3].what == what
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "installer.body"),
        (b"[]", "installer.body"),
        ({"enabled": "no"}, "installer.body"),
        ({"reason": "x"}, "installer.body"),
        ({"enabled": False, "reason": "x" * 201}, "installer.body"),
        ({"enabled": False, "reason": "x", "by": "eva"}, "installer.body"),
        ({"enabled": False, "reason": "a\u0007b"}, "command.malformed"),
        ({"enabled": False, "reason": 7}, "installer.body"),
    ],
)
async def test_another_body_is_refused(stage: LanStand, body: Any, code: str) -> None:
    browser = await stage.browser()
    answer = await serve(browser, 1, body)
    assert (answer.status, answer.code) == (409, code)
    assert not (await told(browser, "/api/status"))["doors"][0]["disabled"]


async def test_only_this_page_acts_and_only_at_a_pace(stage: LanStand) -> None:
    browser = await stage.browser()
    out = {"enabled": False, "reason": "x"}
    for headers in (
        {"X_Csrf_Token": "other"},
        {"Origin": "https://elsewhere.example"},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        answer = await serve(browser, 1, out, **headers)
        assert (answer.status, answer.code.partition(".")[0]) == (403, "access")
    assert (await serve(Browser(stage.address), 1, out)).status == 401
    assert (await serve(browser, 1, out, Content_Type="text/plain")).code == "installer.media_type"
    assert (await serve(browser, 9, out)).code == "door.unknown"
    assert not (await told(browser, "/api/status"))["doors"][0]["disabled"]
    for _ in range(29):
        assert (await serve(browser, 1, {"enabled": True})).status == 200
    assert (await serve(browser, 1, out)).code == "door.rate"


# --- the bundle -----------------------------------------------------------------------------------


async def test_the_bundle_has_everything_and_stays_within_its_bound(
    stage: LanStand, tmp_path: Path
) -> None:
    await opened(stage, 4)
    gateway = await stage.paired(tmp_path / "xdg")
    seen = await asyncio.to_thread(gateway.ask, "GET", "/api/diagnostics")
    assert seen["left_out"] == []
    assert {one["check"] for one in seen["doctor"]} >= {"keys", "board.locks", "commissioning"}
    assert seen["trends"]["doors"][3]["opened"] == 1
    assert seen["map"].startswith("[boards.eyes]")
    assert seen["commissioned"] is None
    assert seen["versions"]["parcel-locker-gateway"]
    assert seen["lines"]["bank"]["answered"] > 0
    assert seen["config"]["lines"]["bank"]["framing"] == "rtu"
    config = tmp_path / "gateway.toml"
    config.write_text(f'data_dir = "{stage.data}"\n[kiosk]\nlisten = "127.0.0.1:0"\n')
    out = tmp_path / "bundle.json"
    where = ("--data", stage.data, "--out", out)
    assert json.loads(await run("diagnostics", *where, "--json")) == {
        "file": str(out), "left_out": [],
    }  # fmt: skip
    here = json.loads(out.read_bytes())
    assert (here["running"], "doctor" in here, "config" in here) == (True, False, False)
    assert here["doors"] == seen["doors"]
    await run("diagnostics", *where, "--config", config)
    here = json.loads(out.read_bytes())
    assert here["doctor"]
    assert here["config"]["kiosks"] == ["main"]
    assert await stage.stop() == 0
    await run("diagnostics", *where)
    here = json.loads(out.read_bytes())
    assert (here["running"], here["map"]) == (False, seen["map"])
    assert len(out.read_bytes()) <= bundle.BYTES_MAX


async def test_a_mistake_is_told_in_one_line(tmp_path: Path) -> None:
    async with stand(tmp_path / "data") as plain:
        config = tmp_path / "gateway.toml"
        config.write_text('data_dir = "/elsewhere"\n')
        for words, code in (
            (("diagnostics", "--out", tmp_path / "b", "--config", config), "diagnostics.config"),
            (("diagnostics", "--out", tmp_path / "no/b"), "no/b"),
            (("trends", "--door", 9), "door.unknown"),
        ):
            asked = [*map(str, words), "--data", str(plain.data)]
            done = await asyncio.to_thread(CliRunner().invoke, main, asked)
            assert (done.exit_code, code in done.output) == (1, True)
