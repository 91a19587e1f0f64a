"""Where the shipped model keeps a subject: hidden states swapped between two subjects, by place and layer.

An interchange experiment in the manner of causal tracing (Meng et al. 2022): a prompt about one subject is run with the
hidden states of the same prompt about another subject put in at one place after one layer. The figure is the share of
pairs that then answer for the other subject.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bench.shipped import DATA, MODEL
from errata.editor.model.hooks import recording
from errata.editor.model.loading import LoadedModel, load_model
from errata.editor.model.text import Located, locate, pad
from errata.ledger.facts.fact import Fact
from errata.ledger.facts.fact_files import read_facts

PLACES = ("last token of the name", "tokens before it", "last token of the prompt")


def run(pairs: int = 150, seed: int = 4) -> dict[str, Any]:
    """Swap states for pairs of facts of one relation whose names have as many tokens."""
    loaded = load_model(MODEL)
    chosen = _pairs(loaded, pairs, seed)
    rows_a = [a for a, _ in chosen]
    rows_b = [b for _, b in chosen]
    (ids_a, mask), (ids_b, _) = pad([row.ids for row in rows_a], "cpu"), pad([row.ids for row in rows_b], "cpu")
    modules = {"embedding": loaded.model.get_input_embeddings()}
    for layer in range(loaded.adapter.layer_count(loaded.model)):
        modules[f"layer {layer}"] = loaded.adapter.layer(loaded.model, layer)
    with torch.no_grad(), recording(modules) as states:
        loaded.model(input_ids=ids_b, attention_mask=mask, use_cache=False)
    table: dict[str, Any] = {"pairs": len(chosen), "places": {}}
    for place in PLACES:
        where = _where(place, rows_a, ids_a.shape[1])
        shares = {}
        for name, module in modules.items():
            with _swapped(module, states[name].hidden, where):
                answers = _answers_for_b(loaded, ids_a, mask, rows_b)
            shares[name] = sum(answers) / len(answers)
        table["places"][place] = shares
    return table


def _pairs(loaded: LoadedModel, count: int, seed: int) -> list[tuple[Located, Located]]:
    rng = random.Random(seed)
    facts = read_facts(DATA / "facts.jsonl")
    groups: dict[tuple[str | None, int, int], list[Fact]] = {}
    for fact in facts:
        row = locate(loaded.tokenizer, fact.prompt, fact.subject)
        target = len(locate(loaded.tokenizer, fact.prompt, fact.subject, fact.target).target_ids)
        groups.setdefault((fact.relation, len(row.ids), target), []).append(fact)
    found = []
    for group in groups.values():
        rng.shuffle(group)
        for a, b in zip(group[::2], group[1::2], strict=False):
            if a.target != b.target:
                found.append(
                    (
                        locate(loaded.tokenizer, a.prompt, a.subject, b.target),
                        locate(loaded.tokenizer, b.prompt, b.subject, b.target),
                    )
                )
    return rng.sample(found, min(count, len(found)))


def _where(place: str, rows: list[Located], width: int) -> Tensor:
    """Which positions are swapped, ``(B, T)`` bool."""
    where = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        if place == PLACES[0]:
            where[i, row.subject_last] = True
        elif place == PLACES[1]:
            where[i, : row.subject_last] = True
        else:
            where[i, row.target_start - 1] = True
    return where


@contextmanager
def _swapped(module: nn.Module, states: Tensor, where: Tensor) -> Iterator[None]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        mixed = torch.where(where[:, :, None], states, hidden)
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def _answers_for_b(loaded: LoadedModel, ids: Tensor, mask: Tensor, rows: list[Located]) -> list[bool]:
    chosen = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits.argmax(dim=-1)
    return [
        chosen[i, row.target_start - 1 : len(row.ids) - 1].tolist() == list(row.target_ids)
        for i, row in enumerate(rows)
    ]


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    names = list(next(iter(table["places"].values())))
    lines = [" " * 26 + "  ".join(f"{name:>9}" for name in names)]
    for place, shares in table["places"].items():
        lines.append(f"{place:<26}" + "  ".join(f"{shares[name]:>9.0%}" for name in names))
    lines.append(f"{table['pairs']} pairs; per cent that answer for the other subject")
    return "\n".join(lines)
