"""A change set as an auditor is told of it: who asked, who worked it out, who said yes, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from errata.ledger.audit.edit_row import DecisionRow, GateRow, ReviewRow
from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.events.change_parts import SignedDecision
from errata.ledger.events.policy import Evidence, GateTime
from errata.ledger.state.trust import ChangeRecord


def applied_changes(changes: Mapping[int, ChangeRecord]) -> dict[int, ChangeRecord]:
    """The changes that were applied, by the seq of each event that they stand for, `change_applied` not among them."""
    return {
        seq: change
        for change in changes.values()
        if change.applied is not None
        for seq in range(change.applied.seq + 1, change.applied.last + 1)
    }


def change_columns(change: ChangeRecord) -> dict[str, Any]:
    """All there is to say of a change that was applied: the columns `proposal` to `review` of an `EditRow`.

    Raises:
        LedgerDamaged: it was not.
    """
    if change.applied is None:
        raise LedgerDamaged(f"p{change.number}", "has events of a change that was applied, and was not")
    applied = change.applied
    draft = change.drafts[applied.body.draft - 1]
    checked = (gate for one in change.checks for gate in _gates(one.seq, one.body.evidence, GateTime.APPLIED))
    review = change.review
    return {
        "proposal": change.number,
        "author": change.author,
        "drafter": draft.drafter,
        "proposal_digest": draft.body.proposal_digest,
        "draft_digest": applied.body.subject,
        "reason": change.body.reason,
        "ticket": change.body.ticket,
        "source": change.body.source,
        "risk": change.body.risk,
        "approvals": (
            *(_decision(one.seq, one.decision) for one in change.approvals if one.decision.subject == draft.digest),
            *(_decision(applied.seq, one) for one in applied.body.decisions),
        ),
        "gates": (*_gates(draft.seq, draft.body.evidence, GateTime.DRAFT), *checked),
        "break_glass": change.broke_glass,
        "break_glass_reason": applied.body.reason,
        "review_by": applied.body.review_by,
        "review": None
        if review is None
        else ReviewRow(
            seq=review.seq,
            person=review.body.decision.person,
            verdict=review.body.verdict,
            reason=review.body.reason,
        ),
    }


def _decision(seq: int, decision: SignedDecision) -> DecisionRow:
    return DecisionRow(seq=seq, **{name: getattr(decision, name) for name in DecisionRow.model_fields if name != "seq"})


def _gates(seq: int, evidence: tuple[Evidence, ...], when: GateTime) -> Iterator[GateRow]:
    return (GateRow(seq=seq, when=when, **dict(one)) for one in evidence)
