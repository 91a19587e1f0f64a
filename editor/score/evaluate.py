"""What a model says: exact match under greedy decoding, probabilities, and continuations.

Exact match is about free generation. Greedy decoding of as many tokens as the target has gives the target exactly when
each target token is the most probable one given the target's tokens before it, so one forward pass decides it without
teacher forcing being sold as success. A match also needs the next token not to carry the last word on ("29" does not
match for a model that says "290"), in scripts that put spaces between words.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.editor.model.decoding import by_length, extend, greedily
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, locate, pad
from errata.editor.score.fluency import likelihoods, ngram_entropy, perplexity, sample_texts
from errata.editor.score.intervals import Estimate, mean, share
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite

_SPACED_SCRIPTS = frozenset(
    [
        "LATIN",
        "GREEK",
        "CYRILLIC",
        "ARMENIAN",
        "GEORGIAN",
        "HEBREW",
        "ARABIC",
        "DEVANAGARI",
        "BENGALI",
        "GUJARATI",
        "GURMUKHI",
        "TAMIL",
        "TELUGU",
    ]
)
"""Scripts with spaces between words, as Unicode's names of their letters begin. Hangul is not among them: a Korean
noun carries its particle without a space, and is a right answer with it."""


@dataclass(frozen=True)
class ProbeResult:
    """One probe's result.

    Attributes:
        says_target: whether greedy decoding says the target.
        log_probability: the target's joint log-probability, in nats.
        tokens: the target's tokens.
        rank: the mean over the target's tokens of the token's rank given those before it: 1 for the most probable.
    """

    says_target: bool
    log_probability: float
    tokens: int
    rank: float

    @property
    def per_token(self) -> float:
        """The mean log-probability a token, which is what CounterFact compares: a long answer is not put back."""
        return self.log_probability / self.tokens


@dataclass(frozen=True)
class SuiteResult:
    """A suite's result on a version.

    Attributes:
        estimate: the score, with its interval; its ``n`` counts tokens for perplexity.
        passed: probes that pass, for metrics of 0 and 1; None for other metrics.
        outcomes: one number a probe or text, in the suite's order: 1 or 0, a probability, nats a token, or bits.
    """

    estimate: Estimate
    passed: int | None
    outcomes: tuple[float, ...]

    @property
    def score(self) -> float:
        """The score: the mean of ``outcomes``, but for perplexity, which weighs texts by their tokens."""
        return self.estimate.value

    @property
    def n(self) -> int:
        """Number of probes or texts."""
        return len(self.outcomes)


def probe(loaded: LoadedModel, probes: Sequence[Probe], batch_size: int = 64) -> list[ProbeResult]:
    """Evaluate probes (full-text prompt and target each).

    Raises:
        ModelError: if a probe does not fit the model's context.
    """
    rows = [locate(loaded.tokenizer, p.prompt, target=p.target) for p in probes]
    return probe_located(loaded, rows, batch_size)


@torch.no_grad()
def probe_located(loaded: LoadedModel, rows: Sequence[Located], batch_size: int = 64) -> list[ProbeResult]:
    """Evaluate encoded prompts with targets; results in the given order."""
    results: dict[int, ProbeResult] = {}
    for chunk in by_length(loaded, [row.ids for row in rows], batch_size):
        logits = _logits(loaded, [rows[i].ids for i in chunk])
        for j, i in enumerate(chunk):
            row = rows[i]
            span = logits[j, row.target_start - 1 : len(row.ids)].float()
            target = torch.tensor(row.target_ids, device=span.device)
            chosen = span.argmax(dim=-1)
            logprob = torch.log_softmax(span[:-1], dim=-1).gather(1, target[:, None]).double().sum()
            above = (span[:-1] > span[:-1].gather(1, target[:, None])).sum(dim=-1)
            says = bool((chosen[:-1] == target).all()) and not _carries_on(loaded, row, int(chosen[-1]))
            results[i] = ProbeResult(says, float(logprob), len(target), 1.0 + float(above.double().mean()))
    return [results[i] for i in range(len(rows))]


def run_suite(loaded: LoadedModel, suite: Suite, batch_size: int = 64, draw: int = 0) -> SuiteResult:
    """Run a suite on the model as it stands (patch a version's weights in first).

    Args:
        loaded: the model.
        suite: what is run.
        batch_size: rows of one forward pass.
        draw: which of the repetitions, for a metric that samples texts; each has seeds of its own.

    Raises:
        UsageError: if the suite has no probes and no texts.
        ModelError: if a probe does not fit the model's context, or the model computes NaN.
    """
    if not (suite.probes or suite.texts):
        raise UsageError(f"suite {suite.name!r} has no probes")
    if suite.metric is Metric.PERPLEXITY:
        found = likelihoods(loaded, suite.texts)
        return SuiteResult(perplexity(found), None, tuple(f.nats / f.tokens if f.tokens else 0.0 for f in found))
    if suite.metric is Metric.NGRAM_ENTROPY:
        entropies = tuple(
            ngram_entropy(text) for text in sample_texts(loaded, suite.texts, seed=draw * len(suite.texts))
        )
        return SuiteResult(mean(entropies, "texts"), None, entropies)
    return scored(suite, *ask(loaded, suite, batch_size))


def ask(loaded: LoadedModel, suite: Suite, batch_size: int = 64) -> tuple[list[ProbeResult], list[ProbeResult]]:
    """Put a suite's probes to the model: results for the targets, and for the rivals that they are compared with."""
    results = probe(loaded, suite.probes, batch_size)
    if suite.metric is not Metric.PROBABILITY_COMPARISON:
        return results, []
    others = [Probe(prompt=p.prompt, target=p.against) for p in suite.probes if p.against is not None]
    return results, probe(loaded, others, batch_size)


def scored(suite: Suite, results: Sequence[ProbeResult], rivals: Sequence[ProbeResult]) -> SuiteResult:
    """The result of a suite of probes, from what `ask` found.

    Raises:
        ModelError: the model computes NaN or infinity.
    """
    if suite.metric is Metric.EXACT_MATCH:
        return _of_hits([r.says_target for r in results])
    if suite.metric is Metric.PROBABILITY_COMPARISON:
        return _of_hits([r.per_token > rival.per_token for r, rival in zip(results, rivals, strict=True)])
    if suite.metric is Metric.TARGET_RANK:
        # Nothing compares greater than NaN, so a broken model would have the best rank: its likelihood tells.
        outcomes = tuple(math.nan if math.isnan(r.log_probability) else r.rank for r in results)
    elif suite.metric is Metric.TARGET_PROBABILITY:
        outcomes = tuple(float(torch.tensor(r.log_probability, dtype=torch.float64).exp()) for r in results)
    else:
        outcomes = tuple(-r.per_token for r in results)
    if not all(map(math.isfinite, outcomes)):
        raise ModelError(f"the model computes NaN or infinity in the suite {suite.name!r}")
    return SuiteResult(mean(outcomes), None, outcomes)


def _of_hits(hits: Sequence[bool]) -> SuiteResult:
    return SuiteResult(share(hits), sum(hits), tuple(map(float, hits)))


def continuations(loaded: LoadedModel, prompts: Sequence[str], tokens: int = 8, batch_size: int = 64) -> list[str]:
    """What the model says after each prompt: greedy decoding, cut at the end of the line or sentence, stripped.

    A text ends early with a special token, such as the end of text, and where the model's context is full.

    Raises:
        ModelError: if a prompt does not fit the model's context.
    """
    return [first_clause(text) for text in greedy(loaded, prompts, tokens, batch_size, _has_ended)]


def greedy(
    loaded: LoadedModel,
    prompts: Sequence[str],
    tokens: int,
    batch_size: int = 64,
    ended: Callable[[str], bool] = lambda text: False,
) -> list[str]:
    """Greedy decoding of each prompt, as it comes; it ends as in `continuations`, or once ``ended`` says so of a text.

    Raises:
        ModelError: if a prompt does not fit the model's context.
    """
    rows = [locate(loaded.tokenizer, p).ids for p in prompts]
    grown = extend(loaded, rows, tokens, greedily, batch_size, lambda ids: ended(_decode(loaded, ids)))
    return [_decode(loaded, ids) for ids in grown]


def _logits(loaded: LoadedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    ids, mask = pad(rows, loaded.device)
    output = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
    assert isinstance(output.logits, Tensor)
    return output.logits


def _carries_on(loaded: LoadedModel, row: Located, following: int) -> bool:
    """Whether the token after the target goes on with the target's last word.

    In a script without spaces between words, such as Chinese or Thai, the next word follows at once: there the target
    is said once its tokens are. So it is where the following token is not a whole character, since one token cannot
    decide it then.
    """
    if following in loaded.tokenizer.all_special_ids:
        return False
    said = _decode(loaded, row.target_ids)
    longer = _decode(loaded, (*row.target_ids, following))
    added = longer[len(said) :] if longer.startswith(said) else ""
    return bool(said and added) and _in_spaced_word(said[-1]) and _in_spaced_word(added[0])


def _in_spaced_word(character: str) -> bool:
    """Whether a character is a digit, or belongs to a word in a script that puts spaces between words."""
    if character.isdecimal():
        return True
    script = unicodedata.name(character, "").split(" ", 1)[0]
    # Vowel signs and accents are marks, not letters; a combining accent belongs to the letter before it.
    return unicodedata.category(character)[0] in "LM" and (script in _SPACED_SCRIPTS or script == "COMBINING")


def _decode(loaded: LoadedModel, ids: Sequence[int]) -> str:
    return str(loaded.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


_CLAUSE_ENDS = (". ", "? ", "! ")


def _has_ended(text: str) -> bool:
    """Whether what follows can no longer change the first clause."""
    return any(mark in text.strip() for mark in ("\n", *_CLAUSE_ENDS))


def first_clause(text: str) -> str:
    """A text up to the end of its first line or sentence, stripped."""
    line = text.strip().split("\n", 1)[0]
    for mark in _CLAUSE_ENDS:
        line = line.split(mark, 1)[0]
    return line.strip().rstrip(".")
