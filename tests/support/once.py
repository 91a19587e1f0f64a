"""What takes long to make and is always the same: made once in a process, and copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Hashable
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

_KEPT = TemporaryDirectory(prefix="errata-tests-")
_MADE: dict[Hashable, Path] = {}


def copy_of(what: Hashable, folder: Path, make: Callable[[Path], object]) -> None:
    """Let `folder` hold what `make` puts into an empty folder; it is asked once for each `what`."""
    if what not in _MADE:
        kept = Path(mkdtemp(dir=_KEPT.name))
        make(kept)
        _MADE[what] = kept
    shutil.copytree(_MADE[what], folder, dirs_exist_ok=True)
