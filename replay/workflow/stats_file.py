"""Second moments as one file: to share them, and to begin a ledger with without reading a corpus again.

One safetensors file: a float64 tensor `layer.N` for each layer, `fisher` where the ledger has the Fisher information,
and `corpus`, the bytes of the text if the model wrote it itself. The metadata's `errata` is JSON of what they belong
to: digests of the model's tensors, its tokenizer and its configuration; of each matrix the digest of what it was made
from (model, tokenizer, corpus, settings) and its own. A ledger is bound to its second moments from the first event on,
so a file of them is only ever read by `errata init --stats`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.preserve.stats import SecondMoment
from errata.ledger.base.canonical import digest
from errata.ledger.base.digests import BLOB_DOMAIN
from errata.ledger.base.errors import Damaged, UsageError
from errata.ledger.base.files import write_durably
from errata.ledger.base.records import Digest, Record
from errata.ledger.events.bodies import LedgerCreated
from errata.ledger.events.parts import CorpusRef, StatsRef
from errata.ledger.ledger import Ledger
from errata.replay.workflow.begun import bytes_tensor
from errata.replay.workflow.moments import Identity, Moments, SourcedMoment, stored_text

FORMAT = 1


class StatsRecord(Record):
    """What a file of second moments says of itself.

    Attributes:
        format: 1.
        base, tokenizer, config: digests of the model that they are of.
        corpus: the text, if it is known.
        layers: a second moment each, as a ledger refers to it.
        fisher: the Fisher information, if the ledger has it.
    """

    format: int
    base: Digest
    tokenizer: Digest
    config: Digest
    corpus: CorpusRef | None
    layers: tuple[StatsRef, ...]
    fisher: StatsRef | None = None


def encode_moment(matrix: Tensor) -> bytes:
    """A second moment as a blob: safetensors with one float64 tensor."""
    return bytes(save({"second_moment": matrix.contiguous()}))


def identity_of(created: LedgerCreated) -> Identity:
    """The digests of a ledger's model."""
    return Identity(created.base_digest, created.tokenizer_digest, created.config_digest)


def export_stats(ledger: Ledger, path: Path) -> StatsRecord:
    """Write a ledger's second moments as a file.

    Args:
        ledger: the ledger.
        path: the file, which must not exist.

    Returns:
        What the file says of itself.

    Raises:
        UsageError: the file exists, or its folder does not.
        BlobMissing, BlobDamaged: a second moment is not as it was recorded.
        StorageFailed: it cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists; name a file that does not exist yet")
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent} to write {path.name} into")
    created = ledger.state().genesis
    references = tuple(sorted(created.stats.values(), key=lambda reference: reference.layer))
    tensors = {f"layer.{one.layer}": load(ledger.blobs.get(one.blob))["second_moment"] for one in references}
    if created.fisher is not None:
        tensors["fisher"] = load(ledger.blobs.get(created.fisher.blob))["second_moment"]
    text = stored_text(created.corpus, ledger.blobs)
    if text is not None:
        tensors["corpus"] = bytes_tensor(text)
    record = StatsRecord(
        format=FORMAT,
        corpus=created.corpus,
        layers=references,
        fisher=created.fisher,
        **asdict(identity_of(created)),
    )
    write_durably(path, bytes(save(tensors, metadata={"errata": json.dumps(record.plain(), sort_keys=True)})))
    return record


def read_stats(path: Path, identity: Identity, config: EditConfig) -> Moments:
    """Second moments from a file that `export_stats` wrote.

    Args:
        path: the file.
        identity: the digests of the model that they are wanted for.
        config: the layers that they are wanted for, and whether the Fisher information is; the file may hold more.

    Raises:
        UsageError: there is no such file, it is not one of these, or it was made for another model or other layers.
        Damaged: a matrix or the text is not what the file says of it.
    """
    record, tensors = _read(path)
    names = {"base": "tensors", "tokenizer": "tokenizer", "config": "config.json"}
    others = [word for name, word in names.items() if getattr(record, name) != getattr(identity, name)]
    if others:
        raise UsageError(f"{path} was made for another model: {' and '.join(others)} differ from this one's")
    held = {reference.layer: reference for reference in record.layers}
    layers = config.layers
    missing = [layer for layer in layers if layer not in held]
    if missing:
        raise UsageError(
            f"{path} holds second moments of {_layers(held)}, and this ledger is to edit {_layers(layers)}; "
            "choose with --layers, or collect them with --corpus FILE or without it"
        )
    information = record.fisher if config.fisher_weight > 0 else None
    if config.fisher_weight > 0 and (information is None or information.layer != layers[-1]):
        raise UsageError(
            f"{path} does not hold the Fisher information after layer {layers[-1]}, which fisher_weight needs; "
            "leave the file away, or --set fisher_weight=0"
        )

    def sourced(name: str, what: str, reference: StatsRef) -> SourcedMoment:
        matrix = tensors.get(name)
        if matrix is None or digest(BLOB_DOMAIN, encode_moment(matrix)) != reference.blob:
            raise Damaged(f"{path} is damaged: the {what} of layer {reference.layer} is not the one that it names")
        return SourcedMoment(SecondMoment(reference.layer, matrix, reference.tokens), reference.digest)

    moments = [sourced(f"layer.{layer}", "second moment", held[layer]) for layer in layers]
    text = None
    if record.corpus is not None and record.corpus.blob is not None:
        text = tensors["corpus"].numpy().tobytes() if "corpus" in tensors else b""
        if digest(BLOB_DOMAIN, text) != record.corpus.blob:
            raise Damaged(f"{path} is damaged: its text is not the one that it names")
    fisher = None if information is None else sourced("fisher", "Fisher information", information)
    return Moments(record.corpus, text, tuple(moments), fisher)


def _read(path: Path) -> tuple[StatsRecord, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as handle:
            said = (handle.metadata() or {}).get("errata", "")
            record = StatsRecord.model_validate_json(said)
            tensors = {name: handle.get_tensor(name) for name in sorted(handle.keys())}
    except FileNotFoundError:
        raise UsageError(f"no file {path}") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise UsageError(f"{path} is not a file of second moments as `errata stats export` writes it") from error
    if record.format != FORMAT:
        raise UsageError(f"{path} has format {record.format}, which a newer release of Errata wrote")
    return record, tensors


def _layers(layers: Sequence[int] | dict[int, StatsRef]) -> str:
    numbers = sorted(layers)
    return f"layer{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
