"""A version as a LoRA adapter in PEFT's format: two factors for each edited module, to be served on the base model.

Deltas are outer products, so a version's change of a module is a LoRA pair already: ``B = Uᵀ``, ``A = V``, exact as
long as the rank holds all edits, and the best pair of the rank that is asked for otherwise, its error measured and told
(`editor.solve.low_rank`). All that is needed is the ledger: no model is loaded, and the base's files are not read.

The files follow what PEFT, transformers, vLLM and llama.cpp's converter read alike: one rank for all modules,
``lora_alpha = r`` (a scaling of exactly 1), no rank pattern, no bias, keys ``base_model.model.<module>.lora_A.weight``
``(r, d_in)`` and ``lora_B.weight`` ``(d_out, r)``, and no other tensors. Only the edited layers get modules. A is on
the input's side in GPT-2's modules too; ``fan_in_fan_out`` says that their weights are stored ``(d_in, d_out)``.

An adapter may also stand for the way from one version to another (``since``): edits that enter come as they are, edits
that leave with their sign turned. It is loaded on a checkout of the version that it starts from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from errata.editor.model import adapter_files
from errata.editor.model.architecture import Adapter, adapter_for
from errata.editor.model.loading import digest_tensor
from errata.editor.solve.low_rank import RANKS, LowRank, low_rank, rank_for
from errata.ledger.base.errors import UsageError
from errata.ledger.ledger import Ledger
from errata.ledger.state.state import State
from errata.replay.export.model_card import name_of_base
from errata.replay.export.whole_folder import whole_folder
from errata.replay.versions.factors import FactorReader

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_PREFIX = "base_model.model."
"""What PEFT's wrappers put before a module's own path."""


@dataclass(frozen=True)
class AdapterModule:
    """One edited module's factors.

    Attributes:
        module: the module's path in the model.
        tensor: its weight's name in the base's files.
        layer: its layer.
        pair: the factors, with their error.
        base_norm: the base tensor's Frobenius norm, as recorded when the ledger was created.
    """

    module: str
    tensor: str
    layer: int
    pair: LowRank
    base_norm: float

    @property
    def error_to_base(self) -> float:
        """``‖S - B A‖ / ‖W‖``: the error beside the weights that it is added to."""
        return self.pair.error / self.base_norm

    def tensors(self) -> dict[str, Tensor]:
        """The factors by their keys in the file."""
        key = f"{_PREFIX}{self.module}"
        return {f"{key}.lora_A.weight": self.pair.a, f"{key}.lora_B.weight": self.pair.b}


@dataclass(frozen=True)
class LoraAdapter:
    """An adapter, ready to be written.

    Attributes:
        names: where the base model keeps its parts.
        base: the base model's name, never a path; None if the adapter starts from another version.
        rank: the rank of every module.
        added, removed: the edits that it brings, and those that it takes away from the version that it starts from.
        modules: the edited modules by layer.
    """

    names: Adapter
    base: str | None
    rank: int
    added: tuple[int, ...]
    removed: tuple[int, ...]
    modules: tuple[AdapterModule, ...]

    @property
    def exact(self) -> bool:
        """Whether every module's ``B A`` is the sum of its deltas, bit for bit."""
        return all(module.pair.exact for module in self.modules)

    def config(self) -> dict[str, Any]:
        """What ``adapter_config.json`` holds."""
        return {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base,
            "inference_mode": True,
            "r": self.rank,
            "lora_alpha": self.rank,
            "lora_dropout": 0.0,
            "target_modules": [self.names.edited],
            "layers_to_transform": [module.layer for module in self.modules],
            "layers_pattern": self.names.layers.rpartition(".")[2],
            "fan_in_fan_out": self.names.transposed,
            "bias": "none",
            "modules_to_save": None,
            "use_rslora": False,
            "use_dora": False,
        }

    def tensors(self) -> dict[str, Tensor]:
        """All factors by their keys in ``adapter_model.safetensors``."""
        return {key: tensor for module in self.modules for key, tensor in module.tensors().items()}

    def digests(self) -> dict[str, str]:
        """The digest of every tensor in the file, by its key."""
        return {key: digest_tensor(key, tensor) for key, tensor in self.tensors().items()}


def build_adapter(
    ledger: Ledger,
    live: Iterable[int],
    since: Iterable[int] | None = None,
    rank: int | None = None,
    base_name: str | None = None,
) -> LoraAdapter:
    """The adapter that turns one version into another.

    Args:
        ledger: where the deltas come from; each is checked against its event.
        live: the live set of the version that is wanted.
        since: the live set of the version that the adapter is to be loaded on; None is the base model.
        rank: the rank of every module; None takes the smallest that servers admit and that holds all edits.
        base_name: what to call the base model (`model_card.card_of`).

    Raises:
        UsageError: if there is no edit to hold, the rank is below 1, or no rank that servers admit holds all edits.
        BlobMissing, BlobDamaged, LedgerDamaged: if a delta is not as it was recorded.
    """
    state = ledger.state()
    created = state.genesis
    wanted, start = frozenset(live), frozenset(since or ())
    added, removed = tuple(sorted(wanted - start)), tuple(sorted(start - wanted))
    if not added and not removed:
        raise UsageError(
            "this version has no edits, so there is nothing for an adapter to hold: serve the base model as it is"
            if since is None
            else "the two versions have the same edits, so there is nothing for an adapter to hold"
        )
    ranks = [state.edits[number].body.ranks for number in (*added, *removed)]
    needed = max(sum(of.get(tensor, 1) for of in ranks) for tensor in created.edited)
    if rank is not None and rank > max(needed, RANKS[-1]):
        raise UsageError(f"rank {rank:,} is more than these edits can fill; take at most {max(needed, RANKS[-1]):,}")
    rank = rank_for(needed, len(ranks)) if rank is None else rank
    names = adapter_for(created.family) if created.adapter is None else adapter_files.from_record(created.adapter)
    reader = FactorReader(ledger.blobs, created.edited)
    return LoraAdapter(
        names=names,
        base=name_of_base(created.model, base_name) if since is None else None,
        rank=rank,
        added=added,
        removed=removed,
        modules=tuple(
            AdapterModule(
                module=names.edited_parameter(spec.layer).removesuffix(".weight"),
                tensor=tensor,
                layer=spec.layer,
                pair=low_rank(*_factors(reader, state, tensor, added, removed), rank),
                base_norm=spec.frobenius_norm,
            )
            for tensor, spec in sorted(created.edited.items(), key=lambda item: item[1].layer)
        ),
    )


def _factors(
    reader: FactorReader, state: State, tensor: str, added: Sequence[int], removed: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """One tensor's factors, ``(n, d_out)`` and ``(n, d_in)``: one tensor at a time is what memory has to hold."""
    groups = list(reader.read_tensor(state, added, tensor))
    groups += [(-u, v) for u, v in reader.read_tensor(state, removed, tensor)]
    return torch.cat([u for u, _ in groups]), torch.cat([v for _, v in groups])


def write_adapter(adapter: LoraAdapter, destination: Path, notes: dict[str, str]) -> Path:
    """Write an adapter's folder: it is there whole, or not at all.

    Args:
        adapter: the adapter.
        destination: a folder that does not exist or is empty.
        notes: further files by name: what people and programs are told about the adapter.

    Returns:
        The folder.

    Raises:
        UsageError: if the destination holds something.
        OSError: if the disk is full or not writable; nothing is left behind then.
    """
    files = {
        WEIGHTS_FILE: save(adapter.tensors(), metadata={"format": "pt"}),
        CONFIG_FILE: (json.dumps(adapter.config(), indent=2) + "\n").encode(),
        **{name: text.encode() for name, text in notes.items()},
    }
    with whole_folder(destination) as building:
        for name, data in files.items():
            (building / name).write_bytes(data)
    return destination.absolute()
