"""Steps and differences between versions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editor.models import ModelFiles
from ledger.commands import RevertEdits
from ledger.errors import UsageError
from ledger.ledger import Ledger
from ledger.state import State
from replay.diff import diff, tensor_norms
from replay.materialise import Materialiser
from replay.versions import problem_between, steps_between
from tests.replay import helpers


@pytest.fixture(scope="module")
def ledger(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """e1 e2 e3, then e4 supersedes e1, e5, e6 supersedes e4, e2 is reverted, e7 and e8 come and e8 is reverted."""
    ledger = helpers.create(tmp_path_factory.mktemp("versions"), tiny_llama)

    def again(number: int, target: str) -> None:
        helpers.apply(ledger, 1, seed=len(ledger.state().edits) + 10, facts=[helpers.fact(number, target)])

    helpers.apply(ledger, 3, seed=0)
    again(1, "Lund")
    helpers.apply(ledger, 1, seed=1)
    again(1, "Turku")
    revert(ledger, 2)
    helpers.apply(ledger, 2, seed=2)
    revert(ledger, 8)
    return ledger


def revert(ledger: Ledger, number: int) -> None:
    ledger.execute(
        RevertEdits((number,)), actor="tester", now=helpers.NOW, new_id=helpers.new_ids(100 + ledger.state().head.seq)
    )


def test_the_story_is_as_the_fixture_says(ledger: Ledger) -> None:
    assert ledger.state().live == (3, 5, 6, 7)


def test_a_chain_of_superseding_is_one_step_and_what_came_and_went_is_none(ledger: Ledger) -> None:
    steps = steps_between(ledger.state(), (1, 2, 3), (3, 5, 6, 7))
    assert [(step.added, step.removed) for step in steps] == [((5,), ()), ((6,), (1,)), ((), (2,)), ((7,), ())]
    assert [step.seq for step in steps] == sorted(step.seq for step in steps)


@given(good=st.sets(st.integers(1, 8)), bad=st.sets(st.integers(1, 8)))
def test_taking_all_steps_leads_from_one_version_to_the_other(ledger: Ledger, good: set[int], bad: set[int]) -> None:
    if good == bad:
        with pytest.raises(UsageError):
            problem_between(ledger.state(), good, bad)
        return
    problem = problem_between(ledger.state(), good, bad)
    assert problem.bad == frozenset(bad)
    live = problem.good
    for step in problem.steps:
        assert step.backward(step.forward(live)) == live
        live = step.forward(live)
    assert live == frozenset(bad)


def test_a_superseding_pair_is_one_changed_fact(ledger: Ledger) -> None:
    result = diff(ledger.state(), (1, 2, 3), (3, 5, 6, 7))
    assert result.edits_in == (5, 6, 7) and result.edits_out == (1, 2)
    changes = {(change.subject, change.before, change.after, change.edits) for change in result.facts}
    assert changes == {
        ("Office 1", "Riga 1", "Turku 1", (1, 6)),
        ("Office 2", "Riga 2", "Oslo", (2, None)),
        ("Office 5", "Oslo", "Riga 5", (None, 5)),
        ("Office 7", "Oslo", "Riga 7", (None, 7)),
    }


def test_a_diff_turned_round_swaps_before_and_after(ledger: Ledger) -> None:
    there = diff(ledger.state(), (1, 2, 3), (3, 6))
    back = diff(ledger.state(), (3, 6), (1, 2, 3))
    assert (there.edits_in, there.edits_out) == (back.edits_out, back.edits_in)
    assert {(c.subject, c.before, c.after) for c in there.facts} == {(c.subject, c.after, c.before) for c in back.facts}


def test_a_version_does_not_differ_from_itself(ledger: Ledger, tiny_llama: Path) -> None:
    weights = Materialiser(ledger, ModelFiles(tiny_llama)).weights((1, 2))
    result = diff(ledger.state(), (1, 2), (2, 1), tensor_norms(weights, weights))
    assert (result.edits_in, result.edits_out, result.facts) == ((), (), ())
    assert result.version_a == result.version_b
    assert {norms.difference for norms in result.norms.values()} == {0.0}


OLD = "what the user claims"


@pytest.fixture(scope="module")
def recorded(ledger: Ledger) -> State:
    """The same story, with outcomes that differ: the edits e2 and e6 did not work, and every `old` is another."""
    state = ledger.state()
    edits = {}
    for number, record in state.edits.items():
        outcome = record.body.outcome.model_copy(
            update={
                "said_before": f"before {number}",
                "said_after": f"after {number}",
                "efficacy": number not in (2, 6),
            }
        )
        fact = record.body.fact.model_copy(update={"old": OLD})
        edits[number] = replace(record, body=record.body.model_copy(update={"outcome": outcome, "fact": fact}))
    return replace(state, edits=edits)


def test_a_diff_tells_what_was_recorded_and_not_what_was_wished(recorded: State) -> None:
    found = {c.subject: (c.before, c.after, c.failed) for c in diff(recorded, (1, 2, 3), (3, 5, 6, 7)).facts}
    assert found == {
        "Office 1": ("Riga 1", "after 6", (6,)),
        "Office 2": ("after 2", "before 2", (2,)),
        "Office 5": ("before 5", "Riga 5", ()),
        "Office 7": ("before 7", "Riga 7", ()),
    }


def test_without_an_edit_a_version_says_what_was_said_before_the_first_of_the_fact(recorded: State) -> None:
    assert [(c.before, c.after) for c in diff(recorded, (), (4,)).facts] == [("before 1", "Lund 1")]
    assert [(c.before, c.after) for c in diff(recorded, (6,), ()).facts] == [("after 6", "before 1")]


def test_norms_are_those_of_the_weights(ledger: Ledger, tiny_llama: Path) -> None:
    files = ModelFiles(tiny_llama)
    walker = Materialiser(ledger, files)
    a, b = walker.weights(()), walker.weights((1, 2, 3))
    for name, norms in tensor_norms(a, b).items():
        assert norms.a == pytest.approx(float(files.tensor(name).double().norm()))
        assert norms.b == pytest.approx(float(b[name].double().norm()))
        assert norms.difference == pytest.approx(float((b[name].double() - a[name].double()).norm()))
        assert norms.difference > 0
