"""The Merkle tree over a log (RFC 6962, section 2.1; proofs as RFC 9162 verifies them), with SHA-256.

The leaves are the hashes of the events, in ASCII, in order. A root stands for the whole log up to an event; an
inclusion proof shows that an event is part of what a root stands for; a consistency proof shows that one root's log is
the beginning of another's. Both are short: about log2 of the size. A hash chain alone cannot tell a log that was cut
off, or rewritten from some point, from a whole one; a root that was kept elsewhere can.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
"""The root of no leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf; the prefix keeps it apart from a node's."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two children."""
    return sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """The tree over a log and over every beginning of it: all perfect subtrees are hashed once and kept.

    Args:
        leaves: the leaves' data, in order.
    """

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.size = len(leaves)
        self._levels = [[leaf_hash(one) for one in leaves]]
        while len(below := self._levels[-1]) > 1:
            self._levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])

    @classmethod
    def of_events(cls, hashes: Sequence[str]) -> MerkleTree:
        """The tree over events, by their hashes."""
        return cls([one.encode("ascii") for one in hashes])

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves, or over all.

        Raises:
            ValueError: there are not so many.
        """
        size = self._checked(size)
        return self._over(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The proof that leaf `index`, from 0, is part of the tree over the first `size`, from the leaf upwards.

        Raises:
            ValueError: there is no such leaf.
        """
        size = self._checked(size)
        if not 0 <= index < size:
            raise ValueError(f"no leaf {index} in a tree of {size}")
        start, end, path = 0, size, list[bytes]()
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(start, middle))
                start = middle
        return path[::-1]

    def consistency(self, first: int, second: int | None = None) -> list[bytes]:
        """The proof that the tree over the first `first` leaves is the beginning of the one over `second`.

        Raises:
            ValueError: the first is empty or the larger one.
        """
        second = self._checked(second)
        if not 0 < first <= second:
            raise ValueError(f"a tree of {first} is not the beginning of a tree of {second}")
        start, end, whole, path = 0, second, True, list[bytes]()
        while first - start < end - start:
            middle = start + _split(end - start)
            if first <= middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(start, middle))
                start, whole = middle, False
        if not whole:
            path.append(self._over(start, end))
        return path[::-1]

    def before(self, index: int) -> list[bytes]:
        """The perfect subtrees over the leaves before one, the largest first: what a range is appended to."""
        parts, start = [], 0
        for level in reversed(range(self._checked(index).bit_length())):
            if index >> level & 1:
                parts.append(self._levels[level][start >> level])
                start += 1 << level
        return parts

    def _over(self, start: int, end: int) -> bytes:
        size = end - start
        if size & (size - 1) == 0:
            level = size.bit_length() - 1
            return self._levels[level][start >> level]
        middle = start + _split(size)
        return node_hash(self._over(start, middle), self._over(middle, end))

    def _checked(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise ValueError(f"no tree of {size} leaves in a log of {self.size}")
        return size


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2); None for a proof of the wrong length.

    Args:
        index: the leaf's place, from 0.
        size: of the tree.
        leaf: the leaf's hash.
        path: the proof.
    """
    if not 0 <= index < size:
        return None
    at, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return found if last == 0 else None


def is_beginning(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a consistency proof holds between two roots (RFC 9162, section 2.1.4.2).

    Args:
        first: the size of the smaller tree.
        second: that of the larger one.
        first_root: the root of the smaller tree.
        second_root: that of the larger one.
        proof: the proof.
    """
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    nodes = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not nodes:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, node)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _split(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1
