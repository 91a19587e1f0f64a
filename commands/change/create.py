"""`errata init` and `errata stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option
from errata.commands.lazy import when_used
from errata.commands.options import SETTINGS, settings_from
from errata.commands.words.render import Table
from errata.editor.presets import PRESETS
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import short
from errata.ledger.events.parts import ModelSource

with when_used():
    from errata.editor.model import stats as moments
    from errata.replay.workflow import genesis as beginning


@click.command()
@click.argument("model")
@file_option(
    "corpus",
    "--corpus",
    required=True,
    help="Text that the model should keep handling as it does: one document a line, UTF-8.",
)
@click.option("--layers", help="Layers to edit, such as 1 or 3,4. Default: the model's preset, or one early layer.")
@SETTINGS
@click.option("--context-prompts", default=5, show_default=True, help="Context prompts to draw and record.")
@click.option(
    "--capacity-bits",
    type=click.IntRange(1, 40),
    default=16,
    show_default=True,
    help="Room on the exact grid, for 2^N deltas as large as the weights; more room is less precision.",
)
@click.option("--max-tokens", type=click.IntRange(min=1), help="Read at most this many tokens of the corpus.")
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    help="JSON or TOML with the names of a family that Errata does not know; they are recorded.",
)
@click.option(
    "--reshard",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Base the ledger on a copy of MODEL in FOLDER that keeps the edited tensors in a shard of their own.",
)
@shared
@click.pass_obj
def init(
    app: App,
    model: str,
    corpus: Path,
    layers: str | None,
    pairs: tuple[str, ...],
    context_prompts: int,
    capacity_bits: int,
    max_tokens: int | None,
    adapter: Path | None,
    reshard: Path | None,
) -> None:
    r"""Start a ledger for MODEL in this folder.

    MODEL is a folder with a causal language model, a name on the hub, or a GGUF file, whose model is written beside the
    ledger as a folder of float32 (extra `gguf`). Its tensors are hashed, and the second moment
    of each edited layer's keys is collected over the corpus: edits keep away from what that text needs. The model
    itself is only ever read. Hyperparameters are those in the model's folder (errata.json), else the preset of
    its shape (`errata presets`), else defaults for small models; --layers and --set change them.

    A checkout writes the shards that hold edited tensors and links the rest. With --reshard that is one shard with
    nothing else in it; the other shards of the copy are links to those of MODEL where the disk allows it.

    \b
    Examples:
      errata init ./my-model --corpus text.txt
      errata init ./my-model --corpus text.txt --reshard ./my-base
      errata init my-model.gguf --corpus text.txt
    """
    surroundings = app.surroundings()
    if context_prompts < 0:
        raise UsageError(f"--context-prompts is 0 or more, not {context_prompts}")
    settings: dict[str, Any] = settings_from(pairs)
    if layers is not None:
        settings["layers"] = layers
    stats = moments.settings_for(max_tokens)
    genesis = beginning.Genesis(model, corpus, settings, stats, context_prompts, capacity_bits, adapter, reshard)
    with app.progress("starting") as tell:
        ledger = beginning.create_ledger(
            app.ledger_option or app.world.folder,
            genesis,
            surroundings,
            lambda what, tokens: tell(f"{what} ({tokens:,} tokens)" if tokens else what),
            lambda line: app.say(f"errata: {line}"),
        )
    created = ledger.state().genesis
    data = {
        "ledger": str(ledger.folder),
        "head": ledger.state().head.hash,
        "model": created.model,
        "family": created.family,
        "base_digest": created.base_digest,
        "source": created.source.plain() if created.source is not None else None,
        "edited": {name: tensor.plain() for name, tensor in created.edited.items()},
        "stats": {name: stats.plain() for name, stats in created.stats.items()},
        "adapter": created.adapter.plain() if created.adapter is not None else None,
        "preset": created.preset,
        "hyperparameters": created.hyperparameters,
    }
    lines = [
        f"ledger {ledger.folder}",
        f"base   {created.model}: {created.family}, {created.dtype}, {len(created.tensors)} tensors, "
        f"digest {short(created.base_digest)}",
        *_source_told(created.source),
        f"preset {beginning.preset_reason(created)}",
    ]
    lines += [
        f"edits  {name}, {tensor.shape[0]} x {tensor.shape[1]}, on a grid of 2^-{tensor.grid_exponent}; "
        f"second moment of {created.stats[name].tokens:,} keys"
        for name, tensor in created.edited.items()
    ]
    app.show(data, [*lines, 'next: errata edit --subject S --prompt "... {} ..." --target T'])


def _source_told(source: ModelSource | None) -> list[str]:
    """The file that the base was made from, in a line."""
    if source is None:
        return []
    return [f"source {source.file}: {source.format}, {source.quantisation}, digest {short(source.digest)}"]


@click.command()
@shared
@click.pass_obj
def presets(app: App) -> None:
    """List settings of known models, published or tuned for them.

    `errata init` takes the one whose family, shape and vocabulary are the model's, unless the model's folder holds an
    errata.json. What a source did not publish is said with it.

    Example: errata presets
    """
    data = [
        {
            "name": preset.name,
            "model": preset.model,
            "family": preset.family,
            "shape": list(preset.shape),
            "vocabularies": list(preset.vocabularies),
            "hyperparameters": dict(preset.settings),
            "source": preset.source,
        }
        for preset in PRESETS
    ]
    columns = ("clamp_norm_factor", "decay", "max_steps", "patience", "stats_weight", "norm_weight")
    rows = [
        (
            preset.name,
            preset.family,
            ",".join(map(str, preset.settings["layers"])),
            *(f"{preset.settings[name]:g}" for name in columns),
        )
        for preset in PRESETS
    ]
    table = Table(("preset", "family", "layers", "clamp", "decay", "steps", "patience", "λp", "λn"), tuple(rows))
    app.show({"presets": data}, [table, "", *(f"{preset.name}: {preset.source}" for preset in PRESETS)])


@click.command()
@click.option("--check", is_flag=True, help="Compare with what a corpus gives now; exit code 1 if it differs.")
@file_option("corpus", "--corpus", help="The corpus for --check.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="As it was given to `errata init`.")
@shared
@click.pass_obj
def stats(app: App, check: bool, corpus: Path | None, max_tokens: int | None) -> int:
    """Show the recorded second moments.

    They are collected once, by `errata init`, because every edit depends on them. With --check, the digests of model,
    tokenizer, corpus and settings are computed again and compared.

    Example: errata stats --check --corpus text.txt
    """
    if check != (corpus is not None):
        raise UsageError("--check and --corpus FILE go together")
    created = app.ledger().state().genesis
    now: dict[str, str] = {}
    if corpus is not None:
        now = _recomputed(app, corpus, max_tokens)
    rows = []
    data: dict[str, Any] = {}
    for name, reference in created.stats.items():
        same = None if corpus is None else now.get(name) == reference.digest
        data[name] = {**reference.plain(), "same": same}
        words = {None: "", True: "same", False: "differs"}[same]
        rows.append((name, str(reference.layer), f"{reference.tokens:,}", reference.digest, words))
    table = Table(("tensor", "layer", "keys", "digest", "now" if check else ""), tuple(rows))
    app.show({"stats": data}, [table])
    return int(any(entry["same"] is False for entry in data.values()))


def _recomputed(app: App, corpus: Path, max_tokens: int | None) -> dict[str, str]:
    workspace = app.workspace()
    beginning.require_corpus(corpus)
    settings = moments.settings_for(max_tokens)
    with app.progress("hashing the model and the corpus"):
        _ = workspace.files  # whose digests are checked
        return {name: now for name, _, now in beginning.compare_stats(workspace.created, corpus, settings)}
