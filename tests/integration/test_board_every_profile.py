"""Pins every profile against the simulated board of its make, on a line with real wire time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from adapters.board import Board
from adapters.bus import Line, SerialSpec, TcpSpec
from adapters.errors import BusError, LinkDown, TimedOut
from adapters.profiles import load, names
from adapters.simulator.climate import XyMd02
from adapters.simulator.faults import Station
from adapters.simulator.line import PtyLine, guard_of
from adapters.simulator.live import Guard
from adapters.simulator.models import MODELS, make_board
from adapters.simulator.server import TcpServer

SIMULATED = [name for name in names() if name in MODELS]
BAUD = 115200  # wire time is kept, the tests stay short
HANG_S = 10.0
MEASURED = {  # degrees and per cent, millimetres, cycles of a relay; all in thousandths or whole
    "xy-md02": (21_500, 48_000),
    "md02": (21_500, 48_000),
    "shtc3": (48_000, 21_500),
    "urm14": (450_000,),
    "moxa-e1214": (0, 0, 0, 1, 0, 0),
}


@contextlib.asynccontextmanager
async def on_line(
    name: str, *, echo: bool = False
) -> AsyncIterator[tuple[Board, Station, Line, Guard]]:
    """A board of this make, reached the way its profile says first."""
    profile = load(name)
    station = Station(make_board(name, profile.link.unit, installed=True))
    guard = guard_of([station])
    async with contextlib.AsyncExitStack() as stack:
        spec: SerialSpec | TcpSpec
        if profile.link.framings[0] == "tcp":
            server = await stack.enter_async_context(TcpServer([station], guard=guard))
            spec = TcpSpec("127.0.0.1", server.port)
        else:
            sim = stack.enter_context(PtyLine([station], guard=guard))
            if echo:
                sim.set_fault("echo")
            spec = SerialSpec(sim.path, BAUD, profile.link.parity, profile.link.stop)
        line = Line(spec)
        assert await line.open()
        board = Board(line, profile)
        try:
            yield board, station, line, guard
        finally:
            await board.settle()
            await line.close()


def test_every_shipped_profile_has_a_simulated_board() -> None:
    assert set(names()) <= set(MODELS)


@pytest.mark.parametrize("name", SIMULATED)
async def test_start_read_pulse_and_read_again(name: str) -> None:
    async with on_line(name) as (board, station, line, _):
        await board.start()
        found = await board.read()
        assert not any(found.outputs)
        assert len(found.outputs) == len(
            board.profile.outputs.at() if board.profile.outputs else ()
        )
        assert len(found.inputs) == len(board.profile.inputs.at() if board.profile.inputs else ())
        if board.profile.outputs:
            station.board.drain()
            deadline = asyncio.get_running_loop().time() + HANG_S
            done = await board.pulse(3, 300, deadline=deadline)
            assert (done.on_ms, done.off_seen) == (300, True)
            changes = station.board.drain()
            assert [(change.channel, change.on) for change in changes] == [(3, True), (3, False)]
            # The off of a software pulse may wait for the exchange in flight.
            on_ms = changes[1].at_ms - changes[0].at_ms
            assert 250 <= on_ms <= 1000
            if board.profile.actions and board.profile.actions.way == "board":
                assert on_ms == 300, "the board itself ended it, not our looking after it"
            assert not any((await board.read()).outputs)
        values = (await board.read(measures=True)).values
        assert values == MEASURED.get(name, (None,) * len(board.profile.measures))
        assert line.counters.nonsense == line.counters.other_question == 0


@pytest.mark.parametrize("name", [name for name in SIMULATED if load(name).inputs])
async def test_each_input_is_seen_on_its_channel(name: str) -> None:
    async with on_line(name) as (board, station, _, guard):
        await board.start()
        points = board.profile.inputs
        assert points is not None
        for channel in (0, len(points.at()) - 1):
            for active in (True, False):
                with guard() as now_ms:
                    station.board.set_input(channel, active, now_ms)
                wanted = tuple(active and n == channel for n in range(len(points.at())))
                async with asyncio.timeout(HANG_S):  # some boards debounce
                    while (await board.read()).inputs != wanted:
                        pass


async def test_a_door_switch_that_works_a_lock_is_stopped_before_the_board_is_used() -> None:
    async with on_line("waveshare-rtu-relay-d") as (board, station, _, guard):
        with guard() as now_ms:
            station.board.set_input(3, True, now_ms)
            assert station.board.outputs(now_ms)[3]
        assert (await board.look()).outputs[3], "looking changes nothing"
        await board.start()
        assert board.corrected == ("output_mode",)
        with guard() as now_ms:
            assert not any(station.board.outputs(now_ms))
            station.board.set_input(4, True, now_ms)
            assert not any(station.board.outputs(now_ms))


async def test_every_second_register_is_put_right_and_the_others_are_left_alone() -> None:
    async with on_line("adam-4150") as (board, station, _, _guard):
        await board.start()
        assert set(board.corrected) == {"output_mode", "low_time"}
        times = [station.board.memory[address] for address in range(14, 30)]
        assert times == [10, 0] * 8
        station.board.drain()
        station.board.memory[15] = 7
        await board.start()
        assert set(board.corrected) == {"low_time_high_word"}
        assert [station.board.memory[address] for address in (14, 15)] == [10, 0]
        assert station.board.drain() == []


async def test_a_broken_sensor_is_told_from_a_cold_one() -> None:
    async with on_line("xy-md02") as (board, station, line, _):
        sensor = station.board
        assert isinstance(sensor, XyMd02)
        sensor.temperature_decidegree = -184
        assert (await board.read(measures=True)).values == (-18_400, 48_000)
        sensor.broken = True
        assert (await board.look(measures=True, urgent=True)).values == (None, None)
        before = line.counters.sent
        assert (await board.read()).values == ()
        assert line.counters.sent == before, "measures are asked for, or not read"


@pytest.mark.parametrize("name", ["waveshare-rtu-relay-8", "eletechsup-r421"])
async def test_an_echoing_adapter_is_found_out_and_changes_nothing(name: str) -> None:
    async with on_line(name, echo=True) as (board, station, line, _):
        deadline = asyncio.get_running_loop().time() + HANG_S
        assert (await board.pulse(0, 200, deadline=deadline)).off_seen
        assert line.health()["local_echo"] is True
        assert [change.on for change in station.board.drain()][-2:] == [True, False]


async def test_unplugged_and_back_starts_with_everything_off(tmp_path: object) -> None:
    station = Station(make_board("waveshare-rtu-relay-8", 1))
    with PtyLine([station], link=f"{tmp_path}/bus") as sim:
        line = Line(SerialSpec(sim.path, BAUD))
        await line.open()
        board = Board(line, load("waveshare-rtu-relay-8"))
        await board.start()
        sim.unplug()
        with pytest.raises(BusError) as caught:
            await board.read()
        assert isinstance(caught.value, LinkDown | TimedOut)
        sim.replug()
        async with asyncio.timeout(HANG_S):
            while True:
                with contextlib.suppress(BusError):
                    await board.read()
                    break
                await asyncio.sleep(0.02)
        assert line.counters.connects >= 2
        await line.close()


async def test_boards_of_different_makes_share_a_line() -> None:
    stations = [
        Station(make_board("waveshare-rtu-relay-8", 1)),
        Station(make_board("waveshare-rtu-io-8ch", 2)),
        Station(make_board("eletechsup-r421", 3)),
    ]
    with PtyLine(stations) as sim:
        line = Line(SerialSpec(sim.path, BAUD, local_echo=False))
        await line.open()
        boards = [Board(line, load(s.board.model), s.board.unit) for s in stations]
        await asyncio.gather(*(board.start() for board in boards))
        for _ in range(5):
            await asyncio.gather(*(board.read() for board in boards))
        assert (sim.counters.early, sim.counters.collisions, line.counters.timeouts) == (0, 0, 0)
        await line.close()
