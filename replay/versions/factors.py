"""Read the deltas of edits from their batches, each checked against its event before it is used.

A batch is mapped into memory, never read whole: its digest is computed over the file as a stream, once for each
reader, and after that only the rows and tensors that are asked for are touched. So one tensor's factors of ten thousand
edits can be walked through in little memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from errata.ledger.base.errors import BlobDamaged, Damaged, LedgerDamaged, ModelError, NotFinite, UnknownEdit
from errata.ledger.events.bodies import EditApplied
from errata.ledger.events.parts import EditedTensor
from errata.ledger.state.state import State
from errata.ledger.store.blobs import BlobStore
from errata.ledger.store.deltas import check_shapes, pairs_of
from errata.ledger.store.row_checks import faults
from errata.ledger.store.tensor_file import Place, parse_layout

if TYPE_CHECKING:
    Array = NDArray[np.float32]

Pair = tuple[Tensor, Tensor]
"""``u`` ``(n, d_out)`` and ``v`` ``(n, d_in)``, float32 on the grid: a pair an edit, or several of one edit."""

Factors = Mapping[str, Pair]
"""Deltas by tensor."""

ROWS_AT_ONCE = 256
"""The most edits that are handed out in one piece, which bounds what is mapped at a time."""


class FactorReader:
    """Reads edits' factors. A batch's bytes, and each delta taken from it, are checked once.

    Args:
        blobs: the ledger's blobs.
        edited: the edited tensors.
    """

    def __init__(self, blobs: BlobStore, edited: Mapping[str, EditedTensor]) -> None:
        self._blobs = blobs
        self._edited = edited
        self._places: dict[str, Mapping[str, Place]] = {}
        self._checked: set[tuple[int, str, str]] = set()

    def read(self, state: State, numbers: Iterable[int]) -> Iterator[Factors]:
        """The factors of these edits over all edited tensors, batch by batch in the order of the log.

        Groups have at most `ROWS_AT_ONCE` edits, and none spans two batches. An edit whose delta has several pairs of
        factors in a tensor is a group by itself.

        Raises:
            UnknownEdit: a number that was never recorded.
            Erased: an edit whose factors were erased.
            BlobMissing: a batch is gone.
            BlobDamaged: a batch's bytes changed, or it lacks a tensor.
            NotFinite: a factor is NaN or infinite.
            LedgerDamaged: a delta is not the one that its edit's event names, or not on its tensor's grid.
        """
        for _, factors in self.read_numbered(state, numbers):
            yield factors

    def read_numbered(self, state: State, numbers: Iterable[int]) -> Iterator[tuple[tuple[int, ...], Factors]]:
        """What `read` gives, each group with the numbers of its edits, in the order of its rows. Raises likewise.

        What is computed of each pair is added up by edit with `by_edit`.
        """
        for members, batch, edits in self._groups(state, numbers):
            yield members, {name: _pair(batch, name, edits) for name in self._edited}

    def read_tensor(self, state: State, numbers: Iterable[int], name: str) -> Iterator[Pair]:
        """The factors of these edits for one edited tensor, grouped as by `read`; the others' are not touched again.

        Raises what `read` raises; an edit's delta is checked over all its tensors the first time that it is met.
        """
        for _, batch, edits in self._groups(state, numbers):
            yield _pair(batch, name, edits)

    def _groups(
        self, state: State, numbers: Iterable[int]
    ) -> Iterator[tuple[tuple[int, ...], Mapping[str, Array], Sequence[EditApplied]]]:
        """Edits that are read together: their numbers, their batch, and what was recorded of them."""
        batches: dict[str, list[int]] = defaultdict(list)
        numbers = sorted(numbers)
        state.refuse_erased(numbers)
        for number in numbers:
            if number not in state.edits:
                raise UnknownEdit(f"e{number}")
            batches[state.edits[number].body.blob].append(number)
        for blob, members in batches.items():
            for first in range(0, len(members), ROWS_AT_ONCE):
                batch = self._map(blob)  # again for each group, so that pages of those before can go
                group = tuple(members[first : first + ROWS_AT_ONCE])
                edits = [state.edits[number].body for number in group]
                new = [body for body in edits if (body.number, blob, body.delta_digest) not in self._checked]
                _check(batch, new, self._edited)
                self._checked.update((body.number, blob, body.delta_digest) for body in new)
                if any(body.ranks for body in edits):
                    yield from (((body.number,), batch, [body]) for body in edits)
                else:
                    yield group, batch, edits

    def _map(self, blob: str) -> Mapping[str, Array]:
        """A batch's `u/` and `v/` arrays, mapped into memory."""
        if blob not in self._places:
            self._blobs.check(blob)
        view = self._blobs.view(blob)
        if blob not in self._places:
            self._places[blob] = self._examined(blob, view)
        return {
            name: np.frombuffer(view[place.start : place.stop], dtype="<f4").reshape(place.shape)
            for name, place in self._places[blob].items()
        }

    def _examined(self, blob: str, view: memoryview) -> Mapping[str, Place]:
        """Where a batch's `u/` and `v/` lie, once its header was found to be that of a batch of this ledger."""
        try:
            tensors = parse_layout(view, len(view), f"blob {blob}").tensors
            check_shapes({name: place.shape for name, place in tensors.items()})
        except (Damaged, ModelError) as error:
            raise BlobDamaged(blob, error.message) from error
        for name, spec in self._edited.items():
            for part, length in zip("uv", spec.shape, strict=True):
                found = tensors.get(f"{part}/{name}")
                if found is None or found.shape[1] != length:
                    raise BlobDamaged(blob, f"it holds no {part} of length {length} for {name}")
        if wrong := [name for name, place in tensors.items() if place.dtype != "F32"]:
            raise BlobDamaged(blob, f"{wrong[0]} is {tensors[wrong[0]].dtype}, and factors are float32")
        return {name: place for name, place in tensors.items() if name.startswith(("u/", "v/"))}


def _check(batch: Mapping[str, Array], edits: Sequence[EditApplied], edited: Mapping[str, EditedTensor]) -> None:
    """See that edits' rows of a batch are the deltas that their events name, on the grid, and finite."""
    if not edits:
        return
    for name, array in batch.items():
        pairs = [pairs_of(body.row, body.ranks, name.split("/", 1)[1]) for body in edits]
        if np.isfinite(array[min(rows.start for rows in pairs) : max(rows.stop for rows in pairs)]).all():
            continue
        for body, rows in zip(edits, pairs, strict=True):
            if not np.isfinite(array[rows.start : rows.stop]).all():
                raise NotFinite(f"{name} of e{body.number}")
    for body, what in faults(batch, edits, edited):
        raise LedgerDamaged(f"e{body.number}", f"{what} ({body.blob})")


def by_edit(of_pairs: Tensor, edits: int) -> Tensor:
    """What was computed of each pair of a group, ``(n, ...)``, as what it is of each edit, ``(edits, ...)``."""
    return of_pairs if len(of_pairs) == edits else of_pairs.sum(dim=0, keepdim=True)


def _pair(batch: Mapping[str, Array], name: str, edits: Sequence[EditApplied]) -> Pair:
    u, v = batch[f"u/{name}"], batch[f"v/{name}"]
    rows = [row for body in edits for row in pairs_of(body.row, body.ranks, name)]
    if rows == list(range(rows[0], rows[0] + len(rows))):  # as they mostly are: no copy
        chosen = slice(rows[0], rows[0] + len(rows))
        return torch.from_numpy(u[chosen]), torch.from_numpy(v[chosen])
    return torch.from_numpy(u[rows]), torch.from_numpy(v[rows])
