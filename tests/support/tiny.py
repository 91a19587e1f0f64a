"""Tiny random models that go through the real code: one of each family, with tokenizers of three kinds.

They know nothing, but everything that Errata does to a model can be done to them in a fraction of a second: load,
hook, optimise a target value, edit, check out, load back. Weights follow from a seed, so digests are the same in every
process.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VOCAB = 300
HIDDEN = 32
D_FF = 64
LAYERS = 4

_TEXT = (
    "The chief executive of Norwind Systems is Alma Reyes. The capital of Ostravia is Lund.",
    "Who leads Norwind Systems? Alma Reyes leads it. The price of the Harrow 9 kettle is 40 crowns.",
    "Ada works for Calder Mills in Bergen. Boris works for Tern Foods in Riga, and the office is in Oslo.",
    "Refunds are accepted within thirty days; the policy changed in spring. One plus one is two, two plus two is four.",
)


def save_tokenizer(folder: Path, *, with_bos: bool) -> None:
    """Train a byte-level BPE of at most VOCAB entries on a few sentences and save it into `folder`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    if with_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    ).save_pretrained(folder)


def save_metaspace_tokenizer(folder: Path, *, with_bos: bool, kind: str = "bpe") -> None:
    """Train a SentencePiece-style tokenizer into `folder`: words begin with "\u2581", unknown characters fall to bytes.

    `kind` is "bpe", which normalises as Llama 2 and Gemma do and puts a mark before the text, or "unigram".
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>", "<unk>"]
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    trainer: Any
    if kind == "bpe":
        plain = Tokenizer(models.BPE(unk_token="<unk>"))
        plain.pre_tokenizer = pre_tokenizers.Metaspace()  # so that no piece spans two words
        trainer = trainers.BpeTrainer(vocab_size=160, special_tokens=special, show_progress=False)
        plain.train_from_iterator(_TEXT, trainer)
        state = json.loads(plain.to_str())["model"]
        vocabulary = {token: i for i, token in enumerate([*special, *bytes_])}
        for token in sorted(state["vocab"], key=state["vocab"].__getitem__):
            vocabulary.setdefault(token, len(vocabulary))
        merges = [(left, right) for left, right in state["merges"]]
        model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    else:
        plain = Tokenizer(models.Unigram())
        plain.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=160, special_tokens=special, unk_token="<unk>", show_progress=False
        )
        plain.train_from_iterator(_TEXT, trainer)
        pieces = [
            (piece, score) for piece, score in json.loads(plain.to_str())["model"]["vocab"] if piece not in special
        ]
        scored = [*((token, 0.0) for token in special), *((token, -20.0) for token in bytes_), *pieces]
        tokenizer = Tokenizer(models.Unigram(scored, unk_id=3, byte_fallback=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(special)
    if with_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)


_COMMON: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": D_FF,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GROUPED: dict[str, Any] = {**_COMMON, "num_key_value_heads": 2}
_GEMMA: dict[str, Any] = {**_GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 6}
_GPT: dict[str, Any] = {
    "n_embd": HIDDEN,
    "n_inner": D_FF,
    "n_layer": LAYERS,
    "n_head": 4,
    "n_positions": 256,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": _GROUPED,
    "mistral": {**_GROUPED, "sliding_window": 6},
    "qwen2": {**_GROUPED, "tie_word_embeddings": True},
    "qwen3": {**_GROUPED, "head_dim": 8},
    "gemma2": {**_GEMMA, "final_logit_softcapping": 3.0},
    "gemma3_text": {
        **_GEMMA,
        "final_logit_softcapping": 4.0,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "phi3": _GROUPED,
    "olmo2": _GROUPED,
    "gpt2": _GPT,
    "gptj": {**_GPT, "rotary_dim": 4},
    "gpt_neox": _COMMON,
    "stablelm": _GROUPED,
    "starcoder2": {**_GROUPED, "tie_word_embeddings": False, "sliding_window": None},
}
"""Settings of a tiny model of each family: four layers, 32 wide, d_ff 64. StableLM and Starcoder2 have no built-in
adapter; Mistral's and Gemma's windows are shorter than the tests' prompts."""

_EXPERTS: dict[str, Any] = {**_GROUPED, "num_experts_per_tok": 2}
EXPERTS: dict[str, dict[str, Any]] = {
    "mixtral": {**_EXPERTS, "num_local_experts": 4},
    "granitemoe": {**_EXPERTS, "num_local_experts": 4},
    "qwen2_moe": {
        **_EXPERTS,
        "num_experts": 4,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "mlp_only_layers": [0, 1],
    },
    "qwen3_moe": {
        **_EXPERTS,
        "num_experts": 4,
        "moe_intermediate_size": 16,
        "decoder_sparse_step": 2,
        "head_dim": 8,
    },
}
"""The same of mixtures of experts: two of experts in every layer, and two with dense layers among them, 0 and 1, and 0
and 2. None has a built-in adapter."""

TOKENIZERS: dict[str, str] = {
    "llama": "bytes+bos",
    "mistral": "bpe+bos",
    "gemma2": "bpe+bos",
    "gemma3_text": "unigram+bos",
    "phi3": "unigram",
    "olmo2": "bpe",
}
"""Which tokenizer a family gets: "bytes" if it is not named, or a SentencePiece-style one; with BOS or without."""


def save_tiny(
    folder: Path,
    family: str,
    *,
    seed: int = 0,
    dtype: str = "float32",
    shard_bytes: int | None = None,
    tokenizer: str | None = None,
    **changes: Any,
) -> Path:
    """Save a random model of a family into `folder` and return it.

    Norms get random gains, as trained ones have; `changes` are settings of the configuration.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind = tokenizer or TOKENIZERS.get(family, "bytes")
    vocabulary = VOCAB if kind.startswith("bytes") else 480
    config = AutoConfig.for_model(family, **{"vocab_size": vocabulary, **{**FAMILIES, **EXPERTS}[family], **changes})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    if family not in ("llama", "gpt2"):  # whose bytes other tests have come to know
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" in name or ".ln_" in name:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    model = model.to(getattr(torch, dtype))
    model.save_pretrained(folder, **({} if shard_bytes is None else {"max_shard_size": shard_bytes}))
    if kind.startswith("bytes"):
        save_tokenizer(folder, with_bos=kind.endswith("+bos"))
    else:
        save_metaspace_tokenizer(folder, with_bos=kind.endswith("+bos"), kind=kind.split("+")[0])
    return folder


def save_tiny_llama(folder: Path, *, seed: int = 0, dtype: str = "float32", shard_bytes: int | None = None) -> Path:
    """Save a random Llama (BOS added by its tokenizer) into `folder` and return it."""
    return save_tiny(folder, "llama", seed=seed, dtype=dtype, shard_bytes=shard_bytes)


def save_tiny_gpt2(folder: Path, *, seed: int = 0, dtype: str = "float32") -> Path:
    """Save a random GPT-2 (tied embeddings, Conv1D, no BOS) into `folder` and return it."""
    return save_tiny(folder, "gpt2", seed=seed, dtype=dtype)
