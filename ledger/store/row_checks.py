"""What must hold of an edit's factors wherever they come from, before anything is built with them or recorded.

A delta is a sum of products on its tensor's grid (DESIGN, section 2): each entry of ``u vᵀ`` is a whole multiple of
``2^-G``. Off the grid, sums would depend on their order, and two ledgers with one version digest would give two models.
Here that is seen in integers: `units` writes a delta as ``2^-G`` times the outer product of two integer vectors.

Legend: ``n`` edits, ``d_out`` rows and ``d_in`` columns of an edited matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from errata.ledger.base.errors import ModelError
from errata.ledger.events.bodies import NewEdit
from errata.ledger.events.parts import EditedTensor
from errata.ledger.store.deltas import pairs_of, row_bounds, row_delta_digest, row_keys_digest, tensor_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Integers = NDArray[np.int64]

Recorded = TypeVar("Recorded", bound=NewEdit)

_SPREAD = 30
"""Bits that are looked at from a row's largest entry down. A factor has 24 at most (DESIGN, section 2)."""

_FINEST = 127
"""Finer steps than ``2^-127`` are on no grid."""

_MOST = 2.0**53
"""A delta whose integers are not below this is beyond its grid's capacity."""


class _Rows(NamedTuple):
    """Rows of a factor in integers: each row is ``whole · 2^-step``, and ``whole`` ends in so many ``zeros``, in bits.

    Attributes:
        whole: ``(n, d)`` int32.
        zeros, step: ``(n,)``; what they are of a row of zeros does not matter.
        largest: ``(n,)`` float64, the largest of a row's absolute entries.
    """

    whole: NDArray[np.int32]
    zeros: Integers
    step: Integers
    largest: NDArray[np.float64]


def _in_integers(factor: Array) -> _Rows:
    import numpy as np

    largest = np.maximum(factor.max(axis=1), -factor.min(axis=1)).astype(np.float64)
    _, above = np.frexp(largest)
    step = np.minimum(_SPREAD - above.astype(np.int64), _FINEST)
    scaled = factor * np.ldexp(np.float32(1.0), step)[:, None]
    whole = scaled.astype(np.int32)
    if (whole != scaled).any() or np.count_nonzero(whole) != np.count_nonzero(factor):  # none is lost by underflow
        raise ModelError("its factors have entries of more bits than a grid's")
    every = np.bitwise_or.reduce(whole, axis=1).astype(np.int64)
    _, lowest = np.frexp((every & -every).astype(np.float64))
    return _Rows(whole, np.maximum(lowest.astype(np.int64) - 1, 0), step, largest)


def _room(u: _Rows, v: _Rows, exponent: int) -> Integers:
    """How many powers of two finer the grid is than each row's products need; 0 for a delta of zeros.

    Raises:
        ModelError: a row is off the grid, or beyond its capacity.
    """
    import numpy as np

    room = np.where(u.largest * v.largest == 0, 0, exponent - (u.step - u.zeros) - (v.step - v.zeros))
    if (room < 0).any():
        raise ModelError(f"its factors are not on the grid 2^-{exponent}")
    if (u.largest * v.largest >= np.ldexp(_MOST, -exponent)).any():
        raise ModelError(f"its factors are too large for the grid 2^-{exponent}")
    return room


def units(u: Array, v: Array, exponent: int) -> tuple[Integers, Integers]:
    """Deltas in integers, ``u vᵀ = 2^-G · a bᵀ``.

    Args:
        u: ``(n, d_out)`` float32, finite.
        v: ``(n, d_in)``, likewise.
        exponent: the tensor's grid exponent ``G``.

    Returns:
        ``a`` and ``b`` of the same shapes, int64, below ``2^53``.

    Raises:
        ModelError: a row is off the grid, or beyond its capacity.
    """
    import numpy as np

    left, right = _in_integers(u), _in_integers(v)
    room = _room(left, right, exponent)
    nothing = left.largest * right.largest == 0
    a = np.right_shift(left.whole, left.zeros[:, None])
    b = np.left_shift(np.right_shift(right.whole, right.zeros[:, None]), room[:, None])
    a[nothing], b[nothing] = 0, 0
    return a, b


def faults(
    batch: Mapping[str, Array], edits: Sequence[Recorded], edited: Mapping[str, EditedTensor] | None
) -> Iterator[tuple[Recorded, str]]:
    """What does not hold of edits that say that they are rows of a batch.

    Args:
        batch: `u/`, `v/` and maybe `k/` of each edited tensor, float32, in shape (`deltas.check_shapes`) and finite.
        edits: what was recorded of them.
        edited: the tensors that the ledger edits; None where its first event cannot be read.

    Yields:
        The edit, and in words what is wrong with it.
    """
    names = tensor_names(batch)
    shapes = {name: (batch[f"u/{name}"].shape[1], batch[f"v/{name}"].shape[1]) for name in names}
    if edited is not None and shapes != {name: spec.shape for name, spec in edited.items()}:
        yield from ((edit, "its factors do not have the shapes of the edited tensors") for edit in edits)
        return
    rows = {name: len(batch[f"u/{name}"]) for name in names}
    there = []
    for edit in edits:
        if any(pairs_of(edit.row, edit.ranks, name).stop > rows[name] for name in names):
            yield edit, f"row {edit.row} is not in its blob"
        elif edit.ranks and rows != edit.ranks:
            yield edit, "its ranks are not those of its factors"
        else:
            there.append(edit)
    chosen, ranks = [edit.row for edit in there], [edit.ranks for edit in there]
    for edit, bounds in zip(there, row_bounds(batch, chosen, ranks) if there else (), strict=True):
        if row_delta_digest(batch, edit.row, edit.ranks) != edit.delta_digest:
            yield edit, "its delta is not the one that was recorded"
        if f"k/{names[0]}" in batch and row_keys_digest(batch, edit.row) != edit.keys_digest:
            yield edit, "its keys are not those that were recorded"
        if bounds != edit.bounds:
            yield edit, "its bounds are not those of its factors"
    for name, spec in edited.items() if there and edited is not None else ():
        pairs = [(edit, row) for edit in there for row in pairs_of(edit.row, edit.ranks, name)]
        chosen = [row for _, row in pairs]
        off = _off_grid(batch[f"u/{name}"][chosen], batch[f"v/{name}"][chosen], spec.grid_exponent)
        yield from ((pairs[i][0], f"{name}: {what}") for i, what in off)


def _off_grid(u: Array, v: Array, exponent: int) -> Iterator[tuple[int, str]]:
    """The rows that are off the grid or beyond it, and how; all are looked at together as long as there are none."""
    try:
        _room(_in_integers(u), _in_integers(v), exponent)
    except ModelError as error:
        if len(u) == 1:
            yield 0, error.message
            return
        for row in range(len(u)):
            yield from ((row, what) for _, what in _off_grid(u[row : row + 1], v[row : row + 1], exponent))
