"""`errata eval`: a version on a suite, on facts, on a corpus, or on a task of lm-eval."""

from __future__ import annotations

from pathlib import Path

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option, name_of, read_facts, read_suite, skip_bad
from errata.commands.lazy import when_used
from errata.commands.options import INCLUDE_PATH, ONLY, WITHOUT
from errata.commands.words.render import Block
from errata.commands.words.wording import score_table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import short
from errata.ledger.kinds.evaluations import score_words

with when_used():
    from errata.replay.measure import evaluations


@click.command(name="eval")
@click.argument("version", default="HEAD")
@file_option("suite", "--suite", help="A suite: JSONL.")
@file_option("facts", "--facts", help="Facts with probes: JSONL, CounterFact, zsRE, KnowEdit.")
@skip_bad
@click.option("--edits", is_flag=True, help="The facts of the version's own edits, also by when they were made.")
@file_option("corpus", "--corpus", help="Perplexity of text: one document a line.")
@click.option("--task", metavar="NAME", help="A task of lm-eval; needs the extra `eval` and --include-path.")
@INCLUDE_PATH
@click.option("--chat", is_flag=True, help="Facts without questions are asked by their prompts in chat too.")
@click.option("--again", is_flag=True, help="Run it even if the result is recorded already.")
@WITHOUT
@ONLY
@shared
@click.pass_obj
def evaluate(
    app: App,
    version: str,
    suite: Path | None,
    facts: Path | None,
    edits: bool,
    corpus: Path | None,
    task: str | None,
    folders: tuple[Path, ...],
    chat: bool,
    again: bool,
    without: tuple[str, ...],
    only: tuple[str, ...],
) -> None:
    r"""Score a version, with 95 % intervals.

    On VERSION (HEAD if left out); the result is recorded, and one that is recorded already is only shown. One of:

    --suite: JSONL with a first line {"suite": name, "metric": metric}, then {"prompt": text, "target": continuation}.
    With "chat": true in the first line the prompts are what a user says in the model's chat template, and the first
    sentence of the answer has to hold the target. Metrics: exact_match, target_probability, neg_log_likelihood,
    target_rank, probability_comparison (each probe with an "against"); perplexity and ngram_entropy take
    {"text": text} lines.

    --facts or --edits: efficacy, paraphrase, locality and portability of facts, and their questions in chat, each by
    free greedy decoding and by comparison of probabilities, and CounterFact's overall score. --edits also scores early
    and late edits apart.

    --corpus: perplexity. --task: a task of lm-eval from local YAML files; it is always run anew.

    \b
    Examples:
      errata eval HEAD --suite general.jsonl
      errata eval HEAD --edits
      errata eval spring --facts facts.jsonl --without e12
      errata eval base --corpus text.txt
      errata eval HEAD --task my_task --include-path ./tasks
    """
    if sum((suite is not None, facts is not None, edits, corpus is not None, task is not None)) != 1:
        raise UsageError("say what to evaluate on: one of --suite, --facts, --edits, --corpus and --task")
    if chat and facts is None and not edits:
        raise UsageError("--chat goes with --facts or --edits; a suite says it in its first line")
    if (task is None) != (not folders):
        raise UsageError("--task NAME and --include-path FOLDER go together")
    # files are read first: a bad one is told before a model is loaded
    probes = None if suite is None else read_suite(app, suite)
    items, name = (None, "") if facts is None else (read_facts(app, facts), name_of(facts))
    live = app.live(app.ledger(), version, without, only)
    workspace = app.workspace()
    with app.progress("evaluating"):
        result, computed = evaluations.evaluate(
            workspace,
            live,
            suite=probes,
            facts=items,
            name=name,
            corpus=corpus,
            task=task,
            folders=folders,
            again=again,
            chat=chat,
        )
    words = "" if computed else " (recorded earlier)"
    view: list[Block] = [f"{result.suite} on {short(result.version)}: {score_words(result)}{words}"]
    if result.source.value != "suite":
        view.append(score_table(result.scores))
    app.show({**result.plain(), "computed": computed}, view)
