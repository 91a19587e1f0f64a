"""Suites: files of probes with a metric.

A suite file is JSONL, or one JSON array. The first line is `{"suite": name, "metric": metric}`, with `"chat": true` if
the prompts are what a user says in the model's chat template. For most metrics each
further line is `{"prompt": full text, "target": continuation}`, for `probability_comparison` with an `"against"`; for
`perplexity` and `ngram_entropy` it is `{"text": text}`: the text that is read, or the prompt that is gone on from.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, ValidationError, model_validator

from errata.ledger.base.errors import BadRecord
from errata.ledger.base.json_files import as_text, objects_of, read_bytes
from errata.ledger.base.records import Line, Record, SparseRecord, describe
from errata.ledger.facts.fact import Probe, SomeText
from errata.ledger.facts.fact_files import SUITE_HEAD, is_fact


class Metric(StrEnum):
    """How a suite is scored: a mean over its probes or texts, but for perplexity."""

    EXACT_MATCH = "exact_match"
    """Greedy decoding says the target: 0 or 1."""
    TARGET_PROBABILITY = "target_probability"
    """The probability of the target given the prompt: 0 to 1."""
    NEG_LOG_LIKELIHOOD = "neg_log_likelihood"
    """The negative log likelihood a token of the target, in nats: 0 and up."""
    TARGET_RANK = "target_rank"
    """The rank of the target's tokens among all tokens, each given those before it, as their mean: 1 and up."""
    PROBABILITY_COMPARISON = "probability_comparison"
    """The target is more probable than `against`, by mean log-probability a token: 0 or 1."""
    PERPLEXITY = "perplexity"
    """The exponential of the nats a token over all texts: 1 and up."""
    NGRAM_ENTROPY = "ngram_entropy"
    """Mean bigram and trigram entropy of generated text, in bits (Meng et al. 2022): 0 and up."""


LOWER_IS_BETTER = frozenset({Metric.NEG_LOG_LIKELIHOOD, Metric.TARGET_RANK, Metric.PERPLEXITY})
"""Metrics of which a smaller score is a better one."""
SAMPLED = frozenset({Metric.NGRAM_ENTROPY})
"""Metrics that draw at random: a repetition can give another score of the same version."""
OF_TEXTS = frozenset({Metric.PERPLEXITY, Metric.NGRAM_ENTROPY})
"""Metrics that score texts and not probes."""


class Suite(SparseRecord):
    """A named list of probes, or of texts, and the metric that scores them."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"texts"})

    name: Line
    metric: Annotated[Metric, Field(strict=False)]
    probes: tuple[Probe, ...] = ()
    texts: tuple[SomeText, ...] = ()

    @model_validator(mode="after")
    def _what_its_metric_needs(self) -> Self:
        wanted, other = ("texts", "probes") if self.metric in OF_TEXTS else ("probes", "texts")
        if not getattr(self, wanted):
            raise ValueError(f"a suite has at least one {'text' if wanted == 'texts' else 'probe'}")
        if getattr(self, other):
            raise ValueError(f"the metric {self.metric.value} takes {wanted} and no {other}")
        if self.metric is Metric.PROBABILITY_COMPARISON and any(p.against in (None, p.target) for p in self.probes):
            raise ValueError("probability_comparison needs an 'against' that differs from the target in every probe")
        return self

    @property
    def size(self) -> int:
        """How many probes or texts it has."""
        return len(self.probes) + len(self.texts)


class _TextLine(Record):
    text: SomeText


def higher_is_better(metric: Metric) -> bool:
    """Whether a larger score is a better one."""
    return metric not in LOWER_IS_BETTER


def suite_digest(suite: Suite) -> str:
    """The suite's identity: its name, metric and probes in order."""
    return suite.digest_in("suite")


def read_suite(path: Path) -> Suite:
    """Read a suite file.

    Raises:
        BadRecord: what is wrong, with the file and the line.
    """
    path = Path(path)
    return parse_suite(read_bytes(path), str(path))


def parse_suite(data: bytes, file: str) -> Suite:
    """The suite that these bytes of a suite file are, such as those of a blob that a policy's gate names.

    Raises:
        BadRecord: what is wrong, with the file's name and the line.
    """
    records = objects_of(as_text(data, file), file)
    where, head = next(records, (file, {}))
    if is_fact(head):
        raise BadRecord(where, "a fact, and this takes a suite of probes; `errata eval --facts` scores facts")
    if set(head) not in (SUITE_HEAD, {*SUITE_HEAD, "chat"}) or not isinstance(head.get("chat", False), bool):
        raise BadRecord(where, 'the first line of a suite is {"suite": name, "metric": metric}')
    if head["metric"] not in list(Metric):
        raise BadRecord(where, f"metric: {head['metric']!r} is not one of {', '.join(Metric)}")
    probes, texts = [], []
    for where, record in records:
        try:
            if head["metric"] in OF_TEXTS:
                texts.append(_TextLine.model_validate(record).text)
            else:
                probes.append(Probe.model_validate({"chat": head.get("chat", False), **record}))
        except ValidationError as error:
            raise BadRecord(where, describe(error)) from error
    fields = {"name": head["suite"], "metric": head["metric"], "probes": tuple(probes), "texts": tuple(texts)}
    try:
        return Suite.model_validate(fields)
    except ValidationError as error:
        raise BadRecord(file, describe(error)) from error
