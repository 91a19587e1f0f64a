"""`errata init` and `errata stats`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option
from errata.commands.lazy import InOrder, when_used
from errata.commands.options import SETTINGS, settings_from
from errata.commands.outputs import Output
from errata.commands.words.render import Table
from errata.demo import REAL
from errata.editor.presets import PRESETS
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import short
from errata.ledger.events.parts import ModelSource
from errata.ledger.facts.fact_files import read_facts as read_known_facts

with when_used():
    from errata.editor.preserve import stats as averages
    from errata.replay.tune import first_trial
    from errata.replay.workflow import genesis as beginning
    from errata.replay.workflow import stats_file
    from errata.replay.workflow import workspace as workspaces


@click.command()
@click.argument("model")
@file_option(
    "corpus",
    "--corpus",
    help="Text that the model should keep handling as it does: one document a line, UTF-8. Default: the model's own.",
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
@click.option("--max-tokens", type=click.IntRange(min=1), help="Read or sample about this many tokens at most.")
@file_option("moments", "--stats", help="Second moments that `errata stats export` wrote, in place of a corpus.")
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    help="JSON or TOML with the names of a family that Errata does not know; they are recorded.",
)
@click.option(
    "--reshard",
    type=Output(),
    metavar="FOLDER",
    help="Base the ledger on a copy of MODEL in FOLDER that keeps the edited tensors in a shard of their own.",
)
@click.option("--no-trial", is_flag=True, help="Begin with the settings as they are; a --set does the same.")
@shared
@click.pass_obj
def init(
    app: App,
    model: str,
    corpus: Path | None,
    layers: str | None,
    pairs: tuple[str, ...],
    context_prompts: int,
    capacity_bits: int,
    max_tokens: int | None,
    moments: Path | None,
    adapter: Path | None,
    reshard: Path | None,
    no_trial: bool,
) -> None:
    r"""Start a ledger for MODEL in this folder.

    MODEL is a folder with a causal language model, a name on the hub, or a GGUF file, whose model is written beside the
    ledger as a folder of float32 (extra `gguf`). Its tensors are hashed, and the second moment of each edited layer's
    keys is collected over the corpus: edits keep away from what that text needs. Without --corpus the model writes that
    text itself, sampled with the seed of the settings, and it is kept in the ledger. The model itself is only ever
    read. What is interrupted goes on where it stopped when the same command is repeated.

    Hyperparameters are those in the model's folder (errata.json), else the published ones of its shape (`errata
    presets`), else defaults for small models; --layers and --set change them. Where no settings are known for the
    model, they are tried on a few well-known facts that it says, in memory, and changed if others work better;
    --no-trial leaves that out.

    A checkout writes the shards that hold edited tensors and links the rest. With --reshard that is one shard with
    nothing else in it; the other shards of the copy are links to those of MODEL where the disk allows it.

    \b
    Examples:
      errata init ./my-model
      errata init ./my-model --corpus text.txt --reshard ./my-base
      errata init ./my-model --stats moments.safetensors
      errata init my-model.gguf
    """
    surroundings = app.surroundings()
    if context_prompts < 0:
        raise UsageError(f"--context-prompts is 0 or more, not {context_prompts}")
    settings: dict[str, Any] = settings_from(pairs)
    if layers is not None:
        settings["layers"] = layers
    stats = None if max_tokens is None else averages.settings_for(max_tokens)
    genesis = beginning.Genesis(
        model, corpus, settings, stats, context_prompts, capacity_bits, adapter, reshard, moments
    )
    with app.progress("starting") as tell:
        ledger = beginning.create_ledger(
            app.ledger_option or app.world.folder,
            genesis,
            surroundings,
            tell,
            lambda line: app.say(f"errata: {line}"),
        )
    app.keep(ledger)
    created, tried = ledger.state().genesis, None
    if not (no_trial or pairs):
        with app.progress("asking for well-known facts") as tell:
            tried = try_settings(workspaces.Workspace(ledger, surroundings), tell)
    data = {
        "ledger": str(ledger.folder),
        "head": ledger.state().head.hash,
        "model": created.model,
        "family": created.family,
        "base_digest": created.base_digest,
        "source": created.source.plain() if created.source is not None else None,
        "edited": {name: tensor.plain() for name, tensor in created.edited.items()},
        "stats": {name: stats.plain() for name, stats in created.stats.items()},
        "fisher": created.fisher.plain() if created.fisher is not None else None,
        "corpus": created.corpus.plain() if created.corpus is not None else None,
        "adapter": created.adapter.plain() if created.adapter is not None else None,
        "preset": created.preset,
        "hyperparameters": ledger.state().hyperparameters,
        "trial": tried,
    }
    lines = [
        f"ledger {ledger.folder}",
        f"base   {created.model}: {created.family}, {created.dtype}, {len(created.tensors)} tensors, "
        f"digest {short(created.base_digest)}",
        *_source_told(created.source),
        f"preset {beginning.preset_reason(created)}",
        *([] if tried is None else [f"trial  {tried}"]),
    ]
    own = ", of text that the model wrote" if created.corpus is not None and created.corpus.source == "sampled" else ""
    lines += [
        f"edits  {name}, {tensor.shape[0]} x {tensor.shape[1]}, on a grid of 2^-{tensor.grid_exponent}; "
        f"second moment of {created.stats[name].tokens:,} keys{own}"
        for name, tensor in created.edited.items()
    ]
    if created.fisher is not None:
        lines.append(
            f"metric Fisher information of the hidden state after layer {created.fisher.layer}, of "
            f"{created.fisher.tokens:,} gradients"
        )
    app.show(data, [*lines, 'next: errata edit --subject S --prompt "... {} ..." --target T'])


def try_settings(workspace: workspaces.Workspace, tell: Callable[[str], None] = lambda what: None) -> str | None:
    """Try a new ledger's settings on well-known facts, unless they come from a preset; what was found, in a line."""
    if workspace.created.preset is not None:
        return None
    start = workspace.config()
    return first_trial.first_trial(workspace, read_known_facts(REAL / "facts.jsonl"), tell).words(start)


def _source_told(source: ModelSource | None) -> list[str]:
    """The file that the base was made from, in a line."""
    if source is None:
        return []
    return [f"source {source.file}: {source.format}, {source.quantisation}, digest {short(source.digest)}"]


@click.command()
@shared
@click.pass_obj
def presets(app: App) -> None:
    """List settings of known models.

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


@click.group(cls=InOrder, invoke_without_command=True)
@click.option("--check", is_flag=True, help="Compare with what the text gives now; exit code 1 if it differs.")
@file_option("corpus", "--corpus", help="The corpus for --check, where the model did not write the text itself.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="As it was given to `errata init`.")
@shared
@click.pass_context
def stats(context: click.Context, check: bool, corpus: Path | None, max_tokens: int | None) -> int:
    r"""Show the recorded second moments.

    They are collected once, by `errata init`, because every edit depends on them. With --check, the digests of model,
    tokenizer, text and settings are computed again and compared.

    \b
    Examples:
      errata stats
      errata stats --check --corpus text.txt
      errata stats export moments.safetensors
    """
    if context.invoked_subcommand is not None:
        if check or corpus is not None or max_tokens is not None:
            raise UsageError("--check, --corpus and --max-tokens belong to `errata stats` itself")
        return 0
    app = context.find_object(App)
    assert app is not None
    if not check and (corpus is not None or max_tokens is not None):
        raise UsageError("--corpus and --max-tokens belong to --check")
    created = app.ledger().state().genesis
    now = _recomputed(app, corpus, max_tokens) if check else {}
    rows = []
    data: dict[str, Any] = {}
    fisher = {} if created.fisher is None else {beginning.FISHER: created.fisher}
    for name, reference in {**created.stats, **fisher}.items():
        same = now.get(name) == reference.digest if check else None
        data[name] = {**reference.plain(), "same": same}
        words = {None: "", True: "same", False: "differs"}[same]
        rows.append((name, str(reference.layer), f"{reference.tokens:,}", reference.digest, words))
    table = Table(("tensor", "layer", "keys", "digest", "now" if check else ""), tuple(rows))
    said = created.corpus
    app.show({"stats": data, "corpus": said.plain() if said is not None else None}, [table])
    return int(any(entry["same"] is False for entry in data.values()))


def _recomputed(app: App, corpus: Path | None, max_tokens: int | None) -> dict[str, str]:
    workspace = app.workspace()
    with app.progress("hashing the model and the text"):
        _ = workspace.files  # whose digests are checked
        found = beginning.compare_stats(workspace.created, workspace.ledger.blobs, corpus, max_tokens)
        return {name: now for name, _, now in found}


@stats.command("export")
@click.argument("file", type=Output())
@shared
@click.pass_obj
def export(app: App, file: Path) -> None:
    """Write the second moments to FILE.

    `errata init --stats FILE` takes them in place of a corpus, for these layers or some of them. FILE is bound to the
    model's tensors, tokenizer and configuration, to the text and to how it was read; it holds the text itself where the
    model wrote it. A ledger's own second moments never change, so they are not imported into one that exists.

    Example: errata stats export moments.safetensors
    """
    record = stats_file.export_stats(app.ledger(), file)
    layers = ", ".join(str(reference.layer) for reference in record.layers)
    app.show(
        {"file": str(file), **record.plain()},
        [
            f"{file}: second moments of layers {layers}, {record.layers[0].tokens:,} keys",
            f"next: errata init MODEL --stats {file}",
        ],
    )
