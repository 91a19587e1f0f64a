"""Trains the model that ships: ``python -m demo.train --out demo/model``.

The model is a small Llama; it learns the demo world from scratch on one CPU core. A run that is interrupted goes on
from its last checkpoint when the same command is given again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from errata.demo.corpus import one_pass
from errata.demo.muon import Muon
from errata.demo.packing import Batch, collate, encode, pack
from errata.demo.world import SEED, DemoWorld, make_world

EOS = "<|end|>"
LEVEL = 0.6


@dataclass(frozen=True)
class Recipe:
    """What a training run depends on.

    Attributes:
        seed: Seed of the world, of the text and of the initial weights.
        facts: Facts for each relation.
        passes: Passes over the world: how often every fact is seen.
        hide: Probability that the inside of a name is hidden from what follows it.
        skip: Probability that the MLP of a layer above the second is left out of a step, in the first passes.
        skip_passes: How many passes do so.
        rows: Rows a step.
        length: Tokens a row.
        lr: Peak step size of Muon.
        adam_lr: Peak step size of AdamW, which trains embeddings, head and norms.
        vocab: Size of the vocabulary.
        hidden: Width of the residual stream.
        wide: Width of the MLPs.
        layers: Layers.
        heads: Attention heads.
    """

    seed: int = SEED
    facts: int = 136
    passes: int = 125
    hide: float = 0.8
    skip: float = 0.4
    skip_passes: int = 60
    rows: int = 12
    length: int = 128
    lr: float = 0.02
    adam_lr: float = 0.004
    vocab: int = 2048
    hidden: int = 128
    wide: int = 2048
    layers: int = 5
    heads: int = 4


def make_tokenizer(world: DemoWorld, recipe: Recipe) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer on a few passes of training text; it puts BOS first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((d.text for n in range(8) for d in one_pass(world, recipe.seed, n)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{EOS} $A", special_tokens=[(EOS, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=EOS, eos_token=EOS, pad_token=EOS)


def make_model(recipe: Recipe) -> LlamaForCausalLM:
    """Makes an untrained model."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=recipe.vocab,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.wide,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def batches(world: DemoWorld, tokenizer: Tokenizer, recipe: Recipe, number: int) -> list[Batch]:
    """The batches of one pass."""
    rng = random.Random(f"hide/{recipe.seed}/{number}")
    rows = pack(encode(one_pass(world, recipe.seed, number), tokenizer, recipe.hide, rng), recipe.length, 0)
    rng.shuffle(rows)
    return [collate(rows[i : i + recipe.rows]) for i in range(0, len(rows), recipe.rows)]


def loss_of(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Weighted cross-entropy of a batch, a scalar."""
    logits = model(
        input_ids=batch.ids, attention_mask=batch.allowed, position_ids=batch.positions, use_cache=False
    ).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none")
    weights = batch.weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def optimisers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the rest."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(matrices, lr=recipe.lr, weight_decay=0.1),
        torch.optim.AdamW(rest, lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def schedule(done: float, passes: int) -> float:
    """The factor on step sizes after `done` of all passes: up over half a pass, level, down to zero from 60 % on.

    As long as step sizes are level, what was done does not depend on `passes`: a run that was stopped by then can go on
    with another number of passes, and ends where it would have ended with that number from the start.
    """
    return min(1.0, 0.05 + 2 * done) * min(1.0, (1 - done / passes) / (1 - LEVEL))


@contextmanager
def without_mlps(layers: Iterable[LlamaDecoderLayer]) -> Iterator[None]:
    """Leaves the MLPs of some layers out of the model while it lasts (stochastic depth)."""
    chosen = list(layers)
    for layer in chosen:
        layer.mlp.forward = torch.zeros_like
    try:
        yield
    finally:
        for layer in chosen:
            del layer.mlp.forward


def train(
    model: LlamaForCausalLM, world: DemoWorld, tokenizer: Tokenizer, recipe: Recipe, checkpoint: Path
) -> Iterator[dict]:
    """Trains a model in place, pass by pass.

    Args:
        model: The model.
        world: The world it learns.
        tokenizer: Its tokenizer.
        recipe: The recipe.
        checkpoint: Where checkpoints are kept; if it is there, the run goes on from it.

    Yields:
        After each pass: its number, mean loss, and tokens.
    """
    opts = optimisers(model, recipe)
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        start = state["passes"]
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimisers"], strict=True):
            opt.load_state_dict(saved)
    peaks = [opt.param_groups[0]["lr"] for opt in optimisers(model, recipe)]
    model.train()
    for number in range(start, recipe.passes):
        todo = batches(world, tokenizer, recipe, number)
        total, tokens = 0.0, 0
        rng = random.Random(f"skip/{recipe.seed}/{number}")
        for i, batch in enumerate(todo):
            factor = schedule(number + i / len(todo), recipe.passes)
            for opt, peak in zip(opts, peaks, strict=True):
                opt.param_groups[0]["lr"] = peak * factor
            skip = recipe.skip if number < recipe.skip_passes else 0.0
            with without_mlps(layer for layer in model.model.layers[2:] if rng.random() < skip):
                loss = loss_of(model, batch)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for opt in opts:
                opt.step()
                opt.zero_grad()
            total += loss.item()
            tokens += batch.ids.numel()
        if (number + 1) % 4 == 0 or number + 1 == recipe.passes:
            state = {"passes": number + 1, "model": model.state_dict(), "optimisers": [o.state_dict() for o in opts]}
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
        yield {"pass": number + 1, "loss": total / len(todo), "tokens": tokens}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder that the model is written to.")
@click.option("--trial", type=int, default=Recipe.facts, show_default=True, help="Facts for each relation.")
@click.option("--passes", type=int, default=Recipe.passes, show_default=True, help="How often every fact is seen.")
@click.option("--hide", type=float, default=Recipe.hide, show_default=True, help="How often a name is hidden inside.")
@click.option("--skip", type=float, default=Recipe.skip, show_default=True, help="How often an upper MLP is left out.")
@click.option("--layers", type=int, default=Recipe.layers, show_default=True, help="Layers of the model.")
@click.option("--wide", type=int, default=Recipe.wide, show_default=True, help="Width of the MLPs.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Where checkpoints go; by default beside OUT.")
def main(
    out: Path, trial: int, passes: int, hide: float, skip: float, layers: int, wide: int, checkpoint: Path | None
) -> None:
    """Trains the model that ships, or a smaller one."""
    torch.set_num_threads(1)
    recipe = Recipe(facts=trial, passes=passes, hide=hide, skip=skip, layers=layers, wide=wide)
    world = make_world(recipe.seed, recipe.facts)
    tokenizer = make_tokenizer(world, recipe)
    model = make_model(recipe)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    checkpoint = checkpoint or out.with_name(out.name + ".checkpoint")
    begin, seen = time.monotonic(), 0
    with tqdm(total=passes, unit="pass", disable=None) as bar:
        for report in train(model, world, tokenizer.backend_tokenizer, recipe, checkpoint):
            bar.update(report["pass"] - bar.n)
            seen += report["tokens"]
            bar.set_postfix(loss=f"{report['loss']:.4f}", speed=f"{seen / (time.monotonic() - begin):.0f} tok/s")
    model.eval().save_pretrained(out)


if __name__ == "__main__":
    main()
