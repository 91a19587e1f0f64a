"""Fine-tuning as an editing method: descend on the edited matrices for one request, then factorise what came out.

It takes the place of both stages. Its objective is stage 1's likelihood, over the same rewriting prompts, and it stops
as stage 1 does; what it finds is recorded in the same words (`editor.methods.ft` has the formulas).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from errata.editor.config import EditConfig
from errata.editor.methods.ft import Form, descend, low_rank_form
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import Request
from errata.editor.model.text import pad
from errata.ledger.base.errors import ModelError
from errata.ledger.events.parts import StopReason


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning found for one request.

    Attributes:
        forms: the changes by parameter name, in mathematical orientation.
        steps: gradient steps taken.
        stop_reason: why it ended.
        most_probable: whether every target token was the most probable one in every rewriting prompt at the end.
        probability: joint probability of the target after the bare prompt, at the end and before factorising.
        probability_before: the same at the start.
        loss: the objective at the end.
    """

    forms: dict[str, Form]
    steps: int
    stop_reason: StopReason
    most_probable: bool
    probability: float
    probability_before: float
    loss: float


def fine_tune(loaded: LoadedModel, request: Request, weights: Mapping[str, Tensor], config: EditConfig) -> FineTuned:
    """Change the edited matrices until the model says the target.

    Args:
        loaded: the model; its own weights are not touched.
        request: one encoded fact.
        weights: the edited parameters as they stand before, by parameter name and as stored.
        config: settings.

    Raises:
        ModelError: if the loss is not finite, or a change does not fit a few pairs of factors.
    """
    norms = {name: float(torch.linalg.norm(weight.to(torch.float64))) for name, weight in weights.items()}
    deltas = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
    ids, mask = pad([row.ids for row in request.rewriting], loaded.device)
    before, streak = 0.0, 0
    for step in range(config.max_steps + 1):
        free = {name: delta.requires_grad_(True) for name, delta in deltas.items()}
        changed = {name: weights[name] + free[name].to(weights[name].dtype) for name in free}
        output = functional_call(
            loaded.model, changed, kwargs={"input_ids": ids, "attention_mask": mask, "use_cache": False}
        )
        loss, hit, probability = _score(output.logits, request)
        if not bool(torch.isfinite(loss)):
            raise ModelError("the loss of fine-tuning is not finite; lower ft_step")
        before = probability if step == 0 else before
        streak = streak + 1 if hit else 0
        reason = config.stop_reason(streak, float(loss.detach()), step)
        if reason is not None:
            break
        gradients = torch.autograd.grad(loss, list(free.values()))
        with torch.no_grad():
            deltas = {
                name: descend(
                    free[name].detach(), gradient, config.ft_step * norms[name], config.ft_norm_limit * norms[name]
                )
                for name, gradient in zip(free, gradients, strict=True)
            }
    assert reason is not None
    transposed = loaded.adapter.transposed
    forms = {
        name: low_rank_form(delta.detach().T if transposed else delta.detach(), config.ft_rank_error)
        for name, delta in deltas.items()
    }
    return FineTuned(forms, step, reason, hit, probability, before, float(loss.detach()))


def _score(logits: Tensor, request: Request) -> tuple[Tensor, bool, float]:
    """Mean loss over rewriting prompts; whether all of them are answered; the bare prompt's target probability."""
    losses, hit, probability = [], True, 0.0
    for i, row in enumerate(request.rewriting):
        answers = logits[i, row.target_start - 1 : len(row.ids) - 1].float()
        target = torch.tensor(row.target_ids, device=logits.device)
        chosen = torch.log_softmax(answers, dim=-1).gather(1, target[:, None])
        losses.append(-chosen.mean())
        hit = hit and bool((answers.argmax(dim=-1) == target).all())
        if i == 0:
            probability = float(chosen.detach().sum().exp())
    return torch.stack(losses).mean(), hit, probability
