"""The model that ships, as benchmarks use it: its facts, edit requests drawn at random, and scores of a version."""

from __future__ import annotations

import json
import random
import resource
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from errata.editor.pipeline import Meter
from errata.editor.score.evaluate import run_suite
from errata.editor.score.intervals import Estimate
from errata.editor.score.scores import OVERALL, DecidedBy, Family, ask_facts, summarise
from errata.editor.solve.grid import CAPACITY_BITS
from errata.ledger.facts.fact import Fact
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


def scores(space: Workspace, live: Iterable[int], facts: Sequence[Fact]) -> dict[str, Estimate]:
    """Score a version by greedy decoding, on edited facts and on the general suite.

    ``same_subject`` asks for the other facts of the edited subjects, which no method here is told to keep.
    """
    keys, subjects = {fact.key for fact in facts}, {fact.subject for fact in facts}
    others = [f for f in read_facts(DATA / "facts.jsonl") if f.subject in subjects and f.key not in keys]
    bare = [fact.model_copy(update={"paraphrases": (), "locality": ()}) for fact in others]
    with space.at(live):
        own = summarise(ask_facts(space.loaded, facts)).scores
        same = summarise(ask_facts(space.loaded, bare)).scores
        general = run_suite(space.loaded, read_suite(DATA / "general.jsonl")).estimate
    found = {family.value: own[family, DecidedBy.GREEDY] for family in OVERALL}
    return {**found, "same_subject": same[Family.EFFICACY, DecidedBy.GREEDY], "general": general}
