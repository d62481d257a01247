"""One life of the site: one bounded queue, one loop that decides, one group of tasks around it.

A life begins with an engine recovered from the log and ends with all coils off: because somebody
stops the gateway, because the map, the history or the keys of those it believes are others, because
its epoch is over, because an installer takes the boards or gives them back, or because the disk
took nothing more. What follows (start again, wait for room,
give up) is decided by `gateway.app`.

`now` is stamped when an input is handled, not when it came: so time never runs backwards for the
engine, whoever was quicker into the queue.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final, Protocol, assert_never

from certs.note import Checkpoint
from gateway import logs
from gateway.boards import Boards
from gateway.clock import Clock
from gateway.core.engine import Engine
from gateway.core.inputs import (
    ClockAnchored,
    HealthMeasured,
    Input,
    LanesMeasured,
    Now,
    Persisted,
    PersistFailed,
    SnapshotAsked,
    TimePassed,
    Trouble,
    Trust,
)
from gateway.core.outputs import (
    AllOff,
    Answer,
    Output,
    PairingOpened,
    Persist,
    Poll,
    Pulse,
    Show,
    WakeAt,
)
from gateway.desk import Desk, Inbox
from gateway.journal import Journal
from gateway.ports import StorePort
from sync.entry import Lane

BACKLOG_MAX: Final = 32
"""`Persist`s that may wait for the disk before no new input is taken."""
LANES_EVERY_S: Final = 3600.0
HEALTH_EVERY_S: Final = 600.0
SNAPSHOT_EVERY_S: Final = 86_400.0
"""A start replays one day of entries at most; pruning goes no further than the last snapshot."""
MINUTE_S: Final = 60.0
ANCHOR_STEP_MS: Final = 1_000
"""A wall clock that moved so far against the monotonic one is anchored anew."""
ANCHOR_EVERY_MS: Final = 86_400_000
"""And once a day: by anchors the book knows which rights ended long ago, and forgets them."""
DRAIN_S: Final = 0.4

_log = logs.get("runtime")


class End(StrEnum):
    """Why a life ended."""

    STOPPED = "stopped"
    MAP = "map"
    EPOCH = "epoch"
    HISTORY = "history"
    KEYS = "keys"
    BENCH = "bench"
    FULL = "full"
    BROKEN = "broken"


class SignedStore(StorePort, Protocol):
    """The durable log, with what health and the tying of lanes need."""

    @property
    def low_space(self) -> bool:
        """The ballast is gone."""
        ...

    def regain_space(self) -> None:
        """Take the ballast again where there is room; blocks."""

    def checkpoint(self, lane: Lane) -> str:
        """Return the latest durable signed checkpoint of a lane."""
        ...


class Life:
    """One engine, its journal and its boards. Make it, `run` it once."""

    def __init__(
        self,
        engine: Engine,
        begun: list[Output],
        *,
        clock: Clock,
        store: SignedStore,
        desk: Desk,
        boards: Callable[[Callable[[Input], None]], Boards],
        measure: Callable[["Life"], dict[str, int]],
        beside: Sequence[Callable[["Life"], Coroutine[None, None, None]]] = (),
        apart: str = "",
    ) -> None:
        self.engine = engine
        self.store = store
        self.clock = clock
        self.counters: Counter[str] = Counter()
        self.wake = asyncio.Event()
        self.inbox = Inbox(self.wake)
        self.boards = boards(self.inbox.put)
        self.journal = Journal(store, persisted=self._note_persisted, failed=self._note_failed)
        self._begun = begun
        self._desk = desk
        self._measure = measure
        self._beside = beside
        self._apart = apart
        self._ending: End | None = None
        self._map = engine.state.book.map
        self._persisted: int | None = None
        self._failed = ""
        self._wake_at_ms: int | None = None
        self._wake_call: asyncio.TimerHandle | None = None
        self._anchored: Now | None = None
        self._standing: dict[tuple[str, str], bool] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup

    # --- the life -----------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> End:
        """Live until stopped or until the disk or the map ends it. All coils are off after it."""
        try:
            async with asyncio.TaskGroup() as self._group:
                chores = [
                    self._group.create_task(self.journal.run(), name="journal"),
                    self._group.create_task(self.boards.run(), name="boards"),
                    *(self._group.create_task(work(self)) for work in self._beside),
                    *self._every(),
                ]
                self.anchor()
                self._perform(self._begun)
                self._desk.open_with(self.inbox, self.health, apart=self._apart)
                ready()
                try:
                    end = await self._decide_until(stop)
                finally:
                    self.boards.hold()
                    for chore in chores:
                        if chore.get_name() != "journal":
                            chore.cancel()
                    # A pulse that is cut short ends with its coil off: the board sees to it.
                    for work in list(self._working):
                        work.cancel()
                if not self.journal.dead:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(DRAIN_S):
                            await self.journal.drained()
                chores[0].cancel()
        finally:
            self.boards.hold()
            self._cancel_wake()
            unproved = await self.boards.all_off()
            _log.info("coils.off", unproved=list(unproved) or None)
        return end

    async def _decide_until(self, stop: asyncio.Event) -> End:
        stopping = asyncio.create_task(stop.wait())
        deciding = asyncio.create_task(self._decide())
        try:
            await asyncio.wait({stopping, deciding}, return_when=asyncio.FIRST_COMPLETED)
            return deciding.result() if deciding.done() else End.STOPPED
        finally:
            stopping.cancel()
            deciding.cancel()
            await asyncio.gather(stopping, deciding, return_exceptions=True)

    def store_failed(self, reason: str) -> None:
        """Somebody beside the journal found the disk broken: it ends this life as the journal's."""
        self._note_failed(reason)

    def finish(self, end: End) -> None:
        """End this life once what is written is durable; the next one begins from the disk."""
        self._ending = end
        self.wake.set()

    async def _decide(self) -> End:
        """Hand the engine one input after the other."""
        while True:
            if self._ending is not None and not self.journal.backlog:
                return self._ending
            inp = self._next()
            if inp is None:
                self.wake.clear()
                inp = self._next()
            if inp is None:
                await self.wake.wait()
                continue
            self.counters["inputs"] += 1
            self._perform(self.engine.handle(inp))
            if isinstance(inp, PersistFailed):
                return End.FULL if inp.reason == "full" else End.BROKEN
            if self._map_is_durable():
                return End.MAP
            # One turn for everybody else: a full queue must not starve boards and disk.
            await asyncio.sleep(0)

    def _map_is_durable(self) -> bool:
        """Say whether the engine took another map, and everybody may know it."""
        changed = self.engine.state.book.map is not self._map
        return changed and not self.journal.backlog and self._persisted is None

    def _next(self) -> Input | None:
        """Return what comes next: the disk before the clock, the clock before everybody else."""
        now = self.clock.now()
        if self._failed:
            return PersistFailed(now=now, reason=self._failed)
        if self._persisted is not None:
            upto, self._persisted = self._persisted, None
            return Persisted(now=now, upto=upto)
        if self._wake_at_ms is not None and now.mono_ms >= self._wake_at_ms:
            self._wake_at_ms = None
            return TimePassed(now=now)
        if self.journal.backlog >= BACKLOG_MAX:
            return None
        inp = self.inbox.take()
        return None if inp is None else replace(inp, now=now)

    def _note_persisted(self, upto: int) -> None:
        self._persisted = upto
        self.wake.set()

    def _note_failed(self, reason: str) -> None:
        _log.error("log.failed", code=f"store.{reason}")
        self.boards.hold()
        self._failed = reason
        self.wake.set()

    # --- what the engine asks for -------------------------------------------------------------

    def _perform(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case Persist():
                    self.journal.put(output)
                case Pulse():
                    self._start(self.boards.pulse(output))
                case Poll():
                    self.boards.poll(output)
                case AllOff():
                    self._start(self.boards.all_off())
                case Show():
                    self._desk.show(output.kiosk, output.screen)
                case Answer():
                    self._desk.answer(output)
                case PairingOpened():
                    self._desk.pairing(output)
                case WakeAt():
                    self._wake_at(output.mono_ms)
                case _:
                    assert_never(output)

    def _start(self, work: Awaitable[object]) -> None:
        async def run() -> None:
            await work

        task = self._group.create_task(run())
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    def _wake_at(self, mono_ms: int) -> None:
        self._cancel_wake()
        self._wake_at_ms = mono_ms
        delay_s = max(0, mono_ms - self.clock.now().mono_ms) / 1000
        self._wake_call = asyncio.get_running_loop().call_later(delay_s, self.wake.set)

    def _cancel_wake(self) -> None:
        if self._wake_call is not None:
            self._wake_call.cancel()
            self._wake_call = None

    # --- chores -------------------------------------------------------------------------------

    def _every(self) -> list[asyncio.Task[None]]:
        chores: tuple[tuple[float, Callable[[], None]], ...] = (
            (LANES_EVERY_S, self._tie_lanes),
            (HEALTH_EVERY_S, self._sample_health),
            (MINUTE_S, self._watch_machine),
            (SNAPSHOT_EVERY_S, self._take_snapshot),
        )

        async def repeat(every_s: float, chore: Callable[[], None]) -> None:
            while True:
                await asyncio.sleep(every_s)
                chore()

        return [
            self._group.create_task(repeat(every_s, chore), name=chore.__name__)
            for every_s, chore in chores
        ]

    def anchor(self) -> None:
        """Tell the engine what UTC is: when it begins, once a day, and when that has changed."""
        now, last = self.clock.now(), self._anchored
        if last is not None and now.trust is last.trust:
            since_ms = now.mono_ms - last.mono_ms
            moved_ms = now.wall_ms - last.wall_ms - since_ms
            if abs(moved_ms) < ANCHOR_STEP_MS and since_ms < ANCHOR_EVERY_MS:
                return
        self._anchored = now
        self.inbox.put(ClockAnchored(now=now, source=f"clock.{now.trust.value}"))
        self.trouble("clock.floor", standing=now.trust is Trust.FLOOR)

    def trouble(self, alarm: str, about: str = "", *, standing: bool) -> None:
        """Tell the engine that something needs a person, or no longer does; repeats are free.

        That it is over is told once a life too: an earlier life may have raised the alarm.
        """
        if self._standing.get((alarm, about)) is standing:
            return
        self._standing[alarm, about] = standing
        self.inbox.put(Trouble(now=self.clock.now(), alarm=alarm, about=about, standing=standing))

    def _watch_machine(self) -> None:
        self.anchor()
        if self.store.low_space:
            self._start(asyncio.to_thread(self.store.regain_space))
        self.trouble("disk.low", standing=self.store.low_space)

    def _sample_health(self) -> None:
        self.clock.save()
        self.inbox.put(HealthMeasured(now=self.clock.now(), values=self._measure(self)))

    def _tie_lanes(self) -> None:
        lanes = {}
        for lane in Lane:
            head = Checkpoint.parse(self.store.checkpoint(lane).partition("\n\n")[0] + "\n")
            lanes[lane.value] = (head.size, head.text().split("\n")[2])
        self.inbox.put(LanesMeasured(now=self.clock.now(), lanes=lanes))

    def _take_snapshot(self) -> None:
        self.inbox.put(SnapshotAsked(now=self.clock.now()))

    def health(self) -> Mapping[str, object]:
        """Return what `/healthz` and `status` say."""
        now, lost = self.clock.now(), self.boards.lost
        return {
            "ok": not (lost or self.journal.dead or self.store.low_space),
            "clock": now.trust.value,
            "boards_lost": list(lost),
            "disk_low": self.store.low_space,
            "backlog": self.journal.backlog,
            "waiting": len(self.inbox),
            "entries": {lane.value: size for lane, size in self.store.sizes.items()},
        }
