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
    Late,
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
TAIL_S: Final = 0.06  # in which a second board's answer still comes
TAILS: Final = 4
SURPLUS_MAX: Final = 1024
PATIENT_MS: Final = 900  # for a unit that was seen to answer late
AGAIN: Final = 12
HOPELESS: Final = 4  # broken answers in a row: more of them prove no more
OBJECTS_MAX: Final = 8  # answers to one identification
_GATEWAY_SILENT: Final = frozenset({10, 11})  # a gateway says so in place of its silent unit
_EXCEPTION_LENGTH: Final = 5
_AROUND: Final = 3  # bytes of an RTU frame around its PDU
_TCP_HEAD: Final = 6  # where the unit stands in a Modbus TCP frame
_TCP_MORE: Final = 4  # bytes that a frame has more there
_SHORTEST: Final = 4


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
class _Heard:
    """What was sent, and all that came until the next question was."""

    sent: bytes = b""
    came: bytes = b""


@dataclass(slots=True)
class _Question:
    """One question to one unit, repeated: times asked, answered, broken; bytes of its answer."""

    length: int
    asked: int = 0
    good: int = 0
    broken: int = 0
    said: Reply | None = None


@dataclass(slots=True)
class _Seen:
    questions: dict[Read | Identify, _Question] = field(default_factory=dict)
    doubled: int = 0
    changed: int = 0


class Prober:
    """Questions to the units of one line, one after the other."""

    def __init__(self, line: Line, wait_ms: int, stop: Callable[[], bool] = lambda: False) -> None:
        self.line = line
        self.wait_ms = wait_ms
        self._stop = stop
        self._seen: dict[int, _Seen] = {}
        self._last: tuple[int, int, _Heard] | None = None
        self._heard = _Heard()
        line.watch(self._trace)

    async def ask(self, unit: int, request: Read | Identify, wait_ms: int = 0) -> Reply:
        """Ask once. Raises `Stopped` before the question, `LinkDown` when the line is gone."""
        if self._stop():
            raise Stopped
        self.line.hurry(unit, wait_ms or self.wait_ms)
        reply = await self._reply(unit, request)
        self._note_surplus()  # of the question before: all that belongs to it has come
        length = answer_pdu_bytes(request) + _AROUND
        asked = self._seen.setdefault(unit, _Seen()).questions.setdefault(
            request, _Question(length)
        )
        if reply.kind == "refused":
            asked.length = _EXCEPTION_LENGTH
        asked.asked += 1
        asked.good += reply.sound
        asked.broken += reply.kind in {"nonsense", "other"}
        told = reply.sound and isinstance(request, Read)  # the length of an answer that is known
        self._last = (unit, asked.length, self._heard) if told else None
        return reply

    async def again(
        self,
        unit: int,
        reads: Iterable[Read],
        *,
        times: int = AGAIN,
        constant: frozenset[Read] = frozenset(),
    ) -> Pattern:
        """Ask each read so often; return how the unit has answered since this prober was made.

        What is in `constant` must always say the same, and every read must either always be
        answered or always be refused. After the first few answers the line is left alone for a
        while: a second board's answer then comes for itself.
        """
        tails = TAILS
        for read in reads:
            in_a_row = 0
            for number in range(times):
                reply = await self.ask(unit, read)
                in_a_row = 0 if reply.sound else in_a_row + 1
                if in_a_row >= HOPELESS:
                    break
                self._compare(unit, read, reply, exactly=read in constant)
                if tails or not number:
                    tails = max(0, tails - 1)
                    await asyncio.sleep(TAIL_S)
        await asyncio.sleep(TAIL_S)
        self._note_surplus()
        return self.pattern(unit)

    def pattern(self, unit: int) -> Pattern:
        """Return how the unit has answered so far."""
        seen = self._seen.get(unit, _Seen())
        lengths: dict[int, list[_Question]] = {}
        for asked in seen.questions.values():
            lengths.setdefault(asked.length, []).append(asked)
        tallies = tuple(
            Tally(
                length,
                sum(one.asked for one in same),
                sum(one.good for one in same),
                sum(one.broken for one in same),
            )
            for length, same in sorted(lengths.items())
        )
        return Pattern(tallies, seen.doubled, seen.changed)

    def hopeless(self, unit: int) -> bool:
        """Whether most of this unit's answers are broken, so that more questions tell nothing."""
        tallies = self.pattern(unit).tallies
        broken = sum(tally.broken for tally in tallies)
        return broken >= HOPELESS and broken > sum(tally.good for tally in tallies)

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
            except (TimedOut, UnitLost, Late):
                return Reply("silent")
            except (Nonsense, OtherQuestion) as error:
                raw = bytes.fromhex(str(error.evidence.get("got", ""))) or self._heard.came
                return Reply("other" if isinstance(error, OtherQuestion) else "nonsense", raw=raw)
        raise AssertionError  # pragma: no cover  # the second time returns or raises

    async def _back(self) -> bool:
        """Wait until a line that was cut is up again."""
        for _ in range(round(BACK_S / BACK_STEP_S)):
            if self.line.up:
                return True
            await asyncio.sleep(BACK_STEP_S)
        return self.line.up

    def _trace(self, direction: str, data: bytes) -> None:
        if direction == "tx":
            self._heard = _Heard(data)
        else:
            self._heard.came += data[:SURPLUS_MAX]

    def _note_surplus(self) -> None:
        """Note a whole frame's worth of bytes behind a good answer: a second board gave them.

        A byte or two are only the line coming to rest; what comes before an answer is noise.
        """
        if self._last is None:
            return
        unit, length, heard = self._last
        self._last = None
        came = heard.came[len(heard.sent) :] if self.line.echo else heard.came
        head = 0 if self.line.spec.rtu else _TCP_HEAD
        surplus = len(came) - length - (_TCP_MORE if head else 0)
        self._seen[unit].doubled += surplus >= _SHORTEST and came[head : head + 1] == bytes((unit,))

    def _compare(self, unit: int, read: Read, reply: Reply, *, exactly: bool) -> None:
        if not reply.sound:
            return
        seen = self._seen[unit]
        asked = seen.questions[read]
        first = asked.said = asked.said or reply
        differs = first.kind != reply.kind or (exactly and first.values != reply.values)
        seen.changed += differs


Said = dict[Read, tuple[int, ...] | None]
"""Answers as `adapters.identify` takes them, while they are gathered."""


async def examine(
    prober: Prober, about: str, unit: int, profiles: tuple[Profile, ...]
) -> tuple[Found, Said]:
    """Find out which board a unit is, and what is wrong with it; with what it answered."""
    answers: Said = {}
    while (question := identify.next_question(profiles, unit, answers)) is not None:
        if prober.hopeless(unit):
            return Found(prober.line.spec, unit), answers
        await _ask_into(answers, prober, unit, question)
    matches = identify.judge(profiles, unit, answers)
    findings: list[Finding] = []
    if not matches:
        matches = await _measure(answers, prober, unit)
        findings += [
            trouble.firmware(about, unit, name, needs)
            for name, needs in identify.outdated(profiles, unit, answers)
        ]
    chosen = next((p for p in profiles if matches and p.profile == matches[0].profile), None)
    if chosen is not None:
        for read in trouble.setting_reads(chosen):
            await _ask_into(answers, prober, unit, read)
        findings += trouble.linkage(f"{about}/{unit}", chosen, answers)
    sure = matches and matches[0].confidence == "certain" and prober.line.spec.rtu
    said = {} if sure else await describe(prober, unit)
    return Found(prober.line.spec, unit, matches, said, tuple(findings)), answers


async def _ask_into(answers: Said, prober: Prober, unit: int, read: Read) -> None:
    """Ask what was not asked yet; once more where the answer came broken."""
    if read in answers:
        return
    reply = await prober.ask(unit, read)
    if reply.kind in {"nonsense", "other"}:
        reply = await prober.ask(unit, read)
    answers[read] = None if reply.kind == "refused" else reply.values


async def _measure(answers: Said, prober: Prober, unit: int) -> tuple[Match, ...]:
    """Count the coils and inputs of a board nobody knows."""
    for function in (READ_COILS, READ_DISCRETE):
        while isinstance(read := identify.counting(function, answers), Read):
            await _ask_into(answers, prober, unit, read)
    suggested = identify.generic(answers)
    return () if suggested is None else (suggested,)


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
