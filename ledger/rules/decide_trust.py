"""Which events a command of trust makes; whether they are allowed is for the rules to say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from errata.ledger.base.errors import Refused, UsageError
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import Authority
from errata.ledger.events.envelope import Act
from errata.ledger.events.parts import Body
from errata.ledger.rules.change_operations import (
    ApplyChange,
    ApproveChange,
    ChangeKeysAndRoles,
    CheckChange,
    CloseChange,
    ProposeChange,
    RecordDraft,
    RejectChange,
    ReviewGlass,
    SetPolicy,
    TrustCommand,
)
from errata.ledger.state.effects import access_body, effects, result_of
from errata.ledger.state.standing import ON_A_VERSION, current_draft, expiry, open_change

if TYPE_CHECKING:
    from errata.ledger.state.fold import Fold


def propose_trust(trial: Fold, command: TrustCommand, act: Act) -> Iterator[Body]:
    """The bodies to append; `trial` already shows the effect of those yielded before.

    Raises:
        Refused, UsageError: there is no such change, or it is in no state for that.
    """
    match command:
        case SetPolicy(policy, reason):
            yield bodies.PolicyChanged(policy=policy, reason=reason)
        case ChangeKeysAndRoles(steps):
            for step in steps:
                yield access_body(step)
        case ProposeChange():
            yield from _proposed(trial, command, act)
        case RecordDraft():
            yield _drafted(trial, command, act)
        case ApproveChange(proposal, decision):
            yield bodies.ChangeApproved(proposal=proposal, decision=decision)
        case RejectChange(proposal, decision):
            yield bodies.ChangeRejected(proposal=proposal, decision=decision)
        case CloseChange(proposal, why, reason):
            yield bodies.ChangeClosed(proposal=proposal, why=why, reason=reason)
        case ApplyChange():
            yield from _applied(trial, command, act)
        case CheckChange(proposal, evidence):
            yield bodies.ChangeChecked.checked(
                proposal=proposal, version=trial.version_of(trial.live), evidence=evidence
            )
        case ReviewGlass(proposal, verdict, reason, decision):
            yield bodies.GlassReviewed.checked(proposal=proposal, verdict=verdict, reason=reason, decision=decision)


def _proposed(trial: Fold, command: ProposeChange, act: Act) -> Iterator[Body]:
    policy, number = trial.trust.policy, len(trial.trust.changes) + 1
    yield bodies.ChangeProposed.checked(
        number=number,
        action=command.action,
        reason=command.reason,
        ticket=command.ticket,
        risk=command.risk or policy.default_risk,
        source=command.source,
        expires_at=_lives(policy.proposal_seconds, act),
    )
    if command.with_draft:
        if isinstance(command.action, ON_A_VERSION):
            raise UsageError("a change of the model is drafted with the model: `errata draft`")
        parent = trial.version_of(trial.live)
        yield _drafted(trial, RecordDraft(number, parent), act)


def _lives(seconds: int | None, act: Act) -> str | None:
    if seconds is not None and not act.at:
        raise Refused("the policy in force asks for the time of every event")
    return expiry(seconds, act.at)


def _drafted(trial: Fold, command: RecordDraft, act: Act) -> bodies.ChangeDrafted:
    change, policy = open_change(trial.trust, command.proposal, act.at), trial.trust.policy
    draft = bodies.ChangeDrafted.checked(
        proposal=command.proposal,
        number=len(change.drafts) + 1,
        proposal_digest=change.digest,
        parent=command.parent,
        result=command.parent,
        policy=policy.digest,
        edits=command.edits,
        blob=command.blob,
        left_out=command.left_out,
        taken_back=command.taken_back,
        evidence=command.evidence,
        expires_at=_lives(policy.approval_seconds, act),
        seconds=command.seconds,
    )
    return draft.model_copy(update={"result": result_of(trial, change.body, draft)})


def _applied(trial: Fold, command: ApplyChange, act: Act) -> Iterator[Body]:
    change, draft = current_draft(trial, command.proposal, act.at)
    broken = command.authority is Authority.BREAK_GLASS
    rule = trial.trust.policy.break_glass
    yield bodies.ChangeApplied.checked(
        proposal=change.number,
        draft=draft.body.number,
        subject=draft.digest,
        authority=command.authority,
        reason=command.reason,
        review_by=_lives(rule.review_seconds, act) if broken and rule is not None else None,
        decisions=command.decisions,
    )
    edits = iter(command.edits)
    for effect in effects(trial, change.body, draft.body):
        if isinstance(effect, Body):
            yield effect
        elif (edit := next(edits, None)) is not None:
            yield from propose_edit(trial, edit)
    if next(edits, None) is not None:
        raise Refused(f"there are more edits than the draft of p{change.number} has")


def propose_edit(trial: Fold, edit: bodies.NewEdit) -> Iterator[Body]:
    """The events that record one edit: it supersedes a live edit of the same fact."""
    number, replaced = len(trial.edits) + 1, trial.live_facts.get(edit.fact.key)
    if replaced is not None:
        yield bodies.EditSuperseded(edit=replaced, by=number)
    yield bodies.EditApplied(number=number, **{name: getattr(edit, name) for name in bodies.NewEdit.model_fields})
