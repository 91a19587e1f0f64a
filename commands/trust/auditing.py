"""`errata audit`: hand a range of the log to an auditor, and check what was handed out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.lazy import InOrder
from errata.commands.outputs import Output
from errata.commands.words.render import Block, Table
from errata.ledger.audit.alone.checks import NoBundle, examine
from errata.ledger.audit.alone.encoding import fingerprint
from errata.ledger.audit.alone.program import program
from errata.ledger.audit.bundle import MANIFEST
from errata.ledger.base.errors import Damaged, UsageError
from errata.ledger.base.words import counted, short
from errata.replay.export.audit_bundle import export_bundle


@click.group(cls=InOrder)
@shared
def audit() -> None:
    r"""Hand a range of the log to an auditor.

    `export` writes a bundle: a folder that can be checked without the ledger, the model or Errata. `verify` checks
    one, as does the single file verify_bundle.py inside it.

    \b
    Example:
      errata audit export --out ./bundle
      errata audit verify ./bundle
    """


@audit.command()
@click.option(
    "--from", "start", metavar="EVENT", default="@1", show_default=True, help="The first event: @17, a tag, e12."
)
@click.option("--to", "end", metavar="EVENT", default="HEAD", show_default=True, help="The last one: @42, a tag, HEAD.")
@click.option("--out", type=Output(), required=True, help="A folder that does not exist yet.")
@click.option("--pdf/--no-pdf", default=True, show_default=True, help="The report as a PDF too, which needs Pango.")
@click.option("--core", is_flag=True, help="Only what checking takes: no Parquet, statements, BOM or report.")
@click.option("--sign", is_flag=True, help="Sign manifest, checkpoint and statements with your key.")
@shared
@click.pass_obj
def export(app: App, start: str, end: str, out: Path, pdf: bool, core: bool, sign: bool) -> None:
    r"""Write an audit bundle.

    A folder with every event of the range, the master copy of its edits as JSONL, CSV and Parquet, proofs that tie the
    events to a checkpoint, public keys, in-toto statements, a bill of materials, a report to read, a manifest with the
    digests of all files, and the program that checks it. The same range gives the same bytes, also later. An event is
    written @17, HEAD, as an edit (e12), or as the tag that it set.

    The ledger is verified first, and the report says what was found. The export is itself recorded, with the manifest's
    digest. Give that digest to the auditor apart from the folder. Parquet and PDF need the extra `audit`; --core leaves
    out all that is not needed to check the bundle, and does without it.

    \b
    Examples:
      errata audit export --out ./bundle
      errata audit export --from spring --to HEAD --out ./bundle --sign
    """
    writer = app.writer()
    with app.progress("reading the log") as tell:
        made = export_bundle(writer, out, start, end, sign=sign, pdf=pdf, core=core, tell=tell)
    read, bundle = made.read, made.bundle
    sha256 = f"sha256:{fingerprint(bundle.files[MANIFEST])['sha256']}"
    data = {
        "folder": str(out.absolute()),
        "from": read.first,
        "to": read.last,
        "head": read.state.head.hash,
        "events": read.last - read.first + 1,
        "edits": len(read.rows),
        "manifest": [bundle.digest, sha256],
        "files": {name: len(data) for name, data in sorted(bundle.files.items())},
        "signer": bundle.signer,
        "recorded": made.recorded,
    }
    rows = tuple((name, f"{len(content):,}") for name, content in sorted(bundle.files.items()))
    what = f"{counted(read.last - read.first + 1, 'event')}, {counted(len(read.rows), 'edit')}"
    view: list[Block] = [
        f"{out}: @{read.first} to @{read.last}, {what}; recorded at @{made.recorded}",
        Table(("file", "bytes"), rows),
        f"manifest {bundle.digest}",
        f"         {sha256}",
        *([f"signed   by {bundle.signer}"] if bundle.signer is not None else []),
    ]
    app.show(data, view)


@audit.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--manifest-digest", metavar="DIGEST", help="What the manifest's digest must be, as the exporter told it."
)
@click.option("--checkpoint", type=click.Path(path_type=Path), help="A checkpoint of the log that was kept elsewhere.")
@shared
@click.pass_obj
def verify(app: App, bundle: Path, manifest_digest: str | None, checkpoint: Path | None) -> int:
    r"""Check an audit bundle.

    Needs neither ledger nor model: it runs the program that is in every bundle as verify_bundle.py, but the copy that
    came with this Errata, and says whether the bundle's is the same. Every finding is listed; the exit code is 1 if
    something is wrong.

    \b
    Example:
      errata audit verify ./bundle --manifest-digest sha256:69a45537aa...
    """
    if checkpoint is not None and not checkpoint.is_file():
        raise UsageError(f"{checkpoint} is not a file")
    try:
        report: dict[str, Any] = examine(bundle, manifest_digest, checkpoint, program())
    except NoBundle as error:
        raise Damaged(f"{bundle}: {error}") from error
    view: list[Block] = []
    if report["findings"]:
        rows = tuple((one["severity"], one["where"], one["what"]) for one in report["findings"])
        view.append(Table(("severity", "where", "what"), rows, whole=True))
    wrong = sum(one["severity"] == "error" for one in report["findings"])
    view += [
        f"manifest {report['manifest'][0]}",
        f"         {report['manifest'][1]}",
        f"range    @{report['from']} to @{report['to']}: {counted(report['events'], 'event')},"
        f" {counted(report['edits'], 'edit')}",
        f"signed   by {report['signer'] or 'nobody'}",
        f"head     {short(report['head'] or '')}, tree root {(report['root'] or '')[:12]}",
        "program  the bundle's copy is the one that ran"
        if report["same_program"]
        else "program  the bundle has another",
        "sound: nothing is wrong" if report["sound"] else f"not sound: {counted(wrong, 'finding')}",
    ]
    app.show(report, view)
    return 0 if report["sound"] else 1
