"""Which change set each event of the log is part of, and all that was said and measured of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger import bodies
from ledger.audit_parts import ChangeRow, DecisionRow, GateRow, ReviewRow
from ledger.change_parts import Authority, EraseFact, RevertThem, SignedDecision, sort_of
from ledger.errors import LedgerDamaged
from ledger.events import Event
from ledger.policy import Evidence, GateTime


@dataclass
class Change:
    """A change set while the log is read.

    Attributes:
        author, proposed: by whom it was proposed, and as what.
        drafts: the event and body of each draft, in order.
        approvals: of all drafts.
        applied: the draft that took effect, with what was said when it did.
        checked, review: what was measured and said afterwards.
    """

    author: str
    proposed: bodies.ChangeProposed
    drafts: list[tuple[Event, bodies.ChangeDrafted]] = field(default_factory=list)
    approvals: list[DecisionRow] = field(default_factory=list)
    applied: tuple[Event, bodies.ChangeApplied] | None = None
    checked: list[GateRow] = field(default_factory=list)
    review: ReviewRow | None = None

    @property
    def row(self) -> ChangeRow:
        """All there is to say of it, once the log was read and it was applied."""
        if self.applied is None:
            raise LedgerDamaged(f"proposal p{self.proposed.number}", "was not applied")
        event, applied = self.applied
        drafted, draft = self.drafts[applied.draft - 1]
        broken = applied.authority is Authority.BREAK_GLASS
        return ChangeRow(
            proposal=self.proposed.number,
            action=sort_of(self.proposed.action),
            author=self.author,
            drafter=drafted.actor,
            proposal_digest=draft.proposal_digest,
            draft_digest=applied.subject,
            reason=self.proposed.reason,
            ticket=self.proposed.ticket,
            source=self.proposed.source,
            risk=self.proposed.risk,
            approvals=(
                *(one for one in self.approvals if one.subject == applied.subject),
                *(_decision(event, one) for one in applied.decisions),
            ),
            gates=(*_gates(drafted, draft.evidence, GateTime.DRAFT), *self.checked),
            break_glass=broken,
            break_glass_reason=applied.reason,
            review_by=applied.review_by,
            review=self.review,
        )


class Changes:
    """The change sets of a log that is read event by event; what is said of those that it never saw is left out.

    Attributes:
        under_way: the one whose events follow, between its `change_applied` and the last of them.
    """

    def __init__(self) -> None:
        self._all: dict[int, Change] = {}
        self._deltas: list[str] = []
        self._ending: set[int] = set()
        self.under_way: Change | None = None

    def read(self, event: Event) -> None:
        """Take one event in."""
        match event.body:
            case bodies.ChangeProposed() as body:
                self._all[body.number] = Change(event.actor, body)
            case bodies.ChangeDrafted() as body:
                self._all[body.proposal].drafts.append((event, body))
            case bodies.ChangeApproved() as body:
                self._all[body.proposal].approvals.append(_decision(event, body.decision))
            case bodies.ChangeChecked() as body if body.proposal in self._all:
                self._all[body.proposal].checked += _gates(event, body.evidence, GateTime.APPLIED)
            case bodies.GlassReviewed() as body if body.proposal in self._all:
                person = body.decision.person
                review = ReviewRow(seq=event.seq, person=person, verdict=body.verdict, reason=body.reason)
                self._all[body.proposal].review = review
            case bodies.ChangeApplied() as body:
                self._begin(self._all[body.proposal], event, body)
            case _:
                self._go_on(event)

    def _begin(self, change: Change, event: Event, applied: bodies.ChangeApplied) -> None:
        change.applied = (event, applied)
        _, draft = change.drafts[applied.draft - 1]
        action = change.proposed.action
        self.under_way = change
        self._deltas = [edit.delta for edit in draft.edits]
        self._ending = {*draft.taken_back, *(action.edits if isinstance(action, RevertThem | EraseFact) else ())}

    def _go_on(self, event: Event) -> None:
        """See whether an event is one that the change under way stands for; if it is not, that change is over."""
        match event.body:
            case bodies.EditApplied(delta_digest=delta) if delta in self._deltas:
                self._deltas.remove(delta)
            case bodies.EditSuperseded() if self._deltas:
                pass
            case bodies.EditReverted(edit=number) if number in self._ending:
                self._ending.remove(number)
            case _:
                self.under_way, self._deltas, self._ending = None, [], set()


def _decision(event: Event, decision: SignedDecision) -> DecisionRow:
    return DecisionRow(seq=event.seq, **{n: getattr(decision, n) for n in DecisionRow.model_fields if n != "seq"})


def _gates(event: Event, evidence: tuple[Evidence, ...], when: GateTime) -> list[GateRow]:
    return [GateRow(seq=event.seq, when=when, **dict(one)) for one in evidence]
