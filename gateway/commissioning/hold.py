"""What is held while somebody commissions: the draft, the lesson, the job; a tick for each change.

One tick is one thing that somebody at a page could see. A draft is durable before it is shown.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gateway.commissioning import draft as drafts
from gateway.commissioning.draft import Draft
from gateway.commissioning.keeping import Shelf
from gateway.commissioning.lesson import Lesson
from gateway.commissioning.proof import DoorTrial
from gateway.errors import GatewayError

PROGRESS_S: Final = 0.25
"""Progress is shown no more often: a scan asks a hundred units a second."""


JobName = Literal["open", "scan", "sweep", "address", "try", "prove"]


@dataclass(slots=True)
class Job:
    """What is going on at the boards; one at a time. `stop` asks it to end soon."""

    name: JobName
    about: str = ""
    done: int = 0
    total: int = 0
    can_stop: bool = True
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self) -> dict[str, Any]:
        """Return what is shown of it."""
        return {
            "name": self.name, "about": self.about, "done": self.done, "total": self.total,
            "can_stop": self.can_stop,
        }  # fmt: skip


class Hold:
    """The one place that changes them. Everything is called on the event loop."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.draft: Draft | None = None
        self.lesson: Lesson | None = None
        self.job: Job | None = None
        self.last: dict[str, Any] | None = None
        self.ports: list[dict[str, Any]] = []
        self.trials: dict[int, DoorTrial] | None = None
        """Doors of a proof that goes on: not in the draft before it is whole."""
        self.tick = 0
        self._changed = asyncio.Event()
        self._keeping = asyncio.Lock()
        self._told_s = 0.0

    def ended(
        self,
        job: JobName,
        code: str = "",
        remedy: str = "",
        evidence: dict[str, object] | None = None,
    ) -> None:
        """Show how the last job ended: `code` is empty, or says why not."""
        plain = {key: drafts.plain(value) for key, value in (evidence or {}).items()}
        self.last = {"job": job, "code": code, "remedy": remedy, "evidence": plain}
        self.touch()

    def live(self) -> dict[str, Any]:
        """Return what a job found that is not in the draft: ports, doors that wait to be shut."""
        waiting = [
            number
            for number, trial in sorted((self.trials or {}).items())
            if trial.took_ms is not None and trial.switch_back is None
        ]
        return {"ports": self.ports, "open_doors": waiting}

    async def put(self, draft: Draft) -> None:
        """Keep another draft. GatewayError `commission.disk`: then the older one stands."""
        async with self._keeping:
            await self._write(draft)

    async def change(self, step: Callable[[Draft], Draft]) -> None:
        """Keep the draft after a step; a job and an act at once are one after the other.

        Raises what the step raises; GatewayError `commission.disk`, `commission.none`.
        """
        async with self._keeping:
            if self.draft is None:
                raise GatewayError("commission.none", "Begin first")
            await self._write(step(self.draft))

    async def _write(self, draft: Draft) -> None:
        writing = asyncio.create_task(asyncio.to_thread(self.shelf.write, drafts.encode(draft)))
        try:
            await asyncio.shield(writing)
        finally:
            # Who is cancelled leaves when the disk has spoken: no draft comes back after `drop`.
            await asyncio.wait({writing})
            if writing.exception() is None:
                self.draft = draft
                self.touch()

    async def drop(self) -> None:
        """Throw the draft away."""
        async with self._keeping:
            await asyncio.to_thread(self.shelf.drop)
        self.draft = self.lesson = self.last = self.trials = None
        self.ports = []
        self.touch()

    def teach(self, lesson: Lesson | None) -> None:
        """Show a lesson as it stands; what cannot be seen of it makes no tick."""
        before, self.lesson = self.lesson, lesson
        if _seen(before) != _seen(lesson):
            self.touch()

    def progress(self, done: int, total: int, about: str) -> None:
        """Show how far the job is, a few times a second."""
        if self.job is None:
            return
        self.job.done, self.job.total, self.job.about = done, total, about
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s >= PROGRESS_S or done == total:
            self._told_s = now_s
            self.touch()

    def touch(self) -> None:
        """Something that can be seen is another."""
        self.tick += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def later(self, after: int, wait_s: float) -> None:
        """Return when the tick is no longer `after`, or after `wait_s`."""
        until = asyncio.get_running_loop().time() + wait_s
        while self.tick == after:
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                return


def _seen(lesson: Lesson | None) -> tuple[object, ...]:
    if lesson is None:
        return ()
    return (
        lesson.lock, lesson.phase, lesson.switch, lesson.number, lesson.code, lesson.occupancy,
        lesson.findings, len(lesson.attempts), lesson.bounce_ms,
    )  # fmt: skip
