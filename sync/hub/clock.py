"""The hub's one room with a clock: what time it is here, and the moment an entry is written at.

A hub keeps no counter of boots: its boot is the second in which the process started, so that a
database restored from a backup, or two processes on one database, need no file to agree on. Its
wall clock is disciplined by its machine; the sites' trust in time is their own (`gateway.clock`).
"""

import time
from collections.abc import Callable
from typing import Final

from sync.moment import Moment

ERROR_MS: Final = 1_000
"""What `time.anchored` says of a hub's clock: NTP holds a server well within this."""

_MS: Final = 1_000_000


class Clock:
    """Wall and monotonic milliseconds of this process. Tests bring their own two functions."""

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns, self._mono_ns = wall_ns, mono_ns
        self._started_ns = mono_ns()
        self.boot = max(wall_ns() // (1_000 * _MS), 1)

    def utc_ms(self) -> int:
        """Return UTC in milliseconds since 1970."""
        return self._wall_ns() // _MS

    def moment(self) -> Moment:
        """Return (boot, milliseconds since this process began)."""
        return Moment(self.boot, (self._mono_ns() - self._started_ns) // _MS)
