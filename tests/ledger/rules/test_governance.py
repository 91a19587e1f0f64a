"""Who may change what the model believes: each rule of the policy, and what is refused without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from errata.commands.words.change_view import who_could
from errata.ledger.base.errors import Refused, UsageError
from errata.ledger.care.verify import verify
from errata.ledger.events.change_parts import (
    Authority,
    ChangeAccess,
    ChangePolicy,
    Choice,
    Closing,
    DraftedEdit,
    GrantKey,
    GrantRole,
    MoveTag,
    ReviewVerdict,
    RevokeKey,
    RevokeRole,
)
from errata.ledger.events.envelope import Head
from errata.ledger.events.policy import (
    CONTROLLED,
    OPEN,
    REGULATED,
    ActionSort,
    Capability,
    Gate,
    Measure,
    Policy,
    Requirement,
)
from errata.ledger.events.trust_bodies import ChangeApproved, ChangeClosed, ChangeRejected, GlassReviewed, PolicyChanged
from errata.ledger.facts.fact import fact_digest
from errata.ledger.kinds.clocks import ClockSet
from errata.ledger.rules.operations import (
    ApplyChange,
    ApplyEdits,
    ChangeKeysAndRoles,
    CheckChange,
    MergeLedger,
    ProposeChange,
    RecordDraft,
    RecordEvent,
    RevertEdits,
    TagVersion,
    UntagVersion,
)
from errata.ledger.state.effects import edit_digest
from errata.ledger.state.standing import StaleDraft, missing, still_asked
from errata.ledger.state.trust import ChangeStatus, later
from tests.support.people import Team, facts, good, key_of, reverts, team
from tests.support.samples import TENSORS, evaluation, new_edit, some_digest


def refused(team: Team, what: Callable[[], Any], complaint: str, error: type[Exception] = Refused) -> None:
    """It is refused with this reason, and nothing is written."""
    head = team.ledger.store.head()
    with pytest.raises(error, match=complaint):
        what()
    assert team.ledger.store.head() == head


def damage_but_for_blobs(here: Team) -> list[str]:
    """What verify finds, but for the factors that these edits only pretend to have."""
    return [finding.what for finding in verify(here.ledger) if "missing from objects" not in finding.what]


def test_a_change_is_proposed_drafted_approved_and_applied() -> None:
    here = team()
    number = here.whole(facts(1, 2))
    state = here.state
    assert state.live == (1, 2)
    change = state.trust.changes[number]
    assert change.status is ChangeStatus.APPLIED
    assert (change.author, change.drafts[0].drafter, change.approvals[0].decision.person) == ("ada", "dan", "ben")
    assert state.version == change.drafts[0].body.result
    assert state.trust.edit_changes == {1: number, 2: number}
    assert change.applied is not None
    assert change.applied.last == state.head.seq
    assert all(event.signature is not None for event in here.ledger.events()[11:])
    assert damage_but_for_blobs(here) == []


def test_the_default_policy_asks_for_nothing() -> None:
    here = team(OPEN)
    here.run("nobody-in-particular", ApplyEdits((new_edit(1),)))
    here.run("somebody-else", RevertEdits((1,)))
    assert here.state.live == ()
    assert all(event.signature is None for event in here.ledger.events())


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (ApplyEdits((new_edit(9),)), "lets nobody edit directly; use `errata propose`"),
        (RevertEdits((1,)), "lets nobody revert directly"),
        (TagVersion("production", (), dict.fromkeys(TENSORS, some_digest("w"))), "is protected"),
        (RecordEvent(PolicyChanged(policy=OPEN, reason="")), "lets nobody change the policy directly"),
        (ChangeKeysAndRoles((GrantRole(person="ada", role="approver"),)), "lets nobody change keys and roles directly"),
        (MergeLedger(some_digest("other"), Head(3, some_digest("head")), taken_back=(1,)), "lets nobody"),
    ],
)
def test_nothing_bypasses_the_policy(command: Any, complaint: str) -> None:
    here = team()
    here.whole(facts(1))
    refused(here, lambda: here.run("ada", command), complaint)


def test_what_is_not_protected_is_tagged_directly_by_those_who_may() -> None:
    here = team()
    weights = dict.fromkeys(TENSORS, some_digest("w"))
    here.run("ada", TagVersion("candidate", (), weights))
    refused(here, lambda: here.run("ben", UntagVersion("candidate")), "may not tag")


def test_events_are_signed_by_a_valid_key_of_their_actor() -> None:
    here = team()
    result = RecordEvent(evaluation(here.state))
    refused(here, lambda: here.run("ada", result, key_of("ada", 2)), "is not known here")
    refused(here, lambda: here.run("ada", result, key_of("ben")), "is ben's, and ada signed")
    refused(
        here,
        lambda: here.ledger.execute(result, actor="ada", now=here.at, new_id=lambda: "0" * 8),
        "asks ada to sign",
    )
    here.run("ada", result)


def test_the_author_and_the_drafter_cannot_approve_also_through_a_second_key() -> None:
    here = team()
    here.whole(
        ChangeAccess(steps=(GrantKey(key=key_of("ada", 2).key, person="ada"), GrantRole(person="ada", role="approver")))
    )
    here.whole(ChangeAccess(steps=(GrantRole(person="dan", role="approver"),)))
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    refused(here, lambda: here.approve("ada", number), "ada proposed p3 and cannot approve it")
    refused(here, lambda: here.approve("ada", number, key_of("ada", 2)), "ada proposed p3 and cannot approve it")
    refused(here, lambda: here.approve("dan", number), "dan drafted p3 and cannot approve it")
    here.approve("ben", number)
    refused(here, lambda: here.approve("ben", number), "persons count, not keys")


def test_as_many_approvals_as_the_risk_class_asks_for() -> None:
    here = team()
    number = here.propose("ada", facts(1), risk="high")
    here.draft("dan", number)
    refused(here, lambda: here.apply("ada", number), "2 more approvals of approver \\(0 of 2\\)")
    here.approve("ben", number)
    refused(here, lambda: here.apply("ada", number), "1 more approval of approver \\(1 of 2\\)")
    here.approve("cleo", number)
    here.apply("ada", number)


def test_one_rejection_ends_it() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    here.approve("ben", number)
    here.run(
        "cleo", RecordEvent(ChangeRejected(proposal=number, decision=here.decision("cleo", number, Choice.REJECT)))
    )
    refused(here, lambda: here.apply("ada", number), "was rejected at")
    refused(here, lambda: here.draft("dan", number), "was rejected at")


def test_a_failed_gate_lets_nobody_approve() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    here.draft("dan", number, passed=False)
    refused(here, lambda: here.approve("ben", number), "the gate 'efficacy' failed")
    refused(here, lambda: here.apply("ada", number), "the gate 'efficacy' failed")


def test_evidence_is_what_the_policy_measures_and_agrees_with_its_bounds() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    edits = here.edits(number)
    ready = tuple(DraftedEdit(fact=fact_digest(e.fact), delta=e.delta_digest, edit=edit_digest(e)) for e in edits)

    def draft(*evidence: Any) -> Any:
        return here.run("dan", RecordDraft(number, here.state.version, ready, new_edit().blob, evidence=evidence))

    efficacy, growth = good("efficacy", 1.0, True), good("norm_growth", None, True)
    refused(here, lambda: draft(), "measures efficacy, norm_growth")
    refused(here, lambda: draft(growth, efficacy), "in this order")
    lie = efficacy.model_copy(update={"score": 0.5})
    refused(here, lambda: draft(lie, growth), "gives another result for 0.5")
    draft(efficacy, growth)


def test_a_draft_is_of_the_proposal_and_leads_where_it_says() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    state = here.state
    wrong = DraftedEdit(fact=some_digest("other"), delta=some_digest(1), edit=some_digest(2))
    evidence = (good("efficacy", 1.0, True), good("norm_growth", None, True))
    command = RecordDraft(number, state.version, (wrong,), new_edit().blob, evidence=evidence)
    refused(here, lambda: here.run("dan", command), "not of the facts of p1")
    stale = RecordDraft(number, some_digest("elsewhere"), (wrong,), new_edit().blob, evidence=evidence)
    refused(here, lambda: here.run("dan", stale), "the model changed while p1 was drafted", StaleDraft)


def test_what_is_applied_is_what_was_approved_to_the_byte() -> None:
    here = team()
    number = here.propose("ada", facts(1, 2))
    here.draft("dan", number)
    here.approve("ben", number)
    first, second = here.edits(number)
    changed = first.model_copy(update={"seed": 8})
    for edits in ((changed, second), (second, first), (first,), (first, second, new_edit(5)), ()):
        refused(here, lambda edits=edits: here.run("ada", ApplyChange(number, edits)), "p1|there are more edits")
    here.run("ada", ApplyChange(number, (first, second)))


def test_a_decision_is_about_these_bytes_of_this_change_in_this_ledger() -> None:
    here, there = team(), team()
    here.wait(5)
    first = here.propose("ada", facts(1))
    second = here.propose("ada", facts(2))
    there_number = there.propose("ada", facts(1))
    for one, number in ((here, first), (here, second), (there, there_number)):
        one.draft("dan", number)
    mine = here.decision("ben", first, Choice.APPROVE)
    for wrong, complaint in (
        (here.decision("ben", second, Choice.APPROVE), "is not one to approve p1"),
        (there.decision("ben", there_number, Choice.APPROVE), "other bytes|is not one to approve"),
        (here.decision("ben", first, Choice.REJECT), "is not one to approve"),
        (mine.model_copy(update={"meaning": "something else"}), "signature of ben does not hold"),
        (mine.model_copy(update={"subject": some_digest("draft")}), "other bytes"),
        (mine.model_copy(update={"signature": "00" * 64}), "signature of ben does not hold"),
        (mine.model_copy(update={"key": key_of("cleo").key}), "is cleo's, not ben's"),
        (mine.model_copy(update={"at": later(here.at, 3600)}), "signature of ben does not hold"),
    ):
        refused(
            here,
            lambda wrong=wrong: here.run("ben", RecordEvent(ChangeApproved(proposal=first, decision=wrong))),
            complaint,
        )
    refused(
        here,
        lambda: here.run("cleo", RecordEvent(ChangeApproved(proposal=first, decision=mine))),
        "recorded by ben, not by cleo",
    )
    here.run("ben", RecordEvent(ChangeApproved(proposal=first, decision=mine)))


def test_a_draft_is_void_once_the_head_moved_and_approvals_start_anew() -> None:
    here = team()
    slow, quick = here.propose("ada", facts(1)), here.propose("ada", facts(2))
    for number in (slow, quick):
        here.draft("dan", number)
        here.approve("ben", number)
    here.apply("ada", quick)
    refused(here, lambda: here.apply("ada", slow), "approvals of it are void", StaleDraft)
    refused(here, lambda: here.approve("cleo", slow), "approvals of it are void", StaleDraft)
    here.draft("dan", slow)
    refused(here, lambda: here.apply("ada", slow), "1 more approval")
    here.approve("ben", slow)
    here.apply("ada", slow)
    assert here.state.live == (1, 2)


def test_a_policy_can_forbid_a_second_draft() -> None:
    here = team(CONTROLLED.model_copy(update={"redraft": False}))
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    refused(here, lambda: here.draft("dan", number), "does not allow a second draft")


def test_time_runs_out_for_approvals_and_for_proposals() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    refused(
        here,
        lambda: here.run("ada", RecordEvent(ChangeClosed(proposal=number, why=Closing.EXPIRED, reason=""))),
        "has not expired",
    )
    here.draft("dan", number)
    here.approve("ben", number)
    here.wait(7 * 86_400)
    refused(here, lambda: here.apply("ada", number), "every approval of it, expired at")
    here.draft("dan", number)
    here.wait(24 * 86_400)
    refused(here, lambda: here.draft("dan", number), "expired at .*; propose it again")
    here.run("ben", RecordEvent(ChangeClosed(proposal=number, why=Closing.EXPIRED, reason="")))
    assert here.state.trust.changes[number].status is ChangeStatus.EXPIRED


def test_only_the_author_withdraws() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    refused(
        here,
        lambda: here.run("ben", RecordEvent(ChangeClosed(proposal=number, why=Closing.WITHDRAWN, reason=""))),
        "is ada's",
    )
    here.run("ada", RecordEvent(ChangeClosed(proposal=number, why=Closing.WITHDRAWN, reason="a mistake")))
    refused(here, lambda: here.draft("dan", number), "was withdrawn at")


def test_the_clock_does_not_go_backwards() -> None:
    here = team()
    here.propose("ada", facts(1))
    here.wait(-60)
    refused(here, lambda: here.propose("ada", facts(2)), "the clock says .* before the last event; set it right")


def test_a_tag_that_is_protected_moves_by_approval() -> None:
    here = team()
    here.whole(facts(1))
    weights = dict.fromkeys(TENSORS, some_digest("w"))
    here.whole(MoveTag(tag="production", live=(1,), weights=weights))
    assert here.state.tags["production"].live == (1,)
    refused(here, lambda: here.run("ada", UntagVersion("production")), "is protected")
    here.whole(MoveTag(tag="production", live=(), weights=weights))
    assert here.state.tags["production"].live == ()
    here.whole(MoveTag(tag="production", live=None))
    assert "production" not in here.state.tags


def test_reverting_takes_approval_unless_a_gate_failed_afterwards() -> None:
    here = team()
    first = here.whole(facts(1))
    refused(here, lambda: here.run("ada", RevertEdits((1,))), "lets nobody revert directly")
    evidence = (good("efficacy", 1.0, False), good("norm_growth", None, True))
    here.run("ada", CheckChange(first, evidence))
    here.run("ada", RevertEdits((1,), "the gate efficacy failed"))
    here.whole(facts(2))
    here.whole(reverts(2))
    assert here.state.live == ()


def test_after_a_change_its_gates_are_measured_on_the_version_it_led_to() -> None:
    here = team()
    first = here.propose("ada", facts(1))
    evidence = (good("efficacy", 1.0, True), good("norm_growth", None, True))
    refused(here, lambda: here.run("ada", CheckChange(first, evidence)), "has not been applied")
    here.draft("dan", first)
    here.approve("ben", first)
    here.apply("ada", first)
    here.run("ada", CheckChange(first, evidence))
    here.whole(facts(2))
    refused(here, lambda: here.run("ada", CheckChange(first, evidence)), "while that is the head")


def test_a_revoked_key_keeps_its_past_and_signs_nothing_new() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    here.approve("ben", number)
    new = key_of("ben", 2)
    here.whole(
        ChangeAccess(steps=(RevokeKey(key=key_of("ben").key, reason="lost"), GrantKey(key=new.key, person="ben"))),
        ("cleo",),
    )
    assert damage_but_for_blobs(here) == []
    other = here.propose("ada", facts(2))
    here.draft("dan", other)
    refused(here, lambda: here.approve("ben", other), "was revoked at")
    here.apply("ada", number)  # what ben approved before still counts
    here.draft("dan", other)
    here.approve("ben", other, new)
    refused(
        here, lambda: here.run("ada", ChangeKeysAndRoles((GrantKey(key=key_of("ben").key, person="ben"),))), "revoked"
    )


def test_approvals_of_a_compromised_key_no_longer_count() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    approved = here.approve("ben", number)[0].seq
    revoke = RevokeKey(key=key_of("ben").key, reason="stolen", compromised_since=approved)
    here.whole(ChangeAccess(steps=(revoke, GrantKey(key=key_of("ben", 2).key, person="ben"))), ("cleo",))
    refused(here, lambda: here.apply("ada", number), "1 more approval")


def test_a_person_revokes_their_own_key_at_once() -> None:
    here = team()
    here.run("ben", ChangeKeysAndRoles((RevokeKey(key=key_of("ben").key, reason="stolen"),)))
    refused(here, lambda: here.propose("ben", facts(1)), "was revoked at")


def test_an_approval_counts_only_while_its_giver_may_give_it() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    here.approve("ben", number)
    here.whole(
        ChangeAccess(steps=(GrantRole(person="dan", role="approver"), RevokeRole(person="ben", role="approver"))),
        ("cleo",),
    )
    refused(here, lambda: here.apply("ada", number), "1 more approval")


def test_a_policy_that_locks_everybody_out_is_refused() -> None:
    here = team(OPEN)
    refused(
        here,
        lambda: here.run("ada", RecordEvent(PolicyChanged(policy=REGULATED, reason=""))),
        "lock everybody out: nobody could change the policy",
    )
    here.run("ada", ChangeKeysAndRoles((RevokeRole(person="ben", role="approver"),)))
    greedy = CONTROLLED.model_copy(update={"risks": {"normal": Requirement(approvals=2, roles=("approver",))}})
    refused(
        here,
        lambda: here.run("ada", RecordEvent(PolicyChanged(policy=greedy, reason=""))),
        "risk class 'normal'.*1 person .* it takes 2",
    )
    here.run(
        "ada",
        RecordEvent(
            PolicyChanged(
                policy=CONTROLLED.model_copy(update={"risks": {"normal": Requirement(approvals=1)}}), reason=""
            )
        ),
    )
    last = ChangeAccess(steps=(RevokeRole(person="cleo", role="approver"),))
    refused(here, lambda: here.propose("ada", last), "lock everybody out")
    refused(
        here,
        lambda: here.run("cleo", ChangeKeysAndRoles((RevokeKey(key=key_of("cleo").key, reason="x"),))),
        "lock everybody out",
    )


def test_a_change_of_a_risk_that_a_later_policy_does_not_have_is_refused_and_told() -> None:
    here = team()
    number = here.propose("ada", facts(1), risk="high")
    here.draft("dan", number)
    here.whole(ChangePolicy(policy=OPEN), ("ben", "cleo"))
    assert "high" not in here.state.trust.policy.risks
    here.draft("dan", number)
    with pytest.raises(Refused, match="the policy 'open' has no risk 'high'; propose the change again"):
        here.decision("ben", number, Choice.APPROVE)
    change = here.state.trust.changes[number]
    assert missing(here.state, change, here.at) == ["the policy 'open' has no risk 'high'; propose the change again"]
    assert who_could(here.state, change) == []


def test_policies_change_by_the_policy_in_force() -> None:
    here = team()
    stricter = CONTROLLED.model_copy(update={"name": "stricter", "redraft": False})
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    here.approve("ben", number)
    here.whole(ChangePolicy(policy=stricter), ("cleo",))
    assert here.state.trust.policy == stricter
    refused(here, lambda: here.apply("ada", number), "the policy changed since", StaleDraft)
    seq = here.state.trust.policies[-1].seq
    assert here.state.trust.policy_at(seq) == CONTROLLED
    assert here.state.trust.policy_at(seq + 1) == stricter


def broken(here: Team, number: int, *persons: str, reason: str = "prices are wrong on the website") -> Any:
    decisions = tuple(here.decision(person, number, Choice.BREAK_GLASS) for person in persons)
    return here.run("ada", ApplyChange(number, here.edits(number), Authority.BREAK_GLASS, reason, decisions))


def test_the_glass_is_broken_by_two_loudly_and_reviewed_by_a_third() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    here.draft("dan", number, passed=False)
    refused(here, lambda: broken(here, number, "ada"), "takes the keys of 2 persons")
    refused(here, lambda: broken(here, number, "ada", "ada"), "takes the keys of 2 persons")
    refused(here, lambda: broken(here, number, "ada", "ben", reason=" "), "takes a reason")
    broken(here, number, "ada", "ben")
    state = here.state
    assert [change.number for change in state.trust.unreviewed()] == [number]

    def review(person: str) -> Any:
        decision = here.decision(person, number, Choice.REVIEW)
        return here.run(
            person,
            RecordEvent(
                GlassReviewed(proposal=number, verdict=ReviewVerdict.UPHELD, reason="it was right", decision=decision)
            ),
        )

    refused(here, lambda: review("ben"), "took part in p1")
    refused(here, lambda: review("dan"), "may not review")
    review("cleo")
    assert here.state.trust.unreviewed() == ()
    refused(here, lambda: review("cleo"), "was reviewed at")


def test_the_glass_stays_whole_for_rules_and_while_a_review_is_overdue() -> None:
    here = team()
    rules = here.propose("ada", ChangeAccess(steps=(GrantRole(person="ada", role="approver"),)))
    here.draft("dan", rules)
    command = ApplyChange(
        rules,
        (),
        Authority.BREAK_GLASS,
        "why",
        tuple(here.decision(p, rules, Choice.BREAK_GLASS) for p in ("ada", "ben")),
    )
    refused(here, lambda: here.run("ada", command), "never policy, keys or roles")
    first = here.propose("ada", facts(1))
    here.draft("dan", first)
    broken(here, first, "ada", "ben")
    here.wait(3 * 86_400)
    second = here.propose("ada", facts(2))
    here.draft("dan", second)
    refused(here, lambda: broken(here, second, "ada", "ben"), "the review of p2 is overdue")
    number = here.propose("ada", facts(3))
    here.draft("dan", number)
    here.approve("ben", number)
    here.apply("ada", number)


def test_regulated_asks_for_compliance() -> None:
    here = team(OPEN)
    roles = (GrantRole(person="cleo", role="compliance"), GrantKey(key=key_of("eve").key, person="eve"))
    here.run("ada", ChangeKeysAndRoles((*roles, GrantRole(person="eve", role="approver"))))
    here.run("ada", ChangeKeysAndRoles((RevokeRole(person="cleo", role="approver"),)))
    three = dict(REGULATED.risks) | {"high": Requirement(approvals=2, roles=("approver", "compliance"))}
    here.run("ada", RecordEvent(PolicyChanged(policy=REGULATED.model_copy(update={"risks": three}), reason="")))
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    here.approve("ben", number)
    here.approve("eve", number)
    change = here.state.trust.changes[number]
    assert change.draft is not None
    assert still_asked(here.state.trust, change, change.draft) == ["an approval of compliance"]
    refused(here, lambda: here.apply("ada", number), "an approval of compliance")
    here.approve("cleo", number)
    here.apply("ada", number)


def test_changes_that_need_no_model_are_drafted_with_their_proposal() -> None:
    here = team()
    here.run("ada", ProposeChange(ChangeAccess(steps=(GrantRole(person="ada", role="auditor"),)), with_draft=True))
    here.approve("ben", 1)
    here.apply("ada", 1)
    assert "auditor" in here.state.trust.roles["ada"]
    refused(here, lambda: here.run("ada", ProposeChange(facts(1), with_draft=True)), "with the model", UsageError)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"default_risk": "odd"}, "default risk"),
        ({"roles": {}}, "is required and is not one of the roles"),
        ({"roles": {"approver": (Capability.TAG,)}}, "may not"),
        ({"actions": {}}, "nothing says who approves"),
        ({"gates": (Gate(name="a", measure=Measure.EFFICACY, at_least=1.0),) * 2}, "two gates have one name"),
        ({"actions": {**CONTROLLED.actions, ActionSort.EDIT: Requirement(approvals=1)}}, "go by risk class"),
    ],
)
def test_a_policy_agrees_with_itself(changes: dict[str, Any], complaint: str) -> None:
    fields = {name: getattr(CONTROLLED, name) for name in Policy.model_fields}
    with pytest.raises(ValueError, match=complaint):
        Policy(**(fields | changes))


YEAR = 365 * 86_400


def test_a_clock_far_ahead_is_refused_where_the_event_is_made() -> None:
    here = team()
    here.propose("ada", facts(1))
    here.wait(10 * YEAR)
    head = here.ledger.store.head()
    refused(here, lambda: here.propose("ada", facts(2)), r"after the last event; set it right, or.*clock --set")
    with pytest.raises(Refused, match="after the last event"):
        here.ledger.foresee(None, Capability.RECORD, actor="ada", now=here.at)
    assert here.ledger.store.head() == head


def test_after_a_long_silence_somebody_who_reviews_says_that_the_clock_is_right() -> None:
    here = team()
    here.propose("ada", facts(1))
    here.wait(YEAR)
    refused(here, lambda: here.run("ada", RecordEvent(ClockSet(ahead=None, reason="quiet"))), "ada .* may not review")
    here.run("ben", RecordEvent(ClockSet(ahead=None, reason="a quiet year")))
    here.propose("ada", facts(2))
    assert verify(here.ledger) == []


def test_a_log_that_one_clock_froze_goes_on_with_a_record_of_it() -> None:
    here = team()
    here.wait(170 * 86_400)  # ahead by less than is refused
    here.propose("ada", facts(1))
    ahead = here.state.head.seq
    here.wait(-170 * 86_400)
    refused(here, lambda: here.propose("ada", facts(2)), "before the last event; set it right, or see `errata clock`")
    refused(here, lambda: here.run("ben", RecordEvent(ClockSet(ahead=ahead + 1, reason=""))), f"@{ahead} is the first")
    refused(here, lambda: here.run("ben", RecordEvent(ClockSet(ahead=None, reason=""))), f"@{ahead} is the first")
    here.run("ben", RecordEvent(ClockSet(ahead=ahead, reason="the build machine was ahead")))
    here.propose("ada", facts(3))
    assert verify(here.ledger) == [] and here.state.trust.clock < here.state.times[ahead - 1]
    here.wait(-60)
    refused(here, lambda: here.propose("ada", facts(4)), "before the last event")


def test_approvals_start_over_where_times_go_back() -> None:
    here = team()
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    here.approve("ben", number)
    late = here.at
    here.wait(170 * 86_400)
    here.propose("ada", facts(2))
    ahead = here.state.head.seq
    here.at = later(late, 60)
    here.run("ben", RecordEvent(ClockSet(ahead=ahead, reason="a wrong clock")))
    assert here.state.trust.changes[number].approvals == () and damage_but_for_blobs(here) == []
    refused(here, lambda: here.apply("dan", number), "approv")
    here.approve("cleo", number)
    here.apply("dan", number)
