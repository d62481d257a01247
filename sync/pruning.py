"""When the bytes of old entries may go: a rule of values, which every holder of a log asks. Pure.

An entry may be forgotten here when somebody else has it for certain, nobody needs it soon, and the
book can be made again without it (FORMATS.md 3). Of one log, up to an index:

    own           the log is this holder's: what others wrote heals them
    held          no further than entries there are
    cosignature   the hub has cosigned a checkpoint that covers it
    receipt       ... and the store that the hub has *now* was the one that did: one restored from
                  a backup, or made anew, has other entries and another instance
    age           everything before is older than 30 days, by the log's time anchors
    snapshot      a durable, signed snapshot of the book covers it

What a live object cites is never part of it, however old: its bytes and its annex stay.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from sync.merkle import SIZE_MAX

AGE_DAYS_MIN = 30
"""Entries younger than this are kept, whoever else has them."""


class Bound(StrEnum):
    """What stands in the way of pruning further: stable words."""

    OWN = "own"
    HELD = "held"
    COSIGNATURE = "cosignature"
    RECEIPT = "receipt"
    AGE = "age"
    SNAPSHOT = "snapshot"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One log whose beginning may go.

    `cosigned` is the largest size under a hub cosignature, `receipts` that size by the instance of
    the hub store that gave it, `hub` the instance that the hub names now ("" while nobody has asked
    it), `older` the index below which every entry is older than `AGE_DAYS_MIN`, `snapshot` the size
    of this log that the latest durable snapshot covers.
    """

    own: bool
    size: int
    cosigned: int
    receipts: Mapping[str, int]
    hub: str
    older: int
    snapshot: int


def bounds(case: Case) -> dict[Bound, int]:
    """Return how far each condition alone would allow to prune."""
    return {
        Bound.OWN: SIZE_MAX if case.own else 0,
        Bound.HELD: case.size,
        Bound.COSIGNATURE: case.cosigned,
        Bound.RECEIPT: case.receipts.get(case.hub, 0),
        Bound.AGE: case.older,
        Bound.SNAPSHOT: case.snapshot,
    }


def furthest(case: Case) -> int:
    """Return the index below which entries may be pruned; 0 for none."""
    return max(0, min(bounds(case).values()))


def refusals(case: Case, upto: int) -> tuple[Bound, ...]:
    """Return everything that forbids pruning the entries below `upto`; empty when it is allowed."""
    return tuple(bound for bound, limit in bounds(case).items() if limit < upto)
