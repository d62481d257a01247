"""Pins our frames to the published ones: vendor texts and projects, checksums recomputed."""

import pytest

from adapters.bus import Frames
from adapters.reading import Judgement, Read, Request, Verdict, Write

ASKED = [
    (1, Read(1, 0, 8), "01 01 00 00 00 08 3D CC"),
    (1, Read(2, 0, 8), "01 02 00 00 00 08 79 CC"),
    (1, Read(3, 0x1000, 8), "01 03 10 00 00 08 40 CC"),
    (1, Write(5, 0, (0xFF00,)), "01 05 00 00 FF 00 8C 3A"),
    (1, Write(5, 0, (0,)), "01 05 00 00 00 00 CD CA"),
    (1, Write(5, 0, (0x5500,)), "01 05 00 00 55 00 F2 9A"),
    (1, Write(5, 0xFF, (0xFF00,)), "01 05 00 FF FF 00 BC 0A"),
    (1, Write(5, 0x0200, (7,)), "01 05 02 00 00 07 8D B0"),
    (1, Write(15, 0, (1,) * 8), "01 0F 00 00 00 08 01 FF BE D5"),
    (1, Write(6, 0x1000, (1,)), "01 06 10 00 00 01 4C CA"),
    (0, Write(6, 0x4000, (1,)), "00 06 40 00 00 01 5C 1B"),
    (0, Write(6, 0x4000, (2,)), "00 06 40 00 00 02 1C 1A"),
    (0, Read(3, 0x4000, 1), "00 03 40 00 00 01 90 1B"),
    (1, Write(6, 1, (0x0100,)), "01 06 00 01 01 00 D9 9A"),
    (1, Write(6, 1, (0x0200,)), "01 06 00 01 02 00 D9 6A"),
    (1, Write(6, 1, (0x0300,)), "01 06 00 01 03 00 D8 FA"),
]
ANSWERED = [
    (Read(1, 0, 8), "01 01 01 00 51 88", Judgement(Verdict.GOOD, (0,) * 8)),
    (Read(2, 0, 8), "01 02 01 00 A1 88", Judgement(Verdict.GOOD, (0,) * 8)),
    (Read(3, 0x4000, 1), "01 03 02 00 01 79 84", Judgement(Verdict.GOOD, (1,))),
    (Write(5, 0x0200, (7,)), "01 05 02 00 00 07 8D B0", Judgement(Verdict.GOOD)),
    (Write(6, 0x1000, (1,)), "01 06 10 00 00 01 4C CA", Judgement(Verdict.GOOD)),
    (Write(5, 0, (0,)), "01 85 03 02 91", Judgement(Verdict.REFUSED, exception=3)),
    (Write(5, 0, (0,)), "01 05 00 00 FF 00 8C 3A", Judgement(Verdict.OTHER)),
    (Write(5, 0x0201, (7,)), "01 05 02 00 00 07 8D B0", Judgement(Verdict.OTHER)),
    (Read(1, 0, 9), "01 01 01 00 51 88", Judgement(Verdict.OTHER)),
]


@pytest.mark.parametrize(("unit", "request_", "frame"), ASKED, ids=[frame for *_, frame in ASKED])
def test_requests_are_the_published_bytes(unit: int, request_: Request, frame: str) -> None:
    assert Frames(rtu=True).encode(unit, request_) == (bytes.fromhex(frame), 0)


@pytest.mark.parametrize(("request_", "frame", "judged"), ANSWERED)
def test_answers_are_read_byte_by_byte(request_: Request, frame: str, judged: Judgement) -> None:
    frames, raw = Frames(rtu=True), bytes.fromhex(frame)
    for end in range(len(raw)):
        assert frames.judge(raw[:end], b"", 1, request_, 0).verdict is Verdict.WAIT
    assert frames.at_the_end(raw, b"", 1, request_, 0) == judged
    if len(raw) < 7 and judged.verdict is Verdict.OTHER:
        return  # shorter than our answer: only the end of the time tells it apart
    assert frames.judge(raw, b"", 1, request_, 0) == judged


@pytest.mark.parametrize(("request_", "frame", "judged"), ANSWERED)
def test_noise_before_an_answer_does_not_hide_it(
    request_: Request, frame: str, judged: Judgement
) -> None:
    raw = b"\xff\x00\x01" + bytes.fromhex(frame)
    assert Frames(rtu=True).at_the_end(raw, b"", 1, request_, 0) == judged


def test_modbus_tcp_compares_the_number_of_the_transaction() -> None:
    frames, asked = Frames(rtu=False), Read(1, 0, 8)
    first, one = frames.encode(1, asked)
    _, two = frames.encode(1, asked)
    assert (one, two) == (1, 2)
    assert first.hex(" ") == "00 01 00 00 00 06 01 01 00 00 00 08"
    late = bytes.fromhex("00 01 00 00 00 04 01 01 01 FF")
    good = bytes.fromhex("00 02 00 00 00 04 01 01 01 00")
    assert frames.judge(late, b"", 1, asked, two).verdict is Verdict.WAIT
    assert frames.at_the_end(late, b"", 1, asked, two).verdict is Verdict.NOTHING
    assert frames.judge(late + good, b"", 1, asked, two).values == (0,) * 8
    for end in range(len(good)):
        assert frames.judge(good[:end], b"", 1, asked, two).verdict is Verdict.WAIT
    assert frames.judge(good, b"", 2, asked, two).verdict is Verdict.OTHER
