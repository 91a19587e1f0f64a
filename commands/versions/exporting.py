"""`errata export` and `errata publish`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from errata.commands.app import App, shared
from errata.commands.lazy import when_used
from errata.commands.options import BASE_NAME, ONLY, WITHOUT, narrowed
from errata.commands.outputs import Output
from errata.commands.versions.versions import recorded
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted, short, sized

with when_used():
    from errata.replay.export import adapter_card, adapter_export, gguf_export
    from errata.replay.workflow import publishing, writing_out

OUTTYPES = ("f32", "f16", "bf16")


@click.command()
@click.argument("version")
@click.argument("path", type=Output())
@click.option("--adapter", is_flag=True, help="A LoRA adapter in PEFT's format; PATH is a folder.")
@click.option("--rank", type=click.IntRange(min=1), help="The adapter's rank; the smallest exact one if left out.")
@click.option("--since", metavar="VERSION", help="Start the adapter from this version, not from the base model.")
@click.option("--gguf", is_flag=True, help="A GGUF file, by llama.cpp's converter; PATH is a file.")
@click.option("--outtype", type=click.Choice(OUTTYPES), help="GGUF's weights. Default: as in the base.")
@click.option(
    "--converter",
    type=click.Path(path_type=Path),
    help="llama.cpp's convert_hf_to_gguf.py (or ERRATA_GGUF_CONVERTER, or on the PATH).",
)
@BASE_NAME
@WITHOUT
@ONLY
@shared
@click.pass_obj
def export(
    app: App,
    version: str,
    path: Path,
    adapter: bool,
    rank: int | None,
    since: str | None,
    gguf: bool,
    outtype: str | None,
    converter: Path | None,
    base_name: str | None,
    without: tuple[str, ...],
    only: tuple[str, ...],
) -> None:
    r"""Write a version in another form.

    --adapter writes a LoRA adapter that peft, transformers and vLLM load on the base model and llama.cpp converts. All
    of its modules have one rank: 8, 16, 32, 64, 128, 256, 320 or 512, the smallest that holds every edit, and then the
    adapter is exact. A smaller --rank takes the nearest factors and tells how far off they are. Only the ledger is
    read, not the model. PATH is a folder that must not exist or be empty.

    With --since the adapter turns that version into VERSION: it is loaded on a checkout of the one and gives the other.

    --gguf has llama.cpp's own converter write a file for llama.cpp, and compares its edited matrices with the
    version's, bit for bit. PATH is a file that must not exist. Needs the extra `gguf`.

    \b
    Examples:
      errata export HEAD ./adapter --adapter
      errata export HEAD ./small --adapter --rank 16
      errata export HEAD ./without-e12 --adapter --without e12 --since HEAD
      errata export HEAD edited.gguf --gguf --converter ~/llama.cpp/convert_hf_to_gguf.py
    """
    if adapter == gguf:
        raise UsageError(f"say what to export: errata export {version} {path} --adapter, or --gguf")
    for name, given, form in (
        ("--rank", rank, adapter),
        ("--since", since, adapter),
        ("--base-name", base_name, adapter),
        ("--outtype", outtype, gguf),
    ):
        if given is not None and not form:
            raise UsageError(f"{name} is for {'--gguf' if adapter else '--adapter'}")
    live, address = app.live(app.ledger(), version, without, only), narrowed(version, without, only)
    if gguf:
        _export_gguf(app, live, path, address, outtype, converter)
    else:
        _export_adapter(app, live, path, address, rank, since, base_name)


def _export_gguf(
    app: App, live: tuple[int, ...], file: Path, address: str, outtype: str | None, converter: Path | None
) -> None:
    stored_as = gguf_type(outtype)
    found = find_converter(converter, app.world.environment)
    with app.progress("checking the base model") as tell:
        done = writing_out.export_gguf(
            app.workspace(), live, file, address, converter=found, stored_as=stored_as, tell=tell
        )
    data = {
        "file": str(done.file),
        "version": done.cost.version,
        "live": list(live),
        "outtype": done.stored_as.value,
        "compared": done.compared,
        "bytes_written": done.cost.bytes_written,
        "seconds": done.cost.seconds,
        "event": recorded(app, done.recorded, "the file is complete"),
    }
    app.show(data, gguf_told(file, done))


def gguf_told(file: Path, done: writing_out.GgufWritten) -> list[Block]:
    """What a GGUF file is, and what was compared."""
    cost = done.cost
    return [
        f"{file}: GGUF of version {short(cost.version)}, {done.stored_as.value}, {counted(cost.live_count, 'edit')}, "
        f"{sized(cost.bytes_written)}",
        f"compared with the version, bit for bit: {counted(done.compared, 'edited matrix', 'edited matrices')}",
    ]


def gguf_type(outtype: str | None) -> gguf_export.GgufType | None:
    """How a GGUF file is to store its weights; None is as in the base.

    Raises:
        UsageError: it is none of the types that can be compared exactly.
    """
    if outtype is not None and outtype not in OUTTYPES:
        raise UsageError(f"outtype is one of {', '.join(OUTTYPES)}, not {outtype!r}")
    return None if outtype is None else gguf_export.GgufType(outtype)


def find_converter(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """llama.cpp's converter: the one that is named, else ERRATA_GGUF_CONVERTER, else the one on the PATH, if any."""
    if named is not None:
        return named
    if said := environment.get("ERRATA_GGUF_CONVERTER"):
        return Path(said)
    places = (Path(folder) / gguf_export.CONVERTER for folder in environment.get("PATH", "").split(os.pathsep))
    return next((place for place in places if place.is_file()), None)


def _export_adapter(
    app: App,
    live: tuple[int, ...],
    folder: Path,
    address: str,
    rank: int | None,
    since: str | None,
    base_name: str | None,
) -> None:
    start = None if since is None else (app.live(app.ledger(), since), since)
    workspace = app.workspace()
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


@click.command()
@click.argument("version")
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--adapter", is_flag=True, help="As a LoRA adapter, not as a whole model.")
@click.option("--private", is_flag=True, help="Make a private repository; a public one is refused.")
@click.option("--message", default="", help="What the commit says. Default: which version it is.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent; ask no hub and record nothing.")
@BASE_NAME
@WITHOUT
@ONLY
@shared
@click.pass_obj
def publish(
    app: App,
    version: str,
    repository: str,
    adapter: bool,
    private: bool,
    message: str,
    dry_run: bool,
    base_name: str | None,
    without: tuple[str, ...],
    only: tuple[str, ...],
) -> None:
    r"""Put a version on a model hub.

    The version's folder, or its adapter, goes to OWNER/NAME in one commit, with its card. It is checked against the
    ledger's digests before it is sent, and what was sent where is recorded. The repository is made if there is none,
    public unless --private is given; one that holds anything which Errata did not put there is refused.

    Who acts there is known from `hf auth login` or HF_TOKEN, which hub it is from HF_ENDPOINT. The token is not kept.

    \b
    Examples:
      errata publish HEAD ada/my-model --private --dry-run
      errata publish spring ada/my-model --private
      errata publish HEAD ada/my-model-adapter --adapter
    """
    live, address = app.live(app.ledger(), version, without, only), narrowed(version, without, only)
    workspace = app.workspace()
    with app.progress("checking the base model") as tell:
        done = publishing.publish(
            workspace,
            live,
            repository,
            address,
            adapter=adapter,
            private=private,
            message=message,
            base_name=base_name,
            dry_run=dry_run,
            tell=tell,
        )
    data = {
        "repository": repository,
        "version": done.version,
        "live": list(live),
        "files": dict(done.files),
        "bytes": sum(done.files.values()),
        "url": None if done.sent is None else done.sent.url,
        "revision": None if done.sent is None else done.sent.revision,
        "event": None if done.recorded is None else recorded(app, done.recorded, "it is published"),
    }
    app.show(data, published_told(done))


def published_told(done: publishing.Publishing) -> list[Block]:
    """What was sent, or would be, and where it is."""
    total = f"{counted(len(done.files), 'file')}, {sized(sum(done.files.values()))}"
    if done.sent is None:
        rows = tuple((name, sized(size)) for name, size in done.files.items())
        head = f"would be sent to {done.repository}: version {short(done.version)}, {total}; nothing was sent"
        return [head, Table(("file", "size"), rows)]
    return [f"{done.repository}: version {short(done.version)}, {total}", f"commit {done.sent.url}"]
