"""When a life tells the engine what UTC is: at its beginning, once a day, and on any change."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.core.inputs import ClockAnchored, Input, Now, Trust
from gateway.runtime import Life

DAY_MS = 86_400_000


class Told:
    """A life of which only the clock runs."""

    def __init__(self) -> None:
        self.now = Now(10 * DAY_MS, 1_000, 1, Trust.SYNCED, 5)
        self.inputs: list[Input] = []
        self.life = Life.__new__(Life)
        self.life._anchored, self.life._standing = None, {}
        self.life.clock = cast("object", SimpleNamespace(now=lambda: self.now))  # type: ignore[assignment]
        self.life.inbox = cast("object", SimpleNamespace(put=self.inputs.append))  # type: ignore[assignment]

    def anchored(self) -> bool:
        before = len(self.inputs)
        self.life.anchor()
        return any(isinstance(one, ClockAnchored) for one in self.inputs[before:])

    def after(self, ms: int, *, drift_ms: int = 0, trust: Trust = Trust.SYNCED) -> bool:
        self.now = replace(
            self.now, wall_ms=self.now.wall_ms + ms + drift_ms, mono_ms=self.now.mono_ms + ms,
            trust=trust,
        )  # fmt: skip
        return self.anchored()


@pytest.fixture
def told() -> Told:
    return Told()


def test_it_is_told_at_once_and_then_once_a_day(told: Told) -> None:
    assert told.anchored()
    assert not told.after(60_000)
    assert not told.after(DAY_MS - 60_001)
    assert told.after(1)
    assert not told.after(60_000)


def test_it_is_told_when_the_clock_moves_or_its_trust_changes(told: Told) -> None:
    assert told.anchored()
    assert not told.after(60_000, drift_ms=999)
    assert told.after(60_000, drift_ms=-3_000)
    assert told.after(1, trust=Trust.DRIFTING)
