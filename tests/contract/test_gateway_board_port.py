"""Pins what the shell relies on of a board, for the double and for the real one alike."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.bus import Line, TcpSpec
from adapters.errors import AdapterError
from adapters.profiles import load
from adapters.simulator.faults import Station
from adapters.simulator.models import make_board
from adapters.simulator.server import TcpServer
from adapters.simulator.site import Site as SimulatedSite
from adapters.simulator.wiring import parse as parse_wiring
from gateway import config
from gateway.bank import Bank, LockBoard, known
from gateway.mapfile import parse as parse_map
from gateway.ports import BoardPort
from tests.contract.boards_double import BoardDouble
from tests.contract.site_stage import map_text, wiring


@pytest.fixture(params=["double", "real"])
async def boards(request: pytest.FixtureRequest) -> AsyncIterator[tuple[BoardPort, BoardPort]]:
    """A board of locks and one of inputs."""
    if request.param == "double":
        yield BoardDouble(inputs=0), BoardDouble()
        return
    simulated = SimulatedSite(parse_wiring(wiring()))
    await simulated.start()
    lines = {"bank": config.Line(tcp=simulated.where()["bank"], framing="rtu")}
    bank = Bank(parse_map(map_text(), known), lines)
    await bank.open()
    try:
        yield bank.ports["locks"], bank.ports["eyes"]
    finally:
        await bank.close()
        await simulated.stop()


def in_s(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_a_started_board_reads_its_channels(boards: Any) -> None:
    locks, eyes = boards
    await locks.start()
    await eyes.start()
    assert len((await eyes.read()).inputs) == 8
    assert len((await eyes.read(urgent=True)).inputs) == 8
    assert (await locks.read()).outputs == (False,) * 8


async def test_a_pulse_returns_when_it_is_over(boards: Any) -> None:
    locks, _ = boards
    await locks.start()
    began = in_s(0)
    await locks.pulse(0, 100, deadline=in_s(5))
    assert in_s(0) - began >= 0.09
    assert (await locks.read()).outputs == (False,) * 8


async def test_after_the_deadline_nothing_was_sent_and_the_error_says_so(boards: Any) -> None:
    locks, _ = boards
    await locks.start()
    with pytest.raises(AdapterError) as caught:
        await locks.pulse(1, 100, deadline=in_s(-1))
    assert caught.value.sent is False
    assert caught.value.code == "bus.late"


async def test_all_off_may_be_asked_at_any_time(boards: Any) -> None:
    locks, eyes = boards
    await locks.all_off()
    await locks.start()
    await locks.all_off()
    await eyes.all_off()


async def test_boards_that_nobody_can_reach_refuse_with_the_reason() -> None:
    text = map_text().replace('line = "bank"', 'line = "gone"')
    bank = Bank(parse_map(text, known), {})
    await bank.open()
    port = bank.ports["locks"]
    asked: list[Any] = [port.start(), port.read(), port.pulse(0, 100, deadline=in_s(5))]
    for question in asked:
        with pytest.raises(AdapterError) as caught:
            await question
        assert caught.value.code == "config.no_line"
        assert caught.value.sent is False
    await port.all_off()
    await bank.close()


def test_profiles_are_known_to_maps_by_what_they_offer() -> None:
    assert known("no-such-board") is None
    relays = known("waveshare-rtu-relay-8")
    assert relays is not None
    assert (relays.outputs, relays.inputs) == (8, 0)


async def test_a_sensor_board_is_asked_what_it_measures_so_that_its_silence_is_seen() -> None:
    station = Station(make_board("xy-md02", 3))
    async with TcpServer([station], framing="rtu") as server:
        line = Line(TcpSpec("127.0.0.1", server.port, "rtu_over_tcp", 115_200))
        await line.open()
        board = LockBoard(line, load("xy-md02"), 3)
        await board.start()
        assert (await board.read()).values == (21_500, 48_000)
        assert (await board.read(measures=False)).values == ()
        station.inject("deaf", 0)
        with pytest.raises(AdapterError):
            await board.read()
        await line.close()
