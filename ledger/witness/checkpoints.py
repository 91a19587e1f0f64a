"""Checkpoints of a ledger: made, and held against the log as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from errata.ledger.base.errors import Refused
from errata.ledger.base.findings import Finding, Trouble, damage, note
from errata.ledger.events.envelope import StoredEvent
from errata.ledger.state.state import State
from errata.ledger.witness.merkle import MerkleTree, is_beginning
from errata.ledger.witness.notes import Checkpoint, SignatureType, VerifierKey, note_name


def checkpoint_of(hashes: Sequence[str], size: int | None = None) -> Checkpoint:
    """The unsigned checkpoint of a log with these events, or of its beginning.

    Args:
        hashes: of all events, in order.
        size: how many of them; all if left out.

    Raises:
        Refused: an empty log has no checkpoint.
        ValueError: there are not so many.
    """
    size = len(hashes) if size is None else size
    if not size:
        raise Refused("a ledger without events has no checkpoint")
    tree = MerkleTree.of_events(hashes[:size])
    return Checkpoint(hashes[0], size, tree.root(), hashes[size - 1])


def known_keys(state: State) -> list[VerifierKey]:
    """The keys that the ledger itself knows, also revoked ones, as they sign checkpoints and as witnesses."""
    return [
        VerifierKey(note_name(record.person), record.key, kind)
        for record in state.trust.keys.values()
        for kind in SignatureType
    ]


def against(
    pinned: Checkpoint, rows: Sequence[StoredEvent], trusted: Iterable[VerifierKey], known: Iterable[VerifierKey]
) -> list[Finding]:
    """What a checkpoint that was kept elsewhere says of the log as it is now.

    Args:
        pinned: the checkpoint.
        rows: the log's rows.
        trusted: keys that the caller brings; if there are any, one of them must have signed.
        known: keys that the ledger knows; they are told, and prove nothing to who mistrusts the ledger.

    Returns:
        Damage where the log does not go on from the checkpoint or nobody trusted signed it; else one note that says
        what was found.
    """
    where = f"checkpoint @{pinned.size}"
    hashes = [row.hash for row in rows]
    if hashes and hashes[0] != pinned.ledger:
        return [
            damage(where, f"is of another ledger: {pinned.ledger}, and this one is {hashes[0]}", Trouble.CHECKPOINT)
        ]
    findings = []
    if len(hashes) < pinned.size:
        findings.append(
            damage(
                where, f"the log ends at @{len(hashes)}: events were cut off since it was pinned", Trouble.CHECKPOINT
            )
        )
    else:
        tree = MerkleTree.of_events(hashes)
        proof = tree.consistency(pinned.size)
        if not is_beginning(pinned.size, tree.size, pinned.root, tree.root(), proof) or (
            hashes[pinned.size - 1] != pinned.head
        ):
            findings.append(
                damage(where, "the events up to there are others now: the log was rewritten", Trouble.CHECKPOINT)
            )
    trusted = list(trusted)
    good, bad = pinned.vouchers(trusted or known)
    findings += [damage(where, f"the signature of {key.name} does not hold", Trouble.SIGNATURE) for key in bad]
    if trusted and not good:
        findings.append(damage(where, "no trusted key signed it", Trouble.CHECKPOINT))
    if not findings:
        by = ", ".join(sorted({key.name for key in good}))
        how = "a key that you trust" if trusted else "a key that this ledger knows"
        signed = (
            f"{by} signed it with {how}" if by else "no key that this ledger knows signed it; name one with --trust"
        )
        findings.append(note(where, f"the log continues it; {signed}", Trouble.PINNED))
    return findings
