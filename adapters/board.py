"""A board as a gateway uses it: pulse a lock, read the doors, everything off.

What a board must never do to a lock is kept here: no coil longer on than its cap, each coil rests
its minimum, one coil a power rail (`Rail`), all off at start, at stop, and whenever the board may
have lost its state unseen (`Unit.epoch`). Every write is read back.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from adapters import plan
from adapters.bus import Line, Priority
from adapters.errors import (
    AdapterError,
    BusError,
    Late,
    Mismatch,
    NotReady,
    RailBusy,
    Resting,
    StuckOn,
)
from adapters.plan import PulsePlan
from adapters.profile import Points, Profile, Setting
from adapters.reading import READ_HOLDING, WRITE_REGISTER, Read, Reading, Write

STAGGER_MS: Final = 100  # between two coils of a rail: the supply recovers
START_DEADLINE_MS: Final = 5000
SETTLE_MS: Final = 50  # a board's own timer may end a little late
SLOW_END_MS: Final = 300  # but not later than this
RELEASE_LIMIT_MS: Final = 10_000  # then a person must take the power away
RELEASE_EVERY_MS: Final = 50
JUDGE_UNTIL: Final = 0.7  # share of a pulse in which "not on" is a fault and not its end

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pulsed:
    """How a pulse went. `on_seen` None: there was no time to look while it lasted."""

    channel: int
    on_ms: int
    on_seen: bool | None
    off_seen: bool


class Rail:
    """A power rail which feeds one coil at a time, over all boards that share it."""

    def __init__(self, name: str = "rail", *, stagger_ms: int = STAGGER_MS) -> None:
        self.name = name
        self._stagger_s = stagger_ms / 1000
        self._lock = asyncio.Lock()
        self._free_at = 0.0

    async def take(self, until: float) -> None:
        """Take the rail before loop time `until`, or raise `RailBusy`."""
        now = asyncio.get_running_loop().time
        try:
            # Not wait_for: it can give the lock to a caller who was cancelled.
            async with asyncio.timeout_at(until):
                await self._lock.acquire()
        except TimeoutError:
            raise RailBusy(rail=self.name) from None
        if self._free_at > until:
            self._lock.release()
            raise RailBusy(rail=self.name)
        try:
            await asyncio.sleep(max(0.0, self._free_at - now()))
        except BaseException:
            self._lock.release()
            raise

    def give(self, *, on_for_ms: int = 0) -> None:
        """Give it back; a coil may stay on for `on_for_ms` more."""
        on_s = on_for_ms / 1000
        self._free_at = asyncio.get_running_loop().time() + on_s + self._stagger_s
        self._lock.release()


class Board:
    """One board on a line. Boards on one supply share a `Rail`."""

    def __init__(
        self, line: Line, profile: Profile, unit: int | None = None, *, rail: Rail | None = None
    ) -> None:
        self.profile = profile
        self.unit = line.unit(profile.link.unit if unit is None else unit, profile)
        self.stuck: set[int] = set()
        self.corrected: tuple[str, ...] = ()
        self._rail = rail or Rail(f"unit {self.unit.number}")
        self._proven: tuple[int, int] | None = None
        self._starting = asyncio.Lock()
        self._rested_at: dict[int, float] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Bring the board into its safe state and prove it: all off, settings right, read back.

        Settings that were wrong and are right now are named in `corrected`. Raises `BusError`,
        `NotReady` for a setting that will not hold, `StuckOn` for a coil that stays on.
        """
        async with self._starting:
            await self._start()

    async def read(
        self,
        *,
        outputs: bool = True,
        measures: bool = False,
        urgent: bool = False,
        deadline_ms: int = 2000,
    ) -> Reading:
        """Read all inputs, outputs unless told not to, and measures if told to.

        Raises `AdapterError`.

        `urgent`: somebody is at a door; it goes before idle polling of the same line.
        """
        await self._ensure_started()
        return await self.look(
            outputs=outputs, measures=measures, urgent=urgent, deadline_ms=deadline_ms
        )

    async def look(
        self,
        *,
        outputs: bool = True,
        measures: bool = False,
        urgent: bool = False,
        deadline_ms: int = 2000,
    ) -> Reading:
        """Read as `read` does, from a board in whatever state: nothing is ever written."""
        priority = Priority.WATCH if urgent else Priority.POLL
        sensing = Priority.WATCH if urgent else Priority.SENSOR
        doors = await self._states(self.profile.inputs, priority, deadline_ms)
        coils = await self._states(self.profile.outputs if outputs else None, priority, deadline_ms)
        values = await self._values(sensing, deadline_ms) if measures else ()
        return Reading(inputs=doors, outputs=coils, values=values)

    async def pulse(self, channel: int, ms: int, *, deadline: float) -> Pulsed:
        """Switch one coil on for `ms` (rounded up to the board's step); return when it is off.

        `deadline` is on the event loop's clock: after it this is refused, not sent. Raises
        `AdapterError`; with `sent` set the coil may have been on. However it ends, also when the
        caller is cancelled, the coil goes off: by the board's own timer, or by writes that go on
        until it is proven (`stuck`).
        """
        planned = plan.pulse(self.profile, channel, ms)
        self._refuse_unrested(channel)
        late_ms = round((asyncio.get_running_loop().time() - deadline) * 1000)
        if late_ms >= 0:
            raise Late(unit=self.unit.number, late_ms=late_ms)
        self.unit.pulsing.add(channel)
        try:
            await self._rail.take(deadline)
        except BaseException:
            self.unit.pulsing.discard(channel)
            raise
        try:
            await self._ensure_started()
        except BaseException as error:
            self._over(channel, 0, was_on=False)
            if isinstance(error, AdapterError):
                error.sent = False  # what was asked for here, the pulse, was not sent
            raise
        try:
            await self._switch_on(planned, deadline)
        except BaseException as error:
            doubt = not isinstance(error, AdapterError) or error.sent
            if doubt and planned.stop:
                _ = self._in_background(self._end_unsure(channel))
            else:
                self._over(channel, planned.on_ms if doubt else 0, was_on=doubt)
            raise
        return await asyncio.shield(self._in_background(self._finish(channel, planned)))

    async def all_off(self) -> None:
        """Switch every coil off and prove it. Raises `BusError` or `StuckOn`."""
        await self._write_all_off()
        await self._prove_all_off()

    async def settle(self) -> None:
        """Wait until no pulse is running and nothing is being switched off any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Let running pulses end, then switch everything off as far as the line allows."""
        await self.settle()
        with contextlib.suppress(AdapterError):  # a board that is gone cannot be told anything
            await self.all_off()

    def _refuse_unrested(self, channel: int) -> None:
        if channel in self.stuck:
            raise StuckOn(unit=self.unit.number, channel=channel)
        rested_at = self._rested_at.get(channel, 0.0)
        wait_ms = round((rested_at - asyncio.get_running_loop().time()) * 1000)
        if channel in self.unit.pulsing or wait_ms > 0:
            raise Resting(unit=self.unit.number, channel=channel, wait_ms=max(0, wait_ms))

    async def _ensure_started(self) -> None:
        async with self._starting:  # two callers: the second must not switch off the first's pulse
            if self._proven != self.unit.epoch:
                await self._start()

    async def _start(self) -> None:
        epoch = self.unit.epoch
        await self._write_all_off()
        settings = self.profile.settings
        corrected = [setting.name for setting in settings if await self._set(setting)]
        await self._prove_all_off()
        self.corrected = tuple(corrected)
        self.stuck.clear()
        self._proven = epoch

    async def _switch_on(self, planned: PulsePlan, until: float) -> None:
        loop = asyncio.get_running_loop()
        for write in planned.start:
            left_ms = int((until - loop.time()) * 1000)
            if left_ms <= 0:
                raise Late(unit=self.unit.number, late_ms=-left_ms)
            await self.unit.ask(write, Priority.ACTUATE, left_ms)

    async def _finish(self, channel: int, planned: PulsePlan) -> Pulsed:
        """See the coil on, end the pulse, see it off; free the rail."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        try:
            on_seen = await self._see_on(channel, since, planned.on_ms)
            await asyncio.sleep(max(0.0, since + planned.on_ms / 1000 - loop.time()))
            if planned.stop:
                await self._release(channel)
                off_seen = True
            else:
                off_seen = await self._see_off(channel)
        finally:
            self._over(channel, 0, was_on=True)
        if on_seen is False:
            raise Mismatch(
                unit=self.unit.number, channel=channel, commanded="on", seen="off", sent=True
            )
        return Pulsed(channel, planned.on_ms, on_seen, off_seen)

    async def _end_unsure(self, channel: int) -> None:
        try:
            await self._release(channel)
        finally:
            self._over(channel, 0, was_on=True)

    def _over(self, channel: int, on_for_ms: int, *, was_on: bool) -> None:
        """Note the end of a pulse: the coil rests, the rail is free."""
        caps = self.profile.caps
        if was_on and caps is not None:
            off_at = asyncio.get_running_loop().time() + on_for_ms / 1000
            self._rested_at[channel] = off_at + caps.min_off_ms / 1000
        self.unit.pulsing.discard(channel)
        self._rail.give(on_for_ms=on_for_ms)

    async def _see_on(self, channel: int, since: float, on_ms: int) -> bool | None:
        judge_until = since + on_ms * JUDGE_UNTIL / 1000
        with contextlib.suppress(BusError):  # the answer to the write was good; this is a bonus
            on = await self._coil(channel, Priority.KEEPALIVE, int(on_ms * JUDGE_UNTIL))
            if on or asyncio.get_running_loop().time() < judge_until:
                return on
        return None

    async def _see_off(self, channel: int) -> bool:
        """Look after the board's own timer; a coil still on is switched off by us."""
        tries = SLOW_END_MS // SETTLE_MS
        try:
            for _ in range(tries):
                await asyncio.sleep(SETTLE_MS / 1000)
                if not await self._coil(channel, Priority.WATCH, START_DEADLINE_MS):
                    return True
        except BusError:
            return False  # silent now: its own timer ends the pulse, and the next start proves it
        await self._release(channel)
        return True

    async def _release(self, channel: int) -> None:
        """Switch one coil off until it is seen off; `StuckOn` when that cannot be shown."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + RELEASE_LIMIT_MS / 1000
        trouble = "reads on"
        while loop.time() < give_up:
            try:
                await self.unit.ask(
                    plan.off(self.profile, channel), Priority.RELEASE, RELEASE_LIMIT_MS
                )
                # Not as RELEASE: a read must wait until no late answer can be taken for its own.
                if not await self._coil(channel, Priority.KEEPALIVE, RELEASE_LIMIT_MS):
                    return
                trouble = "reads on"
            except BusError as error:
                trouble = str(error)
            await asyncio.sleep(RELEASE_EVERY_MS / 1000)
        self.stuck.add(channel)
        raise StuckOn(unit=self.unit.number, channel=channel, trouble=trouble, sent=True)

    async def _write_all_off(self) -> None:
        for write in plan.all_off(self.profile):
            await self.unit.ask(write, Priority.RELEASE, START_DEADLINE_MS)

    async def _prove_all_off(self) -> None:
        on = await self._states(self.profile.outputs, Priority.KEEPALIVE, START_DEADLINE_MS)
        for channel in [channel for channel, state in enumerate(on) if state]:
            await self._release(channel)

    async def _set(self, setting: Setting) -> bool:
        """Put one setting right; return whether it was wrong. `NotReady` when it will not hold."""
        asked = Read(READ_HOLDING, setting.base, setting.span)
        found = await self.unit.ask(asked, Priority.HOUSEKEEPING, START_DEADLINE_MS)
        meant = range(0, setting.span, setting.step)
        wrong = [offset for offset in meant if found[offset] != setting.value]
        for offset in wrong:
            write = Write(WRITE_REGISTER, setting.base + offset, (setting.value,))
            await self.unit.ask(write, Priority.HOUSEKEEPING, START_DEADLINE_MS)
        if wrong:
            found = await self.unit.ask(asked, Priority.HOUSEKEEPING, START_DEADLINE_MS)
            if any(found[offset] != setting.value for offset in meant):
                raise NotReady(
                    unit=self.unit.number,
                    setting=setting.name,
                    wanted=setting.value,
                    found=found,
                    why=setting.reason,
                )
        return bool(wrong)

    async def _coil(self, channel: int, priority: Priority, deadline_ms: int) -> bool:
        values = await self.unit.ask(plan.read_output(self.profile, channel), priority, deadline_ms)
        assert self.profile.outputs is not None  # read_output refuses without
        return bool(values[0]) == (self.profile.outputs.sense == "high")

    async def _states(
        self, points: Points | None, priority: Priority, deadline_ms: int
    ) -> tuple[bool, ...]:
        asked = plan.reads(points)
        answers = [await self.unit.ask(read, priority, deadline_ms) for read in asked]
        return plan.states(points, asked, answers)

    async def _values(self, priority: Priority, deadline_ms: int) -> tuple[int | None, ...]:
        asked = plan.measure_reads(self.profile)
        answers = [await self.unit.ask(read, priority, deadline_ms) for read in asked]
        return plan.measured(self.profile, asked, answers)

    def _in_background(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Run to the end whatever happens to the caller; trouble is kept in `stuck`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: a cancelled caller does not come back for it
