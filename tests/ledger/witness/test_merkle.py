"""The Merkle tree is that of RFC 6962, and its proofs hold for what they prove and for nothing else."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.witness.merkle import MerkleTree, is_beginning, leaf_hash, root_from_inclusion

LEAVES = [
    bytes.fromhex(data)
    for data in (
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
"""The leaves that the reference tests of Certificate Transparency use."""
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""The roots over the first one, two, ... eight of them."""


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_proof(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_proof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_proof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def test_the_roots_are_those_of_certificate_transparency() -> None:
    tree = MerkleTree(LEAVES)
    assert [tree.root(size).hex() for size in range(1, 9)] == list(ROOTS)
    assert tree.root(0).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [one.hex() for one in tree.inclusion(0, 8)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [one.hex() for one in tree.consistency(6, 8)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=70), st.data())
def test_roots_and_proofs_are_those_of_the_definition(leaves: list[bytes], data: st.DataObject) -> None:
    tree = MerkleTree(leaves)
    size = data.draw(st.integers(1, len(leaves)))
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root = tree.root(size)
    assert root == naive_root(leaves[:size])
    path, proof = tree.inclusion(index, size), tree.consistency(first, size)
    assert path == naive_path(index, leaves[:size])
    assert proof == naive_proof(first, leaves[:size])
    assert root_from_inclusion(index, size, leaf_hash(leaves[index]), path) == root
    assert is_beginning(first, size, tree.root(first), root, proof)


@given(st.integers(2, 40), st.data())
def test_a_proof_holds_for_nothing_else(size: int, data: st.DataObject) -> None:
    leaves = [str(number).encode() for number in range(size)]
    tree = MerkleTree(leaves)
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size - 1))
    path, proof = tree.inclusion(index), tree.consistency(first)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index))
    assert root_from_inclusion(index, size, leaf_hash(leaves[other]), path) != tree.root()
    assert root_from_inclusion(other, size, leaf_hash(leaves[index]), path) != tree.root()
    assert root_from_inclusion(index, size, leaf_hash(leaves[index]), path[:-1]) != tree.root()
    assert root_from_inclusion(index, size, leaf_hash(leaves[index]), [*path, path[0]]) is None
    forked = MerkleTree([*leaves[: first - 1], b"forked", *leaves[first:]])
    assert not is_beginning(first, size, forked.root(first), tree.root(), proof)
    assert not is_beginning(first, size, tree.root(first), forked.root(), proof)
    assert not is_beginning(first, size, tree.root(first), tree.root(), [*proof, b"\x00" * 32])
    assert not is_beginning(first, size, tree.root(first), tree.root(), proof[:-1])
    assert not is_beginning(first + 1, size, tree.root(first), tree.root(), proof) or first + 1 > size


def test_what_makes_no_sense_is_refused() -> None:
    tree = MerkleTree([b"a", b"b", b"c"])
    for what in (
        lambda: tree.root(4),
        lambda: tree.inclusion(3),
        lambda: tree.inclusion(-1),
        lambda: tree.consistency(0),
        lambda: tree.consistency(3, 2),
    ):
        with pytest.raises(ValueError, match="leaf|tree"):
            what()
    assert root_from_inclusion(3, 3, b"", []) is None
    assert not is_beginning(0, 3, b"", b"", [])
    assert not is_beginning(2, 3, b"", b"", [])
    assert tree.before(3) == [tree.root(2), leaf_hash(b"c")]
