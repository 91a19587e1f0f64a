"""Evaluate a version on facts, a corpus or a task, and record the result with its intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from errata.editor.score.fluency import likelihoods, perplexity
from errata.editor.score.lm_task import run_task
from errata.editor.score.scores import DecidedBy, FactScores, Family, score_facts, standing_probes
from errata.ledger.base.canonical import file_digest, value_digest
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Fact
from errata.ledger.facts.suites import Suite
from errata.ledger.kinds.evaluations import EvaluationRecorded, EvaluationSource, Score
from errata.ledger.secrets.sealing import refuse_personal
from errata.replay.workflow.moments import documents, require_corpus
from errata.replay.workflow.workspace import EvaluationResult, Workspace, score_row

OVERALL = "overall"
"""The name of CounterFact's overall score: the harmonic mean of efficacy, paraphrase and locality."""
MOST_COHORTS = 5
DECISIONS = (
    "the text of greedy decoding, in chat its first sentence; comparison by mean log-probability a token; locality "
    "standing on the base"
)
"""How facts are decided; part of what identifies an evaluation of facts."""


def score_version(workspace: Workspace, live: Iterable[int], facts: Sequence[Fact]) -> FactScores:
    """Score facts on a version, recording nothing; locality counts the probes that the base model says."""
    with workspace.at(()):
        standing = standing_probes(workspace.loaded, facts)
    with workspace.at(live):
        return score_facts(workspace.loaded, facts, standing)


def evaluate(
    workspace: Workspace,
    live: Iterable[int],
    *,
    suite: Suite | None = None,
    facts: Sequence[Fact] | None = None,
    name: str = "facts",
    corpus: Path | None = None,
    task: str | None = None,
    folders: Sequence[Path] = (),
    again: bool = False,
    chat: bool = False,
) -> tuple[EvaluationRecorded, bool]:
    """Evaluate a version on the one thing that is given; on the facts of its own edits, by cohort too, if none is.

    Args:
        workspace: the ledger and its model.
        live: the version.
        suite: a suite.
        facts: facts with probes, which together are called ``name``.
        name: likewise.
        corpus: text whose perplexity is wanted, one document a line.
        task: a task of lm-eval from YAML files in ``folders``; always run.
        folders: likewise.
        again: run it even if it is recorded.
        chat: ask facts without questions by their prompts in chat.

    Returns:
        The result, and whether it was computed now.

    Raises:
        UsageError: there is nothing to evaluate on, or a fact is personal and in the clear.
        ModelError: it is asked in chat and the model has no chat template.
    """
    if suite is not None:
        return workspace.evaluate(live, suite, again)
    if chat:
        workspace.loaded.require_chat()
    if facts is not None:
        asked = [fact.with_question() for fact in facts] if chat else facts
        return evaluate_facts(workspace, live, asked, name, again=again)
    if corpus is not None:
        return evaluate_corpus(workspace, live, corpus, again)
    if task is not None:
        return evaluate_task(workspace, live, task, folders)
    own, cohorts = edits_by_cohort(workspace, live)
    own = [fact.with_question() for fact in own] if chat else own
    return evaluate_facts(workspace, live, own, "edits", cohorts, again)


def evaluate_facts(
    workspace: Workspace,
    live: Iterable[int],
    facts: Sequence[Fact],
    name: str,
    cohorts: Mapping[str, Sequence[int]] | None = None,
    again: bool = False,
) -> tuple[EvaluationRecorded, bool]:
    """Per-edit scores of facts on a version, by both decisions.

    Args:
        workspace: the ledger and its model.
        live: the version.
        facts: at least one; sealed ones are opened, and identified as they are recorded.
        name: what the set of facts is called.
        cohorts: groups of the facts, by place, that are also scored alone: retention.
        again: run it even if it is recorded.

    Returns:
        The result, and whether it was computed now. Its headline is efficacy under greedy decoding.

    Raises:
        UsageError: no facts, or one that is personal and in the clear: a digest of it would be recorded.
        FactSealed: a sealed fact cannot be read.
    """
    if not facts:
        raise UsageError("there are no facts to evaluate")
    refuse_personal(facts, "evaluated from a file")
    clear = [workspace.ledger.opener.fact(fact) for fact in facts]
    groups = {key: list(places) for key, places in (cohorts or {}).items()}
    system = workspace.config().chat_system if any(fact.questions for fact in clear) else ""
    identity = value_digest(
        "facts",
        {
            "facts": [fact.plain() for fact in facts],
            "cohorts": groups,
            "decisions": DECISIONS,
            **({"system": system} if system else {}),
        },
    )

    def run() -> EvaluationResult:
        found = score_version(workspace, live, clear)
        rows = [*score_rows(found)]
        for key, places in groups.items():
            rows += score_rows(found.of(places), f" {key}")
        hits = [outcome[Family.EFFICACY, DecidedBy.GREEDY][0] for outcome in found.outcomes]
        details = [
            {f"{family.value}/{decision.value}": list(values) for (family, decision), values in outcome.items()}
            for outcome in found.outcomes
        ]
        return EvaluationResult(
            Family.EFFICACY.value, sum(hits) / len(hits), len(facts), sum(hits), tuple(rows), details
        )

    return workspace.recorded(live, EvaluationSource.FACTS, name, identity, run, again)


def edits_by_cohort(workspace: Workspace, live: Iterable[int]) -> tuple[list[Fact], dict[str, list[int]]]:
    """The facts of a version's edits as recorded, in the order of the log, and up to five cohorts of equal size.

    Raises:
        UsageError: if the version has no edits.
        Erased: one of them was erased.
    """
    state = workspace.state
    numbers = sorted(live)
    if not numbers:
        raise UsageError("this version has no edits whose facts could be evaluated")
    state.refuse_erased(numbers)
    count = min(MOST_COHORTS, len(numbers))
    cohorts = {}
    for i in range(count if count > 1 else 0):
        places = list(range(i * len(numbers) // count, (i + 1) * len(numbers) // count))
        cohorts[f"e{numbers[places[0]]}-e{numbers[places[-1]]}"] = places
    return [state.edits[number].body.probed_fact for number in numbers], cohorts


def evaluate_corpus(
    workspace: Workspace, live: Iterable[int], path: Path, again: bool = False
) -> tuple[EvaluationRecorded, bool]:
    """Perplexity of a corpus file, one document a line; ``n`` of its score counts tokens.

    Raises:
        UsageError: if the file is not a corpus.
    """
    require_corpus(path)
    identity = value_digest("corpus evaluation", {"corpus": file_digest("corpus", path), "metric": "perplexity"})

    def run() -> EvaluationResult:
        texts = [text for line in documents(path) if (text := line.strip())]
        with workspace.at(live):
            found = likelihoods(workspace.loaded, texts)
        estimate = perplexity(found)
        details = [[item.nats, item.tokens] for item in found]
        rows = (score_row("perplexity", "nats a token", estimate),)
        return EvaluationResult("perplexity", estimate.value, len(texts), None, rows, details)

    return workspace.recorded(live, EvaluationSource.CORPUS, path.name, identity, run, again)


def evaluate_task(
    workspace: Workspace, live: Iterable[int], task: str, folders: Sequence[Path]
) -> tuple[EvaluationRecorded, bool]:
    """A local lm-eval task; always run, since only running it tells what it asks.

    Raises:
        UsageError: if lm-eval is missing, or there is no such task.
    """
    started = workspace.surroundings.meter.seconds()
    with workspace.at(live):
        found = run_task(workspace.loaded, task, folders)
    if not found.scores:
        raise UsageError(f"the task {task!r} gives no numeric metric")
    rows = tuple(score_row(metric, "lm-eval", estimate) for metric, estimate in found.scores.items())
    finding = EvaluationResult(rows[0].name, rows[0].value, found.samples, None, rows, None)
    return workspace.record(live, EvaluationSource.TASK, task, found.digest, finding, started), True


def score_rows(found: FactScores, suffix: str = "") -> list[Score]:
    """Fact scores as they are recorded: by kind and decision, the overall score last."""
    rows = [
        score_row(family.value + suffix, decision.value, estimate)
        for (family, decision), estimate in found.scores.items()
    ]
    return rows + [score_row(OVERALL + suffix, decision.value, e) for decision, e in found.overall.items()]
