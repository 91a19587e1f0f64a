"""`decide(state, command)`: which events a command makes, or why it is refused.

Pure: nothing is read or written. Each proposed event is checked against `ledger.rules.rules` with the ones before it
already in effect, so a command is accepted whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from errata.ledger.base.errors import Refused, UnknownEdit, UsageError
from errata.ledger.events.bodies import (
    EditReverted,
    EditSuperseded,
    FactErased,
    NewEdit,
    VersionTagged,
    VersionUntagged,
)
from errata.ledger.events.change_parts import Authority, MoveTag
from errata.ledger.events.envelope import NOBODY, Act, Head
from errata.ledger.events.parts import Body
from errata.ledger.events.tag_names import check_tag_name
from errata.ledger.events.trust_bodies import ChangeApplied, ChangeChecked, ChangeDrafted, ChangeProposed
from errata.ledger.kinds.merges import LedgerMerged
from errata.ledger.kinds.proposals import check_move
from errata.ledger.rules.evolve import take
from errata.ledger.rules.operations import (
    ApplyChange,
    ApplyEdits,
    ChangeKeysAndRoles,
    CheckChange,
    Command,
    ErasePersonal,
    MergeLedger,
    ProposeChange,
    RecordDraft,
    RecordEvent,
    RevertEdits,
    TagVersion,
    UntagVersion,
)
from errata.ledger.rules.rules import check
from errata.ledger.state.effects import access_body, effects, result_of
from errata.ledger.state.fold import Fold
from errata.ledger.state.standing import ON_A_VERSION, current_draft, expiry, open_change
from errata.ledger.state.state import State, edits_of, nearest_edit


def decide(state: State, command: Command, act: Act | None = NOBODY) -> list[Body]:
    """The events that the command makes in this state, in order; at least one.

    Args:
        state: what the log says.
        command: what is wanted.
        act: by whom, when, and with which key they would be signed; None for a preview, which is
            given whatever the policy says of doing it.

    Raises:
        Refused: a rule forbids it (`GridExhausted` for the exact grid).
        UnknownEdit: it names an edit that does not exist.
        UsageError: it asks for nothing, or for something that makes no sense.
    """
    return _decide(Fold(state), command, act)


def foresee(state: State, command: Command, act: Act | None = NOBODY) -> State:
    """The state that the command would lead to; its head has the seq of the last event, and no hash of its own.

    Raises:
        Refused, UnknownEdit, UsageError: as `decide`.
    """
    trial = Fold(state)
    _decide(trial, command, act)
    return trial.freeze()


def _decide(trial: Fold, command: Command, act: Act | None) -> list[Body]:
    """The events, which have taken effect in `trial` afterwards."""
    events: list[Body] = []
    who = act or NOBODY
    for body in _propose(trial, command, who):
        check(trial, body, act)
        take(trial, Head(trial.head.seq + 1, trial.head.hash), body, who)
        events.append(body)
    if not events:
        raise UsageError("there is nothing to do")
    if trial.trust.applying is not None:
        raise Refused(f"p{trial.trust.applying.proposal} would take effect in part only")
    return events


def _propose(trial: Fold, command: Command, act: Act) -> Iterator[Body]:
    """The bodies to append; `trial` already shows the effect of those yielded before."""
    match command:
        case RecordEvent(body):
            yield body
        case ApplyEdits(edits, reverts):
            for group in reverts:
                yield from _propose_reverts(group.numbers, group.reason)
            yield from _propose_edits(trial, edits)
        case RevertEdits(numbers, reason):
            yield from _propose_reverts(numbers, reason)
        case TagVersion(tag, live, weights, note):
            yield _tag(trial, tag, live, weights, note)
        case UntagVersion(tag):
            check_tag_name(tag)
            yield VersionUntagged(tag=tag)
        case MoveTag() as move:
            check_move(trial, move)
            if move.tag in trial.tags:
                yield VersionUntagged(tag=move.tag)
            if move.live is not None:
                yield _tag(trial, move.tag, move.live, move.weights, move.note)
        case ErasePersonal(token, reason):
            yield from _propose_erasure(trial, token, reason)
        case MergeLedger():
            yield from _propose_merge(trial, command)
        case ChangeKeysAndRoles(steps):
            for step in steps:
                yield access_body(step)
        case ProposeChange():
            yield from _proposed(trial, command, act)
        case RecordDraft():
            yield _drafted(trial, command, act)
        case ApplyChange():
            yield from _applied(trial, command, act)
        case CheckChange(proposal, evidence):
            yield ChangeChecked.checked(proposal=proposal, version=trial.version_of(trial.live), evidence=evidence)


def _propose_reverts(numbers: tuple[int, ...], reason: str) -> Iterator[Body]:
    if len(set(numbers)) != len(numbers):
        raise UsageError("an edit is reverted once")
    for number in numbers:
        if number < 1:
            raise UnknownEdit(f"e{number}")
        yield EditReverted(edit=number, reason=reason)


def _propose_edits(trial: Fold, edits: tuple[NewEdit, ...]) -> Iterator[Body]:
    keys = [edit.fact.key for edit in edits]
    if len(set(keys)) != len(keys):
        subject, prompt = next(key for key in keys if keys.count(key) > 1)
        raise Refused(f"two edits of one fact in one batch: {prompt.replace('{}', subject)!r}; keep one of them")
    for edit in edits:
        yield from _propose_edit(trial, edit)


def _propose_erasure(trial: Fold, token: str, reason: str) -> Iterator[Body]:
    edits = edits_of(trial.edits, token)
    if not edits:
        raise UsageError(f"no personal fact {token!r}; `errata log` shows the token of each")
    yield from _propose_reverts(tuple(number for number in edits if number in trial.live), reason)
    yield FactErased.checked(token=token, edits=edits, reason=reason)


def _propose_merge(trial: Fold, command: MergeLedger) -> Iterator[Body]:
    yield from _propose_reverts(command.taken_back, "taken back in the ledger that is merged")
    first = trial.next_number
    yield from _propose_edits(trial, command.edits)
    yield LedgerMerged.checked(
        ledger=command.ledger,
        seq=command.head.seq,
        head=command.head.hash,
        rule=command.rule,
        carried=tuple(range(first, trial.next_number)),
        taken_back=command.taken_back,
        resolutions=command.resolutions,
    )


def _tag(trial: Fold, tag: str, live: tuple[int, ...], weights: dict[str, str], note: str) -> VersionTagged:
    check_tag_name(tag)
    ordered = tuple(sorted(set(live)))
    if unknown := [number for number in ordered if number not in trial.edits]:
        raise UnknownEdit(f"e{unknown[0]}", nearest_edit(unknown[0], trial.edits))
    if trial.created is None:
        raise Refused("a ledger starts with its creation")
    return VersionTagged.checked(tag=tag, version=trial.version_of(ordered), live=ordered, weights=weights, note=note)


def _proposed(trial: Fold, command: ProposeChange, act: Act) -> Iterator[Body]:
    policy, number = trial.trust.policy, len(trial.trust.changes) + 1
    yield ChangeProposed.checked(
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


def _drafted(trial: Fold, command: RecordDraft, act: Act) -> ChangeDrafted:
    change, policy = open_change(trial.trust, command.proposal, act.at), trial.trust.policy
    draft = ChangeDrafted.checked(
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
        failed=command.failed,
    )
    return draft.model_copy(update={"result": result_of(trial, change.body, draft)})


def _applied(trial: Fold, command: ApplyChange, act: Act) -> Iterator[Body]:
    change, draft = current_draft(trial, command.proposal, act.at)
    broken = command.authority is Authority.BREAK_GLASS
    rule = trial.trust.policy.break_glass
    yield ChangeApplied.checked(
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
            yield from _propose_edit(trial, edit)
    if next(edits, None) is not None:
        raise Refused(f"there are more edits than the draft of p{change.number} has")


def _propose_edit(trial: Fold, edit: NewEdit) -> Iterator[Body]:
    """The events that record one edit: it supersedes a live edit of the same fact."""
    number, replaced = trial.next_number, trial.live_facts.get(edit.fact.key)
    if replaced is not None:
        yield EditSuperseded(edit=replaced, by=number)
    yield edit.numbered(number)
