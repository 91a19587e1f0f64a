"""The edits of a draft: kept in a blob until the change is applied, and found again to the byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

from errata.ledger.base.canonical import canonical_bytes
from errata.ledger.base.errors import BlobDamaged, ErrataError
from errata.ledger.base.records import describe
from errata.ledger.events.bodies import NewEdit
from errata.ledger.events.change_parts import DraftedEdit
from errata.ledger.events.parts import EditedTensor
from errata.ledger.facts.fact import fact_digest
from errata.ledger.state.effects import edit_digest
from errata.ledger.state.trust import ChangeStatus, DraftRecord, Trust
from errata.ledger.store.blobs import BlobStore
from errata.ledger.store.deltas import decode_batch
from errata.ledger.store.row_checks import faults


def drafted(edits: Sequence[NewEdit]) -> tuple[DraftedEdit, ...]:
    """What a draft says of these edits: the digests that whoever approves it signs."""
    return tuple(
        DraftedEdit(fact=fact_digest(edit.fact), delta=edit.delta_digest, edit=edit_digest(edit)) for edit in edits
    )


def put_edits(blobs: BlobStore, edits: Sequence[NewEdit]) -> str | None:
    """Keep a draft's edits; None if there are none.

    Raises:
        StorageFailed: the blob could not be written.
    """
    return blobs.put(canonical_bytes([edit.plain() for edit in edits])) if edits else None


def edits_of(blobs: BlobStore, draft: DraftRecord, edited: Mapping[str, EditedTensor]) -> tuple[NewEdit, ...]:
    """The edits that a draft would record, as they were drafted; their factors are there, whole, and can be summed.

    Args:
        blobs: where both are.
        draft: the draft.
        edited: the tensors that the ledger edits.

    Raises:
        BlobMissing, BlobDamaged: the blob, or one that it names, is not what it was, or holds other factors than the
            edits say, or such as are not on the grid.
        NotFinite: a factor is NaN or infinite.
    """
    edits = kept_edits(blobs, draft)
    for factors in dict.fromkeys(edit.blob for edit in edits):
        batch = decode_batch(blobs.get(factors))
        for edit, what in faults(batch, [edit for edit in edits if edit.blob == factors], edited):
            raise BlobDamaged(factors, f"row {edit.row}: {what}")
    return edits


def kept_edits(blobs: BlobStore, draft: DraftRecord) -> tuple[NewEdit, ...]:
    """The edits that a draft's own blob holds; nothing is asked of their factors."""
    if draft.body.blob is None:
        return ()
    data = blobs.get(draft.body.blob)
    try:
        edits = TypeAdapter(tuple[NewEdit, ...]).validate_json(data)
    except ValidationError as error:
        raise BlobDamaged(draft.body.blob, describe(error)) from error
    if drafted(edits) != draft.body.edits:
        raise BlobDamaged(draft.body.blob, f"it holds other edits than the draft at @{draft.seq} says")
    return edits


def waiting(trust: Trust) -> Iterator[tuple[int, DraftRecord]]:
    """The drafts with edits that can still be applied, each with its proposal's number."""
    for change in trust.changes.values():
        if change.status is ChangeStatus.OPEN and change.draft is not None and change.draft.body.blob is not None:
            yield change.number, change.draft


def waiting_blobs(blobs: BlobStore, trust: Trust) -> Iterator[str]:
    """The blobs of factors that waiting drafts need and no event names yet, as far as the drafts can be read."""
    for _, draft in waiting(trust):
        with suppress(ErrataError):
            yield from dict.fromkeys(edit.blob for edit in kept_edits(blobs, draft))
