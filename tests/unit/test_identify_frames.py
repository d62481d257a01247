"""Pins function 43/14 byte by byte: an answer is exactly as long as its objects say, or it is none.

SPEC: MODBUS Application Protocol V1.1b3, 6.21: the example of the standard is among the vectors.
"""

import pytest

from adapters.frames import Frames
from adapters.reading import (
    PDU_MAX,
    Identify,
    Judgement,
    Verdict,
    answer_pdu_bytes,
    identity_bytes,
    request_pdu_bytes,
)
from adapters.simulator import frames as other

# The answer to "read device id basic" in the standard, with its three objects.
OBJECTS = (b"Company identification", b"Product code XX", b"V2.11")
PDU = bytes((0x2B, 0x0E, 1, 1, 0, 0, 3)) + b"".join(
    bytes((number, len(text))) + text for number, text in enumerate(OBJECTS)
)
ASKED = Identify()


def judge(raw: bytes, *, rtu: bool = True, unit: int = 5) -> tuple[Judgement, Judgement]:
    frames = Frames(rtu=rtu)
    frames.encode(unit, ASKED)
    return (
        frames.judge(raw, b"", unit, ASKED, 1),
        frames.at_the_end(raw, b"", unit, ASKED, 1),
    )


def test_the_question_is_the_one_of_the_standard() -> None:
    assert Frames(rtu=True).encode(5, ASKED)[0] == other.rtu(5, bytes.fromhex("2b0e0100"))
    assert Frames(rtu=False).encode(5, Identify(3, 2))[0] == other.mbap(
        1, 5, bytes.fromhex("2b0e0203")
    )
    assert request_pdu_bytes(ASKED) == 4
    assert answer_pdu_bytes(ASKED) == PDU_MAX


@pytest.mark.parametrize("rtu", [True, False])
def test_a_whole_answer_is_good_and_every_part_of_it_waits(rtu: bool) -> None:
    raw = other.rtu(5, PDU) if rtu else other.mbap(1, 5, PDU)
    for cut in range(len(raw)):
        now, end = judge(raw[:cut], rtu=rtu)
        assert now.verdict is Verdict.WAIT, cut
        assert end.verdict in {Verdict.NOTHING, Verdict.GARBAGE}, cut
    now, end = judge(raw, rtu=rtu)
    assert now == end == Judgement(Verdict.GOOD, tuple(PDU[4:]))


def test_a_flipped_bit_is_never_good() -> None:
    raw = other.rtu(5, PDU)
    for bit in range(8 * len(raw)):
        spoilt = bytearray(raw)
        spoilt[bit // 8] ^= 1 << bit % 8
        now, end = judge(bytes(spoilt))
        assert now.verdict is not Verdict.GOOD
        assert end.verdict is not Verdict.GOOD


@pytest.mark.parametrize(
    "pdu",
    [
        PDU + b"\0",  # more than the objects say
        PDU[:6] + b"\x04" + PDU[7:],  # an object too few
        PDU[:6] + b"\x02" + PDU[7:],  # an object too many
        bytes((0x2B, 0x0D)) + PDU[2:],  # another kind of function 43
        bytes((0x2B, 0x0E, 2)) + PDU[3:],  # the answer to another code
        PDU[:5],
    ],
)
@pytest.mark.parametrize("rtu", [True, False])
def test_an_answer_whose_lengths_contradict_each_other_is_none(pdu: bytes, rtu: bool) -> None:
    raw = other.rtu(5, pdu) if rtu else other.mbap(1, 5, pdu)
    for judged in judge(raw, rtu=rtu):
        assert judged.verdict is not Verdict.GOOD


def test_a_refusal_is_a_refusal() -> None:
    raw = other.rtu(5, bytes((0xAB, 1)))
    assert judge(raw)[0] == Judgement(Verdict.REFUSED, exception=1)


def test_the_length_is_told_as_soon_as_it_is_known() -> None:
    assert identity_bytes(b"") == 7
    assert identity_bytes(PDU[:7]) == 9
    assert identity_bytes(PDU[:9]) == 7 + 2 + len(OBJECTS[0]) + 2
    assert identity_bytes(PDU) == len(PDU)


def test_objects_that_fit_no_frame_are_not_waited_for_to_their_end() -> None:
    assert identity_bytes(PDU[:6] + bytes((255,)) + b"\0\xff" + b"x" * 400) > PDU_MAX


@pytest.mark.parametrize(("object_id", "code"), [(-1, 1), (256, 1), (0, 0), (0, 5)])
def test_a_question_out_of_the_standard_cannot_be_made(object_id: int, code: int) -> None:
    with pytest.raises(ValueError, match="objects are"):
        Identify(object_id, code)
