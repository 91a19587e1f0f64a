"""Blame finds what was planted, its exact values are those of the versions themselves, and a prior is one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errata.editor.attribute.influence import add_gradients, gradients_for
from errata.editor.attribute.stand_in import log_probability, measure, stand_in
from errata.editor.model.text import locate
from errata.editor.score.ranking import spearman
from errata.ledger.base.errors import UnknownEdit, UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.ledger.rules.operations import RevertEdits
from errata.ledger.state.state import Step
from errata.replay.bisect.prior import EVEN_SHARE, prior, step_harm, step_weights
from errata.replay.bisect.scope import steps_between
from errata.replay.measure.blame import blame
from errata.replay.measure.first_order import first_order
from errata.replay.versions import factors
from errata.replay.workflow.workspace import Workspace
from tests.support import ledgers as helpers

PROBES = tuple(Probe(prompt=f"The seat of Office {i} is", target="Oslo", against="Riga") for i in range(6))
TEXTS = ("Refunds are accepted within thirty days.", "Ada works for Calder Mills in Bergen.")


def suite(metric: Metric = Metric.EXACT_MATCH) -> Suite:
    if metric is Metric.PERPLEXITY:
        return Suite(name="texts", metric=metric, texts=TEXTS)
    return Suite(name="offices", metric=metric, probes=PROBES)


@pytest.fixture(params=["tiny_llama", "tiny_gpt2"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    return Workspace(helpers.create(tmp_path, request.getfixturevalue(request.param)), helpers.surroundings())


@pytest.fixture
def llama(tmp_path: Path, tiny_llama: Path) -> Workspace:
    return Workspace(helpers.create(tmp_path, tiny_llama), helpers.surroundings())


def harmful(space: Workspace, scale: float) -> Mapping[str, tuple[torch.Tensor, torch.Tensor]]:
    """One edit's factors, as long as drawn ones are, turned to where the suite gets worse: the first singular pair."""
    metric = stand_in(space.loaded, suite())
    gradients = gradients_for(space.loaded, sorted(spec.layer for spec in space.created.edited.values()))
    add_gradients(space.loaded, metric, gradients)
    planted = {}
    for name, spec in space.created.edited.items():
        u, _, v = torch.linalg.svd(gradients[spec.layer].matrix(), full_matrices=False)
        planted[name] = (-scale * math.sqrt(spec.shape[0]) * u[:, :1].T, math.sqrt(spec.shape[1]) * v[:1])
    return planted


def test_a_harmful_edit_among_five_hundred_is_in_the_first_five(llama: Workspace) -> None:
    for batch in range(5):
        helpers.apply(llama.ledger, 50, seed=batch, scale=0.001)
    (planted,) = helpers.apply(llama.ledger, 1, seed=99, factors=harmful(llama, 0.001))
    for batch in range(5, 10):
        helpers.apply(llama.ledger, 50 - (batch == 9), seed=batch, scale=0.001)
    live = llama.state.live
    assert len(live) == 500
    found = blame(llama, live, suite(), top=2, check=6)
    assert planted in [one.edit for one in found.edits[:5]]
    assert sorted(one.edit for one in found.edits) == list(live)
    assert found.edits[0].left_out is not None and found.edits[0].left_out.harm > 0
    assert found.agreement_all.stand_in is not None and found.agreement_all.stand_in > 0.7


@pytest.mark.parametrize("metric", [m for m in Metric if m is not Metric.NGRAM_ENTROPY])
def test_exact_values_are_those_of_the_versions(space: Workspace, metric: Metric) -> None:
    helpers.apply(space.ledger, 6, seed=1, scale=0.002)
    space.execute(RevertEdits((3,)))
    live, asked = space.state.live, suite(metric)
    found = blame(space, live, asked, top=2, check=2, seed=5)
    by_loss = metric in (Metric.NEG_LOG_LIKELIHOOD, Metric.TARGET_RANK, Metric.PERPLEXITY)
    assert found.higher_is_better is not by_loss
    assert [one.harm for one in found.edits] == sorted((one.harm for one in found.edits), reverse=True)
    left_out = {one.edit: one.left_out for one in found.edits if one.left_out is not None}
    assert set(left_out) == {one.edit for one in found.edits[:2]} | set(found.sample)
    assert len(left_out) == 4
    function = stand_in(space.loaded, asked)
    with space.at(live):
        assert (found.score, found.value) == measure(space.loaded, asked, function)
    for number, one in left_out.items():
        with space.at([n for n in live if n != number]):
            score, value = measure(space.loaded, asked, function)
        assert one.score_without == pytest.approx(score)
        assert one.score == pytest.approx(found.score - score)
        assert one.stand_in == pytest.approx(found.value - value)
        assert one.harm == (one.stand_in if by_loss else -one.stand_in)
    for one in found.edits:
        assert one.influence == pytest.approx(sum(one.parts.values()))
        assert one.harm == (one.influence if by_loss else -one.influence)
        assert list(one.parts) == list(space.created.edited)


def test_small_edits_are_ranked_as_leaving_them_out_ranks_them(space: Workspace) -> None:
    helpers.apply(space.ledger, 12, seed=2, scale=0.0005)
    found = blame(space, space.state.live, suite(Metric.NEG_LOG_LIKELIHOOD), top=12)
    exact = [one.left_out.stand_in for one in found.edits if one.left_out is not None]
    assert found.agreement_top.stand_in == spearman([one.influence for one in found.edits], exact)
    assert found.agreement_top.stand_in is not None and found.agreement_top.stand_in > 0.9
    assert found.agreement_top == found.agreement_all
    assert (found.agreement_sample.edits, found.agreement_sample.stand_in) == (0, None)


def test_a_batch_that_is_read_in_pieces_has_the_influences_of_its_edits(
    llama: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = helpers.apply(llama.ledger, 11, seed=0, scale=0.001)
    metric = stand_in(llama.loaded, suite())
    one_by_one = {number: first_order(llama, numbers, (number,), metric).influence(number) for number in numbers}
    monkeypatch.setattr(factors, "ROWS_AT_ONCE", 4)
    found = first_order(llama, numbers, numbers, metric)
    assert sorted(found.parts) == numbers
    assert {number: found.influence(number) for number in numbers} == pytest.approx(one_by_one, rel=1e-6)


def test_nothing_is_recorded_and_the_model_is_the_base_again(llama: Workspace) -> None:
    helpers.apply(llama.ledger, 3, seed=1)
    head = llama.state.head
    before = {name: tensor.clone() for name, tensor in llama.loaded.model.state_dict().items()}
    blame(llama, llama.state.live, suite(), top=1)
    assert llama.state.head == head
    after = llama.loaded.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_another_function_of_the_same_answers_can_be_blamed_for(llama: Workspace) -> None:
    helpers.apply(llama.ledger, 4, seed=1, scale=0.002)
    asked = Suite(name="prompt", metric=Metric.TARGET_PROBABILITY, probes=PROBES[:1])
    row = locate(llama.loaded.tokenizer, PROBES[0].prompt, target=PROBES[0].target)
    found = blame(llama, llama.state.live, asked, top=1, differentiated=log_probability(row))
    assert found.score == pytest.approx(math.exp(found.value))
    assert found.stand_in == "log-probability of the target, nats"


def test_edits_that_are_not_live_have_an_influence_too(llama: Workspace) -> None:
    helpers.apply(llama.ledger, 3, seed=1, scale=0.0005)
    metric = stand_in(llama.loaded, suite())
    found = first_order(llama, (1, 2), (3,), metric)
    with llama.at((1, 2)):
        without = metric.value(llama.loaded)
    with llama.at((1, 2, 3)):
        assert metric.value(llama.loaded) - without == pytest.approx(found.influence(3), rel=0.1)
    assert found.value == pytest.approx(without, rel=1e-5)
    with pytest.raises(UnknownEdit):
        first_order(llama, (1, 2), (4,), metric)


def test_what_cannot_be_blamed_is_said(llama: Workspace) -> None:
    with pytest.raises(UsageError, match="no edits"):
        blame(llama, (), suite())
    helpers.apply(llama.ledger, 1, seed=1)
    with pytest.raises(UsageError, match="no gradient"):
        blame(llama, (1,), Suite(name="t", metric=Metric.NGRAM_ENTROPY, texts=TEXTS))
    with pytest.raises(UsageError, match="cannot be negative"):
        blame(llama, (1,), suite(), top=-1)


def test_the_prior_of_a_bisection_is_highest_where_the_harm_is(llama: Workspace) -> None:
    helpers.apply(llama.ledger, 10, seed=1, scale=0.001)
    (planted,) = helpers.apply(llama.ledger, 1, seed=2, factors=harmful(llama, 0.001))
    helpers.apply(llama.ledger, 5, seed=3, scale=0.001)
    llama.execute(RevertEdits((4,)))
    bad = llama.state.live
    steps = steps_between(llama.state, llama.state.live_at(11), bad)
    assert any(step.removed for step in steps)
    weights = prior(llama, bad, steps, suite())
    assert planted in steps[weights.index(max(weights))].added


HARMS = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20)


@given(HARMS, st.data())
def test_weights_are_positive_finite_and_rise_with_harm(harms: list[float], data: st.DataObject) -> None:
    removal = data.draw(st.lists(st.booleans(), min_size=len(harms), max_size=len(harms)))
    steps = [Step(i, () if gone else (i,), (i,) if gone else ()) for i, gone in enumerate(removal)]
    by_edit = dict(enumerate(harms))
    weights = step_weights(by_edit, steps)
    assert len(weights) == len(steps)
    assert all(math.isfinite(weight) and weight >= EVEN_SHARE / len(steps) * 0.999 for weight in weights)
    assert sum(weights) == pytest.approx(1)
    found = [step_harm(by_edit, step) for step in steps]
    for a, first in zip(found, weights, strict=True):
        for b, second in zip(found, weights, strict=True):
            assert not a > b or first >= second


def test_weights_of_steps_are_of_their_net_harm() -> None:
    harms = {1: 2.0, 2: -1.0, 3: 0.5}
    assert step_harm(harms, Step(9, (1,), (2, 3))) == 2.5
    assert step_weights(harms, [Step(1, (1,), ()), Step(2, (), (1,))])[0] > 0.5
    assert step_weights(harms, []) == ()
    assert step_weights({1: 3.0, 2: 3.0}, [Step(1, (1,), ()), Step(2, (2,), ())]) == (0.5, 0.5)
    once = step_weights(harms, [Step(i, (i,), ()) for i in harms])
    assert step_weights({n: 1e-200 * h for n, h in harms.items()}, [Step(i, (i,), ()) for i in harms]) == (
        pytest.approx(once)
    ), "the unit does not matter"
    with pytest.raises(UsageError, match="finite"):
        step_weights({1: math.nan}, [Step(1, (1,), ())])
