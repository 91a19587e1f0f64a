"""Text of a model's own: what it writes at temperature 1, from its beginning of text and after plain first words.

Sampled from the whole vocabulary, such text is drawn from the very distribution that the model has learnt, so it says
what the model's keys are like without a corpus at hand (`docs/editing.md` has what it was measured to be worth). Every
text has a generator of its own, seeded by what it is for, the seed and its place: batches can be written one by one,
and an interrupted text be gone on with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from errata.editor.model.decoding import extend, sampling
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import locate
from errata.ledger.base.canonical import value_digest

FIRST_WORDS = (
    *("The", "In", "A", "When", "I", "How", "This", "If"),
    *("It", "What", "For", "You", "On", "We", "As", "There"),
)
"""What every other text begins with; where a tokenizer has no beginning of text, every one."""


STARTS = ("The", "In", "We", "For", "A")
"""First words of context prompts, used in turn."""

FEWEST_ROWS = 4
"""A few texts take hardly longer than one."""


@dataclass(frozen=True)
class OwnText:
    """What text of a model's own depends on beside the model and its tokenizer.

    Attributes:
        tokens: tokens to sample, at least; the last texts are finished.
        seed: of the sampling.
        purpose: what the text is for; texts for two purposes are drawn independently of each other.
        length: most tokens of a text, which ends earlier with a special token such as the end of text.
        rows: texts that are written side by side, a batch; fewer at the end, where fewer do.
    """

    tokens: int
    seed: int
    purpose: str = "corpus"
    length: int = 128
    rows: int = 32

    def rows_for(self, tokens: int) -> int:
        """How many texts to write next while so many tokens are missing."""
        return min(self.rows, max(FEWEST_ROWS, -(-tokens // self.length)))


@dataclass(frozen=True)
class Sampled:
    """A batch of texts, and the number of tokens that were sampled for it."""

    texts: tuple[str, ...]
    tokens: int


def write_batch(
    loaded: LoadedModel,
    settings: OwnText,
    written: int,
    rows: int,
    advance: Callable[[int], None] = lambda tokens: None,
) -> Sampled:
    """The next texts, side by side; they do not depend on those before them.

    Args:
        loaded: the model.
        settings: what the text depends on.
        written: how many texts there are already.
        rows: how many are to be written.
        advance: called with the number of tokens sampled so far, now and then.

    Raises:
        ModelError: the model computes NaN or infinity.
    """
    tokenizer = loaded.tokenizer
    places = range(written, written + rows)
    starts = [_start(tokenizer, place) for place in places]
    choose = sampling([_generator(settings, place) for place in places])
    count = 0

    def counted(logits: Tensor, growing: Sequence[int]) -> Sequence[int]:
        nonlocal count
        advance(count)
        count += len(growing)
        return choose(logits, growing)

    grown = extend(loaded, starts, settings.length, counted, rows)
    texts = tuple(
        str(tokenizer.decode([*start, *ids], skip_special_tokens=True))
        for start, ids in zip(starts, grown, strict=True)
    )
    return Sampled(texts, sum(map(len, grown)))


def write_few(loaded: LoadedModel, count: int, tokens: int, seed: int, purpose: str, batches: int = 4) -> list[str]:
    """A few texts of about a length: those that end before half of it are passed over while others can be had.

    Args:
        loaded: the model.
        count: how many texts.
        tokens: most tokens of each.
        seed: of the sampling.
        purpose: as of `OwnText`.
        batches: batches of ``count`` texts to choose from, at most.
    """
    settings = OwnText(count * tokens, seed, purpose, length=tokens, rows=count)
    long: list[str] = []
    short: list[str] = []
    for number in range(batches):
        for text in write_batch(loaded, settings, number * count, count).texts:
            length = len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
            (long if 2 * length >= tokens else short).append(text)
        if len(long) >= count:
            break
    return [*long, *(text for text in short if text.strip())][:count]


def context_prompts(
    loaded: LoadedModel, count: int, seed: int, tokens: int = 10, starts: Sequence[str] = STARTS, top_k: int = 5
) -> tuple[str, ...]:
    """Sample context prompts: short texts that rewriting prompts stand behind, each ending where a prompt can begin.

    Source: Meng et al. (ICLR 2023) sample them again in each process and keep them in a global. Here they are drawn
    once and recorded at genesis, since an edit depends on them.

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


def _start(tokenizer: Any, place: int) -> Sequence[int]:
    """The first tokens of the text at a place: the beginning of text alone, or a word as any text begins with it."""
    begin: int | None = tokenizer.bos_token_id
    if begin is not None and place % 2 == 0:
        return (begin,)
    return locate(tokenizer, FIRST_WORDS[(place if begin is None else place // 2) % len(FIRST_WORDS)]).ids


def _generator(settings: OwnText, place: int) -> torch.Generator:
    """A text's own generator."""
    name = value_digest("sampling", {"purpose": settings.purpose, "seed": settings.seed, "place": place})
    return torch.Generator().manual_seed(int(name.rpartition(":")[2][:15], 16))
