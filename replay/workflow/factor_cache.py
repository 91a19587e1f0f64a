"""Matrix factors kept on disk so that a later process need not compute them again (`editor.solve.solver`).

Like a keyframe, a factor is disposable and never truth: its file carries a digest over its name and its tensors, and
one that cannot be read or does not match is dropped as if it had never been there. Whether an undamaged factor belongs
to the matrix at hand is for the solver to say, which measures every result. Deleting the folder costs time and nothing
else.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from errata.editor.model.loading import digest_tensor
from errata.ledger.base.canonical import value_digest
from errata.ledger.base.own import remove

_SUFFIX = ".factor"


class FactorCache:
    """The factors of one ledger.

    Args:
        folder: where they are kept; it is made when the first one is saved.
        keep: how many files at most; the oldest goes first. Other settings have other factors, and they are large.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def load(self, name: str) -> dict[str, Tensor] | None:
        """The tensors saved under a name; None if there are none, or if they cannot be read or are damaged."""
        path = self._path(name)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as handle:
                metadata = handle.metadata() or {}
                tensors = {key: handle.get_tensor(key) for key in sorted(handle.keys())}
        except OSError:
            return None  # not to be read now; that says nothing about its bytes
        except SafetensorError:
            metadata, tensors = {}, {}
        if tensors and metadata.get("digest") == _digest(name, tensors):
            return tensors
        self.drop(name)
        return None

    def save(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a name. A disk that is full or read-only is not an error: a factor is a convenience."""
        ready = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        metadata = {"name": name, "digest": _digest(name, ready)}
        with contextlib.suppress(OSError, SafetensorError):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, written = tempfile.mkstemp(dir=self._folder, prefix=".writing-")
            os.close(handle)
            try:
                save_file(ready, written, metadata=metadata)
                Path(written).replace(self._path(name))
            finally:
                Path(written).unlink(missing_ok=True)
            self._prune()

    def drop(self, name: str) -> None:
        """Forget a name."""
        with contextlib.suppress(OSError):
            remove(self._folder.parent, self._path(name))

    def _prune(self) -> None:
        files = sorted(self._folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in files[self._keep :]:
            remove(self._folder.parent, path)

    def _path(self, name: str) -> Path:
        return self._folder / (name.rpartition(":")[2][:32] + _SUFFIX)


def _digest(name: str, tensors: Mapping[str, Tensor]) -> str:
    return value_digest("factor", {"name": name, **{key: digest_tensor(key, value) for key, value in tensors.items()}})
