"""The job that teaches one lock: pulse it, look at everything, until its door is known.

The lesson decides (`gateway.commissioning.lesson`); here are the pulses, each with its durable
intent and its one outcome, and the looks. A person's words come in between by `Teacher.say`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from adapters.errors import AdapterError
from gateway.commissioning import draft as drafts
from gateway.commissioning import lesson as lessons
from gateway.commissioning import points
from gateway.commissioning.draft import Draft, of
from gateway.commissioning.findings import Finding
from gateway.commissioning.hold import Hold, Job
from gateway.commissioning.lesson import Lesson, Sample
from gateway.commissioning.rig import Rig, as_gateway
from gateway.core.inputs import Command, LockTold, LockTried, Now
from gateway.core.outputs import Answer
from gateway.errors import GatewayError

LOOK_S: Final = 0.04
"""Between two looks at all boards; the lines' own time comes on top."""
LOOKS_MAX: Final = 5
MARGIN_MS: Final = 200
"""A pulse that could not begin so long before its deadline is not begun."""
DOUBT: Final = "doubt:"


class Pulser:
    """Pulses a lock of the draft: intent durable, coil on, outcome on record."""

    def __init__(
        self, rig: Rig, ask: Callable[[Command], Awaitable[Answer]], now: Callable[[], Now]
    ) -> None:
        self._rig, self._ask, self._now = rig, ask, now
        self.is_heard = True
        """Whether an engine decides on what is told: not while its life ends."""

    async def intend(self, draft: Draft, lock: str, ms: int, by: str) -> Answer:
        """Put the intent on the disk. GatewayError with the engine's code."""
        board = draft.boards[of(lock)]
        now = self._now()
        answer = await self._ask(
            LockTried(now=now, token="", by=by, lock=lock, line=board.line, unit=board.unit, ms=ms)
        )
        if answer.code:
            raise refused(answer)
        return answer

    async def ready(self, draft: Draft, lock: str) -> None:
        """Have the board of a lock in its safe state. GatewayError with the bus's code."""
        board = draft.boards[of(lock)]
        try:
            await self._rig.ready(board.item, draft.lines[board.line])
        except AdapterError as error:
            raise as_gateway(error) from error

    async def pulse(self, draft: Draft, lock: str, ms: int, intent: Answer) -> str:
        """Pulse once, before the intent's deadline; return why not, or nothing."""
        deadline = int(dict(intent.evidence)["deadline"])
        if self._now().mono_ms > deadline - MARGIN_MS:
            return "bus.late"
        board = draft.boards[of(lock)]
        _, code = await self._rig.pulse(
            board.item, draft.lines[board.line], drafts.channel(lock), ms
        )
        return code

    async def tell(self, intent: Answer, code: str, took_ms: int | None, by: str) -> None:
        """Put the outcome on record. Where that fails, a restart says doubt."""
        if not self.is_heard:
            return
        if code.startswith(DOUBT):
            outcome, why = "doubt", code.removeprefix(DOUBT)
        elif code:
            outcome, why = "failed", code
        else:
            outcome, why = ("pulsed" if took_ms is None else "opened"), ""
        with contextlib.suppress(GatewayError):
            await self._ask(
                LockTold(
                    now=self._now(), token="", by=by, of=intent.ref, why=why, took_ms=took_ms,
                    outcome=outcome,  # type: ignore[arg-type]  # one of the four, by the lines above
                )
            )  # fmt: skip


REMEDIES: Final = {
    "door.occupied": "A parcel may be behind this lock: it is not opened here",
    "site.busy": "Wait until nobody is at a door",
    "lock.busy": "Wait until this lock's last try is on record",
    "lock.pulse": "Choose a pulse of 10 to 1000 ms",
    "map.in_use": "A parcel is behind this door: it stays in the map, and where it is wired",
    "map.size": "A site has 1 to 3,084 compartments",
    "map.malformed": "Begin this draft again: an item of it fits no entry",
    "log.full": "Free space on this disk",
    "log.failed": "Check the disk; the gateway starts again by itself",
    "site.closed": "Wait until this site is in service again",
    "site.starting": "Wait until this site is in service again",
    "site.decommissioned": "This site has ended; enrol a new one",
}
"""What a person can do about what the engine refuses here."""


def refused(answer: Answer) -> GatewayError:
    """Return what the engine refused, with what a person can do."""
    return GatewayError(answer.code, REMEDIES.get(answer.code, ""), **dict(answer.evidence))


class Teacher:
    """One installer's lesson at a time."""

    def __init__(self, hold: Hold, rig: Rig, pulser: Pulser, by: str) -> None:
        self._hold, self._rig, self._pulser, self._by = hold, rig, pulser, by

    async def look(self) -> tuple[Sample, ...]:
        """Look at all boards once; what they say after each answer."""
        draft = self._draft()
        boards = {name: board.item for name, board in draft.boards.items()}
        return await self._rig.look(boards, draft.lines)

    async def teach(self, job: Job, lock: str, ms: int | None) -> None:
        """Teach one lock until it is known, refused, or nobody wants it any more."""
        draft = self._draft()
        self._hold.teach(None)
        rest = await self._rest()
        door = drafts.door_of(draft, lock)
        if door is not None and points.of_door(door, rest)[1]:
            raise GatewayError("door.occupied", REMEDIES["door.occupied"], door=door.number)
        self._hold.teach(drafts.teach(draft, lock, rest, ms=ms))
        await self._go_on(job)

    async def again(self, job: Job) -> None:
        """Pulse once more at the lock whose lesson is done, or waits."""
        lesson = self._lesson()
        if lesson.lock not in drafts.locks(self._draft()):
            raise GatewayError("teach.no_lock", "Adopt its board first", lock=lesson.lock)
        self._hold.teach(lessons.again(lessons.seen(lesson, await self._rest())))
        await self._go_on(job)

    async def _rest(self) -> Sample:
        """Look until every board with inputs has answered, or a few times: how the bank rests."""
        expected = {name for name, one in self._draft().boards.items() if one.kind.inputs}
        sample = (await self.look())[-1]
        for _ in range(LOOKS_MAX):
            if expected <= sample.inputs.keys():
                break
            await asyncio.sleep(LOOK_S)
            sample = (await self.look())[-1]
        return sample

    async def _go_on(self, job: Job) -> None:
        intent, told = await self._intend(), False
        try:
            await self._pulse(intent)
            while not job.stop.is_set():
                await self._see()
                lesson = self._lesson()
                if not told and lesson.phase not in {"pulsing", "watching"}:
                    told = True
                    await self._tell(intent, lesson)
                if lesson.phase == "done":
                    break
                await asyncio.sleep(LOOK_S)
        finally:
            if not told:
                await self._tell(intent, self._lesson())
        await self._end(self._lesson())

    async def _intend(self) -> Answer:
        lesson, draft = self._lesson(), self._draft()
        await self._pulser.ready(draft, lesson.lock)
        await self._rig.rest(lesson.lock)
        return await self._pulser.intend(draft, lesson.lock, lesson.pulse_ms, self._by)

    async def _pulse(self, intent: Answer) -> None:
        """Pulse, looking meanwhile: what moves during the pulse is what counts."""
        lesson = self._lesson()
        lock, ms = lesson.lock, lesson.pulse_ms
        at_ms = self._rig.now_ms()
        pulsing = asyncio.create_task(self._pulser.pulse(self._draft(), lock, ms, intent))
        try:
            while not pulsing.done():
                await self._see()
                await asyncio.wait({pulsing}, timeout=LOOK_S)
        finally:
            code = await pulsing  # it ends by itself, its coil off
            self._hold.teach(lessons.pulsed(self._lesson(), at_ms=at_ms, ms=ms, code=code))

    async def _see(self) -> None:
        """Let the lesson see what all boards say now, answer by answer."""
        for sample in await self.look():
            self._hold.teach(lessons.seen(self._lesson(), sample))

    async def _tell(self, intent: Answer, lesson: Lesson) -> None:
        took = lesson.attempts[-1].took_ms if lesson.attempts else None
        code = lesson.code if not lesson.attempts else ""
        await self._pulser.tell(intent, code, took, self._by)

    async def _end(self, lesson: Lesson) -> None:
        """Keep the door that was taught; raise why it was not."""
        if lesson.taught:
            wall_ms = self._rig.wall_ms()
            await self._hold.change(lambda draft: drafts.taught(draft, lesson, wall_ms))
            return
        if lesson.phase == "done":
            why = next((one for one in lesson.findings if one.code == lesson.code), None)
            evidence = {} if why is None else dict(why.evidence)
            raise GatewayError(lesson.code, _cure(why), **evidence)
        raise GatewayError("commission.stopped", "Begin it again")

    def say(self, word: Callable[[Lesson], Lesson]) -> None:
        """Take in what the person at the doors says. GatewayError `teach.no_lesson`, `teach.*`."""
        self._hold.teach(word(self._lesson()))

    def _lesson(self) -> Lesson:
        if self._hold.lesson is None:
            raise GatewayError("teach.no_lesson", "Open a lock first")
        return self._hold.lesson

    def _draft(self) -> Draft:
        assert self._hold.draft is not None  # no job begins without one
        return self._hold.draft


def _cure(why: Finding | None) -> str:
    return "" if why is None else "See what was found, and try this lock again"
