"""Why a version says what it says: what fires is exact, and so is what happens without an edit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from errata.editor.model.hooks import recording
from errata.editor.score.evaluate import continuations, probe
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.rules.operations import RevertEdits
from errata.replay.measure.why import why
from errata.replay.workflow.workspace import Workspace
from tests.support import ledgers as helpers

PROMPT = "The seat of Office 1 is"


@pytest.fixture(params=["tiny_llama", "tiny_gpt2"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    made = Workspace(helpers.create(tmp_path, request.getfixturevalue(request.param)), helpers.surroundings())
    helpers.apply(made.ledger, 6, seed=1, scale=0.02)
    made.execute(RevertEdits((2,)))
    return made


def test_it_says_where_each_edit_fires_and_how_strongly(space: Workspace) -> None:
    live = space.state.live
    found = why(space, PROMPT, live, target="Oslo", top=5)
    assert sorted(one.edit for one in found.edits) == list(live)
    sizes = [abs(one.influence) for one in found.edits]
    assert sizes == sorted(sizes, reverse=True)
    adapter, model = space.loaded.adapter, space.loaded.model
    ids = space.loaded.tokenizer(f"{PROMPT} Oslo")["input_ids"][:-1]
    assert len(found.tokens) == len(ids) and "".join(found.tokens[found.answer_start :]) in " Oslo"
    modules = {name: adapter.edited_module(model, spec.layer) for name, spec in space.created.edited.items()}
    with space.at(live), torch.no_grad(), recording(modules) as records:
        model(input_ids=torch.tensor([ids]), use_cache=False)
        weights = {n: m.get_parameter("weight").double().clone() for n, m in modules.items()}
    factors = {
        number: {name: (u[i].double(), v[i].double()) for name, (u, v) in group.items()}
        for members, group in space.factors.read_numbered(space.state, live)
        for i, number in enumerate(members)
    }
    for one in found.edits:
        assert one.projections is not None and one.strengths is not None
        assert list(one.projections) == list(found.layers) == [1, 2]
        for name, (u, v) in factors[one.edit].items():
            layer, keys = space.created.edited[name].layer, records[name].args[0][0].double()
            assert torch.allclose(torch.tensor(one.projections[layer]).double(), keys @ v, atol=1e-4)
            given = keys @ (weights[name] if adapter.transposed else weights[name].T)
            strengths = (keys @ v).abs() * u.norm() / given.norm(dim=1)
            assert torch.allclose(torch.tensor(one.strengths[layer]).double(), strengths, rtol=1e-3, atol=1e-6)
        assert one.strength == max(max(row) for row in one.strengths.values())
        assert one.strength == one.strengths[one.layer][one.position]
        assert one.projection == one.projections[one.layer][one.position]


def test_without_an_edit_is_the_version_without_it(space: Workspace) -> None:
    live = space.state.live
    found = why(space, PROMPT, live, target="Oslo", top=2)
    asked = Probe(prompt=PROMPT, target="Oslo")
    with space.at(live):
        (result,) = probe(space.loaded, [asked])
    assert found.log_probability == pytest.approx(result.log_probability, rel=1e-5)
    with space.at(()):
        (base,) = probe(space.loaded, [asked])
        assert found.base_says == continuations(space.loaded, [PROMPT])[0]
    assert found.base_probability == pytest.approx(math.exp(base.log_probability), rel=1e-4)
    for rank, one in enumerate(found.edits):
        assert (one.without is not None) is (one.projections is not None) is (rank < 2)
        if one.without is not None:
            with space.at([number for number in live if number != one.edit]):
                (result,) = probe(space.loaded, [asked])
                assert one.without.says == continuations(space.loaded, [PROMPT])[0]
            assert one.without.probability == pytest.approx(math.exp(result.log_probability), rel=1e-4)
            assert one.without.change == pytest.approx(found.log_probability - result.log_probability, abs=1e-4)


def test_a_small_edit_adds_what_leaving_it_out_takes(tmp_path: Path, tiny_llama: Path) -> None:
    space = Workspace(helpers.create(tmp_path, tiny_llama), helpers.surroundings())
    helpers.apply(space.ledger, 4, seed=3, scale=0.0005)
    for one in why(space, PROMPT, space.state.live, target="Oslo", top=4).edits:
        assert one.without is not None
        assert one.influence == pytest.approx(one.without.change, rel=0.1, abs=2e-3)


def test_without_a_target_the_answer_is_what_the_version_says(space: Workspace) -> None:
    found = why(space, PROMPT, space.state.live, top=0)
    assert found.answer == found.says != "" and not found.asked
    assert all(one.without is None and one.projections is None for one in found.edits)
    assert why(space, PROMPT, (1,), target=" Oslo ").answer == "Oslo"


def test_nothing_is_recorded_and_what_makes_no_sense_is_refused(space: Workspace) -> None:
    head = space.state.head
    why(space, PROMPT, (1, 3), target="Oslo", top=1)
    assert space.state.head == head
    with pytest.raises(UsageError, match="no edits"):
        why(space, PROMPT, ())
    with pytest.raises(UsageError, match="cannot be negative"):
        why(space, PROMPT, (1,), top=-1)
    with pytest.raises(UsageError, match="name an answer"):
        why(space, PROMPT, (1,), target="  ")
