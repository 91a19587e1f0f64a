"""Events of policy, keys, roles and changes in words."""

from __future__ import annotations

from errata.ledger.base.words import counted, short
from errata.ledger.events.change_parts import (
    AccessStep,
    Action,
    Authority,
    ChangeAccess,
    ChangePolicy,
    EditFacts,
    EraseFact,
    GrantKey,
    GrantRole,
    MoveTag,
    RevertThem,
    RevokeKey,
    RevokeRole,
    SignedDecision,
)
from errata.ledger.events.parts import Body
from errata.ledger.events.trust_bodies import (
    ChangeApplied,
    ChangeApproved,
    ChangeChecked,
    ChangeClosed,
    ChangeDrafted,
    ChangeProposed,
    ChangeRejected,
    GlassReviewed,
    KeyGranted,
    KeyRevoked,
    PolicyChanged,
    RoleGranted,
    RoleRevoked,
)


def trust_words(body: Body) -> str | None:
    """One line on what an event of trust says; None for other events."""
    match body:
        case PolicyChanged():
            return f"policy {body.policy.name} {short(body.policy.digest)} in force" + _why(body.reason)
        case KeyGranted():
            return f"key {short_key(body.key)} granted to {body.person}"
        case KeyRevoked():
            since = "" if body.compromised_since is None else f", compromised since @{body.compromised_since}"
            return f"key {short_key(body.key)} revoked{since}: {body.reason}"
        case RoleGranted():
            return f"{body.person} is {body.role}"
        case RoleRevoked():
            return f"{body.person} is {body.role} no more"
        case ChangeProposed():
            ticket = f" ({body.ticket})" if body.ticket else ""
            return f"p{body.number} proposed, risk {body.risk}{ticket}: {action_words(body.action)}" + _why(body.reason)
        case ChangeDrafted():
            failed = [one.gate for one in body.evidence if not one.passed]
            gates = f", gates failed: {', '.join(failed)}" if failed else ", gates passed" if body.evidence else ""
            what = f", {counted(len(body.edits), 'edit')}" if body.edits else ""
            return f"p{body.proposal} drafted{what} on {short(body.parent)}{gates}"
        case ChangeApproved():
            return f"p{body.proposal} approved by {decision_words(body.decision)}"
        case ChangeRejected():
            return f"p{body.proposal} rejected by {decision_words(body.decision)}"
        case ChangeClosed():
            return f"p{body.proposal} {body.why.value}" + _why(body.reason)
        case ChangeApplied() if body.authority is Authority.BREAK_GLASS:
            who = " and ".join(decision.person for decision in body.decisions)
            return f"p{body.proposal} APPLIED BY BREAKING THE GLASS by {who}, review by {body.review_by}: {body.reason}"
        case ChangeApplied():
            return f"p{body.proposal} applied"
        case ChangeChecked():
            failed = [one.gate for one in body.evidence if not one.passed]
            return f"p{body.proposal} checked: " + (f"failed {', '.join(failed)}" if failed else "gates passed")
        case GlassReviewed():
            return f"p{body.proposal} reviewed, {body.verdict.value} by {decision_words(body.decision)}: {body.reason}"
    return None


def action_words(action: Action) -> str:
    """What a change asks for."""
    match action:
        case EditFacts(facts=facts):
            first = f"{facts[0].text} => {facts[0].target}"
            return first if len(facts) == 1 else f"{first} and {counted(len(facts) - 1, 'more fact')}"
        case RevertThem(edits=edits):
            return f"revert {', '.join(f'e{number}' for number in edits)}"
        case EraseFact(edits=edits):
            return f"erase {', '.join(f'e{number}' for number in edits)}"
        case MoveTag(tag=tag, live=None):
            return f"take the tag {tag} away"
        case MoveTag(tag=tag, live=live):
            return f"tag {tag} on a version of {counted(len(live or ()), 'edit')}"
        case ChangePolicy(policy=policy):
            return f"policy {policy.name} {short(policy.digest)}"
        case ChangeAccess(steps=steps):
            return "; ".join(step_words(step) for step in steps)


def step_words(step: AccessStep) -> str:
    """What a step of a change of keys and roles does."""
    match step:
        case GrantKey(key=key, person=person):
            return f"grant key {short_key(key)} to {person}"
        case RevokeKey(key=key):
            return f"revoke key {short_key(key)}"
        case GrantRole(person=person, role=role):
            return f"make {person} {role}"
        case RevokeRole(person=person, role=role):
            return f"{person} no more {role}"


def decision_words(decision: SignedDecision) -> str:
    """Who decided, in which role, and what their signature stands for."""
    role = f" as {decision.role}" if decision.role else ""
    return f"{decision.person}{role} ({decision.meaning})"


def short_key(key: str) -> str:
    """A key as tables show it."""
    return key.removeprefix("ed25519:")[:12]


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""
