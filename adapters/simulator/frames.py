"""RTU and Modbus TCP framing of the simulator's own: it shares no code with the gateway's side.

A second reading of the standard is the point: if both ends used one CRC routine, a fault in it
would cancel out. SPEC: Modbus over serial line V1.02, 2.5.1; Modbus messaging on TCP/IP V1.0b, 3.1.
"""

import struct
from typing import NamedTuple

RTU_MIN = 4
"""Shortest RTU frame: unit, function code, two bytes of CRC."""
RTU_MAX = 256
MBAP_HEADER = 7
MBAP_LENGTH_MIN = 2
MBAP_LENGTH_MAX = 254
"""Largest length field of a Modbus TCP header: unit byte and a PDU of 253 bytes."""

_WRITE_MANY = frozenset((0x0F, 0x10))
_FIXED_REQUESTS = frozenset((0x01, 0x02, 0x03, 0x04, 0x05, 0x06))
_FIXED_LENGTH = 8
_MANY_COUNT_AT = 6


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes) -> bytes:
    """Return the two CRC bytes of an RTU frame, low byte first, as they go on the wire."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return bytes((crc & 0xFF, crc >> 8))


def rtu(unit: int, pdu: bytes) -> bytes:
    """Frame a PDU for the serial line."""
    head = bytes((unit,)) + pdu
    return head + crc16(head)


def open_rtu(frame: bytes) -> tuple[int, bytes] | None:
    """Return (unit, PDU) of a whole RTU frame, or None when length or CRC is wrong."""
    if not RTU_MIN <= len(frame) <= RTU_MAX or crc16(frame[:-2]) != frame[-2:]:
        return None
    return frame[0], frame[1:-2]


def request_length(data: bytes) -> int | None:
    """Return the length of the RTU request that `data` begins with, or None when it must be longer.

    Needed where no silence marks the end of a frame (RTU inside TCP). Unknown function codes give
    the length of `data`: the whole of what arrived is then one frame for the board to refuse.
    """
    if len(data) < RTU_MIN:
        return None
    if data[1] in _FIXED_REQUESTS:
        return _FIXED_LENGTH
    if data[1] in _WRITE_MANY:
        return None if len(data) <= _MANY_COUNT_AT else _MANY_COUNT_AT + 3 + data[_MANY_COUNT_AT]
    return len(data)


class Mbap(NamedTuple):
    """One Modbus TCP request: its transaction number, unit and PDU."""

    transaction: int
    unit: int
    pdu: bytes


def mbap(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Frame a PDU for Modbus TCP."""
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def mbap_length(data: bytes) -> int | None:
    """Return the length of the Modbus TCP frame `data` begins with; None when more is needed.

    Raises ValueError when the header cannot be one (protocol number, length field): the stream is
    then lost and the connection has to be closed.
    """
    if len(data) < MBAP_HEADER:
        return None
    protocol, length = struct.unpack_from(">HH", data, 2)
    if protocol != 0 or not MBAP_LENGTH_MIN <= length <= MBAP_LENGTH_MAX:
        raise ValueError(f"no Modbus TCP header: protocol {protocol}, length {length}")
    return MBAP_HEADER - 1 + int(length)


def open_mbap(frame: bytes) -> Mbap:
    """Take one whole Modbus TCP frame apart (its length comes from `mbap_length`)."""
    transaction, _, _, unit = struct.unpack_from(">HHHB", frame)
    return Mbap(transaction, unit, frame[MBAP_HEADER:])


def corrupted(frame: bytes) -> bytes:
    """Flip one bit in the middle of a frame, as a spike on the line does."""
    at = len(frame) // 2
    return frame[:at] + bytes((frame[at] ^ 0x10,)) + frame[at + 1 :]


def truncated(frame: bytes) -> bytes:
    """Cut the end off a frame, as a board that loses its line driver too early does."""
    return frame[: max(1, len(frame) - 3)]


def collided(first: bytes, second: bytes) -> bytes:
    """Mix two frames sent over each other; a low bit wins, and the mix never passes the CRC."""
    length = max(len(first), len(second))
    a, b = first.ljust(length, b"\xff"), second.ljust(length, b"\xff")
    # The second sender is never in step to the bit: shift it by one.
    mixed = bytes(x & ((y << 1 | 1) & 0xFF) for x, y in zip(a, b, strict=True))
    return corrupted(mixed) if open_rtu(mixed) else mixed
