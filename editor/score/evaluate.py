"""What a model says: exact match under greedy decoding, probabilities, and continuations.

Exact match is about free generation: the greedy continuation of the prompt as it is written says the target
(`ledger.facts.joining`). One forward pass over prompt and target decides most probes, without teacher forcing being
sold as success: up to the first token that is not the target's it is the greedy continuation. Where that does not
decide, because the target may be spelt with other tokens or go on to a longer answer, the model goes on by itself.

In chat a question's answer is a sentence of the model's own: there the target has to stand in the first sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.editor.model.decoding import by_length, extend, greedily
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, pad
from errata.editor.score.fluency import likelihoods, ngram_entropy, perplexity, sample_texts
from errata.editor.score.intervals import Estimate, mean, share
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.joining import answers, says
from errata.ledger.facts.suites import Metric, Suite

CHAT_TOKENS = 32
"""Most tokens of an answer in chat; its first sentence is what counts."""
_DECIDING_TOKENS = 12
"""How far beyond a target's own tokens a continuation goes at most, to decide whether it is said."""


@dataclass(frozen=True)
class ProbeResult:
    """One probe's result.

    Attributes:
        says_target: whether greedy decoding says the target; in chat, whether its first sentence holds it.
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


@torch.no_grad()
def probe(
    loaded: LoadedModel, probes: Sequence[Probe], batch_size: int = 64, *, decide: bool | Sequence[bool] = True
) -> list[ProbeResult]:
    """Evaluate probes (full-text prompt and target each); results in the given order.

    What several probes begin with alike is run once: answers of one token to a question cost what one of them does.

    Args:
        loaded: the model.
        probes: what is asked.
        batch_size: rows of one forward pass.
        decide: whether it is wanted what the model says, for all probes or for each; without, only the likelihoods of
            the targets are, and ``says_target`` is False.

    Raises:
        ModelError: if a probe does not fit the model's context, or is one of chat and the model has no chat template.
    """
    rows = [loaded.located(p.prompt, p.target, chat=p.chat) for p in probes]
    deciding = [decide] * len(rows) if isinstance(decide, bool) else decide
    carried = _carried([row.ids if flag else row.ids[:-1] for row, flag in zip(rows, deciding, strict=True)])
    results: dict[int, ProbeResult] = {}
    open_: list[int] = []
    for chunk in by_length(loaded, [ids for ids, _ in carried], batch_size):
        first = min(rows[i].target_start for j in chunk for i in carried[j][1]) - 1
        logits = _logits(loaded, [carried[j][0] for j in chunk], first)
        for own, i in ((own, i) for own, j in zip(logits, chunk, strict=True) for i in carried[j][1]):
            row = rows[i]
            span = own[row.target_start - 1 - first : len(row.ids) - first].float()
            scored = span[: len(row.target_ids)]
            target = torch.tensor(row.target_ids, device=span.device)
            logprob = torch.log_softmax(scored, dim=-1).gather(1, target[:, None]).double().sum()
            above = (scored > scored.gather(1, target[:, None])).sum(dim=-1)
            said = None
            if deciding[i] and not probes[i].chat:
                said = _said(loaded, row, span.argmax(dim=-1).tolist(), probes[i].target)
            if said is None and deciding[i]:
                open_.append(i)
            results[i] = ProbeResult(bool(said), float(logprob), len(target), 1.0 + float(above.double().mean()))
    for i, said in _decide(loaded, probes, rows, open_, batch_size):
        results[i] = replace(results[i], says_target=said)
    return [results[i] for i in range(len(rows))]


def _carried(rows: Sequence[tuple[int, ...]]) -> list[tuple[tuple[int, ...], list[int]]]:
    """The rows that have to be run, and the places of those that each begins with: one pass gives their logits, too."""
    found: list[tuple[tuple[int, ...], list[int]]] = []
    for i in sorted(range(len(rows)), key=rows.__getitem__, reverse=True):
        if found and found[-1][0][: len(rows[i])] == rows[i]:
            found[-1][1].append(i)
        else:
            found.append((rows[i], [i]))
    return found


def _said(loaded: LoadedModel, row: Located, chosen: Sequence[int], target: str) -> bool | None:
    """Whether the model says the target, as far as one pass tells.

    Args:
        loaded: the model.
        row: prompt and target.
        target: the target's text.
        chosen: the most probable token in the place of each of the target's tokens, and of the one after them.
    """
    same = next((k for k, (a, b) in enumerate(zip(chosen, row.target_ids, strict=False)) if a != b), len(chosen) - 1)
    ended = chosen[same] in loaded.tokenizer.all_special_ids
    return says(_decode(loaded, chosen[: same + 1]), target, ended)


def _decide(
    loaded: LoadedModel, probes: Sequence[Probe], rows: Sequence[Located], places: Sequence[int], batch_size: int
) -> Iterator[tuple[int, bool]]:
    """Let the model go on from some probes' prompts until each is decided: place, and whether the target is said."""
    prompts = [rows[i].ids[: rows[i].target_start] for i in places]
    for chunk in by_length(loaded, prompts, batch_size):
        asked = [probes[places[j]] for j in chunk]

        def decided(k: int, ids: Sequence[int], asked: Sequence[Probe] = asked) -> bool:
            text, target = _decode(loaded, ids), asked[k].target
            if not asked[k].chat:
                return says(text, target, False) is not None
            behind = target not in text[-len(target) - 2 :]  # what makes a word longer would stand there by now
            return _has_ended(text) or (behind and answers(first_sentence(text), target))

        longest = max(len(rows[places[j]].target_ids) for j in chunk)
        tokens = max(longest + _DECIDING_TOKENS, CHAT_TOKENS if any(one.chat for one in asked) else 0)
        grown = extend(loaded, [prompts[j] for j in chunk], tokens, greedily, batch_size, decided)
        for j, one, ids in zip(chunk, asked, grown, strict=True):
            text = _decode(loaded, ids)
            said = answers(first_sentence(text), one.target) if one.chat else bool(says(text, one.target, True))
            yield places[j], said


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
    others = (
        [p.model_copy(update={"target": p.against}) for p in suite.probes if p.against is not None]
        if suite.metric is Metric.PROBABILITY_COMPARISON
        else []
    )
    count = len(suite.probes)
    deciding = [True] * count + [False] * len(others)
    results = probe(loaded, [*suite.probes, *others], batch_size, decide=deciding)
    return results[:count], results[count:]


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

    Args:
        loaded: the model.
        prompts: full texts.
        tokens: most tokens; enough to see a target whole and what follows it (`tokens_to_see`).
        batch_size: rows of one forward pass.

    Raises:
        ModelError: if a prompt does not fit the model's context.
    """
    return [first_clause(text) for text in greedy(loaded, prompts, tokens, batch_size, _has_ended)]


@torch.no_grad()
def greedy(
    loaded: LoadedModel,
    prompts: Sequence[str],
    tokens: int,
    batch_size: int = 64,
    ended: Callable[[str], bool] = lambda text: False,
    *,
    chat: bool = False,
) -> list[str]:
    """Greedy decoding of each prompt, as it comes; it ends as in `continuations`, or once ``ended`` says so of a text.

    With ``chat`` the prompts are what a user says, and the texts the model's answers.

    Raises:
        ModelError: if a prompt does not fit the model's context, or the model has no chat template.
    """
    rows = [loaded.located(p, chat=chat).ids for p in prompts]
    grown = extend(loaded, rows, tokens, greedily, batch_size, lambda _, ids: ended(_decode(loaded, ids)))
    return [_decode(loaded, ids) for ids in grown]


def _logits(loaded: LoadedModel, rows: Sequence[Sequence[int]], first: int) -> Tensor:
    """Logits of each row from place ``first`` on, ``(B, T - first, V)``."""
    ids, mask = pad(rows, loaded.device)
    count = ids.shape[1] - first
    output = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False, **loaded.last_logits(count))
    assert isinstance(output.logits, Tensor)
    return output.logits[:, -count:]


def _decode(loaded: LoadedModel, ids: Sequence[int]) -> str:
    return str(loaded.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


_CLAUSE_ENDS = (". ", "? ", "! ")


def _has_ended(text: str) -> bool:
    """Whether what follows can no longer change the first clause."""
    return any(mark in text.strip() for mark in ("\n", *_CLAUSE_ENDS))


_SENTENCE_END = re.compile(r"\n|(?<!\b[A-Z])(?<!\b[A-Z][a-z])(?<!\.[A-Z])[.?!](?=\s|$)|[。？！]")
"""A line's end, or a mark that ends a sentence and is no abbreviation's such as those of "St. Albans" and "D.C."."""


def first_sentence(text: str) -> str:
    """A text up to the end of its first line or sentence, stripped."""
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0].strip()


def tokens_to_see(loaded: LoadedModel, targets: Sequence[str]) -> int:
    """How long a continuation has to be at least to show targets whole, and what follows them, in tokens."""
    longest = max((len(loaded.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in targets), default=0)
    return max(8, longest + 4)


def first_clause(text: str) -> str:
    """A text up to the end of its first line or sentence, stripped."""
    line = text.strip().split("\n", 1)[0]
    for mark in _CLAUSE_ENDS:
        line = line.split(mark, 1)[0]
    return line.strip().rstrip(".")
