"""Identities of tensors, deltas, base models and versions (DESIGN, section 2).

What is hashed is content, never a container file. Fields of varying length are length-prefixed (8 bytes,
little-endian), so that no two inputs share their bytes. Domains: `tensor`, `delta`, `delta of ranks`, `keys`, `base`,
`version`.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from errata.ledger.base.canonical import digest, parts_digest

Buffer = bytes | memoryview

ITEM_SIZES: Mapping[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
"""Bytes an element, by safetensors' dtype names."""

BLOB_DOMAIN = "blob"
"""The domain that blobs are named by their digest in."""


def _field(data: Buffer) -> bytes:
    return struct.pack("<Q", len(data)) + bytes(data)


def _fields(texts: Sequence[str]) -> bytes:
    """`_field` of each text, which is ASCII, one after the other: of a hundred thousand at once."""
    lengths = {length: struct.pack("<Q", length) for length in set(map(len, texts))}
    if len(lengths) == 1 and (prefix := next(iter(lengths.values()))).isascii():  # digests: all at once
        return (prefix.decode() + prefix.decode().join(texts)).encode("ascii")
    return b"".join([part for text in texts for part in (lengths[len(text)], text.encode("ascii"))])


def _bytes_of(raw: Buffer) -> memoryview:
    return memoryview(raw).cast("B")


def tensor_digest(name: str, dtype: str, shape: Sequence[int], raw: Buffer) -> str:
    """The digest of one tensor.

    Args:
        name: its name in the model's state.
        dtype: safetensors' name for it: "F32", "BF16", "F16", "F64", ...
        shape: its shape, as stored.
        raw: its elements in C order, little-endian.

    Raises:
        ValueError: an unknown dtype, or as many bytes as the shape does not account for.
    """
    data = _bytes_of(raw)
    if dtype not in ITEM_SIZES:
        raise ValueError(f"{name}: unknown dtype {dtype!r}; safetensors names are {', '.join(ITEM_SIZES)}")
    count = 1
    for extent in shape:
        count *= extent
    if len(data) != count * ITEM_SIZES[dtype]:
        raise ValueError(f"{name}: {len(data)} bytes do not hold {dtype} of shape {tuple(shape)}")
    head = _field(name.encode("utf-8")) + _field(dtype.encode("ascii")) + struct.pack("<Q", len(shape))
    head += b"".join(struct.pack("<Q", extent) for extent in shape)
    return parts_digest("tensor", (head, struct.pack("<Q", len(data)), data))


def delta_digest(factors: Mapping[str, tuple[Buffer, int, Buffer, int]]) -> str:
    """The digest of one edit's delta over all edited tensors, in the order of their names.

    The grid does not take part: `u` and `v` are exact float32 values, and the sum of their outer products is all that
    a delta is. Where each tensor has one pair, ranks do not take part either.

    Args:
        factors: tensor name -> (u bytes, d_out, v bytes, d_in); float32, little-endian, of one pair after the other.

    Raises:
        ValueError: a factor of the wrong length, or not as many of `u` as of `v`.
    """
    ranks = {name: _pairs(name, *factors[name]) for name in factors}
    plain = all(rank == 1 for rank in ranks.values())
    parts: list[Buffer] = [struct.pack("<Q", len(factors))]
    for name in sorted(factors):
        u, d_out, v, d_in = factors[name]
        parts += [_field(name.encode("utf-8")), *(() if plain else (struct.pack("<Q", ranks[name]),))]
        parts += [struct.pack("<Q", d_out), _bytes_of(u), struct.pack("<Q", d_in), _bytes_of(v)]
    return parts_digest("delta" if plain else "delta of ranks", parts)


def _pairs(name: str, u: Buffer, d_out: int, v: Buffer, d_in: int) -> int:
    """How many pairs of factors these are."""
    pairs, rest = divmod(len(_bytes_of(u)), 4 * d_out)
    if rest or not pairs or len(_bytes_of(v)) != 4 * d_in * pairs:
        sizes = f"{len(_bytes_of(u))} and {len(_bytes_of(v))} bytes"
        raise ValueError(f"{name}: {sizes} do not hold pairs of {d_out} and {d_in} float32 values")
    return pairs


def keys_digest(keys: Mapping[str, tuple[Buffer, int]]) -> str:
    """The digest of one edit's keys: tensor name -> (k bytes, d_in), float32 little-endian.

    Raises:
        ValueError: a key of the wrong length.
    """
    parts: list[Buffer] = [struct.pack("<Q", len(keys))]
    for name in sorted(keys):
        k, d_in = keys[name]
        parts += [_field(name.encode("utf-8")), *_vector(name, k, d_in)]
    return parts_digest("keys", parts)


def _vector(name: str, raw: Buffer, length: int) -> tuple[bytes, memoryview]:
    data = _bytes_of(raw)
    if len(data) != 4 * length:
        raise ValueError(f"{name}: {len(data)} bytes do not hold {length} float32 values")
    return struct.pack("<Q", length), data


def base_digest(tensors: Mapping[str, str]) -> str:
    """The digest of a base model: tensor name -> tensor digest, in the order of names."""
    parts = [_field(name.encode("utf-8")) + _field(tensors[name].encode("ascii")) for name in sorted(tensors)]
    return digest("base", b"".join(parts))


def version_digest(base: str, deltas: Iterable[str]) -> str:
    """The identity of a version: the base's digest and the live deltas' digests as a multiset.

    Sorted, so the order of edits does not matter; not deduplicated, so two equal deltas count twice.
    """
    return digest("version", _fields((base, *sorted(deltas))))


class RunningVersion:
    """`version_digest` of a multiset of deltas that come and go one by one: nothing but the hashing is done again.

    Args:
        base: the base's digest.
    """

    def __init__(self, base: str) -> None:
        self._base = _fields((base,))
        self._deltas: list[str] = []
        self._bytes = bytearray()

    def add(self, delta: str) -> None:
        """A delta's digest comes to the others."""
        place, field = bisect_left(self._deltas, delta), _fields((delta,))
        self._deltas.insert(place, delta)
        self._bytes[place * len(field) : place * len(field)] = field

    def remove(self, delta: str) -> None:
        """One of the delta's digests goes.

        Raises:
            ValueError: it is not there.
        """
        place, width = bisect_left(self._deltas, delta), len(_fields((delta,)))
        if self._deltas[place : place + 1] != [delta]:
            raise ValueError(f"there is no {delta}")
        del self._deltas[place], self._bytes[place * width : (place + 1) * width]

    @property
    def value(self) -> str:
        """The digest of all that are there."""
        return parts_digest("version", (self._base, self._bytes))
