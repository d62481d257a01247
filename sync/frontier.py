"""The frontier: how far each log goes at each end, and what two ends make of the difference.

A head is the size of a log and the first 8 bytes of its root, both *computed from what is stored*.
Whoever holds more compares at the smaller size, where only it can compute a root. So:

    sizes equal, tags equal      SAME
    sizes equal, tags differ     FORK
    theirs smaller               with our root at their size: THEY_LACK the rest, or FORK
    theirs larger                I_LACK; in a log that only we write, this is ROLLED_BACK

What one end calls THEY_LACK the other calls I_LACK, or both end up with FORK: the larger end sees
it and says so. Sizes alone do not do: after a restore two logs of one name grow to one size.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from sync.merkle import EMPTY_ROOT

TAG_BYTES: Final = 8


class Head(msgspec.Struct, frozen=True):
    """The size of a log and the tag of its root."""

    size: int
    tag: bytes

    @classmethod
    def of(cls, size: int, root: bytes) -> "Head":
        """Return the head of a log with this 32-byte root."""
        return cls(size, root[:TAG_BYTES])


EMPTY: Final = Head.of(0, EMPTY_ROOT)


class Verdict(StrEnum):
    """What comparing two heads of one log says."""

    SAME = "same"
    THEY_LACK = "they_lack"
    I_LACK = "i_lack"
    FORK = "fork"
    ROLLED_BACK = "rolled_back"
    PEER_ROLLED_BACK = "peer_rolled_back"


def compare(
    mine: Head,
    theirs: Head,
    root_at: Callable[[int], bytes | None],
    *,
    own: bool = False,
    peers_own: bool = False,
) -> Verdict:
    """Return the verdict from our side.

    `root_at(size)` gives our root at a smaller size (None: it cannot be told, which is a fork until
    shown otherwise). `own`: only we write this log; `peers_own`: only the peer does.
    """
    if theirs.size > mine.size:
        return Verdict.ROLLED_BACK if own else Verdict.I_LACK
    root = mine.tag if theirs.size == mine.size else root_at(theirs.size)
    if root is None or root[:TAG_BYTES] != theirs.tag:
        return Verdict.FORK
    if theirs.size == mine.size:
        return Verdict.SAME
    return Verdict.PEER_ROLLED_BACK if peers_own else Verdict.THEY_LACK
