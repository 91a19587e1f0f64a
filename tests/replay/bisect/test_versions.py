"""Steps and differences between versions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errata.editor.model.loading import ModelFiles
from errata.ledger.base.errors import UsageError
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RevertEdits
from errata.ledger.sharing.carry import carry, plan_pick
from errata.ledger.sharing.sides import Side
from errata.ledger.state.state import State
from errata.replay.bisect.scope import problem_between, steps_between
from errata.replay.versions.diff import apart, diff
from errata.replay.versions.distance import Edits, TensorDistance, distances, spectral_norm, tensor_distance
from errata.replay.versions.materialise import Materialiser
from tests.support import ledgers as helpers


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
    result = diff(ledger.state(), (1, 2), (2, 1), compared(ledger, tiny_llama, (1, 2), (2, 1)))
    assert (result.edits_in, result.edits_out, result.facts) == ((), (), ())
    assert result.version_a == result.version_b
    for norms in result.norms.values():
        assert (norms.difference, norms.relative, norms.largest, norms.changed, norms.spectral) == (0, 0, 0, 0, 0)


def compared(
    ledger: Ledger, model: Path, live_a: tuple[int, ...], live_b: tuple[int, ...]
) -> dict[str, TensorDistance]:
    files = ModelFiles(model)
    out, come = apart(ledger.state(), live_a, live_b)
    a, b = Edits(Materialiser(ledger, files), live_a, out), Edits(Materialiser(ledger, files), live_b, come)
    return dict(distances(a, b, dict.fromkeys(a.materialiser.specs, 2.0)))


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
        edits[number] = record.saying(record.body.model_copy(update={"outcome": outcome, "fact": fact}))
    return replace(state, edits=edits)


def test_a_diff_tells_what_was_recorded_and_not_what_was_wished(recorded: State) -> None:
    found = {c.subject: (c.before, c.after, c.failed) for c in diff(recorded, (1, 2, 3), (3, 5, 6, 7)).facts}
    assert found == {
        "Office 1": ("Riga 1", "after 6", (False, True)),
        "Office 2": ("after 2", "before 2", (True, False)),
        "Office 5": ("before 5", "Riga 5", (False, False)),
        "Office 7": ("before 7", "Riga 7", (False, False)),
    }


def test_without_an_edit_a_version_says_what_was_said_before_the_first_of_the_fact(recorded: State) -> None:
    assert [(c.before, c.after) for c in diff(recorded, (), (4,)).facts] == [("before 1", "Lund 1")]
    assert [(c.before, c.after) for c in diff(recorded, (6,), ()).facts] == [("after 6", "before 1")]


@pytest.mark.parametrize(("live_a", "live_b"), [((), (1, 2, 3)), ((1, 2, 3), (3, 5, 6, 7)), ((6, 7), ())])
def test_distances_are_those_of_the_weights_and_of_the_exact_sums(
    ledger: Ledger, tiny_llama: Path, live_a: tuple[int, ...], live_b: tuple[int, ...]
) -> None:
    walker = Materialiser(ledger, ModelFiles(tiny_llama))
    a, b = walker.weights(live_a), walker.weights(live_b)
    sums_a, sums_b = walker.sums(live_a), walker.sums(live_b)
    for name, found in compared(ledger, tiny_llama, live_a, live_b).items():
        difference = b[name].double() - a[name].double()
        assert found.a == pytest.approx(float(a[name].double().norm()))
        assert found.b == pytest.approx(float(b[name].double().norm()))
        assert found.difference == pytest.approx(float(difference.norm())) and found.difference > 0
        assert found.relative == found.difference / 2
        assert found.largest == float(difference.abs().max())
        assert found.changed == float((b[name] != a[name]).double().mean()) > 0.5
        exact = torch.linalg.matrix_norm(sums_b[name].total - sums_a[name].total, ord=2)
        assert found.spectral == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("count", [1, 3, 7, 12, 40])
@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (9, 9)])
def test_the_spectral_norm_is_the_largest_singular_value_and_always_the_same(
    count: int, shape: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(count)
    u, v = (torch.randn(count, extent, generator=generator) for extent in shape)
    first = spectral_norm(zip(u.split(2), v.split(2), strict=True), count, shape)
    exact = torch.linalg.matrix_norm(u.double().T @ v.double(), ord=2)
    assert first == pytest.approx(float(exact), rel=1e-12)
    assert first == spectral_norm(zip(u.split(2), v.split(2), strict=True), count, shape)
    assert spectral_norm([], 0, shape) == 0.0
    cancelled = spectral_norm([(u, v), (-u, v)], 2 * count, shape)
    assert cancelled == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_bits_are_compared_and_not_values(dtype: torch.dtype) -> None:
    a = torch.tensor([[0.0, 1.0], [2.0, 3.0]], dtype=dtype)
    b = torch.tensor([[-0.0, 1.0], [2.5, 3.0]], dtype=dtype)
    found = tensor_distance(a, b, 1.0, 0.0)
    assert (found.changed, found.largest, found.difference) == (0.5, 0.5, 0.5)
    tall = a.repeat(1000, 1)
    assert tensor_distance(tall, tall + 1, 1.0, 0.0).difference == pytest.approx(2000**0.5 * 2**0.5)


def test_an_edit_that_was_brought_back_is_the_same_edit(tiny_llama: Path, tmp_path: Path) -> None:
    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 2, seed=0)
    revert(ledger, 1)
    side = Side.of(ledger)
    carry(ledger, plan_pick(side, side, (1,)), actor="a", now=helpers.NOW, new_id=helpers.new_ids(9))
    result = diff(ledger.state(), (1, 2), (2, 3))
    assert (result.edits_in, result.edits_out, result.facts) == ((), (), ())
    assert result.version_a == result.version_b


def test_versions_of_two_ledgers_are_compared_by_deltas(tiny_llama: Path, tmp_path: Path) -> None:
    ours = helpers.create(tmp_path / "ours", tiny_llama)
    theirs = helpers.create(tmp_path / "theirs", tiny_llama)
    helpers.apply(theirs, 3, seed=1)
    helpers.apply(ours, 1, seed=2, facts=[helpers.fact(2, "Lund")])
    side = Side.of(theirs)
    carry(ours, plan_pick(Side.of(ours), side, (3,)), actor="a", now=helpers.NOW, new_id=helpers.new_ids(9))
    result = diff(ours.state(), (1, 2), (1, 2, 3), other=theirs.state())
    assert (result.edits_out, result.edits_in) == ((1,), (1, 2))
    assert {(c.subject, c.before, c.after, c.edits) for c in result.facts} == {
        ("Office 1", "Oslo", "Riga 1", (None, 1)),
        ("Office 2", "Lund 2", "Riga 2", (1, 2)),
    }
    back = diff(theirs.state(), (1, 2, 3), (1, 2), other=ours.state())
    assert (back.edits_in, back.edits_out) == (result.edits_out, result.edits_in)
    assert {(c.subject, c.after, c.before) for c in back.facts} == {
        (c.subject, c.before, c.after) for c in result.facts
    }
