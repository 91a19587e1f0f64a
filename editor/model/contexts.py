"""Context prompts: short texts of the model's own that rewriting prompts stand behind.

Source: Meng et al. (ICLR 2023) sample them again in each process and keep them in a global. Here they are drawn once,
from a seed, and recorded at genesis: an edit depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import locate
from errata.ledger.base.errors import ModelError

STARTS = ("The", "In", "We", "For", "A")
"""First words of generated context prompts, used in turn."""


@torch.no_grad()
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
    generator = torch.Generator().manual_seed(seed)
    texts = []
    for i in range(count):
        start = starts[i % len(starts)]
        ids = list(locate(loaded.tokenizer, start).ids)
        for _ in range(tokens):
            logits = loaded.model(input_ids=torch.tensor([ids], device=loaded.device), use_cache=False).logits[0, -1]
            if not bool(torch.isfinite(logits).all()):
                raise ModelError("the model computes NaN or infinity; it cannot be edited")
            values, indices = logits.float().cpu().topk(min(top_k, logits.shape[-1]))
            drawn = torch.multinomial(torch.softmax(values, dim=-1), 1, generator=generator)
            ids.append(int(indices[drawn]))
        # Start and rest together: a SentencePiece-style tokenizer drops the space before a text's first word.
        said = str(loaded.tokenizer.decode(ids, skip_special_tokens=True))
        text = " ".join(said.replace("{", "").replace("}", "").split())
        texts.append(text.rstrip(" .?!,;:") + ". ")
    return tuple(texts)
