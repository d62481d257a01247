"""Wellpro WP8025, 8026, 8027 and 8028ADAM: coils, discrete inputs, two registers. HARDWARE.md 1.6.

A new number counts from the next start as a new link code does: for the number that is [M].
"""

from functools import partial
from typing import ClassVar

from typing_extensions import override

from adapters.simulator.boards import Board, Point

_UNIT, _LINK = 100, 101
BAUDS = (4800, 9600, 19200, 38400)
"""Link codes 1 to 4 with 8N1, 5 to 8 with 8E1. [B] M4 S1"""


class Wellpro(Board):
    """The family. No pulse, no watchdog is documented; unit 0 is heard. [B] M4 S1."""

    functions: ClassVar[frozenset[int]] = frozenset((0x01, 0x02, 0x03, 0x05, 0x06, 0x0F, 0x10))
    hears_broadcast: ClassVar[bool] = True

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        for channel in range(self.inputs_count):
            self.discretes[channel] = Point(partial(self._level, channel))
        for channel in range(self.outputs_count):
            self.coils[channel] = Point(
                partial(self.contacts.reported, channel), partial(self._switch, channel)
            )
        code = 1 + BAUDS.index(baud) if baud in BAUDS else 2
        self.holding[_UNIT] = self.cell(_UNIT, unit, range(1, 248))
        self.holding[_LINK] = self.cell(_LINK, code, range(1, 1 + 2 * len(BAUDS)))
        self._link = code

    def _level(self, channel: int) -> int:
        return int(self.levels[channel])

    def _switch(self, channel: int, value: int, now_ms: int) -> None:
        self.contacts.command(channel, value != 0, now_ms)

    @override
    def booted(self, now_ms: int) -> None:
        self.unit = self.memory[_UNIT]
        if self.memory[_LINK] != self._link:
            self._link = self.memory[_LINK]
            self.baud = BAUDS[(self._link - 1) % len(BAUDS)]


class Wp8025(Wellpro):
    """Eight relays. [B] M4 S1."""

    model: ClassVar[str] = "wellpro-wp8025"
    outputs_count: ClassVar[int] = 8


class Wp8026(Wellpro):
    """Sixteen inputs. [B] V1."""

    model: ClassVar[str] = "wellpro-wp8026"
    inputs_count: ClassVar[int] = 16


class Wp8027(Wellpro):
    """Sixteen outputs. [B] V1."""

    model: ClassVar[str] = "wellpro-wp8027"
    outputs_count: ClassVar[int] = 16


class Wp8028(Wellpro):
    """Eight inputs, eight outputs. [B] V1."""

    model: ClassVar[str] = "wellpro-wp8028"
    inputs_count: ClassVar[int] = 8
    outputs_count: ClassVar[int] = 8
