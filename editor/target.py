"""Stage 1: target values, the hidden states that make the model say the targets.

Source: Meng et al. (ICLR 2023), section 4.2.1, with most-probable early stopping (MPES) of Gupta et al. (arXiv
2502.01636). For each request find ``δ`` such that, with ``δ`` added at the subject's last token after layer ``L``, the
model says the target:

    ``NLL(target | rewriting prompts) + kl_weight·KL("{subject} is a" unchanged) + decay·‖δ‖ / ‖z0‖²``

by Adam, ``δ`` kept within ``clamp_norm_factor·‖z0‖``. Requests are independent and optimised side by side; one that is
done leaves. Layers up to ``L`` run once: above it, each layer is called again with the arguments it was called with.

Legend: ``n`` requests, ``B`` prompts of all requests, ``T`` padded length, ``d`` hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editor.config import EditConfig
from editor.hooks import recording
from editor.models import LoadedModel
from editor.requests import Request
from editor.text import pad
from ledger.bodies import StopReason
from ledger.errors import ModelError


@dataclass(frozen=True)
class TargetValue:
    """Stage 1's result for one request.

    Attributes:
        value: z*, ``(d,)`` float32: hidden state at the subject's last token in the bare prompt plus ``δ``.
        steps: optimiser steps taken.
        stop_reason: why it ended.
        most_probable: whether every target token was the most probable one in every rewriting prompt at the end.
        probability: joint probability of the target after the bare prompt, with ``δ`` added.
        probability_before: the same without ``δ``.
        loss: the objective at the end.
        delta_norm: ``‖δ‖``.
        value_norm: ``‖z0‖``.
    """

    value: Tensor
    steps: int
    stop_reason: StopReason
    most_probable: bool
    probability: float
    probability_before: float
    loss: float
    delta_norm: float
    value_norm: float


def optimise(loaded: LoadedModel, requests: Sequence[Request], config: EditConfig) -> list[TargetValue]:
    """Find a target value for each request.

    Args:
        loaded: the model as it stands before the batch.
        requests: encoded facts.
        config: settings; the hidden state after its last layer is optimised.

    Raises:
        ModelError: if a loss is NaN or infinite.
    """
    values: list[TargetValue] = []
    start = 0
    while start < len(requests):
        stop, rows = start, 0
        while stop < len(requests) and (stop == start or rows + _rows(requests[stop]) <= config.rows_at_once):
            rows += _rows(requests[stop])
            stop += 1
        values += _Optimisation(loaded, requests[start:stop], config).run()
        start = stop
    return values


def _rows(request: Request) -> int:
    return len(request.rewriting) + 1


@dataclass
class _Score:
    """One forward pass: objective, hits and the bare prompt's target probability, each ``(n,)``."""

    loss: Tensor
    most_probable: Tensor
    probability: Tensor


class _Optimisation:
    """The optimisation of requests that fit side by side."""

    def __init__(self, loaded: LoadedModel, requests: Sequence[Request], config: EditConfig) -> None:
        self.loaded, self.requests, self.config = loaded, requests, config
        self.layer = config.layers[-1]
        self.upper = loaded.adapter.upper_layers(loaded.model, self.layer)
        located = [row for request in requests for row in (*request.rewriting, request.divergence)]
        rows = [row.ids for row in located]
        if len(rows) == max(len(row) for row in rows):
            rows.append(rows[-1])  # a spare, so that no other dimension can be mistaken for the batch's by `_pick`
        self.total_rows = len(rows)
        ids, mask = pad(rows, loaded.device)
        watched = {"edited": loaded.adapter.layer(loaded.model, self.layer)}
        watched |= {str(i): layer for i, layer in enumerate(self.upper)}
        with torch.no_grad(), recording(watched) as records:
            loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
        self.hidden = records["edited"].hidden.detach()  # (B, T, d)
        self.calls = [(records[str(i)].args[1:], records[str(i)].kwargs) for i in range(len(self.upper))]
        device = self.hidden.device
        self.owner = torch.tensor(
            [i for i, request in enumerate(requests) for _ in range(_rows(request))], device=device
        )
        self.position = torch.tensor([row.subject_last for row in located], device=device)
        first = [int(x) for x in torch.searchsorted(self.owner, torch.arange(len(requests), device=device))]
        self.z0 = self.hidden[first, self.position[first]].float()  # (n, d)
        self._index_targets(first)

    def _index_targets(self, first: list[int]) -> None:
        """Flat lists of what the loss reads: for each target token its row, position, id, request and weight."""
        rows, positions, tokens, owners, weights, bare = [], [], [], [], [], []
        for i, request in enumerate(self.requests):
            for j, row in enumerate(request.rewriting):
                for k, token in enumerate(row.target_ids):
                    rows.append(first[i] + j)
                    positions.append(row.target_start - 1 + k)
                    tokens.append(token)
                    owners.append(i)
                    weights.append(1.0 / (len(row.target_ids) * len(request.rewriting)))
                    bare.append(j == 0)
        device = self.hidden.device
        self.read = {
            "row": torch.tensor(rows, device=device),
            "position": torch.tensor(positions, device=device),
            "token": torch.tensor(tokens, device=device),
            "owner": torch.tensor(owners, device=device),
            "weight": torch.tensor(weights, device=device),
            "bare": torch.tensor(bare, device=device),
        }
        self.divergence_row = torch.tensor(
            [first[i] + len(request.rewriting) for i, request in enumerate(self.requests)], device=device
        )
        self.divergence_position = torch.tensor([len(r.divergence.ids) - 1 for r in self.requests], device=device)

    def run(self) -> list[TargetValue]:
        """Optimise all requests and return their target values in order."""
        n = len(self.requests)
        device = self.hidden.device
        found: dict[int, TargetValue] = {}
        active = torch.arange(n, device=device)
        delta = torch.zeros_like(self.z0)
        first_moment, second_moment = torch.zeros_like(delta), torch.zeros_like(delta)
        streak = torch.zeros(n, dtype=torch.long, device=device)
        view = self._select(active)
        with torch.no_grad():
            reference = self._divergence_logprobs(self._upper(view.hidden, view.calls), view)
            before = self._score(view, delta, reference).probability
        for step in range(self.config.max_steps + 1):
            current = delta[active].requires_grad_(True)
            score = self._score(view, current, reference[active])
            if not bool(torch.isfinite(score.loss).all()):
                cure = "lower the learning rate" if step else "the model itself computes NaN or infinity"
                raise ModelError(f"the loss of a target value is not finite; {cure}")
            streak[active] = torch.where(score.most_probable, streak[active] + 1, 0)
            reasons = self._stopping(score, streak[active], step)
            for j, reason in enumerate(reasons):
                if reason is not None:
                    i = int(active[j])
                    found[i] = self._finish(i, delta[i], step, reason, score, j, float(before[i]))
            keep = torch.tensor([reason is None for reason in reasons], device=device)
            if not bool(keep.any()):
                break
            (gradient,) = torch.autograd.grad(score.loss.sum(), current)
            if not bool(keep.all()):
                gradient = gradient[keep]
                active = active[keep]
                view = self._select(active)
            self._adam(delta, first_moment, second_moment, gradient, active, step + 1)
        return [found[i] for i in range(n)]

    def _adam(self, delta: Tensor, m: Tensor, v: Tensor, gradient: Tensor, active: Tensor, step: int) -> None:
        """One Adam step (Kingma and Ba 2015; β 0.9 and 0.999) of the active rows, then the clamp, in place."""
        m[active] = 0.9 * m[active] + 0.1 * gradient
        v[active] = 0.999 * v[active] + 0.001 * gradient**2
        direction = (m[active] / (1 - 0.9**step)) / ((v[active] / (1 - 0.999**step)).sqrt() + 1e-8)
        moved = delta[active] - self.config.learning_rate * direction
        limit = self.config.clamp_norm_factor * self.z0[active].norm(dim=1, keepdim=True)
        norm = moved.norm(dim=1, keepdim=True)
        delta[active] = torch.where(norm > limit, moved * (limit / norm.clamp_min(1e-30)), moved)

    def _stopping(self, score: _Score, streak: Tensor, step: int) -> list[StopReason | None]:
        reasons: list[StopReason | None] = []
        for hits, loss in zip(streak.tolist(), score.loss.tolist(), strict=True):
            if self.config.early_stopping and hits > self.config.patience:
                reasons.append(StopReason.MOST_PROBABLE)
            elif not self.config.early_stopping and loss < self.config.loss_threshold:
                reasons.append(StopReason.LOSS_THRESHOLD)
            else:
                reasons.append(StopReason.MAX_STEPS if step == self.config.max_steps else None)
        return reasons

    def _finish(
        self, i: int, delta: Tensor, step: int, reason: StopReason, score: _Score, j: int, before: float
    ) -> TargetValue:
        return TargetValue(
            value=(self.z0[i] + delta).detach().clone(),
            steps=step,
            stop_reason=reason,
            most_probable=bool(score.most_probable[j]),
            probability=float(score.probability[j]),
            probability_before=before,
            loss=float(score.loss[j].detach()),
            delta_norm=float(delta.norm()),
            value_norm=float(self.z0[i].norm()),
        )

    # The forward pass over the rows of the active requests.

    def _select(self, active: Tensor) -> _View:
        rows = torch.isin(self.owner, active).nonzero().squeeze(1)
        renumber = torch.full((self.total_rows,), -1, device=rows.device)
        renumber[rows] = torch.arange(len(rows), device=rows.device)
        slot = torch.full((len(self.requests),), -1, device=rows.device)
        slot[active] = torch.arange(len(active), device=rows.device)
        tokens = torch.isin(self.read["owner"], active)
        read = {name: value[tokens] for name, value in self.read.items()}
        return _View(
            hidden=self.hidden[rows],
            calls=[(self._pick(args, rows), self._pick(kwargs, rows)) for args, kwargs in self.calls],
            owner=slot[self.owner[rows]],
            position=self.position[rows],
            read={**read, "row": renumber[read["row"]], "owner": slot[read["owner"]]},
            divergence=(renumber[self.divergence_row[active]], self.divergence_position[active]),
            z0_norm=self.z0[active].norm(dim=1),
        )

    def _pick(self, value: Any, rows: Tensor) -> Any:
        """Keep some of the batch's rows in whatever a layer was called with."""
        if isinstance(value, Tensor):
            whole = value.dim() > 0 and value.shape[0] == self.total_rows
            return value[rows] if whole else value
        if isinstance(value, (tuple, list)):
            return type(value)(self._pick(item, rows) for item in value)
        if isinstance(value, dict):
            return {name: self._pick(item, rows) for name, item in value.items()}
        return value

    def _upper(self, hidden: Tensor, calls: list[tuple[Any, Any]]) -> Tensor:
        for layer, (args, kwargs) in zip(self.upper, calls, strict=True):
            output = layer(hidden, *args, **kwargs)
            hidden = output[0] if isinstance(output, tuple) else output
        return hidden

    def _divergence_logprobs(self, hidden: Tensor, view: _View) -> Tensor:
        logits = self.loaded.adapter.logits(self.loaded.model, hidden[view.divergence])
        return torch.log_softmax(logits, dim=-1)  # (n, vocabulary)

    def _score(self, view: _View, delta: Tensor, reference: Tensor) -> _Score:
        n = delta.shape[0]
        rows = torch.arange(len(view.owner), device=delta.device)
        added = delta[view.owner].to(view.hidden.dtype)
        hidden = view.hidden.index_put((rows, view.position), added, accumulate=True)
        hidden = self._upper(hidden, view.calls)
        read = view.read
        logits = self.loaded.adapter.logits(self.loaded.model, hidden[read["row"], read["position"]])
        logprobs = torch.log_softmax(logits, dim=-1)
        chosen = logprobs.gather(1, read["token"][:, None]).squeeze(1)
        nll = torch.zeros(n, device=delta.device).index_add(0, read["owner"], -chosen * read["weight"])
        now = self._divergence_logprobs(hidden, view)
        divergence = (now.exp() * (now - reference)).sum(dim=-1)
        norm = (delta.pow(2).sum(dim=1) + 1e-20).sqrt()
        loss = nll + self.config.kl_weight * divergence + self.config.decay * norm / view.z0_norm**2
        misses = (logits.argmax(dim=-1) != read["token"]).float()
        missed = torch.zeros(n, device=delta.device).index_add(0, read["owner"], misses)
        bare = torch.zeros(n, device=delta.device).index_add(0, read["owner"], chosen.detach() * read["bare"])
        return _Score(loss, missed == 0, bare.exp())


@dataclass(frozen=True)
class _View:
    """The rows of the active requests: hidden states, layer arguments and indices, all renumbered."""

    hidden: Tensor
    calls: list[tuple[Any, Any]]
    owner: Tensor
    position: Tensor
    read: dict[str, Tensor]
    divergence: tuple[Tensor, Tensor]
    z0_norm: Tensor
