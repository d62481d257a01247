"""How many bytes of a session may be under way, and how long a frame may be.

How much is under way is decided twice. The peer's *credit* bounds what it must keep, and is never
exceeded. Our *window* keeps the queue on the way short, so that an alarm is not behind a megabyte
of telemetry: it grows by what was taken while messages take little longer than the shortest ever
seen, and shrinks to what passes in the shortest time and a second (the idea of TCP Vegas). Urgent
segments heed the credit only.
"""

from collections import deque
from typing import Final

from sync.exchange import FRAME_BYTES

WINDOW_START: Final = 3 * 1024
WINDOW_MIN: Final = 1024
WINDOW_MAX: Final = 256 * 1024
QUEUE_MS: Final = 500
"""Messages that take so much longer than the fastest one wait in a queue: grow no more."""
QUEUE_MS_MAX: Final = 1000
SLICE_MIN: Final = 512
SLICE_START: Final = 1024
MARKS_MAX: Final = 1024


class Window:
    """How many bytes may be under way. Integers; time comes in."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.size = WINDOW_START
        self.rtt_ms = 0
        self.credit = 0
        self._fastest_ms = 0
        self._marks: deque[tuple[int, int]] = deque()
        self._shrunk_at = 0
        self.moved_at = 0

    @property
    def under_way(self) -> int:
        """Bytes sent that the peer has not said it has."""
        return self.sent - self.received

    @property
    def slice_bytes(self) -> int:
        """How long a frame may be: about half a second of the link."""
        if not self.rtt_ms:
            return SLICE_START
        return max(SLICE_MIN, min(FRAME_BYTES, self.size * 500 // self.rtt_ms))

    def went(self, count: int, now_ms: int) -> None:
        """Account for bytes sent."""
        if self.under_way == 0:
            self.moved_at = now_ms
        self.sent += count
        if len(self._marks) < MARKS_MAX:
            self._marks.append((self.sent, now_ms))

    def taken(self, received: int, credit: int, now_ms: int) -> bool:
        """Account for what the peer says it has; whether that was anything new."""
        # A link that repeats messages makes the count too large, one that reorders them too small.
        received = min(max(received, self.received), self.sent)
        fresh = received - self.received
        full = self.under_way * 2 >= self.size
        self.received, self.credit = received, credit
        if fresh:
            self.moved_at = now_ms
        at = None
        while self._marks and self._marks[0][0] <= received:
            at = self._marks.popleft()[1]
        if at is not None:
            self._adapt(max(now_ms - at, 1), fresh, full, now_ms)
        return fresh > 0

    def _adapt(self, rtt_ms: int, fresh: int, full: bool, now_ms: int) -> None:  # noqa: FBT001  # one call
        self.rtt_ms = rtt_ms
        self._fastest_ms = min(self._fastest_ms or rtt_ms, rtt_ms)
        queue_ms = rtt_ms - self._fastest_ms
        if queue_ms < QUEUE_MS:
            if full:
                self.size = min(self.size + fresh, WINDOW_MAX)
        elif queue_ms > QUEUE_MS_MAX and now_ms - self._shrunk_at >= rtt_ms:
            self._shrunk_at = now_ms
            wanted = self.size * (self._fastest_ms + QUEUE_MS_MAX) // rtt_ms
            self.size = max(wanted, WINDOW_MIN)
