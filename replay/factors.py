"""Read the deltas of edits from their batches, each checked against its event before it is used."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ledger.blobs import BlobStore
from ledger.deltas import decode_batch, row_delta_digest
from ledger.errors import BlobDamaged, LedgerDamaged, UnknownEdit
from ledger.state import State

Factors = Mapping[str, tuple[Tensor, Tensor]]
"""Deltas by tensor: ``u`` ``(n, d_out)`` and ``v`` ``(n, d_in)``, float32 on the grid."""

BLOBS_IN_MEMORY = 4
"""How many decoded batches are kept."""


class FactorReader:
    """Reads edits' factors, each batch once as long as it stays among the last few used.

    Args:
        blobs: the ledger's blobs; they check a blob's bytes against its name.
        shapes: the edited tensors and their shapes ``(d_out, d_in)``.
    """

    def __init__(self, blobs: BlobStore, shapes: Mapping[str, tuple[int, int]]) -> None:
        self._blobs = blobs
        self._shapes = shapes
        self._decoded: OrderedDict[str, Mapping[str, NDArray[np.float32]]] = OrderedDict()

    def read(self, state: State, numbers: Iterable[int]) -> Iterator[Factors]:
        """The factors of these edits, one group a batch, in the order of the log.

        Raises:
            UnknownEdit: a number that was never recorded.
            BlobMissing: a batch is gone.
            BlobDamaged: a batch's bytes changed, or it lacks a tensor.
            LedgerDamaged: a delta is not the one that its edit's event names.
        """
        batches: dict[str, list[int]] = defaultdict(list)
        for number in sorted(numbers):
            if number not in state.edits:
                raise UnknownEdit(f"e{number}")
            batches[state.edits[number].body.blob].append(number)
        for blob, members in batches.items():
            batch = self._batch(blob)
            for number in members:
                body = state.edits[number].body
                if not 0 <= body.row < len(next(iter(batch.values()))):
                    raise LedgerDamaged(f"e{number}", f"its batch {blob} has no row {body.row}")
                if row_delta_digest(batch, body.row) != body.delta_digest:
                    raise LedgerDamaged(f"e{number}", f"the delta in {blob} is not the one that was recorded")
            rows = [state.edits[number].body.row for number in members]
            yield {
                name: (torch.from_numpy(batch[f"u/{name}"][rows]), torch.from_numpy(batch[f"v/{name}"][rows]))
                for name in self._shapes
            }

    def _batch(self, blob: str) -> Mapping[str, NDArray[np.float32]]:
        if blob in self._decoded:
            self._decoded.move_to_end(blob)
            return self._decoded[blob]
        batch = decode_batch(self._blobs.get(blob))
        for name, (d_out, d_in) in self._shapes.items():
            for part, length in (("u", d_out), ("v", d_in)):
                array = batch.get(f"{part}/{name}")
                if array is None or array.ndim != 2 or array.shape[1] != length:
                    raise BlobDamaged(blob, f"it holds no {part} of length {length} for {name}")
        self._decoded[blob] = batch
        while len(self._decoded) > BLOBS_IN_MEMORY:
            self._decoded.popitem(last=False)
        return batch
