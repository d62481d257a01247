"""Ask one unit harmless questions, and take down how it answered.

Only reads and identifications pass through here: `Prober.ask` takes nothing else, and the unit has
no profile on its line, so that the line's guard refuses every write as well.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from adapters import identify, trouble
from adapters.bus import Line, Priority, SerialSpec, TcpSpec
from adapters.errors import (
    LinkDown,
    Nonsense,
    OtherQuestion,
    Refused,
    TimedOut,
    UnitLost,
)
from adapters.identify import Answers, Match
from adapters.profile import Profile
from adapters.reading import (
    READ_COILS,
    READ_DISCRETE,
    Identify,
    Read,
    answer_pdu_bytes,
)
from adapters.trouble import Finding, Pattern, Tally

DEADLINE_MS: Final = 5000
BACK_S: Final = 2.0  # a link that was cut for nonsense is back long before
BACK_STEP_S: Final = 0.01
TAIL_S: Final = 0.05  # in which a second board's answer still comes
PATIENT_MS: Final = 900  # for a unit that was seen to answer late
AGAIN: Final = 12
HOPELESS: Final = 4  # broken answers in a row: more of them prove no more
OBJECTS_MAX: Final = 8  # answers to one identification
_GATEWAY_SILENT: Final = frozenset({10, 11})  # a gateway says so in place of its silent unit
_EXCEPTION_LENGTH: Final = 5


class Stopped(Exception):  # noqa: N818  # a wish, not an error
    """Somebody wants no more questions."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one question brought. `raw`: the first bytes of what was no answer."""

    kind: Literal["good", "refused", "silent", "nonsense", "other"]
    values: tuple[int, ...] = ()
    raw: bytes = b""

    @property
    def sound(self) -> bool:
        """Whether the unit is there and was understood."""
        return self.kind in {"good", "refused"}


@dataclass(frozen=True, slots=True)
class Found:
    """A unit that answers: where, what it may be, and what is wrong with it.

    No matches: it is there, but not to be spoken to as it is (see the findings).
    """

    spec: SerialSpec | TcpSpec
    unit: int
    matches: tuple[Match, ...] = ()
    device_id: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class _Seen:
    counts: dict[int, list[int]] = field(default_factory=dict)
    doubled: int = 0
    changed: int = 0


class Prober:
    """Questions to the units of one line, one after the other."""

    def __init__(self, line: Line, wait_ms: int, stop: Callable[[], bool] = lambda: False) -> None:
        self.line = line
        self.wait_ms = wait_ms
        self._stop = stop
        self._seen: dict[int, _Seen] = {}
        self._last: tuple[int, int] | None = None
        self._said: dict[tuple[int, Read], Reply] = {}

    async def ask(self, unit: int, request: Read | Identify, wait_ms: int = 0) -> Reply:
        """Ask once. Raises `Stopped` before the question, `LinkDown` when the line is gone."""
        if self._stop():
            raise Stopped
        self._note_strays()
        self.line.hurry(unit, wait_ms or self.wait_ms)
        reply = await self._reply(unit, request)
        self._last = (unit, self.line.counters.strays) if reply.sound else None
        length = answer_pdu_bytes(request) + 3
        if reply.kind == "refused":
            length = _EXCEPTION_LENGTH
        counts = self._seen.setdefault(unit, _Seen()).counts.setdefault(length, [0, 0, 0])
        counts[0] += 1
        counts[1] += reply.sound
        counts[2] += reply.kind in {"nonsense", "other"}
        return reply

    async def again(
        self,
        unit: int,
        reads: Iterable[Read],
        *,
        times: int = AGAIN,
        constant: frozenset[Read] = frozenset(),
    ) -> Pattern:
        """Ask each read so often; return how the unit has answered since the line was opened.

        What is in `constant` must always say the same, and every read must either always be
        answered or always be refused.
        """
        for read in reads:
            broken = 0
            for _ in range(times):
                reply = await self.ask(unit, read)
                broken = 0 if reply.sound else broken + 1
                if broken >= HOPELESS:
                    break
                self._compare(unit, read, reply, exactly=read in constant)
        await asyncio.sleep(TAIL_S)
        self._note_strays()
        return self.pattern(unit)

    def pattern(self, unit: int) -> Pattern:
        """Return how the unit has answered so far."""
        seen = self._seen.get(unit, _Seen())
        tallies = tuple(Tally(length, *counts) for length, counts in sorted(seen.counts.items()))
        return Pattern(tallies, seen.doubled, seen.changed)

    async def _reply(self, unit: int, request: Read | Identify) -> Reply:
        for last in (False, True):
            try:
                handle = self.line.unit(unit)
                return Reply("good", await handle.ask(request, Priority.POLL, DEADLINE_MS))
            except LinkDown:
                if last or not await self._back():
                    raise
            except Refused as error:
                silent = error.evidence.get("exception") in _GATEWAY_SILENT
                return Reply("silent" if silent else "refused")
            except (TimedOut, UnitLost):
                return Reply("silent")
            except (Nonsense, OtherQuestion) as error:
                raw = bytes.fromhex(str(error.evidence.get("got", "")))
                return Reply("other" if isinstance(error, OtherQuestion) else "nonsense", raw=raw)
        raise AssertionError  # pragma: no cover  # the second time returns or raises

    async def _back(self) -> bool:
        """Wait until a line that was cut is up again."""
        for _ in range(round(BACK_S / BACK_STEP_S)):
            if self.line.up:
                return True
            await asyncio.sleep(BACK_STEP_S)
        return self.line.up

    def _note_strays(self) -> None:
        """Note bytes that came after a good answer: to the unit that gave it."""
        if self._last is not None and self.line.counters.strays > self._last[1]:
            self._seen[self._last[0]].doubled += 1
        self._last = None

    def _compare(self, unit: int, read: Read, reply: Reply, *, exactly: bool) -> None:
        if not reply.sound:
            return
        first = self._said.setdefault((unit, read), reply)
        differs = first.kind != reply.kind or (exactly and first.values != reply.values)
        self._seen[unit].changed += differs


async def examine(
    prober: Prober, about: str, unit: int, profiles: tuple[Profile, ...]
) -> tuple[Found, dict[Read, tuple[int, ...] | None]]:
    """Find out which board a unit is, and what is wrong with it; with what it answered."""
    answers: dict[Read, tuple[int, ...] | None] = {}

    async def answer(read: Read) -> None:
        reply = await prober.ask(unit, read)
        answers[read] = None if reply.kind == "refused" else reply.values

    while (question := identify.next_question(profiles, unit, answers)) is not None:
        await answer(question)
    matches = identify.judge(profiles, unit, answers)
    findings: list[Finding] = []
    if not matches:
        for function in (READ_COILS, READ_DISCRETE):
            while isinstance(read := identify.counting(function, answers), Read):
                await answer(read)
        suggested = identify.generic(answers)
        matches = () if suggested is None else (suggested,)
        findings += [
            trouble.firmware(about, unit, name, needs)
            for name, needs in identify.outdated(profiles, unit, answers)
        ]
    chosen = next((p for p in profiles if matches and p.profile == matches[0].profile), None)
    if chosen is not None:
        for read in trouble.setting_reads(chosen):
            if read not in answers:
                await answer(read)
        findings += trouble.linkage(f"{about}/{unit}", chosen, answers)
    sure = matches and matches[0].confidence == "certain" and prober.line.spec.rtu
    said = {} if sure else await describe(prober, unit)
    return Found(prober.line.spec, unit, matches, said, tuple(findings)), answers


async def describe(prober: Prober, unit: int) -> dict[str, str]:
    """Ask a unit who it is (function 43/14); {} when it does not know the question."""
    said: dict[str, str] = {}
    start = 0
    for _ in range(OBJECTS_MAX):
        reply = await prober.ask(unit, Identify(start))
        if reply.kind != "good":
            break
        said |= identify.objects(reply.values)
        more, start = bool(reply.values[0]), reply.values[1]
        if not more:
            break
    return said


def telling_reads(answers: Answers) -> tuple[Read, ...]:
    """Return the shortest and the longest read that were answered well: where errors show."""
    good = sorted(
        (read for read, values in answers.items() if values),
        key=answer_pdu_bytes,
    )
    return tuple(dict.fromkeys((good[0], good[-1]))) if good else ()
