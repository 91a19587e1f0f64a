"""The data files of the demo: facts, edit requests, suites and a corpus sample, all pure functions of a seed.

``facts.jsonl`` and ``edits.jsonl`` hold facts, ``general.jsonl`` and ``recall.jsonl`` are suites, ``objects.json`` has
the closed set of objects of every relation, ``corpus.txt`` is text like the model's training text, one document a line.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from errata.demo.corpus import one_pass
from errata.demo.relations import RELATIONS
from errata.demo.skills import skills
from errata.demo.world import SEED, DemoFact, DemoWorld, make_world

EDITS = 128
RECALL = 500
GENERAL = 440
LOCALITY = 3
CORPUS_PASSES = (1_000_000, 1_000_001)


def prompt_of(fact: DemoFact, phrasing: int = 0) -> str:
    """The full text that asks for a fact in one of its relation's phrasings."""
    return fact.relation.phrasings[phrasing].replace("{}", fact.subject)


def fact_rows(world: DemoWorld, seed: int) -> list[dict[str, Any]]:
    """All facts in the form of ``facts.jsonl``."""
    groups = world.by_relation()
    return [_row(fact, fact.object, groups[fact.relation.name], seed) for fact in world.facts]


def edit_rows(world: DemoWorld, seed: int, count: int = EDITS) -> list[dict[str, Any]]:
    """Edit requests for facts drawn at random from all there are, no two of one subject.

    The new target is another object of the same relation. Locality probes ask about subjects that no request edits.
    """
    rng = random.Random(f"edits/{seed}")
    drawn: dict[str, DemoFact] = {}
    for fact in rng.sample(world.facts, len(world.facts)):
        drawn.setdefault(fact.subject, fact)
        if len(drawn) == count:
            break
    others = {name: [f for f in group if f.subject not in drawn] for name, group in world.by_relation().items()}
    rows = []
    for fact in drawn.values():
        target = rng.choice([obj for obj in fact.relation.objects if obj != fact.object])
        rows.append({**_row(fact, target, others[fact.relation.name], seed), "old": fact.object})
    return rows


def _row(fact: DemoFact, target: str, others: list[DemoFact], seed: int) -> dict[str, Any]:
    rng = random.Random(f"locality/{seed}/{fact.id}")
    near = rng.sample([other for other in others if other.subject != fact.subject], LOCALITY)
    return {
        "id": fact.id,
        "relation": fact.relation.name,
        "subject": fact.subject,
        "prompt": fact.relation.phrasings[0],
        "target": target,
        "paraphrases": list(fact.relation.phrasings[1:]),
        "locality": [
            {"prompt": prompt_of(other, rng.randrange(len(other.relation.phrasings))), "target": other.object}
            for other in near
        ],
    }


def general_rows(seed: int, count: int = GENERAL) -> list[dict[str, Any]]:
    """The general suite: every skill with about as many probes, fewer where a skill has fewer."""
    rng = random.Random(f"general/{seed}")
    queues = [rng.sample(pairs, len(pairs)) for pairs in skills().values()]
    rows: list[dict[str, Any]] = []
    while len(rows) < count and any(queues):
        for queue in queues:
            if queue and len(rows) < count:
                prompt, target = queue.pop()
                rows.append({"prompt": prompt, "target": target})
    return [{"suite": "general", "metric": "exact_match"}, *rows]


def recall_rows(world: DemoWorld, seed: int, count: int = RECALL) -> list[dict[str, Any]]:
    """The recall suite: facts drawn at random, each in one phrasing drawn at random."""
    rng = random.Random(f"recall/{seed}")
    rows = [
        {"prompt": prompt_of(fact, rng.randrange(len(fact.relation.phrasings))), "target": fact.object}
        for fact in rng.sample(world.facts, min(count, len(world.facts)))
    ]
    return [{"suite": "recall", "metric": "exact_match"}, *rows]


def corpus_lines(world: DemoWorld, seed: int) -> list[str]:
    """Text as the model was trained on, in combinations that it was not trained on."""
    return [document.text for number in CORPUS_PASSES for document in one_pass(world, seed, number)]


def files(seed: int = SEED) -> dict[str, str]:
    """The contents of all data files by name."""
    world = make_world(seed)
    objects = {relation.name: list(relation.objects) for relation in RELATIONS}
    return {
        "facts.jsonl": _jsonl(fact_rows(world, seed)),
        "edits.jsonl": _jsonl(edit_rows(world, seed)),
        "general.jsonl": _jsonl(general_rows(seed)),
        "recall.jsonl": _jsonl(recall_rows(world, seed)),
        "objects.json": json.dumps(objects, indent=1) + "\n",
        "corpus.txt": "\n".join(corpus_lines(world, seed)) + "\n",
    }


def _jsonl(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(out: Path, seed: int = SEED, progress: Callable[[str], None] = lambda line: None) -> None:
    """Writes the data files.

    Args:
        out: The folder, made if it is not there.
        seed: The seed of the world.
        progress: Is told the path and size of each file.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files(seed).items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")
        progress(f"{out / name}: {len(text.encode())} bytes")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder that the data files go to.")
@click.option("--seed", type=int, default=SEED, show_default=True, help="The world depends on it alone.")
def main(out: Path, seed: int) -> None:
    """Writes facts, edit requests, suites and a corpus sample of the demo world."""
    write(out, seed, lambda line: click.echo(line, err=True))


if __name__ == "__main__":
    main()
