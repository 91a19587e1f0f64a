"""How a ledger begins: the base's digests, the edited matrices and their grids, second moments, context prompts."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from errata.editor.config import EditConfig, build_config
from errata.editor.model import adapter_files, contexts
from errata.editor.model.adapter_check import check_adapter
from errata.editor.model.gguf_files import gguf_path
from errata.editor.model.loading import LoadedModel, ModelFiles, dtype_name, load_model, resolve_model
from errata.editor.model.stats import SecondMoment, StatsSettings, collect, stats_digest
from errata.editor.presets import preset_for, preset_named
from errata.editor.solve.grid import CAPACITY_BITS, choose_exponent
from errata.editor.target.rate import suited_rate
from errata.ledger.base.canonical import file_digest
from errata.ledger.base.digests import base_digest
from errata.ledger.base.errors import ModelError, Refused, UsageError
from errata.ledger.base.files import storage_error, sync_folder
from errata.ledger.events import bodies
from errata.ledger.events.parts import EditedTensor, ModelSource, StatsRef
from errata.ledger.ledger import LEDGER_FOLDER, Ledger
from errata.ledger.rules.operations import RecordEvent
from errata.replay.export.checkout import require_outside
from errata.replay.export.dequantise import dequantised
from errata.replay.export.reshard import resharded
from errata.replay.workflow.context import Surroundings

PRESET = "errata.json"
"""A file of this name beside a model's weights may hold the hyperparameters that its makers found to suit it."""


@dataclass(frozen=True)
class Genesis:
    """What a ledger is created from.

    Attributes:
        model: a folder, a model's name on the hub, or a GGUF file.
        corpus: text files, one document a line, that second moments are averaged over.
        settings: hyperparameters that differ from the model's preset or the defaults.
        stats: how much of the corpus is read, and how.
        context_prompts: how many context prompts are drawn and recorded.
        capacity_bits: room on the exact grid: for ``2^capacity_bits`` deltas as large as the weights.
        adapter: a file with the adapter of a family that has no built-in one, or that is to be used instead of it.
        reshard: a folder for a copy of the model in which the edited tensors have a shard of their own, which then is
            the ledger's base; None takes the model as it lies.
    """

    model: str
    corpus: Path
    settings: dict[str, Any]
    stats: StatsSettings = StatsSettings()
    context_prompts: int = 5
    capacity_bits: int = CAPACITY_BITS
    adapter: Path | None = None
    reshard: Path | None = None


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
    advance: Callable[[str, int], None] = lambda *_: None,
    say: Callable[[str], None] = lambda line: None,
) -> Ledger:
    """Create ``folder/.errata`` with its first event.

    Everything is computed first, written into a folder beside it, and put in place by one rename: whoever looks sees
    either no ledger or a whole one, and a ledger that somebody else made meanwhile is never touched. A resharded copy
    of the model is put in place just before, and goes again if the ledger cannot be; so does the folder, beside the
    ledger, that a GGUF file is dequantised to.

    Args:
        folder: where the ledger is to be.
        genesis: what from.
        surroundings: clock, actor, device.
        advance: told what is done, and a count of tokens while the corpus is read.
        say: told, in lines worth keeping, what a GGUF file becomes and what of it is lost.

    Raises:
        Refused: if there is a ledger already.
        UsageError: for a model, corpus or setting that makes no sense, or a folder to reshard into that is not empty.
        ModelError: for a family without an adapter, an adapter that is not true of the model, or a model with NaN or
            infinite numbers.
        StorageFailed: if the folder cannot be written to.
    """
    _require_no_ledger(folder)
    require_corpus(genesis.corpus)
    if (gguf := gguf_path(genesis.model)) is None:
        return _create(folder, genesis, surroundings, advance)
    with dequantised(gguf, folder, lambda what: advance(what, 0), say) as made:
        return _create(folder, replace(genesis, model=str(made.folder)), surroundings, advance, made.source)


def _create(
    folder: Path,
    genesis: Genesis,
    surroundings: Surroundings,
    advance: Callable[[str, int], None],
    source: ModelSource | None = None,
) -> Ledger:
    path = resolve_model(genesis.model)
    if genesis.reshard is not None:
        require_outside(ModelFiles(path), genesis.reshard)
    advance("loading the model", 0)
    adapter = None if genesis.adapter is None else adapter_files.read_adapter(genesis.adapter)
    loaded = load_model(path, surroundings.device, adapter)
    start = initial_settings(loaded, path, genesis.settings)
    config = start.config
    for layer in config.layers:
        loaded.adapter.require_editable(loaded.model, layer)
    names = {layer: loaded.stored_name(loaded.adapter.edited_parameter(layer)) for layer in config.layers}
    edited = {name: _edited(loaded, name, layer, genesis.capacity_bits) for layer, name in names.items()}
    check_adapter(loaded, config.layers)
    advance("hashing the model", 0)
    tensors = loaded.files.digests()
    base, tokenizer = base_digest(tensors), loaded.files.tokenizer_digest()
    advance("drawing context prompts", 0)
    prompts = contexts.generate(loaded, genesis.context_prompts, config.seed)
    reading = "averaging keys over the corpus"
    advance(reading, 0)
    moments = collect(
        loaded, documents(genesis.corpus), config.layers, genesis.stats, lambda tokens: advance(reading, tokens)
    )
    corpus = file_digest("corpus", genesis.corpus)
    advance("writing the ledger", 0)
    is_folder = Path(genesis.model).expanduser().is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            _base(loaded.files, genesis.reshard, list(edited), lambda what: advance(what, 0)) as files,
            tempfile.TemporaryDirectory(dir=folder, prefix=f"{LEDGER_FOLDER}.making-") as scratch,
        ):
            ledger = Ledger.create(Path(scratch))
            stats = {
                names[moment.layer]: StatsRef(
                    blob=ledger.blobs.put(encode_moment(moment)),
                    digest=stats_digest(base, tokenizer, corpus, moment.layer, genesis.stats),
                    tokens=moment.tokens,
                    layer=moment.layer,
                )
                for moment in moments
            }
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
                source=source,
            )
            ledger.execute(
                RecordEvent(body), actor=surroundings.actor, now=surroundings.now(), new_id=surroundings.new_id
            )
            _put_in_place(Path(scratch) / LEDGER_FOLDER, folder / LEDGER_FOLDER)
    except OSError as error:
        raise storage_error(folder, error) from error
    return Ledger.open(folder)


def _base(
    files: ModelFiles, destination: Path | None, edited: list[str], advance: Callable[[str], None]
) -> AbstractContextManager[ModelFiles]:
    """The files that the ledger is to be on: the model's, or a resharded copy that is undone if the block raises."""
    return nullcontext(files) if destination is None else resharded(files, edited, destination, advance)


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
    one early layer, with a learning rate that suits the size of its hidden states.

    Raises:
        UsageError: for a setting or a preset that makes no sense.
    """
    file = path / PRESET
    if file.is_file():
        try:
            values = dict(json.loads(file.read_text(encoding="utf-8"))["hyperparameters"])
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{file} is not a preset: it has no JSON object 'hyperparameters'") from None
        name: str | None = PRESET
    else:
        found = preset_for(loaded.adapter.family, loaded.model.config)
        values = {} if found is None else dict(found.settings)
        name = None if found is None else found.name
    early = round(0.15 * loaded.adapter.layer_count(loaded.model))
    layer = min(loaded.adapter.editable_layers(loaded.model), key=lambda layer: abs(layer - early))
    config = build_config({"layers": [layer], **values, **settings})
    if name is None and "learning_rate" not in settings:
        config = config.updated({"learning_rate": suited_rate(loaded, config.layers[-1])})
    return Start(config, name)


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


def require_corpus(path: Path) -> None:
    """Refuse a corpus that is not there.

    Raises:
        UsageError: saying what a corpus is.
    """
    if not path.is_file():
        raise UsageError(f"no corpus at {path}: a text file with one document a line")


def documents(path: Path) -> Iterator[str]:
    """The documents of a corpus, its lines, read as they are needed.

    Raises:
        UsageError: if the file is not UTF-8 text.
    """
    with path.open(encoding="utf-8") as lines:
        try:
            yield from lines
        except UnicodeDecodeError:
            raise UsageError(f"{path} is not UTF-8 text") from None


def encode_moment(moment: SecondMoment) -> bytes:
    """A second moment as a blob: safetensors with one float64 tensor."""
    return bytes(save({"second_moment": moment.matrix.contiguous()}))


def compare_stats(
    created: bodies.LedgerCreated, corpus: Path, settings: StatsSettings
) -> Iterable[tuple[str, str, str]]:
    """Digests of what second moments were made from, as recorded at genesis and as a corpus and settings give now.

    Yields:
        ``(tensor, recorded, recomputed)``.
    """
    identity = file_digest("corpus", corpus)
    for name, reference in created.stats.items():
        now = stats_digest(created.base_digest, created.tokenizer_digest, identity, reference.layer, settings)
        yield name, reference.digest, now


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
