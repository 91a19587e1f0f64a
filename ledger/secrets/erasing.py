"""Erasing: what has to go once a fact was erased, or its proposal closed without an edit, and what that leaves.

The event comes first, with the reverts, in one transaction. Only then are things deleted: the caches, which may hold
sums with the edits' deltas and factors of their keys; the edits' factors; the ciphertexts; and last the key. So a crash
leaves either nothing done, or an event and something that is left over, which `leftovers` finds; `drop_erased` may be
called again at any time and goes on from there. A key that is gone says that all else went before it.

Nothing is deleted that an edit which was not erased needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from errata.ledger.base.errors import BlobDamaged, BlobMissing
from errata.ledger.base.failpoints import hit
from errata.ledger.kinds.checkouts import VersionCheckedOut
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.secrets.proposed import forgotten, needed, sealed_in
from errata.ledger.secrets.vault import Vault
from errata.ledger.state.state import State
from errata.ledger.store.blobs import BlobStore
from errata.ledger.store.caches import Caches


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of an erased fact that is still here.

    Attributes:
        seq: the event that erased it, or closed its proposal.
        token: the fact's.
        blob: its blob; None for its key.
    """

    seq: int
    token: str
    blob: str | None

    @property
    def name(self) -> str:
        """Where it lies, below the ledger's folder."""
        if self.blob is None:
            return f"vault/{self.token}"
        digits = self.blob.rpartition(":")[2]
        return f"objects/{digits[:2]}/{digits[2:]}"


@dataclass(frozen=True, slots=True)
class Lost:
    """What cannot be rebuilt without some edits.

    Attributes:
        ranges: first and last event of each stretch of the log after whose events one of them was live.
        tags: tags on versions with one of them.
        evaluations: seqs of evaluations of versions that one of them was live in.
        checkouts: seqs of the events that say that such a version was written out.
    """

    ranges: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    evaluations: tuple[int, ...]
    checkouts: tuple[int, ...]


def _erased_blobs(state: State) -> dict[str, tuple[int, str]]:
    """The blobs of erased edits -> the event that erased them, and the fact's token."""
    erased = dict[str, tuple[int, str]]()
    for record in state.edits.values():
        if record.erased_by is not None and (sealed := record.body.fact.sealed) is not None:
            erased |= dict.fromkeys((record.blob, sealed.blob), (record.erased_by, sealed.token))
    return erased


def leftovers(state: State, blobs: BlobStore, vault: Vault) -> Iterator[Leftover]:
    """What should be gone and is not, the key of each fact after its blobs."""
    if not (state.erasures or any(map(sealed_in, state.trust.changes.values()))):
        return
    wanted = needed(state, blobs)
    for blob, (seq, token) in _erased_blobs(state).items():
        if blob not in wanted and _is_there(blobs, blob):
            yield Leftover(seq, token, blob)
    for token, erasure in state.erasures.items():
        if vault.holds(token):
            yield Leftover(erasure.seq, token, None)
    for seq, token, named in forgotten(state, blobs, wanted):
        if vault.holds(token) if named is None else _is_there(blobs, named):
            yield Leftover(seq, token, named)


def drop_erased(state: State, blobs: BlobStore, vault: Vault, caches: Caches | None) -> None:
    """Delete what should be gone; nothing where nothing is left over.

    Args:
        state: what the log says.
        blobs: the ledger's.
        vault: its keys.
        caches: its caches; None for a ledger in memory. Every folder in them goes: what they hold can be made again,
            and what was made with an erased edit is not told apart from the rest. Files beside them stay: they are
            locks and journals, which hold nothing of an edit.

    Raises:
        StorageFailed: something could not be deleted; what was deleted before is gone, and a second call goes on.
    """
    left = tuple(leftovers(state, blobs, vault))
    if left and caches is not None:
        caches.empty()
    for one in left:
        if one.blob is not None:
            blobs.drop(one.blob)
            hit("erase.blob_dropped")
    for one in left:
        if one.blob is None:
            vault.drop(one.token)
            hit("erase.key_dropped")


def lost_with(state: State, numbers: tuple[int, ...]) -> Lost:
    """What cannot be rebuilt without these edits."""
    gone = frozenset(numbers)
    spans = sorted((state.edits[n].seq, (state.edits[n].closed_by or state.head.seq + 1) - 1) for n in gone)
    ranges: list[tuple[int, int]] = []
    for first, last in spans:
        if ranges and first <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(last, ranges[-1][1]))
        else:
            ranges.append((first, last))
    within = (step.seq for step in state.steps if any(first <= step.seq <= last for first, last in ranges))
    versions = {state.version_of(state.live_at(seq)) for seq in within}
    versions |= {tag.version for tag in state.tags.values() if gone & set(tag.live)}
    return Lost(
        tuple(ranges),
        tuple(sorted(name for name, tag in state.tags.items() if gone & set(tag.live))),
        tuple(one.seq for one in state.recorded(EvaluationRecorded) if one.body.version in versions),
        tuple(one.seq for one in state.recorded(VersionCheckedOut) if one.body.version in versions),
    )


def _is_there(blobs: BlobStore, blob: str) -> bool:
    try:
        blobs.check(blob)
    except BlobMissing:
        return False
    except BlobDamaged:
        pass  # what is left of it may still say something
    return True
