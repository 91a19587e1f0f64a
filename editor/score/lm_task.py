"""Any task of lm-eval (the extra `eval`) on a model in memory; tasks come from local folders of YAML files.

Nothing is fetched: lm-eval's own tasks are left out (`include_defaults=False`), since their data lie on a hub.
Intervals are ours, made of the task's samples; a metric that is not a mean over samples is given without one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from errata.editor.model.loading import LoadedModel
from errata.editor.score.intervals import Estimate, mean, share
from errata.ledger.base.canonical import value_digest
from errata.ledger.base.errors import UsageError

MISSING = "lm-eval is not installed; it comes with the extra: pip install 'errata-lm[eval]'"


@dataclass(frozen=True)
class TaskResult:
    """A task's result.

    Attributes:
        scores: by metric, as lm-eval names them without the filter `none`; the task's first metric comes first.
        digest: of the task's name, version, and each sample's document and prompt: what was asked.
        samples: how many documents.
        higher_is_better: by metric, as the task says; a metric of which it says nothing is left out.
    """

    scores: Mapping[str, Estimate]
    digest: str
    samples: int
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)


def require_lm_eval() -> None:
    """Refuse if lm-eval is not there.

    Raises:
        UsageError: saying how to get it.
    """
    if find_spec("lm_eval") is None:
        raise UsageError(MISSING)


def run_task(loaded: LoadedModel, name: str, folders: Sequence[Path], batch_size: int = 16) -> TaskResult:
    """Run one task on the model as it stands.

    Args:
        loaded: the model.
        name: the task's name, as its YAML file gives it.
        folders: where YAML files of tasks lie.
        batch_size: rows of one forward pass.

    Raises:
        UsageError: if lm-eval is missing, or there is no such task.
    """
    require_lm_eval()
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"no folder {folder} with tasks")
    manager = TaskManager(include_path=[str(folder) for folder in folders], include_defaults=False)
    if name not in manager.all_tasks:
        known = ", ".join(sorted(manager.all_tasks)) or "none"
        raise UsageError(f"no task {name!r} in {', '.join(map(str, folders))}; there are: {known}")
    model = HFLM(
        pretrained=loaded.model, tokenizer=loaded.tokenizer, backend="causal", batch_size=batch_size,
        max_length=min(loaded.max_positions, 2048),
    )  # fmt: skip
    found = simple_evaluate(
        model=model, tasks=[name], task_manager=manager, bootstrap_iters=0, log_samples=True, batch_size=batch_size
    )
    if found is None or name not in found["samples"]:
        raise UsageError(f"{name!r} is a group; name one of its tasks")
    samples = found["samples"][name]
    scores, higher = {}, {}
    said = found.get("higher_is_better", {}).get(name, {})
    for key, value in found["results"][name].items():
        metric, _, filtered = key.partition(",")
        if not filtered or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        label = metric if filtered == "none" else f"{metric} ({filtered})"
        if isinstance(said.get(metric), bool):
            higher[label] = said[metric]
        scores[label] = _estimate(float(value), [s for s in samples if s.get("filter", "none") == filtered], metric)
    asked = [[sample["doc_hash"], sample["prompt_hash"]] for sample in samples]
    identity = {"task": name, "version": str(found["versions"].get(name)), "samples": asked}
    return TaskResult(scores, value_digest("task", identity), len({sample["doc_id"] for sample in samples}), higher)


def _estimate(value: float, samples: Sequence[Mapping[str, Any]], metric: str) -> Estimate:
    """The metric with an interval if it is the mean of what its samples scored, else as it is."""
    outcomes = [sample.get(metric) for sample in samples]
    if outcomes and all(isinstance(item, int | float) for item in outcomes):
        numbers = [float(item) for item in outcomes if item is not None]
        if math.isclose(sum(numbers) / len(numbers), value, abs_tol=1e-9):
            hits = all(number in (0.0, 1.0) for number in numbers)
            return share([number == 1.0 for number in numbers]) if hits else mean(numbers, "samples")
    return Estimate(value, len(samples), len(samples), None, None, None)
