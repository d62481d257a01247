"""Teaching one door: which input is its switch, which way round, how fast, and what sees a parcel.

Theory. One coil is pulsed while nobody touches the bank, so an input that moves then moves because
of this lock. The first input to move, with whatever moves within a second of it, are the *movers*.
Exactly one mover that belongs to nobody is the switch; anything else is refused, because a door
that is taught wrong gives a parcel to a stranger. The person then says which number popped, may put
something in and take it out, and shuts the door: the same input must come back and stand still for
a second. What left its rest and came back in between, and belongs to nobody, sees the parcel.

    phase     what is awaited                      goes to
    pulsing   the coil (`pulsed`)                  watching; done where nothing was sent
    watching  a mover, and a second after it;      which; closing where the number is known;
              4 s where nothing moves              done where two moved, a foreign one, or too late
    which     the person (`popped`, `nothing`)     closing; done
    closing   the switch back and still for 1 s    done
    done      `code`: empty, and the door is       pulsing, by `again`
              taught; or why it is not

A lock that opens when its current *ends* (energise to lock) stands open in a power cut. One pulse
cannot show it: a slow lock looks the same. So a door that opens after the coil went off is pulsed
again for another time: what moves along with the end of the pulse is refused for good.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from gateway.commissioning.findings import Finding
from gateway.commissioning.tracks import (
    SPREAD_MS,
    Attempt,
    Dip,
    Sample,
    Track,
    at_rest,
    dipped,
    followed,
    follows_the_end,
    is_dip,
    is_late,
    merged,
)
from gateway.errors import GatewayError
from sync.facts import Size
from sync.sitemap import Sense

__all__ = [
    "MOVERS_MS",
    "STILL_MS",
    "TOGETHER_MS",
    "WATCH_MS",
    "Attempt",
    "Lesson",
    "Phase",
    "Sample",
    "again",
    "begun",
    "nothing",
    "popped",
    "pulsed",
    "seen",
]

WATCH_MS: Final = 4_000
"""A sticky lock under tension opens late; after this nobody waits at a door."""
MOVERS_MS: Final = 1_000
"""What one door moves, it moves together; its switch has done chattering."""
STILL_MS: Final = 1_000
TOGETHER_MS: Final = 300
"""Two inputs that change within this were changed by the same movement of the same door."""
EARLY_MAX: Final = 256
PULSE_MS_MAX: Final = 1_000
POINTS_NAMED: Final = 8

Phase = Literal["pulsing", "watching", "which", "closing", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One door being taught. `taken` names the door of every input that has one already.

    `door` is the number of the lock that is taught again, 0 for a new one. `pulse_ms` is how long
    the next pulse shall be. `code` is why the door is not taught, or what went wrong so far.
    Measures are named as `<board>:<channel>#`, so that none is taken for an input.
    """

    lock: str
    phase: Phase = "pulsing"
    taken: Mapping[str, int]
    door: int = 0
    suggest: int
    pulse_ms: int
    pulse_max: int = PULSE_MS_MAX
    switch: str = ""
    open_when: Sense = "inactive"
    open_ms: int = 0
    bounce_ms: int = 0
    occupancy: str = ""
    occupied_when: Sense = "active"
    occupied_below: int = 0
    number: int = 0
    size: Size | None = None
    attempts: tuple[Attempt, ...] = ()
    code: str = ""
    findings: tuple[Finding, ...] = ()
    # what is remembered of the samples
    distances: frozenset[str] = frozenset()
    began_ms: int = 0
    last: Sample
    early: tuple[Sample, ...] = ()
    tracks: Mapping[str, Track] = field(default_factory=dict)
    dips: Mapping[str, Dip] = field(default_factory=dict)
    shut: Mapping[str, bool] = field(default_factory=dict)

    @property
    def taught(self) -> bool:
        """Return whether the door is known now."""
        return self.phase == "done" and not self.code


def begun(
    lock: str,
    sample: Sample,
    *,
    taken: Mapping[str, int],
    suggest: int = 1,
    pulse_ms: int = 400,
    pulse_max: int = PULSE_MS_MAX,
    door: int = 0,
    shut: Mapping[str, bool] | None = None,
    distances: Collection[str] = (),
) -> Lesson:
    """Return a lesson that waits for its first pulse.

    `shut` is how inputs read while the door is shut, where that is known; `distances` are measures
    of a distance. Raises GatewayError `teach.open_before`.
    """
    lesson = Lesson(
        lock=lock, taken=taken, suggest=suggest, pulse_ms=min(pulse_ms, pulse_max),
        pulse_max=pulse_max, door=door, shut=dict(shut or {}), distances=frozenset(distances),
        last=sample,
    )  # fmt: skip
    _refuse_open(lesson)
    return lesson


def again(lesson: Lesson) -> Lesson:
    """Return the lesson ready for another pulse, of `pulse_ms`. Raises `teach.open_before`."""
    _phase(lesson, "watching", "which", "closing", "done")
    _refuse_open(lesson)
    is_late = lesson.code == "lock.opened_late"
    return replace(
        lesson, phase="pulsing", code="", findings=(), switch="", open_ms=0, bounce_ms=0,
        occupancy="", occupied_below=0, early=(), tracks={}, dips={},
        number=lesson.number if is_late else 0, size=lesson.size if is_late else None,
        pulse_ms=_other_ms(lesson) if is_late else lesson.pulse_ms,
    )  # fmt: skip


def pulsed(lesson: Lesson, *, at_ms: int, ms: int, code: str = "") -> Lesson:
    """Take in that the coil went on at `at_ms` for `ms`, or why it did not.

    A code that begins with `doubt:` means that nobody knows whether it was on.
    """
    _phase(lesson, "pulsing")
    if code and not code.startswith("doubt:"):
        return _done(lesson, code)
    before = sorted((lesson.last, *lesson.early), key=lambda sample: sample.at_ms)
    after = [sample for sample in before if sample.at_ms > at_ms]
    rest = next((one for one in reversed(before) if one.at_ms <= at_ms), lesson.last)
    lesson = replace(
        lesson, phase="watching", began_ms=at_ms, early=(), last=rest,
        code=code.removeprefix("doubt:"), tracks=at_rest(rest), dips=_dips(lesson, rest),
        attempts=(*lesson.attempts, Attempt(ms, None)),
    )  # fmt: skip
    for sample in after:
        lesson = seen(lesson, sample)
    return lesson


def seen(lesson: Lesson, sample: Sample) -> Lesson:
    """Take in what the boards say now. Older samples than the last one are left out."""
    if lesson.phase == "done":
        return replace(lesson, last=merged(lesson.last, sample))
    if lesson.phase == "pulsing":
        early = (*lesson.early, sample)[-EARLY_MAX:]
        return replace(lesson, early=early)
    if sample.at_ms < lesson.last.at_ms:
        return lesson
    tracks = {point: followed(track, point, sample) for point, track in lesson.tracks.items()}
    dips = {point: dipped(dip, point, sample) for point, dip in lesson.dips.items()}
    lesson = replace(
        lesson, last=merged(lesson.last, sample), tracks=tracks,
        dips=dips if lesson.switch else lesson.dips,
    )  # fmt: skip
    if lesson.phase == "watching":
        return _watched(lesson)
    return _shutting(lesson) if lesson.phase == "closing" else _waiting(lesson)


def popped(lesson: Lesson, number: int, size: Size | None = None) -> Lesson:
    """Take the person's word for which door opened. Raises `teach.duplicate`, `teach.phase`."""
    _phase(lesson, "watching", "which", "closing")
    if number in lesson.taken.values() and number != lesson.door:
        raise GatewayError(
            "teach.duplicate", "Give this door a number of its own, or forget the other one first",
            door=number,
        )  # fmt: skip
    lesson = replace(lesson, number=number, size=size or lesson.size)
    if lesson.phase == "watching":
        return lesson
    return _numbered(lesson)


def nothing(lesson: Lesson) -> Lesson:
    """Take the person's word that no door opened. Raises `teach.phase`."""
    _phase(lesson, "watching", "which")
    if lesson.code:
        return _done(lesson, lesson.code)
    moved = _movers(lesson) or [p for p, track in lesson.tracks.items() if track.changes]
    if moved:
        return _done(lesson, "teach.unseen", inputs=_named(moved))
    return _done(lesson, "lock.no_effect", lock=lesson.lock, ms=lesson.attempts[-1].ms)


# --- what the samples mean ------------------------------------------------------------------------


def _watched(lesson: Lesson) -> Lesson:
    """Decide who moved, as soon as all that moves with it has had its time."""
    movers = _movers(lesson)
    passed = lesson.last.at_ms - lesson.began_ms
    if not movers:
        if passed < WATCH_MS:
            return lesson
        return _asked(_silent(lesson))
    first = min(lesson.tracks[point].first_ms for point in movers)
    if lesson.last.at_ms - first < MOVERS_MS:
        return lesson
    shut = {point: lesson.tracks[point].rest for point in movers}
    lesson = replace(lesson, shut=shut)
    foreign = [point for point in movers if _foreign(lesson, point)]
    if len(movers) > 1:
        return _done(lesson, "teach.two_moved", inputs=_named(movers))
    if foreign:
        door = lesson.taken[foreign[0]]
        return _done(lesson, "teach.crossed", input=foreign[0], door=door)
    return _switched(lesson, movers[0])


def _switched(lesson: Lesson, point: str) -> Lesson:
    """One input moved, and it is nobody's."""
    track = lesson.tracks[point]
    took = track.first_ms - lesson.began_ms
    least = max(0, track.still_ms - lesson.began_ms)
    attempts = (*lesson.attempts[:-1], Attempt(lesson.attempts[-1].ms, took, least))
    lesson = replace(lesson, attempts=attempts)
    if track.now == track.rest:
        return _done(lesson, "teach.fell_shut", input=point, took_ms=took)
    lesson = replace(
        lesson, switch=point, code="", open_when="inactive" if track.rest else "active",
        open_ms=took, bounce_ms=track.last_ms - track.first_ms,
    )  # fmt: skip
    if follows_the_end(attempts):
        return _done(lesson, "lock.energise_to_lock", lock=lesson.lock, took_ms=took)
    return _asked(lesson)


def _asked(lesson: Lesson) -> Lesson:
    """Ask which door it was, unless the person has said so."""
    lesson = replace(lesson, phase="which")
    return _numbered(lesson) if lesson.number else lesson


def _numbered(lesson: Lesson) -> Lesson:
    """The number is known: a door opened for sure, so its switch has moved, or says nothing."""
    if lesson.switch:
        return _shutting(replace(lesson, phase="closing"))
    late = _changed(lesson)
    if late:
        return _done(lesson, "teach.open_before", inputs=_named(late))
    return _done(lesson, "teach.nothing_moved", lock=lesson.lock, door=lesson.number)


def _waiting(lesson: Lesson) -> Lesson:
    """An input that moves long after the pulse: a person shut what stood open."""
    late = [] if lesson.switch else _changed(lesson)
    findings = _without(lesson, "teach.open_before")
    if late:
        findings += (Finding("teach.open_before", lesson.lock, {"inputs": _named(late)}),)
    return replace(lesson, findings=findings)


def _shutting(lesson: Lesson) -> Lesson:
    """Wait for the switch to come back and stand still; then say what else was learned."""
    switch = lesson.tracks[lesson.switch]
    board = lesson.switch.partition(":")[0]
    still = switch.now == switch.rest and lesson.last.at_ms - switch.last_ms >= STILL_MS
    others = [
        point
        for point, track in lesson.tracks.items()
        if point != lesson.switch and track.changes and track.now != track.rest
    ]
    if not still or board not in lesson.last.inputs:
        came_back = [p for p in others if lesson.tracks[p].rest != switch.rest]
        findings = _without(lesson, "teach.crossed")
        if came_back:
            findings += (Finding("teach.crossed", lesson.lock, {"inputs": _named(came_back)}),)
        return replace(lesson, findings=findings)
    together = [p for p in others if abs(lesson.tracks[p].last_ms - switch.last_ms) <= TOGETHER_MS]
    if together:
        return _done(lesson, "teach.crossed", inputs=_named([lesson.switch, *together]))
    if is_late(lesson.attempts):
        attempt = lesson.attempts[-1]
        return _done(lesson, "lock.opened_late", took_ms=lesson.open_ms, ms=attempt.ms)
    return _done(_sensed(replace(lesson, findings=()), others), "")


def _sensed(lesson: Lesson, left: list[str]) -> Lesson:
    """Find the one sensor that saw something put in and taken out again."""
    switch = lesson.tracks[lesson.switch]
    bits = [
        point
        for point, track in lesson.tracks.items()
        if point != lesson.switch
        and track.changes
        and track.now == track.rest
        and track.last_ms <= switch.last_ms
        and not _foreign(lesson, point)
    ]
    dips = [p for p, dip in lesson.dips.items() if is_dip(dip) and not _foreign(lesson, p)]
    findings = lesson.findings
    if left:
        findings += (Finding("teach.left_changed", lesson.lock, {"inputs": _named(left)}),)
    if len(bits) + len(dips) > 1:
        seen_by: dict[str, str | int] = {"inputs": _named([*bits, *dips])}
        findings += (Finding("teach.occupancy_unclear", lesson.lock, seen_by),)
    elif bits:
        sense: Sense = "inactive" if lesson.tracks[bits[0]].rest else "active"
        lesson = replace(lesson, occupancy=bits[0], occupied_when=sense)
    elif dips:
        dip = lesson.dips[dips[0]]
        below = (min(dip.rest, dip.now) + dip.low) // 2
        lesson = replace(lesson, occupancy=dips[0].partition("#")[0], occupied_below=below)
    return replace(lesson, findings=findings)


def _silent(lesson: Lesson) -> Lesson:
    """Say which boards did not answer while nothing moved: the switch may be on one of them."""
    asked = {point.partition(":")[0] for point in lesson.tracks}
    missing = sorted(asked - set(lesson.last.inputs))
    if not missing:
        return lesson
    finding = Finding("teach.board_silent", lesson.lock, {"boards": _named(missing)})
    return replace(lesson, findings=(*lesson.findings, finding))


# --- small parts ----------------------------------------------------------------------------------


def _dips(lesson: Lesson, sample: Sample) -> dict[str, Dip]:
    return {
        f"{board}:{channel}#": Dip(value, value, value)
        for board, values in sample.values.items()
        for channel, value in enumerate(values)
        if value is not None and f"{board}:{channel}" in lesson.distances
    }


def _movers(lesson: Lesson) -> list[str]:
    """Return the first input to move in time, and all that moved within a second of it."""
    changed = {p: track.first_ms for p, track in lesson.tracks.items() if track.changes}
    first = min(changed.values(), default=None)
    if first is None or first - lesson.began_ms > WATCH_MS:
        return []
    return [point for point, at_ms in changed.items() if at_ms - first < MOVERS_MS]


def _changed(lesson: Lesson) -> list[str]:
    return [point for point, track in lesson.tracks.items() if track.changes]


def _foreign(lesson: Lesson, point: str) -> bool:
    return lesson.taken.get(point, lesson.door) != lesson.door


def _named(points: list[str]) -> str:
    return " ".join(sorted(points)[:POINTS_NAMED])


def _without(lesson: Lesson, code: str) -> tuple[Finding, ...]:
    return tuple(finding for finding in lesson.findings if finding.code != code)


def _done(lesson: Lesson, code: str, **evidence: str | int) -> Lesson:
    findings = lesson.findings
    if code:
        findings = (*_without(lesson, code), Finding(code, lesson.lock, evidence))
    return replace(lesson, phase="done", code=code, findings=findings)


def _other_ms(lesson: Lesson) -> int:
    """Return a pulse of clearly another length: longer where the board allows it."""
    ms = lesson.attempts[-1].ms
    longer = min(2 * ms, lesson.pulse_max)
    return longer if longer - ms >= SPREAD_MS else max(10, ms - SPREAD_MS)


def _phase(lesson: Lesson, *phases: Phase) -> None:
    if lesson.phase not in phases:
        raise GatewayError(
            "teach.phase", "Look at what this door waits for, then do that", phase=lesson.phase
        )


def _refuse_open(lesson: Lesson) -> None:
    """Refuse a pulse at a door that stands open: what moves then proves nothing."""
    now = at_rest(lesson.last)
    opened = [p for p, shut in lesson.shut.items() if p in now and now[p].now != shut]
    if opened:
        raise GatewayError(
            "teach.open_before", "Shut the door of this lock, then try again", inputs=_named(opened)
        )
