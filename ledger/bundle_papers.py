"""The papers of a bundle: what the log says, in the forms that other tools and people read.

statements.jsonl           in-toto Statements of edits, evaluations and gates, where the export is not signed
attestations.intoto.jsonl  the same in DSSE envelopes, where it is
bom.cdx.json               a CycloneDX bill of materials of the version at the range's end
"""

from __future__ import annotations

from ledger.attestations import attested, statements
from ledger.audit_rows import edit_rows
from ledger.bom import bom_bytes
from ledger.bundle import Range
from ledger.dsse import RawSigner

BOM = "bom.cdx.json"


def papers(read: Range, signer: RawSigner | None) -> dict[str, bytes]:
    """All papers of a range: name -> bytes.

    Args:
        read: the range.
        signer: whose envelopes the statements lie in; None for bare statements.
    """
    name, data = attested(statements(read.events, read.rows, read.first), signer)
    whole = read.rows if read.first == 1 else edit_rows(read.events)
    return {name: data, BOM: bom_bytes(read.events, whole)}
