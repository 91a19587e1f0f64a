"""Suites: files of probes with a metric.

A suite file is JSONL. The first line is `{"suite": name, "metric": metric}`, each further line
`{"prompt": full text, "target": continuation}`.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from ledger.errors import BadRecord
from ledger.facts import Probe
from ledger.json_files import lines
from ledger.records import Line, Record, describe


class Metric(StrEnum):
    """How a suite is scored: a mean over its probes."""

    EXACT_MATCH = "exact_match"
    """Greedy decoding says the target: 0 or 1."""
    TARGET_PROBABILITY = "target_probability"
    """The probability of the target given the prompt: 0 to 1."""
    NEG_LOG_LIKELIHOOD = "neg_log_likelihood"
    """The negative log likelihood a token of the target, in nats: 0 and up."""


class Suite(Record):
    """A named list of probes and the metric that scores them."""

    name: Line
    metric: Annotated[Metric, Field(strict=False)]
    probes: Annotated[tuple[Probe, ...], Field(min_length=1)]


def higher_is_better(metric: Metric) -> bool:
    """Whether a larger score is a better one."""
    return metric is not Metric.NEG_LOG_LIKELIHOOD


def suite_digest(suite: Suite) -> str:
    """The suite's identity: its name, metric and probes in order."""
    return suite.digest_in("suite")


def read_suite(path: Path) -> Suite:
    """Read a suite file.

    Raises:
        BadRecord: what is wrong, with the file and the line.
    """
    path = Path(path)
    records = lines(path)
    where, head = next(records, (str(path), {}))
    if set(head) != {"suite", "metric"}:
        raise BadRecord(where, 'the first line of a suite is {"suite": name, "metric": metric}')
    if head["metric"] not in list(Metric):
        raise BadRecord(where, f"metric: {head['metric']!r} is none of {', '.join(Metric)}")
    probes = []
    for where, record in records:
        try:
            probes.append(Probe.model_validate(record))
        except ValidationError as error:
            raise BadRecord(where, describe(error)) from error
    if not probes:
        raise BadRecord(str(path), "a suite has at least one probe")
    try:
        return Suite.model_validate({"name": head["suite"], "metric": head["metric"], "probes": tuple(probes)})
    except ValidationError as error:
        raise BadRecord(str(path), describe(error)) from error
