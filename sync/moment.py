"""When: boot and monotonic time, anchors, derived UTC and how wrong it may be. Integers only.

An entry says when it was written by `(boot, mono_ms)` alone, because a site's wall clock may be
wrong for days. `time.anchored` entries tie such a moment to UTC. UTC of any entry is derived from
the anchors of its boot, and gets better when a better anchor is written later.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

DRIFT_PPM: Final = 100
"""A crystal without compensation between -20 and +60 degrees stays within this."""

_MILLION: Final = 1_000_000
_UTC_MS_MAX: Final = 253_402_300_800_000
"""The year 10000, where the calendar of the standard library ends."""


class Moment(NamedTuple):
    """`mono_ms` of monotonic time in the boot number `boot`; moments of one boot have an order."""

    boot: int
    mono_ms: int


class Utc(NamedTuple):
    """UTC in ms since 1970, off by at most `error_ms`, as told by `source`."""

    ms: int
    error_ms: int
    source: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """At `at` it was `utc.ms` +- `utc.error_ms`."""

    at: Moment
    utc: Utc


class Anchors:
    """The anchors of a log, folded: what UTC a moment was.

    The same set of anchors gives the same answers in any order of `add`.
    """

    def __init__(self, anchors: Iterable[Anchor] = ()) -> None:
        self._by_boot: dict[int, list[Anchor]] = {}
        for anchor in anchors:
            self.add(anchor)

    def add(self, anchor: Anchor) -> None:
        """Take in one more anchor."""
        self._by_boot.setdefault(anchor.at.boot, []).append(anchor)

    def utc(self, at: Moment) -> Utc | None:
        """Return UTC of `at` with its error, or None while nothing anchors its boot.

        The anchor with the smallest error at that distance decides; of equals the later one.
        """
        known = self._by_boot.get(at.boot)
        if not known:
            return None
        return max((_carry(anchor, at) for anchor in known), key=lambda pair: pair[0])[1]


def utc_text(utc_ms: int) -> str:
    """Return ISO 8601 with milliseconds and Z, or `<n> ms` for what no calendar holds."""
    if not 0 <= utc_ms < _UTC_MS_MAX:
        return f"{utc_ms} ms"
    seconds, ms = divmod(utc_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def _carry(anchor: Anchor, at: Moment) -> tuple[tuple[int, int, int, str], Utc]:
    """Return (how good, what) for `at` as this anchor tells it."""
    gone = at.mono_ms - anchor.at.mono_ms
    error = anchor.utc.error_ms + -(-abs(gone) * DRIFT_PPM // _MILLION)
    told = Utc(anchor.utc.ms + gone, error, anchor.utc.source)
    return (-error, anchor.at.mono_ms, told.ms, told.source), told
