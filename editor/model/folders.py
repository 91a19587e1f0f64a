"""What transformers loads from a model's folder, and folders that cannot be edited, found out before it is loaded.

What is hashed has to be what is loaded, so weights are looked for in transformers' own order (its
``modeling_utils._get_resolved_checkpoint_files``): the file that ``config.json`` names as ``transformers_weights``,
else ``model.safetensors``, else the shards that ``model.safetensors.index.json`` lists. An index beside a whole
``model.safetensors`` counts for nothing, however old it is. Of a shard, every tensor is loaded, whether or not the
index lists it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from errata.ledger.base.errors import Damaged, ModelError, UsageError
from errata.ledger.base.json_files import json_value
from errata.ledger.base.words import counted, ranges

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

TOKENIZER_FILES = ("added_tokens.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")
"""What of a model's folder decides how text becomes tokens."""

_BESIDE_WEIGHTS = (
    *TOKENIZER_FILES,
    "additional_chat_templates/*.jinja",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.*.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
)
"""Patterns of the files beside weights and ``config.json`` that decide what a model is given and says: those of its
tokenizer, whichever program reads them, its chat templates, and how it generates."""

_WEIGHT_FORMATS = (".safetensors", ".bin", ".pt", ".gguf")
_SMALL = 1_000_000
"""Numbers that any machine has room for."""
_DISTRIBUTED = re.compile(r"shard-[0-9]{5}-model-[0-9]{5}-of-[0-9]{5}\.safetensors")


@dataclass(frozen=True)
class StoredWeights:
    """The weights that transformers loads.

    Attributes:
        shards: tensor -> the file that holds it, both by name.
        index: the file that lists the shards; None if one file holds everything.
    """

    shards: Mapping[str, str]
    index: str | None


def read_config(folder: Path) -> dict[str, Any]:
    """A model's ``config.json``.

    Raises:
        UsageError: if the folder has none.
        Damaged: if it is not a JSON object.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UsageError(f"{folder} is not a model's folder: it has no {CONFIG}")
    try:
        config = json_value(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Damaged(f"{path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise Damaged(f"{path} is not a JSON object")
    return config


BUILT_IN = ("eager", "sdpa", "flex_attention", "batched_mm", "grouped_mm")
"""Implementations that are transformers' and torch's own; others, such as flash attention, may come from a hub."""


def require_plain(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a folder whose weights are not those of a float model, or not all that transformers loads from it.

    Raises:
        ModelError: for quantised weights, an adapter in the folder, kernels of somebody's own, or a distributed
            checkpoint.
    """
    if kernels := _kernels(config):
        raise ModelError(
            f"{CONFIG} names {kernels} to compute with, code that transformers would fetch and run; Errata runs no "
            "code that a model brings: take the entry out"
        )
    if (quantised := _quantisation(config)) is not None:
        raise ModelError(
            f"{CONFIG} says that this model is quantised ({quantised}); its weights cannot be edited exactly: edit the "
            "float model it was made from, and serve an adapter on the quantised one"
        )
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} holds adapter_config.json, an adapter that transformers puts on the model where peft is "
            "installed: merge it into the weights (peft's merge_and_unload) or move it to a folder of its own"
        )
    if any(_DISTRIBUTED.match(path.name) for path in folder.iterdir()):
        raise ModelError(
            f"{folder} holds a distributed checkpoint (shard-*.safetensors), of which each process loads its own part: "
            "save the whole model with save_pretrained and give that folder"
        )


def _kernels(value: object, named: bool = False) -> str | None:
    """An implementation that the configuration asks for, in whatever place, and that transformers may have to fetch."""
    if isinstance(value, Mapping):
        inside = (_kernels(one, named or str(name).endswith("_implementation")) for name, one in value.items())
        return next((found for found in inside if found is not None), None)
    if isinstance(value, list):
        return next((found for one in value if (found := _kernels(one, named)) is not None), None)
    return value if named and isinstance(value, str) and value.rpartition("|")[2] not in BUILT_IN else None


def find_weights(folder: Path, config: Mapping[str, Any]) -> StoredWeights:
    """The weights that transformers loads from a folder.

    Raises:
        UsageError: if there are none that it loads from safetensors files.
        Damaged: if a file that is named is missing or cannot be read, or a tensor is in no file or in two.
    """
    named = config.get("transformers_weights")
    if named is None:
        named = next((name for name in (SINGLE, INDEX) if (folder / name).is_file()), None)
    elif not (isinstance(named, str) and named.endswith((".safetensors", ".safetensors.index.json"))):
        raise UsageError(f"{folder / CONFIG} names {named!r} as transformers_weights, which is no safetensors file")
    elif not _inside(folder, named):
        raise Damaged(f"{folder / CONFIG} names {named} as transformers_weights, and {folder} holds no such file")
    if named is None:
        there = sorted(path.name for path in folder.iterdir() if path.suffix in _WEIGHT_FORMATS)
        found = f" (it has {', '.join(there[:3])})" if there else ""
        raise UsageError(
            f"{folder} has no {SINGLE}, and no {INDEX} with its shards{found}; load the model in transformers and "
            "save it with save_pretrained"
        )
    if named.endswith(".safetensors"):
        return StoredWeights(dict.fromkeys(_tensors(folder / named), named), None)
    return StoredWeights(_shards(folder, named), named)


def open_weights(path: Path) -> Any:
    """A safetensors file, opened.

    Raises:
        Damaged: if it cannot be read.
    """
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise Damaged(f"{path} cannot be read: {error}") from None


def beside_weights(folder: Path) -> list[str]:
    """The files beside weights and ``config.json`` that decide what a model is given and says, as relative paths."""
    found = {path for pattern in _BESIDE_WEIGHTS for path in folder.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(folder).as_posix() for path in found)


def experts_words(family: str, config: Mapping[str, Any], tensors: Iterable[str]) -> str | None:
    """What to say of a mixture of experts whose layers do not fit an adapter; None for a model that is none."""
    layers: dict[int, bool] = {}
    for name in tensors:
        if match := re.search(r"\.(\d+)\.(.+)", name):
            layer, rest = int(match[1]), match[2]
            layers[layer] = layers.get(layer, False) or re.search("expert|moe", rest) is not None
    if not any(layers.values()) and not any(
        "experts" in key and isinstance(value, int) and value > 1 for key, value in config.items()
    ):
        return None
    said = f"{family} is a mixture of experts; the last MLP matrix is one per expert"
    dense = sorted(layer for layer, sparse in layers.items() if not sparse)
    if not dense or not any(layers.values()):
        return f"{said}, and such models cannot be edited"
    which = f"layer {dense[0]}" if len(dense) == 1 else f"layers {ranges(dense)}"
    return (
        f"{said} except in {which}, and only there can it be edited, with an adapter file that names that matrix "
        "(errata init --adapter FILE; `errata help families`)"
    )


def require_size(what: str, config: Any, tensors: int, numbers: int) -> None:
    """Refuse a configuration of a model far larger than what is stored of it, before memory is taken for it.

    transformers makes up what a file lacks, of the size that the configuration says: a small file could take all
    memory.

    Args:
        what: the model's folder or file, to name it by.
        config: the configuration, as transformers read it.
        tensors: how many tensors are stored.
        numbers: how many numbers they hold, at most.

    Raises:
        ModelError: it is that much larger.
    """
    import torch
    from transformers import AutoModelForCausalLM

    layers = getattr(config.get_text_config(), "num_hidden_layers", 0)
    if isinstance(layers, int) and layers > tensors:
        raise ModelError(f"{what} is said to have {layers:,} layers, and holds {counted(tensors, 'tensor')}")
    with torch.device("meta"):  # shapes, and no memory
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    described = sum(tensor.numel() for tensor in {id(one): one for one in model.parameters()}.values())
    if described > 2 * numbers + _SMALL:  # less can be told better once it is loaded
        raise ModelError(
            f"{what} is said to be a model of {described:,} numbers, and holds {numbers:,} at most: its configuration "
            "is another model's"
        )


def _quantisation(config: Mapping[str, Any]) -> str | None:
    """Method and bits of quantised weights, as words; None for a float model."""
    text = config.get("text_config")
    inner = text.get("quantization_config") if isinstance(text, dict) else None
    settings = config.get("quantization_config") or config.get("compression_config") or inner
    if not isinstance(settings, dict) or not settings:
        return None
    loaded_in = {"load_in_4bit": 4, "load_in_8bit": 8}
    bits = settings.get("bits") or next((bits for name, bits in loaded_in.items() if settings.get(name)), None)
    method = settings.get("quant_method") or ("bitsandbytes" if "load_in_4bit" in settings else "method not named")
    return f"{method}, {bits} bits" if isinstance(bits, int) else str(method)


def _shards(folder: Path, index: str) -> dict[str, str]:
    path = folder / index
    try:
        mapping = json_value(path.read_text(encoding="utf-8"))["weight_map"]
        listed_in = {str(name): str(file) for name, file in mapping.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(f"{path} is not an index of safetensors files") from None
    files = sorted(set(listed_in.values()))
    if missing := [file for file in files if not _inside(folder, file)]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise Damaged(f"{path} names {missing[0]}{more}, and {folder} holds no such file")
    shards: dict[str, str] = {}
    for file in files:
        for name in _tensors(folder / file):
            if name in shards:
                raise Damaged(f"{folder} holds the tensor {name!r} twice, in {shards[name]} and in {file}")
            shards[name] = file
    if lost := sorted(set(listed_in) - set(shards)):
        raise Damaged(f"{folder} holds no tensor {lost[0]!r}, which {index} names")
    return dict(sorted(shards.items()))


def _tensors(path: Path) -> list[str]:
    with open_weights(path) as handle:
        return sorted(handle.keys())


def _inside(folder: Path, file: str) -> bool:
    """Whether a folder holds a file of this relative path."""
    parts = PurePosixPath(file)
    return not parts.is_absolute() and ".." not in parts.parts and (folder / file).is_file()
