"""A life of edits on a real pretrained model: methods side by side, and what is left of everything else.

    python -m bench.real MODEL --facts FILE --out FOLDER [--downstream FOLDER] [--texts FILE]

MODEL is a folder or a GGUF file, FILE has facts (CounterFact's form is read, too), the downstream folder has
`sst2.jsonl`, `mmlu.jsonl` and `rte.jsonl`, and the texts are one document a line. Methods edit the same facts in
batches (`errata compare`), each as it is published but for settings that are the model's own; `errata` is ENCORE as
`errata edit` uses it, with further tries and a look back. The downstream questions are asked of the base and of each
run's head: the most probable answer counts. What is done is kept in the folder, and an interrupted run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from transformers.utils import logging

from bench.kept import BASE, Answers, Kept, chart, read, render, write
from bench.lifelong import BATCH, ROOM, SHORT
from bench.shipped import surroundings
from errata.commands.options import settings_from
from errata.editor.model.loading import LoadedModel
from errata.editor.score.evaluate import probe
from errata.ledger.base.canonical import value_digest
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.fact_files import read_facts
from errata.ledger.ledger import Ledger
from errata.replay.charts import save
from errata.replay.tune.compare import START, Contender, Contest, compare
from errata.replay.tune.runs import Run
from errata.replay.workflow.workspace import Workspace

CORPUS_ONLY = {"neighbour_share": 0.0}
METHODS = (
    Contender("encore", "encore", CORPUS_ONLY),
    Contender("memit", "memit", {**SHORT, **CORPUS_ONLY}),
    Contender("memit+mpes", "memit+mpes", CORPUS_ONLY),
    Contender("memit+norm", "memit+norm", {**SHORT, **CORPUS_ONLY}),
    Contender("alphaedit", "alphaedit", SHORT),
    Contender("alphaedit+mpes", "alphaedit+mpes"),
    Contender("emmet", "emmet", {**SHORT, **CORPUS_ONLY}),
    Contender("emmet+mpes", "emmet+mpes", CORPUS_ONLY),
)
"""Methods as they are: every fact is written once."""
OURS = Contender("errata", "encore")
"""The preset whole, and the care that a person's edits get."""

Question = tuple[str, tuple[str, ...], int]
"""A prompt, the answers that may follow it, and which of them is right."""


def sst2(record: Mapping[str, Any]) -> Question:
    """Is a sentence of a film review positive?"""
    text = str(record["sentence"]).strip()
    return f"Review: {text}\nSentiment:", (" negative", " positive"), int(record["label"])


def mmlu(record: Mapping[str, Any]) -> Question:
    """A question with four answers."""
    choices = "".join(f"{letter}. {text}\n" for letter, text in zip("ABCD", record["choices"], strict=True))
    return f"{record['question']}\n{choices}Answer:", (" A", " B", " C", " D"), int(record["answer"])


def rte(record: Mapping[str, Any]) -> Question:
    """Does a sentence follow from another?"""
    text = f"{record['sentence1']}\nQuestion: {record['sentence2']} True or False?\nAnswer:"
    return text, (" True", " False"), int(record["label"])


TASKS: dict[str, Callable[[Mapping[str, Any]], Question]] = {"sst2": sst2, "mmlu": mmlu, "rte": rte}


def read_tasks(folder: Path, limit: int) -> dict[str, list[Question]]:
    """The first questions of each task."""
    found = {}
    for name, ask in TASKS.items():
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:limit]
        found[name] = [ask(json.loads(line)) for line in lines]
    return found


def answers(loaded: LoadedModel, questions: Sequence[Question]) -> list[bool]:
    """Whether the right answer is the most probable one, question by question; those too long for the model are out."""

    def fits(question: Question) -> bool:
        return all(len(loaded.located(question[0], text).ids) <= loaded.max_positions for text in question[1])

    questions = list(filter(fits, questions))
    asked = [Probe(prompt=prompt, target=text) for prompt, choices, _ in questions for text in choices]
    results = iter(probe(loaded, asked, batch_size=16, decide=False))
    found = []
    for _, choices, right in questions:
        scores = [next(results).per_token for _ in choices]
        found.append(scores.index(max(scores)) == right)
    return found


def downstream(folder: Path, runs: Sequence[Run], tasks: Mapping[str, list[Question]]) -> dict[str, Answers]:
    """For each run what its head answers, and the same for the base; kept beside the runs."""
    found: dict[str, Answers] = {}
    asked = value_digest("downstream", {task: [list(one) for one in own] for task, own in tasks.items()})[-16:]
    for name in (BASE, *(f"{run.contender}-{run.seed}" for run in runs)):
        path = folder / f"downstream.{name}.{asked}"
        if not path.is_file():
            click.echo(f"downstream questions: {name}", err=True)
            space = Workspace(Ledger.open(folder / (START if name == BASE else name)), surroundings())
            with space.at(space.state.live):
                said = {task: answers(space.loaded, questions) for task, questions in tasks.items()}
            path.write_text(json.dumps(said), encoding="utf-8")
        found[name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _common(folder: Path, contest: Contest, questions: int) -> str:
    """Digest of what runs in one table have in common; text that the model wrote itself differs by machine."""
    start = Ledger.open(folder / START).state().genesis
    text = start.corpus.digest if start.corpus is not None and start.corpus.source == "file" else ""
    facts = [fact.plain() for fact in contest.facts]
    settings = {name: value for name, value in start.hyperparameters.items() if name != "matmul_dtype"}
    common = {"base": start.base_digest, "text": text, "settings": settings, "facts": facts, "questions": questions}
    return value_digest("real runs", {**common, "batch_size": contest.batch_size, "texts": list(contest.texts)})


@click.command()
@click.argument("model")
@click.option("--facts", type=click.Path(path_type=Path), required=True, help="Facts to edit, in this order.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Keeps runs, ledgers and the tables.")
@click.option("--count", default=1000, show_default=True, help="How many facts.")
@click.option("--seeds", default=1, show_default=True, help="Orders of the facts.")
@click.option("--methods", help="Names, with commas. Default: all of them.")
@click.option("--corpus", type=click.Path(path_type=Path), help="Text for second moments; default: of the model's own.")
@click.option("--stats", type=click.Path(path_type=Path), help="Second moments from `errata stats export`.")
@click.option("--downstream", "tasks", type=click.Path(path_type=Path), help="Folder of downstream questions.")
@click.option("--questions", default=200, show_default=True, help="How many of each downstream task.")
@click.option("--texts", type=click.Path(path_type=Path), help="Held-out text, one document a line.")
@click.option("--chat/--no-chat", default=False, help="Edit in chat, too.")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A hyperparameter, for all methods.")
@click.option("--kept", type=click.Path(path_type=Path), help="Add the runs to this file (`bench.kept`).")
def main(
    model: str, facts: Path, out: Path, count: int, seeds: int, methods: str | None, corpus: Path | None,
    stats: Path | None, tasks: Path | None, questions: int, texts: Path | None, chat: bool, pairs: tuple[str, ...],
    kept: Path | None,
) -> None:  # fmt: skip
    """Run the methods, or those that are named, and print their tables."""
    logging.disable_progress_bar()
    names = [one.name for one in (*METHODS, OURS)]
    wanted = names if methods is None else methods.split(",")
    if unknown := [name for name in wanted if name not in names]:
        raise click.UsageError(f"no method {unknown[0]!r}; methods are {', '.join(names)}")
    contest = Contest(
        model,
        tuple(read_facts(facts)[:count]),
        tuple(one for one in METHODS if one.name in wanted),
        corpus=corpus,
        moments=stats,
        settings={"chat": str(chat).lower(), **settings_from(pairs)},
        seeds=seeds,
        batch_size=BATCH,
        capacity_bits=ROOM,
        texts=() if texts is None else tuple(filter(None, texts.read_text(encoding="utf-8").splitlines())),
        keep_failed=True,
    )

    def tell(what: str) -> None:
        click.echo(what, err=True)

    runs = compare(contest, out, surroundings(), tell) if contest.contenders else []
    if OURS.name in wanted:
        runs += compare(replace(contest, contenders=(OURS,), keep_failed=False), out, surroundings(), tell)
    asked = downstream(out, runs, read_tasks(tasks, questions)) if tasks is not None else {}
    made = f"{Path(model).stem}: {len(contest.facts):,} facts in batches of {BATCH}"
    came = Kept(made, _common(out, contest, questions)).with_runs(runs, asked)
    if kept is not None:
        before = read(kept) if kept.is_file() else replace(came, runs=(), downstream={})
        if before.common != came.common:
            raise click.UsageError(f"{kept} is of another model, text, settings or facts")
        write(before.with_runs(runs, asked), kept)
    text = render(came)
    (out / "real.txt").write_text(text + "\n", encoding="utf-8")
    save(chart(came), out / "real.svg")
    click.echo(text)


if __name__ == "__main__":
    main()
