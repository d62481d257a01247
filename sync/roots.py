"""One log while its entries pass: the tree so far, against every root that somebody signed. Pure.

Leaf hashes go in, in index order; roots are compared as soon as the tree has their size: those of
the kept checkpoints, of the latest one, of stored subtrees, of receipts, and any held outside.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import open_checkpoint, open_cosignatures
from sync.findings import LogSeen, Notes
from sync.merkle import Tree
from sync.rows import LEVEL_STEP, Head, Receipt, fold_level

_BLOCK: Final = 1 << LEVEL_STEP
_GAP_MAX: Final = 1 << 24
"""Entries left out in a row after which nothing is remembered of their annexes any more."""


@dataclass(frozen=True, slots=True)
class Source:
    """One log to verify: its head, kept checkpoints (size, note), subtree roots, receipts."""

    head: Head
    kept: Sequence[tuple[int, str]] = ()
    nodes: Sequence[tuple[int, int, bytes]] = ()
    receipts: Sequence[Receipt] = ()


@dataclass(frozen=True, slots=True, order=True)
class _Wanted:
    """At `size` entries the root must be `root`; `code` says who is wrong if it is not."""

    size: int
    root: bytes
    code: str


class LogRun:
    """One log while its entries pass: the tree so far and the roots that are still to come."""

    def __init__(self, source: Source, notes: Notes) -> None:
        self.head = source.head
        self.next = 0
        self.count = 0
        self._erased = bytearray()
        self.verifier = self._verifier(notes)
        self._notes = notes
        self._blocks = Tree()
        self._leaves: list[bytes] = []
        self._whole = True
        self._nodes = {(level, index): node for level, index, node in source.nodes}
        self._wanted: list[_Wanted] = []
        for size, note in source.kept:
            self._want(size, note)
        self._want(source.head.size, source.head.note)
        for receipt in source.receipts:
            self._want_cosigned(receipt)
        self._wanted.sort()
        self._stop = self._next_stop()

    def want(self, size: int, root: bytes, code: str) -> None:
        """Compare the root at `size` when it comes by."""
        insort(self._wanted, _Wanted(size, root, code))
        self._stop = self._next_stop()

    def extend(self, first: int, leaves: list[bytes]) -> None:
        """Take the leaf hashes, computed from the bytes, of entries from index `first` on."""
        if first != self.next:
            self._notes.add("entry.gap", self.head.origin, first, expected=self.next)
            self._whole = False
        self.next = first + len(leaves)
        self.count += len(leaves)
        if self.next > self.head.size:
            index = max(first, self.head.size)
            self._notes.add("entry.beyond", self.head.origin, index, size=self.head.size)
        done = 0
        while self._whole and done < len(leaves):
            at = first + done
            if at == self._stop:
                self._compare(at)
            room = _BLOCK - len(self._leaves)
            if self._stop > at:
                room = min(room, self._stop - at)
            self._leaves += leaves[done : done + room]
            done += room
            if len(self._leaves) == _BLOCK:
                self._close_block()

    def erase(self, index: int) -> None:
        """Remember that the annex of an entry is gone."""
        if index - self.count > _GAP_MAX:
            return  # a gap, which is found anyway; a made-up index must not fill the memory
        self._erased.extend(bytes(max(0, (index >> 3) + 1 - len(self._erased))))
        self._erased[index >> 3] |= 1 << (index & 7)

    def is_erased(self, index: int) -> bool:
        """Say whether the annex of an entry that has passed is gone."""
        return index >> 3 < len(self._erased) and bool(self._erased[index >> 3] >> (index & 7) & 1)

    def finish(self) -> LogSeen:
        """Compare what is left; call once, at the end."""
        head = self.head
        if self.next < head.size:
            self._notes.add("checkpoint.size", head.origin, entries=self.next, size=head.size)
        elif self._whole:
            if self._stop == self.next:
                self._compare(self.next)
            for wanted in self._wanted:
                self._notes.add("checkpoint.size", head.origin, kept=wanted.size, size=head.size)
            for level, index in sorted(self._nodes):
                self._notes.add("node", head.origin, what="not in the tree", level=level, at=index)
        return LogSeen(head.origin, self.count, head.size, self._root() if self._whole else None)

    def _verifier(self, notes: Notes) -> Verifier | None:
        try:
            verifier = Verifier.from_vkey(self.head.vkey)
        except CertsError as error:
            notes.add("checkpoint.vkey", self.head.origin, cause=error.code)
            return None
        if verifier.name != self.head.origin:
            notes.add("checkpoint.vkey", self.head.origin, name=verifier.name)
            return None
        return verifier

    def _want(self, size: int, note: str) -> None:
        """Open a checkpoint of the database, and expect its root."""
        if self.verifier is None:
            return
        try:
            checkpoint = open_checkpoint(note, self.verifier)
        except CertsError as error:
            self._notes.add("checkpoint.note", self.head.origin, size=size, cause=error.code)
            return
        if checkpoint.size != size:
            said = checkpoint.size
            self._notes.add("checkpoint.note", self.head.origin, size=size, said=said)
            return
        self._wanted.append(_Wanted(size, checkpoint.root, "checkpoint.root"))

    def _want_cosigned(self, receipt: Receipt) -> None:
        """Open a receipt, and expect the root that was cosigned."""
        if self.verifier is None:
            return
        try:
            checkpoint = open_checkpoint(receipt.note, self.verifier)
            signed = open_cosignatures(receipt.note, [Verifier.from_vkey(receipt.vkey)])
        except CertsError as error:
            self._notes.add("receipt.note", self.head.origin, cause=error.code)
            return
        if not signed or checkpoint.size != receipt.size:
            said = checkpoint.size
            self._notes.add("receipt.note", self.head.origin, size=receipt.size, said=said)
            return
        self._wanted.append(_Wanted(checkpoint.size, checkpoint.root, "receipt.root"))

    def _next_stop(self) -> int:
        return self._wanted[0].size if self._wanted else -1

    def _compare(self, size: int) -> None:
        root = self._root()
        while self._wanted and self._wanted[0].size == size:
            wanted = self._wanted.pop(0)
            if wanted.root != root:
                self._notes.add(wanted.code, self.head.origin, size=size)
        self._stop = self._next_stop()

    def _close_block(self) -> None:
        """Fold 256 leaves, and compare every eighth level with what is stored."""
        block, self._leaves = self._leaves, []
        at, root = self._blocks.size, fold_level(block)
        self._compare_node(LEVEL_STEP, at, root)
        for level, index, node in self._blocks.append(root):
            if level % LEVEL_STEP == 0:
                self._compare_node(level + LEVEL_STEP, index, node)

    def _compare_node(self, level: int, index: int, root: bytes) -> None:
        if self._nodes.pop((level, index), None) != root:
            first = index << level
            last = first + (1 << level) - 1
            self._notes.add("node", self.head.origin, first=first, last=last, level=level)

    def _root(self) -> bytes:
        peaks, leaves = list(self._blocks.peaks()), self._leaves
        at = 0
        for level in reversed(range(LEVEL_STEP)):
            if len(leaves) >> level & 1:
                peaks.append(fold_level(leaves[at : at + (1 << level)]))
                at += 1 << level
        return Tree.from_peaks(self._blocks.size * _BLOCK + len(leaves), peaks).root()
