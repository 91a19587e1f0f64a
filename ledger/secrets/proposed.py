"""Personal facts that are proposed: sealed when they are asked for, and forgotten when nothing comes of them.

A proposal holds such a fact as an edit does, by a salted commitment, with its text under a key. Whoever drafts it opens
it, and the edit is recorded with exactly the proposal's commitment. A change that was rejected, withdrawn or expired
leaves nothing of it: key, ciphertext and drafted factors go at once, unless an edit or another proposal has them, too.
So do the factors of drafts that were replaced by others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from errata.ledger.base.errors import ErrataError
from errata.ledger.drafts import kept_edits
from errata.ledger.events.change_parts import EditFacts
from errata.ledger.facts.fact import Sealed
from errata.ledger.state.state import State
from errata.ledger.state.trust import ChangeRecord, ChangeStatus
from errata.ledger.store.blobs import BlobStore


def sealed_in(change: ChangeRecord) -> tuple[Sealed, ...]:
    """The personal facts of a proposal."""
    action = change.body.action
    facts = action.facts if isinstance(action, EditFacts) else ()
    return tuple(fact.sealed for fact in facts if fact.sealed is not None)


def waiting_facts(state: State) -> Iterator[tuple[int, Sealed]]:
    """The personal facts of open proposals, each with the proposal's number, but for those that were erased."""
    for number, change in state.trust.changes.items():
        if change.status is ChangeStatus.OPEN:
            yield from ((number, one) for one in sealed_in(change) if one.token not in state.erasures)


def held_tokens(state: State) -> set[str]:
    """The tokens of facts that an edit or an open proposal needs: their keys stay."""
    sealed = (record.body.fact.sealed for record in state.edits.values() if record.erased_by is None)
    return {one.token for one in sealed if one is not None} | {one.token for _, one in waiting_facts(state)}


def forgotten(state: State, blobs: BlobStore) -> Iterator[tuple[int, str, str | None]]:
    """What closed changes and replaced drafts leave of personal facts: an event, a token, and a blob or, None, a key.

    The key of each fact comes after its blobs.
    """
    changes = [change for change in state.trust.changes.values() if sealed_in(change)]
    if not changes:
        return
    wanted = _wanted(state, blobs, changes)
    keys: dict[str, int] = {}
    for change in changes:
        for draft in change.drafts:
            with suppress(ErrataError):  # a draft that cannot be read names nothing
                for edit in kept_edits(blobs, draft):
                    if edit.fact.sealed is not None and edit.blob not in wanted:
                        yield change.closed_by or draft.seq, edit.fact.sealed.token, edit.blob
        if change.status is not ChangeStatus.OPEN:
            for one in sealed_in(change):
                seq = change.closed_by or change.seq
                if one.blob not in wanted:
                    yield seq, one.token, one.blob
                keys.setdefault(one.token, seq)
    held = held_tokens(state)
    yield from ((seq, token, None) for token, seq in keys.items() if token not in held)


def _wanted(state: State, blobs: BlobStore, changes: list[ChangeRecord]) -> set[str]:
    """The blobs that edits, open proposals and the drafts that count of them need."""
    wanted = {one.blob for _, one in waiting_facts(state)}
    for record in state.edits.values():
        if record.erased_by is None:
            wanted.add(record.body.blob)
            if record.body.fact.sealed is not None:
                wanted.add(record.body.fact.sealed.blob)
    for change in changes:
        if change.status is ChangeStatus.OPEN and change.draft is not None:
            with suppress(ErrataError):
                edits = kept_edits(blobs, change.draft)
                sealed = {one.token for one in sealed_in(change)} - state.erasures.keys()
                wanted |= {e.blob for e in edits if e.fact.sealed is None or e.fact.sealed.token in sealed}
    return wanted
