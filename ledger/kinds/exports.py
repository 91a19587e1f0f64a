"""Exports: a range of the log was handed out as an audit bundle."""

from __future__ import annotations

from errata.ledger.base.errors import Refused
from errata.ledger.base.records import Digest
from errata.ledger.base.signing import KeyName
from errata.ledger.base.words import short
from errata.ledger.events.parts import Body, EditNumber
from errata.ledger.kinds.spec import RECORD, KindSpec
from errata.ledger.state.fold import Fold


class AuditExported(Body):
    """A range of the log was handed out as an audit bundle.

    Attributes:
        first, last: seqs of its first and last event.
        head: the hash of the last one.
        manifest: digest of the bundle's manifest, which names every file with its digests.
        files: how many those are.
        signer: the key that signed the manifest, if one did.
    """

    first: EditNumber
    last: EditNumber
    head: Digest
    manifest: Digest
    files: EditNumber
    signer: KeyName | None = None


def _check(fold: Fold, body: AuditExported) -> None:
    if not body.first <= body.last <= fold.head.seq:
        raise Refused(f"an export of @{body.first} to @{body.last}, and the log has events @1 to @{fold.head.seq}")
    if body.last == fold.head.seq and body.head != fold.head.hash:
        raise Refused(f"an export whose last event is not the one at @{body.last}")


def _words(body: AuditExported) -> str:
    return f"@{body.first} to @{body.last} exported for audit, manifest {short(body.manifest)}"


KINDS = (KindSpec("audit_exported", AuditExported, _words, _check, RECORD),)
