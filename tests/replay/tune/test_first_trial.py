"""The trial with which a ledger begins: facts that the model says, edited in memory until it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.editor.score.evaluate import probe
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.kinds.settings import SettingsChanged
from errata.replay.tune.first_trial import first_trial
from errata.replay.workflow.workspace import Workspace
from tests.support.workspaces import facts, make


@pytest.fixture
def space(tiny_llama: Path, tmp_path: Path) -> Workspace:
    return make(tmp_path, tiny_llama)


def known(space: Workspace, count: int) -> list[Fact]:
    """Facts whose old object the random model happens to say in a readable token."""
    from errata.editor.score.evaluate import continuations

    subjects = [f"House {i}" for i in range(400)]
    words = continuations(space.loaded, [f"A letter to {subject}" for subject in subjects], tokens=1)
    asked = [
        Fact(subject=subject, prompt="A letter to {}", target="the", old=word)
        for subject, word in zip(subjects, words, strict=True)
        if word.isascii() and word.isalpha() and word != "the"
    ]
    said = probe(space.loaded, [Probe(prompt=fact.text, target=fact.old or "") for fact in asked])
    return [fact for fact, result in zip(asked, said, strict=True) if result.says_target][:count]


def test_settings_that_work_stay_and_nothing_of_the_trial_is_left(space: Workspace) -> None:
    before = set(space.ledger.blobs.digests()), space.state.head
    found = first_trial(space, known(space, 4))
    assert (found.known, found.facts, len(found.tried)) == (4, 4, 1) and found.tried[0].worked == 4
    assert (set(space.ledger.blobs.digests()), space.state.head) == before
    assert found.words(space.config()).startswith("4 of 4 facts that the model knows could be edited")
    assert found.words(space.config()).endswith("the settings stay as they are")


def test_settings_that_do_not_work_are_changed_to_such_that_do_on_record(space: Workspace) -> None:
    start = space.config().updated({"learning_rate": 0.02, "max_steps": 30})
    space.change_settings(start, "far too short steps")
    found = first_trial(space, known(space, 4))
    assert found.tried[0].worked < 4 and found.choice is not None
    assert found.choice.quality > found.tried[0].quality
    assert space.config() == found.choice.config != start
    last = space.state.recorded(SettingsChanged)[-1].body
    assert last.reason.startswith("first trial: ") and "learning_rate" in last.reason


def test_a_model_that_knows_too_little_is_left_alone_and_it_is_said(space: Workspace) -> None:
    head = space.state.head
    found = first_trial(space, facts(4))
    assert (found.known, found.tried, found.choice) == (0, (), None)
    assert "too few to try the settings on" in found.words(space.config()) and space.state.head == head
