"""Moxa ioLogik E1210 (16 DI), E1211 (16 DO) and E1214 (6 DI + 6 relays). HARDWARE.md 1.8.

One map serves the family: blocks start where the manual of the E1214 puts them, and the sixteen
points of an E1210 or E1211 fill exactly the gaps it leaves. [A] X1 X2 X4
"""

from functools import partial
from typing import ClassVar

from typing_extensions import override

from adapters.simulator.boards import ON, Board, Change, Point

_PULSE, _RESET_CURRENT, _DI_START, _DI_RESET, _DI_CLEAR, _SAFE_CLEAR = 16, 48, 256, 272, 288, 4128
_DI_OVERFLOW, _P2P, _SAFE_MODE = 1000, 4096, 4112
_DI_COUNT, _DI_WORD, _TOTAL, _CURRENT = 16, 48, 64, 96
_DO_WORD, _COUNT, _ON_WIDTH, _OFF_WIDTH = 32, 36, 52, 68
_ONLY_ON = frozenset((ON,))
"""Writing 0 to a "clear" coil is refused with exception 03. [A] X4"""
_WORD = 0x10000


class MoxaE1200(Board):
    """The family: `width_ms` is the unit of pulse widths, a pulse count has `count_words` words.

    That they tell who they are by function 43/14 is [M].
    """

    functions: ClassVar[frozenset[int]] = frozenset((1, 2, 3, 4, 5, 6, 0x0F, 0x10, 0x2B))
    width_ms: ClassVar[int] = 1
    count_words: ClassVar[int] = 1
    relays: ClassVar[bool] = False

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self.counts = [0] * self.inputs_count
        self.counting = [1] * self.inputs_count
        self.operations = [0] * self.outputs_count
        self.operations_reset = [0] * self.outputs_count
        self._left: list[int | None] = [0] * self.outputs_count
        if self.inputs_count:
            self._map_inputs()
        if self.outputs_count:
            self._map_outputs()
        if self.relays:
            self._map_relays()

    def _map_inputs(self) -> None:
        for channel in range(self.inputs_count):
            self.discretes[channel] = Point(partial(self._level, channel))
            self.discretes[_DI_OVERFLOW + channel] = Point(lambda: 0)
            self.coils[_DI_START + channel] = Point(
                partial(self.counting.__getitem__, channel), partial(self._start_count, channel)
            )
            self.coils[_DI_RESET + channel] = Point(
                lambda: 0, partial(self._reset_count, channel), _ONLY_ON
            )
            self.coils[_DI_CLEAR + channel] = Point(lambda: 0, _nothing, _ONLY_ON)
            self._two_words(_DI_COUNT + 2 * channel, self.counts, channel)
        self.input_words[_DI_WORD] = Point(lambda: _word(self.levels))

    def _map_outputs(self) -> None:
        for channel in range(self.outputs_count):
            self.coils[channel] = Point(
                partial(self.contacts.reported, channel), partial(self._switch, channel)
            )
            self.coils[_PULSE + channel] = Point(
                partial(self._pulsing, channel), partial(self._start_pulse, channel)
            )
            for word in range(self.count_words):
                at = _COUNT + self.count_words * channel + word
                self.holding[at] = self.cell(at, 0, range(_WORD))
            for at in (_ON_WIDTH + channel, _OFF_WIDTH + channel):
                self.holding[at] = self.cell(at, 1, range(1, _WORD))
        self.holding[_DO_WORD] = Point(
            lambda: _word([bool(self.contacts.reported(c)) for c in range(self.outputs_count)]),
            self._switch_word,
            range(1 << self.outputs_count),
        )

    def _map_relays(self) -> None:
        for channel in range(self.outputs_count):
            self.coils[_RESET_CURRENT + channel] = Point(
                lambda: 0, partial(self._reset_operations, channel), _ONLY_ON
            )
            self.coils[_SAFE_CLEAR + channel] = Point(lambda: 0, _nothing, _ONLY_ON)
            self.discretes[_P2P + channel] = Point(lambda: 0)
            self.discretes[_SAFE_MODE + channel] = Point(lambda: 0)
            self._two_words(_TOTAL + 2 * channel, self.operations, channel)
            self._two_words(_CURRENT + 2 * channel, self.operations_reset, channel)

    def _two_words(self, address: int, values: list[int], channel: int) -> None:
        """Two words, the high one first. [A] X1."""
        self.input_words[address] = Point(lambda: values[channel] >> 16 & 0xFFFF)
        self.input_words[address + 1] = Point(lambda: values[channel] & 0xFFFF)

    # -- inputs

    def _level(self, channel: int) -> int:
        return int(self.levels[channel])

    def _start_count(self, channel: int, value: int, _now_ms: int) -> None:
        self.counting[channel] = int(value == ON)

    def _reset_count(self, channel: int, _value: int, _now_ms: int) -> None:
        self.counts[channel] = 0

    @override
    def input_changed(self, channel: int, now_ms: int) -> None:
        if self.levels[channel] and self.counting[channel]:
            self.counts[channel] += 1

    # -- outputs

    def _switch(self, channel: int, value: int, now_ms: int) -> None:
        self._left[channel] = 0
        self._command(channel, value == ON, now_ms)

    def _switch_word(self, value: int, now_ms: int) -> None:
        for channel in range(self.outputs_count):
            self._switch(channel, ON if value >> channel & 1 else 0, now_ms)

    def _command(self, channel: int, on: bool, now_ms: int, *then: tuple[int, bool]) -> None:  # noqa: FBT001  # a state
        if on and not self.contacts.commanded[channel]:
            self._operated(channel)
        self.contacts.command(channel, on, now_ms, *then)

    def _operated(self, channel: int) -> None:
        self.operations[channel] += 1
        self.operations_reset[channel] += 1

    def _reset_operations(self, channel: int, _value: int, _now_ms: int) -> None:
        self.operations_reset[channel] = 0

    def _pulsing(self, channel: int) -> int:
        return int(self._left[channel] != 0)

    def _start_pulse(self, channel: int, value: int, now_ms: int) -> None:
        if value != ON:
            self._switch(channel, 0, now_ms)
            return
        count = 0
        for word in range(self.count_words):
            count = count << 16 | self.memory[_COUNT + self.count_words * channel + word]
        self._left[channel] = count or None  # a count of 0 pulses until stopped
        self._command(channel, True, now_ms, *self._cycle(channel, now_ms))

    def _cycle(self, channel: int, on_at_ms: int) -> tuple[tuple[int, bool], tuple[int, bool]]:
        """One pulse that began at `on_at_ms`: when it ends, and when the next one would begin."""
        off_at = on_at_ms + self.memory[_ON_WIDTH + channel] * self.width_ms
        return (off_at, False), (off_at + self.memory[_OFF_WIDTH + channel] * self.width_ms, True)

    @override
    def fired(self, change: Change) -> None:
        channel = change.channel
        if change.on:
            self._operated(channel)
            self.contacts.plan(channel, *self._cycle(channel, change.at_ms))
            return
        left = self._left[channel]
        if left is not None:
            self._left[channel] = left - 1
            if left == 1:
                self.contacts.plan(channel)

    @override
    def booted(self, now_ms: int) -> None:
        self._left = [0] * self.outputs_count


def _nothing(_value: int, _now_ms: int) -> None:
    """Clear a flag that this simulation never raises."""


def _word(bits: list[bool]) -> int:
    return sum(1 << index for index, bit in enumerate(bits) if bit)


class MoxaE1210(MoxaE1200):
    """Sixteen inputs."""

    model: ClassVar[str] = "moxa-e1210"
    device_id: ClassVar[tuple[bytes, ...]] = (b"MOXA", b"ioLogik E1210", b"V3.0")
    inputs_count: ClassVar[int] = 16


class MoxaE1211(MoxaE1200):
    """Sixteen transistor outputs. The pulse unit is not documented: 1 ms is [M]."""

    model: ClassVar[str] = "moxa-e1211"
    device_id: ClassVar[tuple[bytes, ...]] = (b"MOXA", b"ioLogik E1211", b"V3.0")
    outputs_count: ClassVar[int] = 16


class MoxaE1214(MoxaE1200):
    """Six inputs and six relays; pulse widths in steps of 1.5 s. [A] X1."""

    model: ClassVar[str] = "moxa-e1214"
    device_id: ClassVar[tuple[bytes, ...]] = (b"MOXA", b"ioLogik E1214", b"V3.0")
    inputs_count: ClassVar[int] = 6
    outputs_count: ClassVar[int] = 6
    width_ms: ClassVar[int] = 1500
    count_words: ClassVar[int] = 2
    relays: ClassVar[bool] = True
