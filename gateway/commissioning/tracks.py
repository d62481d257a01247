"""What samples say over time: inputs followed, distances that dip, pulses compared. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

SPREAD_MS: Final = 200
"""Two pulses that differ by less could not be told apart by their samples."""
DIP_MIN: Final = 30_000
"""A parcel brings a measured distance down by 30 mm at least, and by a tenth of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the boards said at one moment of a clock that never jumps; who was silent is absent.

    `board` is whose answer it is: of the others it says what they said last. Without one, all of it
    is as young.
    """

    at_ms: int
    inputs: Mapping[str, tuple[bool, ...]]
    values: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    board: str = ""


@dataclass(frozen=True, slots=True)
class Track:
    """One input since the pulse: how it rested, how it is, when it first and last changed.

    `still_ms` is when it was last asked and had not changed yet: it did so between then and
    `first_ms`.
    """

    rest: bool
    now: bool
    first_ms: int = 0
    last_ms: int = 0
    changes: int = 0
    still_ms: int = 0


@dataclass(frozen=True, slots=True)
class Dip:
    """One distance since the pulse: how it rested, the least while the door was open, and now."""

    rest: int
    low: int
    now: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One pulse: how long the coil was on, and when the door's switch moved (None: it did not).

    It was seen to have moved after `took_ms`, and not to have after `least_ms`: over a slow line
    the two are far apart.
    """

    ms: int
    took_ms: int | None
    least_ms: int = 0


def at_rest(sample: Sample) -> dict[str, Track]:
    """Begin a track of every input."""
    return {
        f"{board}:{channel}": Track(value, value)
        for board, inputs in sample.inputs.items()
        for channel, value in enumerate(inputs)
    }


def followed(track: Track, point: str, sample: Sample) -> Track:
    """Take what a sample says of an input."""
    board, _, channel = point.partition(":")
    inputs = sample.inputs.get(board, ())
    value = inputs[int(channel)] if int(channel) < len(inputs) else track.now
    if value == track.now:
        asked = not track.changes and sample.board in {"", board}
        return replace(track, still_ms=sample.at_ms) if asked else track
    first = track.first_ms if track.changes else sample.at_ms
    return Track(track.rest, value, first, sample.at_ms, track.changes + 1, track.still_ms)


def dipped(dip: Dip, point: str, sample: Sample) -> Dip:
    """Take what a sample says of a distance."""
    board, _, channel = point.removesuffix("#").partition(":")
    values = sample.values.get(board, ())
    value = values[int(channel)] if int(channel) < len(values) else None
    return dip if value is None else Dip(dip.rest, min(dip.low, value), value)


def is_dip(dip: Dip) -> bool:
    """Return whether something was put in and taken out again."""
    depth = dip.rest - dip.low
    return depth >= max(DIP_MIN, dip.rest // 10) and (dip.now - dip.low) * 5 >= depth * 4


def merged(last: Sample, sample: Sample) -> Sample:
    """Return the later of two samples."""
    return sample if sample.at_ms >= last.at_ms else last


def is_late(attempts: tuple[Attempt, ...]) -> bool:
    """Return whether the door surely opened after its coil went off, and no other pulse did not."""
    last = attempts[-1]
    late = [one for one in attempts if one.took_ms is not None and one.least_ms >= one.ms]
    return last in late and not any(abs(one.ms - last.ms) >= SPREAD_MS for one in late)


def follows_the_end(attempts: tuple[Attempt, ...]) -> bool:
    """Return whether the opening moves along with the end of the pulse."""
    last = attempts[-1]
    for one in attempts[:-1]:
        if one.took_ms is None or last.took_ms is None or abs(one.ms - last.ms) < SPREAD_MS:
            continue
        both_late = one.least_ms >= one.ms and last.least_ms >= last.ms
        if both_late and abs(one.took_ms - last.took_ms) * 2 > abs(one.ms - last.ms):
            return True
    return False
