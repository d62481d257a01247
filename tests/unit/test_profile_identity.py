"""Pins that each profile knows its own simulated board from every other, and how it is numbered."""

import pytest

from adapters import plan
from adapters.profile import Probe, Profile
from adapters.profiles import load, names
from adapters.simulator.boards import Board
from adapters.simulator.models import make_board

UNIT = 9
ALIKE = {frozenset({"waveshare-rtu-io-8ch", "waveshare-rtu-relay-d"})}  # only the label tells


def board_of(name: str) -> Board:
    return make_board(name, UNIT, installed=True)


def asked(board: Board, probe: Probe) -> tuple[int, ...] | None:
    """The values the board answers, or None: refused."""
    request = bytes((probe.function,)) + probe.address.to_bytes(2) + probe.count.to_bytes(2)
    reply = board.handle(request, 0)
    assert reply is not None
    if reply[0] & 0x80:
        return None
    data = reply[2:]
    if probe.function in {1, 2}:
        return tuple(data[n // 8] >> n % 8 & 1 for n in range(probe.count))
    return tuple(int.from_bytes(data[n : n + 2]) for n in range(0, len(data), 2))


def holds(board: Board, probe: Probe) -> bool:
    values = asked(board, probe)
    if values is None or probe.answer == "refused":
        return (values is None) == (probe.answer == "refused")
    if probe.unit and values[0] != board.unit:
        return False
    bounds = probe.between or ((0, 0xFFFF),) * probe.count
    return all(low <= value <= high for value, (low, high) in zip(values, bounds, strict=True))


@pytest.mark.parametrize("name", names())
def test_every_probe_holds_on_the_board_it_is_about(name: str) -> None:
    board = board_of(name)
    assert len(load(name).identity) >= 3
    assert [probe.name for probe in load(name).identity if not holds(board, probe)] == []


@pytest.mark.parametrize("name", names())
def test_another_board_fails_at_least_one_probe(name: str) -> None:
    for other in set(names()) - {name}:
        told = not all(holds(board_of(other), probe) for probe in load(name).identity)
        assert told != (frozenset({name, other}) in ALIKE), f"{name} and {other}"


@pytest.mark.parametrize("name", names())
def test_a_scan_of_all_probes_changes_nothing(name: str) -> None:
    board = board_of(name)
    before = dict(board.memory)
    for other in names():
        for probe in load(other).identity:
            asked(board, probe)
    assert (board.memory, board.drain(), board.unit) == (before, [], UNIT)


def set_by(profile: Profile, address: int, value: int) -> bytes:
    """The one commission write that puts this value into this register, as a request."""
    written = [
        write
        for write in plan.commission_writes(profile)
        if (write.address, write.values) == (address, (value,))
    ]
    assert len(written) == 1
    assert written[0].function == 6
    return bytes((6,)) + address.to_bytes(2) + value.to_bytes(2)


NUMBERED = [name for name in names() if (c := load(name).commission) and c.unit]


def test_these_are_numbered_by_a_register_and_the_others_by_hand() -> None:
    assert [
        "md02",
        "urm14",
        *(f"waveshare-rtu-{kind}" for kind in ("io-8ch", "relay-16", "relay-32", "relay-8")),
        "waveshare-rtu-relay-d",
        *(f"wellpro-wp802{n}" for n in (5, 6, 7, 8)),
        "wirenboard-wb-mr6c-v3",
        "xy-md02",
    ] == NUMBERED
    for name in set(names()) - set(NUMBERED):
        commission = load(name).commission
        assert commission is not None
        assert commission.by_hand
        assert plan.commission_writes(load(name)) == frozenset()


@pytest.mark.parametrize("name", NUMBERED)
def test_a_board_takes_its_number_and_its_rate_when_the_profile_says(name: str) -> None:
    profile = load(name)
    board, commission = board_of(name), profile.commission
    assert commission is not None
    assert commission.unit is not None
    assert commission.rate is not None
    rate, code = commission.rate.rates[-1], commission.rate.codes[-1]
    for address, value in ((commission.rate.address, code), (commission.unit.address, 33)):
        request = set_by(profile, address, value)
        assert board.handle(request, 0) == request
    assert (board.unit == 33) == (commission.applies == "at_once")
    if commission.applies == "after_restart":
        assert (board.unit, board.baud) == (UNIT, None)
        board.power_on(0)
    assert (board.unit, board.baud) == (33, rate)
    probe = next(probe for probe in profile.identity if probe.unit)
    assert asked(board, probe) == (33,)


@pytest.mark.parametrize("name", NUMBERED)
def test_every_number_and_rate_the_profile_may_write_is_taken(name: str) -> None:
    profile = load(name)
    for write in plan.commission_writes(profile):
        request = bytes((write.function,)) + write.address.to_bytes(2) + write.values[0].to_bytes(2)
        assert board_of(name).handle(request, 0) == request
