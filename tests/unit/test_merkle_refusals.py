"""Pins how the tree refuses: each wrong size, index, length and root by its own code."""

import pytest

from sync.errors import TheirsInvalid
from sync.merkle import (
    EMPTY_ROOT,
    SIZE_MAX,
    FullTree,
    Tree,
    leaf_hash,
    peaks_of,
    prove_consistency,
    prove_inclusion,
    root_at,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(bytes([number])) for number in range(5)]
NODES = FullTree(LEAVES)
ROOT = NODES.root()


def code_of(caught: pytest.ExceptionInfo[TheirsInvalid]) -> str:
    return caught.value.code


def test_the_peaks_of_eleven() -> None:
    assert peaks_of(11) == [(3, 0), (1, 4), (0, 10)]
    assert peaks_of(0) == []
    assert NODES.size == 5


def test_tree_is_not_rebuilt_from_the_wrong_peaks() -> None:
    for size, peaks, code in (
        (5, [ROOT], "merkle.proof_length"),
        (4, [ROOT, ROOT], "merkle.proof_length"),
        (1, [b"short"], "merkle.hash_length"),
        (-1, [], "merkle.size"),
        (SIZE_MAX + 1, [ROOT], "merkle.size"),
    ):
        with pytest.raises(TheirsInvalid) as caught:
            Tree.from_peaks(size, peaks)
        assert code_of(caught) == code
    with pytest.raises(TheirsInvalid) as caught:
        Tree().append(b"not a hash")
    assert code_of(caught) == "merkle.hash_length"


def test_tree_given_a_list_of_peaks_does_not_share_it() -> None:
    peaks = [LEAVES[0]]
    tree = Tree.from_peaks(1, peaks)
    peaks[0] = LEAVES[1]
    assert tree.root() == LEAVES[0]


def test_proofs_are_given_only_for_what_is_there() -> None:
    for index, size in ((5, 5), (-1, 5), (0, 0)):
        with pytest.raises(TheirsInvalid) as caught:
            prove_inclusion(index, size, NODES)
        assert code_of(caught) == "merkle.index"
    for old, size in ((6, 5), (-1, 5), (0, -1)):
        with pytest.raises(TheirsInvalid) as caught:
            prove_consistency(old, size, NODES)
        assert code_of(caught) == "merkle.size"
    with pytest.raises(TheirsInvalid):
        root_at(-1, NODES)


def test_inclusion_is_refused_by_the_part_that_is_wrong() -> None:
    proof = prove_inclusion(2, 5, NODES)
    for leaf, index, size, hashes, root, code in (
        (LEAVES[2], 2, 5, proof, EMPTY_ROOT, "merkle.root"),
        (LEAVES[1], 2, 5, proof, ROOT, "merkle.root"),
        (LEAVES[2], 3, 5, proof, ROOT, "merkle.root"),
        (LEAVES[2], 5, 5, proof, ROOT, "merkle.index"),
        (LEAVES[2], -1, 5, proof, ROOT, "merkle.index"),
        (LEAVES[2], 0, 0, [], ROOT, "merkle.index"),
        (LEAVES[2], 2, 5, proof[1:], ROOT, "merkle.proof_length"),
        (LEAVES[2], 2, 5, [*proof, ROOT], ROOT, "merkle.proof_length"),
        (LEAVES[2], 2, 5, [b"", *proof[1:]], ROOT, "merkle.hash_length"),
        (b"", 2, 5, proof, ROOT, "merkle.hash_length"),
        (LEAVES[2], 2, 5, proof, b"", "merkle.hash_length"),
        (LEAVES[2], 2, SIZE_MAX + 1, proof, ROOT, "merkle.size"),
    ):
        with pytest.raises(TheirsInvalid) as caught:
            verify_inclusion(leaf, index, size, hashes, root)
        assert code_of(caught) == code


def test_consistency_is_refused_by_the_part_that_is_wrong() -> None:
    proof = prove_consistency(3, 5, NODES)
    old = root_at(3, NODES)
    for since, before, size, root, hashes, code in (
        (3, ROOT, 5, ROOT, proof, "merkle.root"),
        (3, old, 5, old, proof, "merkle.root"),
        (5, old, 5, ROOT, [], "merkle.root"),
        (0, ROOT, 5, ROOT, [], "merkle.root"),
        (0, EMPTY_ROOT, 0, ROOT, [], "merkle.root"),
        (0, ROOT, 0, ROOT, [], "merkle.root"),
        (6, old, 5, ROOT, proof, "merkle.size"),
        (-1, old, 5, ROOT, proof, "merkle.size"),
        (3, old, 5, ROOT, [], "merkle.proof_length"),
        (5, ROOT, 5, ROOT, proof, "merkle.proof_length"),
        (0, EMPTY_ROOT, 5, ROOT, proof, "merkle.proof_length"),
        (3, b"", 5, ROOT, proof, "merkle.hash_length"),
        (3, old, 5, b"", proof, "merkle.hash_length"),
        (3, old, 5, ROOT, [b"", *proof[1:]], "merkle.hash_length"),
    ):
        with pytest.raises(TheirsInvalid) as caught:
            verify_consistency(since, before, size, root, hashes)
        assert code_of(caught) == code


def test_old_head_and_new_head_are_told_apart() -> None:
    proof, old = prove_consistency(3, 5, NODES), root_at(3, NODES)
    for before, root, which in ((ROOT, ROOT, "old"), (old, old, "new")):
        with pytest.raises(TheirsInvalid) as caught:
            verify_consistency(3, before, 5, root, proof)
        assert caught.value.evidence["which"] == which


def test_nothing_is_consistent_with_anything() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    verify_consistency(0, EMPTY_ROOT, 5, ROOT, prove_consistency(0, 5, NODES))
    verify_consistency(5, ROOT, 5, ROOT, prove_consistency(5, 5, NODES))
