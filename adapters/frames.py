"""THE ONE DOOR to pymodbus: what goes over a line as bytes, made and judged.

pymodbus makes and reads the frames: framers, checksums, PDUs. Its client is not used: it leaves no
gap between frames, takes a late answer for the next question's, and cannot be hurried.
"""

import struct
from typing import Final

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadDiscreteInputsRequest,
    WriteMultipleCoilsRequest,
)
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from adapters.reading import (
    BITS,
    IDENTIFY,
    MEI_DEVICE,
    PDU_MAX,
    READS,
    WRITES,
    Identify,
    Judgement,
    Read,
    Request,
    Verdict,
    Write,
    answer_pdu_bytes,
    identity_bytes,
)

_EXCEPTION: Final = 0x80
_EXCEPTION_BYTES: Final = 2
_SHORTEST: Final = 5  # an exception with address and checksum
_HEADER_BYTES: Final = 7  # of an identification: function to the number of its objects
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
        self._decoder.pdu_table = {
            code: table[code] for code in sorted(READS | WRITES | {IDENTIFY})
        }
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
        ours = body[:2] == bytes((unit, request.function))
        whole = _whole_bytes(body[1:], request) + 3
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
        if isinstance(request, Identify):
            return _compare_identity(pdu, request)
        return self._compare_points(pdu, request)

    def _compare_points(self, pdu: bytes, request: Read | Write) -> Judgement:
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


def _compare_identity(pdu: bytes, request: Identify) -> Judgement:
    """Good is an answer whose objects fill it exactly, and that answers this question."""
    ours = pdu[1:3] == bytes((MEI_DEVICE, request.code))
    whole = len(pdu) >= _HEADER_BYTES and identity_bytes(pdu) == len(pdu) <= PDU_MAX
    return Judgement(Verdict.GOOD, tuple(pdu[4:])) if ours and whole else _OTHER


def _whole_bytes(pdu: bytes, request: Request) -> int:
    """Length of the answer that `pdu` begins, as far as it can be told already."""
    return identity_bytes(pdu) if isinstance(request, Identify) else answer_pdu_bytes(request)


def _pdu(unit: int, request: Request) -> ModbusPDU:
    if isinstance(request, Identify):
        return ReadDeviceInformationRequest(request.code, request.object_id, dev_id=unit)
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
