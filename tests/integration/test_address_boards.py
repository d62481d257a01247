"""Pins the addressing of boards on real ptys: alone or refused, read back, lost and found again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from typing_extensions import override

from adapters import address, pace, scan
from adapters.bus import SerialSpec, TcpSpec
from adapters.errors import AddressRefused
from adapters.profile import Profile
from adapters.profiles import load
from adapters.simulator.boards import Board
from adapters.simulator.climate import ClimateSensor
from adapters.simulator.faults import Answer, Station
from adapters.simulator.line import PtyLine
from adapters.simulator.models import make_board
from adapters.simulator.server import TcpServer

RELAY = load("waveshare-rtu-relay-8")
IO = load("waveshare-rtu-io-8ch")
BAUD = 115200


def relay(unit: int = 1, baud: int = BAUD) -> Board:
    return make_board("waveshare-rtu-relay-8", unit, baud=baud)


@pytest.fixture(autouse=True)
def _nobody_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """No board here answers late: the half second for it would only cost time."""
    monkeypatch.setattr(pace, "QUIET_US", 20_000)


async def refused(doing: object) -> AddressRefused:
    with pytest.raises(AddressRefused) as caught:
        await doing  # type: ignore[misc]
    return caught.value


async def test_three_factory_boards_are_numbered_one_by_one_and_moved_to_a_faster_rate() -> None:
    line = PtyLine([], baud=None)
    with line:
        done: dict[int, int] = {}
        for number in (11, 12, 13):
            line.stations.append(Station(relay(baud=9600)))  # the next board is connected
            spec = SerialSpec(line.path, 9600)
            found = await address.alone(spec, RELAY, known=done)
            moved = await address.assign(
                spec, RELAY, unit_from=found.unit, unit_to=number, baud_to=BAUD
            )
            assert (moved.unit, moved.spec) == (number, SerialSpec(line.path, BAUD))
            assert moved.evidence["after_register"] == number
            done[number] = BAUD
        rounds = (scan.Round(BAUD, "N", 1, tuple(range(1, 20)), 60),)
        outcome = await scan.rtu(line.path, rounds, progress=lambda _: None, stop=asyncio.Event())
    assert [one.unit for one in outcome.found] == [11, 12, 13]
    assert {one.matches[0].profile for one in outcome.found} == {RELAY.profile}
    assert [(s.board.unit, s.board.baud) for s in line.stations] == [
        (number, BAUD) for number in (11, 12, 13)
    ]


async def test_nobody_there_is_said() -> None:
    with PtyLine([]) as line:
        error = await refused(address.alone(SerialSpec(line.path, BAUD), RELAY))
    assert (error.code, error.sent) == ("address.nobody", False)


async def test_boards_of_two_numbers_are_several() -> None:
    with PtyLine([relay(1), relay(3)]) as line:
        spec = SerialSpec(line.path, BAUD)
        error = await refused(address.alone(spec, RELAY))
        assert (error.code, error.evidence["units"]) == ("address.several", "1 3")
        assert (await address.alone(spec, RELAY, known=[3])).unit == 1


@pytest.mark.parametrize("slow", [0, 1, 4, 30])
async def test_two_factory_boards_are_several_however_they_differ_in_time(slow: int) -> None:
    second = Station(relay())
    second.inject("slow", 0, slow)
    with PtyLine([relay(), second]) as line:
        error = await refused(address.alone(SerialSpec(line.path, BAUD), RELAY))
        assert error.code in {"address.several", "address.unproved"}
        assert line.stations[0].board.unit == second.board.unit == 1


async def test_two_boards_in_step_that_say_the_same_cannot_be_told_from_one() -> None:
    """What `adapters.address` says cannot be proved; an input that differs gives them away."""
    boards = [make_board("waveshare-rtu-io-8ch", 1, baud=BAUD) for _ in range(2)]
    with PtyLine(boards) as line:
        line.set_fault("in_step")
        spec = SerialSpec(line.path, BAUD)
        assert (await address.alone(spec, IO)).unit == 1
        boards[0].set_input(3, True, 0)
        assert (await refused(address.alone(spec, IO))).code in {
            "address.several",
            "address.unproved",
        }


async def test_a_board_of_another_make_is_not_numbered() -> None:
    with PtyLine([make_board("wellpro-wp8028", 1)]) as line:
        error = await refused(address.alone(SerialSpec(line.path, BAUD), RELAY))
    assert error.code == "address.other"


async def test_a_line_with_errors_proves_nothing() -> None:
    station = Station(make_board("waveshare-rtu-io-8ch", 1))
    station.inject("corrupt", 0, 150)
    with PtyLine([station]) as line:
        error = await refused(address.alone(SerialSpec(line.path, BAUD), IO))
    assert error.code == "address.unproved"


class Warming(Station):
    """A sensor whose value is another one at each question."""

    @override
    def answer(self, unit: int, pdu: bytes, now_ms: int) -> Answer | None:
        assert isinstance(self.board, ClimateSensor)
        self.board.temperature_decidegree += 1
        return super().answer(unit, pdu, now_ms)


async def test_a_value_that_moves_is_no_second_board() -> None:
    for name in ("shtc3", "xy-md02"):
        profile = load(name)
        with PtyLine([Warming(make_board(name, profile.link.unit))]) as line:
            found = await address.alone(SerialSpec(line.path, BAUD), profile)
        assert found.unit == profile.link.unit


async def test_a_known_board_with_the_factory_number_hides_a_new_one() -> None:
    with PtyLine([relay(1)]) as line:
        error = await refused(address.alone(SerialSpec(line.path, BAUD), RELAY, known=[1]))
    assert error.code == "address.taken"


@pytest.mark.parametrize(
    ("name", "how", "code"),
    [
        ("eletechsup-r421", {"unit_to": 5}, "address.by_hand"),
        ("waveshare-rtu-relay-8", {"unit_to": 256}, "address.number"),
        ("waveshare-rtu-relay-8", {"unit_to": 0}, "address.number"),
        ("waveshare-rtu-relay-8", {"unit_to": 2, "baud_to": 12345}, "address.rate"),
        ("generic-8x0", {"unit_to": 2}, "address.by_hand"),
    ],
)
async def test_what_a_board_cannot_take_is_refused_before_anything_is_sent(
    name: str, how: dict[str, Any], code: str
) -> None:
    profile = load(name)
    with PtyLine([relay()]) as line:
        spec = SerialSpec(line.path, BAUD)
        error = await refused(address.assign(spec, profile, unit_from=1, **how))
        assert line.counters.requests == 0
    assert (error.code, error.sent) == (code, False)


async def test_a_number_that_is_taken_is_not_given_again() -> None:
    with PtyLine([relay(1), relay(2)]) as line:
        spec = SerialSpec(line.path, BAUD)
        error = await refused(address.assign(spec, RELAY, unit_from=1, unit_to=2))
        assert line.stations[0].board.unit == 1
    assert (error.code, error.sent) == ("address.taken", False)


class Stubborn(Station):
    """A board with a say in what happens when it is given a number."""

    def __init__(self, board: Board, on_write: Callable[["Stubborn"], None]) -> None:
        super().__init__(board)
        self.on_write = on_write
        self.dead = False

    @override
    def answer(self, unit: int, pdu: bytes, now_ms: int) -> Answer | None:
        if pdu[0] == 6 and unit == self.board.unit:
            self.on_write(self)
            if self.dead:
                return None
        return None if self.dead else super().answer(unit, pdu, now_ms)


def dies(station: Stubborn) -> None:
    station.dead = True


def takes_it_and_dies(station: Stubborn) -> None:
    station.board.unit = 7
    station.dead = True


@pytest.mark.parametrize("moment", [dies, takes_it_and_dies])
async def test_power_lost_in_the_middle_is_said_and_the_board_is_found_afterwards(
    moment: Callable[[Stubborn], None],
) -> None:
    station = Stubborn(relay(), moment)
    with PtyLine([station]) as line:
        spec = SerialSpec(line.path, BAUD)
        error = await refused(address.assign(spec, RELAY, unit_from=1, unit_to=7))
        assert (error.code, error.sent) == ("address.lost", True)
        lost = await refused(address.find(spec, RELAY, units=[1, 7], bauds=[9600]))
        assert lost.code == "address.lost"
        station.dead, station.on_write = False, lambda _: None
        found = await address.find(spec, RELAY, units=[1, 7], bauds=[9600])
        assert found.unit == station.board.unit
        again = await address.assign(spec, RELAY, unit_from=found.unit, unit_to=7)
        assert again.unit == station.board.unit == 7


async def test_power_lost_while_the_rate_changes_is_found_at_either() -> None:
    station = Stubborn(relay(), lambda made: None)
    calls = []

    def second_write(made: Stubborn) -> None:
        calls.append(made.board.unit)
        if len(calls) == 2:
            made.dead = True

    station.on_write = second_write
    with PtyLine([station]) as line:
        spec = SerialSpec(line.path, BAUD)
        error = await refused(address.assign(spec, RELAY, unit_from=1, unit_to=7, baud_to=19200))
        assert (error.code, error.sent) == ("address.lost", True)
        station.dead = False
        found = await address.find(spec, RELAY, units=[1, 7], bauds=[19200])
    assert (found.unit, found.spec) == (7, spec)


async def test_a_board_whose_codes_mean_other_rates_is_found_at_the_one_it_took() -> None:
    board = relay()

    def another(value: int, now_ms: int) -> None:
        board.baud = 38400

    board.holding[0x2000] = type(board.holding[0x2000])(lambda: 1, another, range(9))
    with PtyLine([board]) as line:
        spec = SerialSpec(line.path, BAUD)
        error = await refused(address.assign(spec, RELAY, unit_from=1, unit_to=1, baud_to=19200))
    assert (error.code, error.sent) == ("address.other_rate", True)
    assert error.evidence == {"unit": 1, "rate": 38400, "wanted": 19200}


async def test_a_board_that_keeps_its_number_is_said() -> None:
    board = relay()
    board.holding[0x4000] = type(board.holding[0x4000])(lambda: 1, lambda _v, _n: None, range(256))
    with PtyLine([board]) as line:
        spec = SerialSpec(line.path, BAUD)
        error = await refused(address.assign(spec, RELAY, unit_from=1, unit_to=7))
    assert (error.code, error.sent) == ("address.kept", True)


async def test_a_second_board_that_did_not_hear_the_number_is_seen_at_the_old_one() -> None:
    first, second = relay(), Station(relay())
    second.inject("deaf", 0)
    line = PtyLine([first, second])

    with line:
        spec = SerialSpec(line.path, BAUD)
        task = asyncio.create_task(address.assign(spec, RELAY, unit_from=1, unit_to=7))
        while first.unit == 1 and not task.done():  # noqa: ASYNC110  # the line is a thread
            await asyncio.sleep(0.001)
        second.clear("deaf", 0)
        error = await refused(task)
    assert (error.code, error.sent) == ("address.several", True)


async def test_a_board_that_takes_its_number_after_a_restart_is_waited_for() -> None:
    profile = load("wellpro-wp8028")
    assert profile.commission is not None
    assert profile.commission.applies == "after_restart"
    board = make_board("wellpro-wp8028", 1)
    asked: list[str] = []
    with PtyLine([board]) as line:

        def restart() -> None:
            asked.append("off and on")
            with line.guard() as now_ms:
                board.power_on(now_ms)

        spec = SerialSpec(line.path, BAUD)
        moved = await address.assign(
            spec, profile, unit_from=1, unit_to=9, restart=restart, restart_s=20
        )
        assert asked == ["off and on"]
        assert moved.unit == board.unit == 9


async def test_a_second_board_that_was_not_there_before_the_restart_is_seen() -> None:
    board = make_board("wellpro-wp8028", 1)
    with PtyLine([board]) as line:

        def restart() -> None:
            with line.guard() as now_ms:
                board.power_on(now_ms)
            line.stations.append(Station(make_board("wellpro-wp8028", 1)))

        error = await refused(
            address.assign(
                SerialSpec(line.path, BAUD),
                load("wellpro-wp8028"),
                unit_from=1,
                unit_to=9,
                restart=restart,
                restart_s=20,
            )
        )
    assert (error.code, error.sent) == ("address.several", True)


async def test_a_restart_that_never_comes_is_said() -> None:
    profile = load("wellpro-wp8028")
    with PtyLine([make_board("wellpro-wp8028", 1)]) as line:
        spec = SerialSpec(line.path, BAUD)
        error = await refused(address.assign(spec, profile, unit_from=1, unit_to=9, restart_s=0.1))
    assert (error.code, error.sent) == ("address.restart", True)


async def test_a_board_behind_a_converter_gets_its_number_too() -> None:
    async with TcpServer([relay()], framing="rtu") as server:
        spec = TcpSpec("127.0.0.1", server.port, "rtu_over_tcp")
        moved = await address.assign(spec, RELAY, unit_from=1, unit_to=7)
        assert (moved.unit, server.stations[0].board.unit) == (7, 7)
        error = await refused(address.assign(spec, RELAY, unit_from=7, unit_to=7, baud_to=19200))
    assert error.code == "address.rate"


def test_every_profile_with_a_register_says_how(profiles: tuple[Profile, ...]) -> None:
    for profile in profiles:
        assert profile.commission is not None, profile.profile
        assert profile.commission.unit is not None or profile.commission.by_hand


@pytest.fixture
def profiles() -> tuple[Profile, ...]:
    return scan.shipped()
