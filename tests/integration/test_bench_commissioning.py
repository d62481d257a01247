"""Pins a whole commissioning: sixteen doors, from a bare serial line to a signed map."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from gateway import control, mapfile, site
from gateway.bank import known
from gateway.commissioning import report
from gateway.control import SOCKET
from gateway.errors import GatewayError
from sync import facts, fold
from tests.bench_stage import TCP, bench_stand, found, kinds, proved, taught, wiring

DOORS = 16
STEPS_MAX = 120
PERSON_S = 20
"""A person at each door: look which one popped, hand in, hand out, push it shut."""


async def test_sixteen_doors_are_taught_proved_and_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with bench_stand(tmp_path / "data", wiring(DOORS)) as stage:
        await stage.running()
        began, stage.steps = asyncio.get_running_loop().time(), 0
        view = await found(stage)
        assert sorted(board["unit"] for board in view["boards"]) == [1, 2, 11, 12, 21, 22]
        assert (await stage.screen())["name"] == "out_of_service"
        locks = [row["lock"] for row in view["locks"] if row["lock"].startswith("locks-")]
        assert len(locks) == DOORS
        for number, lock in enumerate(locks, 1):
            view = await taught(stage, lock, number, size="S" if number <= 8 else "L")
        stage.steps += 2 * DOORS  # `popped` by hand is a step of its own, and so is the shove
        for place in range(DOORS):
            await stage.act("place", number=place + 1, column=place // 8 + 1, row=place % 8 + 1)
        await stage.act("doors", numbers=[1, 9], reach="low")
        view = await proved(stage, DOORS)
        assert view["proof"]["passed"], view["proof"]
        assert view["proof"]["doors_passed"] == DOORS
        view = await stage.act("sign")
        assert (view["state"], view["signed"]["passed"]) == ("none", DOORS)
        machine_s = asyncio.get_running_loop().time() - began
        assert stage.steps <= STEPS_MAX, stage.steps
        await stage.in_service()
        assert (await stage.shows("welcome"))["name"] == "welcome"
        with capsys.disabled():
            whole_s = machine_s + DOORS * PERSON_S
            print(
                f"\ncommissioning of {DOORS} doors: {stage.steps} acts, {machine_s:.0f} s of"
                f" machine time, {whole_s / 60:.1f} min with a person taking {PERSON_S} s a door"
            )
        text = stage.app._bench.map_text()
        shown = report.decode(stage.app._bench.report())
        page = stage.app._bench.report_page("de")
    site_map = mapfile.parse(text, known)
    assert len(site_map.doors) == DOORS
    assert site_map.lines["rs485-1"].serial == stage.place
    assert {door.open_when for door in site_map.doors.values()} == {"active"}
    assert all(door.occupancy and 0 < door.open_ms < 1_000 for door in site_map.doors.values())
    assert (site_map.doors[9].size, site_map.doors[9].reach, site_map.doors[9].column) == (
        "L", "low", 2,
    )  # fmt: skip
    assert site.read_book(stage.data).map == site_map
    assert len(shown.doors) == DOORS
    assert "<html" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    written = kinds(stage.data)
    intents = [one for one in written if isinstance(one, facts.LockIntended)]
    ended = [one for one in written if isinstance(one, facts.LockEnded)]
    assert len(intents) == len(ended) == 2 * DOORS
    assert {one.outcome for one in ended} == {"opened"}
    assert {one.by for one in intents} == {"support:anna"}
    assert sum(isinstance(one, facts.SiteCommissioned) for one in written) == 1


async def test_the_report_is_what_the_log_says_it_is(tmp_path: Path) -> None:
    async with bench_stand(tmp_path / "data", wiring(1, line=TCP)) as stage:
        await stage.running()
        await found(stage)
        await taught(stage, "locks-1:0", 1)
        await proved(stage, 1)
        await stage.act("sign")
        await stage.in_service()
        shown = await control.report(stage.data / SOCKET)
        assert shown["passed"]
        kept = next((stage.data / "reports").iterdir())
        kept.write_bytes(kept.read_bytes().replace(b"true", b"null", 1))
        with pytest.raises(GatewayError) as caught:
            await control.report(stage.data / SOCKET)
        assert caught.value.code == "report.none"


async def test_a_second_commissioning_begins_from_the_map(tmp_path: Path) -> None:
    """Audit mode: nothing is taught anew, everything is proved, records against what is seen."""
    async with bench_stand(tmp_path / "data", wiring(2, line=TCP)) as stage:
        await stage.running()
        await found(stage)
        for number in (1, 2):
            await taught(stage, f"locks-1:{number - 1}", number)
        await proved(stage, 2)
        await stage.act("sign")
        await stage.in_service()
        view = await stage.act("begin", **{"from": "map"})
        assert [door["number"] for door in view["doors"]] == [1, 2]
        with stage.bank.guard():  # a parcel that no record knows
            stage.bank.bank.doors[2].parcel = True
            stage.bank.bank.touched(stage.bank.bank.doors[2])
        opened = stage.door(2)["openings_total"]
        assert (await stage.work("try", lock="locks-1:1"))["last"]["code"] == "door.occupied"
        view = await proved(stage, 1)
        codes = {row["code"]: row for row in view["proof"]["findings"]}
        assert view["proof"]["audit"]
        assert codes["audit.something_inside"]["evidence"]["door"] == 2
        assert stage.door(2)["openings_total"] == opened
        view = await stage.act("sign")
        assert (view["signed"]["passed"], view["signed"]["failed"]) == (1, 0)
    written = kinds(stage.data)
    signed = [one for one in written if isinstance(one, facts.SiteCommissioned)]
    assert [one.audit for one in signed] == [False, True]


def test_entries_of_a_commissioning_fold(tmp_path: Path) -> None:
    """Each fact of it is read back as it was written."""
    entry = msgspec.json.encode(
        {"at": [1, 2], "kind": "lock.ended", "of": "e1-00000001:sc1", "outcome": "doubt"},
        order="sorted",
    )
    taken = fold.read("e1-00000001:sc", 2, entry, None)
    assert isinstance(taken[3], facts.LockEnded)
