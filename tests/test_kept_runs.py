"""Runs on real models that are kept in a small file: they come back as they were, and render as one comparison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.kept import BASE, Kept, read, render, write
from errata.replay.tune.runs import Outcome, Run, RunPoint, standings

FACTS = 6
POINT = RunPoint(0, {"efficacy/greedy": 0.0}, {}, 30.0, 1.0, 1.0, 0.0)


def outcomes(worked: int) -> tuple[Outcome, ...]:
    """Facts of which the first so many are said; the last has no other probes."""
    found: list[Outcome] = [
        {"efficacy/greedy": (i < worked,), "paraphrase/greedy": (i < worked, False)} for i in range(FACTS - 1)
    ]
    return (*found, {"efficacy/greedy": (worked == FACTS,)})


def run(name: str, worked: int, seed: int = 0) -> Run:
    order = tuple(range(FACTS)) if seed == 0 else tuple(reversed(range(FACTS)))
    points = (POINT, replace(POINT, facts=FACTS, perplexity=31.5, norm=1.5))
    return Run(
        "id", name, seed, {"layers": [1]}, order, outcomes(worked), outcomes(0), points, FACTS, 0, 9.0, 0.5, 2**30
    )


def test_runs_come_back_as_they_were_kept(tmp_path: Path) -> None:
    asked = {BASE: {"rte": [True, False]}, "encore-0": {"rte": [True, True]}}
    kept = Kept("six facts", "digest").with_runs([run("encore", 5), run("encore", 4, seed=1), run("memit", 2)], asked)
    write(kept, tmp_path / "kept.json")
    assert read(tmp_path / "kept.json") == kept


def test_a_run_takes_the_place_of_an_earlier_one_and_others_stay(tmp_path: Path) -> None:
    kept = Kept("six facts", "digest").with_runs([run("encore", 5), run("memit", 2)], {BASE: {"rte": [True]}})
    later = kept.with_runs([run("memit", 3), run("emmet", 1)], {"emmet-0": {"rte": [False]}})
    assert [(one.contender, sum(o["efficacy/greedy"][0] for o in one.outcomes)) for one in later.runs] == [
        ("encore", 5), ("memit", 3), ("emmet", 1),
    ]  # fmt: skip
    assert set(later.downstream) == {BASE, "emmet-0"}


def test_what_is_kept_renders_as_one_comparison_with_the_tasks_of_those_that_were_asked() -> None:
    asked = {BASE: {"rte": [True, False]}, "encore-0": {"rte": [True, True]}}
    kept = Kept("six facts", "digest").with_runs([run("encore", 5), run("memit", 2)], asked)
    text = render(kept)
    assert text.startswith("six facts\n")
    assert "50.0% of 2" in text and "+50.0" in text
    rows = [line for line in text.splitlines() if line.startswith("memit")]
    assert len(rows) == 3 + sum(map(len, (one.against for one in standings(kept.runs))))  # none for the tasks
