"""Doors as boards see them: `Pulse`, `Poll`, `AllOff` go in; `DoorSeen`, `PulseDone` come out.

One task looks at each board: often while somebody is at one of its doors, else so that a forced
door is known in time (HARDWARE.md 2.1, 7). A change counts only when an immediate second reading
shows it too. A board that is silent for `lost_ms` *and* twice in a row is lost: nothing is inferred
about its doors. When it answers again it is brought into its safe state first, and every door is
told anew.

A dead board costs its own task only; lines and their queues are the adapters' business.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from adapters.errors import AdapterError, Resting
from gateway import logs
from gateway.config import Timing
from gateway.core.inputs import (
    BoardBack,
    BoardSilent,
    DoorSeen,
    Input,
    Now,
    OccupancySeen,
    PulseDone,
    PulseResult,
    Trouble,
)
from gateway.core.outputs import Poll, Pulse
from gateway.ports import BoardPort, ReadingPort
from sync.sitemap import DoorItem, SiteMap

MISSES: Final = 2
ALL_OFF_S: Final = 1.2
"""A stop takes 2 s in all; a board that cannot be told by then is named in the log."""
RAIL_GAP_S: Final = 0.1
NOT_READY_STEP_MS: Final = 50
"""A board that is being started, or a coil that is still on, cannot say for how long."""
BOUNCE_MS_MAX: Final = 100
"""No switch chatters longer; a forced door must be on record within a second."""
TOLD_AGAIN: Final = 100
"""A board that stays silent is named in the log again after so many misses."""

_log = logs.get("boards")
Post = Callable[[Input], None]


@dataclass(frozen=True, slots=True, order=True)
class _Point:
    """One input that says something about a door. `door` is true for the switch.

    With `below` it is a measure: occupied where less than that is seen.
    """

    number: int
    kind: Literal["door", "occupancy"]
    channel: int
    active_is: bool = field(compare=False)
    below: int = 0


@dataclass(slots=True, eq=False)
class _Watch:
    """What is known of one board, and what is owed to the engine."""

    name: str
    port: BoardPort
    points: tuple[_Point, ...]
    doors: tuple[int, ...]
    told: dict[_Point, bool] = field(default_factory=dict)
    owed: set[int] = field(default_factory=set)
    started: bool = False
    lost: bool = False
    misses: int = 0
    last_good: float = 0.0
    watched_until: float = 0.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Boards:
    """All boards of one map. `run` tends them until cancelled; the rest is called by the runtime.

    `post` takes inputs on the event loop and never blocks. Pulses are refused while `hold`s.
    """

    def __init__(
        self,
        site: SiteMap,
        ports: Mapping[str, BoardPort],
        timing: Timing,
        *,
        post: Post,
        now: Callable[[], Now],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._site = site
        self._timing = timing
        self._post = post
        self._now = now
        self._held = False
        self._rails: dict[str, asyncio.Lock] = {}
        self._resting: set[asyncio.Task[None]] = set()
        self._watches = {name: _watch(site, name, ports[name]) for name in sorted(site.boards)}

    @property
    def lost(self) -> tuple[str, ...]:
        """Boards that are lost now."""
        return tuple(watch.name for watch in self._watches.values() if watch.lost)

    async def run(self) -> None:
        """Look at every board, for ever."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches.values():
                group.create_task(self._tend(watch), name=f"board {watch.name}")

    def poll(self, poll: Poll) -> None:
        """Look closely at a door's boards until then, and tell its state now in any case."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (poll.until - self._now().mono_ms) / 1000
        for watch in self._watches.values():
            if any(point.number == poll.door for point in watch.points):
                watch.watched_until = max(watch.watched_until, until)
                watch.owed.add(poll.door)
                watch.wake.set()

    def hold(self) -> None:
        """From now on no pulse is sent that is not on the wire yet."""
        self._held = True

    # --- pulses -------------------------------------------------------------------------------

    async def pulse(self, pulse: Pulse) -> None:
        """Pulse one lock once, or say surely not, or that nobody knows; then post `PulseDone`."""
        result, why = await self._pulse(pulse)
        self.counters[f"pulse_{result}"] += 1
        _log.info(
            "door.pulsed", door=pulse.door, intent=pulse.intent, result=result, why=why or None
        )
        self._post(
            PulseDone(now=self._now(), intent=pulse.intent, door=pulse.door, result=result, why=why)
        )

    async def _pulse(self, pulse: Pulse) -> tuple[PulseResult, str]:
        """Pulse once board, rail and coil are ready; before the deadline they are waited for.

        People press "open again" within the two seconds that a coil has to cool down, and type
        codes while the boards are still being brought into their safe state after a start.
        """
        door = self._site.doors.get(pulse.door)
        if door is None:
            return "not_sent", "door.unknown"
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (pulse.deadline - self._now().mono_ms) / 1000
        while True:
            wait_ms = NOT_READY_STEP_MS
            try:
                result, why = await self._pulse_now(door, pulse.ms, deadline)
            except Resting as error:
                result, why = "not_sent", error.code
                told_ms = error.evidence.get("wait_ms")
                wait_ms = max(told_ms if isinstance(told_ms, int) else 0, wait_ms)
            ready = loop.time() + wait_ms / 1000
            if why not in {"board.resting", "board.not_ready"} or ready >= deadline:
                return result, why
            await asyncio.sleep(ready - loop.time())

    async def _pulse_now(self, door: DoorItem, ms: int, deadline: float) -> tuple[PulseResult, str]:
        """Pulse as soon as the rail is free. Raises Resting: nothing was sent, the coil is warm."""
        name, _, channel = door.lock.partition(":")
        loop = asyncio.get_running_loop()
        rail = self._rails.setdefault(door.rail, asyncio.Lock())
        try:
            async with asyncio.timeout_at(deadline):
                await rail.acquire()
        except TimeoutError:
            return "not_sent", "board.rail_busy"
        began, quiet = loop.time(), False
        try:
            if self._held or not self._watches[name].started:
                quiet = True
                return "not_sent", "site.stopping" if self._held else "board.not_ready"
            await self._watches[name].port.pulse(int(channel), ms, deadline=deadline)
        except Resting:
            quiet = True
            raise
        except AdapterError as error:
            quiet = not error.sent
            return "unanswered" if error.sent else "not_sent", error.code
        finally:
            if quiet:
                rail.release()
            else:
                self._rest(rail, began + ms / 1000 + RAIL_GAP_S)
        return "done", ""

    def _rest(self, rail: asyncio.Lock, until: float) -> None:
        """Keep a rail until its coil is surely off and the supply has recovered."""

        async def rest() -> None:
            loop = asyncio.get_running_loop()
            try:
                await asyncio.sleep(max(until - loop.time(), RAIL_GAP_S))
            finally:
                rail.release()

        task = asyncio.get_running_loop().create_task(rest())
        self._resting.add(task)
        task.add_done_callback(self._resting.discard)

    async def all_off(self) -> tuple[str, ...]:
        """Switch all lock coils off; return the boards of which this could not be shown."""
        watches = list(self._watches.values())
        done = await asyncio.gather(*(self._off(watch) for watch in watches))
        return tuple(watch.name for watch, off in zip(watches, done, strict=True) if not off)

    async def _off(self, watch: _Watch) -> bool:
        try:
            async with asyncio.timeout(ALL_OFF_S):
                await watch.port.all_off()
        except TimeoutError:
            _log.error("board.off_unproved", board=watch.name, code="board.timed_out")
            return False
        except AdapterError as error:
            self._report_stuck(watch, error)
            # A board that is lost anyway is brought into its safe state before it is used again.
            watch.started = False
            level = _log.info if watch.lost else _log.error
            level("board.off_unproved", board=watch.name, code=error.code)
            return False
        return True

    def _report_stuck(self, watch: _Watch, error: AdapterError) -> None:
        if error.code == "board.stuck_on":
            self._post(Trouble(now=self._now(), alarm="lock.stuck_on", about=watch.name))

    # --- looking ------------------------------------------------------------------------------

    async def _tend(self, watch: _Watch) -> None:
        loop = asyncio.get_running_loop()
        watch.last_good = loop.time()
        while True:
            began = loop.time()
            watch.wake.clear()
            try:
                if not watch.started:
                    await self._start(watch)
                await self._look(watch, urgent=began < watch.watched_until)
            except AdapterError as error:
                self._missed(watch, error)
            else:
                watch.misses, watch.last_good = 0, loop.time()
            self.counters["looks"] += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(began + self._interval(watch)):
                    await watch.wake.wait()

    async def _start(self, watch: _Watch) -> None:
        """Bring a board into its safe state, and owe the engine all of its doors."""
        try:
            await watch.port.start()
        except AdapterError as error:
            self._report_stuck(watch, error)
            raise
        watch.started = True
        watch.owed.update(point.number for point in watch.points)
        if watch.lost:
            watch.lost = False
            _log.info("board.back", board=watch.name, doors=len(watch.doors))
            self._post(BoardBack(now=self._now(), board=watch.name, doors=watch.doors))

    async def _look(self, watch: _Watch, *, urgent: bool) -> None:
        seen = _states(watch, await self._read(watch, urgent=urgent))
        changed = {point for point, state in seen.items() if watch.told.get(point) is not state}
        if changed:
            await asyncio.sleep(self._confirm_s(changed))
            again = _states(watch, await self._read(watch, urgent=True))
            changed = {point for point in changed if again.get(point) is not seen[point]}
        for point in sorted(seen.keys() - changed):
            if watch.told.get(point) is not seen[point] or point.number in watch.owed:
                watch.told[point] = seen[point]
                self._tell(point, seen[point])
        # What bounced is still owed: it is read again at once.
        watch.owed.intersection_update(point.number for point in changed)
        if changed:
            watch.wake.set()

    async def _read(self, watch: _Watch, *, urgent: bool) -> ReadingPort:
        measured = any(point.below for point in watch.points)
        if measured:
            return await watch.port.read(urgent=urgent, measures=True)
        return await watch.port.read(urgent=urgent)

    def _confirm_s(self, changed: set[_Point]) -> float:
        """Return how long a change must stand: what was taught of its switch, or as configured."""
        doors = {point.number for point in changed if point.kind == "door"}
        taught = [self._site.doors[door].bounce_ms for door in doors]
        return min(max([self._timing.confirm_ms, *taught]), BOUNCE_MS_MAX) / 1000

    def _tell(self, point: _Point, state: bool) -> None:  # noqa: FBT001  # the state itself
        if point.kind == "door":
            self._post(DoorSeen(now=self._now(), door=point.number, open=state))
        else:
            self._post(OccupancySeen(now=self._now(), door=point.number, occupied=state))

    def _missed(self, watch: _Watch, error: AdapterError) -> None:
        watch.misses += 1
        self.counters["misses"] += 1
        if error.code in {"bus.link_down", "board.not_ready"}:
            watch.started = False
        silent_s = asyncio.get_running_loop().time() - watch.last_good
        if watch.misses == 1 or watch.misses % TOLD_AGAIN == 0:
            _log.warning("board.missed", board=watch.name, code=error.code, misses=watch.misses)
        if watch.lost or watch.misses < MISSES or silent_s * 1000 < self._timing.lost_ms:
            return
        watch.lost, watch.started = True, False
        watch.told.clear()
        _log.error("board.silent", board=watch.name, doors=len(watch.doors), code=error.code)
        self._post(BoardSilent(now=self._now(), board=watch.name, doors=watch.doors))

    def _interval(self, watch: _Watch) -> float:
        timing = self._timing
        watched = asyncio.get_running_loop().time() < watch.watched_until
        if watch.misses:
            # A dead unit is answered at once by its line: no faster than idle, watched or not.
            return timing.poll_idle_ms / 1000
        if watched:
            return timing.poll_watched_ms / 1000
        return (timing.poll_idle_ms if watch.points else timing.poll_relays_ms) / 1000


def _watch(site: SiteMap, name: str, port: BoardPort) -> _Watch:
    """Return the watch of a board: its input points, and every door that needs it."""
    points, doors = [], set()
    for number, door in site.doors.items():
        ends: tuple[tuple[Literal["door", "occupancy"], str, bool, int], ...] = (
            ("door", door.switch, door.open_when == "active", 0),
            ("occupancy", door.occupancy, door.occupied_when == "active", door.occupied_below),
        )
        for kind, point, active_is, below in ends:
            board, _, channel = point.partition(":")
            if board == name:
                points.append(_Point(number, kind, int(channel), active_is, below))
                doors.add(number)
        if door.lock.partition(":")[0] == name:
            doors.add(number)
    return _Watch(name, port, tuple(sorted(points)), tuple(sorted(doors)))


def _states(watch: _Watch, reading: ReadingPort) -> dict[_Point, bool]:
    """Return what each point says; a channel that the board does not have says nothing."""
    bits, values = reading.inputs, reading.values
    found = {
        point: bits[point.channel] is point.active_is
        for point in watch.points
        if not point.below and point.channel < len(bits)
    }
    for point in watch.points:
        seen = values[point.channel] if point.below and point.channel < len(values) else None
        if seen is not None:  # a broken sensor says nothing
            found[point] = seen < point.below
    return found
