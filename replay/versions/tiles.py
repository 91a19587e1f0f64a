"""One edited tensor of a version at a time, in little memory: rows of the exact sum are made, cast and forgotten.

Sums on the grid are exact in any order and any blocking (`editor.solve.grid`), so a tensor may be built block of rows
by block of rows, each over edits taken some at a time, from nothing or from a keyframe: the bits are those of
`materialise`. What is held at once is a block of rows in float64, the factors of some edits in float64, and the result
in the base's dtype. Together that stays below twice the tensor in float64, however many edits and tensors there are.

Legend: a tensor is handled as it is stored, ``(rows, columns)``: ``(d_out, d_in)``, or ``(d_in, d_out)`` if transposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.editor.solve.grid import EDITS_AT_ONCE, row_tiles, version_rows
from errata.replay.versions.factors import Pair
from errata.replay.versions.keyframes import Fill

TILE_BYTES = 2**27
"""A block of rows is at most this large, and at most half the tensor."""

_SMALLEST_TILE = 2**20


@dataclass(frozen=True)
class Moves:
    """What leads from a known exact sum of one tensor to the wanted one.

    Attributes:
        start: fills a block with rows of the known sum, or says that they cannot be used; None is the sum of no edits.
        added, removed: give the factors of the edits to add to it and to remove, again each time that they are called.
        every: likewise those that lead from the sum of no edits to the wanted one.
    """

    start: Fill | None
    added: Callable[[], Iterable[Pair]]
    removed: Callable[[], Iterable[Pair]]
    every: Callable[[], Iterable[Pair]]


def sum_tiles(shape: tuple[int, int], transposed: bool, moves: Moves) -> Iterator[tuple[slice, Tensor]]:
    """The exact sum of a tensor, block of rows by block of rows.

    Args:
        shape: ``(rows, columns)`` as stored.
        transposed: whether that is ``(d_in, d_out)``.
        moves: where to start and what to add and remove.

    Yields:
        The rows, and the sum's entries there, float64; the next block may overwrite them.
    """
    tile_bytes = min(TILE_BYTES, max(_SMALLEST_TILE, 8 * shape[0] * shape[1] // 2))
    most = len(range(*next(iter(row_tiles(*shape, tile_bytes))).indices(shape[0])))
    product = _Product(most, shape[1], transposed)
    block = torch.empty(most, shape[1], dtype=torch.float64)
    for rows in row_tiles(*shape, tile_bytes):
        tile = block[: rows.stop - rows.start]
        if moves.start is not None and moves.start(rows, tile):
            product.accumulate(tile, rows, moves.removed(), -1.0)
            product.accumulate(tile, rows, moves.added(), 1.0)
        else:
            tile.zero_()
            product.accumulate(tile, rows, moves.every(), 1.0)
        yield rows, tile


def build_tensor(
    base: Tensor, transposed: bool, moves: Moves, on_tile: Callable[[Tensor], None] = lambda tile: None
) -> Tensor:
    """One edited tensor of a version.

    Args:
        base: the base tensor as stored.
        transposed: whether it is stored ``(d_in, d_out)``.
        moves: where to start and what to add and remove.
        on_tile: given each block of the exact sum, float64, in the order of rows.

    Returns:
        A new tensor of the base's shape, dtype and orientation.
    """
    weights = torch.empty(base.shape, dtype=base.dtype)
    for rows, tile in sum_tiles((base.shape[0], base.shape[1]), transposed, moves):
        on_tile(tile)
        for part in row_tiles(*tile.shape):
            weights[rows][part] = version_rows(base[rows][part], tile[part])
    return weights


class _Product:
    """Adds ``Σ left rightᵀ`` to blocks of rows, gathering enough edits for matrix products to run at full rate.

    Args:
        rows: the most rows of a block.
        columns: how long each is.
        transposed: whether rows are those of ``v`` and not of ``u``.
    """

    def __init__(self, rows: int, columns: int, transposed: bool) -> None:
        edits = min(EDITS_AT_ONCE, max(1, rows * columns // (rows + columns)))  # in no more memory than a block
        self._left = torch.empty(edits, rows, dtype=torch.float64)
        self._right = torch.empty(edits, columns, dtype=torch.float64)
        self._transposed = transposed

    def accumulate(self, tile: Tensor, rows: slice, pairs: Iterable[Pair], sign: float) -> None:
        """Add (``sign`` 1) or remove (-1) edits in place; ``tile`` holds the sum's ``rows``."""
        filled = 0
        for u, v in pairs:
            left, right = (v, u) if self._transposed else (u, v)
            taken = 0
            while taken < len(left):
                some = min(len(left) - taken, len(self._left) - filled)
                self._left[filled : filled + some, : len(tile)] = left[taken : taken + some, rows]
                self._right[filled : filled + some] = right[taken : taken + some]
                filled, taken = filled + some, taken + some
                if filled == len(self._left):
                    self._multiply(tile, filled, sign)
                    filled = 0
        if filled:
            self._multiply(tile, filled, sign)

    def _multiply(self, tile: Tensor, filled: int, sign: float) -> None:
        tile.addmm_(self._left[:filled, : len(tile)].transpose(0, 1), self._right[:filled], alpha=sign)
