"""How much of its world a model knows: ``python -m demo.recall --model demo/model``.

A probe counts as right when every token of its target is the most probable one after the prompt, which is what greedy
decoding would say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from errata.demo import DATA, MODEL
from errata.demo.relations import RELATIONS
from errata.demo.skills import skills
from errata.demo.suites import prompt_of
from errata.demo.world import make_world

ROWS = 256


@torch.no_grad()
def answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Sequence[tuple[str, str]]
) -> list[bool]:
    """Whether a model continues each prompt with its target.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        probes: Prompts and targets, the targets without their leading space.

    Returns:
        For each probe, whether the model gets it right.
    """
    encoded = []
    for prompt, target in probes:
        before = tokenizer(prompt)["input_ids"]
        encoded.append((before, tokenizer(" " + target, add_special_tokens=False)["input_ids"]))
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]) + len(encoded[i][1]))
    right = [False] * len(encoded)
    for start in range(0, len(order), ROWS):
        chunk = order[start : start + ROWS]
        width = max(len(encoded[i][0]) + len(encoded[i][1]) for i in chunk)
        ids = torch.zeros(len(chunk), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(chunk):
            tokens = encoded[i][0] + encoded[i][1]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        best = model(input_ids=ids, attention_mask=mask).logits.argmax(-1)
        for row, i in enumerate(chunk):
            before, wanted = encoded[i]
            right[i] = best[row, len(before) - 1 : len(before) - 1 + len(wanted)].tolist() == wanted
    return right


def recall(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, list[float]]:
    """Recall of all facts of the shipped world: for each relation, the share known in each of its phrasings."""
    groups = make_world().by_relation()
    table = {}
    for relation in RELATIONS:
        facts = groups[relation.name]
        table[relation.name] = [
            _share(answers(model, tokenizer, [(prompt_of(fact, n), fact.object) for fact in facts]))
            for n in range(len(relation.phrasings))
        ]
    return table


def _share(right: list[bool]) -> float:
    return sum(right) / len(right)


@click.command()
@click.option("--model", "path", type=click.Path(path_type=Path), default=MODEL, help="Folder of the model.")
def main(path: Path) -> None:
    """Tells how many facts a model knows in each phrasing, and how it does on skills and probes, as JSON."""
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, trust_remote_code=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    rows = [json.loads(line) for line in (DATA / "facts.jsonl").read_text(encoding="utf-8").splitlines()]
    near = [(probe["prompt"], probe["target"]) for row in rows for probe in row["locality"]]
    table = recall(model, tokenizer)
    report = {
        "recall": sum(sum(shares) for shares in table.values()) / sum(len(shares) for shares in table.values()),
        "recall, worst relation and phrasing": min(min(shares) for shares in table.values()),
        "skills": {name: _share(answers(model, tokenizer, pairs)) for name, pairs in skills().items()},
        "locality probes": _share(answers(model, tokenizer, near)),
        "recall by relation and phrasing": table,
    }
    click.echo(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
