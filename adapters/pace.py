"""Who may speak next on a line, and when at the earliest. Pure: every moment comes in as `now_us`.

One `Pace` a line remembers the silence between frames, and for each unit the pauses it needs, the
time in which a late answer could still come, and the back-off of a unit that does not answer. One
`Queue` a line holds what waits, ordered by (class, deadline, arrival).
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Generic, TypeVar

# After a time-out, a late answer of this unit can come for so long; until then nothing goes to it.
QUIET_US: Final = 500_000
# A unit is lost after both: two silences in a row, and this long since the first of them.
LOST_AFTER_US: Final = 3_000_000
LOST_AFTER_SILENCES: Final = 2
# A lost unit is probed at growing intervals: dear enough to notice it, cheap for the others.
PROBE_FIRST_US: Final = 500_000
PROBE_LAST_US: Final = 10_000_000
_FIXED_ABOVE_BAUD: Final = 19200

T = TypeVar("T")


class Priority(IntEnum):
    """Classes of requests, most urgent first."""

    RELEASE = 0  # coils off: before everything else
    ACTUATE = 1
    KEEPALIVE = 2
    WATCH = 3
    POLL = 4
    SENSOR = 5
    HOUSEKEEPING = 6


def character_us(baud: int, bits: int) -> int:
    """Duration of one character of `bits` bits (start, data, parity, stop), rounded up."""
    return -(-bits * 1_000_000 // baud)


def silence_us(baud: int, bits: int) -> int:
    """Silence that separates two RTU frames.

    SPEC: MODBUS over Serial Line V1.02, 2.5.1.1: 3.5 characters; 1.750 ms above 19200 baud.
    """
    return 1750 if baud > _FIXED_ABOVE_BAUD else -(-7 * bits * 1_000_000 // (2 * baud))


@dataclass(frozen=True, slots=True)
class UnitTiming:
    """What one unit needs, from its profile, in microseconds."""

    response_us: int = 200_000
    probe_us: int = 80_000
    gap_us: int = 0
    after_actuation_us: int = 0


@dataclass(slots=True)
class UnitState:
    """What is remembered of one unit."""

    timing: UnitTiming = field(default_factory=UnitTiming)
    quiet_until_us: int = 0
    rest_until_us: int = 0
    actuation_rest_until_us: int = 0
    silences: int = 0
    first_silence_us: int = 0
    slow: bool = False
    lost: bool = False
    probe_interval_us: int = PROBE_FIRST_US
    next_probe_us: int = 0
    returns: int = 0


class Pace:
    """The pauses of one line. `gap_us`: silence between two frames."""

    def __init__(self, gap_us: int) -> None:
        self.gap_us = gap_us
        self.free_us = 0
        self._units: dict[int, UnitState] = {}

    def unit(self, number: int) -> UnitState:
        """State of a unit, made at first sight (at most 256 of them)."""
        state = self._units.get(number)
        if state is None:
            state = self._units[number] = UnitState()
        return state

    def occupied_until(self, moment_us: int) -> None:
        """Note that bytes are on the line until `moment_us`; the silence starts there."""
        self.free_us = max(self.free_us, moment_us + self.gap_us)

    def unit_free_us(self, number: int, priority: Priority) -> int:
        """Earliest moment for the next request of this class to this unit.

        RELEASE does not wait: a coil that stays on is worse than an answer taken twice, and a late
        answer can only be mistaken for this one if it says the same: this coil, off.
        """
        if priority is Priority.RELEASE:
            return 0
        state = self.unit(number)
        free = max(state.quiet_until_us, state.rest_until_us)
        if priority is Priority.ACTUATE:
            free = max(free, state.actuation_rest_until_us)
        return free

    def wait_for_probe_us(self, number: int, priority: Priority, now_us: int) -> int:
        """How long a lost unit must still be left alone; 0: ask now. Door commands always may."""
        state = self.unit(number)
        if not state.lost or priority <= Priority.ACTUATE:
            return 0
        return max(0, state.next_probe_us - now_us)

    def timeout_us(self, number: int, priority: Priority) -> int:
        """How long to wait for the first byte of the answer."""
        state = self.unit(number)
        short = state.silences > 0 and not state.slow
        if short and priority > Priority.ACTUATE:
            return state.timing.probe_us
        return state.timing.response_us

    def answered(self, number: int, priority: Priority, now_us: int) -> None:
        """Note that the unit answered: it is well again."""
        state = self.unit(number)
        if state.lost:
            state.returns += 1
        state.lost = state.slow = False
        state.silences = 0
        state.probe_interval_us = PROBE_FIRST_US
        state.rest_until_us = now_us + state.timing.gap_us
        if priority is Priority.ACTUATE:
            state.actuation_rest_until_us = now_us + state.timing.after_actuation_us

    def stirred(self, number: int) -> None:
        """Note that a late answer of this unit was seen: it is slow, not dead; wait in full."""
        state = self._units.get(number)
        if state is not None and state.silences:
            state.slow = True

    def unsure(self, number: int, now_us: int) -> None:
        """Note that this unit's answer may still come."""
        self.unit(number).quiet_until_us = now_us + QUIET_US

    def silent(self, number: int, now_us: int) -> None:
        """Note that the unit did not answer: be quiet for its late answer, and back off."""
        state = self.unit(number)
        self.unsure(number, now_us)
        state.silences += 1
        if state.silences == 1:
            state.first_silence_us = now_us
        long_enough = now_us - state.first_silence_us >= LOST_AFTER_US
        if state.lost:
            state.probe_interval_us = min(2 * state.probe_interval_us, PROBE_LAST_US)
        elif state.silences >= LOST_AFTER_SILENCES and long_enough:
            state.lost = True
        state.next_probe_us = now_us + state.probe_interval_us


@dataclass(slots=True, eq=False)
class Turn(Generic[T]):
    """One request that waits. `job` is the caller's own."""

    unit: int
    priority: Priority
    deadline_us: int
    job: T
    number: int = 0


class Queue(Generic[T]):
    """What waits for one line: bounded, with places of their own for door commands, on and off.

    A list searched from end to end: it holds some ten turns, of which some are not allowed yet,
    and a heap would have to be taken apart for those.
    """

    def __init__(self, *, places: int, door_places: int) -> None:
        self._places = (door_places, door_places, places)
        self._turns: list[Turn[T]] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, turn: Turn[T]) -> bool:
        """Take the turn in, or return False when the places of its kind are all taken."""
        kind = min(turn.priority, Priority.KEEPALIVE)
        taken = sum(min(other.priority, Priority.KEEPALIVE) == kind for other in self._turns)
        if taken >= self._places[kind]:
            return False
        turn.number = self._next
        self._next += 1
        self._turns.append(turn)
        return True

    def take_late(self, now_us: int) -> list[Turn[T]]:
        """Remove and return the turns whose deadline has passed."""
        late = [turn for turn in self._turns if turn.deadline_us < now_us]
        if late:
            self._turns = [turn for turn in self._turns if turn.deadline_us >= now_us]
        return late

    def take_lost(self, pace: Pace, now_us: int) -> list[Turn[T]]:
        """Remove and return the turns to lost units whose probe is not due yet."""
        lost = [t for t in self._turns if pace.wait_for_probe_us(t.unit, t.priority, now_us)]
        if lost:
            self._turns = [turn for turn in self._turns if turn not in lost]
        return lost

    def take_all(self) -> list[Turn[T]]:
        """Remove and return everything."""
        turns, self._turns = self._turns, []
        return turns

    def take(self, pace: Pace, now_us: int) -> Turn[T] | None:
        """Remove and return the most urgent turn that may go now, or None."""
        ready = [t for t in self._turns if pace.unit_free_us(t.unit, t.priority) <= now_us]
        if not ready:
            return None
        first = min(ready, key=lambda t: (t.priority, t.deadline_us, t.number))
        self._turns.remove(first)
        return first

    def wake_us(self, pace: Pace) -> int | None:
        """Return when something changes by itself: a turn may go, or is late. None: empty."""
        return min(
            (
                min(pace.unit_free_us(turn.unit, turn.priority), turn.deadline_us + 1)
                for turn in self._turns
            ),
            default=None,
        )
