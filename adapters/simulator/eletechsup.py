"""eletechsup R421A08 and its clones: eight relays behind FC06 and FC03 only. HARDWARE.md 1.4."""

from functools import partial
from typing import ClassVar

from adapters.simulator.boards import Board, Point

_ON, _OFF, _TOGGLE, _LATCH, _MOMENTARY, _DELAY, _ALL_ON, _ALL_OFF = range(1, 9)
_SECOND_MS = 1000


class EletechsupR421(Board):
    """Register = relay number 1..8, value high byte = command, low byte = seconds. [B] R1.

    The address is set by switches (0..63), so unit 0 is an address like any other and there is no
    broadcast. Register 0 takes the commands for all relays. [B] M3
    """

    model: ClassVar[str] = "eletechsup-r421"
    outputs_count: ClassVar[int] = 8
    functions: ClassVar[frozenset[int]] = frozenset((0x03, 0x06))
    words_at_once: ClassVar[int] = 1

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self.holding[0] = Point(None, self._all, range(_ALL_ON << 8, (_ALL_OFF + 1) << 8))
        for channel in range(self.outputs_count):
            self.holding[1 + channel] = Point(
                partial(self.contacts.reported, channel),
                partial(self._one, channel),
                range(_ON << 8, _ALL_ON << 8),
            )

    def _all(self, value: int, now_ms: int) -> None:
        for channel in range(self.outputs_count):
            self.contacts.command(channel, value >> 8 == _ALL_ON, now_ms)

    def _one(self, channel: int, value: int, now_ms: int) -> None:
        command, seconds = value >> 8, value & 0xFF
        if command in (_LATCH, _DELAY):
            # The side effect the vendor text names: the other relays go off. [B] R1
            for other in range(self.outputs_count):
                if other != channel:
                    self.contacts.command(other, False, now_ms)
        if command in (_MOMENTARY, _DELAY):
            lasts = _SECOND_MS * (1 if command == _MOMENTARY else seconds)
            if lasts:
                self.contacts.command(channel, True, now_ms, (now_ms + lasts, False))
            return
        toggled = command == _TOGGLE and not self.contacts.commanded[channel]
        self.contacts.command(channel, command in (_ON, _LATCH) or toggled, now_ms)


class EletechsupR421With16(EletechsupR421):
    """R421B16: the same with relays 1..16. [B] R1."""

    model: ClassVar[str] = "eletechsup-r421-16"
    outputs_count: ClassVar[int] = 16


_PULSE, _DELAYED = 0x0100, 0x0200
_OUTPUTS_WORD, _INPUTS, _INPUTS_WORD = 0x0070, 0x0081, 0x00C0
PULSE_MS = 1000
"""The configured time of a pulse or a delay: which register configures it, no source tells. [M]"""


class EletechsupN4d3e16(Board):
    """Sixteen outputs and sixteen inputs, all of them holding registers. HARDWARE.md 1.5, [B] N5.

    The address is set by switches, and whether unit 0 is heard is not known: it is not.
    """

    model: ClassVar[str] = "eletechsup-n4d3e16"
    outputs_count: ClassVar[int] = 16
    inputs_count: ClassVar[int] = 16
    functions: ClassVar[frozenset[int]] = frozenset((0x03, 0x06, 0x10))

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        for channel in range(self.outputs_count):
            self.holding[1 + channel] = Point(
                partial(self.contacts.reported, channel),
                partial(self._output, channel),
                frozenset((0, 1, _PULSE, _DELAYED)),
            )
            self.holding[_INPUTS + channel] = Point(partial(self._level, channel))
        self.holding[_OUTPUTS_WORD] = Point(
            lambda: sum(self.contacts.reported(c) << c for c in range(self.outputs_count)),
            self._outputs_word,
            range(0x10000),
        )
        self.holding[_INPUTS_WORD] = Point(
            lambda: sum(self._level(c) << c for c in range(self.inputs_count))
        )

    def _level(self, channel: int) -> int:
        return int(self.levels[channel])

    def _output(self, channel: int, value: int, now_ms: int) -> None:
        if value == _DELAYED:
            self.contacts.plan(channel, (now_ms + PULSE_MS, True))
        elif value == _PULSE:
            self.contacts.command(channel, True, now_ms, (now_ms + PULSE_MS, False))
        else:
            self.contacts.command(channel, value == 1, now_ms)

    def _outputs_word(self, value: int, now_ms: int) -> None:
        for channel in range(self.outputs_count):
            self._output(channel, value >> channel & 1, now_ms)
