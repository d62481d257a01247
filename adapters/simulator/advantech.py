"""Advantech ADAM-4150 and 4168 (RTU), ADAM-6050 and 6060 (TCP). HARDWARE.md 1.7.

What the sources do not tell is [M]: a pulse begins with its high time, output mode 1 is the pulse
output, the low word of 32 bits comes first on the 4100 as it does on the 6060, a time of zero makes
no pulse, and switching an output off ends its pulses.
"""

from functools import partial
from typing import ClassVar

from typing_extensions import override

from adapters.simulator.boards import ON, Board, Change, Point

_DO, _DI_WORD, _DO_WORD, _NAME = 16, 300, 302, 210
_VERSION, _SAFETY, _SAFETY_FLAG = 212, 214, 215
_WORD = 0x10000
_INVERT, _PULSE_MODE = 0x80, 1
_TENTHS = 10
_OUTPUT_MODES = 4
_ASCII_HEAD = 3


class Adam(Board):
    """Inputs are coils from 0, outputs coils from 16; both are words too. [B] M5 N7 N8, [A] D1."""

    functions: ClassVar[frozenset[int]] = frozenset((0x01, 0x03, 0x05, 0x06, 0x0F, 0x10))

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        for channel in range(self.inputs_count):
            self.coils[channel] = Point(partial(self.level, channel))
        for channel in range(self.outputs_count):
            self.coils[_DO + channel] = Point(
                partial(self.contacts.reported, channel), partial(self.switch, channel)
            )
        if self.inputs_count:
            self.holding[_DI_WORD] = Point(
                lambda: sum(self.level(c) << c for c in range(self.inputs_count))
            )
        self.holding[_DO_WORD] = Point(
            lambda: sum(self.contacts.reported(c) << c for c in range(self.outputs_count)),
            self._switch_word,
            range(1 << self.outputs_count),
        )

    def level(self, channel: int) -> int:
        """Return what an input reads."""
        return int(self.levels[channel])

    def switch(self, channel: int, value: int, now_ms: int) -> None:
        """Switch one output."""
        self.contacts.command(channel, value == ON, now_ms)

    def _switch_word(self, value: int, now_ms: int) -> None:
        for channel in range(self.outputs_count):
            self.switch(channel, ON if value >> channel & 1 else 0, now_ms)


class Adam4100(Adam):
    """The RTU modules: they leave the factory speaking Advantech's ASCII protocol. [B] M5.

    Low and high times in tenths of a millisecond and pulse counts, each 32 bits wide; an absolute
    count of 0 pulses without an end. [A] D1 D2. The blocks begin at `low`, `high`, `absolute`,
    `incremental` and `mode`.
    """

    name: ClassVar[int] = 0
    low: ClassVar[int] = 0
    high: ClassVar[int] = 16
    absolute: ClassVar[int] = 32
    incremental: ClassVar[int] = 48
    mode: ClassVar[int] = 64
    outputs_count: ClassVar[int] = 8

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self.speaks_modbus = False
        self._left: list[int | None] = [0] * self.outputs_count  # None: without an end
        self._told: set[int] = set()
        for channel in range(self.outputs_count):
            for block in (self.low, self.high):
                for at in (block + 2 * channel, block + 2 * channel + 1):
                    self.holding[at] = self.cell(at, 0, range(_WORD))
            for block in (self.absolute, self.incremental):
                for at in (block + 2 * channel, block + 2 * channel + 1):
                    cell = self.cell(at, 0, range(_WORD))
                    self.holding[at] = Point(cell.read, partial(self._count, at), range(_WORD))
            at = self.mode + channel
            self.holding[at] = self.cell(at, 0, range(_OUTPUT_MODES))
        for offset, word in enumerate((self.name, 0)):
            self.holding[_NAME + offset] = Point(partial(int, word))
        for offset, word in enumerate((0x0200, 0)):
            self.holding[_VERSION + offset] = Point(partial(int, word))
        self.holding[_SAFETY] = self.cell(_SAFETY, 0, range(2))
        self.holding[_SAFETY_FLAG] = Point(lambda: 0)

    # -- protocol

    @override
    def install(self) -> None:
        """Switch over to Modbus, as the vendor's utility does."""
        self.speaks_modbus = True

    @override
    def hear_ascii(self, text: bytes) -> bytes | None:
        """Answer `$AAM` (name) and `$AAF` (version); `?AA` to what is none of them. [M]."""
        own = f"{self.unit:02X}".encode()
        if self.speaks_modbus or not self.powered or not text.endswith(b"\r"):
            return None
        if text[:1] not in b"$#%@" or text[1:_ASCII_HEAD] != own:
            return None
        said = {b"$M": f"{self.name:04X}".encode(), b"$F": b"A2.00"}
        answer = said.get(text[:1] + text[_ASCII_HEAD:-1])
        return b"?" + own + b"\r" if answer is None else b"!" + own + answer + b"\r"

    # -- pulses

    @override
    def _serve(self, pdu: bytes, now_ms: int) -> bytes:
        # Both words of a count come in one request: the pulses begin after the last.
        self._told.clear()
        reply = super()._serve(pdu, now_ms)
        for at in sorted(self._told):
            self._start(at, now_ms)
        return reply

    def _count(self, at: int, value: int, _now_ms: int) -> None:
        self.memory[at] = value
        self._told.add(at & ~1)

    def _both(self, at: int) -> int:
        return self.memory[at] | self.memory[at + 1] << 16

    def _start(self, at: int, now_ms: int) -> None:
        more = at >= self.incremental
        channel = (at - (self.incremental if more else self.absolute)) // 2
        count, left = self._both(at), self._left[channel]
        if self.memory[self.mode + channel] != _PULSE_MODE or not self._time(self.high, channel):
            return
        if more:
            running = left is None or left > 0
            self._left[channel] = None if left is None else left + count
            if running or not count:
                return
        else:
            self._left[channel] = count or None
        self.contacts.command(channel, True, now_ms, *self._cycle(channel, now_ms))

    def _time(self, block: int, channel: int) -> int:
        """Milliseconds, rounded up."""
        return -(-self._both(block + 2 * channel) // _TENTHS)

    def _cycle(self, channel: int, on_at_ms: int) -> tuple[tuple[int, bool], tuple[int, bool]]:
        off_at = on_at_ms + self._time(self.high, channel)
        return (off_at, False), (off_at + max(1, self._time(self.low, channel)), True)

    @override
    def fired(self, change: Change) -> None:
        channel, left = change.channel, self._left[change.channel]
        if change.on:
            self.contacts.plan(channel, *self._cycle(channel, change.at_ms))
        elif left is not None:
            self._left[channel] = left - 1
            if left == 1:
                self.contacts.plan(channel)

    @override
    def switch(self, channel: int, value: int, now_ms: int) -> None:
        self._left[channel] = 0
        super().switch(channel, value, now_ms)

    @override
    def booted(self, now_ms: int) -> None:
        self._left = [0] * self.outputs_count


class Adam4150(Adam4100):
    """Seven inputs, eight outputs; an input has a mode, whose bit 0x80 inverts it. [A] D1."""

    model: ClassVar[str] = "adam-4150"
    name: ClassVar[int] = 0x4150
    inputs_count: ClassVar[int] = 7
    low: ClassVar[int] = 14
    high: ClassVar[int] = 30
    absolute: ClassVar[int] = 46
    incremental: ClassVar[int] = 62
    mode: ClassVar[int] = 85
    input_mode: ClassVar[int] = 78

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        for channel in range(self.inputs_count):
            at = self.input_mode + channel
            self.holding[at] = self.cell(at, 0, range(0x100))

    @override
    def level(self, channel: int) -> int:
        inverted = bool(self.memory[self.input_mode + channel] & _INVERT)
        return int(self.levels[channel] != inverted)


class Adam4168(Adam4100):
    """Eight relays. [A] D2 [B] M6."""

    model: ClassVar[str] = "adam-4168"
    name: ClassVar[int] = 0x4168


class Adam6000(Adam):
    """The TCP modules; that they tell who they are by function 43/14 is [M]."""

    functions: ClassVar[frozenset[int]] = Adam.functions | {0x2B}
    outputs_count: ClassVar[int] = 6


class Adam6050(Adam6000):
    """Twelve inputs, six outputs. [B] N8."""

    model: ClassVar[str] = "adam-6050"
    inputs_count: ClassVar[int] = 12
    device_id: ClassVar[tuple[bytes, ...]] = (b"Advantech", b"ADAM-6050", b"A1.00")


class Adam6060(Adam6000):
    """Six inputs, six relays. [B] N8 M7."""

    model: ClassVar[str] = "adam-6060"
    inputs_count: ClassVar[int] = 6
    device_id: ClassVar[tuple[bytes, ...]] = (b"Advantech", b"ADAM-6060", b"A1.00")
