"""The tables of a profile file as types: a board model is one `Profile`.

Bounds that a single value must keep are here; what makes no sense together is in `objections`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Word = Annotated[int, Meta(ge=0, le=0xFFFF)]
Unit = Annotated[int, Meta(ge=1, le=255)]
Framing = Literal["rtu", "rtu_over_tcp", "tcp"]
WordOrder = Literal["high_first", "low_first"]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all tables: unknown keys are refused."""


class Link(_Struct, frozen=True, kw_only=True):
    """How the board is reached out of the box, and the unit numbers it can have."""

    framings: Annotated[tuple[Framing, ...], Meta(min_length=1)]
    unit: Unit = 1
    units: tuple[Unit, Unit] = (1, 247)
    baud: Annotated[int, Meta(ge=1200, le=256000)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop: Literal[1, 2] = 1
    port: Annotated[int, Meta(ge=1, le=65535)] = 502


class Timing(_Struct, frozen=True, kw_only=True):
    """Pauses a board needs; all per unit, the line's own 3.5 characters come on top."""

    response_timeout_ms: Annotated[int, Meta(ge=10, le=900)]
    probe_timeout_ms: Annotated[int, Meta(ge=10, le=500)]
    min_gap_ms: Annotated[int, Meta(ge=0, le=1000)] = 0
    after_actuation_gap_ms: Annotated[int, Meta(ge=0, le=2000)] = 0


class Caps(_Struct, frozen=True, kw_only=True):
    """Limits of a lock coil. `survive_kill`: the board itself switches off if we are killed."""

    # Rule 1 of the gateway: no board's own, longer limit may win over this one.
    max_on_ms: Annotated[int, Meta(ge=1, le=1000)]
    min_off_ms: Annotated[int, Meta(ge=2000, le=60000)]
    survive_kill: bool


class Points(_Struct, frozen=True, kw_only=True):
    """Where channels are read: `base`..`base+count-1`, or `addresses` one by one."""

    area: Literal["coil", "discrete", "holding", "input"]
    base: Word = 0
    count: Annotated[int, Meta(ge=0, le=64)] = 0
    addresses: Annotated[tuple[Word, ...], Meta(max_length=64)] = ()
    max_read: Annotated[int, Meta(ge=1, le=125)] = 125
    sense: Literal["high", "low"] = "high"

    def at(self) -> tuple[int, ...]:
        """Wire addresses by channel."""
        return self.addresses or tuple(range(self.base, self.base + self.count))


class Action(_Struct, frozen=True, kw_only=True):
    """One write as data: address = base + per_channel * channel.

    The value is `fixed`, or the time: in steps of `unit_ms`, or with `per_ms` counts a millisecond.
    Function 16 writes one or two `words`.
    """

    function: Literal[5, 6, 16]
    base: Word
    per_channel: Literal[0, 1, 2] = 1
    fixed: Word | None = None
    unit_ms: Annotated[int, Meta(ge=1, le=1000)] | None = None
    per_ms: Annotated[int, Meta(ge=1, le=1000)] | None = None
    words: Literal[1, 2] = 1
    word_order: WordOrder = "high_first"

    @property
    def timed(self) -> bool:
        """Whether the value is the time of the pulse."""
        return self.unit_ms is not None or self.per_ms is not None

    @property
    def step_ms(self) -> int:
        """Shortest time the value can tell."""
        return self.unit_ms or 1


class Actions(_Struct, frozen=True, kw_only=True):
    """What a board with outputs can be told."""

    # board: `pulse` ends by itself (after an optional `prepare`). deadman: `on` ends by itself
    # too late, `off` ends it in time. software: `on` lasts until `off`.
    way: Literal["board", "deadman", "software"]
    off: Action
    prepare: Action | None = None
    pulse: Action | None = None
    on: Action | None = None
    all_off: Action | None = None


class Rule(_Struct, frozen=True, kw_only=True):
    """A write that is impossible: by address range, by value, or both."""

    reason: str
    functions: Annotated[tuple[Literal[5, 6, 15, 16], ...], Meta(min_length=1)]
    addresses: tuple[Word, Word] | None = None
    value: Word | None = None


class Setting(_Struct, frozen=True, kw_only=True):
    """Holding registers which must have this value before a lock is driven; put right at start.

    With `step` 2 every second register is meant, the half of a 32-bit value.
    """

    name: str
    reason: str
    base: Word
    count: Annotated[int, Meta(ge=1, le=62)] = 1
    step: Literal[1, 2] = 1
    value: Word

    @property
    def span(self) -> int:
        """Registers from the first to the last."""
        return (self.count - 1) * self.step + 1


class Probe(_Struct, frozen=True, kw_only=True):
    """A harmless read that tells this board from others: what it must answer.

    `refused`: a board of this make answers with an exception. `unit`: the first value is the unit
    number it was asked under. `between` bounds each value; empty: any will do.
    """

    name: str
    function: Literal[1, 2, 3, 4]
    address: Word
    count: Annotated[int, Meta(ge=1, le=64)] = 1
    answer: Literal["values", "refused"] = "values"
    unit: bool = False
    between: Annotated[tuple[tuple[Word, Word], ...], Meta(max_length=64)] = ()


class UnitRegister(_Struct, frozen=True, kw_only=True):
    """The holding register that holds the unit number."""

    address: Word
    function: Literal[6, 16] = 6


class RateRegister(_Struct, frozen=True, kw_only=True):
    """The holding register of the line's rate: `codes[n]` stands for `rates[n]`, without parity."""

    address: Word
    rates: Annotated[tuple[Annotated[int, Meta(ge=1200, le=256000)], ...], Meta(min_length=1)]
    codes: Annotated[tuple[Word, ...], Meta(min_length=1)]
    function: Literal[6, 16] = 6


class Unlock(_Struct, frozen=True, kw_only=True):
    """A write without which the board takes no other number or rate."""

    address: Word
    value: Word
    function: Literal[6, 16] = 6


class Commission(_Struct, frozen=True, kw_only=True):
    """How the board gets its unit number and rate; `by_hand` says what a person must set."""

    by_hand: str = ""
    unit: UnitRegister | None = None
    rate: RateRegister | None = None
    unlock: Unlock | None = None
    applies: Literal["at_once", "after_restart"] = "at_once"


class Measure(_Struct, frozen=True, kw_only=True):
    """A value that a board measures: raw * `milli` is in thousandths of its natural unit.

    Degrees Celsius, per cent, millimetres; cycles are a plain count. `fault` is the raw value of a
    broken sensor.
    """

    name: Literal["temperature", "humidity", "distance", "cycles"]
    function: Literal[3, 4]
    address: Word
    words: Literal[1, 2] = 1
    word_order: WordOrder = "high_first"
    signed: bool = False
    milli: Annotated[int, Meta(ge=1, le=1_000_000)]
    fault: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] | None = None


class Profile(_Struct, frozen=True, kw_only=True):
    """One board model. Frozen; made by `parse` only."""

    profile: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,63}$")]
    revision: Annotated[int, Meta(ge=1)]
    title: str
    # How far this profile as a whole has been proven; single facts carry grades in `evidence`.
    level: Literal["datasheet", "simulated", "bench", "field"]
    link: Link
    timing: Timing
    evidence: dict[str, str]
    outputs: Points | None = None
    inputs: Points | None = None
    actions: Actions | None = None
    caps: Caps | None = None
    forbidden: tuple[Rule, ...] = ()
    settings: tuple[Setting, ...] = ()
    identity: tuple[Probe, ...] = ()
    commission: Commission | None = None
    measures: Annotated[tuple[Measure, ...], Meta(max_length=64)] = ()
    notes: tuple[str, ...] = ()

    @property
    def caps_survive_kill(self) -> bool:
        """Whether a coil goes off by itself when the gateway is killed during a pulse."""
        return self.caps is None or self.caps.survive_kill

    def doctor(self) -> tuple[str, ...]:
        """Sentences a person should read before trusting this board with locks."""
        warnings = []
        if not self.caps_survive_kill:
            warnings.append(
                f"{self.profile}: nothing proves that this board ends a pulse by itself. If the "
                "gateway is killed during a pulse, the coil stays on until it starts again; "
                "fit locks that stand continuous current, or a timer relay."
            )
        if self.level in {"datasheet", "simulated"}:
            warnings.append(
                f"{self.profile}: proven by {self.level} only; try one door before all doors."
            )
        return tuple(warnings)
