"""Pins that two ends judge one log alike: what one lacks the other would send, both see a fork."""

from hypothesis import given
from hypothesis import strategies as st

from sync.frontier import Head, Verdict, compare
from sync.merkle import FullTree, leaf_hash, root_at

_log = st.lists(st.sampled_from([b"a", b"b"]), max_size=12)


class _Holder:
    """One end: its entries, its head, and its root at any smaller size."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self._tree = FullTree(map(leaf_hash, entries))
        self.head = Head.of(len(entries), self._tree.root())

    def root_at(self, size: int) -> bytes:
        return root_at(size, self._tree)


def _verdict(mine: _Holder, theirs: _Holder) -> Verdict:
    return compare(mine.head, theirs.head, mine.root_at)


@given(_log, _log, st.integers(0, 12))
def test_the_comparison_is_symmetric_and_never_wrong(
    mine: list[bytes], theirs: list[bytes], common: int
) -> None:
    one, two = _Holder(mine), _Holder(mine[:common] + theirs)
    here, there = _verdict(one, two), _verdict(two, one)
    longer, shorter = sorted((one, two), key=lambda holder: -len(holder.entries))
    same_history = longer.entries[: len(shorter.entries)] == shorter.entries
    if one.entries == two.entries:
        assert here is there is Verdict.SAME
    elif len(one.entries) == len(two.entries):
        assert here is there is Verdict.FORK
    else:
        # Only the longer end can compare; it sends, or says fork, which it then tells the other.
        sees, waits = (here, there) if longer is one else (there, here)
        assert sees is (Verdict.THEY_LACK if same_history else Verdict.FORK)
        assert waits is Verdict.I_LACK


@given(_log.filter(len), _log)
def test_in_an_own_log_whoever_holds_less_was_rolled_back(
    more: list[bytes], start: list[bytes]
) -> None:
    short, long = _Holder(start), _Holder(start + more)
    assert compare(short.head, long.head, short.root_at, own=True) is Verdict.ROLLED_BACK
    assert compare(long.head, short.head, long.root_at, peers_own=True) is (
        Verdict.PEER_ROLLED_BACK
    )


@given(_log.filter(len))
def test_sizes_alone_do_not_say_that_two_logs_are_the_same(entries: list[bytes]) -> None:
    # What a frontier of numbers only takes for equal: a log that grew anew after a restore.
    other = _Holder([*entries[:-1], b"c"])
    assert _verdict(_Holder(entries), other) is Verdict.FORK
