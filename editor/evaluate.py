"""What a model says: exact match under greedy decoding, probabilities, and continuations.

Exact match is about free generation. Greedy decoding of as many tokens as the target has gives the target exactly when
each target token is the most probable one given the target's tokens before it, so one forward pass decides it without
teacher forcing being sold as success. A match also needs the next token not to carry the last word on ("29" is no match
for a model that says "290").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editor.models import LoadedModel
from editor.text import Located, locate, pad
from ledger.errors import ModelError, UsageError
from ledger.facts import Probe
from ledger.suites import Metric, Suite


@dataclass(frozen=True)
class ProbeResult:
    """One probe's result: whether greedy decoding says the target, and the target's joint log-probability (nats)."""

    says_target: bool
    log_probability: float
    tokens: int


@dataclass(frozen=True)
class SuiteResult:
    """A suite's result on a version.

    Attributes:
        score: the mean of ``outcomes``.
        n: number of probes.
        passed: probes that match, for exact match; None for other metrics.
        outcomes: one number a probe, in the suite's order: 1 or 0, a probability, or nats a token.
    """

    score: float
    n: int
    passed: int | None
    outcomes: tuple[float, ...]


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
    for chunk in _by_length(loaded, rows, batch_size):
        logits = _logits(loaded, [rows[i].ids for i in chunk])
        for j, i in enumerate(chunk):
            row = rows[i]
            span = logits[j, row.target_start - 1 : len(row.ids)].float()
            target = torch.tensor(row.target_ids, device=span.device)
            chosen = span.argmax(dim=-1)
            logprob = torch.log_softmax(span[:-1], dim=-1).gather(1, target[:, None]).double().sum()
            says = bool((chosen[:-1] == target).all()) and not _carries_on(loaded, row, int(chosen[-1]))
            results[i] = ProbeResult(says, float(logprob), len(target))
    return [results[i] for i in range(len(rows))]


def run_suite(loaded: LoadedModel, suite: Suite, batch_size: int = 64) -> SuiteResult:
    """Run a suite on the model as it stands (patch a version's weights in first).

    Raises:
        UsageError: if the suite has no probes.
        ModelError: if a probe does not fit the model's context.
    """
    if not suite.probes:
        raise UsageError(f"suite {suite.name!r} has no probes")
    results = probe(loaded, suite.probes, batch_size)
    if suite.metric is Metric.EXACT_MATCH:
        outcomes = tuple(float(r.says_target) for r in results)
    elif suite.metric is Metric.TARGET_PROBABILITY:
        outcomes = tuple(float(torch.tensor(r.log_probability, dtype=torch.float64).exp()) for r in results)
    else:
        outcomes = tuple(-r.log_probability / r.tokens for r in results)
    passed = int(sum(outcomes)) if suite.metric is Metric.EXACT_MATCH else None
    return SuiteResult(sum(outcomes) / len(outcomes), len(outcomes), passed, outcomes)


@torch.no_grad()
def continuations(loaded: LoadedModel, prompts: Sequence[str], tokens: int = 8, batch_size: int = 64) -> list[str]:
    """What the model says after each prompt: greedy decoding, cut at the end of the line or sentence, stripped."""
    rows = [list(locate(loaded.tokenizer, p).ids) for p in prompts]
    starts = [len(row) for row in rows]
    for _ in range(tokens):
        located = [Located(tuple(row), len(row)) for row in rows]
        for chunk in _by_length(loaded, located, batch_size):
            logits = _logits(loaded, [rows[i] for i in chunk])
            for j, i in enumerate(chunk):
                rows[i].append(int(logits[j, len(rows[i]) - 1].argmax()))
    return [_first_clause(_decode(loaded, row[start:])) for row, start in zip(rows, starts, strict=True)]


def _logits(loaded: LoadedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    ids, mask = pad(rows, loaded.device)
    output = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
    assert isinstance(output.logits, Tensor)
    return output.logits


def _by_length(loaded: LoadedModel, rows: Sequence[Located], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, so that little is padded."""
    for row in rows:
        if len(row.ids) > loaded.max_positions:
            raise ModelError(f"a prompt has {len(row.ids)} tokens; this model takes {loaded.max_positions}")
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _carries_on(loaded: LoadedModel, row: Located, following: int) -> bool:
    """Whether the token after the target goes on with the target's last word."""
    if following in loaded.tokenizer.all_special_ids:
        return False
    said = _decode(loaded, row.target_ids)
    longer = _decode(loaded, (*row.target_ids, following))
    added = longer[len(said) :] if longer.startswith(said) else ""
    return bool(said) and said[-1].isalnum() and added[:1].isalnum()


def _decode(loaded: LoadedModel, ids: Sequence[int]) -> str:
    return str(loaded.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _first_clause(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    for mark in (". ", "? ", "! "):
        line = line.split(mark, 1)[0]
    return line.strip().rstrip(".")
