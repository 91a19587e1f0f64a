"""The life of a change, as far as it needs no model: proposed, drafted, approved, applied, or ended.

`replay.apply.changes` drafts changes of the model and checks them once they are applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import short
from errata.ledger.drafts import edits_of
from errata.ledger.events.change_parts import (
    Action,
    Authority,
    Choice,
    Closing,
    EditFacts,
    RevertThem,
    ReviewVerdict,
    SignedDecision,
)
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import Capability
from errata.ledger.events.trust_bodies import (
    ChangeApproved,
    ChangeClosed,
    ChangeProposed,
    ChangeRejected,
    GlassReviewed,
)
from errata.ledger.facts.fact import Fact
from errata.ledger.rules.deciding import signed_decision
from errata.ledger.rules.operations import ApplyChange, ProposeChange, RecordDraft, RecordEvent
from errata.ledger.secrets.sealing import seal_proposed
from errata.ledger.state.standing import (
    StaleDraft,
    change_of,
    current_draft,
    open_change,
    over,
    refuse_unless_able,
)
from errata.ledger.state.state import State
from errata.ledger.state.trust import ChangeRecord
from errata.replay.record.writer import Writer

SHORTEST_PREFIX = 6
"""Digits of a digest that name a draft."""

MEANINGS = {
    Choice.APPROVE: "I have read this draft and agree that it is applied",
    Choice.REJECT: "I do not agree to this change",
    Choice.BREAK_GLASS: "I take part in applying this draft without approval",
    Choice.REVIEW: "I have reviewed this change after it was applied",
}
"""What a signature stands for, unless its owner says otherwise."""


@dataclass(frozen=True)
class Proposed:
    """A proposal's number, and what was recorded of it."""

    number: int
    events: list[Event]


def propose(
    writer: Writer,
    action: Action,
    reason: str,
    *,
    ticket: str | None = None,
    risk: str | None = None,
    source: str | None = None,
    with_draft: bool = False,
) -> Proposed:
    """Ask for a change; the arguments are those of `ledger.rules.operations.ProposeChange`.

    Raises:
        Refused: the policy lets this person propose nothing, or the change says nothing new.
        HeadConflict: somebody else wrote while personal facts were sealed; nothing was recorded.
    """
    based_on = None
    if isinstance(action, EditFacts) and any(fact.personal for fact in action.facts):
        based_on = writer.state  # under whose tokens they are sealed: a key of it may go when another change ends
        refuse_unless_able(based_on.trust, writer.surroundings.actor, Capability.PROPOSE)
        action = action.model_copy(update={"facts": tuple(_sealed(writer, fact) for fact in action.facts)})
    events = writer.execute(ProposeChange(action, reason, ticket, risk, source, with_draft), based_on)
    # others may have proposed since, so it is not the last
    return Proposed(next(one.body.number for one in events if isinstance(one.body, ChangeProposed)), events)


def _sealed(writer: Writer, fact: Fact) -> Fact:
    """A fact as it is proposed: a personal one sealed, under the token that it has here already, if it has one."""
    if not fact.personal:
        return fact
    ledger = writer.ledger
    return seal_proposed(ledger.blobs, ledger.vault, fact, ledger.opener.token_of(writer.state, fact.key))


def needs_model(change: ChangeRecord) -> bool:
    """Whether drafting a change, or checking it afterwards, needs the model."""
    return isinstance(change.body.action, EditFacts | RevertThem)


def see_who_drafts(writer: Writer, number: int) -> ChangeRecord:
    """The change, once it is seen that it is open and that whoever acts may draft it.

    Raises:
        UsageError: there is no such change.
        Refused: it is closed or expired, or this person may not draft.
    """
    trust = writer.state.trust
    change = open_change(trust, number, writer.surroundings.now())
    refuse_unless_able(trust, writer.surroundings.actor, Capability.DRAFT)
    return change


def see_head(state: State, live: Sequence[int], address: str) -> None:
    """See that the head is the version that a draft is wanted on.

    Raises:
        StaleDraft: it is another.
    """
    if state.version != state.version_of(live):
        raise StaleDraft(
            f"the head, @{state.head.seq}, is another version than {address}: look at what changed, and name the head"
            " that you mean"
        )


def draft_without_model(writer: Writer, number: int) -> list[Event]:
    """Record the draft of a change of tags, policy, keys, roles, or of an erasure.

    Raises:
        UsageError: there is no such change, or its draft needs the model (`replay.apply.changes.draft_change`).
        Refused: it is closed, or whoever asks may not draft.
    """
    state = writer.state
    if needs_model(see_who_drafts(writer, number)):
        raise UsageError(f"a draft of p{number} needs the model")
    return writer.execute(RecordDraft(number, state.version))


def approve(writer: Writer, number: int, meaning: str | None = None, draft: str | None = None) -> list[Event]:
    """Agree to exactly the draft that a change has now, with a signature.

    Args:
        writer: the ledger, and who approves.
        number: the change's.
        meaning: what the signature stands for, in their words.
        draft: how the draft's digest starts, if it has to be that one.

    Raises:
        UsageError: there is no such change, nobody signs, or too little of the digest is given.
        StaleDraft: the draft is another one.
        Refused: the policy does not let this person approve it.
    """
    if draft is not None:
        _see_draft(writer.state, number, draft)
    return writer.execute(
        RecordEvent(ChangeApproved(proposal=number, decision=signed(writer, number, Choice.APPROVE, meaning)))
    )


def reject(writer: Writer, number: int, reason: str) -> list[Event]:
    """Say no to a proposal, which ends it; the reason is what is signed.

    Raises:
        UsageError: there is no such change, or nobody signs.
        Refused: the policy does not let this person reject it.
    """
    return writer.execute(
        RecordEvent(ChangeRejected(proposal=number, decision=signed(writer, number, Choice.REJECT, reason)))
    )


def review(writer: Writer, number: int, verdict: ReviewVerdict, reason: str) -> list[Event]:
    """Say what was found about a change that was applied without approval.

    Raises:
        UsageError: there is no such change, or nobody signs.
        Refused: it was applied with approval, or the policy does not let this person review it.
    """
    return writer.execute(
        RecordEvent(
            GlassReviewed(
                proposal=number, verdict=verdict, reason=reason, decision=signed(writer, number, Choice.REVIEW)
            )
        )
    )


def withdraw(writer: Writer, number: int, reason: str = "") -> list[Event]:
    """Take one's own proposal back, or record that the time of anybody's is over.

    Raises:
        UsageError: there is no such change.
        Refused: it ended already, or is another's and its time is not over.
    """
    expired = over(change_of(writer.state.trust, number).body.expires_at, writer.surroundings.now())
    return writer.execute(
        RecordEvent(ChangeClosed(proposal=number, why=Closing.EXPIRED if expired else Closing.WITHDRAWN, reason=reason))
    )


def apply_change(writer: Writer, number: int) -> list[Event]:
    """Let an approved draft take effect: exactly what was drafted, and nothing is solved again.

    Raises:
        UsageError: there is no such change.
        Refused: it is not open or not drafted, or something is missing that the policy asks for.
        StaleDraft: the model or the policy moved since.
        BlobMissing, BlobDamaged: what was drafted is not there.
    """
    return writer.execute(_applied(writer, number))


def break_glass(writer: Writer, number: int, reason: str, decisions: Sequence[SignedDecision]) -> list[Event]:
    """Let a draft take effect without approval, by the decisions of those who take part.

    Raises:
        As `apply_change`.
    """
    command = _applied(writer, number)
    return writer.execute(
        ApplyChange(number, command.edits, Authority.BREAK_GLASS, reason=reason, decisions=tuple(decisions))
    )


def sign_break_glass(writer: Writer, number: int, reason: str = "") -> SignedDecision:
    """A person's part in applying a draft without approval; nothing is recorded yet.

    Raises:
        UsageError: there is no such change, or nobody signs.
        Refused: it has no draft that could be applied.
    """
    current_draft(writer.state, number, writer.surroundings.now())
    meaning = f"{MEANINGS[Choice.BREAK_GLASS]}: {reason}" if reason else None
    return signed(writer, number, Choice.BREAK_GLASS, meaning)


def signed(writer: Writer, number: int, choice: Choice, meaning: str | None = None) -> SignedDecision:
    """A decision on a change as it is now, signed by whoever acts; nothing is recorded yet.

    Raises:
        UsageError: there is no such change, or nobody signs.
    """
    trust, around = writer.state.trust, writer.surroundings
    change_of(trust, number)
    if around.signer is None:
        raise UsageError(f"a decision on p{number} is signed; name the key")
    words = meaning or MEANINGS[choice]
    return signed_decision(trust, number, choice, around.signer(), person=around.actor, meaning=words, at=around.now())


def _applied(writer: Writer, number: int) -> ApplyChange:
    """The command that applies a change, with the edits that its draft kept."""
    _, found = current_draft(writer.state, number, writer.surroundings.now())
    return ApplyChange(number, edits_of(writer.ledger.blobs, found, writer.state.genesis.edited))


def _see_draft(state: State, number: int, wanted: str) -> None:
    """See that a change's draft is the one that was looked at."""
    digits = wanted.removeprefix("blake3:")
    if len(digits) < SHORTEST_PREFIX:
        raise UsageError(f"--draft {wanted!r}: write at least {SHORTEST_PREFIX} digits of the draft's digest")
    draft = change_of(state.trust, number).draft
    if draft is None or not draft.digest.removeprefix("blake3:").startswith(digits):
        now = "there is none" if draft is None else f"it is {short(draft.digest)}"
        raise StaleDraft(f"the draft of p{number} is not {wanted} ({now}); look at it again: `errata show p{number}`")
