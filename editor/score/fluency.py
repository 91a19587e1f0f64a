"""How a model writes: n-gram entropy of generated text, and perplexity of given text.

n-gram entropy is the fluency of Meng et al. (NeurIPS 2022), after Zhang et al. (2018): the mean of a text's bigram and
trigram entropies in bits with weights 2/3 and 4/3. A model that repeats itself, as damaged models do, has a low one.
Words here are runs of letters and digits, and single other characters; the authors' code uses a tokenizer of English.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from errata.editor.model.decoding import extend, sampling
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, locate, pad
from errata.editor.score.intervals import Estimate, ratio
from errata.ledger.base.errors import ModelError, UsageError

_WORD = re.compile(r"\w+|[^\w\s]")
_WEIGHTS = {2: 2 / 3, 3: 4 / 3}
GENERATED_TOKENS = 100
"""Tokens that are generated for n-gram entropy, as in Meng et al."""
TOP_K = 5
"""Sampling keeps this many tokens, as in Meng et al."""


def ngram_entropy(text: str) -> float:
    """The weighted mean of a text's bigram and trigram entropies, in bits; 0 for a text too short to have any."""
    words = _WORD.findall(text)
    return sum(weight * _entropy(words, n) for n, weight in _WEIGHTS.items()) / len(_WEIGHTS)


def _entropy(words: Sequence[str], n: int) -> float:
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values()) + 0.0


def sample_texts(
    loaded: LoadedModel, prompts: Sequence[str], tokens: int = GENERATED_TOKENS, seed: int = 0, batch_size: int = 64
) -> list[str]:
    """Continue each prompt by top-k sampling; the prompts themselves are not part of the texts.

    A text ends early with a special token and where the model's context is full. Each prompt draws from a generator of
    its own, so its text does not depend on which others are asked for.

    Args:
        loaded: the model as it stands.
        prompts: full texts.
        tokens: most tokens of a text.
        seed: of the sampling, together with the prompt's place.
        batch_size: rows of one forward pass.
    """
    rows = [locate(loaded.tokenizer, prompt).ids for prompt in prompts]
    generators = [torch.Generator().manual_seed(seed + place) for place in range(len(rows))]
    grown = extend(loaded, rows, tokens, sampling(generators, TOP_K), batch_size)
    return [str(loaded.tokenizer.decode(ids, skip_special_tokens=True)) for ids in grown]


@dataclass(frozen=True)
class TextLikelihood:
    """A text's negative log-likelihood in nats, and the number of tokens that were predicted."""

    nats: float
    tokens: int


def windows(loaded: LoadedModel, texts: Sequence[str], window: int | None = None) -> list[tuple[int, Located]]:
    """The windows in which texts are read: a text's place, and the window's tokens with those that it predicts.

    Windows of a text overlap by half; the tokens that one predicts begin at its ``target_start``. Texts without a token
    to predict have none.

    Raises:
        UsageError: for a window that the model cannot take.
    """
    size = min(loaded.max_positions, 1024) if window is None else window
    if not 2 <= size <= loaded.max_positions:
        raise UsageError(f"a window has from 2 to {loaded.max_positions} tokens, not {size}")
    found = []
    for place, text in enumerate(texts):
        ids = locate(loaded.tokenizer, text).ids if text.strip() else ()
        done = 1
        while done < len(ids):
            begin = 0 if done == 1 else done - size // 2
            end = min(begin + size, len(ids))
            found.append((place, Located(ids[begin:end], done - begin)))
            done = end
    return found


@torch.no_grad()
def likelihoods(
    loaded: LoadedModel, texts: Sequence[str], window: int | None = None, batch_size: int = 8
) -> list[TextLikelihood]:
    """The likelihood of each text, read in windows that overlap by half.

    Every token but a text's first is predicted once, from at least half a window of context where the text has that
    much before it. Blank texts have no tokens.

    Args:
        loaded: the model as it stands.
        texts: the texts; each is read by itself.
        window: tokens of a window; the model's context, and at most 1,024, if None.
        batch_size: rows of one forward pass.
    """
    rows = sorted(windows(loaded, texts, window), key=lambda row: len(row[1].ids))
    nats, tokens = [0.0] * len(texts), [0] * len(texts)
    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        ids, mask = pad([row.ids for _, row in chunk], loaded.device)
        logits = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for j, (place, row) in enumerate(chunk):
            predicted = torch.log_softmax(logits[j, row.target_start - 1 : len(row.ids) - 1].float(), dim=-1)
            wanted = torch.tensor(row.target_ids, device=predicted.device)
            nats[place] -= float(predicted.gather(1, wanted[:, None]).double().sum())
            tokens[place] += len(wanted)
    return [TextLikelihood(n, t) for n, t in zip(nats, tokens, strict=True)]


_MOST_NATS = 700.0
"""Nats a token whose exponential float64 still holds."""


def perplexity(found: Sequence[TextLikelihood]) -> Estimate:
    """The exponential of nats a token over all texts, with a bootstrap over texts; ``n`` counts tokens.

    Raises:
        UsageError: if no text has a token to predict.
        ModelError: if the model gives a text no likelihood.
    """
    kept = [item for item in found if item.tokens]
    if not kept:
        raise UsageError("the text has no token that could be predicted")
    if not all(math.isfinite(item.nats) for item in kept):
        raise ModelError("the model computes NaN or infinity on this text")
    if max(item.nats / item.tokens for item in kept) > _MOST_NATS:
        raise ModelError("this text is so unlikely under the model that its perplexity is not a finite number")
    return ratio([item.nats for item in kept], [item.tokens for item in kept], np.exp)
