"""Pins the simulator's own framing and the arithmetic of its wire."""

from collections.abc import Sequence

import pytest

from adapters.simulator import frames
from adapters.simulator.wire import Wire, character_s, gap_s

REQUEST = frames.rtu(1, bytes.fromhex("0100000008"))
REPLY = frames.rtu(1, bytes.fromhex("010100"))


class Recorded(Wire):
    """A wire that remembers the frames it understood."""

    def __init__(
        self, replies: Sequence[tuple[float, bytes]] = ((0.002, REPLY),), *, strict: bool = True
    ) -> None:
        self.frames_heard: list[tuple[bytes, int]] = []
        self.replies = replies
        super().__init__(self.answer, strict=strict)

    def answer(self, frame: bytes, baud: int) -> list[tuple[float, bytes]]:
        self.frames_heard.append((frame, baud))
        return list(self.replies)

    def run(self, upto: float) -> bytes:
        received = b""
        while (due := self.next_due()) is not None and due <= upto:
            received += b"".join(self.pieces(due))
        return received


def test_requests_have_a_length_where_no_silence_ends_them() -> None:
    many = frames.rtu(1, bytes.fromhex("0F0000000801FF"))
    for frame in (REQUEST, many):
        got = [frames.request_length(frame[:size]) for size in range(len(frame) + 1)]
        assert got[-1] == len(frame)
        assert all(length in (None, len(frame)) for length in got)
    assert frames.request_length(b"\x01\x41\x00\x00") == 4


@pytest.mark.parametrize("header", ["000100010006 01", "000100000001 01", "0001000000FF 01"])
def test_header_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="no Modbus TCP header"):
        frames.mbap_length(bytes.fromhex(header))


def test_mbap_there_and_back() -> None:
    frame = frames.mbap(513, 9, b"\x03\x00")
    assert [frames.mbap_length(frame[:size]) for size in (0, 6, 7, 9)] == [None, None, 9, 9]
    assert frames.open_mbap(frame) == (513, 9, b"\x03\x00")


def test_rtu_frames_of_wrong_length_or_crc_are_nothing() -> None:
    assert frames.open_rtu(REQUEST) == (1, bytes.fromhex("0100000008"))
    for bad in (b"", REQUEST[:3], REQUEST[:-1], bytes(300), frames.corrupted(REQUEST)):
        assert frames.open_rtu(bad) is None
    assert frames.truncated(b"\x01\x02") == b"\x01"


def test_collision_never_passes_the_crc() -> None:
    assert frames.open_rtu(frames.collided(REPLY, REPLY)) is None
    assert frames.open_rtu(frames.collided(REPLY, b"")) is None
    all_ones = b"\xff" * len(REPLY)
    assert frames.open_rtu(frames.collided(REPLY, all_ones)) is None


def test_bytes_take_their_wire_time() -> None:
    line = Recorded()
    line.heard(REQUEST, 10.0, 9600)
    ended = 10.0 + 8 * character_s(9600) + gap_s(9600)
    assert line.next_due() == pytest.approx(ended)
    assert line.pieces(ended - 0.0001) == []
    line.pieces(ended)
    assert line.frames_heard == [(REQUEST, 9600)]
    first = ended + 0.002 + character_s(9600)
    line.pieces(ended + 0.002)
    assert line.next_due() == pytest.approx(first)
    assert line.run(first + 1) == REPLY
    assert gap_s(19200) == pytest.approx(0.00182, abs=1e-5)
    assert gap_s(115200) == 0.00175


def test_request_in_pieces_is_one_frame() -> None:
    line = Recorded()
    for index, byte in enumerate(REQUEST):
        line.heard(bytes((byte,)), index * character_s(9600), 9600)
    assert line.run(1.0) == REPLY


@pytest.mark.parametrize(("strict", "answered"), [(True, b""), (False, REPLY)])
def test_early_request_is_lost_on_strict_boards(strict: bool, answered: bytes) -> None:
    line = Recorded(strict=strict)
    line.heard(REQUEST, 0.0, 19200)
    assert line.run(1.0) == REPLY
    line.heard(REQUEST, line._quiet_since + 0.0005, 19200)
    assert line.run(2.0) == answered
    assert line.counters.early == 1


def test_request_into_a_running_reply_spoils_both() -> None:
    line = Recorded()
    line.heard(REQUEST, 0.0, 9600)
    start = 8 * character_s(9600) + gap_s(9600) + 0.002
    line.run(start + 2 * character_s(9600))
    line.heard(REQUEST, start + 2.5 * character_s(9600), 9600)
    assert REPLY[2:] not in line.run(1.0)
    assert line.counters.collisions == 1
    assert line.counters.garbled == 1
    assert len(line.frames_heard) == 1


def test_late_reply_into_a_request_spoils_both() -> None:
    line = Recorded(replies=[(0.1, REPLY)])
    line.heard(REQUEST, 0.0, 9600)
    line.run(0.05)
    line.replies = []
    line.heard(REQUEST, 0.108, 9600)
    got = line.run(1.0)
    assert line.counters.collisions == 1
    assert frames.open_rtu(got) is None
    assert len(line.frames_heard) == 1


def test_late_reply_comes_after_the_next_question() -> None:
    line = Recorded(replies=[(0.5, REPLY)])
    line.heard(REQUEST, 0.0, 9600)
    assert line.run(0.3) == b""
    line.replies = []
    line.heard(REQUEST, 0.4, 9600)
    assert line.run(1.0) == REPLY


def test_two_boards_with_one_address_collide() -> None:
    line = Recorded(replies=[(0.002, REPLY), (0.002, REPLY)])
    line.heard(REQUEST, 0.0, 115200)
    got = line.run(1.0)
    assert len(got) == len(REPLY)
    assert frames.open_rtu(got) is None
    assert line.counters.collisions == 1


def test_echo_comes_back_first_and_disturbs_nobody() -> None:
    line = Recorded()
    line.echo = True
    line.heard(REQUEST, 0.0, 115200)
    assert line.run(1.0) == REQUEST + REPLY
    assert line.counters.collisions == 0


def test_reset_forgets_everything() -> None:
    line = Recorded()
    line.heard(REQUEST, 0.0, 9600)
    line.reset()
    assert line.next_due() is None


def test_boards_in_step_that_say_the_same_are_one_frame() -> None:
    line = Recorded(replies=[(0.002, REPLY), (0.002, REPLY)])
    line.in_step = True
    line.heard(REQUEST, 0.0, 115200)
    assert line.run(1.0) == REPLY
    assert line.counters.collisions == 0


def test_boards_in_step_that_differ_collide() -> None:
    line = Recorded(replies=[(0.002, REPLY), (0.002, frames.rtu(1, bytes.fromhex("010108")))])
    line.in_step = True
    line.heard(REQUEST, 0.0, 115200)
    assert frames.open_rtu(line.run(1.0)) is None
    assert line.counters.collisions == 1
