"""Take the last change back: what it was, and what takes it back.

The last change is the last transaction that moved the model, a tag or the settings, or the last change set that was
applied; results, proposals and decisions on them are none. An edit is reverted. An edit that was reverted or superseded
enters again as a new edit with the very same delta, as `errata cherry-pick` brings it back. So the version afterwards
is the one before the change, to the bit, whatever the change was. What is written is a change like any other: undone
itself, it is done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.ledger.base.errors import Refused, UsageError
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import MoveTag
from errata.ledger.events.envelope import Event, Head
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import ActionSort
from errata.ledger.events.trust_bodies import KeyGranted, KeyRevoked, PolicyChanged, RoleGranted, RoleRevoked
from errata.ledger.kinds.merges import LedgerMerged
from errata.ledger.kinds.settings import SettingsChanged
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, Command, RecordEvent, RevertEdits
from errata.ledger.sharing.carry import bring_blobs
from errata.ledger.sharing.sides import Side
from errata.ledger.state.state import State
from errata.replay.record.writer import Writer

EDITS = (bodies.EditApplied, bodies.EditReverted, bodies.EditSuperseded, LedgerMerged)
TAGS = (bodies.VersionTagged, bodies.VersionUntagged)
LEFT_ALONE = {
    bodies.FactErased: "an erasure is for good",
    PolicyChanged: "`errata policy set` brings another policy into force",
    KeyGranted: "`errata key revoke` takes a key back",
    KeyRevoked: "a key is revoked for good; `errata key grant` lets another one sign",
    RoleGranted: "`errata role revoke` takes a role back",
    RoleRevoked: "`errata role grant` gives it again",
}
"""Changes that undo does not take back, and what to do instead."""
CHANGES = (*EDITS, *TAGS, SettingsChanged, *LEFT_ALONE)

_BEFORE: dict[type[Body], tuple[type[Body], ...]] = {
    bodies.EditReverted: (bodies.EditReverted,),
    bodies.EditSuperseded: (bodies.EditReverted, bodies.EditApplied),
    bodies.EditApplied: (bodies.EditReverted, bodies.EditSuperseded, bodies.EditApplied),
    LedgerMerged: (bodies.EditReverted, bodies.EditApplied),
    bodies.VersionTagged: (bodies.VersionUntagged,),
}
"""What can stand right before an event in one transaction: reverts come first, then edits."""


@dataclass(frozen=True)
class Undo:
    """The last change, and what takes it back.

    Attributes:
        head: the head that this rests on.
        events: the last change's events, in order.
        proposal: the number of the change set that it was applied as, if it was one.
        reverts: the edits that it wrote, which are reverted.
        again: the edits that it reverted or superseded, whose deltas enter again as new edits.
        lost: those that cannot, being of personal facts: they have to be written again.
        merged: whether it was a merge, which stays on record as done.
        command: what takes it back.
        sorts: what sorts of change that is.
        instead: how to ask for the same where the policy lets nobody do it directly.
    """

    head: Head
    events: tuple[Event, ...]
    proposal: int | None
    command: Command
    reverts: tuple[int, ...] = ()
    again: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    merged: bool = False
    sorts: frozenset[ActionSort] = frozenset()
    instead: str = ""


def plan_undo(ledger: Ledger) -> Undo:
    """What the last change was, and what takes it back; nothing is written.

    Raises:
        UsageError: nothing was changed since the ledger was created.
        Refused: nothing takes the last change back, with what to do instead.
    """
    state = ledger.state()
    log = [event for event in ledger.events() if event.seq <= state.head.seq]
    last = next((event for event in reversed(log) if isinstance(event.body, CHANGES)), None)
    if last is None:
        raise UsageError("there is nothing to undo: nothing was changed since the ledger was created")
    proposal = next(
        (
            number
            for number, change in state.trust.changes.items()
            if change.applied is not None and change.applied.seq < last.seq <= change.applied.last
        ),
        None,
    )
    applied = None if proposal is None else state.trust.changes[proposal].applied
    events = _transaction(log, last) if applied is None else tuple(log[applied.seq : applied.last])
    for kind, hint in LEFT_ALONE.items():
        if any(isinstance(event.body, kind) for event in events):
            what = last.kind.replace("_", " ")
            raise Refused(f"the last change, @{last.seq} ({what}), is not one that undo takes back: {hint}")
    if isinstance(last.body, SettingsChanged):
        return Undo(state.head, events, proposal, _settings_before(state, events))
    if isinstance(last.body, TAGS):
        return _of_tag(state, events, proposal, last.body.tag)
    return _of_edits(ledger, state, events, proposal)


def undo(writer: Writer, plan: Undo) -> list[Event]:
    """Take the last change back, in one transaction.

    Args:
        writer: the ledger, and who acts.
        plan: what `plan_undo` found there.

    Raises:
        Refused: the policy does not let it happen directly, with how to ask for it; or a rule forbids it.
        HeadConflict: the log moved since the plan was made; nothing was recorded.
        LedgerDamaged: the batch of an edit that is to enter again is missing or damaged.
    """
    ledger, state = writer.ledger, writer.state
    if asked := instead_of(state, plan):
        raise Refused(asked, policy=state.trust.policy.name)
    if plan.again:
        bring_blobs(ledger, Side.of(ledger), plan.again)
    return ledger.execute(plan.command, expected_head=plan.head, **writer.acting())


def instead_of(state: State, plan: Undo) -> str:
    """Why the policy in force does not let an undo happen directly, and how to ask for it; empty if it does."""
    policy, sorts = state.trust.policy, plan.sorts
    if plan.proposal is not None and state.trust.changes[plan.proposal].failed_after:
        sorts -= {ActionSort.REVERT}  # what failed its gates is reverted without approval
    protected = isinstance(plan.command, MoveTag) and policy.protects(plan.command.tag)
    if sorts <= set(policy.direct) and not protected:
        return ""
    return f"the policy {policy.name!r} does not let this be undone directly; ask for it: {plan.instead}"


def span(events: Sequence[Event]) -> str:
    """Where events stand in the log, in words."""
    first, last = events[0].seq, events[-1].seq
    return f"@{last}" if first == last else f"@{first} to @{last}"


def _transaction(log: Sequence[Event], last: Event) -> tuple[Event, ...]:
    """The events that were appended with this one: events of one transaction carry one actor and one time."""
    first = last.seq
    while first > 1 and _joined(log[first - 2], log[first - 1]):
        first -= 1
    return tuple(log[first - 1 : last.seq])


def _joined(event: Event, after: Event) -> bool:
    if (event.actor, event.recorded_at) != (after.actor, after.recorded_at):
        return False
    if isinstance(after.body, bodies.VersionTagged) and getattr(event.body, "tag", "") != after.body.tag:
        return False
    return isinstance(event.body, _BEFORE.get(type(after.body), ()))


def _reason(events: Sequence[Event], proposal: int | None) -> str:
    return f"undo of {span(events)}" if proposal is None else f"undo of p{proposal} ({span(events)})"


def _settings_before(state: State, events: tuple[Event, ...]) -> RecordEvent:
    before = state.recorded(SettingsChanged)[-2].body if len(state.recorded(SettingsChanged)) > 1 else None
    return RecordEvent(
        SettingsChanged(
            hyperparameters=(state.genesis if before is None else before).hyperparameters,
            reason=_reason(events, None),
            evidence=None if before is None else before.evidence,
        )
    )


def _of_tag(state: State, events: tuple[Event, ...], proposal: int | None, tag: str) -> Undo:
    first = events[0].seq
    moves = [move for move in state.tag_moves if move.tag == tag and move.seq < first]
    if moves and (place := moves[-1].body) is not None:
        move = MoveTag(tag=tag, live=place.live, weights=place.weights, note=place.note)
        asked = f"`errata propose --tag {tag} --at {tag}@{first - 1} --reason ...`"
    else:
        move = MoveTag(tag=tag, live=None)
        asked = f"`errata propose --untag {tag} --reason ...`"
    return Undo(state.head, events, proposal, move, sorts=frozenset({ActionSort.TAG}), instead=asked)


def _of_edits(ledger: Ledger, state: State, events: tuple[Event, ...], proposal: int | None) -> Undo:
    found = [event.body for event in events]
    wrote = tuple(body.number for body in found if isinstance(body, bodies.EditApplied))
    removed = sorted(body.edit for body in found if isinstance(body, bodies.EditReverted | bodies.EditSuperseded))
    lost = tuple(number for number in removed if state.edits[number].body.fact.sealed is not None)
    again = tuple(number for number in removed if number not in lost)
    if not wrote and not again:
        raise Refused(
            f"the last change, {span(events)}, took back {', '.join(f'e{n}' for n in lost)}, of a personal fact, whose"
            " delta cannot enter again: write it again with `errata edit --personal`"
        )
    side = Side.of(ledger) if again else None
    edits = () if side is None else tuple(side.to_carry(number) for number in again)
    asked = []
    if wrote:
        asked.append(f"`errata propose {' '.join(f'--revert e{number}' for number in wrote)} --reason ...`")
    if again:
        asked.append(f"`errata propose` the facts of {', '.join(f'e{number}' for number in again)} again")
    return Undo(
        state.head,
        events,
        proposal,
        ApplyEdits(edits, (RevertEdits(wrote, _reason(events, proposal)),) if wrote else ()),
        reverts=wrote,
        again=again,
        lost=lost,
        merged=isinstance(found[-1], LedgerMerged),
        sorts=frozenset({ActionSort.REVERT} if wrote else ()) | frozenset({ActionSort.MERGE} if again else ()),
        instead=", and ".join(asked),
    )
