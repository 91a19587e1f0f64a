"""What events are made of, in words: facts, actions, decisions, and what a policy asks for.

The log, the commands and the audit report all say it in these words; a whole event is told by its kind
(`ledger.kinds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from errata.ledger.base.words import counted, listed, short
from errata.ledger.events.bodies import EditApplied
from errata.ledger.events.change_parts import (
    AccessStep,
    Action,
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
from errata.ledger.events.parts import Origin
from errata.ledger.events.policy import ActionSort, Gate, Policy, Requirement
from errata.ledger.events.policy_files import span

MOST_NAMED = 12
"""Of more edits than that, only the first are named."""


def numbers(edits: Sequence[int]) -> str:
    """Edits as people write them: `e1, e2 and e3`; of many the first ones and how many more there are."""
    if len(edits) > MOST_NAMED:
        first = edits[: MOST_NAMED - 2]
        return f"{', '.join(f'e{n}' for n in first)} and {len(edits) - len(first):,} more"
    return listed([f"e{number}" for number in edits])


def fact_words(body: EditApplied) -> str:
    """What an edit wrote, and whether that did not work."""
    return f"{body.fact.text} => {body.fact.target}" + ("" if body.outcome.efficacy else " (not said afterwards)")


def origin_words(origin: Origin) -> str:
    """Where an edit was carried over from, in short."""
    return f"carried over from ledger {short(origin.ledger)}, e{origin.number}"


def action_lines(action: Action) -> tuple[str, ...]:
    """What a change asks for, a line for each fact or step."""
    match action:
        case EditFacts(facts=facts):
            return tuple(f"{fact.text} => {fact.target}" for fact in facts)
        case RevertThem(edits=edits):
            return (f"revert {numbers(edits)}",)
        case EraseFact(edits=edits):
            return (f"erase the fact of {numbers(edits)}",)
        case MoveTag(tag=tag, live=None):
            return (f"remove the tag {tag}",)
        case MoveTag(tag=tag, live=live):
            return (f"tag {tag} on a version of {counted(len(live or ()), 'edit')}",)
        case ChangePolicy(policy=policy):
            return (f"policy {policy.name} {short(policy.digest)}",)
        case ChangeAccess(steps=steps):
            return tuple(step_words(step) for step in steps)


def action_words(action: Action) -> str:
    """What a change asks for, on one line."""
    first, *more = action_lines(action)
    if isinstance(action, EditFacts):
        return first + (f" and {counted(len(more), 'more fact')}" if more else "")
    return "; ".join((first, *more))


def step_words(step: AccessStep) -> str:
    """What a step of a change of keys and roles does."""
    match step:
        case GrantKey(key=key, person=person):
            return f"grant key {short(key)} to {person}"
        case RevokeKey(key=key):
            return f"revoke key {short(key)}"
        case GrantRole(person=person, role=role):
            return f"grant role {role} to {person}"
        case RevokeRole(person=person, role=role):
            return f"revoke role {role} from {person}"


def decision_words(decision: SignedDecision) -> str:
    """Who decided, in which role, and what their signature stands for."""
    role = f" as {decision.role}" if decision.role else ""
    return f"{decision.person}{role} ({decision.meaning})"


SORTS = {
    ActionSort.REVERT: "revert",
    ActionSort.ERASE: "erase a fact",
    ActionSort.MERGE: "bring edits over from another ledger",
    ActionSort.POLICY: "change the policy",
    ActionSort.ACCESS: "change keys and roles",
    ActionSort.TAG: "tag",
    ActionSort.EDIT: "edit",
}
"""What people do, by its sort; edits come last, where a policy has one line for each risk class."""


def requirement_words(requirement: Requirement | None) -> str:
    """Who has to approve."""
    if requirement is None:
        return "directly"
    if not requirement.approvals:
        return "no approval"
    words = counted(requirement.approvals, "approval")
    if requirement.roles:
        words += f" of {' or '.join(requirement.roles)}"
    if requirement.including:
        words += f", {' and '.join(requirement.including)} among them"
    return words


def asks_words(policy: Policy, sort: ActionSort, risk: str | None = None) -> str:
    """What a policy asks before a sort of change."""
    if sort in policy.direct:
        return "directly"
    if sort is ActionSort.MERGE:
        return "not possible"
    return requirement_words(policy.asks(sort, risk or policy.default_risk))


def gate_words(gate: Gate) -> str:
    """A gate's bounds."""
    bounds = ((">=", gate.at_least), ("<=", gate.at_most))
    said = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
    return f"{gate.measure.value.replace('_', ' ')} {said}"


def policy_rows(policy: Policy, risks: Sequence[str] = ()) -> list[tuple[str, str]]:
    """What a policy says, but for its roles and gates: a heading and what stands under it.

    Args:
        policy: the policy.
        risks: the risk classes to have a row each; if left out its own, or one row where edits are made directly.
    """
    glass, direct = policy.break_glass, ActionSort.EDIT in policy.direct
    classes = risks or (() if direct else tuple(policy.risks))
    edits = [(f"edit, risk class {risk}", asks_words(policy, ActionSort.EDIT, risk)) for risk in classes]
    asked = "no tag is protected"
    if policy.protected_tags:
        asked = f"{' or '.join(policy.protected_tags)}: {requirement_words(policy.actions[ActionSort.TAG])}"
    return [
        ("events are signed", "yes" if policy.signed else "no"),
        *(edits or [("edit", "directly")]),
        *((name, asks_words(policy, sort)) for sort, name in SORTS.items() if sort is not ActionSort.EDIT),
        ("a protected tag", asked),
        ("risk class of a proposal that names none", policy.default_risk),
        ("a proposal lives for", _lives(policy.proposal_seconds)),
        ("a draft and its approvals live for", _lives(policy.approval_seconds)),
        ("draft again when the model moved", "yes, approvals start over" if policy.redraft else "no, propose again"),
        ("break glass", "no" if glass is None else f"{glass.keys} persons, review within {span(glass.review_seconds)}"),
        ("clock may go back by", "any time" if policy.clock_skew_seconds is None else span(policy.clock_skew_seconds)),
        ("anybody may", capabilities(policy.everyone)),
    ]  # fmt: skip


def capabilities(words: Iterable[str]) -> str:
    """What a role may do."""
    return ", ".join(words) or "nothing"


def _lives(seconds: int | None) -> str:
    return "forever" if seconds is None else span(seconds)
