"""Virtual time: the one queue of events, and what the machine's own clocks say of it.

True milliseconds exist only here. The site reads a monotonic clock that drifts but always rises
within a start, and a wall clock that may be wrong, jump, or stand still.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from gateway.core.inputs import Now, Trust
from tests.simulation.swarm import Swarm

EPOCH_MS = 1_795_000_000_000
"""True UTC at the beginning of every history."""

YEAR_MS = 365 * 86_400_000


@dataclass(slots=True)
class Timeline:
    """Events in order of true time; of two at one moment, the earlier planned goes first."""

    now: int = 0
    _queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = field(
        default_factory=list
    )
    _planned: int = 0

    def at(self, delay: int, deed: Callable[..., None], *args: Any) -> None:
        """Plan a deed `delay` true milliseconds from now."""
        self._planned += 1
        heapq.heappush(self._queue, (self.now + max(0, delay), self._planned, deed, args))

    def next(self) -> int | None:
        """Return the moment of the next event."""
        return self._queue[0][0] if self._queue else None

    def step(self) -> None:
        """Let the next event happen."""
        self.now, _, deed, args = heapq.heappop(self._queue)
        deed(*args)


class Clocks:
    """The machine's clocks. `boot` counts starts of the gateway's process."""

    def __init__(self, time: Timeline, dice: Random, swarm: Swarm) -> None:
        self._time, self._dice, self._swarm = time, dice, swarm
        self.boot = 0
        self._since = 0
        self._mono = 0
        self._drift = dice.randint(-2_000, 2_000) if swarm.hit("clock_drift") else 0
        self._wall_offset = 0
        self._stands_at: int | None = None
        self.trust = Trust.SYNCED
        if swarm.hit("clock_wrong"):
            self._wall_offset = dice.choice((-20 * YEAR_MS, -YEAR_MS, YEAR_MS, 3_600_000))
            self.trust = dice.choice((Trust.FLOOR, Trust.DRIFTING, Trust.SYNCED))

    def start(self, *, machine: bool) -> None:
        """Begin a new start of the process; after a power cut the monotonic clock begins anew."""
        self._mono = self._dice.randint(3_000, 60_000) if machine else self.mono() + 1
        self._since = self._time.now
        self.boot += 1

    def mono(self) -> int:
        """Return the monotonic milliseconds now."""
        passed = self._time.now - self._since
        return self._mono + passed + passed * self._drift // 1_000_000

    def true_of(self, mono: int) -> int:
        """Return about when (true ms) the monotonic clock will show `mono`, not too early."""
        ahead = mono - self.mono()
        return self._time.now + ahead - ahead * self._drift // 1_000_000 + (1 if self._drift else 0)

    def wall(self) -> int:
        """Return what the wall clock shows."""
        if self._stands_at is not None:
            return self._stands_at
        return EPOCH_MS + self._time.now + self._wall_offset

    def now(self) -> Now:
        """Return the moment as the site's clock room would give it."""
        return Now(self.wall(), self.mono(), self.boot, self.trust, 50)

    def disturb(self) -> str:
        """Jump, stand still or run again; return what happened, in words."""
        if self._stands_at is not None:
            self._stands_at = None
            return "the wall clock runs again"
        if self._swarm.hit("clock_stands"):
            self._stands_at = self.wall()
            return "the wall clock stands still"
        if self._swarm.hit("clock_jump"):
            by = self._dice.choice(
                (-YEAR_MS, -86_400_000, -3_600_000, -5_000, 5_000, 3_600_000, 10 * YEAR_MS)
            )
            self._wall_offset += by
            self.trust = self._dice.choice(tuple(Trust))
            return f"the wall clock jumps by {by // 1000} s and is now {self.trust.value}"
        return ""
