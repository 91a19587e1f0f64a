"""Imports that run when their module is first used: so that no command loads torch before it needs it.

    with when_used():
        from errata.replay.measure import blame

`blame` stands for the module from there on, and is loaded at the first `blame.something`. Import modules so, not names
from them: a name has to be looked up at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


class _Later:
    """Finds modules of ours, to be loaded when they are used; packages, which hold next to nothing, at once."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith("errata."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None and spec.submodule_search_locations is None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def when_used() -> Iterator[None]:
    """A block in which `from package import module` only names the module; it is loaded when it is first used."""
    finder = _Later()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
