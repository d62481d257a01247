"""What a session says to whoever carries it, what it remembers between links, and its bounds.

The carrier does what an output says and answers with the input named in its docstring. It answers
in the order of the outputs, for each log.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from sync.rows import Annex

MAJOR: Final = 1
"""A peer of another major version cannot be spoken with."""

SEGMENT_ENTRIES_MAX: Final = 512
SEGMENT_BYTES: Final = 64 * 1024
"""Entries of a segment, before coding. A link that dies goes on at a byte, so a long segment loses
nothing; four times 16 KiB made an outage of 10,000 entries a fifth smaller (seals, and zstd)."""
SEGMENT_BYTES_MAX: Final = 1 << 20
"""A relayed log is cut where its checkpoints are: at most what was taken in at once."""

FRAME_BYTES: Final = 4096
OPEN_MAX: Final = 8
OPEN_BYTES_MAX: Final = 2 << 20
PARTS_MAX: Final = 4
PART_BYTES_MAX: Final = 128 * 1024
SNAPSHOT_BYTES_MAX: Final = 16 << 20

HELLO_MS: Final = 30_000
SILENCE_MS: Final = 120_000
"""Bytes under way that nobody takes for so long: the link is dead, or the peer means us ill."""
DURABLE_MS: Final = 300_000
"""Sealed and not said to be durable for so long."""

IDLE_TOKENS: Final = 512
IDLE_TOKENS_A_SECOND: Final = 8
"""Messages that bring nothing: a bucket of them, and how fast it fills again."""


class Part(msgspec.Struct, frozen=True):
    """An unfinished segment: its header, the bytes that came, and annexes of its entries."""

    origin: str
    first: int
    count: int
    codec: int
    total: int
    digest: bytes
    data: bytes
    annexes: tuple[tuple[int, Annex], ...] = ()


class Memory(msgspec.Struct, frozen=True):
    """What a session leaves to the next one with the same peer. Bounded; may be lost.

    `fruitless`: how often in a row a log (asked for from a size) brought only what was refused.
    `bytes_s`: how fast the peer took what was sent, 0 where that was not seen.
    """

    parts: tuple[Part, ...] = ()
    fruitless: Mapping[str, tuple[int, int]] = {}
    bytes_s: int = 0


class Send(msgspec.Struct, frozen=True):
    """Send one message. No answer."""

    data: bytes


class Compare(msgspec.Struct, frozen=True):
    """Say our root at a size, by `compared`."""

    origin: str
    size: int


class Load(msgspec.Struct, frozen=True):
    """Read a segment from `first` and its note, answered by `loaded` (or `not_loaded`).

    `count` is exact; where it is 0, as many as `Shelf.cut` says for `bytes_max`.
    """

    origin: str
    first: int
    count: int
    bytes_max: int
    entries_max: int = SEGMENT_ENTRIES_MAX


class LoadAnnexes(msgspec.Struct, frozen=True):
    """Read the entries [start, stop) for their annexes, answered by `annexes_loaded`."""

    origin: str
    start: int
    stop: int


class Store(msgspec.Struct, frozen=True):
    """Store a segment durably, then its annexes; answered by `stored` or `refused`.

    The note is to be written from the holder's own tree: `rebuilt` in `sync.receiving`.
    """

    origin: str
    first: int
    entries: tuple[bytes, ...]
    key_id: bytes
    signature: bytes
    annexes: tuple[tuple[int, Annex], ...] = ()

    @property
    def size(self) -> int:
        """The size of the log with these entries."""
        return self.first + len(self.entries)


class PutAnnexes(msgspec.Struct, frozen=True):
    """Store annexes of entries that are held. Answered only on failure, by `refused`."""

    origin: str
    annexes: tuple[tuple[int, Annex], ...]


class Cosign(msgspec.Struct, frozen=True):
    """Cosign this log as held now, answered by `cosigned`; a side without a key ignores it."""

    origin: str


class KeepReceipt(msgspec.Struct, frozen=True):
    """Keep cosignature lines for the checkpoint of `size`. Answered only on failure: `refused`."""

    origin: str
    size: int
    lines: str
    instance: str


class PeerHolds(msgspec.Struct, frozen=True):
    """The peer's store `instance` holds `size` entries of a log durably. No answer."""

    origin: str
    size: int
    instance: str


class Found(msgspec.Struct, frozen=True):
    """Something that a person should hear of. No answer.

    `what`: a `frontier.Verdict` (`fork`, `rolled_back`, `peer_rolled_back`), `overtaken` (a site
    wrote in a later epoch), `refused` (what the peer sent of this log was not taken),
    `refused_by_peer`, or `stuck`. Of an own log only what its own signature showed (`sync.shown`);
    what it did not show is `unproved`, and `claims` in the evidence says what the peer said.
    """

    what: str
    origin: str
    evidence: Mapping[str, object]


class LoadSnapshot(msgspec.Struct, frozen=True):
    """Read the latest snapshot, answered by `snapshot_loaded`."""


class SnapshotArrived(msgspec.Struct, frozen=True):
    """A whole snapshot, its hash checked. No answer."""

    sha256: bytes
    data: bytes


class Wake(msgspec.Struct, frozen=True):
    """Call `tick` at this time, unless something else comes first. The latest one holds."""

    at_ms: int


class Close(msgspec.Struct, frozen=True):
    """End the link. `code` is stable; `theirs`: the peer broke a rule, or said so of us."""

    code: str
    evidence: Mapping[str, object] = {}
    theirs: bool = True


Output = (
    Send
    | Compare
    | Load
    | LoadAnnexes
    | Store
    | PutAnnexes
    | Cosign
    | KeepReceipt
    | PeerHolds
    | Found
    | LoadSnapshot
    | SnapshotArrived
    | Wake
    | Close
)
