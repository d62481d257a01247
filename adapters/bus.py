"""Lines and the units on them, and the guard that no forbidden write passes.

A `Line` is one serial port or one TCP connection with its owner (`adapters.owner`); its frames are
made and read in `adapters.frames`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

from adapters.errors import Closed, Forbidden
from adapters.frames import Frames
from adapters.names import Names
from adapters.owner import Owner
from adapters.pace import Priority, UnitTiming
from adapters.plan import allowed_writes, commission_writes, refusal
from adapters.profile import Profile
from adapters.reading import Codec, Counters, Request, Write
from adapters.wire import SerialSpec, TcpSpec

__all__ = ["Counters", "Frames", "Line", "Priority", "SerialSpec", "TcpSpec", "Unit"]

DEADLINE_MS: Final = 2000
CLOSING_STEP_S: Final = 0.01
UNIT_MAX: Final = 255  # 248 to 255 are reserved by the standard and used by relay boards


class Line:
    """One line. Open it, lend its units with `unit`, and ask them.

    `trace(direction, data)` is called by the owner with "tx" and "rx" bytes, in a thread or on the
    loop; it must not block. `names`: this line carries the one question of the ADAM text protocol
    instead of frames. `searching`: silence is the rule here, and no reason to open the port anew.
    """

    def __init__(
        self,
        spec: SerialSpec | TcpSpec,
        *,
        trace: Callable[[str, bytes], None] | None = None,
        names: bool = False,
        searching: bool = False,
    ) -> None:
        self.spec = spec
        self._units: dict[int, tuple[Profile | None, frozenset[Write]]] = {}
        self._commissioning: frozenset[tuple[int, Write]] = frozenset()
        codec: Codec = Names() if names else Frames(rtu=spec.rtu)
        self._pulsing: dict[int, set[int]] = {}
        self._closing = False
        self._owner = Owner(spec, codec, self._guard, trace)
        self._owner.reopens = not searching

    @property
    def up(self) -> bool:
        """Whether the port is open or the peer connected."""
        return self._owner.up

    @property
    def down_reason(self) -> str:
        """Why the line is down, or was last."""
        return self._owner.down_reason

    @property
    def echo(self) -> bool | None:
        """Whether the adapter repeats what is sent; None: not known yet."""
        return self._owner.echo

    @property
    def counters(self) -> Counters:
        """What this line has seen since it was made."""
        return self._owner.counters

    async def open(self) -> bool:
        """Start; return whether the first connect worked. It goes on trying by itself if not."""
        return await self._owner.open()

    async def close(self) -> None:
        """End when no coil is on, after the exchange in flight; what waits is refused (`Closed`).

        From now on no door command is taken.
        """
        self._closing = True
        while any(self._pulsing.values()):  # noqa: ASYNC110  # at a stop only, and bounded by boards
            await asyncio.sleep(CLOSING_STEP_S)
        await self._owner.close()

    def unit(self, number: int, profile: Profile | None = None) -> "Unit":
        """Lend the unit `number`. Without a profile it can only be read.

        Raises `Forbidden`: unit 0 is never lent (a write to it moves every board on the line, and
        reads collide), and a unit number belongs to one profile.
        """
        if not 1 <= number <= UNIT_MAX:
            raise Forbidden("bus.no_such_unit", "Use a unit number from 1 to 255", unit=number)
        known = self._units.get(number, (None, frozenset()))[0]
        if profile is None:
            self._units.setdefault(number, (None, frozenset()))
        elif known is None:
            self._units[number] = (profile, allowed_writes(profile))
            self._owner.pace.unit(number).timing = _timing(profile)
        elif known != profile:
            remedy = "One unit number, one board: give the second board another number"
            raise Forbidden("bus.unit_taken", remedy, unit=number, profile=known.profile)
        return Unit(self, number)

    def watch(self, trace: Callable[[str, bytes], None]) -> None:
        """Let one more see the bytes from now on, as `trace` of the constructor does."""
        before = self._owner.trace

        def both(direction: str, data: bytes) -> None:
            if before is not None:
                before(direction, data)
            trace(direction, data)

        self._owner.trace = both

    def hurry(self, unit: int, answer_ms: int) -> None:
        """Wait so long for the answer of a unit that has no profile; another keeps its own."""
        if self._units.get(unit, (None, frozenset()))[0] is not None:
            return
        answer_us = answer_ms * 1000
        self._owner.pace.unit(unit).timing = UnitTiming(response_us=answer_us, probe_us=answer_us)

    @contextlib.contextmanager
    def commissioning(
        self, unit: int, profile: Profile, writes: tuple[Write, ...]
    ) -> Iterator[None]:
        """Let exactly these writes to this unit through, until the block is left.

        Raises `Forbidden` unless each is one by which the profile sets number or rate, and the unit
        is without profile here: what can be given a number now cannot be told anything else.
        """
        known = commission_writes(profile)
        lent = self._units.get(unit, (None, frozenset()))[0]
        if lent is not None or self._commissioning or not all(write in known for write in writes):
            reason = "only the writes of [commission], one board at a time, no other use of it"
            raise Forbidden(unit=unit, profile=profile.profile, reason=reason)
        self._commissioning = frozenset((unit, write) for write in writes)
        try:
            yield
        finally:
            self._commissioning = frozenset()

    async def ask(
        self, unit: int, request: Request, priority: Priority, deadline_ms: int
    ) -> tuple[int, ...]:
        """Send `request` once; return its values (bits as 0/1, words; () for a write).

        After `deadline_ms` it is refused with `Late` and never sent. Other `BusError`s say in
        `sent` whether the board may have acted. A caller that is cancelled never disturbs the
        wire: what was sent runs to its end, what was not sent is dropped.
        """
        if isinstance(request, Write):
            self._guard(unit, request)
        if self._closing and priority is Priority.ACTUATE:
            raise Closed(line=self.spec.name)
        return await self._owner.ask(unit, request, priority, deadline_ms)

    def pulsing(self, unit: int) -> set[int]:
        """Channels of the unit whose coil may be on, kept by its boards: `close` waits for them."""
        return self._pulsing.setdefault(unit, set())

    def epoch(self, unit: int) -> tuple[int, int]:
        """Change whenever a unit may have lost its state unseen: new link, or back from lost."""
        return self._owner.generation, self._owner.pace.unit(unit).returns

    def lost(self, unit: int) -> bool:
        """Whether the unit was silent for so long that it is only probed now and then."""
        return self._owner.pace.unit(unit).lost

    def health(self) -> dict[str, object]:
        """Numbers for a person: link, counters, lost units."""
        return {
            "line": self.spec.name,
            "up": self.up,
            "local_echo": self._owner.echo,
            "waiting": self._owner.waiting(),
            "units_lost": [number for number in sorted(self._units) if self.lost(number)],
            **asdict(self.counters),
        }

    def _guard(self, unit: int, write: Write) -> None:
        """Let only the writes of the unit's profile through; the owner asks again on the wire."""
        if (unit, write) in self._commissioning:
            return
        profile, allowed = self._units.get(unit, (None, frozenset()))
        reason: str | None = "a unit without a profile is only read"
        if profile is not None:
            reason = refusal(profile, allowed, write)
        if reason is not None:
            self.counters.forbidden += 1
            where = f"0x{write.address:04x}"
            raise Forbidden(
                unit=unit,
                function=write.function,
                address=where,
                values=write.values,
                reason=reason,
            )


class Unit:
    """A handle to one unit of a line."""

    def __init__(self, line: Line, number: int) -> None:
        self.line = line
        self.number = number

    @property
    def pulsing(self) -> set[int]:
        """See `Line.pulsing`."""
        return self.line.pulsing(self.number)

    @property
    def epoch(self) -> tuple[int, int]:
        """See `Line.epoch`."""
        return self.line.epoch(self.number)

    @property
    def lost(self) -> bool:
        """See `Line.lost`."""
        return self.line.lost(self.number)

    async def ask(
        self,
        request: Request,
        priority: Priority = Priority.POLL,
        deadline_ms: int = DEADLINE_MS,
    ) -> tuple[int, ...]:
        """See `Line.ask`."""
        return await self.line.ask(self.number, request, priority, deadline_ms)


def _timing(profile: Profile) -> UnitTiming:
    timing = profile.timing
    return UnitTiming(
        response_us=timing.response_timeout_ms * 1000,
        probe_us=timing.probe_timeout_ms * 1000,
        gap_us=timing.min_gap_ms * 1000,
        after_actuation_us=timing.after_actuation_gap_ms * 1000,
    )
