"""What the types of a profile alone cannot say: everything that makes no sense together."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from adapters.tables import (
    Action,
    Actions,
    Caps,
    Commission,
    Measure,
    Points,
    Probe,
    Profile,
    RateRegister,
    Rule,
)

_GRADE: Final = re.compile(r"(A|B|C|M|=)(\W.*)?")  # the grades of the hardware notes
_ADDRESSES: Final = 0x10000
_REGISTERS: Final = frozenset({3, 4})
_WRITE_COIL, _WRITE_MANY = 5, 16
_TWO_OF_THREE: Final = 2  # of three keys that exclude each other, two are left out
_BEYOND: Final = "the last address is beyond 65535"


def objections(profile: Profile) -> Iterator[tuple[str, str]]:
    """(key, reason) for everything the types alone cannot say. Lazy: the first one is raised."""
    low, high = profile.link.units
    if not low <= profile.link.unit <= high:
        yield "link.unit", f"not inside units {low}..{high}"
    for name, points in (("outputs", profile.outputs), ("inputs", profile.inputs)):
        if points is not None:
            yield from _points_objections(name, points)
    yield from _outputs_objections(profile)
    for number, rule in enumerate(profile.forbidden):
        yield from _rule_objections(f"forbidden.{number}", rule)
    for number, setting in enumerate(profile.settings):
        if setting.base + setting.span > _ADDRESSES:
            yield f"settings.{number}.base", _BEYOND
    yield from _found_objections(profile)
    yield from _evidence_objections(profile)


def _found_objections(profile: Profile) -> Iterator[tuple[str, str]]:
    """About being found, addressed and measuring."""
    for number, probe in enumerate(profile.identity):
        yield from _probe_objections(f"identity.{number}", probe)
    if profile.commission is not None:
        yield from _commission_objections(profile.commission, _held(profile))
    for number, measure in enumerate(profile.measures):
        yield from _measure_objections(f"measures.{number}", measure)


def _rule_objections(where: str, rule: Rule) -> Iterator[tuple[str, str]]:
    if rule.addresses is None and rule.value is None:
        yield where, "needs addresses, a value, or both"
    if rule.addresses is not None and rule.addresses[0] > rule.addresses[1]:
        yield f"{where}.addresses", "first address is above the last"


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
        if [action.fixed, action.unit_ms, action.per_ms].count(None) != _TWO_OF_THREE:
            yield f"actions.{name}", "needs one of fixed, unit_ms and per_ms"
        if action.words > 1 and action.function != _WRITE_MANY:
            yield f"actions.{name}.words", "only function 16 writes more than one word"
        if caps.max_on_ms * (action.per_ms or 0) >> 16 * action.words:
            yield f"actions.{name}.per_ms", "the longest pulse does not fit into the words"
        if action.base + action.per_channel * (count - 1) + action.words > _ADDRESSES:
            yield f"actions.{name}.base", "the last channel is beyond address 65535"
    for name in ("off", "all_off", "on"):
        held: Action | None = getattr(actions, name)
        if held is not None and held.fixed is None:
            yield f"actions.{name}", "needs a fixed value"
    yield from _way_objections(actions, caps)


def _way_objections(actions: Actions, caps: Caps) -> Iterator[tuple[str, str]]:
    timed = [a for a in (actions.prepare, actions.pulse) if a is not None and a.timed]
    if actions.way == "board":
        if actions.pulse is None or actions.on is not None:
            yield "actions.way", "way board needs a pulse, and has no on"
        if len(timed) != 1:
            yield "actions.way", "exactly one of prepare and pulse carries the time"
    elif actions.on is None or actions.pulse is not None or actions.prepare is not None:
        yield "actions.way", f"way {actions.way} needs an on, and neither prepare nor pulse"
    # A dead man's end that no source gives a time for is no promise: either may be said.
    if actions.way != "deadman" and caps.survive_kill != (actions.way == "board"):
        yield "caps.survive_kill", f"contradicts way {actions.way}"


def _probe_objections(where: str, probe: Probe) -> Iterator[tuple[str, str]]:
    if probe.address + probe.count > _ADDRESSES:
        yield f"{where}.address", _BEYOND
    if probe.answer == "refused" and (probe.unit or probe.between):
        yield f"{where}.answer", "a refused read has no values: neither unit nor between"
    if probe.unit and probe.function not in _REGISTERS:
        yield f"{where}.unit", "a unit number stands in a register: function 3 or 4"
    if probe.between and len(probe.between) != probe.count:
        yield f"{where}.between", "needs one pair of bounds for each value"
    if any(low > high for low, high in probe.between):
        yield f"{where}.between", "a lower bound is above its upper one"


def _held(profile: Profile) -> set[int]:
    """Registers which settings and actions write: all of them can be written at any time."""
    held = {s.base + n for s in profile.settings for n in range(0, s.span, s.step)}
    count = len(profile.outputs.at()) if profile.outputs is not None else 0
    for _, action in named_actions(profile.actions) if profile.actions is not None else ():
        if action.function != _WRITE_COIL:
            last = action.base + action.per_channel * (count - 1) + action.words
            held |= set(range(action.base, last))
    return held


def _commission_objections(commission: Commission, held: set[int]) -> Iterator[tuple[str, str]]:
    registers = (commission.unit, commission.rate, commission.unlock)
    if not commission.by_hand and commission.unit is None:
        yield "commission", "needs a unit register, or by_hand: what a person sets"
    if commission.unit is None and commission.unlock is not None:
        yield "commission.unlock", "nothing to unlock: there is no unit register"
    if commission.rate is not None:
        yield from _rate_objections(commission.rate)
    if any(register is not None and register.address in held for register in registers):
        yield "commission", "a setting or an action writes one of its registers"


def _rate_objections(rate: RateRegister) -> Iterator[tuple[str, str]]:
    if len(rate.rates) != len(rate.codes):
        yield "commission.rate.codes", "needs one code for each rate"
    if len(set(rate.rates)) != len(rate.rates) or len(set(rate.codes)) != len(rate.codes):
        yield "commission.rate", "a rate or a code is there twice"


def _measure_objections(where: str, measure: Measure) -> Iterator[tuple[str, str]]:
    if measure.address + measure.words > _ADDRESSES:
        yield f"{where}.address", _BEYOND
    if measure.fault is not None and measure.fault >> 16 * measure.words:
        yield f"{where}.fault", "does not fit into the words"


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
    facts |= {f"identity.{probe.name}" for probe in profile.identity}
    facts |= {f"measures.{measure.name}" for measure in profile.measures}
    facts |= {name for name in ("forbidden", "commission") if raw[name]}
    for missing in sorted(facts - profile.evidence.keys()):
        yield "evidence", f"no grade for {missing}"
    for name, grade in profile.evidence.items():
        if not _GRADE.fullmatch(grade):
            yield f"evidence.{name}", "a grade is A, B, C, M or =, then what it rests on"
    for stray in sorted(profile.evidence.keys() - facts):
        yield f"evidence.{stray}", f"grade for {stray}, which is not a fact of this file"
