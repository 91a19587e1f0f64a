"""How a ledger begins: the base's digests, the edited matrices and their grids, second moments, context prompts."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from errata.editor.config import EditConfig, build_config
from errata.editor.model import adapter_files
from errata.editor.model.adapter_check import check_adapter
from errata.editor.model.gguf_files import gguf_path
from errata.editor.model.loading import LoadedModel, ModelFiles, dtype_name, load_model, resolve_model
from errata.editor.preserve.fisher import fisher_digest, fisher_settings
from errata.editor.preserve.own_text import context_prompts, write_few
from errata.editor.preserve.stats import StatsSettings, stats_digest
from errata.editor.presets import preset_for, preset_named
from errata.editor.solve.grid import CAPACITY_BITS, choose_exponent
from errata.editor.target.products import PAYS_FROM, bfloat16_pays
from errata.ledger.base.digests import base_digest
from errata.ledger.base.errors import ModelError, Refused, UsageError
from errata.ledger.base.files import storage_error, sync_folder
from errata.ledger.base.held import held_folder
from errata.ledger.base.json_files import json_value
from errata.ledger.events import bodies
from errata.ledger.events.parts import EditedTensor, ModelSource, StatsRef
from errata.ledger.ledger import LEDGER_FOLDER, Ledger
from errata.ledger.rules.operations import RecordEvent
from errata.ledger.store.blobs import BlobStore
from errata.replay.export.checkout import require_outside
from errata.replay.export.dequantise import dequantised
from errata.replay.export.reshard import resharded
from errata.replay.workflow.begun import Begun
from errata.replay.workflow.context import Surroundings
from errata.replay.workflow.moments import (
    Advance,
    Identity,
    SourcedMoment,
    moments_over,
    require_corpus,
    text_behind,
)
from errata.replay.workflow.stats_file import encode_moment, read_stats

REFERENCE_TEXTS, REFERENCE_TOKENS = 8, 48
"""How many texts of the model's own are recorded to measure perplexity on, and most tokens of each."""

FISHER = "Fisher information"
"""What it is called beside the names of tensors that have second moments."""

PRESET = "errata.json"
"""A file of this name beside a model's weights may hold the hyperparameters that its makers found to suit it."""


IN_CHAT = {"chat": True, "key_context_weight": 0.5, "context_prompts": 0}
"""Where a model has a chat template, facts are edited in that form too; it takes the place of the context prompts, and
half of an edit's key comes from it."""


STEP_LENGTH = 0.1
"""Of stage 1 where no preset says otherwise."""


@dataclass(frozen=True)
class Genesis:
    """What a ledger is created from.

    Attributes:
        model: a folder, a model's name on the hub, or a GGUF file.
        corpus: a text file, one document a line, that second moments are averaged over; None lets the model write
            text of its own.
        settings: hyperparameters that differ from the model's preset or the defaults.
        stats: how much of the corpus is read or written, and how; the usual settings if None.
        context_prompts: how many context prompts are drawn and recorded.
        capacity_bits: room on the exact grid: for ``2^capacity_bits`` deltas as large as the weights.
        adapter: a file with the adapter of a family that has no built-in one, or that is to be used instead of it.
        reshard: a folder for a copy of the model in which the edited tensors have a shard of their own, which then is
            the ledger's base; None takes the model as it lies.
        moments: a file of second moments (`replay.workflow.stats_file`), to be taken in place of a corpus.
    """

    model: str
    corpus: Path | None
    settings: dict[str, Any]
    stats: StatsSettings | None = None
    context_prompts: int = 5
    capacity_bits: int = CAPACITY_BITS
    adapter: Path | None = None
    reshard: Path | None = None
    moments: Path | None = None


@dataclass(frozen=True)
class Start:
    """The hyperparameters that a ledger begins with.

    Attributes:
        config: them.
        preset: the name of the preset that they come from; None for the defaults.
    """

    config: EditConfig
    preset: str | None


def create_ledger(
    folder: Path,
    genesis: Genesis,
    surroundings: Surroundings,
    advance: Advance = lambda what, done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> Ledger:
    """Create ``folder/.errata`` with its first event.

    Everything is computed first, written into a folder beside it, and put in place by one rename: whoever looks sees
    either no ledger or a whole one, and a ledger that somebody else made meanwhile is never touched. A resharded copy
    of the model is put in place just before, and goes again if the ledger cannot be; so does the folder, beside the
    ledger, that a GGUF file is dequantised to. What was sampled and collected so far is kept beside it
    (`replay.workflow.begun`): an interrupted call with the same inputs goes on from there, and gives the same bits.

    Args:
        folder: where the ledger is to be.
        genesis: what from.
        surroundings: clock, actor, device.
        advance: told what is done, how many tokens of it are done and how many there are; 0 and 0 where none count.
        say: told, in lines worth keeping, what a GGUF file becomes and what of it is lost, and what an interrupted call
            left and whether it is used.

    Raises:
        Refused: if there is a ledger already.
        UsageError: for a model, corpus or setting that makes no sense, or a folder to reshard into that is not empty.
        ModelError: for a family without an adapter, an adapter that is not true of the model, or a model with NaN or
            infinite numbers.
        StorageFailed: if the folder cannot be written to.
    """
    _require_no_ledger(folder)
    _require_one_source(genesis)
    begun = Begun(folder, surroundings.meter.seconds, say)
    if (gguf := gguf_path(genesis.model)) is None:
        return _create(folder, genesis, surroundings, begun, advance, say)
    with dequantised(gguf, folder, lambda what: advance(what, 0, 0), say) as made:
        return _create(folder, replace(genesis, model=str(made.folder)), surroundings, begun, advance, say, made.source)


def _create(
    folder: Path,
    genesis: Genesis,
    surroundings: Surroundings,
    begun: Begun,
    advance: Advance,
    say: Callable[[str], None],
    source: ModelSource | None = None,
) -> Ledger:
    path = resolve_model(genesis.model)
    if genesis.reshard is not None:
        require_outside(ModelFiles(path), genesis.reshard)
    advance("loading the model", 0, 0)
    adapter = None if genesis.adapter is None else adapter_files.read_adapter(genesis.adapter)
    loaded = load_model(path, surroundings.device, adapter)
    start = initial_settings(loaded, path, genesis.settings)
    config = _affordable(start.config, genesis.settings, surroundings, say)
    for layer in config.layers:
        loaded.adapter.require_editable(loaded.model, layer)
    names = {layer: loaded.stored_name(loaded.adapter.edited_parameter(layer)) for layer in config.layers}
    edited = {name: _edited(loaded, name, layer, genesis.capacity_bits) for layer, name in names.items()}
    check_adapter(loaded, config.layers)
    advance("hashing the model", 0, 0)
    tensors = loaded.files.digests()
    base, tokenizer = base_digest(tensors), loaded.files.tokenizer_digest()
    advance("drawing context prompts", 0, 0)
    prompts = context_prompts(loaded, genesis.context_prompts, config.seed)
    identity = Identity(base, tokenizer, loaded.files.config_digest())
    if genesis.moments is not None:
        found = read_stats(genesis.moments, identity, config)
    else:
        bound = {"software": surroundings.software, "device": surroundings.device}
        found = moments_over(loaded, identity, config, genesis.corpus, genesis.stats, begun, bound, advance)
    advance("sampling reference texts", 0, 0)
    references = write_few(loaded, REFERENCE_TEXTS, REFERENCE_TOKENS, config.seed, "reference")
    advance("writing the ledger", 0, 0)
    is_folder = Path(genesis.model).expanduser().is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            _base(loaded.files, genesis.reshard, list(edited), lambda what: advance(what, 0, 0)) as files,
            held_folder(folder, f"{LEDGER_FOLDER}.making-") as scratch,
        ):
            ledger = Ledger.create(scratch)
            stats = {names[moment.found.layer]: _kept(ledger, moment) for moment in found.moments}
            corpus = found.corpus
            if corpus is not None and found.text is not None:
                corpus = corpus.model_copy(update={"blob": ledger.blobs.put(found.text)})
            body = bodies.LedgerCreated(
                model=genesis.model if files is loaded.files and not is_folder else str(files.folder.resolve()),
                family=loaded.adapter.family,
                dtype=edited[names[config.layers[0]]].dtype,
                base_digest=base,
                tensors=tensors,
                edited=edited,
                stats=stats,
                context_prompts=prompts,
                hyperparameters=config.to_record(),
                software=surroundings.software,
                tokenizer_digest=tokenizer,
                config_digest=files.config_digest(),
                files=files.file_digests(),
                adapter=adapter_files.to_record(loaded.adapter),
                preset=start.preset,
                corpus=corpus,
                reference_texts=tuple(references),
                source=source,
                fisher=None if found.fisher is None else _kept(ledger, found.fisher),
            )
            ledger.execute(
                RecordEvent(body), actor=surroundings.actor, now=surroundings.now(), new_id=surroundings.new_id
            )
            _put_in_place(scratch / LEDGER_FOLDER, folder / LEDGER_FOLDER)
        begun.clear()
    except OSError as error:
        raise storage_error(folder, error) from error
    placed = Ledger.open(folder)
    placed.appended += ledger.appended
    return placed


def _kept(ledger: Ledger, moment: SourcedMoment) -> StatsRef:
    """A second moment, put among the ledger's blobs."""
    blob = ledger.blobs.put(encode_moment(moment.found.matrix))
    return StatsRef(blob=blob, digest=moment.digest, tokens=moment.found.tokens, layer=moment.found.layer)


def _base(
    files: ModelFiles, destination: Path | None, edited: list[str], advance: Callable[[str], None]
) -> AbstractContextManager[ModelFiles]:
    """The files that the ledger is to be on: the model's, or a resharded copy that is undone if the block raises."""
    return nullcontext(files) if destination is None else resharded(files, edited, destination, advance)


def _require_one_source(genesis: Genesis) -> None:
    if genesis.moments is not None and (genesis.corpus is not None or genesis.stats is not None):
        raise UsageError("a file of second moments brings its own corpus and settings; give either it or a corpus")
    if genesis.corpus is not None:
        require_corpus(genesis.corpus)


def _require_no_ledger(folder: Path) -> None:
    place = folder / LEDGER_FOLDER
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise Refused(f"{place} exists: there is a ledger in {folder} already; use it, or name another folder")


def _put_in_place(made: Path, place: Path) -> None:
    """Rename, which fails where there is a folder with something in it."""
    try:
        made.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise Refused(
                f"{place} exists: a ledger was begun there meanwhile; use it, or name another folder"
            ) from None
        raise
    sync_folder(place.parent)


def initial_settings(loaded: LoadedModel, path: Path, settings: dict[str, Any]) -> Start:
    """Hyperparameters for a model, then ``settings``.

    They are those in the model's folder (``errata.json``), else the presets' for its shape, else the defaults at
    one early layer, with steps that are a share of its hidden states: those of one model are a hundred times as large
    as another's.

    Raises:
        UsageError: for a setting or a preset that makes no sense.
        ModelError: if the model is to be edited in chat and has no chat template that works.
    """
    file = path / PRESET
    if file.is_file():
        try:
            values = dict(json_value(file.read_text(encoding="utf-8"))["hyperparameters"])
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{file} is not a preset: it has no JSON object 'hyperparameters'") from None
        name: str | None = PRESET
    else:
        found = preset_for(loaded.adapter.family, loaded.model.config)
        values = {} if found is None else dict(found.settings)
        name = None if found is None else found.name
    early = round(0.15 * loaded.adapter.layer_count(loaded.model))
    layer = min(loaded.adapter.editable_layers(loaded.model), key=lambda layer: abs(layer - early))
    chat = {} if loaded.chat is None else IN_CHAT
    steps = {} if name is not None or "learning_rate" in settings else {"step_length": STEP_LENGTH}
    config = build_config({"layers": [layer], **steps, **chat, **values, **settings})
    if config.chat:
        loaded.with_system(config.chat_system).require_chat()
    return Start(config, name)


def _affordable(
    config: EditConfig, settings: Mapping[str, Any], surroundings: Surroundings, say: Callable[[str], None]
) -> EditConfig:
    """A preset's products in bfloat16 only where the machine is made for them; what somebody set stays."""
    if config.matmul_dtype == "float32" or "matmul_dtype" in settings:
        return config
    ratio = bfloat16_pays(torch.device(surroundings.device), surroundings.meter.seconds)
    if ratio >= PAYS_FROM:
        return config
    say(f"this machine multiplies in bfloat16 {ratio:.1f} times as fast as in float32, so matmul_dtype is float32")
    return config.updated({"matmul_dtype": "float32"})


def preset_reason(created: bodies.LedgerCreated) -> str:
    """Where a ledger's hyperparameters come from, in a line for people."""
    if created.preset == PRESET:
        return f"{PRESET} in the model's folder"
    preset = preset_named(created.preset)
    if preset is None:
        return "defaults for small models: no settings are published for a model of this family and shape"
    layers, hidden, mlp = preset.shape
    shape = f"{preset.family}, {layers} layers, hidden size {hidden:,}, MLP {mlp:,}"
    return f"{preset.name}: this model has the shape of {preset.model} ({shape}); source: {preset.source}"


def compare_stats(
    created: bodies.LedgerCreated, blobs: BlobStore, corpus: Path | None, max_tokens: int | None
) -> Iterable[tuple[str, str, str]]:
    """Digests of what second moments were made from, as recorded at genesis and as a corpus and settings give now.

    Args:
        created: the first event.
        blobs: the ledger's.
        corpus: the corpus file; None takes the text that the model wrote.
        max_tokens: as it was given at genesis, for a file.

    Yields:
        ``(tensor, recorded, recomputed)``; the Fisher information is named `FISHER`.

    Raises:
        UsageError, BlobMissing, BlobDamaged, Damaged: as of `text_behind`.
    """
    text = text_behind(created, blobs, corpus, max_tokens)
    for name, reference in created.stats.items():
        now = stats_digest(created.base_digest, created.tokenizer_digest, text.digest, reference.layer, text.settings)
        yield name, reference.digest, now
    if (own := created.fisher) is not None:
        hidden_size = next(iter(created.edited.values())).shape[0]
        read = fisher_settings(hidden_size, text.settings)
        seed = build_config(created.hyperparameters).seed
        yield (
            FISHER,
            own.digest,
            fisher_digest(created.base_digest, created.tokenizer_digest, text.digest, own.layer, read, seed),
        )


def _edited(loaded: LoadedModel, name: str, layer: int, capacity_bits: int) -> EditedTensor:
    stored = loaded.files.tensor(name)
    base = stored.to(torch.float64)
    if not bool(torch.isfinite(base).all()):
        raise ModelError(f"{name} holds NaN or infinite numbers; this model cannot be edited")
    d_out, d_in = loaded.adapter.shape(loaded.model, layer)
    return EditedTensor(
        shape=(d_out, d_in),
        dtype=dtype_name(stored.dtype),
        transposed=loaded.adapter.transposed,
        layer=layer,
        grid_exponent=choose_exponent(float(base.pow(2).mean().sqrt()), stored.dtype, capacity_bits),
        frobenius_norm=float(torch.linalg.norm(base)),
    )
