"""Causal tracing: which hidden states carry a fact.

Source: Meng et al., "Locating and Editing Factual Associations in GPT" (NeurIPS 2022), section 2 and appendix B. Normal
noise on the embeddings of the subject's tokens makes the model forget the answer. Then one state at a time is put back
to what it is without noise. The probability that this brings back, above that of the run with noise alone, is the
state's indirect effect; its mean over facts tells where facts are.

Three kinds of state are put back at a token: the hidden state after one decoder layer, the output of the MLP and the
output of the attention. Those two are small steps of many, so they are restored in a window of layers around one.
The same noise serves all restorations of a draw, so that they can be compared.

The answer is the whole target, and its probability the joint one of its tokens, not that of its first token alone.
Legend: ``R`` restorations side by side, ``T`` tokens, ``d`` hidden size, ``S`` tokens of the subject.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from errata.editor.model.hooks import recording
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, locate
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.facts.fact import Fact

ATTENTION_NAMES = ("self_attn", "attn", "attention")
"""What families call the attention inside a layer; one that has none of these is traced without it."""


class Part(StrEnum):
    """What is restored."""

    HIDDEN = "hidden state"
    MLP = "MLP"
    ATTENTION = "attention"


class Role(StrEnum):
    """A token's place in the prompt; a subject of one token has only a last one."""

    FIRST_SUBJECT = "first subject token"
    MIDDLE_SUBJECT = "middle subject tokens"
    LAST_SUBJECT = "last subject token"
    FIRST_AFTER = "first subsequent token"
    FURTHER = "further tokens"
    LAST = "last token"


@dataclass(frozen=True)
class TraceSettings:
    """What a tracing depends on beside the model and the facts.

    Attributes:
        noise: standard deviations of the subjects' embeddings, by which noise is scaled.
        draws: noise vectors for each fact.
        seed: seeds the noise.
        window: layers that are restored together for MLP and attention, or None for a fifth of the layers
            (`default_window`).
        rows_at_once: restorations that run side by side; bounds memory.
    """

    noise: float = 3.0
    draws: int = 3
    seed: int = 0
    window: int | None = None
    rows_at_once: int = 128


@dataclass(frozen=True)
class Restoration:
    """States to put back together: of one part, in these layers, at these positions."""

    part: Part
    layers: tuple[int, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True)
class FactTrace:
    """One fact's tracing, averaged over draws: probabilities, and the effect of each layer by part and role."""

    clean: float
    corrupted: float
    effects: Mapping[Part, Mapping[Role, tuple[float, ...]]]


@dataclass(frozen=True)
class Tracing:
    """The tracing of a sample.

    Attributes:
        facts: how many.
        noise: the noise's standard deviation.
        window: layers restored together for MLP and attention.
        clean, corrupted: mean probabilities of the answers.
        effects: part -> role -> mean indirect effect of each layer, over the facts that have such a token.
        low, high: 95 % confidence interval of the hidden state's effect at the subject's last token, by layer.
        suggested: layers to edit, by `suggest`.
    """

    facts: int
    noise: float
    window: int
    clean: float
    corrupted: float
    effects: Mapping[Part, Mapping[Role, tuple[float, ...]]]
    low: tuple[float, ...]
    high: tuple[float, ...]
    suggested: tuple[int, ...]


def default_window(layers: int) -> int:
    """A fifth of the layers, as 10 of GPT-2 XL's 48 in the paper, at least one, and odd so that it has a middle."""
    return 2 * (round(layers * 10 / 48) // 2) + 1


def trace(
    loaded: LoadedModel,
    facts: Sequence[Fact],
    settings: TraceSettings,
    advance: Callable[[int], None] = lambda done: None,
) -> Tracing:
    """Trace facts that the model knows.

    Args:
        loaded: the model as it stands.
        facts: facts whose target the model says.
        settings: noise, draws, windows.
        advance: called with the number of facts done.

    Raises:
        UsageError: for no facts, or a window that makes no sense.
        ModelError: if a prompt does not fit the model, or there is nothing that noise could be scaled by.
    """
    layers = loaded.adapter.layer_count(loaded.model)
    window = default_window(layers) if settings.window is None else settings.window
    if not facts:
        raise UsageError("no facts to trace")
    if window < 1 or window % 2 == 0:
        raise UsageError(f"a window is an odd number of layers, not {window}")
    if settings.draws < 1 or not settings.noise > 0:
        raise UsageError("a tracing needs at least one draw of noise above 0")
    rows = [locate(loaded.tokenizer, fact.prompt, fact.subject, fact.target) for fact in facts]
    longest = max(len(row.ids) for row in rows)
    if longest > loaded.max_positions:
        raise ModelError(f"a prompt has {longest} tokens; this model takes {loaded.max_positions}")
    noise = settings.noise * subject_deviation(loaded, rows)
    traces = []
    for i, row in enumerate(rows):
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + i)
        traces.append(_trace_fact(loaded, row, noise, settings, window, generator))
        advance(i + 1)
    effects = _mean_effects(traces)
    at_subject = torch.tensor([one.effects[Part.HIDDEN][Role.LAST_SUBJECT] for one in traces], dtype=torch.float64)
    mean = at_subject.mean(dim=0)
    spread = at_subject.std(dim=0) if len(traces) > 1 else torch.full_like(mean, math.inf)
    half = (1.96 * spread / math.sqrt(len(traces))).clamp(max=1.0)
    return Tracing(
        facts=len(traces),
        noise=noise,
        window=window,
        clean=sum(one.clean for one in traces) / len(traces),
        corrupted=sum(one.corrupted for one in traces) / len(traces),
        effects=effects,
        low=tuple((mean - half).tolist()),
        high=tuple((mean + half).tolist()),
        suggested=suggest(effects),
    )


RULE = (
    "up to the first layer whose hidden state at the last subject token has 90 % of the largest effect, and back over "
    "layers whose MLP has half of the largest MLP effect there, five at most"
)
"""How `suggest` chooses, in words."""


def suggest(effects: Mapping[Part, Mapping[Role, Sequence[float]]]) -> tuple[int, ...]:
    """Layers to edit: where facts have come together at the subject's last token, and the MLPs that brought them there.

    Stage 1 sets the hidden state after the last edited layer, so that is the first layer at which the fact is all
    there; stage 2 spreads the change over the MLPs before it that take part.

    Returns:
        The layers, ascending; none where no layer's state at the last subject token brings anything back.
    """
    hidden = effects[Part.HIDDEN][Role.LAST_SUBJECT]
    if max(hidden) <= 0:
        return ()
    last = next(layer for layer, effect in enumerate(hidden) if effect >= 0.9 * max(hidden))
    chosen = [last]
    mlp = effects.get(Part.MLP, {}).get(Role.LAST_SUBJECT, ())
    if mlp and max(mlp) > 0:
        while chosen[0] > 0 and len(chosen) < 5 and mlp[chosen[0] - 1] >= 0.5 * max(mlp):
            chosen.insert(0, chosen[0] - 1)
    return tuple(chosen)


def roles(row: Located) -> dict[Role, tuple[int, ...]]:
    """Positions of an encoded prompt by role, from the subject's first token to the prompt's last."""
    first, last, end = row.subject_first, row.subject_last, row.target_start - 1
    found: dict[Role, tuple[int, ...]] = {
        Role.FIRST_SUBJECT: (first,) if first < last else (),
        Role.MIDDLE_SUBJECT: tuple(range(first + 1, last)),
        Role.LAST_SUBJECT: (last,),
        Role.FIRST_AFTER: (last + 1,) if last + 1 < end else (),
        Role.FURTHER: tuple(range(last + 2, end)),
        Role.LAST: (end,) if end > last else (),
    }
    return {role: positions for role, positions in found.items() if positions}


@torch.no_grad()
def subject_deviation(loaded: LoadedModel, rows: Sequence[Located]) -> float:
    """Standard deviation of the entries of the subjects' token embeddings.

    Raises:
        ModelError: if it is zero or not finite.
    """
    ids = [token for row in rows for token in row.ids[row.subject_first : row.subject_last + 1]]
    deviation = float(_embedding(loaded)(torch.tensor(ids, device=loaded.device)).double().std())
    if not (math.isfinite(deviation) and deviation > 0):
        raise ModelError(f"the subjects' embeddings have standard deviation {deviation}; noise cannot be scaled by it")
    return deviation


def parts_of(loaded: LoadedModel) -> dict[Part, list[nn.Module]]:
    """The modules whose outputs can be restored, by part and layer; a part that a family does not show is left out.

    The MLP is the module that holds the edited one; attention goes by `ATTENTION_NAMES`.
    """
    adapter, model = loaded.adapter, loaded.model
    layers = [adapter.layer(model, i) for i in range(adapter.layer_count(model))]
    found: dict[Part, list[nn.Module]] = {Part.HIDDEN: layers}
    inside = adapter.edited.rpartition(".")[0]
    if inside:
        found[Part.MLP] = [layer.get_submodule(inside) for layer in layers]
    for name in ATTENTION_NAMES:
        if all(name in dict(layer.named_children()) for layer in layers):
            found[Part.ATTENTION] = [layer.get_submodule(name) for layer in layers]
            break
    return found


@torch.no_grad()
def clean_run(loaded: LoadedModel, row: Located) -> tuple[float, dict[Part, list[Tensor]]]:
    """The run without noise: the answer's probability, and each part's output ``(T, d)`` in each layer."""
    parts = parts_of(loaded)
    modules = {f"{part}/{i}": module for part, found in parts.items() for i, module in enumerate(found)}
    ids = torch.tensor([row.ids], device=loaded.device)
    with recording(modules) as records:
        logits = loaded.model(input_ids=ids, use_cache=False).logits
    states = {part: [records[f"{part}/{i}"].hidden[0] for i in range(len(found))] for part, found in parts.items()}
    return float(_answer(logits, row)[0]), states


@torch.no_grad()
def restored_runs(
    loaded: LoadedModel,
    row: Located,
    noise: Tensor,
    clean: Mapping[Part, Sequence[Tensor]],
    restorations: Sequence[Sequence[Restoration]],
    rows_at_once: int = 128,
) -> Tensor:
    """The answer's probability with noise on the subject and states put back.

    Args:
        loaded: the model.
        row: the encoded prompt with its target.
        noise: ``(S, d_embedding)``, added to the embeddings of the subject's tokens.
        clean: states to put back, as `clean_run` gives them.
        restorations: for each run, what is restored in it; nothing for the run with noise alone.
        rows_at_once: runs side by side.

    Returns:
        ``(R,)`` float64, in order.
    """
    parts, found = parts_of(loaded), []
    for start in range(0, len(restorations), rows_at_once):
        chunk = restorations[start : start + rows_at_once]
        ids = torch.tensor([row.ids], device=loaded.device).expand(len(chunk), -1)
        with _noise(loaded, row, noise), _restoring(parts, clean, chunk):
            found.append(_answer(loaded.model(input_ids=ids, use_cache=False).logits, row))
    return torch.cat(found)


def _trace_fact(
    loaded: LoadedModel, row: Located, noise: float, settings: TraceSettings, window: int, generator: torch.Generator
) -> FactTrace:
    probability, states = clean_run(loaded, row)
    by_role, count = roles(row), loaded.adapter.layer_count(loaded.model)
    cells = [
        (part, role, layer, position)
        for part in states
        for role, positions in by_role.items()
        for layer in range(count)
        for position in positions
    ]
    runs: list[tuple[Restoration, ...]] = [()]
    runs += [(Restoration(part, _around(part, layer, window, count), (at,)),) for part, _, layer, at in cells]
    embedding = _embedding(loaded).get_parameter("weight")
    total = torch.zeros(len(runs), dtype=torch.float64)
    for _ in range(settings.draws):
        drawn = torch.randn(row.subject_last - row.subject_first + 1, embedding.shape[1], generator=generator)
        total += restored_runs(loaded, row, (noise * drawn).to(embedding), states, runs, settings.rows_at_once)
    mean = total / settings.draws
    corrupted = float(mean[0])
    sums: dict[Part, dict[Role, list[float]]] = {
        part: {role: [0.0] * count for role in by_role} for part in states
    }  # fmt: skip
    for (part, role, layer, _), restored in zip(cells, mean[1:].tolist(), strict=True):
        sums[part][role][layer] += (restored - corrupted) / len(by_role[role])
    effects = {part: {role: tuple(values) for role, values in found.items()} for part, found in sums.items()}
    return FactTrace(probability, corrupted, effects)


def _around(part: Part, layer: int, window: int, count: int) -> tuple[int, ...]:
    half = 0 if part is Part.HIDDEN else window // 2
    return tuple(range(max(0, layer - half), min(count, layer + half + 1)))


def _mean_effects(traces: Sequence[FactTrace]) -> dict[Part, dict[Role, tuple[float, ...]]]:
    means: dict[Part, dict[Role, tuple[float, ...]]] = {}
    for part in traces[0].effects:
        for role in Role:
            rows = [one.effects[part][role] for one in traces if role in one.effects[part]]
            if rows:
                means.setdefault(part, {})[role] = tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))
    return means


def _answer(logits: Tensor, row: Located) -> Tensor:
    """Joint probability of the target's tokens in each run, ``(R,)`` float64 on the CPU."""
    span = logits[:, row.target_start - 1 : len(row.ids) - 1].float()
    target = torch.tensor(row.target_ids, device=span.device).expand(len(span), -1)
    chosen = torch.log_softmax(span, dim=-1).gather(2, target[..., None]).squeeze(2)
    return chosen.double().sum(dim=1).exp().cpu()


def _embedding(loaded: LoadedModel) -> nn.Module:
    module = loaded.model.get_input_embeddings()  # type: ignore[operator]  # a transformers model's method
    assert isinstance(module, nn.Module)
    return module


@contextmanager
def _noise(loaded: LoadedModel, row: Located, noise: Tensor) -> Iterator[None]:
    def add(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[:, row.subject_first : row.subject_last + 1] += noise.to(changed)
        return changed

    with _embedding(loaded).register_forward_hook(add):
        yield


@contextmanager
def _restoring(
    parts: Mapping[Part, Sequence[nn.Module]],
    clean: Mapping[Part, Sequence[Tensor]],
    runs: Sequence[Sequence[Restoration]],
) -> Iterator[None]:
    """Hooks that put clean states back, each in its own run of the batch."""
    wanted: dict[tuple[Part, int], list[tuple[int, int]]] = {}
    for run, restorations in enumerate(runs):
        for item in restorations:
            for layer in item.layers:
                wanted.setdefault((item.part, layer), []).extend((run, position) for position in item.positions)

    def hook(state: Tensor, places: Sequence[tuple[int, int]]) -> Any:
        rows, positions = torch.tensor(places, device=state.device).T

        def put_back(_module: nn.Module, _args: Any, output: Any) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[rows, positions] = state[positions]
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return put_back

    handles = [
        parts[part][layer].register_forward_hook(hook(clean[part][layer], places))
        for (part, layer), places in wanted.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
