"""Edits of another ledger: the same bits, whoever carried them, in whatever order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.editor.model.loading import ModelFiles
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.kinds.merges import MergeRule
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RecordEvent, RevertEdits
from errata.ledger.sharing.carry import carry, plan_pick
from errata.ledger.sharing.merge import plan_merge
from errata.ledger.sharing.sides import Side
from errata.replay.versions.materialise import Materialiser
from errata.replay.workflow.deep_verify import deep_verify
from errata.replay.workflow.workspace import Workspace
from tests.support import ledgers as helpers

WHO = {"actor": "tester", "now": helpers.NOW, "new_id": helpers.new_ids(77)}


@pytest.fixture(scope="module")
def theirs(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Batches of three and two, one edit superseded and one reverted: live are e2, e4, e5 and e6."""
    ledger = helpers.create(tmp_path_factory.mktemp("theirs"), tiny_llama)
    helpers.apply(ledger, 3, seed=1)
    helpers.apply(ledger, 2, seed=2)
    helpers.apply(ledger, 1, seed=3, facts=[helpers.fact(1, "Lund")])
    ledger.execute(RevertEdits((3,)), actor="tester", now=helpers.NOW, new_id=helpers.new_ids(50))
    assert ledger.state().live == (2, 4, 5, 6)
    return ledger


def fresh(folder: Path, like: Ledger) -> Ledger:
    """A ledger of its own on the same base, with no edits."""
    created = like.state().created
    assert created is not None
    ledger = Ledger.create(folder)
    for reference in created.stats.values():
        ledger.blobs.put(like.blobs.get(reference.blob))
    body = created.model_copy(update={"context_prompts": ("another",)})
    ledger.execute(RecordEvent(body), actor="tester", now=helpers.NOW, new_id=helpers.new_ids(60))
    assert Side.of(ledger).genesis != Side.of(like).genesis
    return ledger


def weights(ledger: Ledger, model: Path, live: tuple[int, ...] | None = None) -> dict[str, bytes]:
    materialiser = Materialiser(ledger, ModelFiles(model))
    return helpers.bits(materialiser.weights(ledger.state().live if live is None else live))


@given(order=st.permutations([2, 4, 5, 6]))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_carrying_all_live_edits_gives_the_same_bits_in_any_order(
    theirs: Ledger, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    ours = fresh(tmp_path_factory.mktemp("ours"), theirs)
    side = Side.of(theirs)
    carry(ours, plan_pick(Side.of(ours), side, order), **WHO)
    assert ours.state().version == theirs.state().version
    assert weights(ours, tiny_llama) == weights(theirs, tiny_llama)


def test_a_carried_edit_is_reverted_to_the_bit_and_both_ledgers_stay_sound(
    theirs: Ledger, tiny_llama: Path, tmp_path: Path
) -> None:
    ours = fresh(tmp_path, theirs)
    helpers.apply(ours, 1, seed=9, facts=[helpers.fact(40)])
    before = weights(ours, tiny_llama)
    side = Side.of(theirs)
    carry(ours, plan_pick(Side.of(ours), side, (4, 2)), **WHO)
    assert weights(ours, tiny_llama) != before
    workspace = Workspace(ours, helpers.surroundings())
    workspace.tag("carried", ours.state().live)
    assert deep_verify(workspace) == []
    workspace.revert((2, 3))
    assert weights(ours, tiny_llama) == before
    for ledger in (ours, theirs):
        assert is_sound(verify(ledger, deep=True))


def test_merged_either_way_two_ledgers_have_the_same_bits(theirs: Ledger, tiny_llama: Path, tmp_path: Path) -> None:
    pair = []
    for name in ("one", "two"):
        ours = fresh(tmp_path / name, theirs)
        side = Side.of(theirs)
        carry(ours, plan_pick(Side.of(ours), side, (2, 4, 5)), **WHO)
        pair.append(ours)
    one, two = pair
    helpers.apply(one, 1, seed=20, facts=[helpers.fact(2, "Turku")])
    two.execute(RevertEdits((2,)), actor="tester", now=helpers.NOW, new_id=helpers.new_ids(70))
    helpers.apply(two, 2, seed=21, facts=[helpers.fact(30), helpers.fact(5, "Ghent")])
    for ledger, other in ((one, two), (two, one)):
        side = Side.of(other)
        plan = plan_merge(Side.of(ledger), side)
        assert plan.conflicts == ()
        carry(ledger, plan, **WHO)
    assert one.state().version == two.state().version
    assert weights(one, tiny_llama) == weights(two, tiny_llama)
    said = {one.state().edits[n].body.fact.subject: one.state().edits[n].body.fact.target for n in one.state().live}
    assert said == {"Office 2": "Turku 2", "Office 5": "Ghent 5", "Office 30": "Riga 30"}
    for ledger in pair:
        assert is_sound(verify(ledger, deep=True))


def test_the_other_sides_change_comes_in_by_rule_with_its_bits(
    theirs: Ledger, tiny_llama: Path, tmp_path: Path
) -> None:
    ours = fresh(tmp_path, theirs)
    helpers.apply(ours, 1, seed=30, facts=[helpers.fact(4, "Turku")])
    side = Side.of(theirs)
    assert [(one.ours, one.theirs) for one in plan_merge(Side.of(ours), side).conflicts] == [(1, 4)]
    carry(ours, plan_merge(Side.of(ours), side, MergeRule.THEIRS), **WHO)
    assert weights(ours, tiny_llama) == weights(theirs, tiny_llama)
