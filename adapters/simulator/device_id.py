"""Read Device Identification, function 43/14. SPEC: Modbus application protocol V1.1b3, 6.21."""

from collections.abc import Sequence

FUNCTION = 0x2B
_TYPE, _BASIC, _ONE = 0x0E, 0x01, 0x04
_LENGTH = 4
_CONFORMITY = 0x81  # basic objects, as a stream and one by one
ILLEGAL_ADDRESS, ILLEGAL_VALUE = 0x02, 0x03


def answer(objects: Sequence[bytes], pdu: bytes) -> bytes | int:
    """Return the reply PDU to a request for `objects` (vendor, product, version), or a refusal."""
    if len(pdu) != _LENGTH or pdu[1] != _TYPE or pdu[2] not in (_BASIC, _ONE):
        return ILLEGAL_VALUE
    code, first = pdu[2], pdu[3]
    if code == _ONE and first >= len(objects):
        return ILLEGAL_ADDRESS
    if first >= len(objects):
        first = 0  # SPEC: an unknown object begins the stream again
    last = first + 1 if code == _ONE else len(objects)
    told = b"".join(
        bytes((number, len(objects[number]))) + objects[number] for number in range(first, last)
    )
    return bytes((FUNCTION, _TYPE, code, _CONFORMITY, 0, 0, last - first)) + told
