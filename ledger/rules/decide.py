"""`decide(state, command)`: which events a command makes, or why it is refused.

Pure: nothing is read or written. Each proposed event is checked against `ledger.rules.rules` with the ones before it
already in effect, so a command is accepted whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from errata.ledger.base.errors import Refused, UnknownEdit, UsageError
from errata.ledger.events import bodies
from errata.ledger.events.bodies import Body
from errata.ledger.events.change_parts import MoveTag
from errata.ledger.events.envelope import NOBODY, Act, Head, Kind, kind_of
from errata.ledger.events.tag_names import check_tag_name
from errata.ledger.rules.change_rules import check_move
from errata.ledger.rules.decide_trust import propose_edit, propose_trust
from errata.ledger.rules.operations import (
    ApplyEdits,
    ChangeSettings,
    Command,
    ConcludeBisection,
    CreateLedger,
    ErasePersonal,
    MergeLedger,
    RecordCheckout,
    RecordEvaluation,
    RecordExport,
    RecordTracing,
    ReplaceEdits,
    RevertEdits,
    TagVersion,
    UntagVersion,
)
from errata.ledger.rules.rules import check, nearest_edit, next_number
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import State, edits_of, version_of

__all__ = [
    "ApplyEdits",
    "ChangeSettings",
    "Command",
    "ConcludeBisection",
    "CreateLedger",
    "ErasePersonal",
    "MergeLedger",
    "RecordCheckout",
    "RecordEvaluation",
    "RecordExport",
    "RecordTracing",
    "ReplaceEdits",
    "RevertEdits",
    "TagVersion",
    "UntagVersion",
    "decide",
    "foresee",
]


def decide(state: State, command: Command, act: Act | None = NOBODY) -> list[tuple[Kind, Body]]:
    """The events that the command makes in this state, in order; at least one.

    Args:
        state: what the log says.
        command: what is wanted.
        act: by whom, when, and with which key they would be signed; None for a preview, which whoever looks may have
            whatever the policy says of doing it.

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


def _decide(trial: Fold, command: Command, act: Act | None) -> list[tuple[Kind, Body]]:
    """The events, which have taken effect in `trial` afterwards."""
    events: list[tuple[Kind, Body]] = []
    who = act or NOBODY
    for body in _propose(trial, command, who):
        check(trial, body, act)
        trial.add(Head(trial.head.seq + 1, trial.head.hash), body, who)
        events.append((kind_of(body), body))
    if not events:
        raise UsageError("there is nothing to do")
    if trial.trust.applying is not None:
        raise Refused(f"p{trial.trust.applying.proposal} would take effect in part only")
    return events


def _propose(trial: Fold, command: Command, act: Act) -> Iterator[Body]:
    """The bodies to append; `trial` already shows the effect of those yielded before."""
    match command:
        case CreateLedger(created):
            yield created
        case ApplyEdits(edits, taken_back, reason):
            yield from _propose_reverts(taken_back, reason)
            yield from _propose_edits(trial, edits)
        case RevertEdits(numbers, reason):
            yield from _propose_reverts(numbers, reason)
        case ReplaceEdits(reverts, edits):
            for group in reverts:
                yield from _propose_reverts(group.numbers, group.reason)
            yield from _propose_edits(trial, edits)
        case RecordEvaluation(evaluation):
            yield evaluation
        case TagVersion(tag, live, weights, note):
            yield _tag(trial, tag, live, weights, note)
        case UntagVersion(tag):
            check_tag_name(tag)
            yield bodies.VersionUntagged(tag=tag)
        case MoveTag() as move:
            check_move(trial, move)
            if move.tag in trial.tags:
                yield bodies.VersionUntagged(tag=move.tag)
            if move.live is not None:
                yield _tag(trial, move.tag, move.live, move.weights, move.note)
        case ConcludeBisection(conclusion):
            yield conclusion
        case RecordTracing(tracing):
            yield tracing
        case RecordCheckout(checkout):
            yield checkout
        case ChangeSettings(changed):
            yield changed
        case RecordExport(export):
            yield export
        case ErasePersonal(token, reason):
            yield from _propose_erasure(trial, token, reason)
        case MergeLedger():
            yield from _propose_merge(trial, command)
        case _:
            yield from propose_trust(trial, command, act)


def _propose_reverts(numbers: tuple[int, ...], reason: str) -> Iterator[Body]:
    if len(set(numbers)) != len(numbers):
        raise UsageError("an edit is reverted once")
    for number in numbers:
        if number < 1:
            raise UnknownEdit(f"e{number}")
        yield bodies.EditReverted(edit=number, reason=reason)


def _propose_edits(trial: Fold, edits: tuple[bodies.NewEdit, ...]) -> Iterator[Body]:
    keys = [edit.fact.key for edit in edits]
    if len(set(keys)) != len(keys):
        subject, prompt = next(key for key in keys if keys.count(key) > 1)
        raise Refused(f"two edits of one fact in one batch: {prompt.replace('{}', subject)!r}; keep one of them")
    for edit in edits:
        yield from propose_edit(trial, edit)


def _propose_erasure(trial: Fold, token: str, reason: str) -> Iterator[Body]:
    edits = edits_of(trial.edits, token)
    if not edits:
        raise UsageError(f"no personal fact {token!r}; `errata log` shows the token of each")
    yield from _propose_reverts(tuple(number for number in edits if number in trial.live), reason)
    yield bodies.FactErased.checked(token=token, edits=edits, reason=reason)


def _propose_merge(trial: Fold, command: MergeLedger) -> Iterator[Body]:
    yield from _propose_reverts(command.taken_back, "taken back in the ledger that is merged")
    first = next_number(trial)
    yield from _propose_edits(trial, command.edits)
    yield bodies.LedgerMerged.checked(
        ledger=command.ledger,
        seq=command.head.seq,
        head=command.head.hash,
        rule=command.rule,
        carried=tuple(range(first, next_number(trial))),
        taken_back=command.taken_back,
        resolutions=command.resolutions,
    )


def _tag(trial: Fold, tag: str, live: tuple[int, ...], weights: dict[str, str], note: str) -> bodies.VersionTagged:
    check_tag_name(tag)
    ordered = tuple(sorted(set(live)))
    if unknown := [number for number in ordered if number not in trial.edits]:
        raise UnknownEdit(f"e{unknown[0]}", nearest_edit(unknown[0], trial.edits))
    if trial.created is None:
        raise Refused("a ledger starts with its creation")
    return bodies.VersionTagged.checked(
        tag=tag, version=version_of(trial.created, trial.edits, ordered), live=ordered, weights=weights, note=note
    )
