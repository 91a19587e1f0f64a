"""Methods side by side: runs that go on, are kept and are told apart, and what is computed from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from errata.editor.score.scores import DecidedBy, Family
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Fact, Probe
from errata.replay.tune.compare import Contender, Contest, compare
from errata.replay.tune.runs import AGES, Run, base_scores, standings
from tests.support.editing import FACTS, SETTINGS
from tests.support.ledgers import surroundings

EFFICACY = (Family.EFFICACY, DecidedBy.GREEDY)


@pytest.fixture
def plan(tiny_llama: Path, tmp_path: Path) -> Contest:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"Sentence number {i} speaks of office {i % 7} in Riga.\n" for i in range(30)))
    more = Fact(subject="Vintner Hall", prompt="The owner of {}", target="the")
    contenders = (Contender("encore", "encore"), Contender("light", "encore", {"stats_weight": 0.001}))
    return Contest(
        str(tiny_llama), (*FACTS, more), contenders, corpus, settings=SETTINGS, seeds=2, batch_size=2, points=2,
        keep_failed=True,
    )  # fmt: skip


def timeless(run: Run) -> Run:
    return replace(run, seconds=0.0, peak_memory=0)


class Interrupted(Exception):
    """What a test stops a comparison with."""


def test_an_interrupted_comparison_goes_on_and_comes_to_the_same(plan: Contest, tmp_path: Path) -> None:
    def stop(what: str) -> None:
        if what == "encore-1: batch 2 of 2":
            raise Interrupted

    with pytest.raises(Interrupted):
        compare(plan, tmp_path / "one", surroundings(), stop)
    told: list[str] = []
    went_on = compare(plan, tmp_path / "one", surroundings(), told.append)
    at_once = compare(plan, tmp_path / "two", surroundings())
    assert [(run.contender, run.seed) for run in at_once] == [
        ("encore", 0), ("encore", 1), ("light", 0), ("light", 1),
    ]  # fmt: skip
    assert list(map(timeless, went_on)) == list(map(timeless, at_once))
    assert not any(line.startswith(("encore-0", "encore-1: batch 1", "starting")) for line in told)
    assert [point.facts for point in at_once[0].points] == [0, 2, 4]
    assert at_once[0].order == (0, 1, 2, 3) != at_once[1].order == at_once[3].order
    assert at_once[0].outcomes != at_once[0].base  # something was edited


def test_a_run_is_kept_and_more_may_join_but_nothing_else_passes_for_it(plan: Contest, tmp_path: Path) -> None:
    first = compare(replace(plan, seeds=1), tmp_path / "runs", surroundings())
    more = replace(plan, contenders=(*plan.contenders, Contender("memit", "memit+mpes")), seeds=1)
    told: list[str] = []
    joined = compare(more, tmp_path / "runs", surroundings(), told.append)
    assert joined[:2] == first and {line.partition(":")[0] for line in told} == {"memit-0"}
    assert timeless(joined[2]) == timeless(compare(more, tmp_path / "afresh", surroundings())[2])
    with pytest.raises(UsageError, match=r"encore-0.json is of other facts or settings"):
        compare(replace(plan, facts=plan.facts[:3]), tmp_path / "runs", surroundings())
    with pytest.raises(UsageError, match=r"encore-0.json is of other facts or settings"):
        compare(replace(plan, batch_size=3), tmp_path / "runs", surroundings())
    with pytest.raises(UsageError, match="begun with another model, text or settings"):
        compare(replace(plan, settings={**SETTINGS, "max_steps": 3}), tmp_path / "runs", surroundings())


def test_the_head_and_the_base_are_asked_as_an_evaluation_asks_them(plan: Contest, tmp_path: Path) -> None:
    (run,) = compare(replace(plan, contenders=plan.contenders[:1], seeds=1), tmp_path / "runs", surroundings())
    assert run.points[-1].scores["efficacy/greedy"] == sum(o["efficacy/greedy"][0] for o in run.outcomes) / 4
    assert run.points[0].scores["efficacy/greedy"] == base_scores([run]).value(Family.EFFICACY) == 0.0
    assert run.points[0].norm == 1.0 != run.points[-1].norm
    assert run.points[0].activation_drift == 0.0 < run.points[-1].activation_drift
    assert run.edits + run.left_out == 4 and run.steps > 0


def test_a_method_that_breaks_off_says_why_and_is_scored_all_the_same(plan: Contest, tmp_path: Path) -> None:
    prompt = "The {} of old"
    twins = tuple(Fact(subject="Harrow 9", prompt=text, target="is") for text in ("The {}", prompt))
    emmet = (Contender("emmet", "emmet+mpes"),)
    plan = replace(plan, facts=(FACTS[0], FACTS[2], *twins), contenders=emmet, seeds=1)
    (run,) = compare(plan, tmp_path / "runs", surroundings())
    assert run.ended is not None and "linearly dependent" in run.ended
    assert run.edits == 2 and len(run.outcomes) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"contenders": ()}, "needs facts, methods"),
        ({"facts": ()}, "needs facts, methods"),
        ({"contenders": (Contender("a", "encore"), Contender("a", "memit"))}, "two methods are called 'a'"),
        ({"contenders": (Contender("a", "encore"), Contender("b", "no-such"))}, "no method 'no-such'"),
        ({"contenders": (Contender("../a", "encore"),)}, "'../a' is no name"),
        ({"contenders": (Contender("a", "encore"), Contender("b", "encore", {"layers": "0"}))}, "b edits other layers"),
        (
            {"contenders": (Contender("a", "encore"), Contender("b", "encore", {"norm_weight": 0}))},
            "is memit.mpes, not",
        ),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    plan: Contest, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        compare(replace(plan, **changes), tmp_path / "runs", surroundings())
    assert not list((tmp_path / "runs").glob("*.json"))  # found before anything was run


def test_a_folder_with_other_things_in_it_is_left_alone(plan: Contest, tmp_path: Path) -> None:
    own = tmp_path / "runs" / "encore-0" / "thesis.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(UsageError, match="holds other things than a comparison"):
        compare(plan, tmp_path / "runs", surroundings())
    assert own.read_text() == "mine" and [path.name for path in (tmp_path / "runs").iterdir()] == ["encore-0"]


@pytest.mark.parametrize(("facts", "count", "asked"), [(7, 4, [2, 4, 5, 7]), (8, 4, [2, 4, 6, 8]), (3, 8, [1, 2, 3])])
def test_points_lie_evenly_along_the_edits(
    plan: Contest, tmp_path: Path, facts: int, count: int, asked: list[int]
) -> None:
    many = tuple(Fact(subject=f"Vintner {i}", prompt="The owner of {}", target="the") for i in range(facts))
    quick = {**SETTINGS, "max_steps": 1}
    plan = replace(
        plan, facts=many, contenders=plan.contenders[:1], seeds=1, batch_size=1, points=count, settings=quick
    )
    (run,) = compare(plan, tmp_path / "runs", surroundings())
    assert [point.facts for point in run.points] == [0, *asked]


def test_of_several_facts_with_one_subject_and_prompt_the_last_is_edited(plan: Contest, tmp_path: Path) -> None:
    twice = (FACTS[0].model_copy(update={"target": "p"}), *FACTS[:2])
    plan = replace(plan, facts=twice, contenders=plan.contenders[:1], seeds=1)
    (run,) = compare(plan, tmp_path / "runs", surroundings())
    assert len(run.outcomes) == 2


def made_up(contender: str, seed: int, order: tuple[int, ...], says: str, paraphrases: str) -> Run:
    outcomes = tuple(
        {"efficacy/greedy": (one == "1",), "paraphrase/greedy": (two in "13", two in "23")}
        for one, two in zip(says, paraphrases, strict=True)
    )
    return Run("", contender, seed, {}, order, outcomes, outcomes, (), 0, 0, 0.0, 0.0, 0)


def test_seeds_are_pooled_by_fact_and_methods_are_held_against_the_first() -> None:
    straight, back = tuple(range(10)), tuple(reversed(range(10)))
    runs = [
        made_up("a", 0, straight, "1111111100", "3333333333"),
        made_up("a", 1, back, "1111111111", "3333300000"),
        made_up("b", 0, straight, "0011111111", "1111111111"),
        made_up("b", 1, back, "0011111111", "1111111111"),
    ]
    a, b = standings(runs)
    assert (a.name, a.scores.value(Family.EFFICACY)) == ("a", 0.9)
    assert a.scores.scores[EFFICACY].clusters == 10 and a.scores.scores[EFFICACY].n == 20
    assert a.scores.value(Family.PARAPHRASE) == 0.75 and b.scores.value(Family.PARAPHRASE) == 0.5
    assert a.against == {}
    difference, p = b.against[EFFICACY]  # facts 0 and 1 fall by one, 8 and 9 rise by a half
    assert difference.value == pytest.approx(-0.1) and p == 1.0
    assert difference.low is not None and difference.high is not None and difference.low < -0.1 < difference.high
    # In the oldest group lie facts 0 and 1 of one order, 9 and 8 of the other.
    assert [group and round(group.value, 3) for group in a.ages] == [1.0, 1.0, 1.0, 1.0, 0.5] and len(a.ages) == AGES
    assert [group and group.clusters for group in a.ages] == [4, 4, 2, 4, 4]
    assert [group and round(group.value, 3) for group in b.ages] == [0.5, 1.0, 1.0, 1.0, 0.5]


def test_probes_that_the_base_does_not_say_are_not_asked_of_anyone(plan: Contest, tmp_path: Path) -> None:
    never = FACTS[1].model_copy(update={"locality": (Probe(prompt="The capital of Ostravia is", target="Lund"),)})
    plan = replace(plan, facts=(FACTS[0], never), contenders=plan.contenders[:1], seeds=1)
    (run,) = compare(plan, tmp_path / "runs", surroundings())
    assert "locality/greedy" not in run.outcomes[1] and "locality/comparison" in run.outcomes[1]
