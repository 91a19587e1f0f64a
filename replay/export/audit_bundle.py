"""An audit bundle written out, and the record that it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from errata.ledger.audit.bundle import MANIFEST, SIGNATURE, Bundle, build, checkpoint_of_range, read_range
from errata.ledger.audit.formats.parquet import require_pyarrow
from errata.ledger.audit.range import AuditRange, event_at
from errata.ledger.audit.views import views
from errata.ledger.base.errors import LedgerNotFound, UsageError
from errata.ledger.base.findings import Severity
from errata.ledger.base.held import noted
from errata.ledger.care.verify import verify
from errata.ledger.events.policy import Capability
from errata.ledger.kinds.exports import AuditExported
from errata.ledger.rules.operations import RecordEvent
from errata.replay.export.whole_folder import whole_folder
from errata.replay.record.writer import Writer


@dataclass(frozen=True)
class BundleWritten:
    """A bundle.

    Attributes:
        read: the range.
        bundle: its files.
        recorded: the seq of the event that says that it was handed out.
    """

    read: AuditRange
    bundle: Bundle
    recorded: int


def export_bundle(
    writer: Writer,
    destination: Path,
    start: str = "@1",
    end: str = "HEAD",
    *,
    sign: bool = False,
    pdf: bool = True,
    core: bool = False,
    tell: Callable[[str], None] = lambda stage: None,
) -> BundleWritten:
    """Write a range of the log as a bundle for an auditor, and record that; the ledger is verified first.

    The event comes when the bundle is there, so that none says what did not happen; if it cannot be recorded, the
    bundle goes again.

    Args:
        writer: the ledger, and who hands it out.
        destination: a folder that does not exist.
        start: the range's first event: `@17`, `HEAD`, a tag, an edit.
        end: its last event, likewise.
        sign: sign manifest, checkpoint and statements with the key of whoever acts.
        pdf: write the report as a PDF too.
        core: only what checking takes: no Parquet, statements, bill of materials or report.
        tell: told the name of each stage.

    Raises:
        UsageError: the destination exists, it is no range of the log, or the extra `audit` is not installed.
        Refused: the policy lets whoever acts record nothing.
    """
    ledger = writer.ledger
    if destination.exists() or destination.is_symlink():
        raise UsageError(f"{destination} exists; name a folder that does not exist yet")
    if ledger.folder is None:
        raise LedgerNotFound("memory")
    if not core:
        require_pyarrow()
    writer.foresee(None, Capability.RECORD)
    source = writer.surroundings.signer
    if sign and source is None:
        raise UsageError("nobody signs; name the key")
    signer = source() if sign and source is not None else None
    tell("reading the log")
    events = ledger.events()
    read = read_range(events, list(ledger.store.raw()), event_at(events, start), event_at(events, end))
    tell("verifying the ledger")
    damaged = [one for one in verify(ledger.folder) if one.severity is Severity.ERROR]
    tell("making tables and reports")
    more = {} if core else views(read, checkpoint_of_range(read).text, damaged, signer, pdf=pdf)
    bundle = build(read, more, signer)
    tell("writing")
    made = AuditExported(
        first=read.first,
        last=read.last,
        head=read.state.head.hash,
        manifest=bundle.digest,
        files=len(set(bundle.files) - {MANIFEST, SIGNATURE}),
        signer=bundle.signer,
    )
    recorded: list[int] = []

    def record() -> None:
        recorded.append(writer.execute(RecordEvent(made))[-1].seq)

    with noted(ledger.cache, destination), whole_folder(destination, then=record) as folder:
        for name, data in bundle.files.items():
            (folder / name).write_bytes(data)
    return BundleWritten(read, bundle, recorded[-1])
