"""What was found out of a version: evaluations on a suite, facts, a corpus or a task, and where it keeps its facts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from errata.ledger.base.errors import Refused
from errata.ledger.base.records import Digest, Line, Record, WholeNumber
from errata.ledger.base.words import counted, short
from errata.ledger.events.parts import Body, Count, EditNumber, NonNegative, Probability
from errata.ledger.kinds.spec import RECORD, KindSpec
from errata.ledger.state.fold import Fold

SHARES = frozenset({"greedy", "comparison", "exact_match", "probability_comparison"})
"""Decisions whose scores are shares."""


class EvaluationSource(StrEnum):
    """What was evaluated on."""

    SUITE = "suite"
    FACTS = "facts"
    CORPUS = "corpus"
    TASK = "task"


class Score(Record):
    """One score of an evaluation.

    Attributes:
        name: what is scored, such as `efficacy`.
        decision: how a probe is decided, such as `greedy` or `comparison`; the metric's name where it says so.
        value: the score.
        n: the observations behind it: probes, texts or tokens.
        clusters: what was taken as independent: facts or texts.
        low, high, method: the 95 % interval, and how it was made; none where nothing can be said.
    """

    name: Line
    decision: Line
    value: float
    n: EditNumber
    clusters: EditNumber
    low: float | None = None
    high: float | None = None
    method: Line | None = None


class EvaluationRecorded(Body):
    """A result on a version; `batch` names the batch that it followed, if any.

    Attributes:
        source: whether a suite, a set of facts, a corpus or a task was evaluated.
        suite, suite_digest: its name and what identifies it with its settings.
        metric: the name of the metric of `score`, which is the headline.
        n: probes, texts or facts.
        passed: those that pass, where each passes or not.
        scores: all scores with their intervals; none in events of schema version 1.
        seconds, device, peak_memory_bytes: its cost; device and memory are None in events before schema version 3.
    """

    version: Digest
    live_count: Count
    source: Annotated[EvaluationSource, Field(strict=False)]
    suite: Line
    suite_digest: Digest
    metric: Line
    score: float
    n: EditNumber
    passed: Count | None = None
    scores: tuple[Score, ...] = ()
    details_blob: Digest | None = None
    seconds: NonNegative
    software: dict[str, str]
    batch: Line | None = None
    device: Line | None = None
    peak_memory_bytes: Count | None = None


def _check(fold: Fold, body: EvaluationRecorded) -> None:
    if body.passed is not None and body.passed > body.n:
        raise Refused(f"{body.passed} of {body.n} probes passed")
    if body.live_count > len(fold.edits):
        raise Refused(f"an evaluation of {body.live_count} edits, and there are {len(fold.edits)}")


def score_words(body: EvaluationRecorded) -> str:
    """An evaluation's headline, with its interval if one was recorded."""
    head = next((s for s in body.scores if s.name == body.metric and s.value == body.score), None)
    between = "" if head is None or head.low is None else f", {interval_words(head, body.passed is not None)}"
    if body.passed is not None:
        return f"{body.passed} of {body.n} ({body.score:.1%}{between})"
    return f"{body.metric} {body.score:.6g} over {body.n}{between}"


def interval_words(score: Score, as_share: bool) -> str:
    """A score's 95 % interval."""
    if score.low is None or score.high is None:
        return "no interval"
    return f"95% {score.low:.1%} to {score.high:.1%}" if as_share else f"95% {score.low:.6g} to {score.high:.6g}"


def _words(body: EvaluationRecorded) -> str:
    return f"{body.suite} on {short(body.version)}: {score_words(body)}"


class TracingRecorded(Body):
    """Where a version keeps the facts of a sample, by causal tracing (Meng et al., NeurIPS 2022).

    Attributes:
        facts_digest: of the facts that were traced, in order; `facts` is how many, of `asked` that were looked at.
        noise: standard deviation of what was added to the subject's embeddings; drawn `draws` times from `seed`.
        window: layers that were restored together for the MLP and attention.
        clean, corrupted: mean probability of the answers without noise and with it.
        effects: part -> token role -> mean indirect effect of each layer; a role that no fact has is left out.
        low, high: 95 % confidence interval of the hidden state's effect at the subject's last token, for each layer.
        suggested: layers that an edit should be spread over, by `rule`.
    """

    version: Digest
    live_count: Count
    facts_digest: Digest
    facts: EditNumber
    asked: EditNumber
    noise: NonNegative
    draws: EditNumber
    seed: WholeNumber
    window: EditNumber
    clean: Probability
    corrupted: Probability
    effects: dict[str, dict[str, tuple[float, ...]]]
    low: tuple[float, ...]
    high: tuple[float, ...]
    suggested: tuple[Count, ...]
    rule: Line
    seconds: NonNegative
    software: dict[str, str]


def _check_tracing(fold: Fold, body: TracingRecorded) -> None:
    if body.live_count > len(fold.edits):
        raise Refused(f"a tracing of {body.live_count} edits, and there are {len(fold.edits)}")
    if body.facts > body.asked:
        raise Refused(f"{body.facts} facts were traced of {body.asked}")
    layers = len(body.low)
    if len(body.high) != layers or any(len(row) != layers for part in body.effects.values() for row in part.values()):
        raise Refused("a tracing has one effect a layer in every row")
    if any(layer >= layers for layer in body.suggested):
        raise Refused(f"a tracing of {layers} layers suggests layers {list(body.suggested)}")


def tracing_words(body: TracingRecorded) -> str:
    """What a tracing found."""
    return f"{counted(body.facts, 'fact')} traced, layers {', '.join(map(str, body.suggested)) or 'none'} suggested"


def _tracing_words(body: TracingRecorded) -> str:
    return f"{tracing_words(body)} in {short(body.version)}"


KINDS = (
    KindSpec(
        "evaluation_recorded",
        EvaluationRecorded,
        _words,
        _check,
        RECORD,
        version=3,
        upcasters={
            1: lambda body: {**body, "source": "suite", "scores": []},
            2: lambda body: {**body, "device": None, "peak_memory_bytes": None},
        },
    ),
    KindSpec("tracing_recorded", TracingRecorded, _tracing_words, _check_tracing, RECORD),
)
