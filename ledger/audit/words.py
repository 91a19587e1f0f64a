"""Rows of the master copy, and what a policy asks, in the words of the audit report."""

from __future__ import annotations

from errata.ledger.audit.edit_row import EditRow
from errata.ledger.base.words import counted, short
from errata.ledger.events.change_parts import Choice
from errata.ledger.events.policy import Policy
from errata.ledger.events.words import gate_words, policy_rows
from errata.ledger.facts.fact import expand
from errata.ledger.state.trust import ChangeRecord


def fact_words(row: EditRow) -> str:
    """What an edit is to make the model say, or what stands in its place."""
    if row.subject is None or row.prompt is None or row.new is None:
        return f"withheld, commitment {short(row.commitment)}"
    return f"{expand(row.prompt, row.subject)} => {row.new}"


def before_words(row: EditRow) -> str:
    """What the model said before, or what somebody knows that it did."""
    if row.subject is None:
        return "withheld"
    return row.outcome.said_before or row.old or ""


def approvals_words(row: EditRow) -> str:
    """How many persons approved the change set that an edit is part of."""
    count = sum(one.choice is Choice.APPROVE for one in row.approvals)
    return counted(count, "approval") if count else "no approval"


def approvers(change: ChangeRecord) -> str:
    """Who approved the draft of a change that counts, by name."""
    given = [one.decision.person for one in change.approvals if one.decision.subject == change.subject]
    return ", ".join(given) or "nobody"


def policy_words(policy: Policy) -> tuple[str, ...]:
    """What a policy asks for, an item each."""
    gates = (
        f"gate {gate.name}: {gate_words(gate)}, at {' and '.join(time.value for time in gate.when)}"
        for gate in policy.gates
    )
    return (*(f"{name}: {asked}" for name, asked in policy_rows(policy)), *gates)
