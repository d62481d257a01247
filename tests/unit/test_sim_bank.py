"""Pins the whole cabinet in time: boards move coils, coils doors, doors inputs; and refusals."""

import json
from collections.abc import Callable

import pytest

from adapters.simulator.bank import Bank
from adapters.simulator.errors import ActionRefused
from adapters.simulator.view import bank_state
from adapters.simulator.wiring import parse, plain

WIRING = """
[[line]]
name = "l"
serial_pty = "x"
baud = 9600
[[line]]
name = "other"
tcp = "127.0.0.1:0"
[[board]]
name = "r"
line = "l"
profile = "waveshare-rtu-relay-8"
unit = 1
[[board]]
name = "i"
line = "l"
profile = "waveshare-rtu-io-8ch"
unit = 2
[[compartment]]
number = 1
lock = "r:0"
door = "i:0"
occupancy = "i:4"
parcel = true
[[compartment]]
number = 2
lock = "r:1"
door = "i:1"
door_open_is = "inactive"
occupancy = "i:5"
occupied_is = "inactive"
[[compartment]]
number = 3
lock = "i:2"
door = "i:2"
[[fault]]
board = "r"
fault = "slow"
value = 30
count = 1
[[fault]]
compartment = 2
fault = "sticky"
value = 2
[[fault]]
line = "l"
fault = "echo"
"""
PULSE = bytes.fromhex("0502000004")  # flash-on channel 0 for 400 ms
INPUTS = bytes.fromhex("0200000008")


@pytest.fixture
def bank() -> Bank:
    return Bank(parse(WIRING))


def inputs(bank: Bank, now: int) -> int:
    (answer,) = bank.request("l", 2, INPUTS, now)
    return answer.pdu[2]


def test_pulse_over_the_bus_opens_the_door_and_its_switch_says_so(bank: Bank) -> None:
    assert inputs(bank, 0) == 0b110010
    (answer,) = bank.request("l", 1, PULSE, 1000)
    assert (answer.pdu, answer.after_ms) == (PULSE, 30)
    (again,) = bank.request("l", 1, INPUTS, 1001)
    assert again.after_ms == 0, "the slowness was for one request"
    bank.advance(1180)
    assert bank.doors[1].openings == [(1180, "pulse")]
    assert inputs(bank, 1300) == 0b110011
    bank.advance(5000)
    coil = bank_state(bank)["doors"][0]
    assert (coil["pulses"], coil["max_on_ms"], coil["coil_on"]) == (1, 400, False)


def test_hands_act_at_the_present_time(bank: Bank) -> None:
    bank.advance(100)
    bank.person.force(1)
    bank.person.take(1)
    bank.advance(200)
    assert inputs(bank, 200) == 0b100011
    bank.person.put(1)
    bank.person.slam(1)
    bank.advance(2000)
    assert bank.doors[1].openings[-1].cause == "rebound"
    bank.person.close(1)
    assert bank.person.pull(1) is False
    assert bank.doors[1].locked


def test_two_doors_that_open_together_keep_their_own_times(bank: Bank) -> None:
    bank.request("l", 1, bytes.fromhex("0F0000000801FF"), 10)
    bank.advance(500)
    assert bank.doors[1].openings == [(190, "pulse")]
    assert bank.doors[2].openings == [], "sticky from the file: the first pulse does not open"


def test_linkage_fault_makes_an_opened_door_switch_an_output(bank: Bank) -> None:
    bank.inject_board("i", "linkage")
    bank.person.force(3)
    bank.advance(1000)
    # The door's own switch drives its own lock: with linkage an open door holds the coil on.
    assert bank.doors[3].coil_on
    bank.clear_board("i", "linkage")
    bank.request("l", 2, bytes.fromhex("0500020000"), 1100)
    assert not bank.doors[3].coil_on


def test_coil_statistics_count_rest_and_running_time(bank: Bank) -> None:
    on, off = bytes.fromhex("050000FF00"), bytes.fromhex("0500000000")
    for at, pdu in ((0, on), (100, off), (2100, on), (2200, off), (2700, on)):
        bank.request("l", 1, pdu, at)
    bank.advance(3700)
    told = bank_state(bank)["doors"][0]
    assert (told["pulses"], told["max_on_ms"], told["min_off_ms"]) == (3, 1000, 500)


def test_killed_board_drops_its_coils_and_is_silent_until_revived(bank: Bank) -> None:
    bank.request("l", 1, bytes.fromhex("050000FF00"), 0)
    bank.kill("r")
    assert not bank.doors[1].coil_on
    assert bank.request("l", 1, PULSE, 1) == []
    bank.revive("r", boot_ms=100)
    assert bank.request("l", 1, PULSE, 50) == []
    assert len(bank.request("l", 1, PULSE, 101)) == 1


def test_reboot_can_keep_the_last_state(bank: Bank) -> None:
    bank.request("l", 1, bytes.fromhex("050000FF00"), 0)
    bank.revive("r", keep_outputs=True)
    assert bank.doors[1].coil_on
    bank.revive("r")
    assert not bank.doors[1].coil_on


def test_switch_fault_reaches_the_board_at_once_and_leaves_at_once(bank: Bank) -> None:
    bank.inject_door(1, "switch_stuck_open")
    assert inputs(bank, 1) & 1
    bank.clear_door(1, "switch_stuck_open")
    assert not inputs(bank, 2) & 1


def test_two_boards_with_one_address_both_answer() -> None:
    text = WIRING.replace("unit = 2", "unit = 1").replace("baud = 9600", "")
    bank = Bank(parse(text))
    assert len(bank.request("l", 1, bytes.fromhex("0100000008"), 0)) == 2


def test_what_is_not_there_is_refused(bank: Bank) -> None:
    acts: list[Callable[[], None]] = [
        lambda: bank.person.close(9),
        lambda: bank.kill("none"),
        lambda: bank.inject_board("r", "nonsense"),
        lambda: bank.inject_board("r", "linkage"),
        lambda: bank.inject_door(1, "nonsense"),
        lambda: bank.set_input("r", 0, active=True),
    ]
    for act in acts:
        with pytest.raises(ActionRefused):
            act()


def test_plain_board_has_inputs_to_set_by_hand() -> None:
    bank = Bank(plain("moxa-e1210", (1, 2)))
    before = bank.version
    bank.set_input("board2", 3, active=True)
    assert bank.version > before
    assert bank_state(bank)["boards"][1]["inputs"][3] is True
    assert bank.next_at() is None


def test_state_is_json_and_bounds_the_openings(bank: Bank) -> None:
    for at in range(0, 100, 10):
        bank.advance(at)
        bank.person.force(1)
        bank.person.close(1)
    told = json.loads(json.dumps(bank_state(bank, openings=3)))
    assert len(told["doors"][0]["openings"]) == 3
    assert told["doors"][0]["openings_total"] == 10
    assert len(bank_state(bank)["doors"][0]["openings"]) == 10
    assert told["doors"][2]["shows_occupied"] is None
    assert told["boards"][0]["line"] == "l"


@pytest.mark.parametrize("step_ms", [1, 10_000])
def test_each_bounce_reaches_the_board_at_its_own_time(bank: Bank, step_ms: int) -> None:
    bank.inject_board("i", "linkage")
    bank.person.force(3)
    for now in range(0, 10_001, step_ms):
        bank.advance(now)
    # Five changes of the switch within 12 ms: on, off, on, off, on.
    told = bank_state(bank)["doors"][2]
    assert (told["pulses"], told["min_off_ms"], told["max_on_ms"]) == (3, 3, 9_988)


def test_a_board_may_have_a_rate_of_its_own() -> None:
    text = """
        [[line]]
        name = "a"
        baud = 9600
        [[board]]
        name = "one"
        line = "a"
        profile = "waveshare-rtu-relay-8"
        [[board]]
        name = "two"
        line = "a"
        profile = "waveshare-rtu-relay-8"
        unit = 2
        baud = 19200
    """
    stations = Bank(parse(text)).stations
    assert [station.board.baud for station in stations.values()] == [9600, 19200]
