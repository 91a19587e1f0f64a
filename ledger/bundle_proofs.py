"""What ties a range of the log to the tree over it: its left edge, and an inclusion proof of every event told apart.

The tree is that of RFC 6962 over the events' hashes in ASCII. `before` are the perfect subtrees that the events before
the range make, the largest first: whoever appends the range's events to them gets every root of the range, up to the
checkpoint's.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.verify_bundle import leaf, node


class Leaves:
    """The leaves of a log, with the hashes of all perfect subtrees.

    Args:
        hashes: of the events, in order.
    """

    def __init__(self, hashes: Sequence[str]) -> None:
        self.size = len(hashes)
        self._levels = [[leaf(one.encode("ascii")) for one in hashes]]
        while len(below := self._levels[-1]) > 1:
            self._levels.append([node(*below[at : at + 2]) for at in range(0, len(below) - 1, 2)])

    @property
    def root(self) -> bytes:
        """The root over all leaves, of which there is at least one."""
        return self._hash(0, self.size)

    def before(self, index: int) -> list[bytes]:
        """The perfect subtrees over the leaves before one, the largest first."""
        parts, start = [], 0
        for level in reversed(range(index.bit_length())):
            if index >> level & 1:
                parts.append(self._levels[level][start >> level])
                start += 1 << level
        return parts

    def path(self, index: int) -> list[bytes]:
        """The inclusion proof of a leaf in the tree over all leaves (RFC 6962, section 2.1.1)."""
        start, end, found = 0, self.size, []
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                found.append(self._hash(middle, end))
                end = middle
            else:
                found.append(self._hash(start, middle))
                start = middle
        return found[::-1]

    def _hash(self, start: int, end: int) -> bytes:
        size = end - start
        if size & (size - 1) == 0:
            level = size.bit_length() - 1
            return self._levels[level][start >> level]
        middle = start + _split(size)
        return node(self._hash(start, middle), self._hash(middle, end))


def _split(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1
