"""Pins what the transcripts of the later makes leave out: counts under way, power, sensors."""

import pytest

from adapters.simulator.advantech import Adam4168
from adapters.simulator.boards import Board
from adapters.simulator.climate import Md02, Shtc3, XyMd02
from adapters.simulator.eletechsup import EletechsupN4d3e16
from adapters.simulator.models import MODELS, make_board
from adapters.simulator.sonar import Urm14
from adapters.simulator.waveshare import LINKAGE, WaveshareRelayD
from adapters.simulator.wellpro import Wp8025


def ask(board: Board, text: str, now: int = 0) -> str:
    reply = board.handle(bytes.fromhex(text), now)
    assert reply is not None
    return reply.hex()


def pulsing(high: int, low: int = 0) -> Adam4168:
    """An ADAM-4168 whose relay 0 pulses; times in tenths of a millisecond."""
    board = Adam4168()
    board.install()
    ask(board, "06 00 40 00 01")
    ask(board, f"10 00 00 00 02 04 {low:04X} 00 00")
    ask(board, f"10 00 10 00 02 04 {high:04X} 00 00")
    return board


def edges(board: Board, until: int) -> list[tuple[int, bool]]:
    board.advance(until)
    return [(change.at_ms, change.on) for change in board.drain()]


def test_incremental_counts_add_to_pulses_under_way() -> None:
    board = pulsing(1000, 500)
    ask(board, "10 00 20 00 02 04 00 01 00 00")
    ask(board, "10 00 30 00 02 04 00 01 00 00", 50)
    assert edges(board, 9000) == [(0, True), (100, False), (150, True), (250, False)]


def test_an_incremental_count_of_nothing_starts_nothing_and_endless_stays_endless() -> None:
    board = pulsing(1000, 1000)
    ask(board, "10 00 30 00 02 04 00 00 00 00")
    assert edges(board, 1000) == []
    ask(board, "10 00 20 00 02 04 00 00 00 00", 1000)
    ask(board, "10 00 30 00 02 04 00 01 00 00", 1050)
    assert len(edges(board, 3000)) == 21
    board.power_off(3000)
    board.power_on(3000)
    assert edges(board, 9000) == [(3000, False)]


def test_no_high_time_is_no_pulse_and_a_part_of_a_millisecond_is_one() -> None:
    board = pulsing(0)
    ask(board, "10 00 20 00 02 04 00 01 00 00")
    assert edges(board, 1000) == []
    board = pulsing(1)
    ask(board, "10 00 20 00 02 04 00 01 00 00")
    assert edges(board, 1000) == [(0, True), (1, False)]


def test_the_wrong_word_order_would_last_for_hours() -> None:
    """Why the profile's note asks for a first pulse with the cable pulled."""
    board = pulsing(0)
    ask(board, "10 00 10 00 02 04 00 00 0F A0")
    ask(board, "10 00 20 00 02 04 00 01 00 00")
    assert edges(board, 7 * 3_600_000) == [(0, True)]
    ask(board, "05 00 10 00 00", 7 * 3_600_000)
    assert not any(board.outputs(7 * 3_600_000))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b"$01M\r", b"!014168\r"),
        (b"$01M", None),
        (b"\r", None),
        (b"", None),
        (b"\xff01M\r", None),
        (b"#01\r", b"?01\r"),
        (b"$1M\r", None),
    ],
)
def test_ascii_is_answered_in_form(text: bytes, answer: bytes | None) -> None:
    assert Adam4168().hear_ascii(text) == answer


def test_without_power_nothing_is_said_and_only_an_adam_knows_ascii() -> None:
    board = Adam4168()
    board.power_off(0)
    assert board.hear_ascii(b"$01M\r") is None
    for model in set(MODELS) - {"adam-4150", "adam-4168"}:
        assert make_board(model).hear_ascii(b"$01M\r") is None


def test_a_relay_d_is_in_linkage_until_told_otherwise_also_after_a_restart() -> None:
    board = WaveshareRelayD()
    assert set(board.modes) == {LINKAGE}
    board.set_input(5, True, 0)
    board.power_on(10)
    assert [n for n, on in enumerate(board.outputs(10)) if on] == [5]


def test_a_delayed_output_of_an_n4d3e16_can_be_taken_back() -> None:
    board = EletechsupN4d3e16()
    ask(board, "06 00 01 02 00")
    ask(board, "06 00 01 00 00", 500)
    assert edges(board, 5000) == []


@pytest.mark.parametrize(
    ("board", "read"),
    [
        (XyMd02(), "04 00 01 00 02"),
        (Md02(), "04 00 01 00 02"),
        (Shtc3(), "03 00 00 00 02"),
    ],
)
def test_a_broken_sensor_says_ffff(board: XyMd02 | Shtc3, read: str) -> None:
    assert "ffffffff" not in ask(board, read)
    board.broken = True
    assert ask(board, read).endswith("04ffffffff")


def test_below_zero_and_the_scale_of_a_clone() -> None:
    board = XyMd02()
    board.temperature_decidegree = -105
    assert ask(board, "04 00 01 00 01") == "0402ff97"
    assert not board.clone
    board.clone = True
    assert ask(board, "04 00 01 00 01") == "0402fbe6"


def test_a_wellpro_and_a_sonar_keep_their_rate_over_a_restart_when_it_was_not_changed() -> None:
    for board in (Wp8025(3, baud=38400), Urm14(3, baud=9600), Wp8025(3, baud=115200)):
        rate = board.baud
        board.power_on(0)
        assert (board.unit, board.baud) == (3, rate)


def test_device_identification_begins_again_at_an_unknown_object_and_refuses_what_it_is_not() -> (
    None
):
    board = make_board("moxa-e1214")
    whole = ask(board, "2B 0E 01 00")
    assert ask(board, "2B 0E 01 80") == whole
    assert bytes.fromhex(whole)[7:].startswith(b"\x00\x04MOXA\x01\x0dioLogik E1214")
    assert ask(board, "2B 0E 01 02").startswith("2b0e01810000010204")
    assert ask(board, "2B 0E 02 00") == "ab03"
    assert ask(board, "2B 0E 01") == "ab03"
    assert ask(make_board("waveshare-rtu-relay-8"), "2B 0E 01 00") == "ab01"
