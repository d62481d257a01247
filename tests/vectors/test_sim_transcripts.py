"""Pins each simulated make to a conversation written out from HARDWARE.md, byte for byte."""

from pathlib import Path

import pytest

from adapters.simulator import frames
from adapters.simulator.models import MODELS, make_board

FOLDER = Path(__file__).parent / "transcripts"

# HARDWARE.md 1.13, as published; frames with their CRC.
GOLDEN = """
01 01 00 00 00 08 3D CC | 01 01 01 00 51 88
01 02 00 00 00 08 79 CC | 01 02 01 00 A1 88
01 05 00 00 FF 00 8C 3A | =
01 05 00 00 00 00 CD CA | =
01 05 00 00 55 00 F2 9A | =
01 05 00 FF FF 00 BC 0A | =
01 05 02 00 00 07 8D B0 | =
01 06 10 00 00 01 4C CA | =
00 06 40 00 00 01 5C 1B |
00 03 40 00 00 01 90 1B | 01 03 02 00 01 79 84
00 06 40 00 00 02 1C 1A |
"""
GOLDEN_R421 = ("01 06 00 01 01 00 D9 9A", "01 06 00 01 02 00 D9 6A", "01 06 00 01 03 00 D8 FA")


def talk(model: str, request: bytes) -> bytes:
    opened = frames.open_rtu(request)
    assert opened is not None, "the CRC of a published frame is right"
    reply = make_board(model).hear(*opened, 0)
    return b"" if reply is None else frames.rtu(*reply)


@pytest.mark.parametrize("line", GOLDEN.strip().splitlines())
def test_published_frames_get_their_published_reply(line: str) -> None:
    asked, _, answered = line.partition("|")
    request = bytes.fromhex(asked)
    expected = request if answered.strip() == "=" else bytes.fromhex(answered)
    assert talk("waveshare-rtu-io-8ch", request) == expected


def test_published_reads_without_reply_and_replies_have_right_crc() -> None:
    for text in ("01 03 10 00 00 08 40 CC", "01 0F 00 00 00 08 01 FF BE D5"):
        assert talk("waveshare-rtu-io-8ch", bytes.fromhex(text))[:2] == bytes.fromhex(text)[:2]
    assert frames.rtu(1, b"\x85\x02").hex(" ").upper() == "01 85 02 C3 51"
    assert frames.rtu(1, b"\x85\x03").hex(" ").upper() == "01 85 03 02 91"


@pytest.mark.parametrize("text", GOLDEN_R421)
def test_published_r421_frames_are_echoed(text: str) -> None:
    assert talk("eletechsup-r421", bytes.fromhex(text)) == bytes.fromhex(text)


def test_every_make_has_a_transcript() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(MODELS)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_transcript(model: str) -> None:
    board, now, reply = make_board(model, 12 if model == "urm14" else 1), 0, None
    text = (FOLDER / f"{model}.txt").read_text("utf-8")
    said = 0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        if words.startswith("@"):
            now = int(words[1:])
        elif words.startswith(">"):
            request = bytes.fromhex(words[1:])
            reply = board.hear(request[0], request[1:], now)
        elif words.startswith("<"):
            said += 1
            expected = None if words.endswith("none") else bytes.fromhex(words[1:])
            got = None if reply is None else bytes((reply[0],)) + reply[1]
            assert got == expected, f"line {number}: {line}"
        elif words.startswith("in "):
            channel, active = map(int, words[3:].split())
            board.set_input(channel, bool(active), now)
        elif words == "install":
            board.install()
        elif words == "boot":
            board.power_on(now)
        elif words.startswith("ascii "):
            asked, _, answered = words[6:].partition(" = ")
            heard = board.hear_ascii(asked.encode() + b"\r")
            said += 1
            assert heard == (None if answered == "none" else answered.encode() + b"\r"), line
        elif words.startswith("out "):
            got_out = "".join("1" if on else "." for on in board.outputs(now))
            assert got_out == words[4:].strip(), f"line {number}: {line}"
        else:
            assert not words, f"line {number}: {line}"
    assert said > 3
