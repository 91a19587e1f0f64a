"""Policies, and which events keys sign, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from errata.commands.words.render import Block, Table
from errata.ledger.base.words import counted
from errata.ledger.events.policy import ActionSort, Gate, Policy, Requirement
from errata.ledger.events.policy_files import span

if TYPE_CHECKING:
    from errata.ledger.state.trust import KeyRecord

_SORTS = {
    ActionSort.REVERT: "revert",
    ActionSort.ERASE: "erase a fact",
    ActionSort.MERGE: "bring edits over from another ledger",
    ActionSort.POLICY: "change the policy",
    ActionSort.ACCESS: "change keys and roles",
    ActionSort.TAG: "tag",
}


def validity_words(record: KeyRecord) -> str:
    """Which events a key can sign."""
    if record.revoked is None:
        return f"after @{record.granted}"
    since = "" if record.compromised_since is None else f", compromised since @{record.compromised_since}"
    return f"after @{record.granted} to @{record.revoked}{since}"


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
        *((name, asks_words(policy, sort)) for sort, name in _SORTS.items()),
        ("a protected tag", asked),
        ("risk class of a proposal that names none", policy.default_risk),
        ("a proposal lives for", _lives(policy.proposal_seconds)),
        ("a draft and its approvals live for", _lives(policy.approval_seconds)),
        ("draft again when the model moved", "yes, approvals start anew" if policy.redraft else "no, propose again"),
        ("break glass", "no" if glass is None else f"{glass.keys} persons, review within {span(glass.review_seconds)}"),
        ("clock may go back by", "any time" if policy.clock_skew_seconds is None else span(policy.clock_skew_seconds)),
        ("anybody may", _listed(policy.everyone)),
    ]  # fmt: skip


def policy_view(policy: Policy) -> list[Block]:
    """All that a policy says, as tables."""
    roles = tuple((role, _listed(may)) for role, may in policy.roles.items())
    gates = tuple(
        (gate.name, gate_words(gate), gate.suite.name if gate.suite else "", ", ".join(gate.when))
        for gate in policy.gates
    )
    view: list[Block] = [Table(("", "asks"), tuple(policy_rows(policy)), whole=True)]
    if roles:
        view.append(Table(("role", "may"), roles, title="\nroles", whole=True))
    if gates:
        view.append(Table(("gate", "lets through", "suite", "measured"), gates, title="\ngates", whole=True))
    return view


def _lives(seconds: int | None) -> str:
    return "ever" if seconds is None else span(seconds)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "nothing"
