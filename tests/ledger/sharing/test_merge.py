"""Merging two ledgers: laws over random histories, each kind of difference, and who decides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.ledger.base.errors import FactConflict, HeadConflict, Refused, UnknownEdit, UsageError
from errata.ledger.care.verify import verify
from errata.ledger.events import bodies
from errata.ledger.kinds.merges import LedgerMerged, MergeRule, MergeSide, Resolution
from errata.ledger.rules.decide import decide
from errata.ledger.rules.operations import MergeLedger, RevertEdits
from errata.ledger.sharing.carry import carry
from errata.ledger.sharing.merge import choices, plan_merge
from errata.ledger.state.state import EditStatus
from tests.support.samples import NOW, new_id, some_digest
from tests.support.two_sides import Person, applied, pair, strangers

RULES = st.sampled_from(list(MergeRule))
MIRRORED = {
    MergeRule.OURS: MergeRule.THEIRS,
    MergeRule.THEIRS: MergeRule.OURS,
    MergeRule.NEWEST: MergeRule.NEWEST,
}
FACTS = st.integers(1, 3)
STEPS = st.one_of(
    st.tuples(st.just("write"), FACTS, st.sampled_from(["x", "y"])),
    st.tuples(st.just("revert"), FACTS),
    st.tuples(st.just("pick"), FACTS),
    st.tuples(st.just("bring back"), FACTS),
    st.tuples(st.just("merge"), RULES),
)
HISTORIES = st.tuples(st.booleans(), st.lists(st.tuples(st.booleans(), STEPS), max_size=12))
LAW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def played(history: tuple[bool, list[tuple[bool, Any]]]) -> tuple[Person, Person]:
    """Two people, with or without a common start, after these steps of one or the other."""
    copies, steps = history
    people = pair((1, 2)) if copies else strangers()
    for first, step in steps:
        who, other = people if first else people[::-1]
        act(who, other, step)
    return people


def act(who: Person, other: Person, step: Any) -> None:
    match step:
        case ("write", fact, target):
            who.write(fact, target)
        case ("revert", fact) if (number := who.live(fact)) is not None:
            who.revert(number)
        case ("pick", fact) if (number := other.live(fact)) is not None:
            who.pick(other, number)
        case ("bring back", fact):
            state = who.ledger.state()
            closed = [
                n for n, e in state.edits.items() if e.body.fact.subject.endswith(str(fact)) and n not in state.live
            ]
            if closed and who.live(fact) is None:
                who.pick(who, closed[0])
        case ("merge", rule):
            who.merge(other, rule)


@LAW
@given(HISTORIES)
def test_without_conflicts_both_ways_lead_to_one_version(history: Any) -> None:
    ada, ben = played(history)
    there, back = ada.plan(ben), ben.plan(ada)
    assert [(one.ours, one.theirs) for one in there.conflicts] == [(c.theirs, c.ours) for c in sorted_like(there, back)]
    if there.conflicts:
        return
    merged = ada.copy("ada"), ben.copy("ben")
    merged[0].merge(ben)
    merged[1].merge(ada)
    assert merged[0].deltas == merged[1].deltas
    assert merged[0].ledger.state().version == merged[1].ledger.state().version


def sorted_like(there: Any, back: Any) -> list[Any]:
    """The conflicts seen from the other side, in the order of these."""
    by_key = {one.key: one for one in back.conflicts}
    assert len(by_key) == len(there.conflicts)
    return [by_key[one.key] for one in there.conflicts]


@LAW
@given(HISTORIES, RULES)
def test_a_rule_settles_everything_and_its_mirror_says_the_same_from_the_other_side(
    history: Any, rule: MergeRule
) -> None:
    ada, ben = played(history)
    merged = ada.copy("ada"), ben.copy("ben")
    merged[0].merge(ben, rule)
    merged[1].merge(ada, MIRRORED[rule])
    assert merged[0].deltas == merged[1].deltas


@LAW
@given(HISTORIES, RULES)
def test_merging_twice_is_merging_once_and_the_decision_is_news_to_the_other_side(
    history: Any, rule: MergeRule
) -> None:
    ada, ben = played(history)
    ada.merge(ben, rule)
    version, head = ada.ledger.state().version, ada.ledger.store.head()
    for again in (None, *MergeRule):
        assert ada.plan(ben, again).nothing
    ben.merge(ada)  # needs no rule: what was decided is not asked again
    assert ben.ledger.state().version == version
    assert ada.plan(ben).nothing and ada.ledger.store.head() == head
    assert [f for person in (ada, ben) for f in verify(person.ledger) if "missing from objects" not in f.what] == []


@LAW
@given(HISTORIES)
def test_merging_with_itself_or_with_an_earlier_copy_changes_nothing(history: Any) -> None:
    ada, ben = played(history)
    earlier = ada.copy("earlier")
    assert ada.plan(earlier).nothing
    for fact in (1, 2, 3):
        ada.write(fact, "later")
    assert ada.plan(earlier).nothing
    assert earlier.merge(ada).conflicts == () and earlier.deltas == ada.deltas
    assert ben.plan(ben).nothing


def test_what_is_new_there_comes_in_with_its_provenance() -> None:
    ada, ben = pair((1,))
    ben.write(2, "two")
    ada.write(3, "three")
    plan = ada.merge(ben)
    assert (plan.numbers, plan.kept, plan.taken_back, plan.decided) == ((2,), (2,), (), ())
    body = applied(ada, 3)
    assert body.origin is not None and body.model_copy(update={"number": 2, "origin": None}) == applied(ben, 2)
    assert (body.origin.ledger, body.origin.number, body.origin.actor) == (ada.side.genesis, 2, "ben")
    last = ada.ledger.state().recorded(LedgerMerged)[-1].body
    assert (last.head, last.seq, last.carried, last.rule) == (ben.ledger.store.head().hash, 3, (3,), None)


def test_an_edit_taken_back_on_either_side_is_taken_back() -> None:
    ada, ben = pair((1, 2, 3))
    ada.revert(1)
    ben.revert(2)
    plan = ada.merge(ben)
    assert (plan.taken_back, plan.numbers) == ((2,), ())
    assert ada.ledger.state().live == (3,)
    assert ada.ledger.state().edits[2].status is EditStatus.REVERTED
    ben.merge(ada)
    assert ben.deltas == ada.deltas


def test_an_edit_replaced_on_one_side_is_replaced_on_both() -> None:
    ada, ben = pair((1, 2))
    ben.write(1, "new")
    plan = ada.merge(ben)
    assert (plan.numbers, plan.superseded) == ((3,), (1,))
    assert ada.ledger.state().edits[1].status is EditStatus.SUPERSEDED
    assert ada.says() == {"Subject 1": "new", "Subject 2": "old"}


@pytest.mark.parametrize("rule", [MergeRule.OURS, MergeRule.THEIRS, MergeRule.NEWEST])
def test_a_fact_changed_on_both_sides_is_a_conflict_until_somebody_decides(rule: MergeRule) -> None:
    ada, ben = pair((1,))
    ada.write(1, "mine")
    ben.write(1, "yours")
    (conflict,) = ada.plan(ben).conflicts
    assert (conflict.ours, conflict.theirs, conflict.same_target) == (2, 2, False)
    assert conflict.changed_ours is not None and conflict.changed_ours.actor == "ada"
    assert conflict.changed_theirs is not None and conflict.changed_theirs.actor == "ben"
    ada.merge(ben, rule)
    assert ada.says() == {"Subject 1": "mine" if rule is MergeRule.OURS else "yours"}
    (one,) = ada.ledger.state().recorded(LedgerMerged)[-1].body.resolutions
    assert (one.ours, one.theirs, one.by_hand) == (2, 2, False)
    assert one.taken is (MergeSide.OURS if rule is MergeRule.OURS else MergeSide.THEIRS)


def test_taken_back_on_one_side_and_changed_on_the_other_is_a_conflict_too() -> None:
    ada, ben = pair((1,))
    ada.revert(1)
    ben.write(1, "yours")
    (conflict,) = ada.plan(ben).conflicts
    assert (conflict.ours, conflict.theirs) == (None, 2)
    ada.merge(ben, MergeRule.OURS)
    assert ada.says() == {}
    ben.merge(ada)
    assert ben.says() == {}


def test_the_newest_change_counts_a_revert_too() -> None:
    ada, ben = pair((1,))
    ben.write(1, "yours")
    ada.revert(1)
    ada.merge(ben, MergeRule.NEWEST)
    assert ada.says() == {}


def test_of_two_edits_that_say_the_same_the_first_stays_from_both_sides() -> None:
    ada, ben = strangers()
    ada.write(1, "same")
    ben.write(1, "same")
    before = ada.deltas
    (decided,) = ada.merge(ben).decided
    assert decided.difference.same_target and decided.taken is MergeSide.OURS
    ben.merge(ada)
    assert ada.deltas == ben.deltas == before


def test_a_decision_holds_until_the_other_side_changes_the_fact_again() -> None:
    ada, ben = pair((1,))
    ada.write(1, "mine")
    ben.write(1, "yours")
    ada.merge(ben, MergeRule.OURS)
    assert ada.plan(ben).nothing
    ben.write(1, "again")
    assert len(ada.plan(ben).conflicts) == 1


def test_an_edit_brought_back_after_a_merge_stays() -> None:
    ada, ben = pair((1,))
    ben.revert(1)
    ada.merge(ben)
    ada.pick(ada, 1)
    assert ada.live(1) == 2 and ada.plan(ben).nothing
    assert applied(ada, 2).origin == ada.side.origin(1)
    ben.merge(ada)
    assert ben.deltas == ada.deltas


def test_by_hand_goes_before_the_rule_and_keeps_what_the_other_side_took_back() -> None:
    ada, ben = pair((1, 2, 3))
    ada.write(1, "mine")
    ben.write(1, "yours")
    ben.revert(2)
    digest = applied(ben, 4).delta_digest.removeprefix("blake3:")[:12]
    by_hand = choices(ada.side, ben.side, [f"{digest}=ours", "e2=ours"])
    plan = plan_merge(ada.side, ben.side, MergeRule.THEIRS, by_hand)
    assert (plan.numbers, plan.taken_back, plan.kept) == ((), (), (2, 4))
    assert {(one.difference.ours, one.taken, one.by_hand) for one in plan.decided} == {
        (4, MergeSide.OURS, True),
        (2, MergeSide.OURS, True),
    }
    ada.do(plan.command)
    assert ada.plan(ben).nothing  # the decision is remembered
    ben.merge(ada)
    assert ben.says() == {"Subject 1": "mine", "Subject 2": "old", "Subject 3": "old"}


@pytest.mark.parametrize(
    ("text", "error", "complaint"),
    [
        ("e1", UsageError, "write EDIT=ours or EDIT=theirs"),
        ("e1=mine", UsageError, "write EDIT=ours or EDIT=theirs"),
        ("e3=ours", UsageError, "do not differ about the fact of e3"),
        ("e99=ours", UnknownEdit, "did you mean"),
        ("0123456789=ours", UnknownEdit, "0123456789"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(text: str, error: type[Exception], complaint: str) -> None:
    ada, ben = pair((1, 2, 3))
    ben.write(1, "yours")
    with pytest.raises(error, match=complaint):
        choices(ada.side, ben.side, [text])
    with pytest.raises(UsageError, match="the other way"):
        choices(ada.side, ben.side, ["e1=ours", "e1=theirs"])


def test_a_merge_with_conflicts_or_on_a_log_that_moved_writes_nothing() -> None:
    ada, ben = pair((1,))
    ada.write(1, "mine")
    ben.write(1, "yours")
    how: dict[str, Any] = {"actor": "ada", "now": NOW, "new_id": new_id}
    head = ada.ledger.store.head()
    with pytest.raises(FactConflict) as refused:
        carry(ada.ledger, ada.plan(ben), **how)
    assert refused.value.exit_code == 3 and refused.value.fields["conflicts"] == [{"ours": 2, "theirs": 2}]
    assert ada.ledger.store.head() == head
    stale = ada.plan(ben, MergeRule.OURS)
    ada.write(2, "two")
    head = ada.ledger.store.head()
    with pytest.raises(HeadConflict):
        carry(ada.ledger, stale, **how)
    assert ada.ledger.store.head() == head


def test_merging_with_nothing_new_records_nothing() -> None:
    ada, ben = pair((1,))
    assert carry(ada.ledger, ada.plan(ben), actor="a", now=NOW, new_id=new_id) == []


RESOLUTION = Resolution(
    subject="Subject 1", prompt="The price of {} is", ours=1, theirs=2, taken=MergeSide.OURS, by_hand=False
)


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        ({}, Refused, "changed nothing and decided nothing"),
        ({"taken_back": (9,)}, UnknownEdit, "e9"),
        ({"resolutions": (RESOLUTION.model_copy(update={"ours": 9}),)}, UnknownEdit, "e9"),
        ({"resolutions": (RESOLUTION.model_copy(update={"ours": 2}),)}, Refused, "e2 is of another fact"),
        ({"resolutions": (RESOLUTION.model_copy(update={"ours": None, "theirs": None}),)}, Refused, "neither ledger"),
    ],
)
def test_a_merge_that_contradicts_the_log_is_refused(
    changes: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    ada, ben = pair((1, 2))
    fields: dict[str, Any] = {"ledger": ben.side.genesis, "head": ben.ledger.store.head()}
    with pytest.raises(error, match=complaint):
        decide(ada.ledger.state(), MergeLedger(**(fields | changes)))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"carried": (1,)}, "are the newest ones"),
        ({"carried": (2,)}, "which has no origin"),
        ({"taken_back": (1,)}, "e1 back, and it is live"),
        ({"taken_back": (3,)}, "right after the events"),
    ],
)
def test_verify_names_a_merge_that_never_was(changes: dict[str, Any], complaint: str) -> None:
    from errata.ledger.rules.rules import check
    from errata.ledger.state.fold import Fold

    ada, _ = pair((1, 3, 2))
    ada.revert(3)
    ada.write(4, "four")
    ada.revert(4)
    fields: dict[str, Any] = {
        "ledger": some_digest("other"), "seq": 4, "head": some_digest("head"), "rule": None, "carried": (),
        "taken_back": (), "resolutions": (),
    }  # fmt: skip
    if changes == {"carried": (2,)}:
        changes = {"carried": (4,)}
    with pytest.raises(Refused, match=complaint):
        check(Fold(ada.ledger.state()), LedgerMerged(**(fields | changes)))


def test_reverts_of_a_merge_say_why() -> None:
    ada, ben = pair((1,))
    ben.do(RevertEdits((1,), "wrong"))
    ada.merge(ben)
    reasons = [e.body.reason for e in ada.ledger.events() if isinstance(e.body, bodies.EditReverted)]
    assert reasons == ["taken back in the ledger that is merged"]
