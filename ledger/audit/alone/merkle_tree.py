"""The Merkle tree (RFC 6962), and what a checkpoint says of it."""

from __future__ import annotations

import base64
import hashlib

from errata.ledger.audit.alone.encoding import signed_raw


def leaf(data: bytes) -> bytes:
    """The hash of a leaf (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


def checkpoint(note: bytes) -> tuple[str, int, bytes, str]:
    """What a checkpoint states (C2SP tlog-checkpoint): the log's name, size and root, and the last event's hash."""
    name, size, root, head = note.decode("utf-8").split("\n")[:4]
    return name, int(size), base64.b64decode(root, validate=True), head


def note_signed(note: str, key: str) -> bool:
    """Whether the one signature of a note is by this key (C2SP signed-note)."""
    text, _, line = note.rpartition("\n\n")
    name, data = line.removeprefix("\u2014 ").removesuffix("\n").split(" ")
    public, raw = bytes.fromhex(key.removeprefix("ed25519:")), base64.b64decode(data, validate=True)
    own = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
    whole = line == f"\u2014 {name} {data}\n" and raw[:4] == own
    return whole and signed_raw(key, f"{text}\n".encode(), raw[4:].hex())


class Tree:
    """A Merkle tree that grows at its right edge: its perfect subtrees, the largest first, as (size, hash)."""

    def __init__(self, size: int, subtrees: list[bytes]) -> None:
        sizes = [1 << bit for bit in reversed(range(size.bit_length())) if size >> bit & 1]
        self.parts = list(zip(sizes, subtrees, strict=True))

    def add(self, data: bytes) -> None:
        """Add a leaf."""
        size, top = 1, leaf(data)
        while self.parts and self.parts[-1][0] == size:
            size, top = 2 * size, node(self.parts.pop()[1], top)
        self.parts.append((size, top))

    @property
    def root(self) -> bytes:
        """The root over all leaves."""
        if not self.parts:
            return hashlib.sha256(b"").digest()
        top = self.parts[-1][1]
        for _, left in reversed(self.parts[:-1]):
            top = node(left, top)
        return top


def root_by_path(index: int, size: int, data: bytes, path: list[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    place, last, top = index, size - 1, leaf(data)
    for sibling in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            top = node(sibling, top)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            top = node(top, sibling)
        place, last = place >> 1, last >> 1
    return top if last == 0 else None
