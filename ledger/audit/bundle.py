"""Audit bundles: a range of the log as files that an auditor checks without the ledger, the model or this program.

The same range of the same ledger gives the same bytes, whatever was appended after it: nothing here looks at a clock, a
path or the machine. The tree that the proofs are about is that of the log up to the range's end.

    manifest.json      every file with its size, BLAKE3 and SHA-256; the range, its head, the tree's root
    manifest.sig       a signature over it, if the exporter gave a key
    events.jsonl       every event of the range: {"event": its canonical bytes, "hash", "signature"}
    context.jsonl      the events before the range that bear on it, likewise
    edits.jsonl        the master copy, an edit a line; also as edits.csv, where a `'` stands before what a spreadsheet
                       would take for a formula
    ends.jsonl, evaluations.jsonl, tags.jsonl, changes.jsonl, policy.jsonl
                       the events of these kinds: what ended edits; evaluations; moves of tags; proposals,
                       drafts, decisions and reviews; policies, keys and roles
    edits.parquet, statements.jsonl, bom.cdx.json, report.html, report.pdf
                       what others add for other tools and for people (`ledger.audit.views`)
    keys.json          every public key, whose it is, and the events between which it signs
    checkpoint.txt     the tree's size and root, as a note
    proofs.json        what ties the events to that root
    README.txt, verify_bundle.py
                       how to check it, and what with
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from errata.ledger.audit.alone.checks import FORMAT
from errata.ledger.audit.alone.encoding import fingerprint
from errata.ledger.audit.alone.program import program
from errata.ledger.audit.alone.tables import VIEWS, csv_bytes
from errata.ledger.audit.edit_row import EditRow
from errata.ledger.audit.master_copy import edit_rows
from errata.ledger.audit.range import AuditRange, context, whole_range
from errata.ledger.base.canonical import canonical_bytes, digest
from errata.ledger.base.errors import UsageError
from errata.ledger.base.signing import Signer
from errata.ledger.base.words import public_name, shown
from errata.ledger.events.bodies import EditApplied
from errata.ledger.events.envelope import Event, StoredEvent
from errata.ledger.rules.evolve import fold
from errata.ledger.state.trust import KeyRecord
from errata.ledger.witness.checkpoints import checkpoint_of
from errata.ledger.witness.merkle import MerkleTree
from errata.ledger.witness.notes import Checkpoint

TEMPLATES = Path(__file__).parent / "templates"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
DOMAIN = "manifest"
"""The domain in which a manifest is hashed and signed."""


@dataclass(frozen=True)
class Bundle:
    """The files of a bundle: name -> bytes, the manifest among them.

    Attributes:
        digest: the manifest's, which stands for the whole.
        signer: the key that signed it.
    """

    files: Mapping[str, bytes]
    digest: str
    signer: str | None


def read_range(events: Sequence[Event], stored: Sequence[StoredEvent], first: int, last: int) -> AuditRange:
    """Read a range of a log.

    Args:
        events: the whole log.
        stored: the same, as it is stored.
        first: seq at which the range begins.
        last: seq at which it ends.

    Raises:
        UsageError: there is no such range, or it cuts a batch or a change set in two.
    """
    whole_range(events, first, last)
    told = tuple(events[:last])
    rows = edit_rows(told, first)
    return AuditRange(told, tuple(stored[:last]), first, fold(told), rows, tuple(context(told, first, rows)))


def build(read: AuditRange, more: Mapping[str, bytes], signer: Signer | None = None) -> Bundle:
    """Make the files of a bundle.

    Args:
        read: the range.
        more: further files, such as reports and attestations: name -> bytes.
        signer: signs the manifest.

    Raises:
        UsageError: a further file has the name of one of the bundle's own.
    """
    checkpoint = checkpoint_of_range(read, signer)
    own = _own_files(read, checkpoint)
    if taken := sorted(set(more) & {*own, MANIFEST, SIGNATURE}):
        raise UsageError(f"{taken[0]} is one of the bundle's own files")
    files = own | dict(more)
    head = read.state.head
    manifest = canonical_bytes(
        {
            "format": FORMAT,
            "ledger": read.events[0].hash,
            "from": read.first,
            "to": head.seq,
            "head": head.hash,
            "root": checkpoint.root.hex(),
            "signer": None if signer is None else signer.key,
            "files": {name: fingerprint(data) for name, data in files.items()},
        }
    )
    files[MANIFEST] = manifest
    if signer is not None:
        files[SIGNATURE] = f"{signer.sign(DOMAIN, manifest)}\n".encode("ascii")
    return Bundle(files, digest(DOMAIN, manifest), None if signer is None else signer.key)


def checkpoint_of_range(read: AuditRange, signer: Signer | None = None) -> Checkpoint:
    """The checkpoint of the log up to a range's end, signed under the name of the key's person if there is a key."""
    made = checkpoint_of([event.hash for event in read.events])
    if signer is None:
        return made
    owner = read.state.trust.keys.get(signer.key)
    return made.signed("exporter" if owner is None else owner.person, signer)


def _own_files(read: AuditRange, checkpoint: Checkpoint) -> dict[str, bytes]:
    """All files but those of the manifest and those that others add."""
    lines = {event.seq: _line(event) for event in read.stored}
    within, tree = read.events[read.first - 1 :], MerkleTree.of_events([event.hash for event in read.events])
    told = [*read.context, *(event for event in within if isinstance(event.body, EditApplied))]
    proofs = {
        "before": [part.hex() for part in tree.before(read.first - 1)],
        "inclusion": [{"seq": e.seq, "path": [part.hex() for part in tree.inclusion(e.seq - 1)]} for e in told],
    }
    files = {
        "events.jsonl": b"".join(lines[event.seq] for event in within),
        "context.jsonl": b"".join(lines[event.seq] for event in read.context),
        "edits.jsonl": b"".join(canonical_bytes(row.plain()) + b"\n" for row in read.rows),
        "edits.csv": csv_bytes(list(EditRow.model_fields), [row.plain() for row in read.rows]),
        "keys.json": canonical_bytes([_key(record) for record in read.state.trust.keys.values()]),
        "checkpoint.txt": checkpoint.note.encode("utf-8"),
        "proofs.json": canonical_bytes(proofs),
        "README.txt": _readme(read).encode("utf-8"),
        "verify_bundle.py": program(),
    }
    for name, kinds in VIEWS.items():
        files[name] = b"".join(lines[event.seq] for event in within if event.kind in kinds)
    return files


def _line(event: StoredEvent) -> bytes:
    """An event as a line of a file; what was hashed stands in it as it was hashed."""
    signature = canonical_bytes(event.signature)
    return b'{"event":%b,"hash":"%b","signature":%b}\n' % (event.canonical, event.hash.encode("ascii"), signature)


def _key(record: KeyRecord) -> dict[str, object]:
    return {
        "key": record.key,
        "person": record.person,
        "granted": record.granted,
        "revoked": record.revoked,
        "compromised_since": record.compromised_since,
    }


def _readme(read: AuditRange) -> str:
    """The page that tells an auditor what the bundle is and how to check it."""
    created, head = read.state.created, read.state.head
    assert created is not None, "a range begins with the log's first event, or follows it"
    return (
        (TEMPLATES / "README.txt")
        .read_text(encoding="utf-8")
        .format(
            ledger=read.events[0].hash,
            model=shown(public_name(created.model)),
            base=created.base_digest,
            first=read.first,
            last=head.seq,
            edits=len(read.rows),
            head=head.hash,
        )
    )
