"""The page in a bundle that tells an auditor what it is and how to check it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from errata.ledger.audit.range import Range

TEXT = """\
AUDIT BUNDLE OF A MODEL'S EDITS

ledger     {ledger}
model      {model}, base {base}
range      events @{first} to @{last}, {edits} edits recorded in it
head       {head}

What this is. Somebody changed facts in a language model, and every change was recorded as an event in a log that is
only ever appended to. This folder holds a range of that log and what follows from it. It can be checked without the
log's owner, their program, or the model.

How to check it. Read verify_bundle.py, which is all that runs. Then:

    python -m venv check && check/bin/pip install blake3 cryptography     (and pyarrow, to read the Parquet file too)
    check/bin/python verify_bundle.py .  --manifest-digest DIGEST

DIGEST is what the exporter told you apart from this folder, or what the event `audit_exported` in the log says. Without
it the check still finds every file that was added, removed or changed after the export, but not a folder that was made
up as a whole. A checkpoint that was kept elsewhere says the same and more: --checkpoint FILE.

By hand. `sha256sum manifest.json` and `b3sum FILE` print the digests that are written here. An event's hash is BLAKE3
over "errata/event", a zero byte, and the bytes after {{"event": in its line, up to ,"hash". A signature is Ed25519 over
"errata/event", a zero byte, and that hash as it is written.

What is where.

    manifest.json       every file with its size and digests; the range, its last event, the root of the Merkle tree
    events.jsonl        every event of the range, to the byte
    context.jsonl       events before the range that bear on it: the creation, edits in force, policies, keys, roles
    edits.jsonl         the master copy: an edit a line, with all that the events say of it
    edits.csv           the same for spreadsheets; edits.parquet for programs; lists and objects in them are JSON.
                        A cell that a spreadsheet would take for a formula begins with ' in the CSV file.
    ends.jsonl          edits that were reverted or superseded, and facts that were erased
    evaluations.jsonl   evaluations; tags.jsonl: moves of tags
    changes.jsonl       proposals, drafts, approvals, rejections, what was applied, and reviews
    policy.jsonl        policies, keys and roles, as they changed
    statements.jsonl    in-toto statements of edits, evaluations and gates; where the exporter signed they
                        lie in DSSE envelopes, and the file is attestations.intoto.jsonl
    bom.cdx.json        a CycloneDX bill of materials of the version at the range's end
    report.html         a report for people; report.pdf, if it is there, is the same on paper
    keys.json           public keys, whose they are, and from which event to which they sign
    checkpoint.txt      size and root of the Merkle tree (RFC 6962, SHA-256) over the events' hashes
    proofs.json         the tree's left edge before the range, and an inclusion proof of every edit and of the context

What it cannot tell. Times are those of the clocks of those who recorded. What an event says of a model (scores, norms,
answers) is what was measured and written down then; measuring it again takes the model.
"""


def readme(read: Range) -> str:
    """The page."""
    created, head = read.state.created, read.state.head
    assert created is not None, "a range begins with the log's first event, or follows it"
    return TEXT.format(
        ledger=read.events[0].hash,
        model=created.model,
        base=created.base_digest,
        first=read.first,
        last=head.seq,
        edits=len(read.rows),
        head=head.hash,
    )
