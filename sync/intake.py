"""Taking in somebody else's entries: what must be true before one of them is stored.

The order of the checks is that of their price and of what they protect: place, form, sameness,
tree, signature. Nothing is stored of a chunk that fails one. What entries *mean* is not asked here:
an entry that the fold cannot take is stored and relayed all the same.

Codes of `TheirsInvalid`: `exchange.gap` (with the size held), `exchange.entry` (not canonical),
`exchange.differs` (another entry is stored at that index), `exchange.note` (not a checkpoint of
this log that its key signed), `exchange.size` (checkpoint and entries do not end together),
`exchange.root` (the entries are not those that were signed).
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import Checkpoint, open_checkpoint
from sync import entry
from sync.errors import TheirsInvalid
from sync.merkle import Tree, leaf_hash

CHUNK_ENTRIES_MAX: Final = 512
CHUNK_BYTES_MAX: Final = 1 << 20
"""What is taken in at once, whatever the bearer: one transaction, and memory that has an end."""


class Chunk(msgspec.Struct, frozen=True):
    """Entries [first, first + len) of a log, and a signed checkpoint of the size they lead to."""

    origin: str
    first: int
    entries: tuple[bytes, ...]
    note: str

    @property
    def size(self) -> int:
        """The size of the log with these entries."""
        return self.first + len(self.entries)


class Accepted(msgspec.Struct, frozen=True):
    """What a chunk adds: entries [first, first + len) with their leaf hashes, tree and checkpoint.

    `completed` are the nodes (level, index, hash) that the new leaves completed. Nothing to store
    where `entries` is empty: all of it was known.
    """

    first: int
    entries: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    completed: tuple[tuple[int, int, bytes], ...]
    tree: Tree
    note: str


def accept(chunk: Chunk, tree: Tree, known: Sequence[bytes], verifier: Verifier) -> Accepted:
    """Return what the chunk adds to a log of which `tree` is stored.

    `known` are the leaf hashes stored for indices [chunk.first, tree.size), as many of them as the
    chunk has entries for. `verifier` is named as the origin. The tree given is not changed.
    """
    if not 0 <= chunk.first <= tree.size:
        raise _refused("gap", "Send from the size that is held here.", size=tree.size)
    if len(chunk.entries) > CHUNK_ENTRIES_MAX or sum(map(len, chunk.entries)) > CHUNK_BYTES_MAX:
        raise _refused("size", "Send fewer entries at once.", entries=len(chunk.entries))
    for place, data in enumerate(chunk.entries):
        _check_entry(chunk.first + place, data)
    checkpoint = _checkpoint(chunk, verifier)
    leaves = [leaf_hash(data) for data in chunk.entries]
    for place, leaf in enumerate(known[: len(leaves)]):
        if leaves[place] != leaf:
            raise _refused(
                "differs",
                "Two entries of one number: keep both, and find out who wrote them.",
                origin=chunk.origin,
                index=chunk.first + place,
            )
    skip = min(tree.size - chunk.first, len(leaves))
    grown = tree.copy()
    completed = [node for leaf in leaves[skip:] for node in grown.append(leaf)]
    if len(leaves) > skip and grown.root() != checkpoint.root:
        raise _refused(
            "root",
            "The entries are not those that were signed: send them again.",
            origin=chunk.origin,
            size=chunk.size,
        )
    return Accepted(
        chunk.first + skip,
        chunk.entries[skip:],
        tuple(leaves[skip:]),
        tuple(completed),
        grown,
        chunk.note,
    )


def _check_entry(index: int, data: bytes) -> None:
    try:
        entry.parse(data)
    except TheirsInvalid as error:
        raise _refused(
            "entry",
            "Send the bytes as they were written, or ask their writer which version wrote them.",
            index=index,
            cause=error.code,
        ) from error


def _checkpoint(chunk: Chunk, verifier: Verifier) -> Checkpoint:
    try:
        checkpoint = open_checkpoint(chunk.note, verifier)
    except CertsError as error:
        raise _refused(
            "note",
            "Send the checkpoint that the log's own key signed.",
            origin=chunk.origin,
            cause=error.code,
        ) from error
    if checkpoint.origin != chunk.origin or checkpoint.size != chunk.size:
        raise _refused(
            "size",
            "The checkpoint's size is the first index and the count of the entries.",
            origin=chunk.origin,
            size=checkpoint.size,
            expected=chunk.size,
        )
    return checkpoint


def _refused(what: str, remedy: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"exchange.{what}", remedy, **evidence)
