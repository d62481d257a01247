"""Pins the mechanics of one compartment: coil, latch, spring, switch, hands, and every fault."""

import pytest

from adapters.simulator.door import DOOR_FAULTS, Door
from adapters.simulator.errors import ActionRefused
from adapters.simulator.wiring import CompartmentSpec

SPEC = CompartmentSpec(
    number=7, lock="r:0", door="i:0", min_pulse_ms=60, open_ms=120, bounce_ms=20, parcel=True
)


def pulse(door: Door, at: int, ms: int = 400) -> None:
    door.coil(True, at)
    door.advance(at + ms)
    door.coil(False, at + ms)
    door.advance(at + 2000)


def broken(fault: str, value: int | None = None) -> Door:
    door = Door(SPEC)
    door.faults[fault] = DOOR_FAULTS[fault][0] if value is None else value
    return door


def test_coil_long_enough_opens_by_the_spring() -> None:
    door = Door(SPEC)
    door.coil(True, 0)
    assert door.next_at() == 60
    door.advance(179)
    assert door.locked is False
    assert door.openings == []
    door.advance(180)
    assert door.is_open
    assert door.openings == [(180, "pulse")]


def test_pulse_too_short_does_nothing() -> None:
    door = Door(SPEC)
    pulse(door, 0, ms=59)
    assert door.locked
    assert door.openings_total == 0


def test_current_gone_while_the_spring_works_still_opens() -> None:
    door = Door(SPEC)
    pulse(door, 0, ms=61)
    assert door.is_open


def test_door_stays_open_until_somebody_shuts_it_and_then_is_locked() -> None:
    door = Door(SPEC)
    pulse(door, 0)
    door.advance(10**6)
    assert door.is_open
    door.close(10**6)
    assert door.locked
    assert door.pull(10**6 + 1) is False
    door.close(10**6 + 2)
    assert door.locked


def test_shut_against_a_coil_that_is_on_opens_again() -> None:
    door = Door(SPEC)
    door.coil(True, 0)
    door.advance(300)
    door.close(300)
    assert not door.latched
    door.advance(420)
    assert door.openings_total == 2


def test_switch_chatters_and_then_tells_the_truth() -> None:
    door = broken("bounce", 80)
    door.force(0)
    seen = [door.shows_open]
    for at in (20, 40, 60, 80):
        door.advance(at)
        seen.append(door.shows_open)
    assert seen == [True, False, True, False, True]
    assert door.next_at() is None


def test_no_bounce_is_one_clean_change() -> None:
    door = broken("bounce", 0)
    door.force(5)
    assert door.shows_open
    assert door.next_at() is None


def test_forced_door_is_open_without_a_pulse() -> None:
    door = Door(SPEC)
    door.force(10)
    door.force(11)
    assert door.openings == [(10, "forced")]


def test_slammed_door_touches_the_frame_and_comes_back() -> None:
    door = Door(SPEC)
    door.slam(0)
    assert door.locked, "a shut door cannot be slammed"
    door.force(0)
    door.slam(1000)
    door.advance(1030)
    assert not door.is_open
    assert not door.shows_open
    door.coil(True, 1040)
    door.coil(False, 1041)
    door.advance(1200)
    assert [opening.cause for opening in door.openings] == ["forced", "rebound"]
    assert door.shows_open


def test_slammed_door_that_is_held_latches() -> None:
    door = Door(SPEC)
    door.force(0)
    door.slam(1000)
    door.close(1010)
    door.advance(9000)
    assert door.locked
    assert door.openings_total == 1


def test_sticky_door_opens_at_the_third_pulse() -> None:
    door = broken("sticky")
    pulse(door, 0)
    pulse(door, 5000)
    assert door.locked
    pulse(door, 10000)
    assert door.is_open


def test_sticky_from_the_bank_file() -> None:
    door = Door(CompartmentSpec(number=1, lock="r:0", door="i:0", sticky=2))
    pulse(door, 0)
    assert door.locked
    pulse(door, 5000)
    assert door.is_open


def test_sticky_door_gives_way_to_a_pull_while_the_coil_is_on() -> None:
    door = broken("sticky")
    door.coil(True, 0)
    door.advance(100)
    assert door.pull(100)
    assert door.openings == [(100, "pulse")]


def test_pull_that_holds_opens_the_moment_the_latch_lets_go() -> None:
    door = broken("sticky")
    assert door.pull(0, hold_ms=1000) is False
    door.coil(True, 500)
    door.advance(560)
    assert door.openings == [(560, "pulse")]


def test_jammed_door_opens_for_nobody_until_freed() -> None:
    door = broken("jam")
    pulse(door, 0)
    door.coil(True, 3000)
    door.advance(3100)
    assert door.pull(3100) is False
    door.coil(False, 3200)
    assert door.locked
    del door.faults["jam"]
    pulse(door, 6000)
    assert door.is_open


def test_open_circuit_coil_never_lets_go() -> None:
    door = broken("coil_open")
    pulse(door, 0)
    assert door.locked
    door.force(5000)
    door.coil(True, 6000)
    door.close(6001)
    door.advance(9000)
    assert not door.is_open


def test_weak_supply_needs_longer() -> None:
    door = broken("weak_supply", 600)
    pulse(door, 0, ms=500)
    assert door.locked
    pulse(door, 5000, ms=700)
    assert door.is_open


@pytest.mark.parametrize(
    ("fault", "when_shut", "when_open"),
    [("switch_stuck_open", True, True), ("switch_stuck_closed", False, False)],
)
def test_stuck_switch(fault: str, when_shut: bool, when_open: bool) -> None:
    door = broken(fault)
    assert door.shows_open is when_shut
    door.force(0)
    door.advance(1000)
    assert door.shows_open is when_open


def test_door_falls_shut_and_locks_by_itself() -> None:
    door = broken("falls_shut", 2000)
    door.force(0)
    door.advance(1999)
    assert door.is_open
    door.advance(2000)
    assert door.locked


@pytest.mark.parametrize(("fault", "shown"), [("sensor_always", True), ("sensor_blind", False)])
def test_lying_occupancy_sensor(fault: str, shown: bool) -> None:
    door = broken(fault)
    assert door.shows_occupied is shown
    door.force(0)
    door.take(1)
    assert door.shows_occupied is shown


def test_hands_reach_in_only_through_an_open_door() -> None:
    door = Door(SPEC)
    for act in (door.put, door.take):
        with pytest.raises(ActionRefused, match=r"bank\.door_closed"):
            act(0)
    door.force(0)
    with pytest.raises(ActionRefused, match=r"bank\.occupied"):
        door.put(1)
    door.take(1)
    assert not door.shows_occupied
    with pytest.raises(ActionRefused, match=r"bank\.empty"):
        door.take(2)
    door.put(3)
    assert door.shows_occupied


def test_openings_are_kept_in_bounds() -> None:
    door = Door(SPEC)
    for at in range(1100):
        door.force(at * 10)
        door.close(at * 10 + 5)
    assert door.openings_total == 1100
    assert len(door.openings) == 1000
    assert door.openings[-1].at_ms == 10990


def test_a_lock_that_locks_with_current_opens_when_it_goes() -> None:
    door = broken("energise_to_lock")
    locked = [door.locked]
    door.coil(True, 0)
    door.advance(300)
    assert [*locked, door.locked] == [False, True]
    assert door.pull(300) is False
    door.coil(False, 400)
    door.advance(519)
    assert door.openings_total == 0
    door.advance(520)
    assert door.openings == [(520, "pulse")]


def test_such_a_door_opens_later_the_longer_the_pulse() -> None:
    opened = []
    for ms in (200, 600):
        door = broken("energise_to_lock")
        pulse(door, 0, ms)
        opened.append(door.openings[0].at_ms)
    assert opened == [320, 720]


def test_such_a_door_stays_shut_without_current_until_somebody_pulls() -> None:
    door = broken("energise_to_lock")
    pulse(door, 0)
    door.close(3000)
    door.advance(5000)
    assert not door.is_open
    assert not door.locked
    assert door.pull(5000)


def test_such_a_door_shut_under_current_is_held() -> None:
    door = broken("energise_to_lock")
    pulse(door, 0)
    door.coil(True, 3000)
    door.close(3100)
    door.advance(3500)
    assert door.locked


def test_such_a_door_with_a_broken_coil_never_moves() -> None:
    door = broken("energise_to_lock")
    door.faults["coil_open"] = 1
    pulse(door, 0)
    assert door.openings_total == 0
