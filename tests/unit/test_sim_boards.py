"""Pins what the transcripts leave out: malformed requests, power, modes, broadcast, restarts."""

import pytest

from adapters.simulator.boards import Board, Change, Contacts
from adapters.simulator.models import MODELS, make_board
from adapters.simulator.moxa import MoxaE1210, MoxaE1214
from adapters.simulator.waveshare import WaveshareRelay8
from adapters.simulator.wirenboard import WirenBoardMr6c


def ask(board: Board, text: str, now: int = 0, unit: int | None = None) -> str | None:
    reply = board.hear(board.unit if unit is None else unit, bytes.fromhex(text), now)
    return None if reply is None else reply[1].hex()


@pytest.mark.parametrize("model", sorted(MODELS))
def test_silent_on_nothing_and_exception_one_on_the_unknown(model: str) -> None:
    board = make_board(model, installed=True)
    assert board.handle(b"", 0) is None
    assert board.hear(0, b"", 0) is None
    assert ask(board, "41 00") == "c101"


@pytest.mark.parametrize(
    "text",
    [
        "01 00 00 00",  # too short
        "01 00 00 00 00",  # none
        "01 00 00 07 D1",  # 2001 bits
        "03 40 00 00 7E",  # 126 words
        "05 00 00 FF",
        "0F 00 00",
        "0F 00 00 00 08 02 FF",
        "0F 00 00 00 08 01 FF FF",
        "0F 00 00 00 00 00",
        "10 10 00 00 01 01 00",
        "06 40 00 01 00",
    ],
)
def test_malformed_request_is_exception_three(text: str) -> None:
    board = make_board("waveshare-rtu-io-8ch")
    assert (ask(board, text) or "")[2:] == "03"


def test_refused_write_many_changes_nothing() -> None:
    board = make_board("waveshare-rtu-relay-8")
    assert ask(board, "0F 00 04 00 08 01 FF") == "8f02"
    assert ask(board, "0F 02 00 00 08 01 FF") == "8f02", "no write-many to the timed coils"
    assert not any(board.outputs(0))


def test_v3_firmware_toggles() -> None:
    board = WaveshareRelay8(1, version=300)
    ask(board, "05 01 03 FF 00")
    assert board.outputs(0)[3]
    ask(board, "05 01 FF FF 00")
    assert board.outputs(0) == tuple(channel != 3 for channel in range(8))


def test_uart_register_moves_the_board_to_another_rate() -> None:
    board = make_board("waveshare-rtu-relay-8", 1, baud=19200)
    assert ask(board, "03 20 00 00 01") == "03020002"
    ask(board, "06 20 00 00 05")
    assert board.baud == 115200
    odd = make_board("waveshare-rtu-relay-8", 1, baud=12345)
    assert ask(odd, "03 20 00 00 01") == "03020001"


def test_linkage_ignores_writes_pulses_and_survives_power() -> None:
    board = make_board("waveshare-rtu-io-8ch")
    ask(board, "06 10 00 00 01")
    ask(board, "05 00 00 FF 00")
    ask(board, "05 02 00 00 05")
    assert not any(board.outputs(0))
    board.set_inputs([True], 1)
    board.power_off(2)
    assert not any(board.outputs(2))
    board.set_input(0, True, 3)
    board.power_on(4)
    assert board.outputs(4)[0]


def test_input_changed_without_supply_is_seen_after_it() -> None:
    board = make_board("waveshare-rtu-io-8ch")
    board.power_off(0)
    board.set_input(1, True, 1)
    board.power_on(2)
    assert ask(board, "02 00 00 00 08", 3) == "020102"


def test_broadcast_read_is_only_for_boards_that_answer_it() -> None:
    board = make_board("wirenboard-wb-mr6c-v3")
    assert ask(board, "01 00 00 00 01", unit=0) is None
    assert ask(make_board("moxa-e1211"), "05 00 00 FF 00", unit=0) is None


def test_contacts_fire_in_the_order_of_time() -> None:
    contacts = Contacts(2)
    contacts.command(0, True, 0, (30, False))
    contacts.command(1, True, 0, (20, False), (25, True))
    assert contacts.next_at() == 20
    fired = [contacts.fire(100), contacts.fire(100), contacts.fire(100), contacts.fire(100)]
    assert fired == [Change(20, 1, False), Change(25, 1, True), Change(30, 0, False), None]
    assert contacts.closed() == (False, True)
    assert len(contacts) == 2


def test_drain_gives_the_real_times_once() -> None:
    board = make_board("waveshare-rtu-relay-8")
    ask(board, "05 02 00 00 01", 10)
    board.advance(1000)
    assert board.drain() == [Change(10, 0, True), Change(110, 0, False)]
    assert board.drain() == []


def test_moxa_counts_relay_operations_of_pulses_and_forgets_pulses_at_power_off() -> None:
    board = MoxaE1214()
    ask(board, "05 00 10 FF 00", 0)
    ask(board, "01 00 10 00 01", 0)
    board.advance(6000)
    assert board.operations[0] == 3
    board.power_off(6100)
    board.power_on(6200)
    assert ask(board, "01 00 10 00 01", 6200) == "010100"
    board.advance(20000)
    assert board.operations[0] == 3


def test_moxa_inputs_start_counting_again() -> None:
    board = MoxaE1210()
    assert ask(board, "01 01 00 00 01") == "010101"
    ask(board, "05 01 00 00 00")
    ask(board, "05 01 00 FF 00")
    board.set_input(0, True, 1)
    assert board.counts[0] == 1
    assert ask(board, "01 01 20 00 01") == "010100"
    assert ask(board, "01 01 10 00 01") == "010100"


def test_r421_delay_of_zero_seconds_never_closes() -> None:
    board = make_board("eletechsup-r421")
    ask(board, "06 00 01 06 00")
    assert not any(board.outputs(0))


def wb(**registers: int) -> WirenBoardMr6c:
    board = WirenBoardMr6c()
    for address, value in registers.items():
        ask(board, f"06 {int(address[1:]):04X} {value:04X}")
    return board


def test_wb_input_press_flips_its_relay_as_it_leaves_the_factory() -> None:
    board = wb(r20=0)
    board.set_input(0, True, 10)
    assert board.outputs(10)[0]
    board.set_input(0, False, 20)
    assert board.outputs(20)[0]
    board.set_input(0, True, 30)
    assert not board.outputs(30)[0]


def test_wb_debounce_swallows_a_short_touch() -> None:
    board = wb()
    board.set_input(0, True, 0)
    assert board.next_at() == 50
    board.set_input(0, False, 40)
    board.advance(1000)
    assert ask(board, "04 00 20 00 01", 1000) == "04020000"


def test_wb_commands_ignore_zero_and_broadcast_is_obeyed() -> None:
    board = wb()
    ask(board, "05 00 6C 00 00")
    assert not board.outputs(0)[0]
    ask(board, "05 00 00 FF 00", unit=0)
    assert board.outputs(0)[0]
    assert ask(board, "01 00 64 00 01") == "010100"
    assert ask(board, "01 00 6C 00 01") == "010100"
    assert ask(board, "01 00 74 00 01") == "010100"


def test_wb_poll_loss_keeps_what_it_is_told_to_keep_and_ends_with_a_poll() -> None:
    board = wb(r8=2, r938=1)
    ask(board, "05 00 00 FF 00", 100)
    ask(board, "05 00 01 FF 00", 100)
    board.advance(3000)
    assert board.outputs(3000)[:2] == (True, False)
    assert board.safe_mode
    ask(board, "01 00 00 00 01", 3100)
    assert not board.safe_mode


@pytest.mark.parametrize(("choice", "after"), [(0, False), (1, True)])
def test_wb_power_on_state(choice: int, after: bool) -> None:
    board = wb(r6=choice)
    ask(board, "05 00 02 FF 00")
    board.power_off(10)
    board.advance(10**5)
    board.power_on(10**5)
    assert board.outputs(10**5)[2] is after
