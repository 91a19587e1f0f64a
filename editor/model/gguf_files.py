"""GGUF, llama.cpp's file format: what a file holds, and the ordinary model folder that transformers makes of it.

A GGUF file is one model in one file, mostly quantised. Editing needs weights that are numbers, so they are dequantised:
every type that GGUF knows fits into float32, which is what is written. transformers does it, and drops in silence what
it does not know; so what it made is compared with what the file says: its numbers are counted, no weight may be
missing, and the tokenizer must have the file's tokens, its BOS and its chat template.

Source: the GGUF specification in the repository ggml-org/ggml, `docs/gguf.md`.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from errata.editor.model.folders import require_size
from errata.editor.model.loading import first_line
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.base.json_files import json_value

MISSING = "GGUF files need the extra `gguf`: pip install 'errata-lm[gguf]'"

_MAGIC = b"GGUF"
_POSITIONS = "rope_"
"""How the names of tensors start that hold no weights but factors of the position encoding."""

_PROBE = "In 1999, Ada's 3 ideas (naïve ones) cost 10 % more."
"""A text that a tokenizer has to give back."""

_SPLITS_AS_GPT2 = {"", "default", "gpt-2", "gpt2"}
_SPLITS_DIGITS_TOO = {"codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm", "starcoder"}
"""Splittings, by llama.cpp's names, that part every digit and then do as GPT-2 does (its `llama-vocab.cpp`)."""


@dataclass(frozen=True)
class GgufFile:
    """What a GGUF file says of itself.

    Attributes:
        path: the file.
        quantisation: how its numbers are stored, such as `Q4_1` or `F16`.
        tensors: how many it has.
        weights: how many numbers they hold, without factors of the position encoding.
        factors: names of tensors with such factors, which transformers does not read.
        tokens: how many tokens its vocabulary has.
        bos: the id of the token that begins a text; None if it names none.
        chat_template: None if it has none.
        splitting: how text is split before tokens are merged, as llama.cpp names it; "" if the vocabulary needs none.
    """

    path: Path
    quantisation: str
    tensors: int
    weights: int
    factors: tuple[str, ...]
    tokens: int
    bos: int | None
    chat_template: str | None
    splitting: str

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    @property
    def dequantised_size(self) -> int:
        """Bytes of its weights as float32."""
        return self.weights * torch.float32.itemsize


def gguf_path(name: str) -> Path | None:
    """The GGUF file of this name; None if the name is not one of a GGUF file.

    Raises:
        UsageError: it is one by its name, and there is no such file.
    """
    path = Path(name).expanduser()
    if path.is_file():
        with path.open("rb") as stream:
            if stream.read(len(_MAGIC)) == _MAGIC:
                return path.resolve()
        if path.suffix.lower() == ".gguf":
            raise UsageError(f"{path} is not a GGUF file: it does not begin with {_MAGIC.decode()}")
    elif path.suffix.lower() == ".gguf" and not path.exists():
        raise UsageError(f"there is no file {path}")
    return None


def gguf_library() -> Any:
    """The library `gguf`.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise UsageError(MISSING) from None
    return gguf


def read_gguf(path: Path) -> GgufFile:
    """What a GGUF file says of itself; its tensors are not read.

    Raises:
        UsageError: the extra is not installed, or the file is one piece of several, or holds no model.
        ModelError: it cannot be read.
    """
    gguf = gguf_library()
    if importlib.util.find_spec("accelerate") is None:  # without which transformers reads no GGUF file
        raise UsageError(MISSING)
    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise ModelError(f"{path} cannot be read as GGUF: {error}; it may be cut short") from None

    def said(key: str, otherwise: Any = None) -> Any:
        field = reader.fields.get(key)
        return otherwise if field is None else field.contents()

    if (pieces := int(said("split.count", 0))) > 1:
        raise UsageError(
            f"{path} is one of {pieces} pieces of a model; llama.cpp joins them: "
            "llama-gguf-split --merge FIRST-PIECE model.gguf"
        )
    if (kind := str(said("general.type", "model"))) != "model":
        raise UsageError(f"{path} holds no model but what GGUF calls {kind!r}; name the file of a whole model")
    tokens = reader.fields.get("tokenizer.ggml.tokens")
    if tokens is None or not reader.tensors:
        raise UsageError(f"{path} holds no language model: it has no {'vocabulary' if reader.tensors else 'tensors'}")
    held: Counter[str] = Counter()
    for tensor in reader.tensors:
        if not tensor.name.startswith(_POSITIONS):
            held[tensor.tensor_type.name] += int(tensor.n_elements)
    byte_level = said("tokenizer.ggml.model") == "gpt2"
    begins = said("tokenizer.ggml.bos_token_id")
    return GgufFile(
        path=path,
        quantisation=_quantisation(gguf, said("general.file_type"), held),
        tensors=len(reader.tensors),
        weights=held.total(),
        factors=tuple(tensor.name for tensor in reader.tensors if tensor.name.startswith(_POSITIONS)),
        tokens=len(tokens.data),
        bos=None if begins is None else int(begins),
        chat_template=said("tokenizer.chat_template"),
        splitting=str(said("tokenizer.ggml.pre", "")) if byte_level else "",
    )


def _quantisation(gguf: Any, file_type: int | None, held: Counter[str]) -> str:
    """The file's own word for it, such as `Q4_K_M`, else the type that most of its numbers have."""
    try:
        name = str(gguf.LlamaFileType(file_type).name)
    except ValueError:
        name = "GUESSED"
    return held.most_common(1)[0][0] if name == "GUESSED" else name.removeprefix("MOSTLY_").removeprefix("ALL_")


def write_dequantised(file: GgufFile, folder: Path) -> tuple[str, ...]:
    """Write the model of a GGUF file as an ordinary model folder in float32.

    Args:
        file: the file.
        folder: an empty folder.

    Returns:
        What the folder cannot have of it, a line each.

    Raises:
        ModelError: transformers does not know such models, or would make something else than the file says.
        OSError: the disk is full or not writable.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place = {"pretrained_model_name_or_path": str(file.path.parent), "gguf_file": file.path.name}
    try:
        config = AutoConfig.from_pretrained(**place, trust_remote_code=False)
        require_size(file.path.name, config, file.tensors, file.weights)
        model, found = AutoModelForCausalLM.from_pretrained(
            **place, dtype=torch.float32, output_loading_info=True, trust_remote_code=False, **_as_numbers()
        )
        tokenizer = AutoTokenizer.from_pretrained(**place, trust_remote_code=False)
    except ModelError:
        raise
    except Exception as error:  # whatever a library behind transformers raises
        raise ModelError(f"transformers cannot read {file.path.name}: {first_line(error)}") from error
    if missing := sorted(found["missing_keys"]):
        raise ModelError(f"{file.path.name} has no weights for {missing[0]}, which its kind of model needs")
    made = sum(tensor.numel() for tensor in {id(one): one for one in model.parameters()}.values())
    if made != file.weights:
        raise ModelError(
            f"{file.path.name} holds {file.weights:,} numbers, and transformers makes a model of {made:,} from it; "
            "its kind of model is not read right"
        )
    if file.chat_template is not None and tokenizer.chat_template != file.chat_template:
        tokenizer.chat_template = file.chat_template
    if file.splitting in _SPLITS_DIGITS_TOO - _known_splittings():
        digits, rest = pre_tokenizers.Digits(individual_digits=True), tokenizer.backend_tokenizer.pre_tokenizer
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, rest])
    model.hf_quantizer = None  # else transformers refuses to save what it has just dequantised
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _drop_tokens_from(file.tokens, folder / "tokenizer.json")
    _check_tokenizer(file, AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
    return _lost(file)


def _as_numbers() -> dict[str, Any]:
    """What asks transformers for weights that are numbers, where it could also keep a file's own blocks."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}


def _drop_tokens_from(count: int, path: Path) -> None:
    """Take out what was added behind the file's own tokens.

    transformers gives any byte-level vocabulary GPT-2's `<|endoftext|>`, for which a model without it has no embedding.
    """
    stored = json_value(path.read_text(encoding="utf-8"))
    kept = [one for one in stored["added_tokens"] if one["id"] < count]
    if kept != stored["added_tokens"]:
        text = json.dumps({**stored, "added_tokens": kept}, ensure_ascii=False, indent=2)
        path.write_text(text + "\n", encoding="utf-8")


def _check_tokenizer(file: GgufFile, tokenizer: Any) -> None:
    """Refuse a tokenizer that is not the one that the file describes.

    Raises:
        ModelError: saying in what it differs.
    """
    ids = tokenizer(_PROBE)["input_ids"]
    back = tokenizer.decode(ids, skip_special_tokens=True)
    wrong = (
        f"{len(tokenizer):,} tokens, and the file has {file.tokens:,}"
        if len(tokenizer) != file.tokens
        else f"token {tokenizer.bos_token_id} at the beginning of texts, and the file says {file.bos}"
        if file.bos is not None and tokenizer.bos_token_id != file.bos
        else "another chat template than the file"
        if (tokenizer.chat_template or None) != file.chat_template
        else f"{back!r} of {_PROBE!r}"
        if back.strip() != _PROBE
        else None
    )
    if wrong:
        raise ModelError(f"the tokenizer that transformers makes of {file.path.name} is not the file's: it has {wrong}")


def _lost(file: GgufFile) -> tuple[str, ...]:
    """What transformers does not take over from a file."""
    lost = []
    if file.factors:
        lost.append(
            f"{', '.join(file.factors)} not taken over: positions are encoded without these factors, so that long "
            "texts are read otherwise than by llama.cpp"
        )
    if file.splitting not in _SPLITS_AS_GPT2 | _SPLITS_DIGITS_TOO | _known_splittings():
        lost.append(
            f"this version of transformers does not know the splitting {file.splitting!r} of the tokenizer and splits "
            "text as GPT-2 does, so that some words may get other tokens than in llama.cpp"
        )
    return tuple(lost)


def _known_splittings() -> set[str]:
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
    except ImportError:
        return set()
    return set(GGUF_PRE_TOKENIZER_SPLITS)
