"""The BlobStore contract, inherited by every store, and the batch format that blobs of edits have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from errata.ledger.base.canonical import digest
from errata.ledger.base.errors import BlobDamaged, BlobMissing, ModelError, NotFinite, StorageFailed
from errata.ledger.store.blobs import BlobStore, FolderBlobs, MemoryBlobs
from errata.ledger.store.deltas import (
    decode_batch,
    encode_batch,
    row_bounds,
    row_delta_digest,
    row_keys_digest,
    tensor_names,
)
from tests.support.samples import TENSORS, factors, some_digest


class BlobStoreContract:
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        raise NotImplementedError

    @pytest.mark.parametrize("data", [b"", b"x", bytes(3_000_000)])
    def test_what_was_put_is_got_back_under_its_digest(self, blobs: BlobStore, data: bytes) -> None:
        name = blobs.put(data)
        assert name == digest("blob", data)
        assert blobs.get(name) == data
        blobs.check(name)

    def test_a_view_has_the_bytes_and_is_the_callers_own(self, blobs: BlobStore) -> None:
        name = blobs.put(b"some bytes")
        view = blobs.view(name)
        assert bytes(view) == b"some bytes"
        view[0] = 0
        blobs.check(name)

    def test_putting_twice_is_putting_once(self, blobs: BlobStore) -> None:
        assert blobs.put(b"x") == blobs.put(b"x")
        blobs.put(b"y")
        assert list(blobs.digests()) == sorted([digest("blob", b"x"), digest("blob", b"y")])

    @pytest.mark.parametrize("name", [some_digest("absent"), "blake3:../../etc/passwd", "", "blake3:" + "A" * 64])
    def test_what_is_not_there_is_missing(self, blobs: BlobStore, name: str) -> None:
        for ask in (blobs.get, blobs.check, blobs.path, blobs.view):
            with pytest.raises(BlobMissing):
                ask(name)


class TestMemoryBlobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> BlobStore:
        return MemoryBlobs()

    def test_damage_is_found(self) -> None:
        blobs = MemoryBlobs()
        name = blobs.put(b"x")
        blobs._blobs[name] = b"y"
        with pytest.raises(BlobDamaged):
            blobs.get(name)


class TestFolderBlobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> FolderBlobs:
        (tmp_path / "objects").mkdir()
        return FolderBlobs(tmp_path / "objects")

    def test_a_blob_is_a_read_only_file_and_nothing_is_left_beside_it(self, blobs: FolderBlobs) -> None:
        path = blobs.path(blobs.put(b"x"))
        assert path.stat().st_mode & 0o777 == 0o444
        assert [one for one in blobs.root.rglob("*") if one.is_file()] == [path]

    def test_a_damaged_copy_is_found_and_put_again(self, blobs: FolderBlobs) -> None:
        name = blobs.put(b"x")
        blobs.path(name).chmod(0o644)
        blobs.path(name).write_bytes(b"y")
        for ask in (blobs.get, blobs.check):
            with pytest.raises(BlobDamaged):
                ask(name)
        assert blobs.put(b"x") == name
        assert blobs.get(name) == b"x"

    def test_strays_are_no_blobs(self, blobs: FolderBlobs) -> None:
        blobs.put(b"x")
        (blobs.root / "ab").mkdir()
        for stray in (blobs.root / "readme", blobs.root / "ab" / "short", blobs.root / "ab" / ".tmp-1"):
            stray.write_bytes(b"")
        assert len(list(blobs.digests())) == 1
        assert len(list(blobs.strays())) == 3

    def test_a_disk_that_gives_back_other_bytes_is_not_trusted(
        self, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "errata.ledger.store.blobs.write_durably", lambda path, data, **_: path.write_bytes(b"other")
        )
        with pytest.raises(StorageFailed, match="other bytes"):
            blobs.put(b"x")

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StorageFailed):
            FolderBlobs(tmp_path / "file").put(b"x")


def test_a_batch_survives_its_blob_and_gives_the_same_bytes() -> None:
    batch = factors(3)
    data = encode_batch(batch)
    again = decode_batch(data)
    assert set(again) == set(batch)
    assert all(np.array_equal(again[name], batch[name]) for name in batch)
    assert encode_batch(dict(reversed(list(again.items())))) == data
    assert tensor_names(batch) == sorted(TENSORS)


def test_golden_batch_bytes() -> None:
    batch = {f"{part}/w": np.ones((1, 2), np.float32) for part in ("u", "v", "k")}
    assert (
        digest("blob", encode_batch(batch)) == "blake3:8ad923e0d82d5b912cc61d8c542aa6892f279ffbaddba13dedf4bf149e0e5397"
    )


@pytest.mark.parametrize("part", ["u", "v", "k"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_factors_that_are_not_finite_are_never_written(part: str, bad: float) -> None:
    batch = factors(2)
    batch[f"{part}/{TENSORS[0]}"][1, 2] = bad
    with pytest.raises(NotFinite) as refused:
        encode_batch(batch)
    assert refused.value.exit_code == 6


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda b: b.clear(), "arrays named"),
        (lambda b: b.update(x=b.pop(f"u/{TENSORS[0]}")), "arrays named"),
        (lambda b: b.pop(f"k/{TENSORS[0]}"), "lacks k/"),
        (lambda b: b.update({f"u/{TENSORS[0]}": np.zeros((3, 4), np.float32)}), "are not pairs"),
        (
            lambda b: b.update({f"{p}/{TENSORS[0]}": b[f"{p}/{TENSORS[0]}"][[0, 1, 1]] for p in "uv"}),
            "one row for each",
        ),
        (lambda b: b.update({f"u/{TENSORS[0]}": np.zeros(4, np.float32)}), "one row for each"),
        (lambda b: b.update({f"k/{TENSORS[0]}": np.zeros((2, 3), np.float32)}), "differ in shape"),
        (lambda b: b.update({f"u/{TENSORS[0]}": np.zeros((2, 4))}), "float64"),
    ],
)
def test_a_batch_out_of_shape_is_refused(change: Any, complaint: str) -> None:
    batch = factors(2)
    change(batch)
    with pytest.raises(ModelError, match=complaint):
        encode_batch(batch)


def test_bytes_that_are_no_batch_are_damage() -> None:
    from safetensors.numpy import save

    for data in (b"", b"nonsense", encode_batch(factors(1))[:-1], save({"u/w": np.zeros((1, 1), np.float32)})):
        with pytest.raises(BlobDamaged):
            decode_batch(data)


@pytest.mark.parametrize("part", ["u", "v", "k"])
def test_every_number_of_a_row_moves_the_digest_of_its_part_and_of_no_other_row(part: str) -> None:
    batch = factors(2)
    before = [(row_delta_digest(batch, row), row_keys_digest(batch, row)) for row in (0, 1)]
    batch[f"{part}/{TENSORS[1]}"][1, 0] += 1
    after = [(row_delta_digest(batch, row), row_keys_digest(batch, row)) for row in (0, 1)]
    assert after[0] == before[0]
    moved = [new != old for new, old in zip(after[1], before[1], strict=True)]
    assert moved == ([False, True] if part == "k" else [True, False])


def test_bounds_are_the_largest_product_of_a_row() -> None:
    batch = factors(2)
    for tensor in TENSORS:
        product = np.abs(np.outer(batch[f"u/{tensor}"][1], batch[f"v/{tensor}"][1].astype(np.float64)))
        assert row_bounds(batch, [1])[0][tensor] == product.max()
