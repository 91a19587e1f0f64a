"""Keyframes: exact sums kept on disk so that a far version need not be summed from its first edit.

A keyframe is disposable and never truth. Its file names the edits that it is the sum of, the version they make up, and
a digest over everything in it. One that cannot be read, does not match its digest, belongs to a version that these
edits no longer make up, or has other tensors than expected is dropped as if it had never been there. Deleting the
folder costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from editor.models import digest_tensor
from ledger.canonical import value_digest

_SUFFIX = ".keyframe"


@dataclass(frozen=True)
class Keyframe:
    """An exact sum on disk: the edits that it is the sum of, the version they made up, and the file that holds it."""

    live: frozenset[int]
    version: str
    path: Path


class Keyframes:
    """The keyframes of one ledger.

    Args:
        folder: where they are kept; it is made when the first one is saved.
        version_of: gives a live set's version digest, which is over the base and every delta. A keyframe counts only
            if its edits still make up the version that it was saved for: a number says nothing about a delta once a
            log was restored from a copy and went another way.
    """

    def __init__(self, folder: Path, version_of: Callable[[frozenset[int]], str | None]) -> None:
        self._folder = folder
        self._version_of = version_of

    def nearest(self, live: frozenset[int]) -> Keyframe | None:
        """The keyframe with the fewest edits between it and a live set, or None when there is none."""
        known = [keyframe for path in sorted(self._folder.glob(f"*{_SUFFIX}")) if (keyframe := self._open(path))]
        return min(known, key=lambda keyframe: len(keyframe.live ^ live), default=None)

    def load(self, keyframe: Keyframe, shapes: Mapping[str, tuple[int, int]]) -> dict[str, Tensor] | None:
        """The sums of a keyframe, ``(d_out, d_in)`` float64 each, or None (and the file is gone) when it is damaged.

        Args:
            keyframe: one that `nearest` gave.
            shapes: the edited tensors and their shapes, as the ledger states them.
        """
        try:
            with safe_open(keyframe.path, framework="pt") as handle:
                metadata = handle.metadata() or {}
                sums = {name: handle.get_tensor(name) for name in sorted(handle.keys())}
        except (SafetensorError, OSError):
            metadata, sums = {}, {}
        as_expected = {name: tuple(total.shape) for name, total in sums.items()} == dict(shapes)
        if as_expected and metadata.get("digest") == _digest(keyframe.version, keyframe.live, sums):
            return sums
        self._drop(keyframe.path)
        return None

    def save(self, live: Iterable[int], sums: Mapping[str, Tensor]) -> None:
        """Keep the sums of a live set. A disk that is full or read-only is no error: a keyframe is a convenience."""
        edits = frozenset(live)
        version = self._version_of(edits)
        if version is None:
            return
        digest = _digest(version, edits, sums)
        metadata = {"version": version, "live": json.dumps(sorted(edits)), "digest": digest}
        target = self._folder / (digest.rpartition(":")[2][:32] + _SUFFIX)
        with contextlib.suppress(OSError, SafetensorError):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".writing-")
            os.close(handle)
            try:
                save_file(dict(sums), name, metadata=metadata)
                Path(name).replace(target)
            finally:
                Path(name).unlink(missing_ok=True)

    def _open(self, path: Path) -> Keyframe | None:
        try:
            with safe_open(path, framework="pt") as handle:
                metadata = handle.metadata() or {}
            live = frozenset(int(number) for number in json.loads(metadata["live"]))
            version = str(metadata["version"])
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):
            live, version = frozenset(), ""
        if version and version == self._version_of(live):
            return Keyframe(live, version, path)
        self._drop(path)
        return None

    def _drop(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()


def _digest(version: str, live: frozenset[int], sums: Mapping[str, Tensor]) -> str:
    tensors = {name: digest_tensor(name, total) for name, total in sums.items()}
    return value_digest("keyframe", {"version": version, "live": sorted(live), "sums": tensors})
