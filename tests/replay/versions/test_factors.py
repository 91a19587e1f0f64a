"""Factors from mapped batches: the same numbers as the decoded batch, and nothing unchecked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from errata.ledger.base.errors import BlobDamaged, BlobMissing, LedgerDamaged, NotFinite, UnknownEdit
from errata.ledger.events.parts import EditedTensor
from errata.ledger.ledger import Ledger
from errata.ledger.store.blobs import BlobStore, MemoryBlobs
from errata.ledger.store.deltas import decode_batch
from errata.replay.versions import factors as module
from errata.replay.versions.factors import FactorReader
from tests.support import ledgers as helpers

SIZES = (3, 1, 5)
COUNT = sum(SIZES)
LAWS = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def ledger(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    ledger = helpers.create(tmp_path_factory.mktemp("ledger"), tiny_llama)
    for seed, size in enumerate(SIZES):
        helpers.apply(ledger, size, seed=seed)
    return ledger


def edited(ledger: Ledger) -> dict[str, EditedTensor]:
    created = ledger.state().created
    assert created is not None
    return created.edited


def reader(ledger: Ledger, blobs: BlobStore | None = None) -> FactorReader:
    return FactorReader(blobs or ledger.blobs, edited(ledger))


def in_memory(ledger: Ledger) -> MemoryBlobs:
    blobs = MemoryBlobs()
    for digest in ledger.blobs.digests():
        blobs.put(ledger.blobs.get(digest))
    return blobs


@pytest.mark.parametrize("memory", [False, True])
@given(numbers=st.sets(st.integers(1, COUNT)), most=st.integers(1, 6))
@LAWS
def test_what_is_read_is_what_the_batches_hold(ledger: Ledger, memory: bool, numbers: set[int], most: int) -> None:
    state = ledger.state()
    found = reader(ledger, in_memory(ledger) if memory else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS_AT_ONCE", most)
        groups = list(found.read(state, numbers))
        numbered = list(found.read_numbered(state, numbers))
        by_tensor = {name: list(found.read_tensor(state, numbers, name)) for name in edited(ledger)}
    assert all(len(next(iter(group.values()))[0]) <= most for group in groups)
    assert [number for members, _ in numbered for number in members] == sorted(numbers)
    assert all(len(members) == len(u) == len(v) for members, group in numbered for u, v in group.values())
    decoded = [decode_batch(ledger.blobs.get(state.edits[n].body.blob)) for n in sorted(numbers)]
    for name, pairs in by_tensor.items():
        assert len(pairs) == len(groups)
        for part in (0, 1):
            rows = [row for group in groups for row in group[name][part]]
            assert [row.tolist() for pair in pairs for row in pair[part]] == [row.tolist() for row in rows]
            key = f"{'uv'[part]}/{name}"
            expected = [d[key][state.edits[n].body.row] for n, d in zip(sorted(numbers), decoded, strict=True)]
            assert all(np.array_equal(row.numpy(), e) for row, e in zip(rows, expected, strict=True))


def test_writing_into_what_was_read_changes_no_blob(ledger: Ledger) -> None:
    for group in reader(ledger).read(ledger.state(), (1, 2)):
        for u, v in group.values():
            u.fill_(7.0)
            v.fill_(7.0)
    for digest in ledger.blobs.digests():
        ledger.blobs.check(digest)


@pytest.mark.parametrize("memory", [False, True])
def test_an_edit_or_blob_that_is_not_there_is_named(tmp_path: Path, tiny_llama: Path, memory: bool) -> None:
    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 2, seed=0)
    with pytest.raises(UnknownEdit, match="e9"):
        next(reader(ledger).read(ledger.state(), (1, 9)))
    ledger.blobs.path(ledger.state().edits[1].body.blob).unlink()
    with pytest.raises(BlobMissing):
        next(reader(ledger, in_memory(ledger) if memory else None).read(ledger.state(), (1,)))


class _Unchecked(MemoryBlobs):
    """Blobs that are taken for what their names say."""

    def check(self, digest: str) -> None:
        """Believe it."""


def swapped(ledger: Ledger, change: Callable[[dict[str, np.ndarray]], None]) -> FactorReader:
    """A reader of a ledger whose only batch's blob was replaced by another whole one under the old name."""
    blob = ledger.state().edits[1].body.blob
    batch = decode_batch(ledger.blobs.get(blob))
    change(batch)
    other = _Unchecked()
    other._blobs[blob] = bytes(save(batch))
    return reader(ledger, other)


def test_a_batch_of_other_shapes_or_parts_is_damage(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 2, seed=0)
    state = ledger.state()
    name = next(iter(edited(ledger)))

    def without(part: str) -> object:
        return lambda batch: batch.pop(f"{part}/{name}")

    def shorter(batch: dict[str, np.ndarray]) -> None:
        batch[f"u/{name}"] = batch[f"u/{name}"][:, 1:].copy()

    def wider(batch: dict[str, np.ndarray]) -> None:
        batch[f"u/{name}"] = batch[f"u/{name}"].astype(np.float64)

    for change in (without("u"), without("k"), shorter, wider, lambda batch: batch.update(x=batch[f"u/{name}"])):
        with pytest.raises(BlobDamaged):
            next(swapped(ledger, change).read(state, (1,)))


def test_a_row_that_is_missing_or_another_names_its_edit(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 2, seed=0)
    state = ledger.state()

    def one_row(batch: dict[str, np.ndarray]) -> None:
        for key in batch:
            batch[key] = batch[key][:1].copy()

    def one_bit(batch: dict[str, np.ndarray]) -> None:
        next(array for key, array in batch.items() if key.startswith("u/"))[1, 0] += 1.0

    for change in (one_row, one_bit):
        damaged = swapped(ledger, change)
        assert list(damaged.read(state, (1,)))
        with pytest.raises(LedgerDamaged, match="e2"):
            list(damaged.read(state, (2,)))


def test_factors_off_the_grid_are_not_read_though_every_digest_is_true(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = helpers.create(tmp_path, tiny_llama)
    monkeypatch.setattr(helpers, "round_factors", lambda u, v, exponent: (u, v))
    helpers.apply(ledger, 2, seed=0)
    with pytest.raises(LedgerDamaged, match=r"e1: .*grid"):
        list(reader(ledger).read(ledger.state(), (1, 2)))


def test_a_recorded_number_that_is_not_finite_is_told(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 2, seed=0)
    state = ledger.state()

    def to_nan(batch: dict[str, np.ndarray]) -> None:
        next(array for key, array in batch.items() if key.startswith("v/"))[0, 3] = np.nan

    damaged = swapped(ledger, to_nan)
    with pytest.raises(NotFinite, match=r"v/.* of e1"):
        list(damaged.read(state, (1,)))
    assert torch.isfinite(next(iter(next(damaged.read(state, (2,))).values()))[0]).all()
