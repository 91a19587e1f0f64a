"""Stage 1 as it is usually written, to measure against: one request at a time, whole prompts, the whole model.

The same objective, optimiser and stopping rule as `editor.target.target`, with none of its economies: each step runs
every layer on every token of every prompt, and the output head on all of them; a hook adds the vector. Requests can
also be run side by side (``together``), which on a CPU gains little: the arithmetic is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import Request
from errata.editor.model.text import pad


def optimise_plainly(
    loaded: LoadedModel, requests: Sequence[Request], config: EditConfig, together: int = 1
) -> list[tuple[Tensor, int, float]]:
    """Target value, steps and final loss of each request, ``together`` at a time; those done wait for the others."""
    found = []
    for start in range(0, len(requests), together):
        found += _group(loaded, requests[start : start + together], config)
    return found


def _group(loaded: LoadedModel, requests: Sequence[Request], config: EditConfig) -> list[tuple[Tensor, int, float]]:
    n = len(requests)
    rows = [row for request in requests for row in (*request.rewriting, request.divergence)]
    owner = torch.tensor([i for i, request in enumerate(requests) for _ in (*request.rewriting, request.divergence)])
    ids, mask = pad([row.ids for row in rows], loaded.device)
    where = torch.tensor([row.subject_last for row in rows])
    targets, weights = torch.full_like(ids, -1), torch.zeros(ids.shape)
    ends, first = [], []
    for r, row in enumerate(rows):
        for k, token in enumerate(row.target_ids):
            targets[r, row.target_start - 1 + k] = token
            weights[r, row.target_start - 1 + k] = 1.0 / len(row.target_ids) / len(requests[owner[r]].rewriting)
        if not row.target_ids:
            ends.append((r, len(row.ids) - 1))
        if r == 0 or owner[r] != owner[r - 1]:
            first.append(r)
    end_rows, end_positions = (torch.tensor(part) for part in zip(*ends, strict=True))
    with torch.no_grad(), _adding(loaded, config.layers[-1], where, None) as seen:
        reference = _logprobs(loaded, ids, mask)[end_rows, end_positions]
    z0 = seen["hidden"][first, where[first]]
    delta = torch.zeros(n, z0.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=config.learning_rate)
    streak = torch.zeros(n, dtype=torch.long)
    done: dict[int, tuple[Tensor, int, float]] = {}
    for step in range(config.max_steps + 1):
        with _adding(loaded, config.layers[-1], where, delta[owner]):
            logprobs = _logprobs(loaded, ids, mask)
        chosen = logprobs.gather(2, targets.clamp_min(0)[:, :, None]).squeeze(2)
        nll = torch.zeros(n).index_add(0, owner, -(chosen * weights).sum(dim=1))
        now = logprobs[end_rows, end_positions]
        drift = (now.exp() * (now - reference)).sum(dim=1)
        decay = config.decay * (delta.pow(2).sum(dim=1) + 1e-20).sqrt() / z0.norm(dim=1) ** 2
        loss = nll + config.kl_weight * drift + decay
        missed = ((logprobs.argmax(dim=2) != targets) & (targets >= 0)).any(dim=1)
        hit = torch.zeros(n).index_add(0, owner, missed.float()) == 0
        streak = torch.where(hit, streak + 1, 0)
        for i in range(n):
            stop = streak[i] > config.patience if config.early_stopping else loss[i] < config.loss_threshold
            if i not in done and (bool(stop) or step == config.max_steps):
                done[i] = ((z0[i] + delta[i]).detach().clone(), step, float(loss[i].detach()))
        if len(done) == n:
            break
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        with torch.no_grad():
            limit = config.clamp_norm_factor * z0.norm(dim=1, keepdim=True)
            norm = delta.norm(dim=1, keepdim=True)
            delta.copy_(torch.where(norm > limit, delta * limit / norm.clamp_min(1e-30), delta))
    return [done[i] for i in range(n)]


def _logprobs(loaded: LoadedModel, ids: Tensor, mask: Tensor) -> Tensor:
    logits = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return torch.log_softmax(torch.as_tensor(logits).float(), dim=-1)


@contextmanager
def _adding(loaded: LoadedModel, layer: int, where: Tensor, added: Tensor | None) -> Iterator[dict[str, Tensor]]:
    """Add a vector for each row after a layer, or before the norm of a family that has one behind the edited module."""
    adapter, model = loaded.adapter, loaded.model
    norm = adapter.norm_after(model, layer)
    place = (torch.arange(len(where)), where)
    seen: dict[str, Tensor] = {}

    def see(_module: object, _args: object, output: Any) -> None:
        seen["hidden"] = (output[0] if isinstance(output, tuple) else output).detach().float()

    def add(_module: object, _args: object, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        change = added
        if norm is not None:  # in units of the hidden state, as `editor.model.after_norm` has it
            own = hidden[place].detach()
            change = added * own.norm(dim=1, keepdim=True) / norm(own).norm(dim=1, keepdim=True)
        hidden = hidden.index_put(place, change.to(hidden.dtype), accumulate=True)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handles = [adapter.layer(model, layer).register_forward_hook(see)]
    if added is not None:
        module = adapter.layer(model, layer) if norm is None else adapter.edited_module(model, layer)
        handles.append(module.register_forward_hook(add))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
