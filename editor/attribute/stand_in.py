"""Stand-ins: what a suite's metric is differentiated as.

Blame asks how a metric changes with the weights, so it needs a gradient. Some metrics are smooth themselves; greedy
decoding, ranks and comparisons only jump, and what moves before they do is the log-probability behind them:

| metric | stand-in |
|---|---|
| `target_probability` | itself: the mean probability of the target |
| `neg_log_likelihood` | itself: the mean nats a token of the target |
| `target_rank` | the mean nats a token of the target |
| `exact_match` | the mean log-probability of the target, nats |
| `probability_comparison` | the mean difference of the log-probabilities a token of target and rival, nats |
| `perplexity` | its logarithm: nats a token over all texts |
| `ngram_entropy` | none: it is measured on sampled text, which has no gradient |

Each is a weighted sum, over encoded rows, of a target's joint log-probability or of its exponential; and each is better
where its metric is: both larger, or both smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.editor.model.decoding import by_length
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, locate, pad
from errata.editor.score.evaluate import ask, run_suite, scored
from errata.editor.score.fluency import windows
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite

WORDS = {
    Metric.TARGET_PROBABILITY: "mean probability of the target",
    Metric.NEG_LOG_LIKELIHOOD: "mean negative log-likelihood a token of the target, nats",
    Metric.TARGET_RANK: "mean negative log-likelihood a token of the target, nats (a rank has no gradient)",
    Metric.EXACT_MATCH: "mean log-probability of the target, nats (greedy decoding has no gradient)",
    Metric.PROBABILITY_COMPARISON: "mean difference of log-probability a token, target less rival, nats",
    Metric.PERPLEXITY: "mean nats a token (perplexity is its exponential)",
}
"""What stands in for each metric, in words."""


@dataclass(frozen=True)
class StandIn:
    """A differentiable function of what a model says: ``Σ w·log p(target)``, or ``Σ w·p(target)``, over its rows.

    Attributes:
        words: what it is.
        rows: prompts with their targets.
        weights: a weight a row.
        of_probability: whether probabilities are summed, and not their logarithms.
    """

    words: str
    rows: tuple[Located, ...]
    weights: tuple[float, ...]
    of_probability: bool = False

    @torch.no_grad()
    def value(self, loaded: LoadedModel, batch_size: int = 64) -> float:
        """Its value on the model as it stands (patch a version's weights in first).

        Raises:
            ModelError: if a row does not fit the model's context, or the model computes NaN or infinity.
        """
        found = [0.0] * len(self.rows)
        for chunk in by_length(loaded, [row.ids for row in self.rows], batch_size):
            for i, one in zip(chunk, log_probabilities(loaded, [self.rows[i] for i in chunk]).tolist(), strict=True):
                found[i] = one
        return self.of(found)

    def of(self, found: Sequence[float]) -> float:
        """Its value where the rows' targets have these log-probabilities.

        Raises:
            ModelError: if that is not finite.
        """
        total = float(self.part(torch.tensor(found, dtype=torch.float64), range(len(self.rows))))
        if not math.isfinite(total):
            raise ModelError(f"the {self.words} is not finite on this version")
        return total

    def part(self, found: Tensor, chunk: Sequence[int], scale: float = 1.0) -> Tensor:
        """The share of some rows in the sum, over ``scale``, from their log-probabilities ``(B,)``."""
        weights = torch.tensor([self.weights[i] / scale for i in chunk], dtype=found.dtype, device=found.device)
        return (weights * (found.exp() if self.of_probability else found)).sum()


def stand_in(loaded: LoadedModel, suite: Suite) -> StandIn:
    """What stands in for a suite's metric.

    Raises:
        UsageError: the metric has no gradient and no stand-in, or there is nothing in the suite to score.
        ModelError: a probe cannot be encoded.
    """
    metric = suite.metric
    if metric not in WORDS:
        raise UsageError(
            f"{metric.value} is measured on sampled text, which has no gradient: blame takes "
            f"{', '.join(known.value for known in WORDS)}"
        )
    if metric is Metric.PERPLEXITY:
        rows = tuple(row for _, row in windows(loaded, suite.texts))
        total = sum(len(row.target_ids) for row in rows)
        if not total:
            raise UsageError("the text has no token that could be predicted")
        return StandIn(WORDS[metric], rows, (-1 / total,) * len(rows))
    rows, share = _encoded(loaded, suite.probes), 1 / max(1, len(suite.probes))
    if not rows:
        raise UsageError(f"suite {suite.name!r} has no probes")
    if metric in (Metric.TARGET_PROBABILITY, Metric.EXACT_MATCH):
        of_probability = metric is Metric.TARGET_PROBABILITY
        return StandIn(WORDS[metric], rows, (share,) * len(rows), of_probability)
    per_token = tuple(share / len(row.target_ids) for row in rows)
    if metric in (Metric.NEG_LOG_LIKELIHOOD, Metric.TARGET_RANK):
        return StandIn(WORDS[metric], rows, tuple(-weight for weight in per_token))
    rivals = _encoded(loaded, [Probe(prompt=p.prompt, target=p.against) for p in suite.probes if p.against])
    against = tuple(-share / len(row.target_ids) for row in rivals)
    return StandIn(WORDS[metric], rows + rivals, per_token + against)


def measure(loaded: LoadedModel, suite: Suite, metric: StandIn) -> tuple[float, float]:
    """A suite's score on the model as it stands, and the value of what stands in for its metric, in one pass.

    Args:
        loaded: the model (patch a version's weights in first).
        suite: the suite.
        metric: its stand-in, or another sum over the same rows.

    Raises:
        ModelError: if a probe does not fit the model's context, or the model computes NaN or infinity.
    """
    if suite.metric is Metric.PERPLEXITY:
        score = run_suite(loaded, suite).score
        return score, math.log(score)
    results, rivals = ask(loaded, suite)
    return scored(suite, results, rivals).score, metric.of([r.log_probability for r in (*results, *rivals)])


def log_probability(row: Located) -> StandIn:
    """The log-probability of one prompt's target."""
    return StandIn("log-probability of the target, nats", (row,), (1.0,))


def log_probabilities(loaded: LoadedModel, rows: Sequence[Located]) -> Tensor:
    """The joint log-probability of each row's target, ``(B,)`` float64; differentiable where gradients are on.

    A target's last token is not computed: nothing is predicted from it.
    """
    ids, mask = pad([row.ids[:-1] for row in rows], loaded.device)
    logits = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    found = []
    for j, row in enumerate(rows):
        predicted = torch.log_softmax(logits[j, row.target_start - 1 : len(row.ids) - 1].float(), dim=-1)
        wanted = torch.tensor(row.target_ids, device=predicted.device)
        found.append(predicted.gather(1, wanted[:, None]).double().sum())
    return torch.stack(found)


def _encoded(loaded: LoadedModel, probes: Sequence[Probe]) -> tuple[Located, ...]:
    return tuple(locate(loaded.tokenizer, probe.prompt, target=probe.target) for probe in probes)
