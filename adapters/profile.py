"""What a board model is, as data: typed, checked, and refused with the line and the reason.

A profile file is TOML. `parse` gives a `Profile` or raises `ProfileInvalid` whose evidence names
the `line` and the `reason`. Nothing here reads a disk; `adapters.profiles` has the shipped files.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from adapters.errors import ProfileInvalid

Word = Annotated[int, Meta(ge=0, le=0xFFFF)]
Unit = Annotated[int, Meta(ge=1, le=255)]
Framing = Literal["rtu", "rtu_over_tcp", "tcp"]
_GRADE: Final = re.compile(r"(A|B|C|M|=)(\W.*)?")  # the grades of the hardware notes

_ADDRESSES: Final = 0x10000
FILE_CHARS_MAX: Final = 64 * 1024  # far above any board; a bound on what a bad file can cost
DOTS_MAX: Final = 64  # in one line: reading a dotted key costs the square of its parts


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
    """One write as data: address = base + per_channel * channel; value fixed, or ms in units."""

    function: Literal[5, 6]
    base: Word
    per_channel: Literal[0, 1] = 1
    fixed: Word | None = None
    unit_ms: Annotated[int, Meta(ge=1, le=1000)] | None = None


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
    """Holding registers which must have this value before a lock is driven; put right at start."""

    name: str
    reason: str
    base: Word
    count: Annotated[int, Meta(ge=1, le=64)] = 1
    value: Word


class Fact(_Struct, frozen=True, kw_only=True):
    """A harmless read that tells one board from another: a version, a mode table."""

    name: str
    function: Literal[1, 2, 3, 4]
    address: Word
    count: Annotated[int, Meta(ge=1, le=64)] = 1


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
    facts: tuple[Fact, ...] = ()
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
                f"{self.profile}: this board cannot end a pulse by itself. If the gateway is "
                "killed during a pulse, the coil stays on until the gateway starts again; "
                "fit locks that stand continuous current, or a timer relay."
            )
        if self.level in {"datasheet", "simulated"}:
            warnings.append(
                f"{self.profile}: proven by {self.level} only; try one door before all doors."
            )
        return tuple(warnings)


def parse(text: str, source: str = "profile") -> Profile:
    """Return the profile written in `text`, or raise `ProfileInvalid` with line and reason."""
    if len(text) > FILE_CHARS_MAX:
        raise _invalid(source, 1, f"longer than {FILE_CHARS_MAX} characters")
    for number, written in enumerate(text.split("\n"), start=1):
        if written.count(".") > DOTS_MAX and not written.lstrip().startswith("#"):
            raise _invalid(source, number, f"more than {DOTS_MAX} dots in one line")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found.group(1)) if found else text.count("\n") + 1
        raise _invalid(source, line, str(error)) from None
    except RecursionError:
        raise _invalid(source, 1, "nested too deeply") from None
    except ValueError:
        raise _invalid(source, 1, "a number of more digits than can be read") from None
    lines = _lines_of_keys(text)
    try:
        profile = msgspec.convert(raw, Profile)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        where = _normal_path(path.strip("`"))
        field = re.search(r"unknown field `([^`]+)`", reason)
        if field:
            where = f"{where}.{field.group(1)}" if where else field.group(1)
        raise _invalid(source, _line_of(lines, where), reason, where) from None
    for where, reason in _objections(profile):
        raise _invalid(source, _line_of(lines, where), reason, where)
    return profile


def _invalid(source: str, line: int, reason: str, where: str = "") -> ProfileInvalid:
    return ProfileInvalid(file=source, line=line, reason=reason, key=where)


def _normal_path(path: str) -> str:
    """`$.forbidden[2].value` -> `forbidden.2.value`."""
    return re.sub(r"\[(\d+)\]", r".\1", path.removeprefix("$").removesuffix("[...]")).strip(".")


def _lines_of_keys(text: str) -> dict[str, int]:
    """Dotted key -> line number of where it is first written. Good enough for a message."""
    lines: dict[str, int] = {}
    arrays: dict[str, int] = {}
    table = ""
    # TOML's lines end at 0A; splitlines would also break at U+2028 and lose count.
    for number, line in enumerate(text.split("\n"), start=1):
        header = re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"-]+)\s*\]", line)
        if header:
            table = header.group(2).replace('"', "")
            if header.group(1) == "[[":
                arrays[table] = arrays.get(table, -1) + 1
                table = f"{table}.{arrays[table]}"
            lines.setdefault(table, number)
            continue
        key = re.match(r"\s*\"?([A-Za-z0-9_.-]+)\"?\s*=", line)
        if key:
            lines.setdefault(f"{table}.{key.group(1)}".strip("."), number)
    return lines


def _line_of(lines: dict[str, int], where: str) -> int:
    """Line of the key, else of the nearest table around it, else the first."""
    while where and where not in lines:
        where = where.rpartition(".")[0]
    return lines.get(where, 1)


def _objections(profile: Profile) -> Iterator[tuple[str, str]]:
    """(key, reason) for everything the types alone cannot say. Lazy: the first one is raised."""
    low, high = profile.link.units
    if not low <= profile.link.unit <= high:
        yield "link.unit", f"not inside units {low}..{high}"
    for name, points in (("outputs", profile.outputs), ("inputs", profile.inputs)):
        if points is not None:
            yield from _points_objections(name, points)
    yield from _outputs_objections(profile)
    for number, rule in enumerate(profile.forbidden):
        if rule.addresses is None and rule.value is None:
            yield f"forbidden.{number}", "needs addresses, a value, or both"
        if rule.addresses is not None and rule.addresses[0] > rule.addresses[1]:
            yield f"forbidden.{number}.addresses", "first address is above the last"
    yield from _evidence_objections(profile)


def _points_objections(name: str, points: Points) -> Iterator[tuple[str, str]]:
    if bool(points.addresses) == bool(points.count):
        yield name, "needs either base and count, or addresses"
    if len(set(points.addresses)) != len(points.addresses):
        yield f"{name}.addresses", "an address is there twice"
    if points.base + points.count > _ADDRESSES:
        yield f"{name}.base", "the last point is beyond address 65535"


def _outputs_objections(profile: Profile) -> Iterator[tuple[str, str]]:
    outputs, actions, caps = profile.outputs, profile.actions, profile.caps
    if outputs is None and actions is not None:
        yield "actions", "actions without outputs"
    if outputs is not None and (actions is None or caps is None):
        yield "outputs", "outputs need [actions] and [caps]"
    if outputs is not None and actions is not None and caps is not None:
        yield from _actions_objections(len(outputs.at()), actions, caps)


def _actions_objections(count: int, actions: Actions, caps: Caps) -> Iterator[tuple[str, str]]:
    for name, action in named_actions(actions):
        if (action.fixed is None) == (action.unit_ms is None):
            yield f"actions.{name}", "needs either fixed or unit_ms"
        if action.base + action.per_channel * count > _ADDRESSES:
            yield f"actions.{name}.base", "the last channel is beyond address 65535"
    for name in ("off", "all_off", "on"):
        held: Action | None = getattr(actions, name)
        if held is not None and held.fixed is None:
            yield f"actions.{name}", "needs a fixed value"
    yield from _way_objections(actions, caps)


def _way_objections(actions: Actions, caps: Caps) -> Iterator[tuple[str, str]]:
    timed = [a for a in (actions.prepare, actions.pulse) if a is not None and a.unit_ms]
    if actions.way == "board":
        if actions.pulse is None or actions.on is not None:
            yield "actions.way", "way board needs a pulse, and has no on"
        if len(timed) != 1:
            yield "actions.way", "exactly one of prepare and pulse carries the time"
    elif actions.on is None or actions.pulse is not None or actions.prepare is not None:
        yield "actions.way", f"way {actions.way} needs an on, and neither prepare nor pulse"
    if caps.survive_kill != (actions.way != "software"):
        yield "caps.survive_kill", f"contradicts way {actions.way}"


def named_actions(actions: Actions) -> Iterator[tuple[str, Action]]:
    """Every action that is there, with its key."""
    for name in ("prepare", "pulse", "on", "off", "all_off"):
        action: Action | None = getattr(actions, name)
        if action is not None:
            yield name, action


def _evidence_objections(profile: Profile) -> Iterator[tuple[str, str]]:
    """Every fact has its grade, and no grade lacks its fact."""
    raw: dict[str, Any] = msgspec.to_builtins(profile)
    facts = {"link", "timing"}
    facts |= {name for name in ("outputs", "inputs", "caps") if raw[name] is not None}
    if profile.actions is not None:
        facts |= {f"actions.{name}" for name, _ in named_actions(profile.actions)}
    facts |= {f"settings.{setting.name}" for setting in profile.settings}
    facts |= {f"facts.{fact.name}" for fact in profile.facts}
    if profile.forbidden:
        facts.add("forbidden")
    for missing in sorted(facts - profile.evidence.keys()):
        yield "evidence", f"no grade for {missing}"
    for name, grade in profile.evidence.items():
        if not _GRADE.fullmatch(grade):
            yield f"evidence.{name}", "a grade is A, B, C, M or =, then what it rests on"
    for stray in sorted(profile.evidence.keys() - facts):
        yield f"evidence.{stray}", f"grade for {stray}, which is not a fact of this file"
