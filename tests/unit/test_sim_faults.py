"""Pins each fault between a board and the wire, and inside a board, by its name."""

import pytest

from adapters.simulator import frames
from adapters.simulator.faults import (
    BOARD_FAULTS,
    Answer,
    Damage,
    Reflections,
    Station,
    UnknownFault,
)
from adapters.simulator.models import make_board
from adapters.simulator.wirenboard import WirenBoardMr6c

READ = bytes.fromhex("0100000008")
ON = bytes.fromhex("050000FF00")
PULSE_0 = bytes.fromhex("0502000000")


def relay(fault: str | None = None, **how: int) -> Station:
    station = Station(make_board("waveshare-rtu-relay-8"))
    if fault:
        station.inject(fault, 0, **how)
    return station


def told(station: Station, pdu: bytes) -> Answer:
    answer = station.answer(1, pdu, 0)
    assert answer is not None
    return answer


def test_healthy_board_answers_at_once_and_whole() -> None:
    station = relay()
    answer = told(station, READ)
    assert (answer.unit, answer.pdu.hex(), answer.after_ms) == (1, "010100", 0)
    assert answer.damage is Damage.NONE
    assert station.answer(2, READ, 0) is None
    assert (station.requests, station.replies) == (1, 1)


def test_deaf_board_does_nothing_and_mute_board_acts() -> None:
    deaf, mute = relay("deaf"), relay("mute")
    assert deaf.answer(1, ON, 0) is None
    assert mute.answer(1, ON, 0) is None
    assert not deaf.board.outputs(0)[0]
    assert mute.board.outputs(0)[0]


def test_late_and_slow_add_up() -> None:
    station = relay("late", value=600)
    station.inject("slow", 0)
    assert told(station, READ).after_ms == 640


@pytest.mark.parametrize(("value", "lost"), [(300, 3), (1000, 10), (0, 0)])
def test_lossy_loses_exactly_its_share_and_the_board_acted(value: int, lost: int) -> None:
    station = relay("lossy", value=value)
    assert sum(station.answer(1, ON, 0) is None for _ in range(10)) == lost
    assert station.board.outputs(0)[0]


@pytest.mark.parametrize("fault", ["corrupt", "truncated"])
def test_damaged_reply_never_passes_the_crc(fault: str) -> None:
    answer = told(relay(fault), READ)
    frame = frames.rtu(answer.unit, answer.pdu)
    assert frames.open_rtu(frame) is not None
    assert frames.open_rtu(answer.damage.apply(frame)) is None
    assert Damage.NONE.apply(frame) == frame


@pytest.mark.parametrize("code", [1, 2, 3, 6])
def test_exception_answers_so_and_does_nothing(code: int) -> None:
    station = relay("exception", value=code)
    assert told(station, ON).pdu == bytes((0x85, code))
    assert not station.board.outputs(0)[0]
    assert station.answer(0, ON, 0) is None, "a broadcast has no reply"
    station.board.power_off(0)
    assert station.answer(1, ON, 0) is None


def test_count_bounds_a_fault() -> None:
    station = relay("deaf", count=2)
    answers = [station.answer(1, READ, 0) for _ in range(3)]
    assert [answer is None for answer in answers] == [True, True, False]
    assert station.active == {}


def test_linkage_lets_an_input_close_the_relay() -> None:
    station = Station(make_board("waveshare-rtu-io-8ch"))
    station.inject("linkage", 0)
    station.board.set_input(3, True, 1)
    assert station.board.outputs(1)[3]
    station.clear("linkage", 2)
    station.board.set_input(3, False, 3)
    assert station.board.outputs(3)[3], "normal mode: the output stays as it was left"


def test_watchdog_trips_into_the_safe_state() -> None:
    station = Station(make_board("wirenboard-wb-mr6c-v3"))
    station.answer(1, ON, 0)
    station.inject("watchdog", 10)
    assert not any(station.board.outputs(10))
    assert isinstance(station.board, WirenBoardMr6c)
    assert station.board.safe_mode
    station.clear("watchdog", 11)


def test_old_firmware_is_silent() -> None:
    station = relay("firmware_v1")
    assert station.answer(1, READ, 0) is None
    station.clear("firmware_v1", 1)
    assert station.answer(1, READ, 1) is not None


def test_flash_of_zero_is_nothing_or_as_a_fault_for_ever() -> None:
    station = relay()
    station.answer(1, PULSE_0, 0)
    assert not station.board.outputs(0)[0]
    station.inject("flash_zero", 0)
    station.answer(1, PULSE_0, 0)
    assert station.board.outputs(10**6)[0]


def test_welded_relay_reads_on_and_stays_on() -> None:
    station = relay("welded", value=2)
    assert station.board.outputs(0)[2]
    assert told(station, READ).pdu[2] == 0b100
    station.answer(1, bytes.fromhex("0500FF0000"), 0)
    assert station.board.outputs(0)[2]
    station.clear("welded", 1)
    assert not station.board.outputs(1)[2]


def test_open_contact_says_on_and_is_off() -> None:
    station = relay("contact_open")
    station.answer(1, ON, 0)
    assert told(station, READ).pdu[2] == 1
    assert not station.board.outputs(0)[0]
    station.clear("contact_open", 1)
    assert station.board.outputs(1)[0]


def test_broken_and_mislabelled_climate_sensor() -> None:
    station = Station(make_board("xy-md02"))
    station.inject("sensor_broken", 0)
    read = bytes.fromhex("0400010002")
    assert told(station, read).pdu.hex() == "0404ffffffff"
    station.clear("sensor_broken", 0)
    station.inject("clone_scale", 0)
    assert int.from_bytes(told(station, read).pdu[2:4], "big") == 2150


@pytest.mark.parametrize("fault", ["nonsense", "linkage", "watchdog", "sensor_broken", "ascii"])
def test_fault_that_does_not_fit_is_refused(fault: str) -> None:
    with pytest.raises(UnknownFault):
        relay(fault)


def test_fault_of_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownFault):
        relay("welded", value=8)


def test_clearing_what_is_not_on_changes_nothing() -> None:
    station = relay()
    for fault in BOARD_FAULTS:
        station.clear(fault, 0)
    assert station.answer(1, READ, 0) is not None


def test_reflections_break_more_the_longer_and_the_faster_and_always_as_many() -> None:
    def broken(length: int, baud: int) -> int:
        line, frame = Reflections(), frames.rtu(1, bytes(length - 3))
        return sum(line.apply(frame, baud) != frame for _ in range(100))

    assert [broken(length, 9600) for length in (7, 21, 45)] == [2, 8, 18]
    assert [broken(length, 57600) for length in (7, 21)] == [16, 50]
    assert broken(45, 115200) == 100


def test_a_board_in_its_text_protocol_says_its_name_and_is_deaf_to_modbus() -> None:
    station = Station(make_board("adam-4150"))
    assert station.answer_text(b"$01M\r", 0) == b"!014150\r"
    assert station.answer(1, READ, 0) is None
    station.board.install()
    assert station.answer_text(b"$01M\r", 0) is None
    assert station.answer(1, READ, 0) is not None
    station.inject("ascii", 0)
    assert station.answer_text(b"$01M\r", 0) == b"!014150\r"
    station.inject("deaf", 0)
    assert station.answer_text(b"$01M\r", 0) is None
    station.clear("deaf", 0)
    station.clear("ascii", 0)
    assert station.answer(1, READ, 0) is not None


def test_a_board_without_a_text_protocol_is_silent_to_text() -> None:
    assert relay().answer_text(b"$01M\r", 0) is None
