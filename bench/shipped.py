"""The model that ships, as benchmarks use it: its facts, edit requests drawn at random, and scores of a version."""

from __future__ import annotations

import json
import random
import resource
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from errata.editor.pipeline import Meter
from errata.editor.score.evaluate import probe
from errata.editor.solve.grid import CAPACITY_BITS
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.fact_files import read_facts
from errata.ledger.facts.suites import read_suite
from errata.replay.workflow.context import Surroundings
from errata.replay.workflow.genesis import Genesis, create_ledger
from errata.replay.workflow.workspace import Workspace

DEMO = Path(__file__).resolve().parent.parent / "demo"
MODEL = DEMO / "model"
DATA = DEMO / "data"


def surroundings(device: str = "cpu") -> Surroundings:
    """Clock, identifiers and meter of this process."""
    return Surroundings(
        now=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        new_id=lambda: str(uuid.uuid4()),
        actor="bench",
        device=device,
        meter=Meter(time.perf_counter, lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024),
        software={name: version(name) for name in ("torch", "transformers")},
    )


def workspace(folder: Path, settings: dict[str, Any] | None = None, capacity_bits: int = CAPACITY_BITS) -> Workspace:
    """A new ledger on the shipped model in ``folder``."""
    around = surroundings()
    genesis = Genesis(str(MODEL), DATA / "corpus.txt", settings or {}, capacity_bits=capacity_bits)
    return Workspace(create_ledger(folder, genesis, around), around)


def draw_edits(count: int, seed: int) -> list[Fact]:
    """Edit requests: facts drawn at random from all that the model knows, each with another object of its relation."""
    facts = read_facts(DATA / "facts.jsonl")
    objects = json.loads((DATA / "objects.json").read_text(encoding="utf-8"))
    rng = random.Random(seed)
    drawn = []
    for fact in rng.sample(facts, count):
        new = rng.choice([name for name in objects[fact.relation] if name != fact.target])
        drawn.append(fact.model_copy(update={"target": new, "old": fact.target}))
    return drawn


@dataclass(frozen=True)
class Scores:
    """Shares of probes answered as they should be, by exact match under greedy decoding; and how many there were."""

    efficacy: float
    paraphrase: float
    locality: float
    same_subject: float
    general: float
    counts: dict[str, int]


def scores(space: Workspace, live: Iterable[int], facts: Sequence[Fact]) -> Scores:
    """Score a version on edited facts and on the general suite.

    Locality probes that ask for an edited fact are left out: they are meant to change. ``same_subject`` asks for the
    other facts of the edited subjects, which no method here is told to keep.
    """
    keys, subjects = {fact.key for fact in facts}, {fact.subject for fact in facts}
    others = [f for f in read_facts(DATA / "facts.jsonl") if f.subject in subjects and f.key not in keys]
    edited = {text for fact in facts for text in (fact.text, *fact.paraphrase_texts)}
    probes = {
        "efficacy": [Probe(prompt=fact.text, target=fact.target) for fact in facts],
        "paraphrase": [Probe(prompt=text, target=fact.target) for fact in facts for text in fact.paraphrase_texts],
        "locality": [item for fact in facts for item in fact.locality if item.prompt not in edited],
        "same_subject": [Probe(prompt=fact.text, target=fact.target) for fact in others],
        "general": list(read_suite(DATA / "general.jsonl").probes),
    }
    shares = {}
    with space.at(live):
        for name, items in probes.items():
            results = probe(space.loaded, items)
            shares[name] = sum(result.says_target for result in results) / len(results)
    return Scores(**shares, counts={name: len(items) for name, items in probes.items()})
