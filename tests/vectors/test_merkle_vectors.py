"""Pins the published Certificate Transparency vectors of RFC 6962 trees and proofs."""

import pytest

from sync.errors import TheirsInvalid
from sync.merkle import (
    EMPTY_ROOT,
    FullTree,
    Tree,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root_at,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf, counted from 1; size; proof) and (old size, size, proof), as published.
INCLUSION = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (3, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        2,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        7,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
]
NODES = FullTree(leaf_hash(leaf) for leaf in LEAVES)


def root(size: int) -> bytes:
    return bytes.fromhex(ROOTS[size - 1])


def test_hashes_of_the_published_leaves() -> None:
    assert leaf_hash(b"").hex() == ROOTS[0]
    assert leaf_hash(b"L123456").hex() == (
        "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    )
    assert node_hash(b"N123", b"N456").hex() == (
        "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    )
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_roots_of_the_published_tree() -> None:
    tree = Tree()
    assert tree.root() == EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, 1):
        tree.append(leaf_hash(leaf))
        assert tree.root() == root(size)
        assert root_at(size, NODES) == root(size)
    assert NODES.root() == root(8)


@pytest.mark.parametrize(("leaf", "size", "published"), INCLUSION)
def test_published_inclusion_proofs(leaf: int, size: int, published: list[str]) -> None:
    proof = [bytes.fromhex(one) for one in published]
    assert prove_inclusion(leaf - 1, size, NODES) == proof
    verify_inclusion(leaf_hash(LEAVES[leaf - 1]), leaf - 1, size, proof, root(size))


@pytest.mark.parametrize(("old", "size", "published"), CONSISTENCY)
def test_published_consistency_proofs(old: int, size: int, published: list[str]) -> None:
    proof = [bytes.fromhex(one) for one in published]
    assert prove_consistency(old, size, NODES) == proof
    verify_consistency(old, root(old), size, root(size), proof)


SOME = bytes.fromhex("abacaba000000000000000000000000000000000000000000060061e00123456")


@pytest.mark.parametrize(("leaf", "size", "published"), INCLUSION)
def test_published_corruptions_of_inclusion_are_refused(
    leaf: int, size: int, published: list[str]
) -> None:
    index, good, top = leaf - 1, [bytes.fromhex(one) for one in published], root(size)
    hashed = leaf_hash(LEAVES[index])
    probes = [
        (index - 1, size, good, top, hashed),
        (index + 1, size, good, top, hashed),
        (index ^ 2, size, good, top, hashed),
        (index, size * 2, good, top, hashed),
        (index, size // 2, good, top, hashed),
        (index, size, good, top, b"WrongLeaf"),
        (index, size, good, EMPTY_ROOT, hashed),
        (index, size, good, SOME, hashed),
        (index, size, [*good, b""], top, hashed),
        (index, size, [*good, top], top, hashed),
        (index, size, [b"", *good], top, hashed),
        (index, size, [top, *good], top, hashed),
    ]
    for place, one in enumerate(good):
        spoilt = [*good]
        spoilt[place] = bytes([one[0] ^ 8]) + one[1:]
        probes += [(index, size, spoilt, top, hashed), (index, size, good[:-1], top, hashed)]
    for at, of, proof, head, data in probes:
        with pytest.raises(TheirsInvalid, match=r"^merkle\."):
            verify_inclusion(data, at, of, proof, head)


@pytest.mark.parametrize(("old", "size", "published"), CONSISTENCY[1:])
def test_published_corruptions_of_consistency_are_refused(
    old: int, size: int, published: list[str]
) -> None:
    good, below, top = [bytes.fromhex(one) for one in published], root(old), root(size)
    probes = [
        (old - 1, size, below, top, good),
        (old + 1, size, below, top, good),
        (old ^ 2, size, below, top, good),
        (old, size * 2, below, top, good),
        (old, size // 2, below, top, good),
        (old, size, b"WrongRoot", top, good),
        (old, size, below, b"WrongRoot", good),
        (old, size, top, below, good),
        (old, size, below, top, []),
        (old, size, below, top, good[:-1]),
    ]
    for extra in (b"", below, top, good[0]):
        probes += [(old, size, below, top, [*good, extra]), (old, size, below, top, [extra, *good])]
    for place, one in enumerate(good):
        spoilt = [*good]
        spoilt[place] = bytes([one[0] ^ 16]) + one[1:]
        probes.append((old, size, below, top, spoilt))
    for since, of, before, head, proof in probes:
        with pytest.raises(TheirsInvalid, match=r"^merkle\."):
            verify_consistency(since, before, of, head, proof)
