"""A batch's factors as a blob: safetensors with `u/<tensor>`, `v/<tensor>` and `k/<tensor>` for each edited tensor.

Shapes: u (n, d_out), v (n, d_in), k (n, d_in), float32, row i being edit i of the batch. The delta of row i is the
outer product of its u and v; k is the key it was solved for. A batch of one edit may have more rows of u and v for a
tensor: the edit's delta there is the sum of their outer products. No metadata, so the same arrays give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from errata.ledger.base.digests import delta_digest, keys_digest
from errata.ledger.base.errors import BlobDamaged, ModelError, NotFinite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

PARTS = ("u", "v", "k")


def tensor_names(batch: Mapping[str, Array]) -> list[str]:
    """The edited tensors of a batch, sorted."""
    return sorted({name.split("/", 1)[1] for name in batch})


def encode_batch(batch: Mapping[str, Array]) -> bytes:
    """The bytes of a batch's factors.

    Args:
        batch: `u/<tensor>` (n, d_out), `v/<tensor>` (n, d_in), `k/<tensor>` (n, d_in) -> float32 arrays.

    Raises:
        NotFinite: a factor holds NaN or infinity.
        ModelError: a part is missing, or the shapes or dtypes do not fit together.
    """
    import numpy as np
    from safetensors.numpy import save

    check_batch(batch)
    return bytes(save({name: np.ascontiguousarray(batch[name], dtype="<f4") for name in sorted(batch)}))


def decode_batch(data: bytes) -> dict[str, Array]:
    """The arrays that `encode_batch` wrote.

    Raises:
        BlobDamaged: not such a file.
        NotFinite: a factor holds NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        batch: dict[str, Array] = load(data)
        check_batch(batch)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BlobDamaged("of a batch", f"not a safetensors file ({error})") from error
    except NotFinite:
        raise
    except ModelError as error:
        raise BlobDamaged("of a batch", error.message) from error
    return batch


def check_batch(batch: Mapping[str, Array]) -> None:
    """See that a batch has all its parts in shape and that all numbers are finite.

    Raises:
        NotFinite: a factor holds NaN or infinity.
        ModelError: a part is missing, or the shapes or dtypes do not fit together.
    """
    import numpy as np

    check_shapes({name: array.shape for name, array in batch.items()})
    for name, array in batch.items():
        if array.dtype != np.float32:
            raise ModelError(f"{name} is {array.dtype}, and factors are float32")
        if not np.isfinite(array).all():
            raise NotFinite(name)


def check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """See that a batch has all its parts in shape; returns how many edits it holds.

    Raises:
        ModelError: a part is missing, or the shapes do not fit together.
    """
    if not shapes or any(name.split("/", 1)[0] not in PARTS or "/" not in name for name in shapes):
        raise ModelError("a batch has arrays named u/, v/ and k/ and the edited tensor's name")
    rows = {name: shape[0] if len(shape) == 2 and shape[1] else -1 for name, shape in shapes.items()}
    edits = {count for name, count in rows.items() if name.startswith("k/")}
    if len(edits) > 1 or min(rows.values()) < 1:
        raise ModelError("a batch's arrays have one row for each of its edits")
    for tensor in sorted({name.split("/", 1)[1] for name in shapes}):
        if missing := [part for part in PARTS if f"{part}/{tensor}" not in shapes]:
            raise ModelError(f"a batch lacks {missing[0]}/{tensor}")
        if shapes[f"v/{tensor}"][1] != shapes[f"k/{tensor}"][1]:
            raise ModelError(f"v/{tensor} and k/{tensor} differ in shape")
        if rows[f"u/{tensor}"] != rows[f"v/{tensor}"]:
            raise ModelError(f"u/{tensor} and v/{tensor} are not pairs")
        if rows[f"u/{tensor}"] != rows[f"k/{tensor}"] and edits != {1}:
            raise ModelError("a batch's arrays have one row for each of its edits")
    return edits.pop()


NO_RANKS: Mapping[str, int] = MappingProxyType({})
"""The ranks of a delta that has one pair of factors in each tensor."""


def pairs_of(row: int, ranks: Mapping[str, int], tensor: str) -> range:
    """The rows of its batch's `u` and `v` that are an edit's for one tensor."""
    return range(row, row + ranks.get(tensor, 1))


def row_delta_digest(batch: Mapping[str, Array], row: int, ranks: Mapping[str, int] = NO_RANKS) -> str:
    """The delta digest of one edit of a batch (`ledger.base.digests.delta_digest`)."""
    return delta_digest(
        {
            tensor: (
                *_rows(batch, f"u/{tensor}", pairs_of(row, ranks, tensor)),
                *_rows(batch, f"v/{tensor}", pairs_of(row, ranks, tensor)),
            )
            for tensor in tensor_names(batch)
        }
    )


def row_keys_digest(batch: Mapping[str, Array], row: int) -> str:
    """The digest of one edit's keys (`ledger.base.digests.keys_digest`)."""
    return keys_digest({tensor: _rows(batch, f"k/{tensor}", range(row, row + 1)) for tensor in tensor_names(batch)})


def row_bounds(
    batch: Mapping[str, Array], rows: Sequence[int], ranks: Sequence[Mapping[str, int]] | None = None
) -> list[dict[str, float]]:
    """For each of these edits tensor -> Σ max|u| * max|v| over its pairs: its share of the tensor's exact grid.

    Each product is exact in float64, and the sum of them is rounded once.

    Args:
        batch: the batch.
        rows: the edits' rows.
        ranks: likewise, their ranks; None where all of them have one pair in each tensor.
    """
    import numpy as np

    found: list[dict[str, float]] = [{} for _ in rows]
    for tensor in tensor_names(batch):
        pairs = [pairs_of(row, own, tensor) for row, own in zip(rows, ranks or [NO_RANKS] * len(rows), strict=True)]
        chosen = [row for own in pairs for row in own]
        u, v = (np.abs(batch[f"{part}/{tensor}"][chosen]).max(axis=1).astype(np.float64) for part in "uv")
        products = iter((u * v).tolist())
        for bounds, own in zip(found, pairs, strict=True):
            bounds[tensor] = math.fsum(islice(products, len(own)))
    return found


def _rows(batch: Mapping[str, Array], name: str, rows: range) -> tuple[memoryview, int]:
    vectors = batch[name][rows.start : rows.stop].astype("<f4", order="C", copy=False)
    return vectors.data, int(vectors.shape[1])
