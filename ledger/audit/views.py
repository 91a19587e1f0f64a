"""What an audit bundle holds besides its records: the range for other tools, and for people.

    edits.parquet                                   the master copy, for programs
    attestations.intoto.jsonl or statements.jsonl   in-toto statements, in envelopes if the exporter gave a key
    bom.cdx.json                                    the version at the range's end, as a CycloneDX bill of materials
    report.html, report.pdf                         the report

All of it is read from the range alone, and none of it is needed to check the bundle: whoever doubts a page finds what
it says in the master copy.
"""

from __future__ import annotations

from collections.abc import Sequence

from errata.ledger.audit.formats.attestations import attested, statements
from errata.ledger.audit.formats.bom import bom_bytes
from errata.ledger.audit.formats.parquet import TABLE, edits_parquet
from errata.ledger.audit.master_copy import edit_rows
from errata.ledger.audit.pages import PAGE, PAPER, html_page, pdf_pages
from errata.ledger.audit.range import AuditRange
from errata.ledger.audit.report import report
from errata.ledger.base.findings import Finding
from errata.ledger.base.signing import Signer

BOM = "bom.cdx.json"


def views(
    read: AuditRange,
    checkpoint: str,
    findings: Sequence[Finding] | None = None,
    signer: Signer | None = None,
    *,
    pdf: bool = True,
) -> dict[str, bytes]:
    """The files: name -> bytes, to be given to `ledger.audit.bundle.build`.

    Args:
        read: the range.
        checkpoint: the tree's size and root at the range's end, as a note.
        findings: of `ledger.care.verify.verify` on the ledger; None if it was not asked.
        signer: signs the statements; None leaves them bare.
        pdf: whether the report is to be a PDF too.

    Raises:
        UsageError: the Parquet file or the PDF cannot be made on this machine.
    """
    name, data = attested(statements(read.events, read.rows, read.first), signer)
    whole = read.rows if read.first == 1 else edit_rows(read.events)
    found = report(read, checkpoint, findings)
    files = {
        TABLE: edits_parquet(read.rows),
        name: data,
        BOM: bom_bytes(read.events, whole),
        PAGE: html_page(found).encode("utf-8"),
    }
    if pdf:
        files[PAPER] = pdf_pages(found)
    return files
