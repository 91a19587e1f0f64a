"""Adapters of real edits on the shipped model: exact where the rank holds them, and what smaller ranks cost.

A batch's edits go into one ledger; adapters of its head are exported at several ranks, loaded by transformers'
`load_adapter`, and asked for the edited facts by exact match under greedy decoding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.shipped import MODEL, draw_edits, workspace
from errata.editor.model.loading import LoadedModel, load_model
from errata.editor.score.evaluate import probe
from errata.ledger.facts.fact import Fact, Probe
from errata.replay.apply.apply import edit
from errata.replay.export.adapter_card import describe
from errata.replay.export.adapter_export import WEIGHTS_FILE, LoraAdapter, build_adapter, write_adapter
from errata.replay.workflow.workspace import Workspace

TEXTS = 64
"""Prompts whose logits are compared."""


def run(
    counts: Sequence[int] = (20, 100), ranks: Sequence[int] = (8, 16, 32, 64), batch_size: int = 20, seed: int = 5
) -> dict[str, Any]:
    """Edit, export at each rank and at the exact one, load, and ask."""
    return {
        "seed": seed,
        "batch_size": batch_size,
        "ledgers": [_measure(draw_edits(count, seed), ranks, batch_size) for count in counts],
    }


def _measure(facts: Sequence[Fact], ranks: Sequence[int], batch_size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        space = workspace(Path(folder))
        for _ in edit(space, facts, space.config(), batch_size):
            pass
        live = space.state.live
        with space.at(live):
            efficacy, locality = _says(space.loaded, facts)
            logits = _logits(space.loaded, facts)
        rows = []
        for rank in (*(rank for rank in ranks if rank < len(live)), None):
            rows.append(_adapter(space, facts, rank, logits, Path(folder) / f"rank-{rank}"))
        (spec,) = space.created.edited.values()
        return {
            "edits": len(live),
            "shape": list(spec.shape),
            "efficacy": efficacy,
            "locality": locality,
            "edited_tensor_bytes": 4 * spec.shape[0] * spec.shape[1],
            "adapters": rows,
        }


def _adapter(space: Workspace, facts: Sequence[Fact], rank: int | None, logits: Tensor, folder: Path) -> dict[str, Any]:
    live = space.state.live
    adapter = build_adapter(space.ledger, live, rank=rank)
    write_adapter(adapter, folder, describe(space.ledger, adapter, live, "HEAD", None).files())
    served = load_model(MODEL)
    served.model.load_adapter(str(folder))
    efficacy, locality = _says(served, facts)
    (module,) = adapter.modules
    return {
        "rank": adapter.rank,
        "exact": adapter.exact,
        "relative_error": module.pair.relative_error,
        "error_to_base": module.error_to_base,
        "efficacy": efficacy,
        "locality": locality,
        "logits_off_by": float((_logits(served, facts) - logits).abs().max() / logits.abs().max()),
        "error_in_bfloat16": _error_in_bfloat16(space, adapter),
        "merged_has_the_bits": _merged_has_the_bits(space, adapter, folder),
        "bytes": (folder / WEIGHTS_FILE).stat().st_size,
    }


def _merged_has_the_bits(space: Workspace, adapter: LoraAdapter, folder: Path) -> bool:
    """Whether the written factors, merged in float64, give the version's weights bit for bit."""
    written, weights = load_file(folder / WEIGHTS_FILE), space.materialiser.weights(space.state.live)
    same = []
    for module in adapter.modules:
        key = f"base_model.model.{module.module}.lora_"
        change = written[f"{key}B.weight"].double() @ written[f"{key}A.weight"].double()
        merged = (space.files.tensor(module.tensor).double() + change).to(weights[module.tensor].dtype)
        same.append(torch.equal(merged, weights[module.tensor]))
    return all(same)


def _error_in_bfloat16(space: Workspace, adapter: LoraAdapter) -> float:
    """``‖S - B A‖ / ‖S‖`` with both factors rounded to bfloat16, as servers hold them for a bfloat16 base."""
    (module,) = adapter.modules
    total = space.materialiser.sums(space.state.live)[module.tensor].total
    rounded = module.pair.b.bfloat16().double() @ module.pair.a.bfloat16().double()
    return float((total - rounded).norm() / total.norm())


def _says(loaded: LoadedModel, facts: Sequence[Fact]) -> tuple[float, float]:
    """The shares of edited facts and of their locality probes, facts that were not edited, that a model says."""
    edited = {text for fact in facts for text in (fact.text, *fact.paraphrase_texts)}
    others = [item for fact in facts for item in fact.locality if item.prompt not in edited]
    asked = [Probe(prompt=fact.text, target=fact.target) for fact in facts]
    found = [[result.says_target for result in probe(loaded, items)] for items in (asked, others)]
    return sum(found[0]) / len(found[0]), sum(found[1]) / len(found[1])


@torch.no_grad()
def _logits(loaded: LoadedModel, facts: Sequence[Fact]) -> Tensor:
    """Logits after each of the first prompts' last token, ``(TEXTS, vocabulary)``."""
    rows = [loaded.tokenizer(fact.text, return_tensors="pt")["input_ids"] for fact in facts[:TEXTS]]
    return torch.cat([loaded.model(ids).logits[:, -1].float() for ids in rows])


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    head = ("edits", "rank", "exact", "error / change", "says edits", "says others", "logits off by", "bits merged",
            "size")  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    for ledger in table["ledgers"]:
        rows.append((str(ledger["edits"]), "version", "", "", *_shares(ledger), "", "", ""))
        for row in ledger["adapters"]:
            rows.append(
                (
                    str(ledger["edits"]),
                    str(row["rank"]),
                    "yes" if row["exact"] else "no",
                    f"{row['relative_error']:.1%}",
                    *_shares(row),
                    f"{row['logits_off_by']:.1e}",
                    "equal" if row["merged_has_the_bits"] else "differ",
                    f"{row['bytes'] / ledger['edited_tensor_bytes']:.0%}",
                )
            )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    first = table["ledgers"][0]
    lines.append(
        f"edits in batches of {table['batch_size']} (seed {table['seed']}); one edited matrix, "
        f"{first['shape'][0]} x {first['shape'][1]}; size is that of the adapter beside the matrix"
    )
    worst = max(row["error_in_bfloat16"] for ledger in table["ledgers"] for row in ledger["adapters"] if row["exact"])
    lines.append(f"exact adapters with their factors rounded to bfloat16: off by {worst:.2%} of the change at most")
    return "\n".join(lines)


def _shares(row: dict[str, Any]) -> tuple[str, str]:
    return f"{row['efficacy']:.0%}", f"{row['locality']:.1%}"
