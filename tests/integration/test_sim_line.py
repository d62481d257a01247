"""Pins the simulated RS485 line on a real pty: wire time, rates, unplugging, each line fault."""

import contextlib
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial  # type: ignore[import-untyped]  # pyserial has no stubs

from adapters.simulator import frames
from adapters.simulator.boards import Board
from adapters.simulator.faults import Station
from adapters.simulator.line import PtyLine
from adapters.simulator.models import make_board

READ = frames.rtu(1, bytes.fromhex("0100000008"))
REPLY = frames.rtu(1, bytes.fromhex("010100"))
GAP_S = 0.006


@contextlib.contextmanager
def port(line: PtyLine, baud: int = 9600, timeout: float = 10.0) -> Iterator[serial.Serial]:
    with serial.Serial(line.path, baud, timeout=timeout) as opened:
        yield opened


def ask(opened: serial.Serial, request: bytes = READ, size: int = 6) -> bytes:
    time.sleep(GAP_S)
    opened.write(request)
    return bytes(opened.read(size))


def ask_briefly(opened: serial.Serial, request: bytes = READ, wait_s: float = 0.1) -> bytes:
    """What comes within a short while, where nothing or nonsense is expected."""
    patience, opened.timeout = opened.timeout, wait_s
    try:
        return ask(opened, request)
    finally:
        opened.timeout = patience


def relay(unit: int = 1) -> Board:
    return make_board("waveshare-rtu-relay-8", unit)


@pytest.mark.parametrize("baud", [9600, 19200, 115200])
def test_answer_takes_at_least_its_wire_time(baud: int) -> None:
    with PtyLine([relay()], turnaround_ms=2) as line, port(line, baud) as opened:
        ask(opened)
        time.sleep(GAP_S)
        began = time.perf_counter()
        opened.write(READ)
        assert opened.read(6) == REPLY
        took = time.perf_counter() - began
    gap = 0.00175 if baud > 19200 else 35 / baud
    assert took >= 14 * 10 / baud + gap + 0.002 - 0.0005


def test_two_boards_share_the_line_and_the_third_address_is_silent() -> None:
    boards = [relay(1), make_board("waveshare-rtu-io-8ch", 2)]
    with PtyLine(boards) as line, port(line, 115200) as opened:
        assert ask(opened) == REPLY
        assert ask(opened, frames.rtu(2, bytes.fromhex("0200000008")))[:2] == b"\x02\x02"
        assert ask_briefly(opened, frames.rtu(3, bytes.fromhex("0100000008"))) == b""
        assert line.counters.requests == 3
        assert line.opened


def test_board_at_another_rate_hears_nothing() -> None:
    with PtyLine([relay()], baud=19200) as line:
        with port(line, 9600) as opened:
            assert ask_briefly(opened) == b""
        with port(line, 19200) as opened:
            assert ask(opened) == REPLY
        assert line.counters.wrong_baud == 1


def test_board_moved_to_another_rate_is_lost_at_the_old_one() -> None:
    with PtyLine([relay()]) as line:
        with port(line, 9600) as opened:
            move = frames.rtu(1, bytes.fromhex("0620000005"))
            assert ask(opened, move, 8) == move
            assert ask_briefly(opened) == b""
        with port(line, 115200) as opened:
            assert ask(opened) == REPLY


def test_back_to_back_request_is_lost_on_strict_boards() -> None:
    with PtyLine([relay()]) as line, port(line, 9600) as opened:
        assert ask_briefly(opened, READ + READ) == b""
        assert line.counters.garbled == 1


def test_two_boards_with_one_address_collide() -> None:
    with PtyLine([relay(), relay()]) as line, port(line, 19200) as opened:
        got = ask_briefly(opened)
        assert got
        assert frames.open_rtu(got) is None
        assert line.counters.collisions == 1


def test_late_reply_arrives_as_the_answer_to_the_next_question() -> None:
    station = Station(relay())
    station.inject("late", 0, value=400, count=1)
    with PtyLine([station]) as line, port(line, 115200) as opened:
        assert ask_briefly(opened) == b""
        opened.write(frames.rtu(9, bytes.fromhex("0380000001")))
        assert opened.read(6) == REPLY


@pytest.mark.parametrize("fault", ["corrupt", "truncated", "lossy", "mute", "deaf"])
def test_damaged_or_missing_reply(fault: str) -> None:
    station = Station(relay())
    station.inject(fault, 0, value=1000, count=1)
    with PtyLine([station]) as line, port(line, 115200) as opened:
        assert frames.open_rtu(ask_briefly(opened)) is None
        assert ask(opened) == REPLY


def test_echo_gives_back_what_is_sent() -> None:
    with PtyLine([relay()]) as line, port(line, 19200) as opened:
        line.set_fault("echo")
        assert ask(opened, size=14) == READ + REPLY
        line.set_fault("echo", on=False)
        assert ask(opened) == REPLY


def test_swapped_wires_understand_nothing() -> None:
    with PtyLine([relay()]) as line, port(line, 115200) as opened:
        line.set_fault("swapped")
        assert ask_briefly(opened) == b""
        with pytest.raises(KeyError):
            line.set_fault("nonsense")


def test_stale_port_works_again_after_reopening() -> None:
    with PtyLine([relay()]) as line:
        with port(line, 115200) as opened:
            assert ask(opened) == REPLY
            line.set_fault("stale")
            assert ask_briefly(opened) == b""
        deadline = time.monotonic() + 5
        while line.opened and time.monotonic() < deadline:
            time.sleep(0.005)
        with port(line, 115200) as opened:
            assert ask(opened) == REPLY


def test_unplugged_port_vanishes_and_returns_under_its_link(tmp_path: Path) -> None:
    link = tmp_path / "tty"
    with PtyLine([relay()], link=link) as line:
        with port(line, 19200) as opened:
            assert ask(opened) == REPLY
            line.unplug()
            line.unplug()
            assert not link.is_symlink()
            assert not line.plugged
            with pytest.raises((OSError, termios.error)):
                ask(opened)
        line.replug()
        with port(line, 19200) as opened:
            assert ask(opened) == REPLY
    assert not link.is_symlink()
    assert not line.plugged


def test_foreign_file_is_never_replaced_by_the_link(tmp_path: Path) -> None:
    link = tmp_path / "tty"
    link.write_text("mine")
    with pytest.raises(FileExistsError):
        PtyLine([], link=link).start()
    assert link.read_text() == "mine"
    stale = tmp_path / "old"
    stale.symlink_to("/nowhere")
    with PtyLine([relay()], link=stale) as line, port(line, 115200) as opened:
        assert ask(opened) == REPLY


def test_reader_that_does_not_read_costs_nothing() -> None:
    with PtyLine([relay()]) as line, port(line, 115200) as opened:
        for _ in range(20):
            opened.write(READ)
            time.sleep(0.005)
        line.unplug()
        line.replug()
    assert line.counters.requests >= 1


def test_stopping_twice_is_harmless() -> None:
    line = PtyLine([relay()])
    line.stop()
    line.start()
    assert Path(line.path).exists()
    line.stop()
    line.stop()


def test_swapped_wires_on_a_biased_line_read_as_a_zero() -> None:
    with PtyLine([relay()]) as line, port(line, 115200) as opened:
        line.set_fault("swapped_biased")
        assert ask_briefly(opened) == b"\0"


def test_a_missing_termination_breaks_answers_by_their_length() -> None:
    with PtyLine([relay()]) as line, port(line, 115200) as opened:
        line.set_fault("unterminated")
        broken = sum(ask(opened) != REPLY for _ in range(10))
    assert broken == 2  # 6 bytes at 12 times the rate, 4 per mille each


def test_an_adapter_with_a_timer_hands_over_late() -> None:
    with PtyLine([relay()]) as line, port(line, 115200) as opened:
        line.set_fault("latency")
        time.sleep(GAP_S)
        began = time.perf_counter()
        assert ask(opened) == REPLY
        assert time.perf_counter() - began >= 0.016


def test_boards_in_step_are_one_until_they_differ() -> None:
    boards = [make_board("waveshare-rtu-io-8ch", 1) for _ in range(2)]
    read = frames.rtu(1, bytes.fromhex("0200000008"))
    with PtyLine(boards) as line, port(line, 115200) as opened:
        line.set_fault("in_step")
        assert frames.open_rtu(ask(opened, read))
        boards[0].set_input(0, True, 0)
        assert frames.open_rtu(ask(opened, read)) is None


def test_a_board_in_its_text_protocol_answers_text() -> None:
    with PtyLine([make_board("adam-4150", 1)]) as line, port(line, 9600) as opened:
        assert ask(opened, b"$01M\r", 8) == b"!014150\r"
        assert ask_briefly(opened) == b""
