"""The bench: where an installer works at this site's boards, one at a time, one job at a time.

While it is open it owns every line, and this site's life has no boards (`wanted`, `beside`): the
kiosks are out of service. The draft is one file, durable before an act is answered; the map changes
in one turn of the engine at `sign`, so whatever is cancelled, cut off or done twice leaves the old
map or the new one. No coil is switched on before the engine has put its intent on the disk.

What is learned is decided in the pure rooms beside this one; here are lines, tasks and time.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, assert_never

import msgspec

from adapters.errors import AdapterError
from gateway import logs
from gateway.commissioning import acts, convert, view
from gateway.commissioning import draft as drafts
from gateway.commissioning import lesson as lessons
from gateway.commissioning.draft import Draft
from gateway.commissioning.finding import Finder
from gateway.commissioning.hold import Hold, Job, JobName
from gateway.commissioning.keeping import Shelf
from gateway.commissioning.place import Place
from gateway.commissioning.proving import Prover
from gateway.commissioning.rig import Rig, as_gateway
from gateway.commissioning.signing import Signer, held_units
from gateway.commissioning.teaching import Pulser, Teacher, refused
from gateway.core.inputs import BenchAsked
from gateway.errors import GatewayError

APART: Final = "site.commissioning"
IDLE_MS: Final = 15 * 60_000
"""An installer whose phone has died must not keep a site out of service."""
IDLE_LOOK_S: Final = 5.0
LEND_S: Final = 20.0
"""A life ends within two seconds, and the next one begins as a start does."""
STOP_S: Final = 3.0

Work = acts.Scan | acts.Look | acts.Sweep | acts.Address | acts.Try | acts.Again | acts.Prove
"""Acts that take a while, at the boards."""
JOBS: Final[dict[type[Work], JobName]] = {
    acts.Scan: "scan",
    acts.Look: "scan",
    acts.Sweep: "sweep",
    acts.Address: "address",
    acts.Try: "try",
    acts.Again: "try",
    acts.Prove: "prove",
}
AT_DOORS: Final = frozenset({"try", "prove", "address"})
"""Jobs that go by what the draft says of boards and doors: it stands still meanwhile."""
PERSON: Final = frozenset({"which", "closing"})
"""Phases of a lesson that only a person ends: nobody may ever come."""
_log = logs.get("bench")


class Bench:
    """Satisfies `gateway.ports.BenchPort`. One a process; it outlives every life."""

    def __init__(self, data: Path, place: Place) -> None:
        self._place = place
        self._hold = Hold(Shelf(data))
        self._rig = Rig(place.lines)
        self._pulser = Pulser(self._rig, place.ask, place.now)
        self._signer = Signer(place, self._hold.shelf)
        self._turn, self._loading = asyncio.Lock(), asyncio.Lock()
        self._by = ""
        self._open = self._signing = self._loaded = False
        self._wish = asyncio.Event()
        self._lent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._bug: Exception | None = None
        self._used_ms = 0

    # --- lives ------------------------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether the next life is to have no boards, because an installer has them."""
        return self._open and not self._signing

    async def beside(self, finish: Callable[[], None], *, lent: bool) -> None:
        """Run beside a life: end it (`finish`) when the boards are wanted, or given back.

        With `lent` they are the bench's until this task ends, whatever ends it.
        """
        try:
            if lent:
                self._pulser.is_heard = True
                self._lent.set()
            while self._open is lent:
                wish, look = self._wish, IDLE_LOOK_S if lent else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(look):
                        await wish.wait()
                if self._bug is not None:
                    raise self._bug  # it ends the process, as a bug anywhere does
                if lent and self._idle():
                    _log.warning("bench.idle", by=self._by)
                    self._close()
        except asyncio.CancelledError:
            self._pulser.is_heard = False  # the engine decides on nothing any more
            raise
        finally:
            self._lent.clear()
            if lent:
                await self._put_down()
        finish()

    def _idle(self) -> bool:
        idle_ms = self._place.now().mono_ms - self._used_ms
        lesson = self._hold.lesson
        waits = lesson is not None and lesson.phase in PERSON
        return self._open and (self._task is None or waits) and idle_ms >= IDLE_MS

    def _wished(self) -> None:
        wish, self._wish = self._wish, asyncio.Event()
        wish.set()

    def _close(self) -> None:
        self._open = False
        self._wished()
        self._hold.touch()

    async def _put_down(self) -> None:
        """Leave every line with its coils off, whatever was going on."""
        await self._end_job()
        await self._rig.close()

    async def _take_boards(self, by: str) -> None:
        """Have the life end and another begin without boards. GatewayError `site.busy`."""
        if self._lent.is_set():
            return
        if not self._open:
            answer = await self._place.ask(BenchAsked(now=self._place.now(), token="", by=by))
            if answer.code:
                raise refused(answer)
            self._place.apart(APART)
            self._open = True
            self._wished()
            self._hold.touch()
        try:
            async with asyncio.timeout(LEND_S):
                await self._lent.wait()
        except TimeoutError:
            self._close()
            self._place.apart("")
            raise GatewayError("commission.not_lent", "Try again in a moment") from None

    # --- what is asked ----------------------------------------------------------------------------

    async def view(
        self, by: str, *, after: int | None = None, wait_s: float = 0
    ) -> Mapping[str, Any]:
        """Return how it stands; with `after` when it is no longer at that tick, or time is up."""
        await self._load()
        if after is not None:
            await self._hold.later(after, wait_s)
        return self._view(by)

    def _view(self, by: str) -> dict[str, Any]:
        hold, draft = self._hold, self._hold.draft
        if draft is not None and hold.trials is not None:
            draft = msgspec.structs.replace(draft, trials=hold.trials)
        signed = self._signed()
        shown = view.view(
            draft,
            lesson=hold.lesson,
            job=None if hold.job is None else hold.job.told(),
            last=hold.last,
            live=hold.live(),
            is_signed=signed is not None,
        )
        return shown | {
            "tick": hold.tick,
            "state": "none" if draft is None else "open" if self.wanted else "closed",
            "by": self._by,
            "mine": by == self._by,
            "signed": signed,
        }

    def _signed(self) -> dict[str, Any] | None:
        """Return the last sign-off, as the book has it; None between two lives too."""
        with contextlib.suppress(GatewayError):
            last = self._place.book().commissioned
            if last is not None:
                return {
                    "ref": last.ref, "by": last.by, "passed": last.passed, "failed": last.failed,
                    "report": last.report,
                }  # fmt: skip
        return None

    async def act(self, by: str, body: bytes) -> Mapping[str, Any]:
        """Do what the JSON object asks, or begin it; return how it stands then.

        Raises GatewayError: `commission.*`, `teach.*`, `map.*`, and those of engine and boards.
        """
        act = acts.read(body)
        await self._load()
        async with self._turn:
            self._used_ms = self._place.now().mono_ms
            await self._do(by, act)
            self._used_ms = self._place.now().mono_ms
        return self._view(by)

    async def _load(self) -> None:
        """Read the draft that an earlier process left, once."""
        async with self._loading:
            if self._loaded:
                return
            data = await asyncio.to_thread(self._hold.shelf.read)
            self._loaded = True
            if data is None:
                return
            try:
                self._hold.draft = drafts.decode(data)
                self._by = self._hold.draft.by
            except GatewayError as error:
                _log.error("bench.draft", code=error.code)
                self._hold.ended("open", error.code, error.remedy)

    async def _do(self, by: str, act: acts.Act) -> None:
        match act:
            case acts.Begin():
                await self._begin(by, act)
            case acts.Take():
                await self._take(by)
            case acts.Stop():
                self._holds(by)
                if self._hold.job is not None and self._hold.job.can_stop:
                    self._hold.job.stop.set()
            case acts.Close():
                self._holds(by)
                await self._end_job()
                self._close()
                self._place.tell("commission.close", by, "")
            case acts.Cancel():
                self._holds(by)
                await self._end_job()
                await self._hold.drop()
                self._close()
                self._place.tell("commission.cancel", by, "")
            case acts.Popped() | acts.Nothing():
                self._holds(by, act)
                self._said(by, act)
            case acts.Sign():
                self._holds(by, act)
                await self._sign(by)
            case (
                acts.Scan() | acts.Look() | acts.Sweep() | acts.Address()
                | acts.Try() | acts.Again() | acts.Prove()
            ):  # fmt: skip
                await self._work(by, act)
            case _:
                await self._change(by, act)

    async def _change(self, by: str, act: acts.DataAct) -> None:
        """Do an act on the draft alone: not while somebody is at a door by what it says."""
        self._holds(by, act)
        if self._hold.job is not None and self._hold.job.name in AT_DOORS:
            raise _busy(self._hold.job)
        wall_ms = self._rig.wall_ms()
        await self._hold.change(
            lambda draft: acts.perform(draft, act, wall_ms, kind_of=convert.kind_of)
        )
        if isinstance(act, acts.DropBoard | acts.RenameBoard | acts.ReplaceBoard):
            self._hold.teach(None)  # its lock may be another coil now

    # --- who holds it -----------------------------------------------------------------------------

    async def _begin(self, by: str, act: acts.Begin) -> None:
        """Take the boards; go on with the draft that is there, unless it is to begin anew."""
        if self._by and self._by != by and self._hold.draft is not None:
            raise _taken(self._by)
        if act.from_ and self._task is not None:
            raise _busy(self._hold.job)
        book = self._place.book()
        await self._take_boards(by)
        draft = self._hold.draft
        if draft is None or act.from_:
            site = convert.site_with_lines(book.map, dict(self._place.lines))
            wall_ms = self._rig.wall_ms()
            start = None if act.from_ == "empty" else site
            self._hold.lesson = self._hold.last = None
            self._hold.ports = []
            draft = drafts.begun(by, wall_ms, start, convert.kind_of)
            base = drafts.base_of(book.map)
            await self._hold.put(msgspec.structs.replace(draft, base=base))
        self._by = by
        self._hold.touch()
        self._place.tell("commission.begin", by, "")

    async def _take(self, by: str) -> None:
        """Take over from another installer, whose phone may be dead. It is on record."""
        draft = self._hold.draft
        if draft is None:
            raise GatewayError("commission.none", "Begin first")
        if self._by != by:
            _log.warning("bench.taken", by=by, before=self._by)
            await self._hold.put(drafts.changed(draft, by=by))
            self._by = by
            self._place.tell("commission.take", by, "")

    def _holds(self, by: str, act: acts.Act | None = None) -> Draft:
        """Return the draft, where this installer holds it and knows how it stands."""
        draft = self._hold.draft
        if draft is None:
            raise GatewayError("commission.none", "Begin first")
        if self._by != by:
            raise _taken(self._by)
        if act is not None:
            acts.fresh(draft, act)
        return draft

    # --- jobs -------------------------------------------------------------------------------------

    async def _work(self, by: str, act: Work) -> None:
        """Begin what takes a while. One job at a time: another is refused `commission.busy`."""
        self._holds(by, act)
        if self._task is not None:
            raise _busy(self._hold.job)
        await self._take_boards(by)
        job = Job(JOBS[type(act)])
        work = self._job(by, act, job)
        self._hold.job, self._hold.last = job, None
        self._task = asyncio.create_task(self._guarded(work, job), name=f"bench {job.name}")
        self._hold.touch()

    def _job(  # noqa: PLR0911  # one line an act
        self, by: str, act: Work, job: Job
    ) -> Coroutine[Any, Any, None]:
        finder = Finder(self._hold, self._rig, strict=by.startswith("installer:"))
        teacher = Teacher(self._hold, self._rig, self._pulser, by)
        draft = self._hold.draft
        assert draft is not None  # `_holds` has looked
        match act:
            case acts.Scan():
                return finder.scan(job, act.ports, act.depth, act.units)
            case acts.Look():
                return finder.look(job, convert.tcp(act.tcp, act.framing), act.framing, act.units)
            case acts.Sweep():
                return finder.sweep(job, act.network)
            case acts.Address():
                line = draft.lines.get(act.line)
                if line is None:
                    raise GatewayError("commission.no_line", "Scan its port first", line=act.line)
                held = held_units(self._place.book(), line)
                return finder.address(job, line, act.profile, act.unit, act.baud, held=held)
            case acts.Try():
                return teacher.teach(job, act.lock, act.ms)
            case acts.Again():
                return teacher.again(job)
            case acts.Prove():
                place = self._place
                prover = Prover(
                    self._hold, self._rig, self._pulser, place.machine, place.book, by=by
                )
                return prover.prove(job, act.doors)
            case _:
                assert_never(act)

    async def _guarded(self, work: Coroutine[Any, Any, None], job: Job) -> None:
        """Do a job to its end; what went wrong is told, and ends nothing else."""
        code, remedy, evidence = "", "", dict[str, object]()
        try:
            await work
        except (GatewayError, AdapterError) as error:
            told = as_gateway(error) if isinstance(error, AdapterError) else error
            code, remedy, evidence = told.code, told.remedy, dict(told.evidence)
            _log.warning("bench.job", job=job.name, code=code)
        except asyncio.CancelledError:
            code, remedy = "commission.stopped", "Begin it again"
        except Exception as error:
            self._bug = error
            self._wished()
            raise
        finally:
            self._hold.job = self._task = self._hold.trials = None
            self._used_ms = self._place.now().mono_ms
            self._hold.ended(job.name, code, remedy, evidence)

    async def _end_job(self) -> None:
        """Have what goes on end: its coil off, its intent with an outcome."""
        if self._task is not None and self._hold.job is not None:
            self._hold.job.stop.set()
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=STOP_S)
        self._hold.lesson = None

    def _said(self, by: str, act: acts.Popped | acts.Nothing) -> None:
        if self._hold.job is None:
            raise GatewayError("teach.no_lesson", "Open a lock first")
        teacher = Teacher(self._hold, self._rig, self._pulser, by)
        if isinstance(act, acts.Popped):
            teacher.say(lambda lesson: lessons.popped(lesson, act.number, act.size))
        else:
            teacher.say(lessons.nothing)

    # --- the end ----------------------------------------------------------------------------------

    async def _sign(self, by: str) -> None:
        """Make the draft the site's map, and sign what was proved: one turn, one commit."""
        draft = self._holds(by)
        if self._task is not None:
            raise _busy(self._hold.job)
        self._signing = True
        try:
            await self._signer.sign(draft, by)
            self._open = False
            await self._hold.drop()
        finally:
            self._signing = False
            self._wished()
        self._hold.touch()

    def report(self) -> bytes:
        """Return the last signed report; GatewayError `report.none`."""
        return self._signer.report()

    def report_page(self, lang: str) -> str:
        """Return it as one HTML file."""
        return self._signer.report_page(lang)

    def map_text(self) -> str:
        """Return the site's map as TOML; GatewayError `map.none`."""
        return self._signer.map_text()


def _busy(job: Job | None) -> GatewayError:
    return GatewayError(
        "commission.busy", "Wait for it, or stop it", job=job.name if job else "open"
    )


def _taken(by: str) -> GatewayError:
    return GatewayError("commission.taken", "Ask them to stop, or take over", by=by)
