"""How many bytes of a session may be under way, and how long a frame may be.

How much is under way is decided twice. The peer's *credit* bounds what it must keep, and is never
exceeded. Our *window* keeps the queue on the way short, so that an alarm is not behind a megabyte
of telemetry: it is what passes in the shortest round trip and QUEUE_MS more, at the speed at which
the peer takes what we send (the ideas of TCP Vegas and BBR). Urgent segments heed the credit only.
"""

from collections import deque
from typing import Final

from sync.exchange import FRAME_BYTES

WINDOW_START: Final = 3 * 1024
WINDOW_AGAIN_MAX: Final = 8 * 1024
"""A new link may begin with so much where the last one was fast enough; this one may be slower."""
WINDOW_MIN: Final = 1024
WINDOW_MAX: Final = 256 * 1024
QUEUE_MS: Final = 700
"""So long bytes may wait in the queue on the way: without one the link would stand still."""
SLICE_MIN: Final = 512
SLICE_START: Final = 1024
MARKS_MAX: Final = 1024


class Window:
    """How many bytes may be under way. Integers; time comes in.

    `bytes_s` is how fast the link was at last; a new one begins with what the last one had.
    """

    def __init__(self, bytes_s: int = 0) -> None:
        self.bytes_s = bytes_s
        self.sent = 0
        self.received = 0
        self.size = WINDOW_START
        self.rtt_ms = 0
        self.credit = 0
        self._fastest_ms = 0
        self._marks: deque[tuple[int, int, int]] = deque()
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

    def greeted(self, rtt_ms: int) -> None:
        """Learn how long a message and its answer take while nothing else is on the way."""
        if not self._fastest_ms:
            self._fastest_ms = max(rtt_ms, 1)
            self.size = max(WINDOW_START, min(self._fits(), WINDOW_AGAIN_MAX))

    def went(self, count: int, now_ms: int) -> None:
        """Account for bytes sent."""
        if self.under_way == 0:
            self.moved_at = now_ms
        self.sent += count
        if len(self._marks) < MARKS_MAX:
            self._marks.append((self.sent, now_ms, self.received))

    def taken(self, received: int, credit: int, now_ms: int) -> bool:
        """Account for what the peer says it has; whether that was anything new."""
        # A link that repeats messages makes the count too large, one that reorders them too small.
        received = min(max(received, self.received), self.sent)
        fresh = received - self.received
        full = self.under_way * 2 >= self.size
        self.received, self.credit = received, credit
        if fresh:
            self.moved_at = now_ms
        mark = None
        while self._marks and self._marks[0][0] <= received:
            mark = self._marks.popleft()
        if mark is not None:
            _, at_ms, before = mark
            self._adapt(max(now_ms - at_ms, 1), fresh, received - before, full=full)
        return fresh > 0

    def _adapt(self, rtt_ms: int, fresh: int, taken: int, *, full: bool) -> None:
        """Learn from `taken` bytes in one round trip, of which `fresh` were told of just now."""
        self.rtt_ms = rtt_ms
        self._fastest_ms = min(self._fastest_ms or rtt_ms, rtt_ms)
        queued = rtt_ms - self._fastest_ms > QUEUE_MS
        if not full and not queued:
            return  # more would have passed
        self.bytes_s = taken * 1000 // rtt_ms
        fits = self._fits()
        if fits > self.size:
            self.size = min(self.size + fresh, fits, WINDOW_MAX)
        elif queued:
            self.size = max(fits, WINDOW_MIN)

    def _fits(self) -> int:
        """Return what passes in the shortest time, and in what the queue may add."""
        return self.bytes_s * (self._fastest_ms + QUEUE_MS) // 1000
