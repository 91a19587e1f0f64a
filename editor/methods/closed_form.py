"""From settings to a closed form: which method is solved, against which matrix, and by which way."""

from __future__ import annotations

from torch import Tensor

from errata.editor.config import EditConfig, Stage2
from errata.editor.methods.alphaedit import alphaedit
from errata.editor.methods.emmet import emmet
from errata.editor.methods.memit import memit
from errata.editor.methods.rome import rome
from errata.editor.solve.projector import NullSpace
from errata.editor.solve.solve import NotPositiveDefinite, Solution, Weights, solve
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
    found = _solved(config, solver, keys, residuals, past_keys)
    if found.residual > ACCEPTABLE:
        raise ModelError(
            f"the solve is off by {found.residual:.1e}: what has to be inverted is nearly singular; collect second "
            "moments over more text, or set norm_weight above zero"
        )
    return found


def _solved(config: EditConfig, solver: Solver, keys: Tensor, residuals: Tensor, past_keys: Tensor) -> Solution:
    past = past_keys if config.past_keys else past_keys[:0]
    weights = Weights(config.stats_weight, config.norm_weight)
    match config.stage2:
        case Stage2.MEMIT:
            return _memit(solver, keys, residuals, past, weights)
        case Stage2.ALPHAEDIT:
            weights = Weights(0.0, config.norm_weight)
            space = NullSpace(config.null_space_share, config.null_space_threshold)
            return alphaedit(residuals, solver.preserve(keys, past, weights, space))
        case Stage2.EMMET:
            return emmet(residuals, solver.preserve(keys, past, weights))
        case Stage2.ROME:
            return rome(residuals, solver.preserve(keys, past, weights))
        case Stage2.FT:
            raise ModelError("fine-tuning has no closed form")


def _memit(solver: Solver, keys: Tensor, residuals: Tensor, past: Tensor, weights: Weights) -> Solution:
    """MEMIT, which alone can do without an invertible ``B``: ``A`` holds the batch's own keys as well."""
    try:
        found = memit(residuals, solver.preserve(keys, past, weights))
    except NotPositiveDefinite:
        return solve(keys, residuals, solver.second_moment, past, weights.stats, weights.norm)
    if found.residual <= ACCURATE:
        return found
    whole = solve(keys, residuals, solver.second_moment, past, weights.stats, weights.norm)
    return whole if whole.residual < found.residual else found
