"""The life of a change: what must hold of a proposal, a draft, a decision, and before it takes effect.

Everything that a draft claims is derived again here: the version it leads to, the facts it writes, the gates it passed.
Approvals are counted when a change is applied, under the policy, the roles and the keys of that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from errata.ledger.base.errors import Refused, UnknownEdit, UsageError
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import (
    Authority,
    ChangeAccess,
    ChangePolicy,
    Choice,
    Closing,
    EditFacts,
    EraseFact,
    MoveTag,
    RevertThem,
    SignedDecision,
    sort_of,
)
from errata.ledger.events.envelope import Act
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import Capability, Evidence, GateTime, Policy, Requirement
from errata.ledger.events.tag_names import check_tag_name
from errata.ledger.state.effects import facts_fit, result_of
from errata.ledger.state.standing import (
    StaleDraft,
    change_of,
    current_draft,
    open_change,
    over,
    refuse_unless_able,
    scored,
    still_asked,
)
from errata.ledger.state.state import edits_of
from errata.ledger.state.trust import ChangeRecord, ChangeStatus, DraftRecord, Trust, instant, later

if TYPE_CHECKING:
    from errata.ledger.state.fold import Fold


def _check_expiry(what: str, seconds: int | None, expires_at: str | None, at: str) -> None:
    if seconds is None:
        return
    if expires_at is None or not at or instant(expires_at) > instant(later(at, seconds)):
        raise Refused(f"{what} lives for {seconds} s at most under this policy")


def _check_proposed(fold: Fold, body: Body, act: Act) -> None:
    assert isinstance(body, bodies.ChangeProposed)
    trust, action = fold.trust, body.action
    if body.number != len(trust.changes) + 1:
        raise Refused(f"a proposal numbered {body.number}, and the next is p{len(trust.changes) + 1}")
    refuse_unless_able(trust, act.actor, Capability.PROPOSE)
    if body.risk not in trust.policy.risks:
        raise UsageError(
            f"no risk class {body.risk!r} in the policy {trust.policy.name!r}: {', '.join(trust.policy.risks)}"
        )
    _check_expiry("a proposal", trust.policy.proposal_seconds, body.expires_at, act.at)
    match action:
        case RevertThem(edits=edits):
            for number in edits:
                if number not in fold.live:
                    raise _not_live(fold, number)
        case EraseFact(edits=edits):
            if unknown := [number for number in edits if number not in fold.edits]:
                raise UnknownEdit(f"e{unknown[0]}")
            _check_erasure(fold, edits)
        case EditFacts(facts=facts) if any(fact.personal or fact.sealed is not None for fact in facts):
            raise Refused(
                "a change set would hold a personal fact in the clear; write it with `errata edit --personal`,"
                " where the policy allows that"
            )
        case MoveTag():
            check_move(fold, action)
        case ChangePolicy(policy=policy) if policy == trust.policy:
            raise Refused(f"the policy {policy.name!r} is in force already")
        case ChangeAccess() | ChangePolicy() | EditFacts():
            pass


def _check_erasure(fold: Fold, edits: tuple[int, ...]) -> None:
    """See that these are all edits of one personal fact that has not been erased."""
    sealed = fold.edits[edits[0]].body.fact.sealed
    if sealed is None:
        raise Refused(f"e{edits[0]} is of a fact that is in the log in the clear, which nothing can erase")
    if sealed.token in fold.erasures:
        raise Refused(f"e{edits[0]} was erased at @{fold.erasures[sealed.token].seq}")
    if edits != (every := edits_of(fold.edits, sealed.token)):
        raise Refused(
            f"the edits of that fact are {', '.join(f'e{number}' for number in every)}; all are erased, or none"
        )


def _not_live(fold: Fold, number: int) -> Exception:
    if number not in fold.edits:
        return UnknownEdit(f"e{number}")
    record = fold.edits[number]
    return Refused(f"e{number} is not live: it was {record.status} at @{record.closed_by}", edit=number)


def check_move(fold: Fold, move: MoveTag) -> None:
    """See that a tag can be set, moved or removed so.

    Raises:
        UsageError: its name is not one.
        UnknownEdit: it would be on an edit that does not exist.
        Refused: nothing would change.
    """
    check_tag_name(move.tag)
    if move.live is None:
        if move.tag not in fold.tags:
            raise Refused(f"no tag {move.tag!r}")
        return
    if unknown := [number for number in move.live if number not in fold.edits]:
        raise UnknownEdit(f"e{unknown[0]}")
    if move.tag in fold.tags and fold.tags[move.tag].live == move.live:
        raise Refused(f"the tag {move.tag!r} is on that version already")


def _check_drafted(fold: Fold, body: Body, act: Act) -> None:
    assert isinstance(body, bodies.ChangeDrafted)
    trust, number = fold.trust, body.proposal
    change = open_change(trust, number, act.at)
    refuse_unless_able(trust, act.actor, Capability.DRAFT)
    proposal = change.body
    if change.drafts and not trust.policy.redraft:
        raise Refused(
            f"p{number} was drafted already, and the policy {trust.policy.name!r} lets nothing be drafted twice"
        )
    if body.number != len(change.drafts) + 1:
        raise Refused(f"draft {body.number} of p{number}, and the next is {len(change.drafts) + 1}")
    if body.proposal_digest != change.digest:
        raise Refused(f"the draft is of another proposal than p{number}: not one byte of it may differ")
    if body.policy != trust.policy.digest:
        raise StaleDraft(f"the policy changed while p{number} was drafted; draft it again")
    if body.parent != fold.version_of(fold.live):
        raise StaleDraft(f"the model changed while p{number} was drafted; draft it again")
    _check_expiry("a draft", trust.policy.approval_seconds, body.expires_at, act.at)
    edits = isinstance(proposal.action, EditFacts)
    if not edits and (body.edits or body.taken_back or body.left_out):
        raise Refused(f"p{number} writes no facts, and its draft has edits")
    if bool(body.edits) != (body.blob is not None):
        raise Refused("a draft has a blob if, and only if, it has edits")
    if edits and not (body.edits or body.taken_back):
        raise Refused(f"p{number} changes nothing: the model says its facts already", proposal=number)
    if not facts_fit(proposal, body):
        raise Refused(f"the draft's edits are not of the facts of p{number}")
    if gone := [one for one in body.taken_back if one not in fold.live]:
        raise _not_live(fold, gone[0])
    if body.result != result_of(fold, proposal, body):
        raise Refused(f"the draft of p{number} names a version that it does not lead to")
    _check_evidence(trust.policy, body.evidence, GateTime.DRAFT, change)


def _check_evidence(policy: Policy, evidence: Sequence[Evidence], time: GateTime, change: ChangeRecord) -> None:
    gates = policy.gates_at(time, sort_of(change.body.action))
    if [one.gate for one in evidence] != [gate.name for gate in gates]:
        named = ", ".join(gate.name for gate in gates) or "no gates"
        raise Refused(f"the policy {policy.name!r} measures {named} on p{change.number}, in this order")
    for gate, one in zip(gates, evidence, strict=True):
        if one.passed != gate.holds(one.score):
            raise Refused(f"the gate {gate.name!r} does not say that of {scored(one)}")


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
            f"this decision is of other bytes than what p{change.number} says now; look at it and decide again"
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


def _check_approved(fold: Fold, body: Body, act: Act) -> None:
    assert isinstance(body, bodies.ChangeApproved)
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


def _see_person(decision: SignedDecision, act: Act) -> None:
    if decision.person != act.actor:
        raise Refused(
            f"a decision of {decision.person} is recorded by {decision.person}, not by {act.actor or 'nobody'}"
        )


def _see_role(trust: Trust, requirement: Requirement, decision: SignedDecision, change: ChangeRecord) -> None:
    if not requirement.roles:
        return
    held = trust.roles.get(decision.person, frozenset())
    wanted = " or ".join(requirement.roles)
    if not held & set(requirement.roles):
        raise Refused(f"p{change.number} is approved by {wanted}, and {decision.person} is not one")
    if decision.role not in requirement.roles:
        raise Refused(
            f"p{change.number} is approved by {wanted}, and {decision.person} signs as {decision.role or 'none'}"
        )


def _check_rejected(fold: Fold, body: Body, act: Act) -> None:
    assert isinstance(body, bodies.ChangeRejected)
    change = open_change(fold.trust, body.proposal, act.at)
    _see_person(body.decision, act)
    refuse_unless_able(fold.trust, act.actor, Capability.APPROVE)
    _check_decision(fold.trust, body.decision, Choice.REJECT, change, change.subject, act)


def _check_closed(fold: Fold, body: Body, act: Act) -> None:
    assert isinstance(body, bodies.ChangeClosed)
    change = change_of(fold.trust, body.proposal)
    if change.status is not ChangeStatus.OPEN:
        raise Refused(f"p{body.proposal} was {change.status} at @{change.closed_by}", proposal=body.proposal)
    if body.why is Closing.WITHDRAWN:
        if act.actor != change.author:
            raise Refused(f"p{body.proposal} is {change.author}'s, and only they withdraw it; others reject")
    elif not over(change.body.expires_at, act.at):
        raise Refused(f"p{body.proposal} has not expired")


def _check_applied(fold: Fold, body: Body, act: Act) -> None:
    assert isinstance(body, bodies.ChangeApplied)
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


def _check_broken(trust: Trust, change: ChangeRecord, draft: DraftRecord, body: bodies.ChangeApplied, act: Act) -> None:
    """See that the glass is broken as the policy lets it be: for the model only, by several, with a review to come."""
    rule = trust.policy.break_glass
    if rule is None:
        raise Refused(f"the policy {trust.policy.name!r} lets nobody break the glass")
    if isinstance(change.body.action, ChangePolicy | ChangeAccess):
        raise Refused("breaking the glass changes the model, never policy, keys or roles")
    if not body.reason.strip():
        raise Refused("who breaks the glass says why: --reason")
    overdue = [one for one in trust.unreviewed() if over(one.applied.body.review_by if one.applied else None, act.at)]
    if overdue:
        raise Refused(f"the review of p{overdue[0].number} is overdue; `errata review p{overdue[0].number}` first")
    _check_expiry("the time until a review", rule.review_seconds, body.review_by, act.at)
    persons = {decision.person for decision in body.decisions}
    if len(persons) < rule.keys or len(persons) != len(body.decisions):
        raise Refused(
            f"breaking the glass takes the keys of {rule.keys} persons, one each, and there are {len(persons)}"
        )
    for decision in body.decisions:
        if not (trust.may(decision.person, Capability.APPLY) or trust.may(decision.person, Capability.APPROVE)):
            refuse_unless_able(trust, decision.person, Capability.APPROVE)
        _check_decision(trust, decision, Choice.BREAK_GLASS, change, draft.digest, act)


def _check_checked(fold: Fold, body: Body, act: Act) -> None:
    assert isinstance(body, bodies.ChangeChecked)
    change = change_of(fold.trust, body.proposal)
    refuse_unless_able(fold.trust, act.actor, Capability.RECORD)
    if change.applied is None:
        raise Refused(f"p{body.proposal} has not been applied, so there is nothing to check")
    if body.version != fold.version_of(fold.live) or change.draft is None or body.version != change.draft.body.result:
        raise Refused(
            f"the gates of p{body.proposal} are measured on the version that it led to, while that is the head"
        )
    policy = fold.trust.policy_at(change.applied.seq)
    _check_evidence(policy, body.evidence, GateTime.APPLIED, change)


def _check_reviewed(fold: Fold, body: Body, act: Act) -> None:
    assert isinstance(body, bodies.GlassReviewed)
    trust, decision = fold.trust, body.decision
    change = change_of(trust, body.proposal)
    if not change.broke_glass or change.applied is None:
        raise Refused(f"p{body.proposal} was not made by breaking the glass")
    if change.review is not None:
        raise Refused(f"p{body.proposal} was reviewed at @{change.review.seq}")
    _see_person(decision, act)
    refuse_unless_able(trust, decision.person, Capability.REVIEW)
    if decision.person in {change.author, *(one.person for one in change.applied.body.decisions)}:
        raise Refused(f"{decision.person} had a part in p{body.proposal} and cannot review it; somebody else has to")
    _check_decision(trust, decision, Choice.REVIEW, change, change.subject, act)


CHANGE_CHECKS: Mapping[type[Body], Callable[[Fold, Body, Act], None]] = {
    bodies.ChangeProposed: _check_proposed,
    bodies.ChangeDrafted: _check_drafted,
    bodies.ChangeApproved: _check_approved,
    bodies.ChangeRejected: _check_rejected,
    bodies.ChangeClosed: _check_closed,
    bodies.ChangeApplied: _check_applied,
    bodies.ChangeChecked: _check_checked,
    bodies.GlassReviewed: _check_reviewed,
}
"""The steps in a change's life, and what must hold of each."""
