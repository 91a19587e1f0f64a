"""Decisions on a draft, and what follows: it is approved, rejected, applied, checked and reviewed.

Approvals are counted when a change is applied, under the policy, the roles and the keys of that moment.
"""

from __future__ import annotations

from dataclasses import replace

from errata.ledger.base.errors import Refused
from errata.ledger.events.change_parts import (
    Authority,
    ChangeAccess,
    ChangePolicy,
    Choice,
    MoveTag,
    SignedDecision,
    sort_of,
)
from errata.ledger.events.envelope import Act
from errata.ledger.events.policy import Capability, GateTime, Requirement
from errata.ledger.events.trust_bodies import (
    ChangeApplied,
    ChangeApproved,
    ChangeChecked,
    ChangeRejected,
    GlassReviewed,
)
from errata.ledger.events.words import decision_words
from errata.ledger.kinds.proposals import check_evidence, check_expiry, check_move
from errata.ledger.kinds.spec import KindSpec
from errata.ledger.state.effects import effects
from errata.ledger.state.fold import Fold
from errata.ledger.state.standing import (
    change_of,
    current_draft,
    open_change,
    over,
    refuse_unless_able,
    scored,
    still_asked,
)
from errata.ledger.state.trust import (
    Applied,
    ChangeRecord,
    ChangeStatus,
    DecisionRecord,
    DraftRecord,
    Recorded,
    Trust,
    instant,
)


def _check_approved(fold: Fold, body: ChangeApproved, act: Act) -> None:
    trust, decision = fold.trust, body.decision
    change, draft = current_draft(fold, body.proposal, act.at)
    _see_person(decision, act)
    refuse_unless_able(trust, decision.person, Capability.APPROVE)
    for part, person in (("proposed", change.author), ("drafted", draft.drafter)):
        if decision.person == person:
            raise Refused(f"{person} {part} p{change.number} and cannot approve it; somebody else has to")
    requirement = trust.policy.asks(sort_of(change.body.action), change.body.risk)
    _see_role(trust, requirement, decision, change)
    if failed := [one for one in draft.body.evidence if not one.passed]:
        raise Refused(f"p{change.number} cannot be approved: the gate {failed[0].gate!r} failed ({scored(failed[0])})")
    given = [record.decision for record in change.approvals if record.decision.subject == draft.digest]
    if any(one.person == decision.person for one in given):
        raise Refused(f"{decision.person} approved p{change.number} already; persons count, not keys")
    _check_decision(trust, decision, Choice.APPROVE, change, draft.digest, act)


def _see_role(trust: Trust, requirement: Requirement, decision: SignedDecision, change: ChangeRecord) -> None:
    if not requirement.roles:
        return
    held = trust.roles.get(decision.person, frozenset())
    wanted = " or ".join(requirement.roles)
    if not held & set(requirement.roles):
        raise Refused(f"p{change.number} needs an approval by {wanted}, and {decision.person} does not have that role")
    if decision.role not in requirement.roles:
        raise Refused(
            f"p{change.number} needs an approval by {wanted}, and {decision.person} signs as"
            f" {decision.role or 'nothing'}"
        )


def _approve(fold: Fold, body: ChangeApproved, act: Act) -> None:
    record = DecisionRecord(fold.head.seq, act.at, body.decision)
    fold.trust.move(body.proposal, lambda change: replace(change, approvals=(*change.approvals, record)))


def _approved_words(body: ChangeApproved) -> str:
    return f"p{body.proposal} approved by {decision_words(body.decision)}"


def _check_rejected(fold: Fold, body: ChangeRejected, act: Act) -> None:
    change = open_change(fold.trust, body.proposal, act.at)
    _see_person(body.decision, act)
    refuse_unless_able(fold.trust, act.actor, Capability.APPROVE)
    _check_decision(fold.trust, body.decision, Choice.REJECT, change, change.subject, act)


def _reject(fold: Fold, body: ChangeRejected, act: Act) -> None:
    seq, record = fold.head.seq, DecisionRecord(fold.head.seq, act.at, body.decision)
    rejected = ChangeStatus.REJECTED
    fold.trust.move(body.proposal, lambda change: replace(change, status=rejected, closed_by=seq, rejection=record))


def _rejected_words(body: ChangeRejected) -> str:
    return f"p{body.proposal} rejected by {decision_words(body.decision)}"


def _check_applied(fold: Fold, body: ChangeApplied, act: Act) -> None:
    trust = fold.trust
    change, draft = current_draft(fold, body.proposal, act.at)
    if (body.draft, body.subject) != (draft.body.number, draft.digest):
        raise Refused(f"what is to be applied is not the last draft of p{change.number}")
    refuse_unless_able(trust, act.actor, Capability.APPLY)
    if isinstance(change.body.action, MoveTag):
        check_move(fold, change.body.action)
    if body.authority is Authority.BREAK_GLASS:
        _check_broken(trust, change, draft, body, act)
        return
    if body.decisions or body.reason or body.review_by:
        raise Refused("an approved change has no reason, review or decisions of its own")
    if missing := still_asked(trust, change, draft):
        raise Refused(f"p{change.number} cannot be applied: {'; '.join(missing)}", missing=missing)


def _check_broken(trust: Trust, change: ChangeRecord, draft: DraftRecord, body: ChangeApplied, act: Act) -> None:
    """See that break-glass keeps to the policy: for the model only, by several persons, with a review to come."""
    rule = trust.policy.break_glass
    if rule is None:
        raise Refused(f"the policy {trust.policy.name!r} has no break-glass")
    if isinstance(change.body.action, ChangePolicy | ChangeAccess):
        raise Refused("break-glass changes the model, never policy, keys or roles")
    if not body.reason.strip():
        raise Refused("break-glass takes a reason: --reason")
    overdue = [one for one in trust.unreviewed() if over(one.applied.body.review_by if one.applied else None, act.at)]
    if overdue:
        raise Refused(f"the review of p{overdue[0].number} is overdue; `errata review p{overdue[0].number}` first")
    check_expiry("the time until a review", rule.review_seconds, body.review_by, act.at)
    persons = {decision.person for decision in body.decisions}
    if len(persons) < rule.keys or len(persons) != len(body.decisions):
        raise Refused(f"break-glass takes the keys of {rule.keys} persons, one each, and there are {len(persons)}")
    for decision in body.decisions:
        if not (trust.may(decision.person, Capability.APPLY) or trust.may(decision.person, Capability.APPROVE)):
            refuse_unless_able(trust, decision.person, Capability.APPROVE)
        _check_decision(trust, decision, Choice.BREAK_GLASS, change, draft.digest, act)


def _apply(fold: Fold, body: ChangeApplied, act: Act) -> None:
    seq, trust = fold.head.seq, fold.trust
    applied = Applied(seq, act.at, act.actor, body, seq)
    status = ChangeStatus.APPLIED
    trust.move(body.proposal, lambda change: replace(change, status=status, closed_by=seq, applied=applied))
    change = trust.changes.get(body.proposal)
    if change is not None and change.draft is not None:
        trust.begin(body.proposal, effects(fold, change.body, change.draft.body))


def _applied_words(body: ChangeApplied) -> str:
    if body.authority is not Authority.BREAK_GLASS:
        return f"p{body.proposal} applied"
    who = " and ".join(decision.person for decision in body.decisions)
    return f"p{body.proposal} APPLIED AS BREAK-GLASS by {who}, review by {body.review_by}: {body.reason}"


def _check_checked(fold: Fold, body: ChangeChecked, act: Act) -> None:
    change = change_of(fold.trust, body.proposal)
    refuse_unless_able(fold.trust, act.actor, Capability.RECORD)
    if change.applied is None:
        raise Refused(f"p{body.proposal} has not been applied, so there is nothing to check")
    if body.version != fold.version_of(fold.live) or change.draft is None or body.version != change.draft.body.result:
        raise Refused(
            f"the gates of p{body.proposal} are measured on the version that it led to, while that is the head"
        )
    policy = fold.trust.policy_at(change.applied.seq)
    check_evidence(policy, body.evidence, GateTime.APPLIED, change)


def _check(fold: Fold, body: ChangeChecked, act: Act) -> None:
    check = Recorded(fold.head.seq, body)
    fold.trust.move(body.proposal, lambda change: replace(change, checks=(*change.checks, check)))


def _checked_words(body: ChangeChecked) -> str:
    failed = [one.gate for one in body.evidence if not one.passed]
    return f"p{body.proposal} checked: " + (f"failed {', '.join(failed)}" if failed else "gates passed")


def _check_reviewed(fold: Fold, body: GlassReviewed, act: Act) -> None:
    trust, decision = fold.trust, body.decision
    change = change_of(trust, body.proposal)
    if not change.broke_glass or change.applied is None:
        raise Refused(f"p{body.proposal} was not applied as break-glass")
    if change.review is not None:
        raise Refused(f"p{body.proposal} was reviewed at @{change.review.seq}")
    _see_person(decision, act)
    refuse_unless_able(trust, decision.person, Capability.REVIEW)
    if decision.person in {change.author, *(one.person for one in change.applied.body.decisions)}:
        raise Refused(f"{decision.person} took part in p{body.proposal} and cannot review it; somebody else has to")
    _check_decision(trust, decision, Choice.REVIEW, change, change.subject, act)


def _review(fold: Fold, body: GlassReviewed, act: Act) -> None:
    review = Recorded(fold.head.seq, body)
    fold.trust.move(body.proposal, lambda change: replace(change, review=review))


def _reviewed_words(body: GlassReviewed) -> str:
    return f"p{body.proposal} reviewed, {body.verdict.value} by {decision_words(body.decision)}: {body.reason}"


def _check_decision(
    trust: Trust, decision: SignedDecision, choice: Choice, change: ChangeRecord, subject: str, act: Act
) -> None:
    """See that a decision is about exactly this, and signed by a valid key of the person."""
    key = trust.keys.get(decision.key)
    if key is None:
        raise Refused(f"the key {decision.key} is not known here; somebody has to grant it: `errata key grant`")
    if not key.valid:
        raise Refused(f"the key {decision.key} was revoked at @{key.revoked} ({key.reason}); it signs nothing new")
    if key.person != decision.person:
        raise Refused(f"the key {decision.key} is {key.person}'s, not {decision.person}'s")
    if (decision.ledger, decision.choice, decision.proposal) != (trust.ledger, choice, change.number):
        raise Refused(f"this decision is not one to {choice.value.replace('_', ' ')} p{change.number} of this ledger")
    if decision.subject != subject:
        raise Refused(
            f"this decision was made on other bytes than p{change.number} has now; look at it and decide again"
        )
    if not decision.holds:
        raise Refused(f"the signature of {decision.person} does not hold for p{change.number}")
    if decision.role is not None and decision.role not in trust.roles.get(decision.person, frozenset()):
        raise Refused(f"{decision.person} does not have the role {decision.role!r}")
    since = change.draft.at if change.draft is not None else change.at
    skew = trust.policy.clock_skew_seconds
    if skew is not None and act.at:
        early = (instant(since) - instant(decision.at)).total_seconds() > skew
        if early or (instant(decision.at) - instant(act.at)).total_seconds() > skew:
            raise Refused(f"{decision.person} signed at {decision.at}, which is not between {since} and {act.at}")


def _see_person(decision: SignedDecision, act: Act) -> None:
    if decision.person != act.actor:
        raise Refused(
            f"a decision of {decision.person} is recorded by {decision.person}, not by {act.actor or 'nobody'}"
        )


KINDS = (
    KindSpec("change_approved", ChangeApproved, _approved_words, step=_check_approved, fold=_approve),
    KindSpec("change_rejected", ChangeRejected, _rejected_words, step=_check_rejected, fold=_reject),
    KindSpec("change_applied", ChangeApplied, _applied_words, step=_check_applied, fold=_apply),
    KindSpec("change_checked", ChangeChecked, _checked_words, step=_check_checked, fold=_check),
    KindSpec("glass_reviewed", GlassReviewed, _reviewed_words, step=_check_reviewed, fold=_review),
)
