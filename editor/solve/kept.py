"""What stage 2 keeps on disk between processes: where, from which size on, and how it is recognised.

Everything kept can be made again and is never truth. A store checks a digest over what it gives back
(`replay.workflow.factor_cache`); whether that belongs to the matrix at hand is checked here, or by the solver's
residual.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from errata.ledger.base.canonical import value_digest

FACTOR_STORED_FROM = 4096
"""Columns from which a factor is kept on disk. Below, to factorise (``d³/3``) is about as fast as to read ``8·d²``
bytes and check their digest; at 4096 it is several times slower, and the gap grows with ``d``."""

EIGEN_STORED_FROM = 1024
"""The same for eigenvectors, which cost some sixty times as much as a Cholesky factor."""


class Store(Protocol):
    """A place on disk for what can be made again (`replay.workflow.factor_cache`). A failed write is not an error."""

    def load(self, name: str) -> Mapping[str, Tensor] | None:
        """What was saved under a name, its digest checked, or None."""

    def save(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a name."""

    def drop(self, name: str) -> None:
        """Forget a name."""


def is_stored(store: Store | None, identity: str, width: int, threshold: int) -> bool:
    """Whether something of a second moment is kept: there is a place, a name to find it by, and it is worth it."""
    return store is not None and bool(identity) and width >= threshold


def eigenpairs(moment: Tensor, identity: str, store: Store | None) -> tuple[Tensor, Tensor, bool]:
    """Eigenvalues and eigenvectors of C, from the store if they are right.

    Args:
        moment: ``(d, d)`` float64, C.
        identity: its digest, or an empty text.
        store: where they may lie, and are kept when they are computed.

    Returns:
        ``(d,)`` eigenvalues, ascending; ``(d, d)`` eigenvectors, one a column; whether they were read.
    """
    name = value_digest("eigenvectors", {"second_moment": identity})
    kept = is_stored(store, identity, moment.shape[0], EIGEN_STORED_FROM)
    if kept and store is not None and (loaded := store.load(name)) is not None:
        values, vectors = loaded.get("values"), loaded.get("vectors")
        if values is not None and vectors is not None and _decomposes(moment, values, vectors):
            return values.to(moment), vectors.to(moment), True
        store.drop(name)
    values, vectors = torch.linalg.eigh(moment)
    if kept and store is not None:
        store.save(name, {"values": values, "vectors": vectors.contiguous()})
    return values, vectors, False


def _decomposes(moment: Tensor, values: Tensor, vectors: Tensor) -> bool:
    """Whether these are C's eigenpairs, by their effect on two fixed vectors: ``O(d²)``."""
    width = moment.shape[0]
    if values.shape != (width,) or vectors.shape != (width, width):
        return False
    probe = torch.ones(2, width, dtype=torch.float64)
    probe[1, ::2] = -1.0
    probe = probe.to(moment)
    values, vectors = values.to(moment), vectors.to(moment)
    inside = probe @ vectors
    scale = float(torch.linalg.norm(probe)) * float(values.abs().max().clamp_min(1e-300))
    whole = float(torch.linalg.norm(inside @ vectors.T - probe)) <= 1e-9 * float(torch.linalg.norm(probe))
    return whole and float(torch.linalg.norm((inside * values) @ vectors.T - probe @ moment)) <= 1e-9 * scale
