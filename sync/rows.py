"""What the database holds, as values: records, heads, rows and their keys. No SQL here."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from sync.entry import Lane, LaneRef

INDEX_BITS: Final = 40
LEVEL_STEP: Final = 8


class Record(msgspec.Struct, frozen=True):
    """An entry at its place, with its annex and salt where it has them and they are not erased."""

    lane: Lane
    index: int
    entry: bytes
    annex: bytes | None = None
    salt: bytes | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """One log as the database holds it. `note` is its latest signed checkpoint, of `size`."""

    id: int
    origin: str
    log: LaneRef
    own: bool
    vkey: str
    oldest: int
    size: int
    note: str

    def grown(self, size: int, note: str) -> "Head":
        """Return the head of the same log at a later size."""
        return replace(self, size=size, note=note)


class Annex(NamedTuple):
    """What is kept beside an entry; erased: salt and data are None, and an entry says so."""

    salt: bytes | None
    data: bytes | None
    erased_by: str | None


Row = tuple[int, bytes, bytes | None]
"""A stored entry: its row's key, its leaf hash, its bytes (None where it was pruned)."""


class Page(NamedTuple):
    """Some rows, by key, the annexes that belong to them, and the rows whose annex is to come."""

    rows: list[Row]
    annexes: dict[int, Annex]
    awaited: AbstractSet[int] = frozenset()


class Receipt(NamedTuple):
    """A checkpoint of a log that a hub store cosigned; `vkey` is the cosigner's."""

    instance: str
    size: int
    note: str
    vkey: str


class Taken(NamedTuple):
    """A kept snapshot as it lies: the row of the entry that signs it, its hash, lanes and bytes."""

    entry: int
    sha256: bytes
    lanes: str
    book: bytes


class Snapshot(msgspec.Struct, frozen=True):
    """The canonical book at `lanes` (log: size), as entry `index` of log `origin` signs it."""

    origin: str
    index: int
    sha256: bytes
    lanes: dict[str, int]
    book: bytes


def row_id(log: int, index: int) -> int:
    """Return the key of an entry's row."""
    return (log << INDEX_BITS) | index


def place_of(number: int) -> tuple[int, int]:
    """Return (log, index) of a row's key."""
    return number >> INDEX_BITS, number & ((1 << INDEX_BITS) - 1)


def fold_level(hashes: list[bytes]) -> bytes:
    """Return the root over 2^k hashes of one level."""
    while len(hashes) > 1:
        # `merkle.node_hash` written out: a call a node is a tenth of the time of `log verify`.
        pairs = zip(hashes[::2], hashes[1::2], strict=True)
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
    return hashes[0]
