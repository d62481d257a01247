"""Pins `gateway.boards`: what is told of doors, when a board is lost, how a pulse ends, rails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from adapters.errors import Resting, StuckOn
from gateway.boards import Boards
from gateway.config import Timing
from gateway.core.inputs import (
    BoardBack,
    BoardSilent,
    DoorSeen,
    Now,
    OccupancySeen,
    PulseDone,
    Trouble,
)
from gateway.core.outputs import Poll, Pulse
from sync.sitemap import BoardItem, DoorItem, SiteMap
from tests.contract.boards_double import BoardDouble, doubtful, silent, unplugged

FAST = Timing(poll_idle_ms=50, poll_watched_ms=50, poll_relays_ms=250, confirm_ms=0, lost_ms=500)
SITE = SiteMap(
    boards={
        name: BoardItem(name=name, line="x", profile="p", unit=number)
        for number, name in enumerate(("eyes", "locks"), 1)
    },
    doors={
        1: DoorItem(
            number=1, size="S", lock="locks:0", switch="eyes:0", rail="a", occupancy="eyes:4",
            open_when="active",
        ),
        2: DoorItem(number=2, size="S", lock="locks:1", switch="eyes:1", rail="a"),
        3: DoorItem(number=3, size="S", lock="locks:2", switch="eyes:9", rail="b"),
    },
)  # fmt: skip


def kinds(told: list[Any]) -> Any:
    return {type(one) for one in told}


def now() -> Now:
    return Now(0, int(asyncio.get_running_loop().time() * 1000), 1)


SEEN: Any = {DoorSeen, OccupancySeen}


class Stage:
    """Boards over doubles, with everything they told."""

    def __init__(self, site: SiteMap = SITE) -> None:
        self.told: list[Any] = []
        self.more = asyncio.Event()
        self.eyes, self.locks = BoardDouble(), BoardDouble(inputs=0)
        self.eyes.inputs[1] = True  # door 2 is closed: its switch is inactive when open
        self.boards = Boards(
            site, {"eyes": self.eyes, "locks": self.locks}, FAST, post=self.post, now=now
        )

    def post(self, inp: Any) -> None:
        self.told.append(inp)
        self.more.set()

    async def until(self, found: Any) -> None:
        async with asyncio.timeout(10):
            while not found(self.told):
                self.more.clear()
                await self.more.wait()

    async def until_last(self, kind: Any) -> Any:
        await self.until(lambda told: any(isinstance(one, kind) for one in told))
        return [one for one in self.told if isinstance(one, kind)][-1]

    async def pulse(self, door: Any = 1, ms: Any = 20, within_ms: Any = 2000) -> Any:
        before = len([one for one in self.told if isinstance(one, PulseDone)])
        await self.boards.pulse(
            Pulse(intent=f"i{before}", door=door, ms=ms, deadline=now().mono_ms + within_ms)
        )
        done = [one for one in self.told if isinstance(one, PulseDone)]
        return done[-1].result, done[-1].why


@asynccontextmanager
async def running(made: Stage | None = None) -> AsyncIterator[Any]:
    stage = made or Stage()
    task = asyncio.create_task(stage.boards.run())
    try:
        await stage.until(lambda told: len(told) >= 3)
        async with asyncio.timeout(10):
            while "start" not in stage.locks.calls or not stage.locks.looked.is_set():
                await stage.locks.looked.wait()
        yield stage
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_every_door_is_told_at_start_with_its_polarity() -> None:
    async with running() as stage:
        assert stage.eyes.calls[0] == "start"
        assert kinds(stage.told) == SEEN
        assert {one.door: one.open for one in stage.told if isinstance(one, DoorSeen)} == {
            1: False,
            2: False,
        }
        assert [one.occupied for one in stage.told if isinstance(one, OccupancySeen)] == [False]


async def test_change_is_told_once_and_only_when_a_second_look_confirms_it() -> None:
    async with running() as stage:
        stage.told.clear()
        bounced = list(stage.eyes.inputs)
        bounced[0] = True
        stage.eyes.next_reads = [bounced]
        stage.eyes.looked.clear()
        await stage.eyes.looked.wait()
        await asyncio.sleep(0.12)
        assert stage.told == []
        stage.eyes.inputs[0] = True
        await stage.until(lambda told: told)
        await asyncio.sleep(0.12)
        assert [(one.door, one.open) for one in stage.told] == [(1, True)]


async def test_a_compartment_is_occupied_by_a_distance_and_a_broken_sensor_says_nothing() -> None:
    measured = msgspec.structs.replace(SITE.doors[1], occupancy="eyes:0", occupied_below=300_000)
    site = msgspec.structs.replace(SITE, doors=SITE.doors | {1: measured})
    stage = Stage(site)
    stage.eyes.values = [520_000]
    async with running(stage):
        seen = await stage.until_last(OccupancySeen)
        assert (seen.door, seen.occupied) == (1, False)
        stage.eyes.values = [120_000]
        await stage.until(lambda told: told[-1:] and getattr(told[-1], "occupied", False))
        stage.told.clear()
        stage.eyes.values = [None]
        stage.boards.poll(Poll(door=1, until=now().mono_ms + 500))
        await stage.until(lambda told: told)
        assert kinds(stage.told) == {DoorSeen}


async def test_a_taught_switch_may_chatter_as_long_as_it_was_seen_to() -> None:
    doors = {
        number: msgspec.structs.replace(door, bounce_ms=60 * number)
        for number, door in SITE.doors.items()
    }
    stage = Stage(msgspec.structs.replace(SITE, doors=doors))
    points = [point for point in stage.boards._watches["eyes"].points if point.kind == "door"]
    assert stage.boards._confirm_s(set(points[:1])) == 0.06
    assert stage.boards._confirm_s(set(points)) == 0.1  # no longer: a forced door must be known


async def test_poll_tells_the_state_in_any_case_and_looks_urgently() -> None:
    async with running() as stage:
        stage.told.clear()
        stage.boards.poll(Poll(door=1, until=now().mono_ms + 5_000))
        await stage.until(lambda told: len(told) >= 2)
        assert kinds(stage.told) == SEEN
        assert "read!" in stage.eyes.calls
        assert "read!" not in stage.locks.calls


async def test_silent_board_is_lost_after_its_time_and_comes_back_safe() -> None:
    async with running() as stage:
        stage.eyes.trouble = silent()
        lost = await stage.until_last(BoardSilent)
        assert (lost.board, lost.doors) == ("eyes", (1, 2, 3))
        assert stage.boards.lost == ("eyes",)
        stage.told.clear()
        stage.eyes.calls.clear()
        stage.eyes.trouble = None
        await stage.until(lambda told: len(told) >= 4)
        assert stage.told[0] == BoardBack(now=stage.told[0].now, board="eyes", doors=(1, 2, 3))
        assert kinds(stage.told[1:4]) == SEEN
        assert "start" in stage.eyes.calls
        assert stage.boards.lost == ()


async def test_one_missed_answer_loses_nothing() -> None:
    async with running() as stage:
        stage.told.clear()
        stage.eyes.trouble = silent()
        await asyncio.sleep(0.15)
        stage.eyes.trouble = None
        await asyncio.sleep(0.15)
        assert stage.told == []


async def test_unplugged_line_is_started_anew_even_when_it_is_back_at_once() -> None:
    async with running() as stage:
        stage.eyes.calls.clear()
        stage.eyes.trouble = unplugged()
        stage.eyes.looked.clear()
        await stage.eyes.looked.wait()
        stage.eyes.trouble = None
        await stage.until(lambda told: "start" in stage.eyes.calls or stage.more.clear())


async def test_pulse_done_not_sent_and_unanswered() -> None:
    async with running() as stage:
        assert await stage.pulse() == ("done", "")
        assert stage.locks.pulses == [(0, 20)]
        assert await stage.pulse(door=99) == ("not_sent", "door.unknown")
        stage.locks.pulse_trouble = Resting(wait_ms=3_000)
        assert await stage.pulse(door=3) == ("not_sent", "board.resting")
        stage.locks.pulse_trouble = doubtful()
        assert await stage.pulse(door=3) == ("unanswered", "bus.unanswered")
        assert await stage.pulse(door=2, within_ms=-5) == ("not_sent", "board.rail_busy")


async def test_coil_that_rests_is_waited_for_and_its_rail_is_free_meanwhile() -> None:
    async with running() as stage:
        stage.locks.pulse_trouble = Resting(wait_ms=60)
        warm = asyncio.create_task(stage.pulse(door=1))
        await asyncio.sleep(0.02)
        stage.locks.pulse_trouble = None
        assert await stage.pulse(door=2) == ("done", "")
        assert await warm == ("done", "")
        assert stage.locks.pulses == [(1, 20), (0, 20)]


async def test_board_that_is_being_started_is_waited_for() -> None:
    stage = Stage()
    early = asyncio.create_task(stage.pulse())
    await asyncio.sleep(0)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        tending = group.create_task(stage.boards.run())
        assert await early == ("done", "")
        tending.cancel()
    assert stage.locks.calls.index("start") < stage.locks.calls.index("pulse")


async def test_coil_that_rests_beyond_the_deadline_is_not_pulsed_late() -> None:
    async with running() as stage:
        stage.locks.pulse_trouble = Resting()
        assert await stage.pulse(door=1, within_ms=120) == ("not_sent", "board.resting")
        assert stage.locks.pulses == []


async def test_one_coil_a_rail_at_a_time() -> None:
    async with running() as stage:
        await asyncio.gather(
            stage.boards.pulse(Pulse("a", 1, 30, now().mono_ms + 5_000)),
            stage.boards.pulse(Pulse("b", 2, 30, now().mono_ms + 5_000)),
        )
        assert stage.locks.on_most == 1
        assert len(stage.locks.pulses) == 2


async def test_rail_rests_after_a_pulse_and_after_one_that_may_be_on() -> None:
    async with running() as stage:
        await stage.pulse(door=1, ms=20)
        stage.locks.pulse_trouble = doubtful()
        await stage.pulse(door=2, ms=200)
        stage.locks.pulse_trouble = None
        await stage.pulse(door=1, ms=20)
        first, second, third = stage.locks.began
        assert second - first >= 0.115
        assert third - second >= 0.295


async def test_busy_rail_refuses_after_the_deadline_and_sends_nothing() -> None:
    async with running() as stage:
        first = asyncio.create_task(stage.boards.pulse(Pulse("a", 1, 300, now().mono_ms + 5_000)))
        await asyncio.sleep(0.02)
        assert await stage.pulse(door=2, within_ms=50) == ("not_sent", "board.rail_busy")
        await first
        assert len(stage.locks.pulses) == 1


async def test_nothing_is_pulsed_while_held_or_before_the_board_is_safe() -> None:
    stage = Stage()
    assert await stage.pulse(within_ms=20) == ("not_sent", "board.not_ready")
    stage.boards.hold()
    assert await stage.pulse() == ("not_sent", "site.stopping")
    assert stage.locks.pulses == []


async def test_all_off_reaches_every_board_and_names_those_it_cannot_prove() -> None:
    async with running() as stage:
        assert await stage.boards.all_off() == ()
        stage.locks.off_trouble = StuckOn(unit=1, channel=0)
        assert await stage.boards.all_off() == ("locks",)
        trouble = await stage.until_last(Trouble)
        assert (trouble.alarm, trouble.about) == ("lock.stuck_on", "locks")


@pytest.mark.parametrize("poll_ms", [FAST.poll_watched_ms])
async def test_dead_board_is_not_asked_faster_than_idle_even_when_watched(poll_ms: Any) -> None:
    async with running() as stage:
        stage.eyes.trouble = silent()
        stage.boards.poll(Poll(door=1, until=now().mono_ms + 60_000))
        stage.eyes.calls.clear()
        await asyncio.sleep(0.3)
        assert len(stage.eyes.calls) <= 300 // poll_ms + 3
