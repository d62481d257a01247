"""Pins who goes next on a line, and the pauses: silence, quiet, rest, back-off."""

import pytest

from adapters.pace import (
    LOST_AFTER_US,
    PROBE_LAST_US,
    QUIET_US,
    Pace,
    Priority,
    Queue,
    Turn,
    UnitTiming,
    character_us,
    silence_us,
)

POLL, ACTUATE, RELEASE = Priority.POLL, Priority.ACTUATE, Priority.RELEASE


@pytest.mark.parametrize(
    ("baud", "bits", "silence"),
    [(9600, 10, 3646), (9600, 11, 4011), (19200, 10, 1823), (19201, 10, 1750), (115200, 10, 1750)],
)
def test_silence_is_three_and_a_half_characters(baud: int, bits: int, silence: int) -> None:
    assert silence_us(baud, bits) == silence


def test_a_character_at_9600() -> None:
    assert character_us(9600, 10) == 1042


def test_the_line_is_free_after_the_silence() -> None:
    pace = Pace(100)
    pace.occupied_until(1000)
    assert pace.free_us == 1100
    pace.occupied_until(500)
    assert pace.free_us == 1100


def test_after_silence_nothing_goes_to_that_unit_until_its_late_answer_cannot_come() -> None:
    pace = Pace(0)
    pace.silent(7, 1000)
    assert pace.unit_free_us(7, POLL) == 1000 + QUIET_US
    assert pace.unit_free_us(7, ACTUATE) == 1000 + QUIET_US
    assert pace.unit_free_us(8, POLL) == 0


def test_switching_off_waits_for_nothing() -> None:
    pace = Pace(0)
    pace.silent(7, 1000)
    assert pace.unit_free_us(7, RELEASE) == 0


def test_gaps_of_a_unit_after_answers_and_after_pulses() -> None:
    pace = Pace(0)
    pace.unit(1).timing = UnitTiming(gap_us=10, after_actuation_us=300)
    pace.answered(1, POLL, 1000)
    assert pace.unit_free_us(1, ACTUATE) == 1010
    pace.answered(1, ACTUATE, 2000)
    assert pace.unit_free_us(1, POLL) == 2010
    assert pace.unit_free_us(1, ACTUATE) == 2300


def test_a_unit_is_lost_after_two_silences_and_three_seconds() -> None:
    pace = Pace(0)
    pace.silent(1, 0)
    pace.silent(1, LOST_AFTER_US - 1)
    assert not pace.unit(1).lost
    pace.silent(1, LOST_AFTER_US)
    assert pace.unit(1).lost
    slow = Pace(0)
    slow.silent(1, 0)
    assert not slow.unit(1).lost


def test_probes_of_a_lost_unit_grow_apart_to_ten_seconds_and_door_commands_may_always_try() -> None:
    pace = Pace(0)
    now, waits = 0, []
    pace.silent(1, 0)
    assert pace.wait_for_probe_us(1, POLL, 0) == 0
    now = LOST_AFTER_US
    for _ in range(7):
        pace.silent(1, now)
        wait = pace.wait_for_probe_us(1, POLL, now)
        waits.append(wait)
        assert pace.wait_for_probe_us(1, ACTUATE, now) == 0
        now += wait
        assert pace.wait_for_probe_us(1, POLL, now) == 0
    grown = [500_000, 1_000_000, 2_000_000, 4_000_000, 8_000_000]
    assert waits == [*grown, PROBE_LAST_US, PROBE_LAST_US]


def test_an_answer_makes_the_unit_well_and_counts_its_return() -> None:
    pace = Pace(0)
    for now in (0, LOST_AFTER_US, 2 * LOST_AFTER_US):
        pace.silent(1, now)
    assert pace.unit(1).lost
    pace.answered(1, POLL, 3 * LOST_AFTER_US)
    state = pace.unit(1)
    assert (state.lost, state.silences, state.returns) == (False, 0, 1)
    pace.answered(1, POLL, 3 * LOST_AFTER_US)
    assert state.returns == 1


def test_a_silent_unit_is_asked_shortly_unless_a_late_answer_shows_it_slow() -> None:
    pace = Pace(0)
    pace.stirred(1)  # nobody we know
    pace.unit(1).timing = UnitTiming(response_us=200, probe_us=80)
    pace.stirred(1)  # nothing is owed: noise
    assert pace.timeout_us(1, POLL) == 200
    pace.silent(1, 0)
    assert (pace.timeout_us(1, POLL), pace.timeout_us(1, ACTUATE)) == (80, 200)
    pace.stirred(1)
    assert pace.timeout_us(1, POLL) == 200
    pace.answered(1, POLL, 1)
    pace.silent(1, 2)
    assert pace.timeout_us(1, POLL) == 80


def queue(*turns: tuple[int, Priority, int]) -> Queue[str]:
    made: Queue[str] = Queue(places=4, door_places=2)
    for unit, priority, deadline in turns:
        assert made.add(Turn(unit, priority, deadline, f"{unit}/{priority.name}/{deadline}"))
    return made


def taken(made: Queue[str], pace: Pace, now: int = 0) -> list[str]:
    found = []
    while (turn := made.take(pace, now)) is not None:
        found.append(turn.job)
    return found


def test_class_before_deadline_before_arrival() -> None:
    made = queue((1, POLL, 5), (2, POLL, 3), (3, ACTUATE, 99), (4, RELEASE, 99), (5, POLL, 3))
    assert taken(made, Pace(0)) == [
        "4/RELEASE/99",
        "3/ACTUATE/99",
        "2/POLL/3",
        "5/POLL/3",
        "1/POLL/5",
    ]


def test_a_quiet_unit_is_passed_over_and_comes_when_it_may() -> None:
    pace = Pace(0)
    pace.silent(1, 0)
    made = queue((1, ACTUATE, 10**9), (2, POLL, 10**9))
    assert taken(made, pace) == [f"2/POLL/{10**9}"]
    assert made.wake_us(pace) == QUIET_US
    assert taken(made, pace, QUIET_US) == [f"1/ACTUATE/{10**9}"]
    assert made.wake_us(pace) is None


def test_what_is_late_is_taken_out_and_wakes_the_owner() -> None:
    pace = Pace(0)
    pace.silent(1, 0)
    made = queue((1, POLL, 50), (1, POLL, 90))
    assert made.wake_us(pace) == 51
    assert made.take_late(50) == []
    assert [turn.job for turn in made.take_late(51)] == ["1/POLL/50"]
    assert len(made) == 1


def test_polls_to_a_lost_unit_are_taken_out_and_others_stay() -> None:
    pace = Pace(0)
    for now in (0, LOST_AFTER_US, LOST_AFTER_US):
        pace.silent(1, now)
    made = queue((1, POLL, 10**9), (1, ACTUATE, 10**9), (2, POLL, 10**9))
    assert [turn.job for turn in made.take_lost(pace, LOST_AFTER_US)] == [f"1/POLL/{10**9}"]
    assert made.take_lost(pace, LOST_AFTER_US) == []
    assert len(made.take_all()) == 2
    assert len(made) == 0


def test_polls_cannot_take_the_places_of_door_commands() -> None:
    made = queue(*((n, POLL, 9) for n in range(4)))
    assert not made.add(Turn(9, POLL, 9, "x"))
    assert made.add(Turn(9, ACTUATE, 9, "x"))
    assert made.add(Turn(9, ACTUATE, 9, "x"))
    assert not made.add(Turn(9, ACTUATE, 9, "x"))


def test_switching_off_has_places_that_no_door_command_can_take() -> None:
    made = queue((1, ACTUATE, 9), (2, ACTUATE, 9))
    assert made.add(Turn(9, RELEASE, 9, "x"))
    assert made.add(Turn(9, RELEASE, 9, "x"))
    assert not made.add(Turn(9, RELEASE, 9, "x"))
