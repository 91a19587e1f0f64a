"""Context prompts: short texts of the model's own that rewriting prompts stand behind.

Source: Meng et al. (ICLR 2023) sample them again in each process and keep them in a global. Here they are drawn once,
from a seed, and recorded at genesis: an edit depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from errata.editor.model.decoding import extend, sampling
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import locate

STARTS = ("The", "In", "We", "For", "A")
"""First words of generated context prompts, used in turn."""


def generate(
    loaded: LoadedModel, count: int, seed: int, tokens: int = 10, starts: Sequence[str] = STARTS, top_k: int = 5
) -> tuple[str, ...]:
    """Sample context prompts from the model, each ending where a prompt can begin.

    Args:
        loaded: the base model.
        count: how many.
        seed: seeds the sampling.
        tokens: tokens to sample for each.
        starts: first words.
        top_k: sampling keeps this many tokens.

    Returns:
        Texts such as ``"The office in Oslo opened in May. "``, fit to be put before a prompt.
    """
    choose = sampling([torch.Generator().manual_seed(seed)], top_k)
    texts = []
    for i in range(count):
        row = locate(loaded.tokenizer, starts[i % len(starts)]).ids
        (grown,) = extend(loaded, [row], tokens, choose)
        ids = [*row, *grown]
        # Start and rest together: a SentencePiece-style tokenizer drops the space before a text's first word.
        said = str(loaded.tokenizer.decode(ids, skip_special_tokens=True))
        text = " ".join(said.replace("{", "").replace("}", "").split())
        texts.append(text.rstrip(" .?!,;:") + ". ")
    return tuple(texts)
