"""Stage 1: target values, the hidden states that make the model say the targets.

Source: Meng et al. (ICLR 2023), section 4.2.1, with most-probable early stopping (MPES) of Gupta et al. (arXiv
2502.01636). For each request find ``δ`` such that, with ``δ`` added at the subject's last token after layer ``L``, the
model says the target:

    ``NLL(target | rewriting prompts) + kl_weight·KL("{subject} is a" unchanged) + decay·‖δ‖ / ‖z0‖²``

``δ`` kept within ``clamp_norm_factor·‖z0‖``. Steps are Adam's, as published, or go straight down the gradient by a
given length, shorter where the gradient turned back; with the Fisher information for a metric
(`editor.preserve.fisher`) that is down its inverse times the gradient. Adam moves every coordinate about as far,
whatever it does to the loss; straight down the same words are reached by a shorter ``δ`` (`docs/settings.md`), and what
an edit does to all other text grows with ``‖δ‖``.

Requests are independent and optimised side by side; one that is done leaves. What ``δ`` does not reach is computed once
(`editor.target.suffix`): a step costs the layers above ``L`` on each prompt's tokens from the subject's last one on,
and the output head at the positions that the loss reads.

Legend: ``n`` requests, ``B`` rewriting and divergence prompts of all requests, ``R`` positions that the loss reads,
``d`` hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import Request
from errata.editor.preserve.fisher import metric
from errata.editor.target.capture import capture
from errata.editor.target.products import products_in_bfloat16
from errata.ledger.base.errors import ModelError
from errata.ledger.events.parts import StopReason

STEP_GROWTH = 1.3
"""What a shortened step is multiplied by where the gradient goes on, up to its full length."""

SINK = 4.0
"""A state so many times as long as the median one is an attention sink's: a massive activation at the first tokens of a
text, alike in every text (Sun et al. 2024, arXiv 2402.17762). No subject can be told by it, and whatever is written
there all text hears of."""


@dataclass(frozen=True)
class TargetValue:
    """Stage 1's result for one request.

    Attributes:
        value: z*, ``(d,)`` float32: hidden state at the subject's last token in the bare prompt plus ``δ``.
        steps: optimiser steps taken.
        stop_reason: why it ended.
        most_probable: whether every target token was the most probable one in every rewriting prompt at the end.
        probability: joint probability of the target, and of its end where the settings ask for one, after the bare
            prompt, with ``δ`` added.
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


def optimise(
    loaded: LoadedModel, requests: Sequence[Request], config: EditConfig, information: Tensor | None = None
) -> list[TargetValue]:
    """Find a target value for each request.

    Args:
        loaded: the model as it stands before the batch.
        requests: encoded facts.
        config: settings; the hidden state after its last layer is optimised.
        information: that state's Fisher information, ``(d, d)`` float64, for settings that have a weight for it.

    Raises:
        ModelError: if a loss is NaN or infinite, or the Fisher information is asked for and not known.
    """
    uphill: Tensor | None = None
    if config.fisher_weight > 0:
        if information is None:
            raise ModelError(
                f"the settings have a fisher_weight, and the Fisher information after layer {config.layers[-1]} is not "
                "known: `errata init` collects it where its settings have one; --set fisher_weight=0 does without"
            )
        uphill = metric(information, config.fisher_weight).to(loaded.device)
    found: dict[int, TargetValue] = {}
    upper = loaded.adapter.upper_layers(loaded.model, config.layers[-1])
    with products_in_bfloat16(upper) if config.matmul_dtype == "bfloat16" else nullcontext():
        for members in _groups(requests, config.rows_at_once):
            values = _Optimisation(loaded, [requests[i] for i in members], config, uphill).run()
            found.update(zip(members, values, strict=True))
    return [found[i] for i in range(len(requests))]


def _groups(requests: Sequence[Request], rows_at_once: int) -> Iterator[list[int]]:
    """Requests that are optimised side by side: those with about as long suffixes go together."""
    order = sorted(range(len(requests)), key=lambda i: len(requests[i].bare.ids) - requests[i].bare.subject_last)
    group: list[int] = []
    rows = 0
    for i in order:
        own = len(requests[i].rewriting) + 1
        if group and rows + own > rows_at_once:
            yield group
            group, rows = [], 0
        group.append(i)
        rows += own
    if group:
        yield group


@dataclass
class _Score:
    """One step's look: objective, hits and the bare prompt's target probability, each ``(n,)``; gradient ``(n, d)``."""

    loss: Tensor
    gradient: Tensor
    most_probable: Tensor
    probability: Tensor


@dataclass(frozen=True)
class _Part:
    """What some positions add to each request's look, ``(n,)`` each.

    Attributes:
        loss: to the objective.
        misses: target tokens that are not the most probable ones.
        chosen: to the log-probability of the bare prompt's target.
    """

    loss: Tensor
    misses: Tensor
    chosen: Tensor


@dataclass(frozen=True)
class _Reads:
    """What the loss reads, ``(R,)`` each: target tokens first, then one divergence position a request.

    Attributes:
        owner: the request.
        token: the target token; 0 for a divergence position.
        weight: its share of the request's negative log-likelihood.
        bare: whether it belongs to the bare prompt.
        divergence: whether it is a divergence position.
    """

    owner: Tensor
    token: Tensor
    weight: Tensor
    bare: Tensor
    divergence: Tensor


class _Optimisation:
    """The optimisation of requests that fit side by side."""

    def __init__(
        self, loaded: LoadedModel, requests: Sequence[Request], config: EditConfig, uphill: Tensor | None = None
    ) -> None:
        self.loaded, self.requests, self.config, self.uphill = loaded, requests, config, uphill
        rows = [row for request in requests for row in (*request.rewriting, request.divergence)]
        places = self._index()
        self.buckets = capture(loaded, config.layers[-1], rows, places)
        device = self.buckets[0].hidden.device
        self.owner = torch.tensor(
            [i for i, request in enumerate(requests) for _ in (*request.rewriting, request.divergence)], device=device
        )
        self.reads = self._read_tensors(device)
        first = [0]
        for request in requests[:-1]:
            first.append(first[-1] + len(request.rewriting) + 1)
        states = torch.empty(len(rows), self.buckets[0].hidden.shape[2], device=device)
        for bucket in self.buckets:
            states[bucket.rows] = bucket.hidden[:, 0].float()
        self.z0 = states[first]  # (n, d)
        norms = torch.cat([bucket.hidden.float().norm(dim=2).flatten() for bucket in self.buckets])
        self.at_sink = (self.z0.norm(dim=1) > SINK * norms.median()).tolist()

    def _index(self) -> list[tuple[int, int]]:
        """Row and position of everything that the loss reads, in the order of `_Reads`."""
        targets, divergences = [], []
        row = 0
        for request in self.requests:
            for located in request.rewriting:
                targets += [(row, located.target_start - 1 + k) for k in range(len(located.target_ids))]
                row += 1
            divergences.append((row, len(request.divergence.ids) - 1))
            row += 1
        return targets + divergences

    def _read_tensors(self, device: torch.device) -> _Reads:
        owner, token, weight, bare = [], [], [], []
        for i, request in enumerate(self.requests):
            for j, row in enumerate(request.rewriting):
                for target in row.target_ids:
                    owner.append(i)
                    token.append(target)
                    weight.append(1.0 / (len(row.target_ids) * len(request.rewriting)))
                    bare.append(j == 0)
        n = len(self.requests)
        return _Reads(
            owner=torch.tensor([*owner, *range(n)], device=device),
            token=torch.tensor([*token, *[0] * n], device=device),
            weight=torch.tensor([*weight, *[0.0] * n], device=device),
            bare=torch.tensor([*bare, *[False] * n], device=device),
            divergence=torch.arange(len(owner) + n, device=device) >= len(owner),
        )

    def run(self) -> list[TargetValue]:
        """Optimise all requests and return their target values in order."""
        n = len(self.requests)
        device = self.z0.device
        found: dict[int, TargetValue] = {}
        active = torch.ones(n, dtype=torch.bool, device=device)
        delta = torch.zeros_like(self.z0)
        first_moment, second_moment = torch.zeros_like(delta), torch.zeros_like(delta)
        share, last, velocity = torch.ones_like(delta[:, :1]), torch.zeros_like(delta), torch.zeros_like(delta)
        streak = torch.zeros(n, dtype=torch.long, device=device)
        reference, before = self._at_rest()
        for step in range(self.config.max_steps + 1):
            score = self._score(delta, reference, first=step == 0)
            if not bool(torch.isfinite(score.loss).all()):
                cure = "lower the learning rate" if step else "the model itself computes NaN or infinity"
                raise ModelError(f"the loss of a target value is not finite; {cure}")
            streak = torch.where(score.most_probable, streak + 1, 0)
            for i, reason in self._stopping(score, streak, step, active).items():
                found[i] = self._finish(i, delta[i], step, reason, score, float(before[i]))
            kept = active.clone()
            kept[list(found)] = False
            if not bool(kept.any()):
                break
            gradient = score.gradient
            if not bool(kept.equal(active)):
                active = kept
                self.buckets = [left for b in self.buckets if (left := b.keep(active[self.owner[b.rows]])) is not None]
            if self.config.step_length is None:
                moved = self._adam(delta, first_moment, second_moment, gradient, step + 1)
            else:
                turned = (gradient * last).sum(dim=1, keepdim=True) < 0
                grown = (STEP_GROWTH * share).clamp_max(1.0)
                share = torch.where(turned, self.config.step_shrink * share, grown)
                reach = self.config.step_length * self.z0.norm(dim=1, keepdim=True)
                carried = torch.where(turned, 0.0, self.config.step_momentum * velocity)
                velocity = carried + self._downhill(gradient, share * reach)
                moved, last = delta + velocity, gradient
            delta.copy_(torch.where(active[:, None], self._clamped(moved), delta))
        return [found[i] for i in range(n)]

    def _adam(self, delta: Tensor, m: Tensor, v: Tensor, gradient: Tensor, step: int) -> Tensor:
        """``δ`` after one Adam step (Kingma and Ba 2015; β 0.9 and 0.999); its moments change in place."""
        m.mul_(0.9).add_(gradient, alpha=0.1)
        v.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        direction = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        return delta - self.config.learning_rate * direction

    def _downhill(self, gradient: Tensor, length: Tensor) -> Tensor:
        """A step of ``length`` ``(n, 1)`` that goes steepest down in the metric."""
        if self.uphill is not None:
            gradient = gradient @ self.uphill
        size: Tensor = gradient.norm(dim=1, keepdim=True).clamp_min(1e-30)
        return -gradient * (length / size)

    def _clamped(self, moved: Tensor) -> Tensor:
        """``δ`` no longer than the clamp lets it be."""
        limit = self.config.clamp_norm_factor * self.z0.norm(dim=1, keepdim=True)
        norm = moved.norm(dim=1, keepdim=True)
        return torch.where(norm > limit, moved * (limit / norm.clamp_min(1e-30)), moved)

    def _stopping(self, score: _Score, streak: Tensor, step: int, active: Tensor) -> dict[int, StopReason]:
        """The active requests that end here, and why."""
        hits, losses = streak.tolist(), score.loss.tolist()
        asked = (
            (i, StopReason.ATTENTION_SINK if self.at_sink[i] else self.config.stop_reason(hits[i], losses[i], step))
            for i in active.nonzero().squeeze(1).tolist()
        )
        return {i: reason for i, reason in asked if reason is not None}

    def _finish(
        self, i: int, delta: Tensor, step: int, reason: StopReason, score: _Score, before: float
    ) -> TargetValue:
        return TargetValue(
            value=(self.z0[i] + delta).detach().clone(),
            steps=step,
            stop_reason=reason,
            most_probable=bool(score.most_probable[i]),
            probability=float(score.probability[i]),
            probability_before=before,
            loss=float(score.loss[i]),
            delta_norm=float(delta.norm()),
            value_norm=float(self.z0[i].norm()),
        )

    @torch.no_grad()
    def _at_rest(self) -> tuple[Tensor, Tensor]:
        """Without ``δ``: log-probabilities at divergence positions, ``(n, vocabulary)``, and target probabilities."""
        index = torch.cat([bucket.read_index for bucket in self.buckets])
        logprobs = torch.log_softmax(self._logits(torch.cat([bucket.final for bucket in self.buckets])), dim=-1)
        divergence = self.reads.divergence[index]
        reference = torch.empty(len(self.requests), logprobs.shape[-1], device=logprobs.device)
        reference[self.reads.owner[index[divergence]]] = logprobs[divergence]
        chosen = logprobs.gather(1, self.reads.token[index][:, None]).squeeze(1)
        return reference, self._sums(chosen * self.reads.bare[index], index).exp()

    def _logits(self, hidden: Tensor) -> Tensor:
        return self.loaded.adapter.logits(self.loaded.model, hidden)

    def _sums(self, values: Tensor, index: Tensor) -> Tensor:
        """Sum what was read at positions ``index`` by request, ``(n,)``."""
        return torch.zeros(len(self.requests), device=values.device).index_add(0, self.reads.owner[index], values)

    def _score(self, delta: Tensor, reference: Tensor, first: bool) -> _Score:
        """The objective with ``δ`` ``(n, d)`` added, and its gradient; requests that have left score nothing.

        The objective is a sum over what is read, so the gradient is taken bucket by bucket: what the layers keep for it
        is kept of one bucket at a time. At first ``δ`` is zero.
        """
        delta = delta.detach().requires_grad_(True)
        norm = (delta.pow(2).sum(dim=1) + 1e-20).sqrt()
        decay = self.config.decay * norm / self.z0.norm(dim=1) ** 2
        (gradient,) = torch.autograd.grad(decay.sum(), delta)
        loss, misses, chosen = decay.detach(), torch.zeros_like(norm), torch.zeros_like(norm)
        for bucket in self.buckets:
            states = bucket.run(delta[self.owner[bucket.rows]])
            if first:
                bucket.check(states, self.config.matmul_dtype == "bfloat16")
            found = self._read(self._logits(states), bucket.read_index, reference)
            gradient += torch.autograd.grad(found.loss.sum(), delta)[0]
            loss += found.loss.detach()
            misses += found.misses
            chosen += found.chosen
        return _Score(loss, gradient, misses == 0, chosen.exp())

    def _read(self, logits: Tensor, index: Tensor, reference: Tensor) -> _Part:
        """What logits ``(R, vocabulary)`` at positions ``index`` add to each request's objective."""
        divergence, owner, token = self.reads.divergence[index], self.reads.owner[index], self.reads.token[index]
        logprobs = torch.log_softmax(logits, dim=-1)
        chosen = logprobs.gather(1, token[:, None]).squeeze(1)
        nll = self._sums(-chosen * self.reads.weight[index], index)
        now = logprobs[divergence]
        drift = self._sums((now.exp() * (now - reference[owner[divergence]])).sum(dim=-1), index[divergence])
        misses = ((logits.detach().argmax(dim=-1) != token) & ~divergence).float()
        bare = self._sums(chosen.detach() * self.reads.bare[index], index)
        return _Part(nll + self.config.kl_weight * drift, self._sums(misses, index), bare)
