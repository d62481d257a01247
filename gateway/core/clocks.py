"""What the wall clock can say about an end that is given in UTC, and what it cannot.

A right to act ends when it may be over: with the clock's error on the far side, and at once where
the clock is not to be trusted at all. A promise made to others ends only when it surely is.
"""

from gateway.core.inputs import Now, Trust

RETRY_MS = 1_000
"""An end that was not sure yet is looked at again no sooner: an error that grows runs along."""


def refusal(now: Now, until_ms: int | None) -> str:
    """Return why a right with this end cannot be used now: `untrusted`, `late`, or nothing."""
    if until_ms is None:
        return ""
    if now.trust is Trust.FLOOR:
        return "untrusted"
    return "late" if now.wall_ms + now.error_ms > until_ms else ""


def surely_over(now: Now, until_ms: int) -> bool:
    """Return whether an end has passed for certain, by the floor or by a trusted clock."""
    return now.floor_ms >= until_ms or surely_past(now, until_ms)


def perhaps_over(now: Now, until_ms: int) -> bool:
    """Return whether an end may have passed by a trusted clock, or has by the floor alone."""
    trusted = now.trust is not Trust.FLOOR
    return now.floor_ms >= until_ms or (trusted and now.wall_ms + now.error_ms >= until_ms)


def surely_before(now: Now, begins_ms: int) -> bool:
    """Return whether a trusted clock says that this moment has surely not come yet."""
    return now.trust is not Trust.FLOOR and now.wall_ms + now.error_ms < begins_ms


def surely_past(now: Now, until_ms: int) -> bool:
    """Return whether this moment has passed for certain."""
    return now.trust is not Trust.FLOOR and now.wall_ms - now.error_ms >= until_ms


def moment_past(now: Now, until_ms: int) -> tuple[int, ...]:
    """Return (the monotonic moment at which it will have passed), or nothing without trust."""
    if now.trust is Trust.FLOOR:
        return ()
    left = until_ms - (now.wall_ms - now.error_ms)
    return (now.mono_ms + max(left, RETRY_MS),)
