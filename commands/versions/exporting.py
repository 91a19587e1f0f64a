"""`errata export`."""

from __future__ import annotations

from pathlib import Path

import click

from errata.commands.app import App, shared
from errata.commands.lazy import when_used
from errata.commands.options import BASE_NAME, ONLY, WITHOUT, narrowed
from errata.commands.versions.versions import recorded
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted, short

with when_used():
    from errata.replay.export import adapter_card, adapter_export
    from errata.replay.workflow import writing_out


@click.command()
@click.argument("version")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--adapter", is_flag=True, help="A LoRA adapter in PEFT's format.")
@click.option("--rank", type=click.IntRange(min=1), help="The adapter's rank; the smallest exact one if left out.")
@click.option("--since", metavar="VERSION", help="Start from this version, not from the base model.")
@BASE_NAME
@WITHOUT
@ONLY
@shared
@click.pass_obj
def export(
    app: App,
    version: str,
    folder: Path,
    adapter: bool,
    rank: int | None,
    since: str | None,
    base_name: str | None,
    without: tuple[str, ...],
    only: tuple[str, ...],
) -> None:
    r"""Write a version in another form.

    --adapter writes a LoRA adapter that peft, transformers and vLLM load on the base model and llama.cpp converts. All
    of its modules have one rank: 8, 16, 32, 64, 128, 256, 320 or 512, the smallest that holds every edit, and then the
    adapter is exact. A smaller --rank takes the nearest factors and tells how far off they are. Only the ledger is
    read, not the model. FOLDER must not exist or be empty.

    With --since the adapter turns that version into VERSION: it is loaded on a checkout of the one and gives the other.

    \b
    Examples:
      errata export HEAD ./adapter --adapter
      errata export HEAD ./small --adapter --rank 16
      errata export HEAD ./without-e12 --adapter --without e12 --since HEAD
    """
    if not adapter:
        raise UsageError(f"say what to export: errata export {version} {folder} --adapter")
    ledger = app.ledger()
    live = app.live(ledger, version, without, only)
    start = None if since is None else (app.live(ledger, since), since)
    workspace, address = app.workspace(), narrowed(version, without, only)
    with app.progress("reading the deltas") as tell:
        done = writing_out.export_adapter(
            workspace, live, folder, address, since=start, rank=rank, base_name=base_name, tell=tell
        )
    made, card = done.made, done.card
    data = {
        "folder": str(done.folder),
        "version": card.card.version,
        "since": card.to_json()["since"],
        "added": list(made.added),
        "removed": list(made.removed),
        "rank": made.rank,
        "exact": made.exact,
        "modules": adapter_card.module_records(made),
        "tensor_digests": dict(card.card.tensor_digests),
        "bytes_written": done.cost.bytes_written,
        "seconds": done.cost.seconds,
        "event": recorded(app, done.recorded),
    }
    head = f"{folder}: LoRA adapter of version {short(card.card.version)}, rank {made.rank}, {_edits(made)}"
    app.show(data, [head, *accuracy_told(made)])


def _edits(made: adapter_export.LoraAdapter) -> str:
    words = [counted(len(made.added), "edit")] if made.added else []
    return " and ".join([*words, *([f"{counted(len(made.removed), 'edit')} taken away"] if made.removed else [])])


def accuracy_told(made: adapter_export.LoraAdapter) -> list[Block]:
    """Whether an adapter is exact, else how far off each module is."""
    if made.exact:
        return ["exact: its factors are the edits' own"]
    rows = tuple(
        (m.module, f"{m.pair.norm:.6g}", f"{m.pair.relative_error:.2%}", f"{m.error_to_base:.3g}") for m in made.modules
    )
    needed = len(made.added) + len(made.removed)
    return [
        f"not exact: the nearest factors of this rank; from rank {needed} on they are the edits' own",
        Table(("module", "norm of the change", "error / change", "error / base"), rows),
    ]
