"""The hardware on the bench: lines and boards opened, looked at, one lock pulsed at a time.

Nothing is decided here. What a board cannot say is left out of a sample; a pulse is asked for only
by `gateway.commissioning.bench`, after its intent is durable. Rails count here too: while a coil of
the bench is on, no other is.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from adapters.board import Board, Pulsed, Rail
from adapters.bus import Line, SerialSpec, TcpSpec
from adapters.errors import AdapterError, LinkDown, Mismatch
from adapters.profiles import load
from gateway import bank, config
from gateway.clock import Machine
from gateway.commissioning.lesson import Sample
from gateway.errors import GatewayError
from sync.sitemap import BoardItem, LineItem

PULSE_DEADLINE_S: Final = 2.0
REST_S: Final = 0.3
"""Beside a coil's rest: the board's own step, and the way there."""
SETTLE_S: Final = 1.5
"""A pulse that was cut short ends within its cap; a line closes after it."""

Spec = SerialSpec | TcpSpec


@dataclass(slots=True)
class _Bench:
    """One board on the bench, and how it has answered since."""

    item: BoardItem
    board: Board
    asked: int = 0
    failed: Counter[str] = field(default_factory=Counter)


class Rig:
    """Lines by name and boards by name, opened when they are first needed."""

    def __init__(self, chosen: Mapping[str, config.Line]) -> None:
        self._chosen = chosen  # of this machine's configuration: they outweigh a map's
        self._lines: dict[str, tuple[Spec, Line]] = {}
        self._boards: dict[str, _Bench] = {}
        self._rail = Rail("bench")
        self._rested: dict[str, float] = {}
        self._opening = asyncio.Lock()
        self._inputs: dict[str, tuple[bool, ...]] = {}
        self._values: dict[str, tuple[int | None, ...]] = {}
        self._machine = Machine()

    def spec(self, item: LineItem) -> Spec:
        """Return where a line of the draft ends. GatewayError `commission.no_place`."""
        chosen = self._chosen.get(item.name)
        if chosen is None and not (item.serial or item.tcp):
            remedy = "Scan its port: neither the map nor the configuration says where it is"
            raise GatewayError("commission.no_place", remedy, line=item.name)
        return bank.spec(chosen if chosen is not None else bank.line_of(item))

    def devices(self) -> frozenset[str]:
        """Return the serial devices that the configuration names."""
        return frozenset(line.serial for line in self._chosen.values() if line.serial)

    async def line(self, item: LineItem) -> Line:
        """Return the open line. Raises LinkDown where nothing is there."""
        async with self._opening:  # two boards of one line ask at the same time
            return await self._line(item)

    async def _line(self, item: LineItem) -> Line:
        spec = self.spec(item)
        known = self._lines.get(item.name)
        if known is not None and known[0] == spec and known[1].up:
            return known[1]
        await self.free(item.name)
        line = Line(spec)
        self._lines[item.name] = spec, line
        if not await line.open():
            reason = line.down_reason
            await self.free(item.name)
            raise LinkDown(line=item.name, reason=reason)
        return line

    async def board(self, item: BoardItem, line: LineItem) -> Board:
        """Return a board of the draft, ready to be asked. Raises AdapterError."""
        opened = await self.line(line)
        known = self._boards.get(item.name)
        if known is not None and known.item == item and known.board.unit.line is opened:
            return known.board
        board = Board(opened, load(item.profile), item.unit, rail=self._rail)
        self._boards[item.name] = _Bench(item, board)
        return board

    async def free(self, name: str) -> None:
        """Close a line, for whoever needs its port."""
        known = self._lines.pop(name, None)
        if known is None:
            return
        for board in [one for one, on in self._boards.items() if on.item.line == name]:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await self._boards[board].board.settle()
            del self._boards[board]
        await known[1].close()

    async def free_place(self, place: str) -> None:
        """Close whatever line ends at this device or address."""
        for name in [name for name, (spec, _) in self._lines.items() if spec.name == place]:
            await self.free(name)

    async def close(self) -> None:
        """All coils off as far as the lines allow, then every line closed."""
        for on in list(self._boards.values()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await on.board.close()
        for name in list(self._lines):
            await self.free(name)
        self._inputs, self._values = {}, {}

    # --- looking and pulsing ----------------------------------------------------------------------

    async def look(
        self, boards: Mapping[str, BoardItem], lines: Mapping[str, LineItem]
    ) -> tuple[Sample, ...]:
        """Look at every board once; return what all of them say after each answer.

        An input is as young as its board's answer: over a slow line a whole round takes longer than
        a door. Who is silent is left out from there on. At least one sample, oldest first.
        """
        seen = [self._sample()]

        async def one(item: BoardItem) -> None:
            try:
                board = await self.board(item, lines[item.line])
                points = board.profile
                if points.inputs is None and not points.measures:
                    return
                self._boards[item.name].asked += 1
                measured = bool(points.measures)
                told = await board.read(outputs=False, urgent=True, measures=measured)
            except AdapterError as error:
                known = self._boards.get(item.name)
                if known is not None:
                    known.failed[error.code] += 1
                self._inputs.pop(item.name, None)
                self._values.pop(item.name, None)
            else:
                self._inputs[item.name] = told.inputs
                if told.values:
                    self._values[item.name] = told.values
            seen.append(self._sample(item.name))

        for name in self._inputs.keys() - boards.keys():
            del self._inputs[name]
        await asyncio.gather(*(one(item) for item in boards.values()))
        return tuple(seen[1:] or seen)

    def _sample(self, board: str = "") -> Sample:
        inputs, values = dict(self._inputs), dict(self._values)
        return Sample(at_ms=self.now_ms(), inputs=inputs, values=values, board=board)

    def now_ms(self) -> int:
        """Return the moment of samples, in ms of a clock that never jumps."""
        return self._machine.ticks_us() // 1000

    async def rest(self, lock: str) -> None:
        """Wait until a coil has rested since its last pulse, so that the next is not refused."""
        left_s = self._rested.get(lock, 0.0) - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.sleep(left_s)

    def wall_ms(self) -> int:
        """Return the machine's time of day, for a draft's dates."""
        return self._machine.wall_ms()

    async def ready(self, item: BoardItem, line: LineItem) -> None:
        """Have a board in its safe state, so that a pulse begins when it is asked for.

        Raises AdapterError.
        """
        await (await self.board(item, line)).read(urgent=True)

    async def pulse(
        self, item: BoardItem, line: LineItem, channel: int, ms: int
    ) -> tuple[Pulsed | None, str]:
        """Pulse one coil; return how it went and the code of what went wrong.

        With a code and no `Pulsed` the coil may have been on only where the code says doubt
        (`bus.unanswered` and the like); `board.mismatch`: the relay was read back as off.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PULSE_DEADLINE_S
        try:
            board = await self.board(item, line)
            caps = board.profile.caps
            rest_ms = 0 if caps is None else caps.min_off_ms
            self._rested[f"{item.name}:{channel}"] = loop.time() + (ms + rest_ms) / 1000 + REST_S
            return await board.pulse(channel, ms, deadline=deadline), ""
        except Mismatch as error:
            return None, error.code
        except AdapterError as error:
            return None, f"doubt:{error.code}" if error.sent else error.code

    def errors(self) -> dict[str, tuple[int, Counter[str]]]:
        """Return by board how often it was asked here, and what failed by code."""
        return {name: (on.asked, on.failed) for name, on in self._boards.items()}

    def corrected(self, name: str) -> tuple[str, ...]:
        """Return the settings of a board that were wrong when the bench brought it up."""
        on = self._boards.get(name)
        return () if on is None else on.board.corrected


def place_of(spec: Spec) -> str:
    """Return a device or address, as people write it."""
    return spec.device if isinstance(spec, SerialSpec) else spec.name


def as_gateway(error: AdapterError) -> GatewayError:
    """Return trouble of the boards as a refusal of the bench: same code, evidence and remedy."""
    plain = {
        key: value if isinstance(value, int | str) else str(value)
        for key, value in error.evidence.items()
    }
    return GatewayError(error.code, error.remedy, **plain)
