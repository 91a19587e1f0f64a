"""Closed forms by name: a method is a file with one function under `@method`.

A function in `editor/methods/NAME.py` is found by its name. One in any other file is known once that file is loaded,
which `load_methods` does for `errata compare --add FILE`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from torch import Tensor

from errata.editor.config import METHODS, EditConfig, Stage2, add_method
from errata.editor.solve.projector import NullSpace
from errata.editor.solve.solve import Preserved, Solution, Weights
from errata.editor.solve.solver import Solver
from errata.ledger.base.canonical import file_digest
from errata.ledger.base.errors import UsageError


@dataclass(frozen=True)
class LayerBatch:
    """What one layer of a batch is solved from.

    Attributes:
        config: settings.
        solver: the edited tensor's own; it may know past keys already.
        keys: ``(n, d_in)`` float32, as they will be recorded.
        residuals: ``(n, d_out)``, what each edit still has to add at its key.
        past_keys: ``(m, d_in)`` float32, keys of the live edits that are preserved.
    """

    config: EditConfig
    solver: Solver
    keys: Tensor
    residuals: Tensor
    past_keys: Tensor

    @property
    def weights(self) -> Weights:
        """λp and λn."""
        return Weights(self.config.stats_weight, self.config.norm_weight)

    def preserved(self) -> Preserved:
        """``K1 B⁻¹`` with ``B = λp·C + KpᵀKp + λn·I``."""
        return self.solver.preserve(self.keys, self.past_keys, self.weights)

    def in_null_space(self) -> Preserved:
        """``K1P B⁻¹`` with ``B = P KpᵀKp P + λn·I``, P projecting onto the null space of C."""
        space = NullSpace(self.config.null_space_share, self.config.null_space_threshold)
        return self.solver.preserve(self.keys, self.past_keys, Weights(0.0, self.config.norm_weight), space)


Solve = Callable[[Tensor, Preserved], Solution]


@dataclass(frozen=True)
class Method:
    """A closed form.

    Attributes:
        solve: from residuals ``(n, d_out)`` and ``K1 B⁻¹`` to factors.
        preserve: how ``K1 B⁻¹`` is found.
        least_squares: it is MEMIT's own problem, which can be solved without an invertible ``B``.
        code: digest of the file that it came with; empty for the project's own.
    """

    solve: Solve
    preserve: Callable[[LayerBatch], Preserved]
    least_squares: bool
    code: str = ""


_METHODS: dict[str, Method] = {}
_OWN = tuple(one.value for one in Stage2)
_NAME = re.compile(r"[a-z][a-z0-9-]*")


def method(
    name: str,
    *,
    preserve: Callable[[LayerBatch], Preserved] = LayerBatch.preserved,
    one_at_a_time: bool = False,
    least_squares: bool = False,
) -> Callable[[Solve], Solve]:
    """Name a closed form; it can then be asked for by that name, and with early stopping as ``NAME+mpes``.

    Args:
        name: the name; lower-case letters, digits and hyphens.
        preserve: how ``K1 B⁻¹`` is found.
        one_at_a_time: a method from outside is defined for a single edit: each is a batch, without past keys.
        least_squares: it is MEMIT's own problem, which can be solved without an invertible ``B``.

    Raises:
        UsageError: for another kind of name, or one that a method has already.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a method: lower-case letters, digits and hyphens, a letter first")
    if name in _METHODS or (name not in _OWN and name in METHODS):
        raise UsageError(f"there is a method {name!r} already; name yours apart")

    def named(solve: Solve) -> Solve:
        _METHODS[name] = Method(solve, preserve, least_squares)
        if name not in _OWN:
            add_method(name, one_at_a_time)
        return solve

    return named


def method_named(name: str) -> Method | None:
    """A closed form by its name; None for fine-tuning, which has none."""
    if name not in _METHODS and name in _OWN:
        import_module(f"errata.editor.methods.{name}")
    return _METHODS.get(name)


def load_methods(path: Path) -> list[str]:
    """Run a Python file that names methods.

    Returns:
        The names that it added.

    Raises:
        UsageError: there is no such file, it fails, or it names no method, or one that is there already.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}")
    before = {*map(method_named, _OWN), *_METHODS.values()}  # the project's own come first
    spec = importlib.util.spec_from_file_location(f"errata_method_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a file of Python code")
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}") from error
    except Exception as error:  # whatever somebody's code does wrong is theirs to read
        raise UsageError(f"{path} failed: {type(error).__name__}: {error}") from error
    added = [name for name, found in _METHODS.items() if found not in before]
    if not added:
        raise UsageError(f"{path} names no method: it has no function under @method(NAME)")
    code = file_digest("method", path)
    _METHODS.update({name: replace(_METHODS[name], code=code) for name in added})
    return added
