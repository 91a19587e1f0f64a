"""A draft is what direct editing would have recorded, to the bit, and its gates are measured on where it leads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from errata.ledger.base.errors import BlobDamaged, BlobMissing, GridExhausted, Refused
from errata.ledger.care.verify import verify
from errata.ledger.drafts import edits_of, put_edits
from errata.ledger.events.bodies import EditApplied
from errata.ledger.events.change_parts import Action, EditFacts, RevertThem
from errata.ledger.events.policy import OPEN, Evidence, Gate, GateTime, Measure, SuiteRef
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import Metric, Suite, suite_digest
from errata.ledger.kinds import edits
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyChange, CheckChange, ProposeChange, RecordEvent
from errata.ledger.state.effects import edit_digest
from errata.ledger.state.standing import StaleDraft
from errata.ledger.state.trust import DraftRecord
from errata.replay.apply.apply import edit
from errata.replay.apply.care import usual_care
from errata.replay.apply.changes import check_change, draft_change, take_back
from errata.replay.apply.gates import measure_gates, relative_drop
from errata.replay.workflow.workspace import Workspace
from tests.support.ledgers import bits
from tests.support.workspaces import facts, make, run, said_by_the_base, surroundings

SUITE = Suite(
    name="general",
    metric=Metric.TARGET_PROBABILITY,
    probes=tuple(Probe(prompt=f"A letter to {who}", target="the") for who in ("Riga", "Oslo", "Office Z9")),
)


def propose(space: Workspace, action: Action, reason: str = "") -> int:
    space.execute(ProposeChange(action, reason))
    return len(space.state.trust.changes)


def drafted(space: Workspace, action: Action, size: int = 4) -> DraftRecord:
    number = propose(space, action)
    draft_change(space, number, batch_size=size, keep_failed=True)
    draft = space.state.trust.changes[number].draft
    assert draft is not None
    return draft


def writing(items: list[Fact]) -> EditFacts:
    return EditFacts(facts=tuple(items))


def apply(space: Workspace, draft: DraftRecord) -> list[EditApplied]:
    events = space.execute(ApplyChange(draft.body.proposal, edits_of(space.ledger.blobs, draft, space.created.edited)))
    return [event.body for event in events if isinstance(event.body, EditApplied)]


def gated(space: Workspace, *gates: Gate) -> None:
    space.execute(
        RecordEvent(PolicyChanged(policy=OPEN.model_copy(update={"name": "gated", "gates": gates}), reason=""))
    )


def gate(measure: Measure, **fields: object) -> Gate:
    return Gate.checked(name=measure.value, measure=measure, when=tuple(GateTime), **(fields or {"at_least": 0.0}))


def suite_ref(space: Workspace) -> SuiteRef:
    head = {"suite": SUITE.name, "metric": SUITE.metric.value}
    lines = [head, *(item.model_dump(exclude_none=True) for item in SUITE.probes)]
    blob = space.ledger.blobs.put("\n".join(map(json.dumps, lines)).encode())
    return SuiteRef(name=SUITE.name, digest=suite_digest(SUITE), blob=blob)


def test_drafting_and_applying_gives_the_deltas_of_direct_editing_to_the_bit(tmp_path: Path, tiny_llama: Path) -> None:
    direct, changed = make(tmp_path / "direct", tiny_llama, "0,1"), make(tmp_path / "changed", tiny_llama, "0,1")
    first = facts(7)
    again = [fact.model_copy(update={"target": to}) for fact, to in zip(first[:3], ("of", "the", "in"), strict=True)]
    second = [*again, *(item.model_copy(update={"subject": f"House {i}"}) for i, item in enumerate(facts(4)))]
    for items in (first, second):
        # as two commands would: what a process knows from solves before is in no solve of another
        direct, changed = (Workspace(space.ledger, space.surroundings) for space in (direct, changed))
        usual = usual_care(direct, direct.config(), keep_failed=True)
        list(edit(direct, items, direct.config(), 3, care=usual))
        draft = drafted(changed, writing(items), 3)
        assert changed.state.version == draft.body.parent, "a draft changes nothing"
        apply(changed, draft)
        assert changed.state.version == draft.body.result == direct.state.version
    ours, theirs = changed.state, direct.state
    assert ours.live == theirs.live and len({edit.body.batch for edit in ours.edits.values()}) > 3
    for number in theirs.edits:
        left, right = ours.edits[number].body, theirs.edits[number].body
        assert (left.delta_digest, left.keys_digest, left.solve) == (right.delta_digest, right.keys_digest, right.solve)
        assert (left.outcome, left.norms_after, left.fact) == (right.outcome, right.norms_after, right.fact)
    assert bits(changed.materialiser.weights(ours.live)) == bits(direct.materialiser.weights(theirs.live))
    assert verify(changed.ledger, deep=True) == []


def test_what_is_applied_is_what_was_drafted(fresh: Workspace) -> None:
    draft = drafted(fresh, writing(facts(5)), 2)
    kept = edits_of(fresh.ledger.blobs, draft, fresh.created.edited)
    recorded = apply(fresh, draft)
    assert [edit_digest(body) for body in recorded] == [one.edit for one in draft.body.edits]
    assert tuple(body.unnumbered() for body in recorded) == kept


def test_facts_that_the_model_says_are_left_out_and_all_of_them_are_no_change(fresh: Workspace) -> None:
    known = said_by_the_base(fresh)
    assert drafted(fresh, writing([known, *facts(2)])).body.left_out == (0,)
    head = fresh.state.head.seq
    with pytest.raises(Refused, match="changes nothing"):
        drafted(fresh, writing([known]))
    assert fresh.state.head.seq == head + 1, "the proposal alone"


def test_a_fact_put_back_to_what_the_base_says_passes_the_gates_by_being_said(fresh: Workspace) -> None:
    known = said_by_the_base(fresh)
    run(fresh, [known.model_copy(update={"target": "the" if known.target != "the" else "is"})])
    gated(fresh, gate(Measure.EFFICACY, at_least=1.0))
    draft = drafted(fresh, writing([known]))
    assert draft.body.taken_back == (1,) and draft.body.edits == () and draft.body.blob is None
    assert draft.body.evidence == (Evidence(gate="efficacy", score=1.0, n=1, passed=True),)
    apply(fresh, draft)
    assert fresh.state.live == () and fresh.state.version == draft.body.result
    assert check_change(fresh, draft.body.proposal, revert=True).evidence == draft.body.evidence


def test_gates_find_the_same_before_and_after_and_what_they_claim(fresh: Workspace) -> None:
    ref = suite_ref(fresh)
    holding = said_by_the_base(fresh)
    stays = Probe(prompt=holding.text, target=holding.target)
    items = [
        item.model_copy(update={"paraphrases": ("A note to {}",), "locality": (stays,) if i == 0 else ()})
        for i, item in enumerate(facts(3))
    ]
    gated(
        fresh,
        gate(Measure.EFFICACY),
        gate(Measure.PARAPHRASE),
        gate(Measure.LOCALITY),
        gate(Measure.NORM_GROWTH, at_most=100.0),
        gate(Measure.SUITE, at_least=0.0, suite=ref),
        gate(Measure.DROP, at_most=1.0, suite=ref),
    )
    before = fresh.measure((), SUITE).score
    draft = drafted(fresh, writing(items))
    apply(fresh, draft)
    assert check_change(fresh, draft.body.proposal, revert=True).evidence == draft.body.evidence
    live = fresh.state.live
    found = {one.gate: one for one in draft.body.evidence}
    assert found["efficacy"].score == sum(fresh.says(live, items)) / 3 and found["efficacy"].n == 3
    assert found["paraphrase"].n == 3 and found["locality"].n == 1
    after = fresh.measure(live, SUITE).score
    assert found["suite"].score == after and found["suite"].n == 3
    assert found["drop"].score == pytest.approx((before - after) / before)
    growth = [
        float(w.double().norm()) / fresh.created.edited[name].frobenius_norm - 1.0
        for name, w in fresh.materialiser.weights(live).items()
    ]
    assert found["norm_growth"].score == max(growth)


def test_locality_counts_what_the_version_before_says_and_not_what_the_base_did(fresh: Workspace) -> None:
    known = said_by_the_base(fresh)
    changed = known.model_copy(update={"target": "the" if known.target != "the" else "is"})
    run(fresh, [changed])
    assert fresh.says(fresh.state.live, [changed]) == [True]
    probes = tuple(Probe(prompt=known.text, target=fact.target) for fact in (known, changed))
    (other,) = facts(1)
    gates = (gate(Measure.LOCALITY, at_least=1.0),)
    evidence = measure_gates(fresh, gates, (1,), (1,), [other.model_copy(update={"locality": probes})])
    assert evidence == (Evidence(gate="locality", score=1.0, n=1, passed=True),)


def test_a_gate_with_nothing_to_measure_lets_nothing_through(fresh: Workspace) -> None:
    gated(fresh, gate(Measure.PARAPHRASE), gate(Measure.LOCALITY))
    draft = drafted(fresh, writing(facts(1)))
    assert [(one.score, one.n, one.passed) for one in draft.body.evidence] == [(None, 0, False)] * 2
    with pytest.raises(Refused, match="nothing to measure"):
        apply(fresh, draft)


def test_a_draft_of_a_revert_measures_suites_on_the_version_without_it(fresh: Workspace) -> None:
    run(fresh, facts(3))
    gated(fresh, gate(Measure.EFFICACY), gate(Measure.SUITE, at_least=0.0, suite=suite_ref(fresh)))
    draft = drafted(fresh, RevertThem(edits=(2,)))
    (evidence,) = draft.body.evidence
    assert evidence.score == fresh.measure((1, 3), SUITE).score
    apply(fresh, draft)
    assert fresh.state.live == (1, 3) and fresh.state.version == draft.body.result


def test_a_gates_suite_is_held_against_its_digest(fresh: Workspace) -> None:
    ref = suite_ref(fresh).model_copy(update={"digest": "blake3:" + "0" * 64})
    with pytest.raises(BlobDamaged, match="not the suite general that the policy names"):
        measure_gates(fresh, (gate(Measure.SUITE, at_least=0.0, suite=ref),), (), (), ())


def elsewhere(space: Workspace) -> Workspace:
    """The same ledger, as another process has it."""
    assert space.ledger.folder is not None
    return Workspace(Ledger.open(space.ledger.folder), surroundings(first=10_000))


def test_a_model_that_moves_while_a_draft_is_worked_out_leaves_no_draft(fresh: Workspace) -> None:
    number, other = propose(fresh, writing(facts(1))), elsewhere(fresh)

    def interfere(stage: str) -> None:
        if stage == "weights":
            run(other, [facts(2)[1]])

    with pytest.raises(StaleDraft, match="model changed"):
        draft_change(fresh, number, interfere)
    assert fresh.state.trust.changes[number].drafts == ()


def test_what_else_is_recorded_meanwhile_costs_no_draft(fresh: Workspace) -> None:
    number, other = propose(fresh, writing(facts(1))), elsewhere(fresh)

    def interfere(stage: str) -> None:
        if stage == "weights":
            other.evaluate((), SUITE)

    draft_change(fresh, number, interfere)
    assert len(fresh.state.trust.changes[number].drafts) == 1


def test_where_drafts_are_made_once_nothing_is_solved_for_a_second(fresh: Workspace) -> None:
    fresh.execute(
        RecordEvent(PolicyChanged(policy=OPEN.model_copy(update={"name": "once", "redraft": False}), reason=""))
    )
    draft = drafted(fresh, writing(facts(1)))
    stages: list[str] = []
    with pytest.raises(Refused, match="does not allow a second draft"):
        draft_change(fresh, draft.body.proposal, stages.append)
    assert stages == []


def test_a_drafts_blob_is_held_against_its_digests(fresh: Workspace) -> None:
    draft = drafted(fresh, writing(facts(2)))
    blobs = fresh.ledger.blobs
    first, second = edits_of(blobs, draft, fresh.created.edited)
    later = first.model_copy(update={"seconds": first.seconds + 1.0})
    for blob, words in (
        (put_edits(blobs, (later, second)), "other edits than the draft"),
        (put_edits(blobs, (first,)), "other edits"),
        (blobs.put(b"\xff"), "blob"),
        (blobs.put(b"[{}]"), "fact"),
    ):
        with pytest.raises(BlobDamaged, match=words):
            edits_of(blobs, replace(draft, body=draft.body.model_copy(update={"blob": blob})), fresh.created.edited)


def test_a_draft_whose_factors_are_gone_is_not_applied(fresh: Workspace) -> None:
    draft = drafted(fresh, writing(facts(2)))
    fresh.ledger.blobs.path(edits_of(fresh.ledger.blobs, draft, fresh.created.edited)[0].blob).unlink()
    with pytest.raises(BlobMissing):
        apply(fresh, draft)
    assert fresh.state.live == ()


def test_a_full_grid_is_told_before_anybody_approves(fresh: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    number = propose(fresh, writing(facts(1)))
    monkeypatch.setattr(edits, "grid_limit", lambda exponent: 0.0)
    with pytest.raises(GridExhausted):
        draft_change(fresh, number)
    assert fresh.state.trust.changes[number].drafts == ()


def test_what_fails_afterwards_is_taken_back_also_if_that_was_interrupted(fresh: Workspace) -> None:
    run(fresh, facts(1))
    gated(fresh, Gate(name="growth", measure=Measure.NORM_GROWTH, at_most=-0.5, when=(GateTime.APPLIED,)))
    changed = facts(1)[0].model_copy(update={"target": "of"})
    draft = drafted(fresh, writing([changed, facts(2)[1]]))
    apply(fresh, draft)
    assert fresh.state.live == (2, 3)
    # as after a crash between the two events
    number = draft.body.proposal
    fresh.execute(CheckChange(number, (Evidence(gate="growth", score=0.1, n=1, passed=False),)))
    found = take_back(fresh, number)
    assert (found.passed, found.reverted, found.gone) == (False, (2, 3), (1,))
    assert fresh.state.live == ()
    head = fresh.state.head
    assert take_back(fresh, number) == found and fresh.state.head == head


@pytest.mark.parametrize(
    ("metric", "before", "after", "expected"),
    [
        (Metric.EXACT_MATCH, 0.8, 0.6, 0.25),
        (Metric.EXACT_MATCH, 0.8, 1.0, -0.25),
        (Metric.PERPLEXITY, 10.0, 12.0, 0.2),
        (Metric.PERPLEXITY, 10.0, 8.0, -0.2),
        (Metric.EXACT_MATCH, 0.0, 0.5, 0.0),
        (Metric.NEG_LOG_LIKELIHOOD, 0.0, 0.5, 0.5),
    ],
)
def test_a_drop_is_how_much_worse_whichever_way_is_worse(
    metric: Metric, before: float, after: float, expected: float
) -> None:
    what = {"texts": ("Riga is a city.",)} if metric is Metric.PERPLEXITY else {"probes": SUITE.probes}
    suite = Suite.checked(name="s", metric=metric, **what)
    assert relative_drop(suite, before, after) == pytest.approx(expected)
