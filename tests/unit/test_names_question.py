"""Pins the one question of the text protocol, and that no Modbus board can take it for a frame."""

import pytest

from adapters.names import Names
from adapters.reading import Identify, Read, Verdict, Write
from adapters.simulator import frames

NAMES = Names()
QUESTION = b"$01M\r"


def judge(raw: bytes, echo: bytes = b"", unit: int = 1) -> tuple[Verdict, Verdict]:
    """What is judged while it comes, and at the end."""
    now = NAMES.judge(raw, echo, unit, Identify(), 0)
    end = NAMES.at_the_end(raw, echo, unit, Identify(), 0)
    return now.verdict, end.verdict


def test_whatever_is_asked_only_a_name_is_asked_for() -> None:
    for request in (Identify(), Read(1, 0, 1), Write(5, 0, (0xFF00,))):
        assert NAMES.encode(1, request) == (QUESTION, 0)
    assert NAMES.encode(0x4A, Identify())[0] == b"$4AM\r"


def test_the_question_is_a_frame_for_no_unit() -> None:
    assert all(frames.open_rtu(NAMES.encode(unit, Identify())[0]) is None for unit in range(256))


def test_a_name_is_the_values() -> None:
    assert NAMES.judge(b"!014150\r", b"", 1, Identify(), 0).values == tuple(b"4150")


@pytest.mark.parametrize(
    ("raw", "now", "end"),
    [
        (b"", Verdict.WAIT, Verdict.NOTHING),
        (b"!0141", Verdict.WAIT, Verdict.GARBAGE),
        (b"!014150\r", Verdict.GOOD, Verdict.GOOD),
        (b"!0a4150\r", Verdict.OTHER, Verdict.OTHER),
        (b"?01\r", Verdict.REFUSED, Verdict.REFUSED),
        (b"!01\r", Verdict.GARBAGE, Verdict.GARBAGE),
        (b"\x01\x83\x01\x80\xf0", Verdict.WAIT, Verdict.GARBAGE),
        (b"x" * 40 + b"\r", Verdict.WAIT, Verdict.GARBAGE),
    ],
)
def test_what_comes_is_judged(raw: bytes, now: Verdict, end: Verdict) -> None:
    assert judge(raw) == (now, end)


def test_an_echo_is_no_answer() -> None:
    assert judge(QUESTION[:2], QUESTION) == (Verdict.WAIT, Verdict.GARBAGE)
    assert judge(QUESTION, QUESTION) == (Verdict.WAIT, Verdict.NOTHING)
    assert judge(QUESTION + b"!014150\r", QUESTION) == (Verdict.GOOD, Verdict.GOOD)
