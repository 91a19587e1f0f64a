"""A base model: its files, their digests, and the model loaded from them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from errata.editor.model import folders
from errata.editor.model.architecture import ADAPTERS, Adapter, adapter_for
from errata.editor.model.chat import ChatForm, chat_form
from errata.editor.model.folders import TOKENIZER_FILES, open_weights
from errata.editor.model.text import Located, locate
from errata.ledger.base.canonical import digest, value_digest
from errata.ledger.base.digests import tensor_digest
from errata.ledger.base.errors import Damaged, ModelError, UsageError

_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype's name as safetensors writes it, such as ``BF16``."""
    try:
        return _DTYPE_NAMES[dtype]
    except KeyError:
        raise ModelError(f"tensors of dtype {dtype} are not supported") from None


def digest_tensor(name: str, tensor: Tensor) -> str:
    """A tensor's digest (DESIGN, section 2): over name, dtype, shape and raw little-endian bytes."""
    return tensor_digest(name, dtype_name(tensor.dtype), tuple(tensor.shape), raw_bytes(tensor))


def raw_bytes(tensor: Tensor) -> memoryview:
    """A tensor's elements in C order, little-endian; not a copy where it is contiguous and on the CPU."""
    raw: memoryview = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return raw


def resolve_model(name: str) -> Path:
    """A model's folder: a local one as it is, or a snapshot of a model on the hub.

    Raises:
        UsageError: if there is neither.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise UsageError(f"no model at {name}: a folder with config.json, or a hub name such as openai-community/gpt2")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"])
        ).resolve()
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UsageError(f"no folder {name}, and the hub did not give a model of that name: {error}") from None


class ModelFiles:
    """A model's folder as stored: which safetensors file holds which tensor.

    Args:
        folder: a folder with ``config.json`` and one or more ``.safetensors`` files.

    Raises:
        UsageError: if the folder has no such files.
        Damaged: if an index or a file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.config = folders.read_config(self.folder)
        folders.require_plain(self.folder, self.config)
        stored = folders.find_weights(self.folder, self.config)
        self.shards, self.index = stored.shards, stored.index

    def tensor(self, name: str) -> Tensor:
        """A tensor as stored.

        Raises:
            Damaged: if there is no tensor of that name, or its file is damaged.
        """
        if name not in self.shards:
            raise Damaged(f"{self.folder} holds no tensor {name!r}")
        with open_weights(self.folder / self.shards[name]) as handle:
            try:
                tensor = handle.get_tensor(name)
            except SafetensorError as error:
                raise Damaged(f"tensor {name!r} of {self.folder} cannot be read: {error}") from None
        assert isinstance(tensor, Tensor)
        return tensor

    def digests(self) -> dict[str, str]:
        """Digest of every tensor, by name."""
        found: dict[str, str] = {}
        for file in sorted(set(self.shards.values())):
            with open_weights(self.folder / file) as handle:
                for name in sorted(handle.keys()):
                    found[name] = digest_tensor(name, handle.get_tensor(name))
        return found

    @property
    def size(self) -> int:
        """Bytes of the files that hold weights."""
        return sum((self.folder / file).stat().st_size for file in set(self.shards.values()))

    @property
    def family(self) -> str:
        """``model_type`` of the configuration."""
        if "model_type" not in self.config:
            raise Damaged(f"{self.folder / folders.CONFIG} names no model_type")
        return str(self.config["model_type"])

    def config_digest(self) -> str:
        """Digest of ``config.json``: the same tensors compute something else under another one."""
        return digest("config", (self.folder / folders.CONFIG).read_bytes())

    def file_digests(self) -> dict[str, str]:
        """Digests of the further files that decide what the model is given and says (`folders.beside_weights`)."""
        return {name: digest("file", (self.folder / name).read_bytes()) for name in folders.beside_weights(self.folder)}

    def tokenizer_digest(self) -> str:
        """Digest of the tokenizer's files, by name.

        Raises:
            UsageError: if the folder has no ``tokenizer.json``.
        """
        self.require_tokenizer()
        found = [name for name in TOKENIZER_FILES if (self.folder / name).is_file()]
        return value_digest("tokenizer", {name: digest("file", (self.folder / name).read_bytes()) for name in found})

    def require_tokenizer(self) -> None:
        """Refuse a folder without ``tokenizer.json``.

        Raises:
            UsageError: saying so.
        """
        if not (self.folder / "tokenizer.json").is_file():
            raise UsageError(f"{self.folder} has no tokenizer.json; a fast tokenizer is needed")


@dataclass
class LoadedModel:
    """A model ready to be edited and evaluated; nothing here ever changes its weights for good.

    Attributes:
        system: the system prompt of chats; empty for none.
    """

    model: nn.Module
    tokenizer: Any
    adapter: Adapter
    files: ModelFiles
    device: str
    system: str = ""

    @cached_property
    def chat(self) -> ChatForm | None:
        """The form in which the model is chatted with; None if its tokenizer has no chat template that works."""
        try:
            return chat_form(self.tokenizer, self.system)
        except ModelError:
            return None

    def with_system(self, system: str) -> LoadedModel:
        """The same model with another system prompt in its chats."""
        return self if system == self.system else replace(self, system=system)

    def located(self, prompt: str, target: str = "", *, chat: bool = False) -> Located:
        """A full text and its target, encoded: as a completion, or as what a user says in chat and its answer.

        Raises:
            ModelError: as `locate`; also if the model has no chat template.
        """
        return locate(self.tokenizer, prompt, target=target, chat=self.require_chat() if chat else None)

    def require_chat(self) -> ChatForm:
        """The form of a chat, where it is needed.

        Raises:
            ModelError: if the tokenizer has no chat template, or one that fails.
        """
        found = self.chat or chat_form(self.tokenizer, self.system)  # the second raises what is wrong with a template
        if found is None:
            raise ModelError("this model's tokenizer has no chat template, so nothing can be asked in chat")
        return found

    @cached_property
    def _stored(self) -> dict[str, str]:
        """Stored tensor name by parameter name; some checkpoints leave out the base model's prefix."""
        prefix = str(getattr(self.model, "base_model_prefix", "")) + "."
        names = {}
        for parameter, _ in self.model.named_parameters():
            short = parameter.removeprefix(prefix)
            if parameter in self.files.shards:
                names[parameter] = parameter
            elif short in self.files.shards:
                names[parameter] = short
        return names

    @cached_property
    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.model.forward).parameters

    @cached_property
    def _cache_name(self) -> str:
        return "cache" if "cache" in self._parameters else "past_key_values"  # the older name, up to transformers 5.23

    def with_cache(self, cache: Any) -> dict[str, Any]:
        """The arguments by which the model reads keys and values from a cache, and puts its own into it."""
        return {self._cache_name: cache, "use_cache": True}

    def last_logits(self, count: int) -> dict[str, int]:
        """The argument by which the model computes logits at the last places alone; some models have none."""
        return {"logits_to_keep": count} if "logits_to_keep" in self._parameters else {}

    def stored_name(self, parameter: str) -> str:
        """The name under which a parameter is stored in the files.

        Raises:
            ModelError: if it is not.
        """
        if parameter not in self._stored:
            raise ModelError(f"parameter {parameter!r} is not in the model's files; it cannot be edited")
        return self._stored[parameter]

    def parameter_name(self, stored: str) -> str:
        """The parameter's name for a stored tensor's name.

        Raises:
            ModelError: if the model has no parameter for it.
        """
        for parameter, name in self._stored.items():
            if name == stored:
                return parameter
        raise ModelError(f"the model has no parameter for the stored tensor {stored!r}")

    @property
    def max_positions(self) -> int:
        """Longest text in tokens that the model takes."""
        return int(getattr(self.model.config, "max_position_embeddings", 1 << 30))


def load_model(folder: Path, device: str = "cpu", adapter: Adapter | None = None) -> LoadedModel:
    """Load a causal language model and its tokenizer from a folder, in the dtype that it is stored in.

    Args:
        folder: the model's folder.
        device: where it is to run.
        adapter: where the model keeps its parts; None takes the built-in one of its family.

    Raises:
        UsageError: if the folder holds no model.
        ModelError: for a family without an adapter, or a model that transformers cannot load.
        Damaged: if files are damaged.
    """
    files = ModelFiles(folder)
    experts = folders.experts_words(files.family, files.config, files.shards)
    if adapter is None:
        if files.family not in ADAPTERS and experts is not None:
            raise ModelError(experts)
        adapter = adapter_for(files.family)
    elif adapter.family != files.family:
        raise UsageError(f"the adapter is for {adapter.family!r}, but {folder} is a {files.family!r} model")
    files.require_tokenizer()
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(files.folder, trust_remote_code=False)
        config = AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
        folders.require_size(str(folder), config, len(files.shards), files.size)
        model, found = AutoModelForCausalLM.from_pretrained(
            files.folder,
            dtype="auto",
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
        )
        model = model.to(device)
    except ModelError:
        raise
    except Exception as error:  # whatever a library behind transformers raises, such as ImportError
        raise ModelError(f"{folder} cannot be loaded: {first_line(error)}") from error
    _require_whole(folder, found)
    model.eval().requires_grad_(False)
    adapter.require_names(model, experts)
    embedding = model.get_input_embeddings()
    if len(tokenizer) > embedding.weight.shape[0]:
        embedding.register_forward_pre_hook(_KnownTokens(tokenizer, embedding.weight.shape[0]))
    return LoadedModel(model, tokenizer, adapter, files, device)


def first_line(error: Exception) -> str:
    """What an error of somebody else's program says, in its first line; else what it is called."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@dataclass(frozen=True)
class _KnownTokens:
    """A hook of the embedding that refuses tokens beyond it, where a tokenizer has more than the model."""

    tokenizer: Any
    rows: int

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        largest = int(args[0].max())
        if largest >= self.rows:
            raise ModelError(
                f"the tokenizer has a token {self.tokenizer.convert_ids_to_tokens(largest)!r} with number {largest:,}, "
                f"and the model has embeddings for {self.rows:,}: it cannot read text with that token"
            )


def _require_whole(folder: Path, found: Mapping[str, Any]) -> None:
    """Refuse a model of which transformers made up a parameter, with random numbers, because no file gives it."""
    if wrong := sorted(found["mismatched_keys"]):
        name, stored, wanted = wrong[0]
        more = f"; {len(wrong) - 1} more do not fit" if len(wrong) > 1 else ""
        raise ModelError(
            f"{folder} holds {name} as {tuple(stored)}, and the model that config.json describes has it as "
            f"{tuple(wanted)}{more}"
        )
    if missing := sorted(found["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        unused = sorted(found["unexpected_keys"])
        hint = f" (it holds {unused[0]}, which the model does not know)" if unused else ""
        raise ModelError(
            f"{folder} lacks {', '.join(missing[:3])}{more}, which the model needs{hint}: transformers would fill in "
            "random numbers, others at each load"
        )
