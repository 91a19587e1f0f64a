"""Personal facts that are proposed: sealed when they are asked for, and forgotten when nothing comes of them.

A proposal holds such a fact as an edit does, by a salted commitment, with its text under a key. Whoever drafts it opens
it, and the edit is recorded with exactly the proposal's commitment. A change that was rejected or withdrawn leaves
nothing of it: key, ciphertext and drafted factors go at once, unless something else needs them. So do the factors of
drafts that were replaced by others, and what an open proposal holds of a fact that was erased.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from errata.ledger.base.errors import ErrataError
from errata.ledger.drafts import kept_edits, waiting
from errata.ledger.events.bodies import NewEdit
from errata.ledger.events.change_parts import EditFacts
from errata.ledger.events.parts import StatsRef
from errata.ledger.events.trust_bodies import ChangeApplied, ChangeClosed, ChangeDrafted, ChangeRejected
from errata.ledger.facts.fact import Sealed
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.kinds.settings import SettingsChanged
from errata.ledger.state.state import State
from errata.ledger.state.trust import ChangeRecord, ChangeStatus, DraftRecord
from errata.ledger.store.blobs import BlobStore

ENDS = (ChangeApplied, ChangeClosed, ChangeRejected)
"""What ends a change: from then on nothing needs what it was to write, but its edits."""

FORGETTING = (ChangeDrafted, *ENDS)
"""After these, as after an erasure, something of personal facts may be deleted."""


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


def sealed_edits(state: State) -> Iterator[tuple[int, Sealed]]:
    """The personal facts of edits, each with the edit's number, but for those that were erased."""
    for number, record in state.edits.items():
        if record.erased_by is None and record.token is not None and (sealed := record.body.fact.sealed) is not None:
            yield number, sealed


def held_tokens(state: State) -> set[str]:
    """The tokens of facts that an edit or an open proposal needs: their keys stay."""
    return {one.token for _, one in (*sealed_edits(state), *waiting_facts(state))}


def needed(state: State, blobs: BlobStore) -> set[str]:
    """Every blob that something needs which was neither erased nor given up; blobs are named by what they hold.

    Those of edits, of open proposals and the drafts of them that count, and of all other events.
    """
    found = {one.blob for _, one in (*sealed_edits(state), *waiting_facts(state))} | set(_of_other_events(state))
    found |= {record.blob for record in state.edits.values() if record.erased_by is None}
    for _, draft in waiting(state.trust):
        for edit in _edits(blobs, draft):
            if edit.fact.sealed is None or edit.fact.sealed.token not in state.erasures:
                found.add(edit.blob)
    return found


def _of_other_events(state: State) -> Iterator[str]:
    created = state.created
    if created is not None:
        references: list[StatsRef | None] = [*created.stats.values(), created.fisher]
        yield from (one.blob for one in references if one is not None)
        if created.corpus is not None and created.corpus.blob is not None:
            yield created.corpus.blob
    yield from (b for one in state.recorded(EvaluationRecorded) if (b := one.body.details_blob) is not None)
    yield from (e.details_blob for one in state.recorded(SettingsChanged) if (e := one.body.evidence) is not None)
    for policy in (record.body.policy for record in state.trust.policies):
        yield from (gate.suite.blob for gate in policy.gates if gate.suite is not None)
    for change in state.trust.changes.values():
        yield from (b for draft in change.drafts if (b := draft.body.blob) is not None)


def forgotten(state: State, blobs: BlobStore, wanted: set[str]) -> Iterator[tuple[int, str, str | None]]:
    """What closed changes and replaced drafts leave of personal facts: an event, a token, and a blob or, None, a key.

    The key of each fact comes after its blobs; `wanted` is what `needed` gives.
    """
    keys: dict[str, int] = {}
    for change in filter(sealed_in, state.trust.changes.values()):
        for draft in change.drafts:
            for edit in _edits(blobs, draft):
                if edit.fact.sealed is not None and edit.blob not in wanted:
                    yield change.closed_by or draft.seq, edit.fact.sealed.token, edit.blob
        for one in sealed_in(change):
            erasure = state.erasures.get(one.token)
            if change.status is ChangeStatus.OPEN and erasure is None:
                continue
            seq = erasure.seq if erasure is not None else change.closed_by or change.seq
            if one.blob not in wanted:
                yield seq, one.token, one.blob
            keys.setdefault(one.token, seq)
    held = held_tokens(state)
    yield from ((seq, token, None) for token, seq in keys.items() if token not in held)


def _edits(blobs: BlobStore, draft: DraftRecord) -> tuple[NewEdit, ...]:
    with suppress(ErrataError):  # a draft that cannot be read names nothing
        return kept_edits(blobs, draft)
    return ()
