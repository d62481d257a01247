"""Pins the tree against the definition of RFC 6962, written down as it stands there."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import TheirsInvalid
from sync.merkle import (
    EMPTY_ROOT,
    FullTree,
    Tree,
    leaf_hash,
    node_hash,
    nodes_over,
    peaks_of,
    prove_consistency,
    prove_inclusion,
    root_at,
    verify_consistency,
    verify_inclusion,
)

MOST = 70
LEAVES = [leaf_hash(b"%d" % number) for number in range(MOST)]
NODES = FullTree(LEAVES)


def split(leaves: Sequence[bytes]) -> int:
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return k


def mth(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) <= 1:
        return leaves[0] if leaves else EMPTY_ROOT
    k = split(leaves)
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(leaves)
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(leaves)
    if m <= k:
        return [*subproof(m, leaves[:k], whole=whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], whole=False), mth(leaves[:k])]


ROOTS = [mth(LEAVES[:size]) for size in range(MOST + 1)]


def test_every_root_and_every_way_to_it_equals_the_definition() -> None:
    tree = Tree()
    for size in range(MOST + 1):
        assert tree.size == size
        assert tree.root() == root_at(size, NODES) == ROOTS[size]
        rebuilt = Tree.from_peaks(size, tree.peaks())
        assert rebuilt.root() == ROOTS[size]
        assert tree.peaks() == tuple(NODES(*peak) for peak in peaks_of(size))
        if size < MOST:
            ahead = tree.copy()
            ahead.append(LEAVES[size])
            assert tree.size == size
            assert rebuilt.append(LEAVES[size]) == tree.append(LEAVES[size])
            assert ahead.root() == tree.root() == rebuilt.root()


def test_every_proof_equals_the_definition_and_verifies() -> None:
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = prove_inclusion(index, size, NODES)
            assert proof == path(index, LEAVES[:size])
            verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])
        for old in range(1, size + 1):
            proof = prove_consistency(old, size, NODES)
            assert proof == subproof(old, LEAVES[:size], whole=True)
            verify_consistency(old, ROOTS[old], size, ROOTS[size], proof)


def test_a_store_of_reported_nodes_can_prove() -> None:
    kept: dict[tuple[int, int], bytes] = {}
    tree = Tree()
    for index, leaf in enumerate(LEAVES):
        kept[0, index] = leaf
        for level, place, node in tree.append(leaf):
            assert (level, place) not in kept
            kept[level, place] = node
    assert len(kept) < 2 * MOST
    asked: list[tuple[int, int]] = []

    def nodes(level: int, index: int) -> bytes:
        asked.append((level, index))
        return kept[level, index]

    for index in range(MOST):
        asked.clear()
        assert prove_inclusion(index, MOST, nodes) == path(index, LEAVES)
        assert len(asked) <= 2 * MOST.bit_length()
        asked.clear()
        assert prove_consistency(index, MOST, nodes) == prove_consistency(index, MOST, NODES)
        assert len(asked) <= 2 * MOST.bit_length()


def test_a_store_of_leaf_hashes_alone_can_prove() -> None:
    nodes = nodes_over(lambda start, stop: LEAVES[start:stop])
    for index in range(0, MOST, 7):
        assert prove_inclusion(index, MOST, nodes) == path(index, LEAVES)


@given(st.data())
def test_proof_verifies_for_nothing_but_its_own_claim(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, MOST))
    index = data.draw(st.integers(0, size - 1))
    claim = (LEAVES[index], index, size, prove_inclusion(index, size, NODES), ROOTS[size])
    other_size = data.draw(st.integers(0, MOST))
    other_index = data.draw(st.integers(-1, MOST))
    other_root = data.draw(st.sampled_from(ROOTS))
    other = (claim[0], other_index, other_size, claim[3], other_root)
    if other[1:3] + other[4:] == claim[1:3] + claim[4:]:
        verify_inclusion(*other)
        return
    # A path says nothing of the size as such: the same steps can lead to the same root. The root
    # and the size come signed, together; here it is enough that no other index and root fit.
    if (other_index, other_root) != (index, ROOTS[size]):
        with pytest.raises(TheirsInvalid, match=r"^merkle\."):
            verify_inclusion(*other)


@given(
    st.integers(-2, 80),
    st.integers(-2, 80),
    st.lists(st.binary(max_size=33) | st.binary(min_size=32, max_size=32), max_size=9),
    st.binary(min_size=32, max_size=32),
)
def test_garbage_is_refused_with_a_code(
    first: int, second: int, proof: list[bytes], some: bytes
) -> None:
    if second != 1 or proof:
        with pytest.raises(TheirsInvalid, match=r"^merkle\."):
            verify_inclusion(LEAVES[0], first, second, proof, some)
    if first != second:
        with pytest.raises(TheirsInvalid, match=r"^merkle\."):
            verify_consistency(first, some, second, ROOTS[9], proof)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_the_largest_logs_are_proved_in_as_many_steps_as_their_height(one: int, two: int) -> None:
    index, size = min(one, two), max(one, two)

    def nodes(level: int, place: int) -> bytes:
        # All leaves alike: a subtree's hash depends on its height only.
        assert (place + 1) << level <= size
        return FLAT[level]

    root = root_at(size, nodes)
    if index < size:
        proof = prove_inclusion(index, size, nodes)
        assert len(proof) <= 63
        verify_inclusion(FLAT[0], index, size, proof, root)
    proof = prove_consistency(index, size, nodes)
    assert len(proof) <= 64
    verify_consistency(index, root_at(index, nodes), size, root, proof)


FLAT = [leaf_hash(b"")]
for _ in range(63):
    FLAT.append(node_hash(FLAT[-1], FLAT[-1]))
