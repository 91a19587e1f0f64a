"""What a key touched: the events that it signed, and the decisions that it signed and where they counted.

When a key is in other hands since event `@n`, this is the list of what somebody has to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from errata.ledger.base import signing
from errata.ledger.events.change_parts import Choice
from errata.ledger.events.envelope import Event
from errata.ledger.state.trust import ChangeRecord, Trust


@dataclass(frozen=True, slots=True)
class TouchedDecision:
    """A decision that a key signed.

    Attributes:
        seq: the event that it stands in.
        proposal: the change that it is about.
        choice: what it says.
        counted_at: the event by which the change took effect with its help, or by which it ended or was reviewed; None
            where it had no effect.
        edits: the edits that this change made.
    """

    seq: int
    proposal: int
    choice: Choice
    counted_at: int | None
    edits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Touched:
    """What a key touched, in the order of the log."""

    key: str
    since: int
    events: tuple[Event, ...]
    decisions: tuple[TouchedDecision, ...]


def touched(trust: Trust, events: Iterable[Event], key: str, since: int = 1) -> Touched:
    """What a key touched from event `since` on.

    Args:
        trust: at the head of the log.
        events: all of the log, or what of it is not older than `since`.
        key: the key's name.
        since: the first event that is looked at.
    """
    signed = (event for event in events if event.seq >= since and _signer_of(event) == key)
    decisions = (one for change in trust.changes.values() for one in _decisions(trust, change, key) if one.seq >= since)
    return Touched(key, since, tuple(signed), tuple(sorted(decisions, key=lambda one: (one.seq, one.proposal))))


def _signer_of(event: Event) -> str | None:
    found = signing.read(event.signature) if event.signature is not None else None
    return None if found is None else found.key


def _decisions(trust: Trust, change: ChangeRecord, key: str) -> Iterator[TouchedDecision]:
    """A change's decisions by this key."""
    applied, number = change.applied, change.number
    edits = tuple(edit for edit, maker in trust.edit_changes.items() if maker == number)
    for record in change.approvals:
        if record.decision.key == key:
            helped = applied is not None and not change.broke_glass and record.decision.subject == applied.body.subject
            counted = applied.seq if applied is not None and helped else None
            yield TouchedDecision(record.seq, number, Choice.APPROVE, counted, edits if helped else ())
    if change.rejection is not None and change.rejection.decision.key == key:
        yield TouchedDecision(change.rejection.seq, number, Choice.REJECT, change.rejection.seq)
    if applied is not None and any(one.key == key for one in applied.body.decisions):
        yield TouchedDecision(applied.seq, number, Choice.BREAK_GLASS, applied.seq, edits)
    if change.review is not None and change.review.body.decision.key == key:
        yield TouchedDecision(change.review.seq, number, Choice.REVIEW, change.review.seq)
