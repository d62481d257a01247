"""From "pulse 7 for 400 ms" to register operations, and from answers back to channels.

`allowed_writes` is the whole set of writes a profile can ever produce. The bus lets nothing else
through: a write outside this set is impossible, whoever asks (`refusal`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.errors import CapExceeded, NoSuchChannel
from adapters.profile import Action, Actions, Caps, Measure, Points, Profile, Rule
from adapters.reading import (
    READ_COILS,
    READ_DISCRETE,
    READ_HOLDING,
    READ_INPUT,
    WRITE_COILS,
    WRITE_REGISTER,
    Read,
    Write,
)

_READ_FUNCTION: Final = {
    "coil": READ_COILS,
    "discrete": READ_DISCRETE,
    "holding": READ_HOLDING,
    "input": READ_INPUT,
}
_COIL_ON: Final = 0xFF00
_REGISTERS_MAX: Final = 125  # one request may carry


@dataclass(frozen=True, slots=True)
class PulsePlan:
    """Writes that start a pulse, its real length, and writes that end it (none: the board does)."""

    start: tuple[Write, ...]
    on_ms: int
    stop: tuple[Write, ...]


def pulse(profile: Profile, channel: int, ms: int) -> PulsePlan:
    """Plan one pulse of `ms`, rounded up to the board's step.

    Raises `NoSuchChannel`, or `CapExceeded` when the rounded pulse is longer than the cap.
    """
    actions, caps = _with_outputs(profile, channel)
    steps = [a for a in (actions.prepare, actions.pulse) if a is not None]
    step_ms = max((action.step_ms for action in steps), default=1)
    on_ms = -(-ms // step_ms) * step_ms
    if ms < 1 or on_ms > caps.max_on_ms:
        raise CapExceeded(asked_ms=ms, board_ms=on_ms, max_on_ms=caps.max_on_ms)
    if actions.way == "board":
        return PulsePlan(tuple(_write(a, channel, on_ms) for a in steps), on_ms, ())
    assert actions.on is not None  # the loader refuses this way without an on
    return PulsePlan((_write(actions.on, channel, 0),), on_ms, (off(profile, channel),))


def off(profile: Profile, channel: int) -> Write:
    """Return the write that switches one coil off. Raises `NoSuchChannel`."""
    actions, _ = _with_outputs(profile, channel)
    return _write(actions.off, channel, 0)


def all_off(profile: Profile) -> tuple[Write, ...]:
    """Return the fewest writes that leave no coil on; none for a board without outputs."""
    if profile.actions is None:
        return ()
    if profile.actions.all_off is not None:
        return (_write(profile.actions.all_off, 0, 0),)
    return tuple(off(profile, channel) for channel in range(output_count(profile)))


def output_count(profile: Profile) -> int:
    """Count the coils."""
    return len(profile.outputs.at()) if profile.outputs else 0


def reads(points: Points | None) -> tuple[Read, ...]:
    """Return the fewest reads that cover all points, never touching an address in between."""
    if points is None:
        return ()
    function = _READ_FUNCTION[points.area]
    return _joined(((function, address) for address in sorted(points.at())), points.max_read)


def measure_reads(profile: Profile) -> tuple[Read, ...]:
    """Return the fewest reads that cover all measures."""
    cells = {
        (measure.function, measure.address + word)
        for measure in profile.measures
        for word in range(measure.words)
    }
    return _joined(sorted(cells), _REGISTERS_MAX)


def measured(
    profile: Profile, asked: Sequence[Read], answers: Sequence[Sequence[int]]
) -> tuple[int | None, ...]:
    """Values in thousandths by measure, None = broken sensor, out of the answers to `asked`."""
    cells = {
        (read.function, read.address + offset): value
        for read, values in zip(asked, answers, strict=True)
        for offset, value in enumerate(values)
    }
    return tuple(_value(measure, cells) for measure in profile.measures)


def _value(measure: Measure, cells: dict[tuple[int, int], int]) -> int | None:
    words = [cells[measure.function, measure.address + word] for word in range(measure.words)]
    if measure.word_order == "low_first":
        words.reverse()
    raw = 0
    for word in words:
        raw = raw << 16 | word
    if raw == measure.fault:
        return None
    bits = 16 * measure.words
    if measure.signed and raw >> (bits - 1):
        raw -= 1 << bits
    return raw * measure.milli


def _joined(cells: Iterable[tuple[int, int]], most: int) -> tuple[Read, ...]:
    """Reads of neighbours at once; `cells` are (function, address), sorted."""
    found: list[Read] = []
    for function, address in cells:
        last = found[-1] if found else None
        if (
            last
            and last.function == function
            and last.address + last.count == address
            and last.count < most
        ):
            found[-1] = Read(function, last.address, last.count + 1)
        else:
            found.append(Read(function, address, 1))
    return tuple(found)


def read_output(profile: Profile, channel: int) -> Read:
    """Return the read of one coil's state. Raises `NoSuchChannel`."""
    _with_outputs(profile, channel)
    assert profile.outputs is not None  # _with_outputs refuses without
    points = profile.outputs
    return Read(_READ_FUNCTION[points.area], points.at()[channel], 1)


def states(
    points: Points | None, asked: Sequence[Read], answers: Sequence[Sequence[int]]
) -> tuple[bool, ...]:
    """Channel states, true = active, out of the answers to `asked` (same order)."""
    if points is None:
        return ()
    found = {
        read.address + offset: value
        for read, values in zip(asked, answers, strict=True)
        for offset, value in enumerate(values)
    }
    active_high = points.sense == "high"
    return tuple(bool(found[address]) == active_high for address in points.at())


def allowed_writes(profile: Profile) -> frozenset[Write]:
    """Every write this profile can produce: actions over all channels and times, settings."""
    return frozenset(write for write in _writes(profile) if forbidden_by(profile, write) is None)


def commission_writes(profile: Profile) -> frozenset[Write]:
    """Every write that setting unit number or rate may make; none of them is an allowed write."""
    return frozenset(write for write in _commissioning(profile) if not forbidden_by(profile, write))


def forbidden_by(profile: Profile, write: Write) -> Rule | None:
    """Return the rule of the profile that this write breaks, or None.

    A write of many points breaks a rule as soon as one of its points does, and an ON bit in a
    block of coils counts as 0xFF00.
    """
    for rule in profile.forbidden:
        if write.function not in rule.functions:
            continue
        for offset, raw in enumerate(write.values):
            address = write.address + offset
            value = raw * _COIL_ON if write.function == WRITE_COILS else raw
            inside = rule.addresses is None or rule.addresses[0] <= address <= rule.addresses[1]
            if inside and rule.value in (None, value):
                return rule
    return None


def refusal(profile: Profile, allowed: frozenset[Write], write: Write) -> str | None:
    """Reason why this write must not reach the board, or None. `allowed` from `allowed_writes`."""
    rule = forbidden_by(profile, write)
    if rule is not None:
        return rule.reason
    return None if write in allowed else "no action of the profile writes this"


def _commissioning(profile: Profile) -> Iterator[Write]:
    commission = profile.commission
    if commission is None:
        return
    low, high = profile.link.units
    if commission.unlock is not None:
        unlock = commission.unlock
        yield Write(unlock.function, unlock.address, (unlock.value,))
    if commission.unit is not None:
        for unit in range(low, high + 1):
            yield Write(commission.unit.function, commission.unit.address, (unit,))
    if commission.rate is not None:
        for code in commission.rate.codes:
            yield Write(commission.rate.function, commission.rate.address, (code,))


def _writes(profile: Profile) -> Iterator[Write]:
    for setting in profile.settings:
        for offset in range(0, setting.span, setting.step):
            yield Write(WRITE_REGISTER, setting.base + offset, (setting.value,))
    if profile.actions is None or profile.caps is None:
        return
    max_on_ms = profile.caps.max_on_ms
    timed = (profile.actions.prepare, profile.actions.pulse)
    held = (profile.actions.on, profile.actions.off, profile.actions.all_off)
    for channel in range(output_count(profile)):
        for action in (*timed, *held):
            if action is None:
                continue
            step_ms = action.step_ms if action.timed else max_on_ms
            for on_ms in range(step_ms, max_on_ms + 1, step_ms):
                yield _write(action, channel, on_ms)


def _write(action: Action, channel: int, on_ms: int) -> Write:
    value = action.fixed
    if value is None:
        value = on_ms * (action.per_ms or 1) // action.step_ms
    words = (value,) if action.words == 1 else (value >> 16, value & 0xFFFF)
    if action.word_order == "low_first":
        words = words[::-1]
    return Write(action.function, action.base + action.per_channel * channel, words)


def _with_outputs(profile: Profile, channel: int) -> tuple[Actions, Caps]:
    count = output_count(profile)
    if profile.actions is None or profile.caps is None or not 0 <= channel < count:
        raise NoSuchChannel(channel=channel, outputs=count, profile=profile.profile)
    return profile.actions, profile.caps
