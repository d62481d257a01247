"""Pins what a gateway out of yesterday's backup does: no stranger's parcel, and everything back."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway import continuity
from gateway.core import fence
from sync import message, shown
from sync.entry import Writer
from sync.exchange import Send
from sync.pages import Told
from sync.shelf import Log
from sync.terms import Terms
from tests.exchange_stage import Site, staged

HONEST, ROW = Told.of, message.row
OLD, NEW = "JD014600006281230704", "JD014600006281230705"


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with staged(tmp_path, monkeypatch) as made:
        yield made


async def a_day(stage: Site, backup: Path) -> tuple[str, str, int]:
    """A backup with a parcel in it, which is then fetched; a stranger's parcel takes its place.

    Returns the used code, the stranger's code and the door. The gateway is stopped.
    """
    await stage.begin()
    secret = await stage.courier()
    door = await stage.deposit(OLD, secret)
    used = stage.code(OLD)
    await stage.agrees()
    assert await stage.stop() == 0
    stage.save(backup)
    await stage.begin()
    await stage.pick_up(used, door)
    assert await stage.deposit(NEW, secret) == door
    strangers = stage.code(NEW)
    await stage.agrees()
    assert await stage.stop() == 0
    return used, strangers, door


async def stays_shut(stage: Site, code: str, door: int) -> str:
    """Type a code that must not open the door; return what the screen says."""
    shown = await stage.type_code(code)
    assert shown["name"] != "collect.open", shown
    assert not stage.coils_on()
    await stage.post("button", button="home")
    await stage.shows("welcome")
    row = stage.bank.state()["doors"][door - 1]
    assert row["parcel"], row
    return str(shown)


async def settles(stage: Site, used: str, strangers: str, door: int, before: str) -> None:
    """Behind a fence, the lost days come back, a person looks, everything goes on."""
    await stage.has(lambda: stage.epoch != before and stage.book.fenced)
    await stage.has(lambda: f"acme/{NEW}/1" in {p.identity for p in stage.book.live()})
    await stage.in_service()
    assert "site.fenced" in stage.alarms
    await stays_shut(stage, used, door)
    await stays_shut(stage, strangers, door)
    await stage.agrees()
    assert (await stage.check(door, occupied=True)).code == ""
    await stage.has(lambda: not stage.book.fenced)
    await stage.has(lambda: "site.fenced" not in stage.alarms)
    await stays_shut(stage, used, door)
    await stage.pick_up(strangers, door)
    await stage.agrees()


async def test_marked_restore_opens_nothing_for_used_codes_and_gets_the_lost_day_back(
    stage: Site, tmp_path: Path
) -> None:
    used, strangers, door = await a_day(stage, tmp_path / "backup")
    stage.restore(tmp_path / "backup")
    before = stage.epoch
    continuity.mark(stage.data, "restored")
    await stage.begin()
    await settles(stage, used, strangers, door, before)


async def test_unmarked_restore_is_noticed_by_asking_the_hub_before_the_first_word(
    stage: Site, tmp_path: Path
) -> None:
    used, strangers, door = await a_day(stage, tmp_path / "backup")
    stage.restore(tmp_path / "backup")
    before = stage.epoch
    await stage.begin()
    assert stage.epoch != before
    await settles(stage, used, strangers, door, before)
    assert not any("fork" in code for code in await stage.cloud.audit())


async def test_a_swapped_database_is_noticed_without_any_hub(stage: Site, tmp_path: Path) -> None:
    used, strangers, door = await a_day(stage, tmp_path / "backup")
    await stage.cloud.stop()
    before = stage.epoch
    for left in stage.data.glob("site.db*"):
        left.unlink()
    for kept in (tmp_path / "backup").glob("site.db*"):
        shutil.copy2(kept, stage.data)
    assert continuity.broken(stage.data) == "restored"
    await stage.begin()
    assert stage.epoch != before
    assert stage.book.fenced
    await stays_shut(stage, used, door)
    await stage.cloud.start()
    await settles(stage, used, strangers, door, before)


async def test_without_any_link_a_person_looks_and_lifts_the_fence(
    stage: Site, tmp_path: Path
) -> None:
    used, _, door = await a_day(stage, tmp_path / "backup")
    await stage.cloud.stop()
    stage.restore(tmp_path / "backup")
    continuity.mark(stage.data, "restored")
    await stage.begin()
    await stays_shut(stage, used, door)
    refused = await stage.refusal(stage.lift())
    assert refused in {"fence.unproved", "fence.unheard"}
    assert (await stage.open_by_support(door)).code == ""
    await stage.hands(door)
    await stage.until(lambda: not stage.app.status()["doors"][0]["open"])  # type: ignore[index]

    async def checked() -> bool:
        return bool((await stage.check(door, occupied=True)).code == "")

    await stage.comes(checked)
    assert stage.book.fenced, "what the hub knows is not here: nobody but a person ends it"
    assert (await stage.lift(trust_history=True)).code == ""
    assert not stage.book.fenced


async def test_a_whole_folder_put_back_while_the_hub_is_away_is_noticed_once_it_is_back(
    stage: Site, tmp_path: Path
) -> None:
    used, _, door = await a_day(stage, tmp_path / "backup")
    await stage.cloud.stop()
    stage.restore(tmp_path / "backup")
    before = stage.epoch
    assert continuity.broken(stage.data) == "", "nothing on this disk can tell"
    await stage.begin()
    assert not stage.book.fenced
    await stage.cloud.start()
    await stage.has(lambda: stage.epoch != before and stage.book.fenced)
    await stage.in_service()
    await stays_shut(stage, used, door)
    await stage.has(lambda: {"log.forked", "link.stuck"} & stage.alarms)
    assert (await stage.check(door, occupied=True)).code == ""
    connects = stage.app._exchange.kept.stand.connects
    stage.cloud.hub.links.stops["0042"].set()
    await stage.has(lambda: stage.app._exchange.kept.stand.connects > connects)
    assert stage.book.fenced, "what the other history says cannot come back: a person decides"
    assert any(code in {"log.fork", "log.refused"} for code in await stage.cloud.audit())
    assert (await stage.lift(trust_history=True)).code == ""


async def test_empty_doors_prove_themselves_and_the_fence_ends_by_itself(
    stage: Site, tmp_path: Path
) -> None:
    stage.save(tmp_path / "backup")
    await stage.begin()
    door = await stage.deposit(OLD, await stage.courier())
    await stage.pick_up(stage.code(OLD), door)
    await stage.agrees()
    assert await stage.stop() == 0
    before = stage.epoch
    stage.restore(tmp_path / "backup")
    await stage.begin()
    await stage.has(lambda: stage.epoch != before and not stage.book.fenced)
    await stage.agrees()
    assert "site.fenced" not in stage.alarms


async def test_the_planted_gateway_without_a_fence_gives_the_stranger_s_parcel_away(
    stage: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, _, door = await a_day(stage, tmp_path / "backup")
    await stage.cloud.stop()
    stage.restore(tmp_path / "backup")
    continuity.mark(stage.data, "restored")
    monkeypatch.setattr(fence, "holds", lambda _state, _door: False)
    await stage.begin()
    assert (await stage.type_code(used))["name"] == "collect.open"
    await stage.hands(door, parcel=False)
    await stage.shows("collect.thanks")


async def test_a_hub_that_boasts_without_our_signature_ends_no_epoch_and_is_told_of(
    stage: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.begin()
    await stage.deposit(OLD, await stage.courier())
    await stage.agrees()
    assert await stage.stop() == 0
    before = stage.epoch

    def boasts(log: Log) -> Told:
        told = HONEST(log)
        if "/site/" not in log.origin:
            return told
        return msgspec.structs.replace(told, size=told.size + 7)

    def boasting(before: str, origin: str, size: int, tag: bytes) -> message.Row:
        return ROW(before, origin, size + 7 * ("/site/" in origin), tag)

    monkeypatch.setattr(Told, "of", boasts)
    monkeypatch.setattr(shown, "SHOW_MS", 100)
    hello = Terms._hello

    def lies(self: Terms) -> Send:
        with monkeypatch.context() as patch:
            if self._is.side is Writer.HUB:
                patch.setattr(message, "row", boasting)
            return hello(self)

    monkeypatch.setattr(Terms, "_hello", lies)
    await stage.begin()
    await stage.has(lambda: "link.unproved" in stage.alarms)
    assert stage.epoch == before
    assert not stage.book.fenced
    monkeypatch.undo()
