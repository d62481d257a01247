"""When to dial again, and how long a quiet link lives. Policy only: time and dice come in.

A link that dies is dialled after a random part of a time that doubles (full jitter: a thousand
gateways that lost their hub together must not come back together). After three attempts that
brought nothing there are at most four an hour, because a metered link pays for each; they are
spread over it, so that a link that is back is found within twenty minutes. Progress forgets them,
and something urgent does not wait for the next one.
"""

from collections.abc import Callable
from typing import Final

Dice = Callable[[int], int]
"""dice(n) is a random number from 0 to n - 1."""

FIRST_MS: Final = 1_000
MOST_MS: Final = 900_000
URGENT_MS: Final = 30_000
FREE: Final = 3
AN_HOUR: Final = 4
HOUR_MS: Final = 3_600_000
SPREAD_MS: Final = 300_000
"""So much later each comes at random: gateways that were refused together do not stay together."""

IDLE_START_MS: Final = 240_000
IDLE_LEAST_MS: Final = 15_000
IDLE_MOST_MS: Final = 3_600_000


class Redial:
    """When to try again. One for each peer; `idle` is what was learned of the way to it."""

    def __init__(self, dice: Dice) -> None:
        self.idle = IdleTime()
        self._dice = dice
        self._fruitless = 0
        self._last_ms = 0

    def tried(self, now_ms: int, *, progress: bool) -> None:
        """Note how an attempt (dialled or carried) ended that began at `now_ms`."""
        self._last_ms = now_ms
        self._fruitless = 0 if progress else self._fruitless + 1

    def wait_ms(self, now_ms: int, *, urgent: bool = False) -> int:
        """Return how long to wait from now on; ask again when something urgent has come."""
        most = URGENT_MS if urgent else MOST_MS
        wait = self._dice(min(FIRST_MS << min(self._fruitless, 20), most) + 1)
        if urgent or self._fruitless <= FREE:
            return wait
        apart = HOUR_MS // AN_HOUR + self._dice(SPREAD_MS)
        return max(wait, self._last_ms + apart - now_ms)


class IdleTime:
    """How long nothing may pass before a ping has to keep the way open (NAT, proxies)."""

    def __init__(self) -> None:
        self.ms = IDLE_START_MS
        self._most_ms = IDLE_MOST_MS

    def survived(self) -> None:
        """A ping after so long a silence was answered: try longer."""
        self.ms = min(self.ms * 2, self._most_ms)

    def died(self) -> None:
        """It was not: ping sooner, and do not try this long again."""
        self._most_ms = max(self.ms // 2, IDLE_LEAST_MS)
        self.ms = self._most_ms
