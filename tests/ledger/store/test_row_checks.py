"""Factors off the grid are refused wherever they come from; on the grid, deltas are integers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from errata.editor.solve.grid import bounds, capacity, round_factors
from errata.ledger.base.errors import BlobDamaged, LedgerDamaged, ModelError
from errata.ledger.care.verify import verify
from errata.ledger.drafts import drafted, edits_of, put_edits
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, RecordEvent
from errata.ledger.sharing.carry import bring_blobs
from errata.ledger.sharing.sides import Side
from errata.ledger.state.trust import DraftRecord
from errata.ledger.store.row_checks import units
from tests.support.samples import GRID, TENSORS, created, factors, real_edits, run

EXPONENTS = st.integers(20, 60)


@given(st.integers(0, 2**32), EXPONENTS, st.integers(-12, 4), st.integers(-12, 4))
def test_rounded_factors_are_integers_whose_products_are_theirs(seed: int, exponent: int, p: int, q: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    u, v = (torch.randn(3, 5, generator=generator) * 2.0**power for power in (p, q))
    u[1] = 0
    try:
        u, v = round_factors(u, v, exponent)
    except ModelError:
        return
    if max(bounds(u, v)) >= capacity(exponent):
        with pytest.raises(ModelError, match="too large"):
            units(u.numpy(), v.numpy(), exponent)
        return
    a, b = units(u.numpy(), v.numpy(), exponent)
    assert max(abs(a).max(), abs(b).max()) < 2**53
    for row in range(3):
        exact = np.outer(u[row].double().numpy(), v[row].double().numpy())
        assert (
            np.ldexp(np.outer(a[row].astype(object), b[row].astype(object)).astype(float), -exponent) == exact
        ).all()


@given(st.integers(0, 2**32), EXPONENTS)
def test_one_bit_beyond_the_grid_is_seen(seed: int, exponent: int) -> None:
    generator = np.random.default_rng(seed)
    half = exponent // 2
    u = np.ldexp(generator.integers(-99, 99, (2, 4)).astype(np.float32), -half)
    v = np.ldexp(generator.integers(-99, 99, (2, 4)).astype(np.float32), half - exponent)
    u[1, 2], v[1, 3] = np.ldexp(np.float32(1), -half), np.ldexp(np.float32(3), half - exponent)
    units(u, v, exponent)
    v[1, 3] /= 2
    with pytest.raises(ModelError, match="not on the grid"):
        units(u, v, exponent)
    v[1, 3] *= np.float32(1 + 2**-20)
    with pytest.raises(ModelError, match="grid"):
        units(u, v, exponent)


def test_no_entry_is_lost_by_underflow() -> None:
    u = np.array([[2.0**100, 2.0**-80]], np.float32)
    with pytest.raises(ModelError, match="bits than a grid"):
        units(u, np.full((1, 2), 2.0**-90, np.float32), 40)


def test_a_row_of_nothing_is_on_every_grid() -> None:
    nothing, odd = np.zeros((1, 3), np.float32), np.full((1, 3), np.pi, np.float32)
    for u, v in ((nothing, odd), (odd, nothing), (nothing, nothing)):
        a, b = units(u, v, 4)
        assert not (a.any() or b.any())
    with pytest.raises(ModelError):
        units(odd, odd, 4)


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ledger:
    """A ledger whose third edit is not on the grid, and whose digests and bounds are all true."""

    def shifted(n: int, seed: int) -> dict[str, NDArray[np.float32]]:
        batch = factors(n, seed)
        for name in TENSORS:
            batch[f"u/{name}"][-1, 0] = np.ldexp(np.float32(1), -GRID)
            batch[f"v/{name}"][-1, 0] = np.float32(0.5)
        return batch

    ledger = Ledger.create(tmp_path / "off")
    run(ledger, RecordEvent(created()))
    monkeypatch.setattr("tests.support.samples.factors", shifted)
    run(ledger, ApplyEdits(real_edits(ledger, 1, 3)))
    return ledger


def test_an_edit_off_the_grid_is_found_and_carried_nowhere(off: Ledger, tmp_path: Path) -> None:
    found = verify(off, deep=True)
    assert {one.where for one in found} == {"e3"} and all("grid" in one.what for one in found)
    here = Ledger.create(tmp_path / "here")
    run(here, RecordEvent(created()))
    there = Side.of(off)
    bring_blobs(here, there, (1, 2))
    with pytest.raises(LedgerDamaged, match=r"e3: .*grid"):
        bring_blobs(here, there, (1, 2, 3))


def test_a_draft_off_the_grid_is_not_applied(off: Ledger) -> None:
    edits = tuple(record.body.unnumbered() for record in off.state().edits.values())
    body = SimpleNamespace(blob=put_edits(off.blobs, edits), edits=drafted(edits))
    draft = cast(DraftRecord, SimpleNamespace(seq=1, body=body))
    with pytest.raises(BlobDamaged, match="row 2: .*grid"):
        edits_of(off.blobs, draft, off.state().genesis.edited)
