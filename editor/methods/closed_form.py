"""From settings to a closed form: which method is solved, against which matrix, and by which way."""

from __future__ import annotations

from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.methods.registry import LayerBatch, Method, method_named
from errata.editor.solve.solve import NotPositiveDefinite, Solution, solve
from errata.editor.solve.solver import ACCURATE, Solver
from errata.ledger.base.errors import ModelError

ACCEPTABLE = 1e-5
"""Largest relative residual that is written: a solve that is further off would not do what its method promises."""


def closed_form(config: EditConfig, solver: Solver, keys: Tensor, residuals: Tensor, past_keys: Tensor) -> Solution:
    """One layer's factors by the method that the settings name.

    Args:
        config: settings.
        solver: the edited tensor's own; it may know past keys already.
        keys: ``(n, d_in)`` float32, as they will be recorded.
        residuals: ``(n, d_out)``, what each edit still has to add at its key.
        past_keys: ``(m, d_in)`` float32, keys of the live edits; left out if the settings do not preserve them.

    Raises:
        ModelError: if what has to be inverted is singular or too nearly so, or the method cannot write such a batch.
    """
    one = method_named(config.stage2)
    if one is None:
        raise ModelError(f"{config.stage2} has no closed form")
    batch = LayerBatch(config, solver, keys, residuals, past_keys if config.past_keys else past_keys[:0])
    found = _least_squares(one, batch) if one.least_squares else one.solve(residuals, one.preserve(batch))
    if found.residual > ACCEPTABLE:
        raise ModelError(
            f"the solve is off by {found.residual:.1e}: what has to be inverted is nearly singular; collect second "
            "moments over more text, or set norm_weight above zero"
        )
    return found


def _least_squares(one: Method, batch: LayerBatch) -> Solution:
    """MEMIT's problem, which alone can do without an invertible ``B``: ``A`` holds the batch's own keys as well."""
    try:
        found = one.solve(batch.residuals, one.preserve(batch))
    except NotPositiveDefinite:
        return _whole(batch)
    if found.residual <= ACCURATE:
        return found
    whole = _whole(batch)
    return whole if whole.residual < found.residual else found


def _whole(batch: LayerBatch) -> Solution:
    """MEMIT's problem by one factorisation of all of it."""
    weights = batch.weights
    return solve(batch.keys, batch.residuals, batch.solver.second_moment, batch.past_keys, weights.stats, weights.norm)
