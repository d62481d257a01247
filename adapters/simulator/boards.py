"""What every simulated board has in common: contacts, inputs, a register map, Modbus exceptions.

A board is a state machine over a given time in milliseconds. It owns no clock and does no I/O:
`hear` takes a request and gives the reply, `advance` lets planned switching happen, `outputs` and
`drain` tell what the contacts did. Each make (models.py names them) fills in its register map as
four tables of points.

The maps here were written from HARDWARE.md, never from adapters/profiles: two readers of one file
would prove nothing.
"""

import struct
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

from adapters.simulator import device_id

READ_COILS, READ_INPUTS, READ_HOLDING, READ_INPUT_WORDS = 0x01, 0x02, 0x03, 0x04
WRITE_COIL, WRITE_WORD, WRITE_COILS, WRITE_WORDS = 0x05, 0x06, 0x0F, 0x10
READS = frozenset((READ_COILS, READ_INPUTS, READ_HOLDING, READ_INPUT_WORDS))

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 0x01, 0x02, 0x03
ON, OFF = 0xFF00, 0x0000
ON_OFF = frozenset((ON, OFF))

_BITS_MAX, _WORDS_MAX = 2000, 125
_WRITE_BITS_MAX, _WRITE_WORDS_MAX = 1968, 123
_PLAIN_LENGTH, _MANY_HEAD = 5, 6


class Refusal(Exception):  # noqa: N818  # it is a Modbus exception reply, not an error of ours
    """The board answers with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Change(NamedTuple):
    """A contact opened or closed."""

    at_ms: int
    channel: int
    on: bool


@dataclass(frozen=True, slots=True)
class Point:
    """One address of a register map.

    `read` gives its value (None: write only, exception 02). `write` takes (value, now_ms) (None:
    read only, exception 02); values outside `allowed` are refused with exception 03. `many` says
    whether the write-many codes reach it.
    """

    read: Callable[[], int] | None = None
    write: Callable[[int, int], None] | None = None
    allowed: Container[int] = ON_OFF
    many: bool = True


class Contacts:
    """The output side: what was commanded, what the contact really does, and what is planned."""

    def __init__(self, count: int) -> None:
        self.commanded = [False] * count
        self.welded: set[int] = set()
        self.broken: set[int] = set()
        self.changes: list[Change] = []
        self._closed = [False] * count
        self._plans: list[list[tuple[int, bool]]] = [[] for _ in range(count)]

    def __len__(self) -> int:
        return len(self.commanded)

    def command(
        self,
        channel: int,
        on: bool,  # noqa: FBT001  # a state
        now_ms: int,
        *then: tuple[int, bool],
    ) -> None:
        """Switch a channel now; `then` is what follows by itself, as (at_ms, on) in order.

        A new command forgets what was planned for the channel before.
        """
        self.commanded[channel] = on
        self._plans[channel] = list(then)
        self.settle(now_ms)

    def plan(self, channel: int, *then: tuple[int, bool]) -> None:
        """Replace what is planned for a channel and leave its state alone."""
        self._plans[channel] = list(then)

    def settle(self, now_ms: int) -> None:
        """Note every contact whose real state is no longer what it was."""
        for channel, commanded in enumerate(self.commanded):
            closed = channel in self.welded or (commanded and channel not in self.broken)
            if closed != self._closed[channel]:
                self._closed[channel] = closed
                self.changes.append(Change(now_ms, channel, closed))

    def closed(self) -> tuple[bool, ...]:
        """Return what the contacts really do."""
        return tuple(self._closed)

    def reported(self, channel: int) -> int:
        """Return what read-back tells: the command, or ON for a welded contact."""
        return int(self.commanded[channel] or channel in self.welded)

    def next_at(self) -> int | None:
        """Return when the next planned switching is due, or None."""
        return min((plan[0][0] for plan in self._plans if plan), default=None)

    def fire(self, now_ms: int) -> Change | None:
        """Do the earliest planned switching due by now and return it as a command change."""
        due = [(plan[0][0], channel) for channel, plan in enumerate(self._plans) if plan]
        if not due or min(due)[0] > now_ms:
            return None
        at, channel = min(due)
        _, on = self._plans[channel].pop(0)
        self.commanded[channel] = on
        self.settle(at)
        return Change(at, channel, on)


class Board:
    """A locker board without its make. Channels count from 0; times are milliseconds.

    `unit` is its address; `baud` None means that it understands whatever rate the line runs at.
    """

    model: ClassVar[str] = ""
    outputs_count: ClassVar[int] = 0
    inputs_count: ClassVar[int] = 0
    functions: ClassVar[frozenset[int]] = frozenset()
    hears_broadcast: ClassVar[bool] = False
    answers_unit_zero: ClassVar[bool] = False
    words_at_once: ClassVar[int] = _WORDS_MAX
    device_id: ClassVar[tuple[bytes, ...]] = ()
    """Vendor, product and version, for boards that tell them by function 43/14."""

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        self.unit = unit
        self.baud = baud
        self.contacts = Contacts(self.outputs_count)
        self.levels = [False] * self.inputs_count
        self.powered = True
        self.speaks_modbus = True
        self.ready_at_ms = 0
        self.coils: dict[int, Point] = {}
        self.discretes: dict[int, Point] = {}
        self.holding: dict[int, Point] = {}
        self.input_words: dict[int, Point] = {}
        self.memory: dict[int, int] = {}

    # -- the line's side

    def hear(self, unit: int, pdu: bytes, now_ms: int) -> tuple[int, bytes] | None:
        """Take a request from the line; return (unit, reply PDU), or None for silence."""
        self.advance(now_ms)
        if not self.powered or not self.speaks_modbus or now_ms < self.ready_at_ms:
            return None
        if unit == self.unit:
            reply = self.handle(pdu, now_ms)
            return None if reply is None else (unit, reply)
        if unit == 0 and self.hears_broadcast and pdu:
            if pdu[0] not in READS:
                self.handle(pdu, now_ms)
            elif self.answers_unit_zero and (reply := self.handle(pdu, now_ms)) is not None:
                return self.unit, reply
        return None

    def hear_ascii(self, text: bytes) -> bytes | None:
        """Take a line of a maker's own ASCII protocol; return its answer, or None for silence."""
        del text
        return None

    def handle(self, pdu: bytes, now_ms: int) -> bytes | None:
        """Carry out one request PDU and return the reply PDU; None for an empty one."""
        self.advance(now_ms)
        if not pdu:
            return None
        try:
            return self._serve(pdu, now_ms)
        except Refusal as refusal:
            return bytes((pdu[0] | 0x80, refusal.code))

    # -- the cabinet's side

    def install(self) -> None:
        """Do what a person does to a board from the factory before it speaks Modbus at all."""

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due by now, in order."""
        while (change := self.contacts.fire(now_ms)) is not None:
            self.fired(change)

    def next_at(self) -> int | None:
        """Return when something will happen by itself, or None."""
        return self.contacts.next_at()

    def fired(self, change: Change) -> None:
        """Tell a make that a planned switching happened."""

    def outputs(self, now_ms: int) -> tuple[bool, ...]:
        """Return what the contacts really do now."""
        self.advance(now_ms)
        return self.contacts.closed()

    def drain(self) -> list[Change]:
        """Return and forget the contact changes since the last call, oldest first."""
        changes, self.contacts.changes = self.contacts.changes, []
        return changes

    def set_input(self, channel: int, active: bool, now_ms: int) -> None:  # noqa: FBT001  # a level
        """Put a level on one input terminal."""
        self.advance(now_ms)
        if self.levels[channel] != active:
            self.levels[channel] = active
            if self.powered:
                self.input_changed(channel, now_ms)

    def set_inputs(self, levels: Sequence[bool], now_ms: int) -> None:
        """Put levels on the first `len(levels)` input terminals."""
        for channel, active in enumerate(levels):
            self.set_input(channel, active, now_ms)

    def input_changed(self, channel: int, now_ms: int) -> None:
        """Tell a make that the level of an input terminal changed."""

    def power_off(self, now_ms: int) -> None:
        """Take the supply away: every contact drops, every plan is forgotten."""
        self.advance(now_ms)
        self.powered = False
        self._drop_all(now_ms)

    def power_on(self, now_ms: int, *, boot_ms: int = 0, keep_outputs: bool = False) -> None:
        """Give the supply back; silent for `boot_ms`.

        `keep_outputs` is the fault of a board that comes back with its outputs in the last state.
        """
        before = list(self.contacts.commanded)
        if self.powered:
            self.power_off(now_ms)
        self.powered = True
        self.ready_at_ms = now_ms + boot_ms
        self.booted(now_ms)
        if keep_outputs:
            for channel, on in enumerate(before):
                self.contacts.command(channel, on, now_ms)

    def booted(self, now_ms: int) -> None:
        """Tell a make that its supply has come back."""

    def _drop_all(self, now_ms: int) -> None:
        for channel in range(len(self.contacts)):
            self.contacts.command(channel, False, now_ms)

    # -- register map helpers for the makes

    def cell(self, address: int, initial: int, allowed: Container[int]) -> Point:
        """Return a plain read-write register that remembers what it is told."""
        self.memory[address] = initial
        return Point(
            partial(self.memory.__getitem__, address), partial(self._remember, address), allowed
        )

    def _remember(self, address: int, value: int, _now_ms: int) -> None:
        self.memory[address] = value

    # -- the standard function codes. SPEC: Modbus application protocol V1.1b3, section 6.

    def _serve(self, pdu: bytes, now_ms: int) -> bytes:
        code = pdu[0]
        if code not in self.functions:
            raise Refusal(ILLEGAL_FUNCTION)
        if code in (READ_COILS, READ_INPUTS):
            return self._read_bits(pdu, self.coils if code == READ_COILS else self.discretes)
        if code in (READ_HOLDING, READ_INPUT_WORDS):
            return self._read_words(pdu, self.holding if code == READ_HOLDING else self.input_words)
        if code in (WRITE_COIL, WRITE_WORD):
            return self._write_one(pdu, now_ms)
        if code == device_id.FUNCTION:
            return self._identify(pdu)
        return self._write_many(pdu, now_ms)

    def _identify(self, pdu: bytes) -> bytes:
        answer = device_id.answer(self.device_id, pdu)
        if isinstance(answer, int):
            raise Refusal(answer)
        return answer

    def _read_bits(self, pdu: bytes, points: dict[int, Point]) -> bytes:
        values = _read(pdu, points, _BITS_MAX)
        packed = bytearray((len(values) + 7) // 8)
        for index, value in enumerate(values):
            packed[index // 8] |= value << index % 8
        return bytes((pdu[0], len(packed))) + bytes(packed)

    def _read_words(self, pdu: bytes, points: dict[int, Point]) -> bytes:
        values = _read(pdu, points, self.words_at_once)
        return bytes((pdu[0], 2 * len(values))) + struct.pack(f">{len(values)}H", *values)

    def _write_one(self, pdu: bytes, now_ms: int) -> bytes:
        if len(pdu) != _PLAIN_LENGTH:
            raise Refusal(ILLEGAL_VALUE)
        address, value = struct.unpack_from(">HH", pdu, 1)
        points = self.coils if pdu[0] == WRITE_COIL else self.holding
        _writer(points, address, value, many=False)(value, now_ms)
        return pdu

    def _write_many(self, pdu: bytes, now_ms: int) -> bytes:
        address, values = _values_of(pdu)
        points = self.coils if pdu[0] == WRITE_COILS else self.holding
        # All are looked at before the first is written: a refused request changes nothing.
        writers = [
            _writer(points, address + index, value, many=True) for index, value in enumerate(values)
        ]
        for write, value in zip(writers, values, strict=True):
            write(value, now_ms)
        return pdu[:_PLAIN_LENGTH]


def _read(pdu: bytes, points: dict[int, Point], most: int) -> list[int]:
    if len(pdu) != _PLAIN_LENGTH:
        raise Refusal(ILLEGAL_VALUE)
    address, count = struct.unpack_from(">HH", pdu, 1)
    if not 1 <= count <= most:
        raise Refusal(ILLEGAL_VALUE)
    readers = [
        point.read
        for at in range(address, address + count)
        if (point := points.get(at)) is not None and point.read is not None
    ]
    if len(readers) != count:
        raise Refusal(ILLEGAL_ADDRESS)
    return [read() for read in readers]


def _writer(
    points: dict[int, Point], address: int, value: int, *, many: bool
) -> Callable[[int, int], None]:
    point = points.get(address)
    if point is None or point.write is None or (many and not point.many):
        raise Refusal(ILLEGAL_ADDRESS)
    if value not in point.allowed:
        raise Refusal(ILLEGAL_VALUE)
    return point.write


def _values_of(pdu: bytes) -> tuple[int, list[int]]:
    if len(pdu) < _MANY_HEAD:
        raise Refusal(ILLEGAL_VALUE)
    address, count, size = struct.unpack_from(">HHB", pdu, 1)
    data = pdu[_MANY_HEAD:]
    coils = pdu[0] == WRITE_COILS
    most, expected = (_WRITE_BITS_MAX, (count + 7) // 8) if coils else (_WRITE_WORDS_MAX, 2 * count)
    if not 1 <= count <= most or size != expected or len(data) != expected:
        raise Refusal(ILLEGAL_VALUE)
    if coils:
        return address, [ON if data[i // 8] >> i % 8 & 1 else OFF for i in range(count)]
    return address, list(struct.unpack(f">{count}H", data))
