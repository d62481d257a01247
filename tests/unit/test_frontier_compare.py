"""Pins the table of verdicts, one row each."""

from sync.frontier import EMPTY, Head, Verdict, compare

MINE = Head(3, b"mine at3")


def at_two(_: int) -> bytes:
    return b"mine at2 and the rest of a root."


def unknown(_: int) -> None:
    return None


def test_one_row_each() -> None:
    for theirs, own, peers_own, verdict in (
        (Head(3, b"mine at3"), False, False, Verdict.SAME),
        (Head(3, b"mine at3"), True, False, Verdict.SAME),
        (Head(3, b"another3"), False, False, Verdict.FORK),
        (Head(2, b"mine at2"), False, False, Verdict.THEY_LACK),
        (Head(2, b"mine at2"), True, False, Verdict.THEY_LACK),
        (Head(2, b"mine at2"), False, True, Verdict.PEER_ROLLED_BACK),
        (Head(2, b"another2"), False, True, Verdict.FORK),
        (Head(4, b"whatever"), False, False, Verdict.I_LACK),
        (Head(4, b"whatever"), True, False, Verdict.ROLLED_BACK),
    ):
        assert compare(MINE, theirs, at_two, own=own, peers_own=peers_own) is verdict


def test_a_root_that_cannot_be_told_is_no_agreement() -> None:
    assert compare(MINE, Head(2, b"mine at2"), unknown) is Verdict.FORK


def test_the_empty_log_has_one_head() -> None:
    assert Head.of(0, bytes.fromhex("e3b0c44298fc1c14") + bytes(24)) == EMPTY
