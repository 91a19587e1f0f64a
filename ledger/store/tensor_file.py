"""Where each tensor lies in a safetensors file: its header, read strictly and written.

A file is 8 bytes with the header's length (little-endian), the header (a JSON object), and the tensors' bytes one
behind the other. Whoever knows the places can map, copy or replace a tensor's bytes without reading the others.

Source: the format's description in the safetensors project. Law: `parse_layout(header(places))` gives the places back.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.ledger.base.digests import ITEM_SIZES
from errata.ledger.base.errors import Damaged
from errata.ledger.base.json_files import json_value

_LENGTH = 8
_LONGEST = 100_000_000
"""The longest header that the format's own library reads."""
_METADATA = "__metadata__"


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor's place in a file.

    Attributes:
        dtype: safetensors' name for it, such as "BF16".
        shape: its shape, as stored.
        start, stop: its bytes, counted from the beginning of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Its number of bytes."""
        return self.stop - self.start


@dataclass(frozen=True)
class Layout:
    """A file's header.

    Attributes:
        tensors: places by name, in the order of their bytes.
        metadata: texts that the file carries.
        size: the file's number of bytes.
    """

    tensors: Mapping[str, Place]
    metadata: Mapping[str, str]
    size: int

    def gaps(self, names: Sequence[str]) -> list[tuple[int, int]]:
        """The byte ranges ``(start, stop)`` of the file that hold none of these tensors, in order."""
        taken = sorted((self.tensors[name].start, self.tensors[name].stop) for name in names)
        edges = [0, *(edge for pair in taken for edge in pair), self.size]
        return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def read_layout(path: Path) -> Layout:
    """The layout of a safetensors file; only its header is read.

    Raises:
        Damaged: it cannot be read, or is not such a file.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(_LENGTH)
            head += file.read(min(_header_length(head), _LONGEST))
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror or error}") from error
    return parse_layout(head, size, str(path))


def parse_layout(head: bytes | memoryview, size: int, where: str) -> Layout:
    """The layout that a file's first bytes state, which must hold the whole header.

    Args:
        head: the file's first bytes.
        size: the file's number of bytes.
        where: what an error calls it.

    Raises:
        Damaged: the header is cut short or no JSON object, names a tensor twice, or gives places that leave gaps,
            overlap, do not end where the file ends, or do not fit a dtype and shape.
    """
    length = _header_length(head)
    begin = _LENGTH + length
    if not 0 < length <= _LONGEST or begin > min(size, len(head)):
        raise _damaged(where, "its header is cut short")
    try:
        entries = json_value(bytes(head[_LENGTH:begin]), _unique)
        metadata = _metadata(entries.pop(_METADATA, {}))
        places = {str(name): _place(entry, begin) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(where, f"its header cannot be read ({error})") from None
    ordered = dict(sorted(places.items(), key=lambda item: (item[1].start, item[1].stop)))
    end = begin
    for name, place in ordered.items():
        if place.start != end or place.stop < end:
            raise _damaged(where, f"the bytes of {name!r} do not follow those before them")
        if place.dtype in ITEM_SIZES and place.size != ITEM_SIZES[place.dtype] * math.prod(place.shape):
            raise _damaged(where, f"{name!r} has {place.size} bytes, which is not {place.dtype} of {place.shape}")
        end = place.stop
    if end != size:
        raise _damaged(where, f"it has {size} bytes, and its tensors end at {end}")
    return Layout(ordered, metadata, size)


def header(tensors: Sequence[tuple[str, str, tuple[int, ...], int]], metadata: Mapping[str, str]) -> bytes:
    """The first bytes of a file with these tensors: the header's length and the header, padded to 8 bytes.

    Args:
        tensors: name, dtype, shape and number of bytes of each, in the order of their bytes.
        metadata: texts to carry; left out if there are none.
    """
    entries: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    start = 0
    for name, dtype, shape, size in tensors:
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _header_length(head: bytes | memoryview) -> int:
    return int.from_bytes(head[:_LENGTH], "little") if len(head) >= _LENGTH else 0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs in it twice")
    return found


def _metadata(entry: object) -> dict[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise ValueError("its metadata are not texts")
    return entry


def _place(entry: Any, begin: int) -> Place:
    start, stop = entry["data_offsets"]
    shape = tuple(entry["shape"])
    numbers = (start, stop, *shape)
    if set(entry) != {"dtype", "shape", "data_offsets"} or not isinstance(entry["dtype"], str):
        raise ValueError("an entry has a dtype, a shape and offsets")
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("an extent or offset is not a natural number")
    return Place(entry["dtype"], shape, begin + start, begin + stop)


def _damaged(where: str, what: str) -> Damaged:
    return Damaged(f"{where} is not a safetensors file: {what}")
