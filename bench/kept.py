"""What lives on a real model came to, kept in a small file: `bench.real` adds runs to it, and this renders them.

    python -m bench.kept bench/results/real-smollm2.json --picture docs/pictures/real-smollm2.svg

A run has what each fact's probes gave, as a row of digits a kind of probe, so that methods run on different days are
compared fact by fact. Runs in one file have model, text, settings for all and facts in common.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter

from errata.commands.measure.comparing import in_points, picture, tables_of
from errata.commands.words.render import Table, plain
from errata.editor.score.intervals import paired
from errata.replay.charts import save
from errata.replay.tune.runs import Outcome, Run, Standing, base_scores, standings

BASE = "base"
Answers = dict[str, list[bool]]
"""Task -> whether each question was answered rightly."""

_RUN = TypeAdapter(Run)


@dataclass(frozen=True)
class Kept:
    """Runs of one experiment.

    Attributes:
        made: what was done, in words.
        common: digest of what all of them have in common.
        runs: by contender and seed, in the order in which they came.
        downstream: `BASE` or ``contender-seed`` -> answers.
    """

    made: str
    common: str
    runs: tuple[Run, ...] = ()
    downstream: Mapping[str, Answers] = field(default_factory=dict)

    def with_runs(self, runs: Sequence[Run], downstream: Mapping[str, Answers]) -> Kept:
        """These runs too; one of the same contender and seed takes the place of an earlier one."""
        own = {(run.contender, run.seed): run for run in (*self.runs, *runs)}
        return replace(self, runs=tuple(own.values()), downstream={**self.downstream, **downstream})


def read(path: Path) -> Kept:
    """A file that `write` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    base = _unpacked(data["base"])
    order = tuple(range(len(base)))
    runs = [
        {**run, "outcomes": _unpacked(run["outcomes"]), "base": base, "order": run["order"] or order}
        for run in data["runs"]
    ]
    downstream = {
        name: {task: [digit == "1" for digit in digits] for task, digits in own.items()}
        for name, own in data["downstream"].items()
    }
    return Kept(data["made"], data["common"], tuple(map(_RUN.validate_python, runs)), downstream)


def write(kept: Kept, path: Path) -> None:
    """Keep runs; the base's outcomes, which all have alike, once, and an order only where it is not the facts' own."""
    runs = []
    for run in kept.runs:
        plain_run = _RUN.dump_python(run, mode="json")
        del plain_run["base"]
        order = None if list(run.order) == list(range(len(run.order))) else plain_run["order"]
        runs.append({**plain_run, "outcomes": _packed(run.outcomes), "order": order})
    downstream = {
        name: {task: "".join("01"[flag] for flag in flags) for task, flags in own.items()}
        for name, own in kept.downstream.items()
    }
    base = _packed(kept.runs[0].base)
    data = {"made": kept.made, "common": kept.common, "base": base, "runs": runs, "downstream": downstream}
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _packed(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """For each kind of probe a word a fact: a digit a probe."""
    keys = dict.fromkeys(key for outcome in outcomes for key in outcome)
    return {
        key: " ".join("".join("01"[flag] for flag in outcome.get(key, ())) or "-" for outcome in outcomes)
        for key in keys
    }


def _unpacked(packed: Mapping[str, str]) -> tuple[Outcome, ...]:
    words = {key: text.split(" ") for key, text in packed.items()}
    count = len(next(iter(words.values())))
    return tuple(
        {key: tuple(digit == "1" for digit in own[i]) for key, own in words.items() if own[i] != "-"}
        for i in range(count)
    )


def tables(kept: Kept) -> list[Table]:
    """Scores, ages, harm and cost, differences from the first method, and downstream tasks."""
    found = standings(kept.runs)
    asked = [_downstream_table(found, kept.downstream)] if kept.downstream else []
    return [*tables_of(base_scores(kept.runs), found), *asked]


def _downstream_table(found: Sequence[Standing], asked: Mapping[str, Answers]) -> Table:
    """Each task's score on the base, and the change in points, question by question, with its interval."""
    base = asked[BASE]
    rows = [(BASE, *(f"{sum(base[task]) / len(base[task]):.1%} of {len(base[task])}" for task in base))]
    rows += [(one.name, *(_change(one, asked, task) for task in base)) for one in found if _asked(one, asked)]
    return Table(("method", *base), tuple(rows), "downstream, points against the base")


def _asked(one: Standing, asked: Mapping[str, Answers]) -> bool:
    return all(f"{one.name}-{run.seed}" in asked for run in one.runs)


def _change(one: Standing, asked: Mapping[str, Answers], task: str) -> str:
    before = [float(flag) for _ in one.runs for flag in asked[BASE][task]]
    after = [float(flag) for run in one.runs for flag in asked[f"{one.name}-{run.seed}"][task]]
    value, between = in_points(paired(before, after, "questions", as_share=True))
    return f"{value} ({between})" if between else value


def render(kept: Kept) -> str:
    """All of it as text."""
    return plain([kept.made, *tables(kept)])


def chart(kept: Kept) -> dict[str, Any]:
    """Each method's scores along the edits."""
    return picture(kept.runs, kept.made)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--picture", "drawn", type=click.Path(path_type=Path), help="Draw the lives here, SVG or PNG.")
def main(file: Path, drawn: Path | None) -> None:
    """Print what is kept as tables."""
    kept = read(file)
    click.echo(render(kept))
    if drawn is not None:
        save(chart(kept), drawn)


if __name__ == "__main__":
    main()
