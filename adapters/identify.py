"""Which board is this? Harmless questions, and what the answers prove.

Every profile lists probes that tell it from its siblings. One contradiction rules a profile out; a
board whose probes all hold is it, as far as reading can tell. What no profile fits is measured: how
many coils and inputs answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from adapters.profile import Probe, Profile
from adapters.reading import READ_COILS, READ_DISCRETE, READ_HOLDING, Read

Answers = Mapping[Read, tuple[int, ...] | None]
"""What was asked, with the values; None: refused with an exception; (): no sound answer."""
Confidence = Literal["certain", "likely", "possible"]

PRESENCE: Final = Read(READ_HOLDING, 1, 1)
"""Is anybody there? Every make known answers this, be it with an exception."""
_OBJECTS: Final = {
    0: "vendor",
    1: "product",
    2: "version",
    3: "vendor_url",
    4: "product_name",
    5: "model",
    6: "application",
}
POINTS_MAX: Final = 64
TELLING_MIN: Final = 2  # so much that a stranger would hardly pass it
_RANK: Final[dict[Confidence, int]] = {"certain": 0, "likely": 1, "possible": 2}


@dataclass(frozen=True, slots=True)
class Match:
    """A profile that may be this board's, how sure that is, and why."""

    profile: str
    title: str
    confidence: Confidence
    evidence: tuple[str, ...]


def questions(profiles: Iterable[Profile]) -> tuple[Read, ...]:
    """Return everything that could be asked to tell these profiles apart, each once."""
    return tuple(dict.fromkeys(_read(probe) for profile in profiles for probe in profile.identity))


def next_question(profiles: Iterable[Profile], unit: int, answers: Answers) -> Read | None:
    """Return the next question worth asking: one of a profile that nothing contradicts yet.

    What only a newer firmware answers contradicts nothing here: see `outdated`.
    """
    for profile in profiles:
        against = [probe for probe in profile.identity if _holds(probe, unit, answers) is False]
        if not all(_is_newer(profile, probe) for probe in against):
            continue
        for probe in profile.identity:
            if _read(probe) not in answers:
                return _read(probe)
    return None


def judge(profiles: Iterable[Profile], unit: int, answers: Answers) -> tuple[Match, ...]:
    """Return the profiles that fit, the surest first.

    certain: all its probes hold, no other's do, and they are telling (an exact value, or two of:
    refused where a sibling answers, values inside limits, its own number). likely: all hold, but
    so do a sibling's, or little was telling. possible: nothing contradicts, but some question has
    no answer.
    """
    whole: list[tuple[Profile, int]] = []
    partly: list[Profile] = []
    for profile in profiles:
        held = [_holds(probe, unit, answers) for probe in profile.identity]
        if not any(held) or False in held:
            continue
        if all(held):
            whole.append((profile, sum(map(_telling, profile.identity))))
        else:
            partly.append(profile)
    found = []
    for profile, telling in whole:
        others = [other.profile for other, _ in whole if other is not profile]
        sure: Confidence = "likely" if others or telling < TELLING_MIN else "certain"
        found.append(_match(profile, sure, answers, others))
    found += [_match(profile, "possible", answers, []) for profile in partly]
    return tuple(sorted(found, key=lambda match: (_RANK[match.confidence], match.profile)))


def outdated(profiles: Iterable[Profile], unit: int, answers: Answers) -> Iterator[tuple[str, str]]:
    """(profile, what it needs) where only what a newer firmware brings is missing."""
    for profile in profiles:
        missing = [p for p in profile.identity if _holds(p, unit, answers) is not True]
        rest = len(profile.identity) - len(missing)
        if missing and rest >= TELLING_MIN and all(_is_newer(profile, one) for one in missing):
            yield profile.profile, _grade(profile, missing[0]).partition("; ")[2]


def counting(function: int, answers: Answers) -> Read | int:
    """Return the next read that narrows down how many points answer from 0 on, or how many do.

    At most POINTS_MAX. A block that reaches beyond the last point is refused by every board known,
    and no answer counts as a refusal: the figure is then too small, never too large.
    """
    answer, refuse = 0, POINTS_MAX + 1
    while refuse - answer > 1:
        grows = refuse > POINTS_MAX
        count = min(max(1, 2 * answer), POINTS_MAX) if grows else (answer + refuse) // 2
        read = Read(function, 0, count)
        if read not in answers:
            return read
        if answers[read]:
            answer = count
        else:
            refuse = count
    return answer


def generic(answers: Answers) -> Match | None:
    """Suggest a profile for a board nobody knows, after `counting` its coils and inputs."""
    outputs, inputs = counting(READ_COILS, answers), counting(READ_DISCRETE, answers)
    if not isinstance(outputs, int) or not isinstance(inputs, int) or not outputs + inputs:
        return None
    return Match(
        profile=f"generic-{outputs}x{inputs}",
        title=f"unknown board, {outputs} coils, {inputs} inputs",
        confidence="possible",
        evidence=(f"coils 0 to {outputs - 1} answer", f"inputs 0 to {inputs - 1} answer"),
    )


def objects(values: tuple[int, ...]) -> dict[str, str]:
    """Read the objects out of an identification, as text by name; what is no text is left out."""
    found = {}
    data, at = bytes(values), 3
    while at + 2 <= len(data):
        number, length = data[at], data[at + 1]
        text = data[at + 2 : at + 2 + length].decode("ascii", "replace").strip("\0 ")
        if text.isprintable():
            found[_OBJECTS.get(number, f"object_{number}")] = text
        at += 2 + length
    return found


def _read(probe: Probe) -> Read:
    return Read(probe.function, probe.address, probe.count)


def _holds(probe: Probe, unit: int, answers: Answers) -> bool | None:
    """Whether the probe says what its board would; None: not known."""
    values = answers.get(_read(probe), ())
    if values == ():
        return None
    if values is None or probe.answer == "refused":
        return values is None and probe.answer == "refused"
    limits = zip(values, probe.between, strict=False)
    inside = all(low <= value <= high for value, (low, high) in limits)
    return inside and (not probe.unit or values[0] == unit)


def _grade(profile: Profile, probe: Probe) -> str:
    return profile.evidence[f"identity.{probe.name}"]


def _is_newer(profile: Profile, probe: Probe) -> bool:
    """Whether the grade of this probe says which firmware brought it ("B: V1; firmware 1.24")."""
    return "; firmware" in _grade(profile, probe)


def _telling(probe: Probe) -> int:
    """How much it tells: an exact value is hardly ever a stranger's, limits and refusals may be."""
    if any(low == high > 0 for low, high in probe.between):
        return 2
    return int(probe.answer == "refused" or bool(probe.between) or probe.unit)


def _match(profile: Profile, sure: Confidence, answers: Answers, others: list[str]) -> Match:
    evidence = []
    for probe in profile.identity:
        values = answers.get(_read(probe), ())
        said = "refused" if values is None else " ".join(map(str, values)) or "no answer"
        evidence.append(f"{probe.name}: {said}")
    if others:
        evidence.append(f"as well: {', '.join(others)}")
    return Match(profile.profile, profile.title, sure, tuple(evidence))
