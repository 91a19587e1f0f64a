"""A safetensors file's header: what the format's own library writes is read, and what it refuses is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save, save_file

from errata.ledger.base.errors import Damaged
from errata.ledger.store.tensor_file import header, parse_layout, read_layout

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(5, dtype=np.float16),
    "c": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 4), dtype=np.float32),
}

names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)


def test_places_are_where_the_library_puts_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(ARRAYS, path, metadata={"format": "np"})
    layout = read_layout(path)
    data = path.read_bytes()
    assert layout.size == len(data) and layout.metadata == {"format": "np"}
    for name, array in ARRAYS.items():
        place = layout.tensors[name]
        assert place.shape == array.shape
        assert data[place.start : place.stop] == array.tobytes()


@given(tensors=st.dictionaries(names.filter(lambda n: n != "__metadata__"), shapes, max_size=5), note=names)
def test_a_header_that_was_written_is_read_back_by_us_and_by_the_library(
    tensors: dict[str, tuple[int, ...]], note: str
) -> None:
    rows = [(name, "F32", shape, 4 * int(np.prod(shape))) for name, shape in tensors.items()]
    head = header(rows, {"note": note})
    size = len(head) + sum(row[3] for row in rows)
    layout = parse_layout(head, size, "it")
    assert [(n, p.dtype, p.shape, p.size) for n, p in layout.tensors.items()] == rows or not all(r[3] for r in rows)
    assert {n: p.shape for n, p in layout.tensors.items()} == tensors and layout.metadata == {"note": note}
    if tensors:
        assert {n: a.shape for n, a in load(head + bytes(size - len(head))).items()} == tensors


@given(chosen=st.sets(st.sampled_from(sorted(ARRAYS))))
def test_gaps_and_tensors_make_up_the_file(chosen: set[str]) -> None:
    data = bytes(save(ARRAYS))
    layout = parse_layout(data, len(data), "it")
    ranges = layout.gaps(sorted(chosen)) + [(layout.tensors[n].start, layout.tensors[n].stop) for n in chosen]
    assert sum(stop - start for start, stop in ranges) == len(data)
    assert b"".join(data[a:b] for a, b in sorted(ranges)) == data


def built(entries: object, data: bytes = b"") -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 0),
        struct.pack("<Q", 1 << 60) + b"{}",
        built(b"{]"),
        built([1]),
        built({"x": GOOD}, bytes(7)),
        built({"x": GOOD}, bytes(9)),
        built({"x": {**GOOD, "shape": [3]}}, bytes(8)),
        built({"x": {**GOOD, "shape": [-2]}}, bytes(8)),
        built({"x": {**GOOD, "shape": [2.0]}}, bytes(8)),
        built({"x": {**GOOD, "data_offsets": [4, 12]}}, bytes(12)),
        built({"x": {**GOOD, "more": 1}}, bytes(8)),
        built({"x": {"dtype": "F32", "shape": [2]}}, bytes(8)),
        built({"x": GOOD, "y": GOOD}, bytes(8)),
        built({"x": GOOD, "y": {**GOOD, "data_offsets": [4, 12]}}, bytes(12)),
        built(json.dumps({"x": GOOD}).replace("}}", '}, "x": ' + json.dumps(GOOD) + "}").encode(), bytes(8)),
        built({"__metadata__": {"a": 1}, "x": GOOD}, bytes(8)),
    ],
)
def test_a_header_that_makes_no_sense_is_damage(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(Damaged, match=r"x\.safetensors is not a safetensors file"):
        read_layout(path)


def test_a_file_that_is_not_there_is_damage(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="cannot be read"):
        read_layout(tmp_path / "none")
