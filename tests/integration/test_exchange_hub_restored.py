"""Pins a hub out of a backup, marked or not: the gateway heals it; no right is spent before."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sync.hub.rooms import opened
from tests.exchange_stage import Site, staged

PARCEL = {"tenant": "acme", "tracking": "JD0146", "piece": 1}


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with staged(tmp_path, monkeypatch, doors=4) as made:
        yield made


async def rights(stage: Site) -> int:
    return sum(one["hub_unspent"] for one in (await stage.cloud.book())["capacity"])


async def a_day(stage: Site, backup: Path) -> tuple[Any, Any]:
    """A backup of the hub, then a promise and a grant that only the gateway remembers."""
    await stage.begin()
    await stage.agrees()
    await stage.cloud.stop()
    stage.cloud.save(backup)
    await stage.cloud.start()
    await stage.agrees()
    grant = await stage.cloud.tell("/grants", grant="courier", tenant="acme", label="van")
    promise = await stage.cloud.tell("/reservations", parcel=PARCEL, size="M")
    await stage.agrees()
    await stage.has(lambda: grant["ref"] in stage.book.couriers)
    return grant, promise


async def is_whole(stage: Site, grant: Any, promise: Any, before: str) -> None:
    """Everything is back, in a new epoch of the hub's, and the hub can promise again."""

    async def healed() -> bool:
        shown = await stage.cloud.ask("GET", "/sites/0042")
        return not shown["fenced"] and shown["epoch"] != before

    await stage.comes(healed)
    shown = await stage.cloud.ask("GET", "/sites/0042")
    await stage.agrees()
    book = await stage.cloud.book()
    assert grant["ref"] in {one["ref"] for one in book["grants"]}
    assert promise["ref"] in {one["ref"] for one in book["reservations"]}
    other = PARCEL | {"tracking": "JD0147"}
    again = await stage.cloud.tell("/reservations", parcel=other, size="M")
    assert again["ref"].startswith(shown["epoch"])
    await stage.agrees()
    audit = await stage.cloud.audit()
    assert "log.fork" not in audit


async def test_a_marked_hub_spends_nothing_until_the_gateway_has_healed_it(
    stage: Site, tmp_path: Path
) -> None:
    grant, promise = await a_day(stage, tmp_path / "backup")
    before = (await stage.cloud.ask("GET", "/sites/0042"))["epoch"]
    await stage.cloud.stop()
    assert await stage.stop() == 0
    stage.cloud.restore(tmp_path / "backup")
    async with opened(stage.cloud.config) as hub:
        was = hub.storage.instance
        fenced = await hub.restored()
        assert [one.fenced for one in fenced] == [True]
        assert hub.storage.instance != was
    await stage.cloud.start()
    refused = await stage.cloud.refused("/reservations", parcel=PARCEL, size="M")
    assert refused["code"] == "hub.fenced"
    await stage.begin()
    await is_whole(stage, grant, promise, before)


async def test_a_hub_that_nobody_marked_notices_by_its_own_lanes(
    stage: Site, tmp_path: Path
) -> None:
    grant, promise = await a_day(stage, tmp_path / "backup")
    before = (await stage.cloud.ask("GET", "/sites/0042"))["epoch"]
    await stage.cloud.stop()
    stage.cloud.restore(tmp_path / "backup")
    await stage.cloud.start()
    was = stage.cloud.hub.storage.instance
    await is_whole(stage, grant, promise, before)
    assert stage.cloud.hub.storage.instance != was, "no receipt of the lost store counts"
    assert "log.rolled_back" in await stage.cloud.audit()
    held = stage.app._exchange.kept.stand
    await stage.until(lambda: held.instance == stage.cloud.hub.storage.instance)


async def test_a_hub_that_nobody_marked_and_that_wrote_meanwhile_ends_that_epoch(
    stage: Site, tmp_path: Path
) -> None:
    await a_day(stage, tmp_path / "backup")
    assert await stage.stop() == 0
    before = (await stage.cloud.ask("GET", "/sites/0042"))["epoch"]
    await stage.cloud.stop()
    stage.cloud.restore(tmp_path / "backup")
    await stage.cloud.start()
    for number in range(4):
        await stage.cloud.tell("/grants", grant="courier", tenant="acme", label=f"van {number}")
    await stage.begin()

    async def ended() -> bool:
        return bool((await stage.cloud.ask("GET", "/sites/0042"))["epoch"] != before)

    await stage.comes(ended)
    shown = await stage.cloud.ask("GET", "/sites/0042")
    connects = stage.app._exchange.kept.stand.connects
    stage.cloud.hub.links.stops["0042"].set()
    await stage.until(lambda: stage.app._exchange.kept.stand.connects > connects)
    assert (await stage.cloud.ask("GET", "/sites/0042"))["epoch"] == shown["epoch"], "once"
    audit = await stage.cloud.audit()
    assert {"log.fork", "log.rolled_back"} & set(audit)
    await stage.has(lambda: "log.forked" in stage.alarms or "link.stuck" in stage.alarms)
