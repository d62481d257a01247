"""Pins when a dead link is dialled again, and how the way's idle time is learned."""

import itertools

from sync.redial import (
    AN_HOUR,
    FREE,
    HOUR_MS,
    IDLE_LEAST_MS,
    IDLE_MOST_MS,
    IDLE_START_MS,
    MOST_MS,
    URGENT_MS,
    IdleTime,
    Redial,
)


def highest(faces: int) -> int:
    return faces - 1


def attempts_in(redial: Redial, span_ms: int, *, urgent: bool = False) -> list[int]:
    """Dial, fail at once, wait as told; return when."""
    at, times = 0, []
    while at < span_ms:
        times.append(at)
        redial.tried(at, progress=False)
        at += max(redial.wait_ms(at, urgent=urgent), 1)
    return times


def test_after_three_attempts_without_progress_there_are_four_an_hour() -> None:
    for dice in (highest, lambda _: 0):
        times = attempts_in(Redial(dice), 5 * HOUR_MS)
        for at in times[FREE:]:
            assert len([one for one in times[FREE:] if at <= one < at + HOUR_MS]) <= AN_HOUR
        assert len(times) >= FREE + AN_HOUR


def test_a_link_that_is_back_is_found_within_twenty_minutes_however_long_it_was_away() -> None:
    for dice in (highest, lambda _: 0):
        times = attempts_in(Redial(dice), 30 * HOUR_MS)
        assert max(b - a for a, b in itertools.pairwise(times)) <= 20 * 60_000
        redial = Redial(dice)
        attempts_in(redial, HOUR_MS)
        redial.tried(2 * HOUR_MS, progress=False)
        assert redial.wait_ms(3 * HOUR_MS) <= MOST_MS, "a link that lived an hour has waited enough"


def test_the_wait_is_a_random_part_of_a_time_that_doubles_up_to_a_bound() -> None:
    redial = Redial(highest)
    waits = []
    for at in range(3):
        redial.tried(at, progress=False)
        waits.append(redial.wait_ms(at))
    assert waits == [2_000, 4_000, 8_000]
    for at in range(40):
        redial.tried(at * HOUR_MS, progress=False)
    assert redial.wait_ms(40 * HOUR_MS) == MOST_MS


def test_something_urgent_does_not_wait_for_the_hour() -> None:
    times = attempts_in(Redial(highest), HOUR_MS, urgent=True)
    assert max(b - a for a, b in itertools.pairwise(times)) <= URGENT_MS
    assert len(times) > 50


def test_progress_forgets_the_failures() -> None:
    redial = Redial(highest)
    attempts_in(redial, HOUR_MS)
    redial.tried(HOUR_MS, progress=True)
    assert redial.wait_ms(HOUR_MS) == 1_000


def test_the_idle_time_doubles_while_it_survives_and_halves_when_it_dies() -> None:
    idle = IdleTime()
    assert idle.ms == IDLE_START_MS
    idle.survived()
    assert idle.ms == 2 * IDLE_START_MS
    idle.died()
    assert idle.ms == IDLE_START_MS
    idle.survived()
    assert idle.ms == IDLE_START_MS, "what killed the link is not tried again"
    for _ in range(20):
        idle.died()
    assert idle.ms == IDLE_LEAST_MS
    fresh = IdleTime()
    for _ in range(20):
        fresh.survived()
    assert fresh.ms == IDLE_MOST_MS
