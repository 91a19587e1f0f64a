"""The keys of live edits, each batch's blob decoded once for as long as its edits are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from errata.ledger.base.errors import BlobDamaged
from errata.ledger.state.state import KeyRef, State
from errata.ledger.store.blobs import BlobStore
from errata.ledger.store.deltas import decode_batch


class PastKeys:
    """The keys of one ledger's edits: what stage 2 preserves.

    Args:
        blobs: the ledger's blobs; they check a blob's bytes against its name.
        widths: the edited tensors and the lengths of their keys.
    """

    def __init__(self, blobs: BlobStore, widths: Mapping[str, int]) -> None:
        self._blobs = blobs
        self._widths = widths
        self._places: tuple[KeyRef, ...] = ()
        self._keys = {name: torch.zeros(0, width) for name, width in widths.items()}

    def of(self, state: State, live: Iterable[int]) -> dict[str, Tensor]:
        """Keys by tensor, ``(m, d_in)`` float32, in the order of the edits' numbers. The caller must not change them.

        What was asked for the last time is at hand: only the blobs of edits that are new to it are read.

        Raises:
            Erased: an edit's keys were erased.
            BlobMissing: a batch is gone.
            BlobDamaged: a batch's bytes changed, or it lacks a tensor or a row.
        """
        live = tuple(live)
        state.refuse_erased(live)
        wanted = state.keys_of(live)
        if wanted == self._places:
            return dict(self._keys)
        at = {place: i for i, place in enumerate(self._places)}
        new = [place for place in wanted if place not in at]
        rows = self._read(new)
        order = torch.tensor(
            [at.get(place, -1) for place in wanted], dtype=torch.long
        )  # -1: the next of the new rows, which keep their order
        order[order < 0] = len(self._places) + torch.arange(len(new))
        self._keys = {name: torch.cat([self._keys[name], rows[name]])[order] for name in self._widths}
        self._places = wanted
        return dict(self._keys)

    def _read(self, places: list[KeyRef]) -> dict[str, Tensor]:
        rows: dict[str, list[Tensor]] = {name: [] for name in self._widths}
        last, keys = "", {}
        for place in places:
            if place.blob != last:
                last, keys = place.blob, self._batch(place.blob)
            for name, found in rows.items():
                if not 0 <= place.row < len(keys[name]):
                    raise BlobDamaged(place.blob, f"it has no row {place.row}")
                found.append(keys[name][place.row])
        return {
            name: torch.stack(found) if found else torch.zeros(0, self._widths[name]) for name, found in rows.items()
        }

    def _batch(self, blob: str) -> dict[str, Tensor]:
        batch = decode_batch(self._blobs.get(blob))
        keys = {}
        for name, width in self._widths.items():
            array = batch.get(f"k/{name}")
            if array is None or array.ndim != 2 or array.shape[1] != width:
                raise BlobDamaged(blob, f"it holds no k of length {width} for {name}")
            keys[name] = torch.from_numpy(array)
        return keys
