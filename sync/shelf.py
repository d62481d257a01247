"""The shelf: the logs of one site as one holder stores them, whatever the storage is.

Gateway and hub both satisfy `Shelf`; the plain pull, the session's carriers and the file bearer
know nothing else of storage. A holder may hold any log; it signs only its own (`Log.own`).
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from certs.note import Checkpoint
from sync.intake import Chunk
from sync.rows import Annex


class Log(msgspec.Struct, frozen=True):
    """How one log stands here, durably and signed.

    `note` is the signed checkpoint of `size`. `oldest`: entries before it were pruned, their leaf
    hashes stay. `cosigned` is the size up to which the hub's receipt is held (0 without any).
    """

    origin: str
    vkey: str
    own: bool
    oldest: int
    size: int
    note: str
    cosigned: int = 0

    @property
    def root(self) -> bytes:
        """The 32-byte root of `size`, out of the checkpoint."""
        return Checkpoint.parse(self.note.partition("\n\n")[0] + "\n").root


class Item(msgspec.Struct, frozen=True):
    """A stored entry: its index, its bytes, and its annex where it has one."""

    index: int
    entry: bytes
    annex: Annex | None = None


class Shelf(Protocol):
    """The logs of one site. Sizes count what is durable *and* signed; nothing else is told."""

    @property
    def instance(self) -> str:
        """16 hex digits that name this store: another file, restored or copied, has others."""

    async def logs(self) -> tuple[Log, ...]:
        """Return every log held, by origin."""

    async def log(self, origin: str) -> Log | None:
        """Return one log, or None."""

    async def read(self, origin: str, start: int, stop: int) -> list[Item]:
        """Return the kept entries [start, stop), in order; the caller bounds the range."""

    async def cut(self, origin: str, first: int, entries_max: int, bytes_max: int) -> int:
        """Return how many entries from `first` make a segment: at least one if there is one.

        As many as fit both bounds (one entry may exceed `bytes_max`), ending where `note` can
        answer: any size of an own log; of another's only those that a checkpoint came with, and
        there a segment may be longer than the bounds.
        """

    async def note(self, origin: str, size: int) -> str | None:
        """Return a signed checkpoint of exactly this size: kept, or signed anew for an own log."""

    async def root(self, origin: str, size: int) -> bytes | None:
        """Return the root of the first `size` entries, or None beyond what is held."""

    async def peaks(self, origin: str, size: int) -> list[bytes]:
        """Return the roots of the full subtrees of `size`, left to right."""

    async def inclusion(self, origin: str, index: int, size: int) -> list[bytes]:
        """Return the inclusion proof of an entry in the first `size`."""

    async def consistency(self, origin: str, old: int, size: int) -> list[bytes]:
        """Return the consistency proof between two sizes."""

    async def beyond(self, origin: str, size: int, wait_s: float) -> Log | None:
        """Return the log once it is larger than `size`, or as it stands after `wait_s`."""

    async def extend(self, chunk: Chunk) -> Log:
        """Store somebody else's entries durably, all or nothing; idempotent.

        The log must be known here (`exchange.unknown_origin`), or its writer (then it begins).
        Raises `TheirsInvalid` with the codes of `sync.intake`, `exchange.own` for a log that this
        holder writes itself, and `StoreFailed`.
        """

    async def put_annexes(self, origin: str, annexes: Sequence[tuple[int, Annex]]) -> int:
        """Store annexes of held entries whose `private` they match; return how many were new.

        An erased one stays erased. `TheirsInvalid` `exchange.annex` for one that does not match.
        """

    async def receive_receipt(self, origin: str, note: str, instance: str) -> None:
        """Keep a cosigned checkpoint of a held log: the receipt of the hub store `instance`.

        Raises `TheirsInvalid` `exchange.ahead` (larger than held: evidence `size`),
        `exchange.receipt` (root differs, or no known cosigner signed it).
        """
