"""DFRobot URM14: the distance to what lies before it. HARDWARE.md 1.11, [B] U1.

[M]: tenths of a millimetre, the order of the rates, that number and rate count from the next start,
that bits 2 and 3 of the control register are the single-shot mode and its trigger.
"""

from functools import partial
from typing import ClassVar

from typing_extensions import override

from adapters.simulator.boards import Board, Point

_PID, _VID, _ADDRESS, _BAUD, _PARITY, _DISTANCE = range(6)
_INSIDE, _OUTSIDE, _CONTROL, _NOISE = range(6, 10)
_SINGLE, _TRIGGER = 0x04, 0x08
_WORD = 0x10000
BAUDS = (2400, 4800, 9600, 14400, 19200, 38400, 57600, 115200)


class Urm14(Board):
    """Its one input is whether something lies before it: then it tells `near`, else `far`."""

    model: ClassVar[str] = "urm14"
    inputs_count: ClassVar[int] = 1
    functions: ClassVar[frozenset[int]] = frozenset((0x03, 0x06, 0x10))

    def __init__(self, unit: int = 12, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self.near, self.far = 1200, 4500
        self._shot = self.far
        code = 1 + BAUDS.index(baud if baud in BAUDS else 19200)
        self._rate = code
        fixed = {_PID: 1, _VID: 16, _INSIDE: 215, _OUTSIDE: 215, _NOISE: 0}
        for address, value in fixed.items():
            self.holding[address] = Point(partial(int, value))
        self.holding[_ADDRESS] = self.cell(_ADDRESS, unit, range(1, 248))
        self.holding[_BAUD] = self.cell(_BAUD, code, range(1, 1 + len(BAUDS)))
        self.holding[_PARITY] = self.cell(_PARITY, 1, range(_WORD))
        self.holding[_DISTANCE] = Point(self._distance)
        self.memory[_CONTROL] = 0
        self.holding[_CONTROL] = Point(lambda: self.memory[_CONTROL], self._control, range(_WORD))

    def _now(self) -> int:
        return self.near if self.levels[0] else self.far

    def _distance(self) -> int:
        return self._shot if self.memory[_CONTROL] & _SINGLE else self._now()

    def _control(self, value: int, _now_ms: int) -> None:
        self.memory[_CONTROL] = value & ~_TRIGGER
        if value & _TRIGGER:
            self._shot = self._now()

    @override
    def booted(self, now_ms: int) -> None:
        self.unit = self.memory[_ADDRESS]
        if self.memory[_BAUD] != self._rate:
            self._rate = self.memory[_BAUD]
            self.baud = BAUDS[self._rate - 1]
