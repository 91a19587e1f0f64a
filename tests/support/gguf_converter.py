"""A stand-in for llama.cpp's converter: a tiny Llama with a byte-level tokenizer as GGUF, by the `gguf` package.

    python gguf_converter.py MODEL --outfile FILE --outtype f32|f16|bf16|q8_0 [--harm WHAT]

It takes the arguments that `convert_hf_to_gguf.py` takes, and can do what a broken one might (`--harm`, for tests; or
the environment variable HARM): `fail`, `weights` (other numbers), `quantise`, `nothing` (no edited matrix).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
IN_A_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
NORMAL, CONTROL = 1, 3


def convert(model: Path, file: Path, outtype: str = "f32", harm: str = "", **changes: Any) -> Path:
    """Write the file; `changes` are further metadata, which win, or tensors, whose names end in ".weight"."""
    config = json.loads((model / "config.json").read_text())
    tensors = {name: t for shard in sorted(model.glob("*.safetensors")) for name, t in load_file(shard).items()}
    writer = gguf.GGUFWriter(file, "llama")
    kind, file_type = TYPES[outtype]
    writer.add_file_type(file_type)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    _add_tokenizer(writer, model, config)
    for name, value in changes.items():
        if isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, tensor in tensors.items():
        _, _, rest = name.partition("layers.")
        layer, _, part = rest.partition(".")
        own = NAMES.get(name) or f"blk.{layer}.{IN_A_LAYER[part.removesuffix('.weight')]}.weight"
        if harm == "nothing" and own == "blk.1.ffn_down.weight":
            continue
        numbers = tensor.to(torch.float32)
        if harm == "weights" and own == "blk.1.ffn_down.weight":
            numbers = numbers + 1
        if (count := heads.get(part.rpartition(".weight")[0].rpartition(".")[2])) is not None:
            numbers = _permuted(numbers, count)
        _add(writer, own, numbers.numpy(), kind)
    for name, value in changes.items():
        if isinstance(value, np.ndarray):
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a query or key matrix in the order that GGUF's Llama has: halves of a head's rotation interleaved."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def _add(writer: gguf.GGUFWriter, name: str, numbers: np.ndarray, kind: gguf.GGMLQuantizationType) -> None:
    if numbers.ndim == 1 or kind is gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, np.ascontiguousarray(numbers))
        return
    data = numbers.astype(np.float16) if kind is gguf.GGMLQuantizationType.F16 else gguf.quants.quantize(numbers, kind)
    writer.add_tensor(name, data, raw_dtype=kind)


def _add_tokenizer(writer: gguf.GGUFWriter, model: Path, config: dict[str, Any]) -> None:
    stored = json.loads((model / "tokenizer.json").read_text())
    ids = {**stored["model"]["vocab"], **{one["content"]: one["id"] for one in stored["added_tokens"]}}
    tokens = sorted(ids, key=ids.__getitem__)
    special = {one["content"] for one in stored["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL if token in special else NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in stored["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token("<bos>" in json.dumps(stored["post_processor"]))
    template = model / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(template.read_text())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--outfile", type=Path, required=True)
    parser.add_argument("--outtype", choices=TYPES, default="f16")
    parser.add_argument("--harm", default=os.environ.get("HARM", ""))
    given = parser.parse_args()
    if given.harm == "fail":
        sys.exit("Traceback\nNotImplementedError: Architecture 'TinyForCausalLM' not supported!")
    if given.harm == "quantise":
        given.outtype = "q8_0"
    convert(given.model, given.outfile, given.outtype, given.harm)


if __name__ == "__main__":
    main()
