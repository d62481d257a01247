"""Waveshare Modbus RTU Relay 8/16/32CH, Relay (D) and IO 8CH. HARDWARE.md 1.1 and 1.2."""

from functools import partial
from typing import ClassVar

from typing_extensions import override

from adapters.simulator.boards import OFF, ON, Board, Point

FLIP = 0x5500
"""Third value of FC05 that these boards know and the standard does not. [A] W1 W2"""
_THREE = frozenset((ON, OFF, FLIP))
_ALL, _TOGGLE, _TOGGLE_ALL, _FLASH_ON, _FLASH_OFF = 0x00FF, 0x0100, 0x01FF, 0x0200, 0x0400
_MODE, _UART, _ADDRESS, _VERSION = 0x1000, 0x2000, 0x4000, 0x8000
_FLASH_UNIT_MS = 100
_PROTOCOL_V3 = 300
BAUDS = (4800, 9600, 19200, 38400, 57600, 115200, 128000, 256000)
"""Order of the low byte of register 0x2000: list [A] W3, order [M]."""
_PARITIES = 3


class WaveshareRelay(Board):
    """The relay boards: coils, all-relays coil, timed coils, three registers, nothing else.

    `version` is the software version times 100; single toggles and 0x01FF came with V3.
    """

    functions: ClassVar[frozenset[int]] = frozenset((0x01, 0x03, 0x05, 0x06, 0x0F))
    hears_broadcast: ClassVar[bool] = True
    answers_unit_zero: ClassVar[bool] = True

    def __init__(self, unit: int = 1, *, baud: int | None = None, version: int = 200) -> None:
        super().__init__(unit, baud=baud)
        self.version = version
        self.flash_zero_latches = False
        self._uart = BAUDS.index(baud) if baud in BAUDS else 1
        for channel in range(self.outputs_count):
            self.coils[channel] = Point(
                partial(self.contacts.reported, channel), partial(self._switch, channel), _THREE
            )
            self.coils[_FLASH_ON + channel] = self._timed(partial(self._flash, channel, True))
            self.coils[_FLASH_OFF + channel] = self._timed(partial(self._flash, channel, False))
            if version >= _PROTOCOL_V3:
                self.coils[_TOGGLE + channel] = Point(None, partial(self._toggle, channel))
        self.coils[_ALL] = Point(None, self._switch_all, _THREE, many=False)
        if version >= _PROTOCOL_V3:
            self.coils[_TOGGLE_ALL] = Point(None, self._toggle_all, many=False)
        self.holding[_ADDRESS] = Point(lambda: self.unit, self._readdress, range(1, 256))
        uarts = frozenset(p << 8 | b for p in range(_PARITIES) for b in range(len(BAUDS)))
        self.holding[_UART] = Point(lambda: self._uart, self._set_uart, uarts)
        self.holding[_VERSION] = Point(lambda: self.version)

    @staticmethod
    def _timed(write: partial[None]) -> Point:
        return Point(None, write, range(0x10000), many=False)

    def _switch(self, channel: int, value: int, now_ms: int) -> None:
        on = value == ON if value != FLIP else not self.contacts.commanded[channel]
        self.contacts.command(channel, on, now_ms)

    def _switch_all(self, value: int, now_ms: int) -> None:
        for channel in range(self.outputs_count):
            self._switch(channel, value, now_ms)

    def _toggle(self, channel: int, _value: int, now_ms: int) -> None:
        self._switch(channel, FLIP, now_ms)

    def _toggle_all(self, _value: int, now_ms: int) -> None:
        self._switch_all(FLIP, now_ms)

    def _flash(self, channel: int, on: bool, count: int, now_ms: int) -> None:  # noqa: FBT001  # kind
        if count == 0:
            # What a zero does on the device is not documented; the worst guess is a named fault.
            if self.flash_zero_latches:
                self.contacts.command(channel, on, now_ms)
            return
        self.contacts.command(channel, on, now_ms, (now_ms + count * _FLASH_UNIT_MS, not on))

    def _readdress(self, unit: int, _now_ms: int) -> None:
        self.unit = unit

    def _set_uart(self, value: int, _now_ms: int) -> None:
        self._uart = value
        self.baud = BAUDS[value & 0xFF]


class WaveshareRelay8(WaveshareRelay):
    """Modbus RTU Relay (8CH)."""

    model: ClassVar[str] = "waveshare-rtu-relay-8"
    outputs_count: ClassVar[int] = 8


class WaveshareRelay16(WaveshareRelay):
    """Modbus RTU Relay 16CH."""

    model: ClassVar[str] = "waveshare-rtu-relay-16"
    outputs_count: ClassVar[int] = 16


class WaveshareRelay32(WaveshareRelay):
    """Modbus RTU Relay 32CH."""

    model: ClassVar[str] = "waveshare-rtu-relay-32"
    outputs_count: ClassVar[int] = 32


NORMAL, LINKAGE, TOGGLE, EDGE = range(4)
"""Output control modes of registers 0x1000..0x1007. [B] N1 M2"""


class WaveshareIo8(WaveshareRelay):
    """Modbus RTU IO 8CH: eight open-drain outputs, eight inputs, an output mode per channel."""

    model: ClassVar[str] = "waveshare-rtu-io-8ch"
    outputs_count: ClassVar[int] = 8
    inputs_count: ClassVar[int] = 8
    functions: ClassVar[frozenset[int]] = WaveshareRelay.functions | {0x02, 0x10}

    def __init__(self, unit: int = 1, *, baud: int | None = None, version: int = 200) -> None:
        super().__init__(unit, baud=baud, version=version)
        self.modes = [NORMAL] * self.outputs_count
        for channel in range(self.inputs_count):
            self.discretes[channel] = Point(partial(self._level, channel))
            self.holding[_MODE + channel] = Point(
                partial(self.modes.__getitem__, channel), partial(self.set_mode, channel), range(4)
            )

    def _level(self, channel: int) -> int:
        return int(self.levels[channel])

    def set_mode(self, channel: int, mode: int, now_ms: int) -> None:
        """Choose what drives an output; linkage takes the input's level at once."""
        self.modes[channel] = mode
        if mode == LINKAGE:
            self.contacts.command(channel, self.levels[channel], now_ms)

    @override
    def input_changed(self, channel: int, now_ms: int) -> None:
        mode, active = self.modes[channel], self.levels[channel]
        if mode == LINKAGE:
            self.contacts.command(channel, active, now_ms)
        elif mode == EDGE or (mode == TOGGLE and active):
            self._switch(channel, FLIP, now_ms)

    @override
    def booted(self, now_ms: int) -> None:
        for channel, mode in enumerate(self.modes):
            if mode == LINKAGE:
                self.contacts.command(channel, self.levels[channel], now_ms)

    # In linkage the input alone decides: a write is echoed and has no effect.

    @override
    def _switch(self, channel: int, value: int, now_ms: int) -> None:
        if self.modes[channel] != LINKAGE:
            super()._switch(channel, value, now_ms)

    @override
    def _flash(self, channel: int, on: bool, count: int, now_ms: int) -> None:
        if self.modes[channel] != LINKAGE:
            super()._flash(channel, on, count, now_ms)


class WaveshareRelayD(WaveshareIo8):
    """Modbus RTU Relay (D): the same with relays; it seems to ship in linkage mode. [C] N3."""

    model: ClassVar[str] = "waveshare-rtu-relay-d"

    def __init__(self, unit: int = 1, *, baud: int | None = None, version: int = 200) -> None:
        super().__init__(unit, baud=baud, version=version)
        for channel in range(self.outputs_count):
            self.set_mode(channel, LINKAGE, 0)
