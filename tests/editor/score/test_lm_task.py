"""Local lm-eval tasks on a model in memory, without a network. These tests fail, and do not skip, without the extra."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.editor.model.loading import load_model
from errata.editor.score.evaluate import probe
from errata.editor.score.lm_task import run_task
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Probe
from tests.support.lm_tasks import CHOICES

pytestmark = pytest.mark.lm_eval


def test_a_local_task_scores_what_the_model_finds_more_probable(
    tiny_gpt2: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tasks / "cache"))
    loaded = load_model(tiny_gpt2)
    found = run_task(loaded, "choices", [tasks])
    right = 0
    for question, choices, gold in CHOICES:
        results = probe(loaded, [Probe(prompt=question, target=choice.strip()) for choice in choices])
        best = max(range(2), key=lambda i: results[i].log_probability)
        right += best == gold
    estimate = found.scores["acc"]
    assert (estimate.value, estimate.n, estimate.method) == (right / 3, 3, "wilson")
    assert found.samples == 3
    assert run_task(loaded, "choices", [tasks]).digest == found.digest
    assert found.higher_is_better["acc"] is True


def test_an_unknown_task_names_those_there_are(tiny_gpt2: Path, tasks: Path) -> None:
    with pytest.raises(UsageError, match="no task 'other'.*choices"):
        run_task(load_model(tiny_gpt2), "other", [tasks])
