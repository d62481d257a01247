"""Where real time meets the simulated boards: one clock and one lock for all threads that ask."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Guard = Callable[[], AbstractContextManager[int]]
"""Entering it gives the time in ms and the sole right to touch the boards until it is left."""


def new_guard(advance: Callable[[int], None]) -> Guard:
    """Return a guard with a lock and a clock of its own; time begins at 0 when it is made.

    `advance` is called with the time on entering and again on leaving, so that what the boards did
    in between reaches the doors at once.
    """
    lock = threading.Lock()
    began = time.monotonic_ns()

    @contextmanager
    def guard() -> Iterator[int]:
        with lock:
            now_ms = (time.monotonic_ns() - began) // 1_000_000
            advance(now_ms)
            yield now_ms
            advance(now_ms)

    return guard
