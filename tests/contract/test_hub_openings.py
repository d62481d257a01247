"""Pins dual control at the hub: doors beyond the limits wait for a second person, in each storage.

Counts are the hub's, not a process's: two hubs on one storage, and one that starts again, let no
more through.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sync.errors import StoreFailed
from sync.hub import dual, openings
from sync.hub.clock import Clock
from sync.hub.config import Safety
from sync.hub.rooms import assembled
from sync.hub.storage import Moved
from sync.hub.voice import Busy, Refused
from tests import hub_stage
from tests.hub_stage import KEYS, Stage, config, stage
from tests.hubs import NOW_MS, STORAGES, url_of

S = "/sites/0042"


class Counter:
    """A hub whose site has four doors; at most two a minute, of all three."""

    def __init__(self, made: Stage, now: list[int], url: str) -> None:
        self.stage, self.now, self.url = made, now, url

    async def ask(self, door: int, by: str = "desk", site: str = "0042") -> tuple[int, Any]:
        body = {
            "by": by, "why": "stuck", "case": f"C-{door}", "until_ms": self.now[0] + 60_000,
        }  # fmt: skip
        return await self.stage.call("POST", f"/sites/{site}/compartments/{door}/open", body)

    async def kept(self, door: int, by: str = "desk") -> str:
        status, told = await self.ask(door, by)
        assert (status, told["code"]) == (409, "open.second_person"), told
        return str(told["evidence"]["id"])

    async def approve(self, opening: str, by: str) -> tuple[int, Any]:
        path = f"{S}/openings/{opening}/approve"
        return await self.stage.call("POST", path, {"by": by})

    async def requests(self) -> list[tuple[int, str, str]]:
        rights = (await self.stage.book()).book.rights
        return [(one.door, one.by, one.second) for one in rights.requests.values()]

    async def codes(self) -> list[str]:
        return [one.code for one in await self.stage.hub.storage.audited("0042", 0, 1_000)]

    async def waiting(self) -> list[int]:
        return [one["door"] for one in (await self.stage.get(f"{S}/openings"))["openings"]]


@pytest.fixture(params=STORAGES)
async def counter(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Counter]:
    now = [NOW_MS]
    monkeypatch.setattr(hub_stage, "clock", lambda: Clock(lambda: now[0] * 1_000_000, lambda: 0))
    url = await url_of(request.param, tmp_path)
    safety = Safety(opens_per_minute=2, opens_per_minute_all=3)
    async with stage(tmp_path, url, safety=safety) as made:
        yield Counter(made, now, url)


async def test_doors_beyond_the_limit_wait_for_another_account(counter: Counter) -> None:
    """Plant: an approval by the account that asked."""
    for door in (1, 2):
        assert (await counter.ask(door))[0] == 201
    opening = await counter.kept(3)
    assert await counter.requests() == [(1, "desk", ""), (2, "desk", "")]
    assert await counter.waiting() == [3]
    status, told = await counter.approve(opening, "desk")
    assert (status, told["code"]) == (403, "approval.own")
    status, made = await counter.approve(opening, "chief")
    assert (status, made["new"]) == (201, True)
    assert (3, "desk", "chief") in await counter.requests()
    assert await counter.waiting() == []
    status, again = await counter.approve(opening, "third")
    assert (status, again["ref"], again["new"]) == (200, made["ref"], False)
    codes = await counter.codes()
    assert codes.count("api.done") == 4
    assert {"open.second_person", "approval.own"} < set(codes)
    lines = await counter.stage.hub.storage.audited("0042", 0, 100)
    told = [dict(one.evidence) for one in lines if one.evidence.get("what") == "approveOpening"]
    assert told[1] == {"what": "approveOpening", "by": "chief", "ref": made["ref"]}


async def test_a_site_and_all_sites_have_limits_of_their_own(counter: Counter) -> None:
    hub = counter.stage.hub
    assert (await counter.ask(1, "a"))[0] == 201
    assert (await counter.ask(2, "b"))[0] == 201
    _, told = await counter.ask(3, "c")
    assert told["evidence"]["limit"] == "site"
    counter.now[0] += dual.MINUTE_MS
    for site in ("0001", "0002", "0003"):
        assert await openings._counted(hub, "x" + site, site, anyway=False) is None
    _, told = await counter.ask(4, "d")
    assert told["evidence"]["limit"] == "all"


async def test_a_minute_later_there_is_room_again(counter: Counter) -> None:
    for door in (1, 2):
        await counter.ask(door)
    await counter.kept(3)
    counter.now[0] += dual.MINUTE_MS
    assert (await counter.ask(3))[0] == 201


async def test_what_nobody_approves_ends_and_is_written_down(counter: Counter) -> None:
    for door in (1, 2):
        await counter.ask(door)
    opening = await counter.kept(3)
    assert await counter.kept(3) == opening, "the same request, not another"
    counter.now[0] += dual.WAITS_MS
    status, told = await counter.approve(opening, "chief")
    assert (status, told["code"]) == (404, "approval.unknown")
    assert await counter.waiting() == []
    assert (await counter.codes()).count("open.not_approved") == 1
    assert (await counter.approve("0" * 16, "chief"))[0] == 404


async def test_what_would_be_refused_is_neither_counted_nor_kept(counter: Counter) -> None:
    for _ in range(4):
        assert (await counter.ask(99))[1]["code"] == "door.unknown"
    for door in (1, 2):
        assert (await counter.ask(door))[0] == 201
    assert (await counter.ask(99))[1]["code"] == "door.unknown"
    assert (await counter.ask(1))[1]["code"] == "open.asked"
    body = {"by": "desk", "why": "", "case": "c", "until_ms": counter.now[0] + 9}
    code = KEYS.code_key("0042", 1).code("acme/JD1/1", 0).long
    body["why"] = code
    way = f"{S}/compartments/3/open"
    await counter.stage.refused("POST", way, "request.secret", 400, body)
    assert await counter.waiting() == []


async def test_a_door_that_cannot_be_asked_for_waits_on(counter: Counter) -> None:
    for door in (1, 2):
        await counter.ask(door, "a")
    first, second = await counter.kept(3, "a"), await counter.kept(3, "b")
    assert (await counter.approve(first, "chief"))[0] == 201
    status, told = await counter.approve(second, "chief")
    assert (status, told["code"]) == (409, "open.asked")
    assert await counter.waiting() == [3]


async def test_so_many_wait_and_no_more(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual, "WAITING_MAX", 1)
    for door in (1, 2):
        await counter.ask(door)
    await counter.kept(3)
    await counter.kept(3)
    assert (await counter.ask(4))[1]["code"] == "open.too_many"


async def test_a_restart_and_another_process_count_the_same(counter: Counter) -> None:
    """Plant: counts in memory."""
    hub = counter.stage.hub
    other = assembled(hub.config, KEYS, hub.storage, hub.clock)
    site = await hub.registry.get("0042")

    async def ask(at: Any, door: int) -> str:
        try:
            await openings.ask(
                at, site, account="desk", by="desk", door=door, why="w", case="c",
                until_ms=counter.now[0] + 9_000,
            )  # fmt: skip
        except Refused as refusal:
            return refusal.code
        return "asked"

    told = await asyncio.gather(*(ask((hub, other)[n % 2], n % 4 + 1) for n in range(4)))
    assert sorted(told) == ["asked", "asked", "open.second_person", "open.second_person"]
    again = assembled(hub.config, KEYS, hub.storage, hub.clock)
    requests = (await again.book("0042")).book.rights.requests.values()
    assert await ask(again, min({1, 2, 3, 4} - {one.door for one in requests})) == (
        "open.second_person"
    )


async def test_two_who_approve_at_once_open_once(counter: Counter) -> None:
    for door in (1, 2):
        await counter.ask(door)
    opening = await counter.kept(3)
    told = await asyncio.gather(*(counter.approve(opening, f"chief{n}") for n in range(3)))
    assert [one[0] for one in told].count(201) == 1
    assert [door for door, *_ in await counter.requests()].count(3) == 1


async def test_an_approval_whose_end_is_unknown_opens_nothing_twice(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for door in (1, 2):
        await counter.ask(door)
    opening = await counter.kept(3)

    async def dies(*_args: Any) -> None:
        raise StoreFailed("io")

    with monkeypatch.context() as patched:
        patched.setattr(counter.stage.hub.voice, "_append", dies)
        assert (await counter.approve(opening, "chief"))[0] == 500
    status, told = await counter.approve(opening, "other")
    assert (status, told["code"]) == (409, "approval.under_way")


async def test_a_storage_that_moves_for_ever_is_busy(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = counter.stage.hub
    await counter.ask(1)

    async def moved(*_args: Any) -> None:
        raise Moved

    monkeypatch.setattr(hub.storage, "change_record", moved)
    with pytest.raises(Busy):
        await openings._counted(hub, "a", "0042", anyway=False)


async def test_there_is_no_way_to_ask_for_more_than_one_door(counter: Counter) -> None:
    body = {"why": "w", "case": "c", "until_ms": counter.now[0] + 9, "doors": [1, 2]}
    path = f"{S}/compartments/1/open"
    await counter.stage.refused("POST", path, "request.body", 400, body)
    for path in (f"{S}/compartments/all/open", f"{S}/compartments/1,2/open"):
        assert (await counter.stage.call("POST", path, {}))[0] == 400
    assert (await counter.stage.call("POST", f"{S}/open", {}))[0] == 404


def test_the_limits_are_the_configurations(tmp_path: Path) -> None:
    assert config(tmp_path).safety == Safety(opens_per_minute=3, opens_per_minute_all=10)
