"""Proposals: what somebody asks for, what it would do exactly, and how it ends without a decision.

Everything that a draft claims is derived again here: the version it leads to, the facts it writes, the gates it passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from errata.ledger.base.errors import Refused, UnknownEdit, UsageError
from errata.ledger.base.words import because, counted, short
from errata.ledger.events.change_parts import (
    ChangeAccess,
    ChangePolicy,
    Closing,
    EditFacts,
    EraseFact,
    MoveTag,
    RevertThem,
    sort_of,
)
from errata.ledger.events.envelope import Act
from errata.ledger.events.policy import Capability, Evidence, GateTime, Policy
from errata.ledger.events.tag_names import check_tag_name
from errata.ledger.events.trust_bodies import ChangeClosed, ChangeDrafted, ChangeProposed
from errata.ledger.events.words import action_words
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.edits import check_live
from errata.ledger.kinds.spec import KindSpec
from errata.ledger.state.effects import facts_fit, result_of
from errata.ledger.state.fold import Fold
from errata.ledger.state.standing import StaleDraft, change_of, open_change, over, refuse_unless_able, scored
from errata.ledger.state.state import edits_of
from errata.ledger.state.trust import ChangeRecord, ChangeStatus, DraftRecord, instant, later


def _check_proposed(fold: Fold, body: ChangeProposed, act: Act) -> None:
    trust, action = fold.trust, body.action
    if body.number != len(trust.changes) + 1:
        raise Refused(f"a proposal numbered {body.number}, and the next is p{len(trust.changes) + 1}")
    refuse_unless_able(trust, act.actor, Capability.PROPOSE)
    if body.risk not in trust.policy.risks:
        raise UsageError(
            f"no risk class {body.risk!r} in the policy {trust.policy.name!r}: {', '.join(trust.policy.risks)}"
        )
    check_expiry("a proposal", trust.policy.proposal_seconds, body.expires_at, act.at)
    match action:
        case RevertThem(edits=edits):
            for number in edits:
                check_live(fold, number)
        case EraseFact(edits=edits):
            if unknown := [number for number in edits if number not in fold.edits]:
                raise UnknownEdit(f"e{unknown[0]}")
            _check_erasure(fold, edits)
        case EditFacts(facts=facts) if any(fact.personal for fact in facts):
            raise Refused("a personal fact is sealed before it is proposed, and this one is in the clear")
        case EditFacts(facts=facts) if erased := [one for one in facts if _token(one) in fold.erasures]:
            raise Refused(f"the personal fact {_token(erased[0])} was erased")
        case MoveTag():
            check_move(fold, action)
        case ChangePolicy(policy=policy) if policy == trust.policy:
            raise Refused(f"the policy {policy.name!r} is in force already")
        case ChangeAccess() | ChangePolicy() | EditFacts():
            pass


def _token(fact: Fact) -> str:
    return "" if fact.sealed is None else fact.sealed.token


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


def check_move(fold: Fold, move: MoveTag) -> None:
    """See that a tag can be moved as a change asks."""
    check_tag_name(move.tag)
    if move.live is None:
        if move.tag not in fold.tags:
            raise Refused(f"no tag {move.tag!r}")
        return
    if unknown := [number for number in move.live if number not in fold.edits]:
        raise UnknownEdit(f"e{unknown[0]}")
    if move.tag in fold.tags and fold.tags[move.tag].live == move.live:
        raise Refused(f"the tag {move.tag!r} is on that version already")


def _propose(fold: Fold, body: ChangeProposed, act: Act) -> None:
    fold.trust.changes[body.number] = ChangeRecord(fold.head.seq, act.at, act.actor, body, body.digest)


def _proposed_words(body: ChangeProposed) -> str:
    ticket = f" ({body.ticket})" if body.ticket else ""
    asked = f"p{body.number} proposed, risk {body.risk}{ticket}: {action_words(body.action)}"
    return asked + because(body.reason)


def _check_drafted(fold: Fold, body: ChangeDrafted, act: Act) -> None:
    trust, number = fold.trust, body.proposal
    change = open_change(trust, number, act.at)
    refuse_unless_able(trust, act.actor, Capability.DRAFT)
    proposal = change.body
    if change.drafts and not trust.policy.redraft:
        raise Refused(
            f"p{number} was already drafted, and the policy {trust.policy.name!r} does not allow a second draft"
        )
    if body.number != len(change.drafts) + 1:
        raise Refused(f"draft {body.number} of p{number}, and the next is {len(change.drafts) + 1}")
    if body.proposal_digest != change.digest:
        raise Refused(f"the draft is of another proposal than p{number}: every byte must match")
    if body.policy != trust.policy.digest:
        raise StaleDraft(f"the policy changed while p{number} was drafted; draft it again")
    if body.parent != fold.version_of(fold.live):
        raise StaleDraft(f"the model changed while p{number} was drafted; draft it again")
    check_expiry("a draft", trust.policy.approval_seconds, body.expires_at, act.at)
    edits = isinstance(proposal.action, EditFacts)
    if not edits and (body.edits or body.taken_back or body.left_out):
        raise Refused(f"p{number} writes no facts, and its draft has edits")
    if bool(body.edits) != (body.blob is not None):
        raise Refused("a draft has a blob if, and only if, it has edits")
    if edits and not (body.edits or body.taken_back):
        raise Refused(f"p{number} changes nothing: the model says its facts already", proposal=number)
    if not set(body.failed) <= set(body.left_out):
        raise Refused(f"the draft of p{number} would write facts whose edits did not work")
    if not facts_fit(proposal, body):
        raise Refused(f"the draft's edits are not of the facts of p{number}")
    for edit in body.taken_back:
        check_live(fold, edit)
    if body.result != result_of(fold, proposal, body):
        raise Refused(f"the draft of p{number} names a version that it does not lead to")
    check_evidence(trust.policy, body.evidence, GateTime.DRAFT, change)


def _draft(fold: Fold, body: ChangeDrafted, act: Act) -> None:
    draft = DraftRecord(fold.head.seq, act.at, act.actor, body, body.digest)
    fold.trust.move(body.proposal, lambda change: replace(change, drafts=(*change.drafts, draft)))


def _drafted_words(body: ChangeDrafted) -> str:
    failed = [one.gate for one in body.evidence if not one.passed]
    gates = f", gates failed: {', '.join(failed)}" if failed else ", gates passed" if body.evidence else ""
    what = f", {counted(len(body.edits), 'edit')}" if body.edits else ""
    return f"p{body.proposal} drafted{what} on {short(body.parent)}{gates}"


def _check_closed(fold: Fold, body: ChangeClosed, act: Act) -> None:
    change = change_of(fold.trust, body.proposal)
    if change.status is not ChangeStatus.OPEN:
        raise Refused(f"p{body.proposal} was {change.status} at @{change.closed_by}", proposal=body.proposal)
    if body.why is Closing.WITHDRAWN:
        if act.actor != change.author:
            raise Refused(f"p{body.proposal} is {change.author}'s, and only they withdraw it; others reject")
    elif not over(change.body.expires_at, act.at):
        raise Refused(f"p{body.proposal} has not expired")


def _close(fold: Fold, body: ChangeClosed, act: Act) -> None:
    status = ChangeStatus.EXPIRED if body.why is Closing.EXPIRED else ChangeStatus.WITHDRAWN
    fold.trust.move(body.proposal, lambda change: replace(change, status=status, closed_by=fold.head.seq))


def _closed_words(body: ChangeClosed) -> str:
    return f"p{body.proposal} {body.why.value}{because(body.reason)}"


def check_expiry(what: str, seconds: int | None, expires_at: str | None, at: str) -> None:
    """See that something that lives for so many seconds says when it ends."""
    if seconds is None:
        return
    if expires_at is None or not at or instant(expires_at) > instant(later(at, seconds)):
        raise Refused(f"{what} lives for {seconds} s at most under this policy")


def check_evidence(policy: Policy, evidence: Sequence[Evidence], time: GateTime, change: ChangeRecord) -> None:
    """See that evidence is of the gates that the policy measures at this time, and that it says what they say."""
    gates = policy.gates_at(time, sort_of(change.body.action))
    if [one.gate for one in evidence] != [gate.name for gate in gates]:
        named = ", ".join(gate.name for gate in gates) or "no gates"
        raise Refused(f"the policy {policy.name!r} measures {named} on p{change.number}, in this order")
    for gate, one in zip(gates, evidence, strict=True):
        if one.passed != gate.holds(one.score):
            raise Refused(f"the gate {gate.name!r} gives another result for {scored(one)}")


KINDS = (
    KindSpec(
        "change_proposed",
        ChangeProposed,
        _proposed_words,
        step=_check_proposed,
        fold=_propose,
        version=2,
        # facts may say more than those of version 1; the number tells older programs not to read them
        upcasters={1: lambda body: body},
    ),
    KindSpec(
        "change_drafted",
        ChangeDrafted,
        _drafted_words,
        step=_check_drafted,
        fold=_draft,
        version=2,
        # `failed` may be left out; the number tells older programs not to read it
        upcasters={1: lambda body: body},
    ),
    KindSpec("change_closed", ChangeClosed, _closed_words, step=_check_closed, fold=_close),
)
