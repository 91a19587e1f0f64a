"""Tiny random models that go through the real code: a Llama and a GPT-2, each with a byte-level BPE tokenizer.

They know nothing, but everything that Errata does to a model can be done to them in a fraction of a second: load,
hook, optimise a target value, edit, check out, load back. Weights follow from a seed, so digests are the same in every
process.
"""

from __future__ import annotations

from pathlib import Path

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


def save_tiny_llama(folder: Path, *, seed: int = 0, dtype: str = "float32", shard_bytes: int | None = None) -> Path:
    """Save a random Llama (4 layers, 32 wide, d_ff 64, BOS added by its tokenizer) into `folder` and return it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=HIDDEN,
        intermediate_size=D_FF,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(folder, **({} if shard_bytes is None else {"max_shard_size": shard_bytes}))
    save_tokenizer(folder, with_bos=True)
    return folder


def save_tiny_gpt2(folder: Path, *, seed: int = 0, dtype: str = "float32") -> Path:
    """Save a random GPT-2 (4 layers, 32 wide, d_ff 64, tied embeddings, Conv1D, no BOS) into `folder` and return it."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_embd=HIDDEN,
        n_inner=D_FF,
        n_layer=LAYERS,
        n_head=4,
        n_positions=256,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = GPT2LMHeadModel(config).to(getattr(torch, dtype))
    model.save_pretrained(folder)
    save_tokenizer(folder, with_bos=False)
    return folder
