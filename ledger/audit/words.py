"""Words of the audit report: instants, digests, actions, and events of policy, keys and roles as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from errata.ledger.audit.parts import EditRow
from errata.ledger.base.words import counted
from errata.ledger.events.change_parts import (
    Action,
    ChangeAccess,
    ChangePolicy,
    Choice,
    EditFacts,
    EraseFact,
    MoveTag,
    RevertThem,
)
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import Gate, Policy, Requirement
from errata.ledger.events.trust_bodies import KeyGranted, KeyRevoked, PolicyChanged, RoleGranted, RoleRevoked
from errata.ledger.facts.fact import expand
from errata.ledger.state.effects import access_body
from errata.ledger.state.trust import ChangeRecord

SHORT = 12
"""Digits of a digest or key where it stands beside its full form."""


def short(digest: str | None) -> str:
    """The first digits of a digest or of a key's name."""
    return "" if digest is None else digest.partition(":")[2][:SHORT]


def when(instant: str) -> str:
    """An instant to the second, in UTC."""
    return f"{instant[:19].replace('T', ' ')} UTC"


def model_words(model: str) -> str:
    """A model's name; of a folder on somebody's disk its last part."""
    return PurePath(model).name or model if PurePath(model).is_absolute() else model


def names(words: Sequence[str]) -> str:
    """A list as people write it: `ada, ben and cy`."""
    *first, last = words or ("nobody",)
    return f"{', '.join(first)} and {last}" if first else last


def numbers(edits: Sequence[int]) -> str:
    """Edits as people write them: `e1, e2 and e3`; of many the first ones and how many more there are."""
    if len(edits) > 12:
        return f"{', '.join(f'e{n}' for n in edits[:10])} and {len(edits) - 10:,} more"
    return names([f"e{number}" for number in edits])


def fact_words(row: EditRow) -> str:
    """What an edit is to make the model say, or what stands in its place."""
    if row.subject is None or row.prompt is None or row.new is None:
        return f"withheld, commitment {short(row.commitment)}"
    return f"{expand(row.prompt, row.subject)} → {row.new}"


def approvals_words(row: EditRow) -> str:
    """How many persons approved the change set that an edit is part of."""
    count = sum(one.choice is Choice.APPROVE for one in row.approvals)
    return counted(count, "approval") if count else "no approval"


def approvers(change: ChangeRecord) -> str:
    """Who approved the draft of a change that counts, by name."""
    given = [one.decision.person for one in change.approvals if one.decision.subject == change.subject]
    return ", ".join(given) or "nobody"


def before_words(row: EditRow) -> str:
    """What the model said before, or what somebody knows that it did."""
    if row.subject is None:
        return "withheld"
    return row.outcome.said_before or row.old or ""


def action_words(action: Action) -> tuple[str, ...]:
    """What a proposal asks for, a line each."""
    match action:
        case EditFacts(facts=facts):
            return tuple(f"write {fact.text} → {fact.target}" for fact in facts)
        case RevertThem(edits=edits):
            return (f"revert {numbers(edits)}",)
        case EraseFact(edits=edits):
            return (f"erase the fact of {numbers(edits)}",)
        case MoveTag(tag=tag, live=None):
            return (f"take the tag {tag} away",)
        case MoveTag(tag=tag, live=live):
            return (f"tag {tag} on the version with {counted(len(live or ()), 'live edit')}",)
        case ChangePolicy(policy=policy):
            return (f"bring the policy {policy.name} into force",)
        case ChangeAccess(steps=steps):
            return tuple(access_words(access_body(step)) or "" for step in steps)


def access_words(body: Body) -> str | None:
    """What an event says of policy, keys or roles; None for any other."""
    match body:
        case PolicyChanged(policy=policy, reason=reason):
            return f"policy {policy.name} in force" + (f": {reason}" if reason else "")
        case KeyGranted(key=key, person=person):
            return f"key {short(key)} signs for {person}"
        case KeyRevoked(key=key, reason=reason, compromised_since=since):
            return f"key {short(key)} revoked: {reason}" + ("" if since is None else f"; compromised since @{since}")
        case RoleGranted(person=person, role=role):
            return f"{person} is {role}"
        case RoleRevoked(person=person, role=role):
            return f"{person} is no longer {role}"
    return None


def policy_words(policy: Policy) -> tuple[str, ...]:
    """What a policy asks for, a sentence each."""
    direct = ", ".join(sort.value for sort in policy.direct) or "nothing"
    said = [
        "every event is signed" if policy.signed else "events need no signature",
        f"without a change set: {direct}",
        *(f"risk {risk}: {requirement_words(asked)}" for risk, asked in policy.risks.items()),
        *(f"{sort.value}: {requirement_words(asked)}" for sort, asked in policy.actions.items()),
        *(f"gate {gate.name}: {gate_words(gate)}" for gate in policy.gates),
    ]
    if policy.protected_tags:
        said.append(f"tags that move only by a change set: {', '.join(policy.protected_tags)}")
    glass = policy.break_glass
    told = (
        "cannot be broken"
        if glass is None
        else f"takes {glass.keys} persons' keys, review within {glass.review_seconds:,} s"
    )
    return (*said, f"glass {told}")


def requirement_words(asked: Requirement) -> str:
    """Who has to approve."""
    if not asked.approvals:
        return "no approval"
    said = counted(asked.approvals, "approval")
    if asked.roles:
        said += f" by {' or '.join(asked.roles)}"
    return said + (f", {names(list(asked.including))} among them" if asked.including else "")


def gate_words(gate: Gate) -> str:
    """What a gate asks, and when."""
    bounds = [f"at least {gate.at_least:g}"] if gate.at_least is not None else []
    bounds += [f"at most {gate.at_most:g}"] if gate.at_most is not None else []
    suite = "" if gate.suite is None else f" of {gate.suite.name}"
    return f"{gate.measure.value}{suite} {' and '.join(bounds)}, at {' and '.join(time.value for time in gate.when)}"
