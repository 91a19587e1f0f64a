"""Erase a personal fact: directly where the policy in force lets that be done so, else proposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from errata.ledger.base.errors import Refused
from errata.ledger.events.change_parts import EraseFact
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import ActionSort
from errata.ledger.ledger import Ledger
from errata.ledger.rules.addresses import resolve_edit
from errata.ledger.rules.decide import foresee
from errata.ledger.rules.operations import ErasePersonal
from errata.ledger.secrets.erasing import Leftover, Lost, leftovers, lost_with
from errata.ledger.state.state import State
from errata.replay.record.access import DoneOrProposed
from errata.replay.record.changes import propose
from errata.replay.record.writer import Writer


@dataclass(frozen=True)
class Erasure:
    """What an erasure does, or did.

    Attributes:
        token: the fact's.
        edits: all of its edits.
        live: those that are in force, and are reverted first.
        left: what there is of the fact, and is deleted.
        lost: what can no longer be built.
        erased_at: the event that erased it before this call, if one did.
        events: what was recorded of it now.
        proposed: the proposal, where the policy wants the erasure approved; then nothing is erased yet.
    """

    token: str
    edits: tuple[int, ...]
    live: tuple[int, ...]
    left: tuple[Leftover, ...]
    lost: Lost
    erased_at: int | None = None
    events: Sequence[Event] = ()
    proposed: DoneOrProposed | None = None


def foresee_erasure(ledger: Ledger, fact: str, reason: str = "") -> Erasure:
    """What an erasure would do; nothing is recorded or deleted.

    Args:
        ledger: the ledger.
        fact: the fact's token, or the address of one of its edits.
        reason: why.

    Raises:
        UnknownEdit: there is no such edit.
        Refused: its fact is not personal.
    """
    state = ledger.state()
    token = _token(state, fact)
    edits = state.edits_of(token)
    lost = lost_with(state, edits)
    if token in state.erasures:
        left = tuple(one for one in leftovers(state, ledger.blobs, ledger.vault) if one.token == token)
        return Erasure(token, edits, (), left, lost, erased_at=state.erasures[token].seq)
    planned = foresee(state, ErasePersonal(token, reason), None)
    live = tuple(number for number in edits if number in state.live)
    return Erasure(token, edits, live, tuple(leftovers(planned, ledger.blobs, ledger.vault)), lost)


def erase(writer: Writer, fact: str, reason: str = "") -> Erasure:
    """Erase a personal fact: its live edits are reverted in the same transaction, then all of it is deleted.

    What was erased before is gone on with, where deleting was interrupted.

    Raises:
        UnknownEdit: there is no such edit.
        Refused: its fact is not personal, or the policy lets whoever acts neither erase nor propose that.
        StorageFailed: it was erased, and something of it could not be deleted yet.
    """
    planned = foresee_erasure(writer.ledger, fact, reason)
    if planned.erased_at is not None:
        writer.ledger.drop_erased()
        return planned
    needed = {ActionSort.ERASE, ActionSort.REVERT} if planned.live else {ActionSort.ERASE}
    if needed <= set(writer.state.trust.policy.direct):
        return replace(planned, events=writer.execute(ErasePersonal(planned.token, reason)))
    found = propose(writer, EraseFact(edits=planned.edits), reason)
    return replace(planned, proposed=DoneOrProposed(found.events, found.number))


def _token(state: State, address: str) -> str:
    """The token of the personal fact that a token, or the address of one of its edits, names."""
    if state.edits_of(address):
        return address
    number = resolve_edit(state, address)
    sealed = state.edits[number].body.fact.sealed
    if sealed is None:
        raise Refused(
            f"e{number} was not recorded as personal: its text is part of the log, and nothing can erase that; "
            f"`errata revert e{number}` takes it out of the model",
            edit=number,
        )
    return sealed.token
