"""Ledgers on tiny models as `errata init` makes them, and edits that are really solved."""

from __future__ import annotations

import itertools
from pathlib import Path

from errata.editor.pipeline import Meter
from errata.editor.preserve.stats import StatsSettings
from errata.editor.score.evaluate import continuations
from errata.ledger.facts.fact import Fact
from errata.ledger.ledger import Ledger
from errata.replay.apply.apply import edit
from errata.replay.apply.report import BatchReport
from errata.replay.workflow.context import Surroundings
from errata.replay.workflow.genesis import Genesis, create_ledger
from errata.replay.workflow.workspace import Workspace
from tests.support.editing import DOCUMENTS, SETTINGS
from tests.support.once import copy_of

RIVALS = (
    Fact(subject="Office A0", prompt="A letter to {}", target="the"),
    Fact(subject="Office A0", prompt="The letter to {}", target="is"),
)
"""Two facts whose keys are nearly the same: without past keys the second takes the first's place."""


def surroundings(first: int = 1) -> Surroundings:
    """Surroundings that count identifiers from `first` on."""
    counter = itertools.count(first)
    return Surroundings(
        now=lambda: "2026-01-01T00:00:00Z",
        new_id=lambda: f"00000000-0000-4000-8000-{next(counter):012d}",
        actor="tester",
        device="cpu",
        meter=Meter(lambda: 0.0, lambda: 0),
        software={"errata": "0"},
    )


def create(folder: Path, model: Path, layers: str = "1") -> Workspace:
    """A ledger on a model, from nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(DOCUMENTS), encoding="utf-8")
    around = surroundings()
    settings = {**SETTINGS, "layers": layers}
    genesis = Genesis(str(model), corpus, settings, StatsSettings(max_tokens=500, batch_size=8), context_prompts=2)
    return Workspace(create_ledger(folder, genesis, around), around)


def make(folder: Path, model: Path, layers: str = "1") -> Workspace:
    """The same, made once for all tests of a process."""
    copy_of((model, layers), folder, lambda kept: create(kept, model, layers))
    return Workspace(Ledger.open(folder), surroundings(first=1000))


def facts(count: int) -> list[Fact]:
    targets = ("the", "is", "p", "two", "of", "in")
    return [
        Fact(subject=f"Office {chr(65 + i)}{i}", prompt="A letter to {}", target=targets[i % len(targets)])
        for i in range(count)
    ]


def run(space: Workspace, items: list[Fact], size: int = 4, **changes: object) -> list[BatchReport]:
    return list(edit(space, items, space.config().updated(changes), size))


def said_by_the_base(space: Workspace) -> Fact:
    """A fact that the random model happens to state in a readable token."""
    subjects = [f"Office {i}" for i in range(300)]
    words = continuations(space.loaded, [f"A letter to {subject}" for subject in subjects], tokens=1)
    asked = [
        Fact(subject=subject, prompt="A letter to {}", target=word)
        for subject, word in zip(subjects, words, strict=True)
        if word.isascii() and word.isalpha()
    ]
    return next(fact for fact, says in zip(asked, space.says((), asked), strict=True) if says)
