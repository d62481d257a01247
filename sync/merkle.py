"""The Merkle tree of a log: RFC 6962 on plain bytes and whole numbers, no storage.

The tree over n > 1 leaves splits at the largest power of two smaller than n. So every node that
matters is either a *full subtree*, named (level, index) and covering the leaves
[index * 2**level, (index + 1) * 2**level), or is folded from a few full subtrees. A *peak* is a
full subtree at the right edge: the peaks of 11 leaves are (3, 0), (1, 4), (0, 10).

Three ways in, from the smallest memory to the largest:

- `Tree` keeps the peaks only: append, root, rebuilt from `from_peaks`.
- a `Nodes` callable gives the hash of a full subtree: proofs then cost O(log n) of its answers.
  A store that keeps the nodes `Tree.append` reports, or tiles of them, is one; `nodes_over` makes
  one of a log that keeps leaf hashes only.
- `FullTree` keeps all nodes in memory.

A refused proof raises TheirsInvalid: `merkle.index`, `merkle.size`, `merkle.hash_length`,
`merkle.proof_length`, `merkle.root`.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from sync.errors import TheirsInvalid

HASH_BYTES = 32
SIZE_MAX = 2**63 - 1
PROOF_HASHES_MAX = 63
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node = tuple[int, int]
Nodes = Callable[[int, int], bytes]
"""(level, index) -> the 32-byte hash of that full subtree, which the caller knows to exist."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of an entry: H(00 || data)."""
    # SPEC: RFC 6962 2.1: the prefixes keep a leaf from ever being taken for a node.
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two children: H(01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that only grows, in memory that grows with its height."""

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._peaks: list[bytes] = []

    @classmethod
    def from_peaks(cls, size: int, peaks: Sequence[bytes]) -> Self:
        """Rebuild the tree of `size` leaves from its peaks, left to right.

        Raises TheirsInvalid (`merkle.size`, `merkle.proof_length`, `merkle.hash_length`). That the
        peaks are the right ones shows only when `root()` is compared with a signed checkpoint.
        """
        _check_size(size)
        _check_hashes(peaks)
        if len(peaks) != size.bit_count():
            raise _refused(
                "proof_length",
                "As many peaks as one-bits",
                got=len(peaks),
                expected=size.bit_count(),
            )
        tree = cls()
        tree._size, tree._peaks = size, list(peaks)
        return tree

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    def peaks(self) -> tuple[bytes, ...]:
        """Return the hashes of the full subtrees, left to right."""
        return tuple(self._peaks)

    def copy(self) -> Self:
        """Return a tree that grows apart from this one: for a commit that may fail."""
        return self.from_peaks(self._size, self._peaks)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf by its hash; return the nodes above level 0 that it completed.

        Each is (level, index, hash), lowest first: what a store keeps for its proofs, one a leaf on
        average. Together with the leaf hashes, level 0, they answer as Nodes.
        """
        _check_hashes((leaf,))
        completed = []
        level, index, top = 0, self._size, leaf
        while index & 1:
            level, index = level + 1, index >> 1
            top = node_hash(self._peaks.pop(), top)
            completed.append((level, index, top))
        self._peaks.append(top)
        self._size += 1
        return completed

    def root(self) -> bytes:
        """Return the root; of no leaves, the hash of nothing."""
        return _fold(self._peaks)


class FullTree:
    """A tree with all its nodes in memory; call it for the hash of a full subtree."""

    __slots__ = ("_levels", "_tree")

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._tree = Tree()
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._tree.size

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        completed = self._tree.append(leaf)
        self._levels[0].append(leaf)
        for level, _, node in completed:
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node)

    def root(self) -> bytes:
        """Return the root of all leaves."""
        return self._tree.root()

    def __call__(self, level: int, index: int) -> bytes:
        """Answer as Nodes."""
        return self._levels[level][index]


def nodes_over(leaves: Callable[[int, int], Iterable[bytes]]) -> Nodes:
    """Make Nodes of something that reads leaf hashes by range [start, stop).

    A proof then reads every leaf of the log once: good for an export, not for a page view.
    """

    def node(level: int, index: int) -> bytes:
        tree = Tree()
        for leaf in leaves(index << level, (index + 1) << level):
            tree.append(leaf)
        return tree.root()

    return node


def peaks_of(size: int) -> list[Node]:
    """Name the peaks (level, index) of a tree of `size` leaves, left to right."""
    _check_size(size)
    return _cover(0, size)


def root_at(size: int, nodes: Nodes) -> bytes:
    """Return the root of the first `size` leaves."""
    _check_size(size)
    return _span(0, size, nodes)


def prove_inclusion(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Prove that leaf `index` is in the tree of the first `size` leaves; leaf's sibling first."""
    _check_size(size)
    _check_index(index, size)
    start, stop = 0, size
    proof = []
    # SPEC: RFC 6962 2.1.1, PATH(m, D[n]), walked from the root down and turned round at the end.
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            proof.append(_span(middle, stop, nodes))
            stop = middle
        else:
            proof.append(_span(start, middle, nodes))
            start = middle
    proof.reverse()
    return proof


def prove_consistency(old_size: int, size: int, nodes: Nodes) -> list[bytes]:
    """Prove that the first `old_size` leaves are the beginning of the tree of `size` leaves.

    Empty for equal sizes, and for 0, where there is nothing to prove.
    """
    _check_size(size)
    _check_older(old_size, size)
    if old_size == 0:
        return []
    start, stop = 0, size
    proof = []
    # SPEC: RFC 6962 2.1.2, SUBPROOF(m, D[n], b): the verifier has the old tree's root itself, so
    # the last subtree is left out while it begins at leaf 0.
    while stop != old_size:
        middle = start + _split(stop - start)
        if old_size <= middle:
            proof.append(_span(middle, stop, nodes))
            stop = middle
        else:
            proof.append(_span(start, middle, nodes))
            start = middle
    if start > 0:
        proof.append(_span(start, stop, nodes))
    proof.reverse()
    return proof


def root_by_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that an inclusion proof leads to; the caller compares it."""
    _check_size(size)
    _check_index(index, size)
    _check_hashes((leaf, *proof))
    # SPEC: RFC 9162 2.1.3.2, with the number of steps counted beforehand.
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    _check_length(proof, inner + border)
    root = leaf
    for level, sibling in enumerate(proof[:inner]):
        root = node_hash(sibling, root) if index >> level & 1 else node_hash(root, sibling)
    for sibling in proof[inner:]:
        root = node_hash(sibling, root)
    return root


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Return if the proof shows this leaf hash at `index` under `root`; raise otherwise."""
    _check_hashes((root,))
    if root_by_inclusion(leaf, index, size, proof) != root:
        raise _refused(
            "root", "The entry is not in this log, or was altered", index=index, size=size
        )


def verify_consistency(
    old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the proof shows that the old tree is the beginning of the new one; raise otherwise.

    From size 0 the proof must be empty and the old root the empty tree's: such a pair says nothing.
    """
    _check_size(size)
    _check_older(old_size, size)
    _check_hashes((old_root, root, *proof))
    if old_size in {0, size}:
        _check_length(proof, 0)
        expected = root if old_size == size else EMPTY_ROOT
        _check_root("old", old_root, expected, size)
        if size == 0:
            _check_root("new", root, EMPTY_ROOT, size)
        return
    # SPEC: RFC 9162 2.1.4.2. The walk starts at the largest full subtree that ends at old_size:
    # `level` is its height; below it both trees are alike.
    level = (old_size & -old_size).bit_length() - 1
    index = (old_size - 1) >> level
    inner = (index ^ ((size - 1) >> level)).bit_length()
    border = (index >> inner).bit_count()
    # When the old tree is one full subtree, its root is where the walk starts.
    whole = index == 0
    _check_length(proof, inner + border + (not whole))
    seed, path = (old_root, proof) if whole else (proof[0], proof[1:])
    old_walk = new_walk = seed
    for step, sibling in enumerate(path[:inner]):
        if index >> step & 1:
            old_walk = node_hash(sibling, old_walk)
            new_walk = node_hash(sibling, new_walk)
        else:
            new_walk = node_hash(new_walk, sibling)
    for sibling in path[inner:]:
        old_walk = node_hash(sibling, old_walk)
        new_walk = node_hash(sibling, new_walk)
    _check_root("old", old_walk, old_root, size)
    _check_root("new", new_walk, root, size)


def _split(count: int) -> int:
    """Return the largest power of two smaller than `count` (which is more than 1)."""
    return 1 << ((count - 1).bit_length() - 1)


def _cover(start: int, stop: int) -> list[Node]:
    """Name the full subtrees of the leaves [start, stop); start is a multiple of the largest."""
    cover = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        cover.append((level, start >> level))
        start += 1 << level
    return cover


def _span(start: int, stop: int, nodes: Nodes) -> bytes:
    return _fold([nodes(level, index) for level, index in _cover(start, stop)])


def _fold(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _check_size(size: int) -> None:
    if not 0 <= size <= SIZE_MAX:
        raise _refused("size", "A log has 0 to 2^63 - 1 entries", size=size)


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise _refused("index", "Ask for an entry that the log has", index=index, size=size)


def _check_older(old_size: int, size: int) -> None:
    if not 0 <= old_size <= size:
        raise _refused("size", "The older tree cannot be larger", old_size=old_size, size=size)


def _check_hashes(hashes: Iterable[bytes]) -> None:
    for one in hashes:
        if len(one) != HASH_BYTES:
            raise _refused("hash_length", "A hash has 32 bytes", length=len(one))


def _check_length(proof: Sequence[bytes], expected: int) -> None:
    if len(proof) != expected:
        raise _refused("proof_length", "Ask for it again", got=len(proof), expected=expected)


def _check_root(which: str, got: bytes, expected: bytes, size: int) -> None:
    if got != expected:
        raise _refused(
            "root",
            "The log was rewritten, or these are two logs: keep both heads",
            which=which,
            size=size,
        )


def _refused(code: str, remedy: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"merkle.{code}", remedy, **evidence)
