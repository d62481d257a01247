"""THE ONE DOOR to pymodbus: lines, the units on them, and the frames.

A `Line` is one serial port or one TCP connection with its owner (`adapters.owner`). pymodbus
makes and reads the frames: framers, checksums, PDUs. Its client is not used: it leaves no gap
between frames, takes a late answer for the next question's, and cannot be hurried.
"""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from adapters.errors import Closed, Forbidden
from adapters.owner import Owner
from adapters.pace import Priority, UnitTiming
from adapters.plan import allowed_writes, refusal
from adapters.profile import Profile
from adapters.reading import (
    BITS,
    READS,
    WRITES,
    Codec,
    Counters,
    Judgement,
    Read,
    Request,
    Verdict,
    Write,
    answer_pdu_bytes,
)
from adapters.wire import SerialSpec, TcpSpec

__all__ = ["Counters", "Frames", "Line", "Priority", "SerialSpec", "TcpSpec", "Unit"]

DEADLINE_MS: Final = 2000
CLOSING_STEP_S: Final = 0.01
UNIT_MAX: Final = 255  # 248 to 255 are reserved by the standard and used by relay boards
_EXCEPTION: Final = 0x80
_EXCEPTION_BYTES: Final = 2
_SHORTEST: Final = 5  # an exception with address and checksum
_WAIT: Final = Judgement(Verdict.WAIT)
_SINGLE_WRITES: Final = frozenset({5, 6})
_READ_REQUESTS: Final = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}


class RawCoil(ModbusPDU):
    """Function 5 with any 16-bit value: the timed pulse of many relay boards.

    pymodbus' own request knows only 0xFF00 and 0x0000.
    """

    function_code = 5
    rtu_frame_size = 8

    def __init__(self, address: int = 0, value: int = 0, dev_id: int = 0) -> None:
        super().__init__(address=address, dev_id=dev_id)
        self.value = value

    def encode(self) -> bytes:  # type: ignore[explicit-override]  # typing has it from 3.12
        """Return address and value."""
        return struct.pack(">HH", self.address, self.value)

    def decode(self, data: bytes) -> None:  # type: ignore[explicit-override]  # as above
        """Read address and value."""
        self.address, self.value = struct.unpack(">HH", data[:4])


class Frames:
    """The codec of one line. RTU (also inside TCP) or Modbus TCP."""

    def __init__(self, *, rtu: bool) -> None:
        self._decoder = DecodePDU(False)
        self._decoder.register(RawCoil)
        # Only what we ask can be answered: the fewer functions, the less garbage looks like one.
        table = self._decoder.pdu_table
        self._decoder.pdu_table = {code: table[code] for code in sorted(READS | WRITES)}
        self._rtu = rtu
        self._framer = FramerRTU(self._decoder) if rtu else FramerSocket(self._decoder)
        self._number = 0

    def encode(self, unit: int, request: Request) -> tuple[bytes, int]:
        """Return the frame and its transaction number (0 on RTU)."""
        pdu = _pdu(unit, request)
        if not self._rtu:
            self._number = self._number % 0xFFFF + 1
            pdu.transaction_id = self._number
        return self._framer.buildFrame(pdu), pdu.transaction_id

    def judge(self, raw: bytes, echo: bytes, unit: int, request: Request, number: int) -> Judgement:
        """Judge what came so far."""
        if not self._rtu:
            return self._judge_tcp(raw, unit, request, number)
        if not raw.startswith(echo):
            return _WAIT  # echo still coming, or spoiled: the end will tell
        body = raw[len(echo) :]
        function, whole = request.function, answer_pdu_bytes(request) + 3
        ours = body[:2] == bytes((unit, function))
        if len(body) < _SHORTEST or (ours and len(body) < whole):
            return _WAIT
        judged = self._sound_frame(body, unit, request)
        if judged is _WAIT and ours:
            return Judgement(Verdict.CORRUPT)
        return judged

    def at_the_end(
        self, raw: bytes, echo: bytes, unit: int, request: Request, number: int
    ) -> Judgement:
        """Judge what came when the time is over: never WAIT."""
        if not self._rtu:
            judged = self._judge_tcp(raw, unit, request, number)
            if judged is not _WAIT:
                return judged
            left_over = self._after_whole_frames(raw)
            return Judgement(Verdict.GARBAGE if left_over else Verdict.NOTHING)
        if echo and not raw.startswith(echo):
            return Judgement(Verdict.GARBAGE if raw else Verdict.NOTHING)
        body = raw[len(echo) :]
        if not body:
            return Judgement(Verdict.NOTHING)
        judged = self._sound_frame(body, unit, request)
        if judged is not _WAIT:
            return judged
        foreign = self._decoded(body)[2]
        return Judgement(Verdict.OTHER if foreign else Verdict.GARBAGE)

    def _sound_frame(self, body: bytes, unit: int, request: Request) -> Judgement:
        """Look for a frame of this unit and function anywhere in `body`: noise may come first."""
        for start in range(len(body) - 3):
            if body[start] != unit or body[start + 1] & ~_EXCEPTION != request.function:
                continue
            device, _, pdu = self._decoded(body[start:])
            if pdu and device == unit and pdu[0] & ~_EXCEPTION == request.function:
                return self._compare(pdu, request)
        return _WAIT

    def _judge_tcp(self, raw: bytes, unit: int, request: Request, number: int) -> Judgement:
        while raw:
            if any(raw[2:4]):
                return Judgement(Verdict.GARBAGE)  # no Modbus: the protocol number is not 0
            used, device, transaction, pdu = self._framer.decode(raw)
            if not used:
                break
            if transaction == number:
                other = device != unit or not pdu or pdu[0] & ~_EXCEPTION != request.function
                return Judgement(Verdict.OTHER) if other else self._compare(pdu, request)
            raw = raw[used:]  # the late answer to an earlier question
        return _WAIT

    def _after_whole_frames(self, raw: bytes) -> bytes:
        while raw and (used := self._framer.decode(raw)[0]):
            raw = raw[used:]
        return raw

    def _decoded(self, raw: bytes) -> tuple[int, int, bytes]:
        """Return (unit, transaction, PDU) of the first whole frame; the PDU is empty if none."""
        try:
            _, device, transaction, pdu = self._framer.decode(raw)
        except (ModbusException, ValueError, IndexError, struct.error):
            return 0, 0, b""
        return device, transaction, pdu

    def _compare(self, pdu: bytes, request: Request) -> Judgement:
        """Compare byte count and echoed address and values; the unit and function are ours."""
        if pdu[0] & _EXCEPTION:
            whole = len(pdu) == _EXCEPTION_BYTES
            return Judgement(Verdict.REFUSED, exception=pdu[1]) if whole else _OTHER
        if len(pdu) != answer_pdu_bytes(request):
            return _OTHER
        if isinstance(request, Write):
            single = request.function in _SINGLE_WRITES
            said = request.values[0] if single else len(request.values)
            same = pdu[1:] == struct.pack(">HH", request.address, said)
            return Judgement(Verdict.GOOD) if same else _OTHER
        if pdu[1] != len(pdu) - 2:
            return _OTHER
        answer = self._decoder.pdu_table[request.function][1]()
        answer.decode(pdu[1:])
        if request.function in BITS:
            return Judgement(Verdict.GOOD, tuple(map(int, answer.bits[: request.count])))
        return Judgement(Verdict.GOOD, tuple(answer.registers))


_OTHER: Final = Judgement(Verdict.OTHER)


def _pdu(unit: int, request: Request) -> ModbusPDU:
    if isinstance(request, Read):
        kind = _READ_REQUESTS[request.function]
        return kind(address=request.address, count=request.count, dev_id=unit)
    match request.function:
        case 5:
            return RawCoil(request.address, request.values[0], unit)
        case 6:
            return WriteSingleRegisterRequest(
                address=request.address, registers=list(request.values), dev_id=unit
            )
        case 15:
            return WriteMultipleCoilsRequest(
                address=request.address, bits=[bool(v) for v in request.values], dev_id=unit
            )
        case _:
            return WriteMultipleRegistersRequest(
                address=request.address, registers=list(request.values), dev_id=unit
            )


class Line:
    """One line. Open it, lend its units with `unit`, and ask them.

    `trace(direction, data)` is called by the owner with "tx" and "rx" bytes, in a thread or on the
    loop; it must not block.
    """

    def __init__(
        self, spec: SerialSpec | TcpSpec, *, trace: Callable[[str, bytes], None] | None = None
    ) -> None:
        self.spec = spec
        self._units: dict[int, tuple[Profile | None, frozenset[Write]]] = {}
        codec: Codec = Frames(rtu=spec.rtu)
        self._pulsing: dict[int, set[int]] = {}
        self._closing = False
        self._owner = Owner(spec, codec, self._guard, trace)

    @property
    def up(self) -> bool:
        """Whether the port is open or the peer connected."""
        return self._owner.up

    @property
    def down_reason(self) -> str:
        """Why the line is down, or was last."""
        return self._owner.down_reason

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
