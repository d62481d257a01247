"""What is written to the hub's tables and read from them, and the port to the database itself.

A log grows by one `Growth`: all its rows, and the size that the log must still have. Whoever wants
to write reads, computes, and asks for the growth; a miss means that somebody was quicker. So no
transaction is ever open while the hub computes, and two processes cannot write one number twice.
"""

from binascii import a2b_base64
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from sync.entry import LaneRef, Ref, may_erase
from sync.merkle import HASH_BYTES, Tree
from sync.origin import Origin
from sync.rows import LEVEL_STEP, Annex

ERASES: Final = "annex.erased"
_MARKS: Final = (b'"private":', b'"annex.erased"')

Row = tuple[Any, ...]


class LogRow(NamedTuple):
    """One log as stored: `size` entries are durable, the first `sealed` of them signed and told."""

    origin: str
    no: int
    own: bool
    vkey: str
    oldest: int
    size: int
    sealed: int
    note: str
    peaks: bytes
    cosigned: int

    def tree(self) -> Tree:
        """The tree of `size`."""
        return Tree.from_peaks(self.size, split_hashes(self.peaks))

    def ref(self) -> str:
        """How references name this log."""
        return str(Origin.parse(self.origin).log)


class AnnexRow(NamedTuple):
    """What stands beside entry `idx` of the log `ref`: owed, held, or erased; merged when kept.

    `private` without `data` and `erased_by` is an annex that is owed. An erasure may come first.
    """

    ref: str
    idx: int
    private: bytes | None = None
    salt: bytes | None = None
    data: bytes | None = None
    erased_by: str | None = None


class Span(NamedTuple):
    """The hashes [first, first + width) of a stored level: 0 (leaves), 8, 16 and so on."""

    level: int
    first: int
    width: int


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """Entries from `old` on, with everything that follows from them, for one log.

    With `note` they are signed as they come (somebody else's log); without, they wait for `seal`.
    """

    site_id: str
    origin: str
    no: int
    own: bool
    old: int
    size: int
    peaks: bytes
    note: str | None
    at_ms: int
    leaves: Sequence[bytes]
    entries: Sequence[bytes]
    nodes: Sequence[tuple[int, int, bytes]]
    annexes: Sequence[AnnexRow]


class Grown(Enum):
    """How a growth ended. UNSURE: missed, but a lost connection may have carried it before."""

    DONE = "done"
    MOVED = "moved"
    UNSURE = "unsure"


class Database(Protocol):
    """The port. Statements are those of `sync.hub.sql`, with `$1` marks. Raises `StoreFailed`."""

    others_s: float | None
    """After how long to look whether another process wrote; None where none can."""

    async def rows(self, sql: str, *values: object) -> list[Row]:
        """Return what a statement that only reads gives."""

    async def run(self, sql: str, *values: object) -> int:
        """Run one statement that writes, durably; return how many rows it changed."""

    async def grow(self, growth: Growth) -> Grown:
        """Write a growth in one transaction, if the log still has the size `old`."""

    async def put_annexes(self, site_id: str, annexes: Sequence[AnnexRow]) -> None:
        """Merge annexes into what is kept, in one transaction; at most one row an entry."""

    async def hashes(self, site_id: str, no: int, spans: Sequence[Span]) -> list[list[bytes]]:
        """Return the hashes of each span, as many as there are."""

    async def close(self) -> None:
        """Write what waits, then let go."""


def split_hashes(data: bytes) -> list[bytes]:
    """Take joined hashes apart."""
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def kept_nodes(completed: Iterable[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Return the nodes worth a row: those of every eighth level."""
    return [node for node in completed if node[0] % LEVEL_STEP == 0]


def may_concern_annexes(data: bytes) -> bool:
    """Say quickly whether an entry may have an annex, or erase one.

    Exact bytes: canonical JSON writes a key and a kind in one way only.
    """
    return _MARKS[0] in data or _MARKS[1] in data


class _Header(msgspec.Struct):
    """What of an entry that was checked before concerns annexes."""

    kind: str
    private: str | None = None
    of: str | None = None


_header = msgspec.json.Decoder(_Header).decode


def annex_rows(
    log: LaneRef,
    first: int,
    entries: Iterable[bytes],
    annexes: Mapping[int, Annex] | None = None,
) -> list[AnnexRow]:
    """Return the rows that the entries from `first` on ask for: annexes owed, held or erased.

    The entries were checked before: here only what concerns annexes is read again.
    """
    held = annexes or {}
    rows: list[AnnexRow] = []
    for index, data in enumerate(entries, first):
        if not may_concern_annexes(data):
            continue
        header = _header(data)
        if header.private is not None:
            annex = held.get(index, Annex(None, None, None))
            private = a2b_base64(header.private)
            rows.append(AnnexRow(str(log), index, private, annex.salt, annex.data))
        if header.kind == ERASES and header.of is not None:
            of = Ref.parse(header.of)
            if may_erase(log.writer, of.log):
                rows.append(AnnexRow(str(of.log), of.index, erased_by=f"{log}{index}"))
    return merged(rows)


def merged(rows: Iterable[AnnexRow]) -> list[AnnexRow]:
    """Return one row an entry: an erasure wins over an annex, whichever comes first."""
    found: dict[tuple[str, int], AnnexRow] = {}
    for row in rows:
        old = found.get((row.ref, row.idx), AnnexRow(row.ref, row.idx))
        erased_by = old.erased_by or row.erased_by
        found[row.ref, row.idx] = AnnexRow(
            row.ref,
            row.idx,
            old.private or row.private,
            None if erased_by else old.salt or row.salt,
            None if erased_by else row.data if old.data is None else old.data,
            erased_by,
        )
    return list(found.values())
