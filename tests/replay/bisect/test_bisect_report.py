"""What is recorded of a bisection, and what its report says of it, verdict by verdict."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from errata.ledger.base.errors import UsageError
from errata.ledger.kinds.bisections import BisectionConcluded, BisectionMode, StepOutcome
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RecordEvent, RevertEdits, TagVersion
from errata.replay import charts
from errata.replay.bisect.conclude import PERSON, Judge, conclusion_body, recorded_already
from errata.replay.bisect.conclusions import (
    advice,
    explained,
    headline,
    judged,
    names,
    provenances,
    searched,
)
from errata.replay.bisect.course import Course, concluded, recorded
from errata.replay.bisect.picture import picture
from errata.replay.bisect.scope import Filters, scoped
from errata.replay.bisect.session import Session
from errata.replay.search.noise import Noise
from errata.replay.search.search import bisect
from errata.replay.search.terms import Conclusion, Judgement, Live, Problem, Purpose, Strategy
from tests.support.memory import edits, ledger_of
from tests.support.samples import NOW, TENSORS, new_id, some_digest

COUNT = 12
Says = Callable[[Live], StepOutcome]
SCORE = Judge("exact_match", "payroll", some_digest("suite"), threshold=0.5, direction="higher_is_better")


def fresh() -> Ledger:
    """e1 to e12, by ada and eve in turn; e13 supersedes e2; e5 is taken back."""
    made = [("ada" if n % 2 else "eve", edits(n)) for n in range(1, COUNT + 1)]
    spring = TagVersion("spring", tuple(range(1, COUNT + 1)), dict.fromkeys(TENSORS, some_digest("w")))
    return ledger_of(*made, ("ada", spring), ("eve", edits(2, seed=9)), ("eve", RevertEdits((5,), "wrong")))


def bad_if(condition: Callable[[Live], bool], skipped: Callable[[Live], bool] = lambda live: False) -> Says:
    def says(live: Live) -> StepOutcome:
        if skipped(live):
            return StepOutcome.SKIP
        return StepOutcome.BAD if condition(live) else StepOutcome.GOOD

    return says


def ended(
    ledger: Ledger,
    says: Says,
    strategy: Strategy | None = None,
    judge: Judge = PERSON,
    good: tuple[int, ...] = (),
    filters: Filters | None = None,
    kept: tuple[int, ...] | None = None,
    order: str = "log",
) -> tuple[Problem, Conclusion, BisectionConcluded]:
    problem = scoped(ledger.state(), good, ledger.state().live, kept, order)
    strategy = strategy or Strategy(minimise=True)
    found = bisect(problem, lambda live: Judgement(says(live), 0.5 if judge is SCORE else None), strategy=strategy)
    session = Session(filters=filters or Filters(), order=order)
    body = conclusion_body(session, problem, found, judge, strategy, seconds=1.5)
    return problem, found, body


@dataclass
class Told:
    """What a report says."""

    course: Course
    ledger: Ledger

    def __post_init__(self) -> None:
        self.body, self.seq = self.course.body, self.course.seq
        self.headline, self.explained = headline(self.course), tuple(explained(self.course))
        self.test, self.searched = judged(self.body), tuple(searched(self.course))
        self.advice = tuple(advice(self.course))
        self.edits = {one.edit: one for one in provenances(self.course, self.ledger.events())}


def told(ledger: Ledger, body: BisectionConcluded) -> Told:
    ledger.execute(RecordEvent(body), actor="ada", now=NOW, new_id=new_id)
    return Told(recorded(ledger.state()), ledger)


def test_a_culprit_with_its_provenance_and_what_to_do() -> None:
    ledger = fresh()
    found = told(ledger, ended(ledger, bad_if(lambda live: 8 in live), judge=SCORE)[2])
    assert found.headline == "The culprit is e8: The price of Subject 8 is => 8 crowns"
    assert found.explained[0].startswith("Confirmed both ways: the bad version without e8 passes")
    assert found.test == "A version is good when the exact_match of payroll is at least 0.5."
    one = found.edits[8]
    assert (one.seq, one.recorded_at, one.actor) == (9, NOW, "eve") and one.live and one.now == "in force at the head"
    assert [command for command, _ in found.advice] == [
        "errata show e8",
        "errata revert e8 --dry-run",
        "errata revert e8",
    ]
    assert found.searched[-1].endswith("tests in 1.5 s") and "11 changes from the good version" in found.searched[0]
    assert found.body.steps == 11 and [step.score for step in found.body.log] == [0.5] * found.body.evaluations


def test_a_culprit_that_was_reverted_since_is_not_to_be_reverted() -> None:
    ledger = fresh()
    body = ended(ledger, bad_if(lambda live: 8 in live))[2]
    ledger.execute(RevertEdits((8,)), actor="eve", now=NOW, new_id=new_id)
    found = told(ledger, body)
    assert found.edits[8].now == f"reverted at @{ledger.state().edits[8].closed_by} by eve" and not found.edits[8].live
    assert [command for command, _ in found.advice] == ["errata show e8"]


def test_an_edit_that_superseded_and_one_that_went_are_told_as_such() -> None:
    ledger = fresh()
    spring = tuple(range(1, COUNT + 1))
    superseded = told(ledger, ended(ledger, bad_if(lambda live: 13 in live), good=spring)[2])
    assert superseded.headline == "The culprit is e13, which superseded e2."
    assert set(superseded.edits) == {2, 13} and superseded.searched[0].startswith(
        "2 changes from the good version spring"
    )
    removed = told(ledger, ended(ledger, bad_if(lambda live: 5 not in live), good=spring)[2])
    assert removed.headline == "The culprit is the removal of e5."
    assert [command for command, _ in removed.advice] == ["errata show e5", "errata cherry-pick . e5"]
    assert removed.explained == (
        "Confirmed both ways: the bad version without the removal of e5 passes, and the good version with the removal "
        "of e5 and nothing else fails.",
    )
    words = map(removed.course.newest, removed.body.log)
    newest = [one for one in words if "e5" in one]
    assert newest and all("removal of e5" in words for words in newest)


def test_an_edit_that_only_the_bad_version_lacks_is_never_advised_to_be_reverted() -> None:
    ledger = fresh()
    problem = scoped(ledger.state(), ledger.state().live, (), None, "log")
    found = bisect(
        problem, lambda live: Judgement(bad_if(lambda live: 8 not in live)(live)), strategy=Strategy(minimise=True)
    )
    body = conclusion_body(Session(), problem, found, PERSON)
    assert body.culprit == 8 and 8 in ledger.state().live
    advice = told(ledger, body).advice
    assert [command for command, _ in advice] == ["errata show e8"] and "in force now" in advice[0][1]


def test_several_edits_with_their_smallest_sets() -> None:
    ledger = fresh()
    found = told(ledger, ended(ledger, bad_if(lambda live: {3, 7, 10} <= live))[2])
    assert found.headline == "No single edit explains it: e3, e7 and e10 cause it together."
    assert found.body.cause == (3, 7, 10) and len(found.body.cure) == 1
    either = told(ledger, ended(ledger, bad_if(lambda live: bool({3, 7} & live)))[2])
    assert either.body.cure == (3, 7) and len(either.body.cause) == 1
    assert either.headline == "No single edit explains it: only without e3 and e7 together does it heal."
    assert either.explained == (
        "The bad version without e3 still fails; the good version with e3 and nothing else fails.",
        "Without e3 and e7 the bad version passes; with any one of them put back it fails.",
    )
    assert either.advice[1][0] == "errata revert e3 e7 --dry-run"
    plain = told(ledger, ended(ledger, bad_if(lambda live: {3, 7} <= live), strategy=Strategy())[2])
    assert plain.headline == "No single edit explains it; the first bad change is e7."
    assert plain.advice[0][0] == "errata bisect run --minimise"


@pytest.mark.parametrize(
    ("says", "options", "headline", "advice"),
    [
        (bad_if(lambda live: True), {}, "The good version fails the test itself", "errata bisect start EARLIER GOOD"),
        (bad_if(lambda live: False), {}, "The bad version passes the test", None),
        (
            bad_if(lambda live: True),
            {"filters": Filters(authors=("eve",)), "kept": (4, 6)},
            "The cause is not among the changes that were searched.",
            "errata bisect start GOOD BAD",
        ),
        (
            bad_if(lambda live: 8 in live, lambda live: 3 < len(live) < 9 and 13 not in live),
            {},
            "Inconclusive: it is one of e6, e7, e8, e9, e10 and e11.",
            "errata bisect start GOOD BAD --order random",
        ),
    ],
)
def test_verdicts_without_a_culprit(says: Says, options: dict[str, Any], headline: str, advice: str | None) -> None:
    ledger = fresh()
    found = told(ledger, ended(ledger, says, **options)[2])
    assert found.headline.startswith(headline)
    assert [command for command, _ in found.advice][:1] == ([] if advice is None else [advice])
    if options:
        assert "only changes with author eve" in found.searched[1]


NOISY = Strategy(Noise(confidence=0.9), minimise=True)


def noisy(planted: int, seed: int, rate: float = 0.1) -> Says:
    rng = random.Random(seed)
    return bad_if(lambda live: (planted in live) != (rng.random() < rate))


def test_what_is_believed_is_recorded_and_told() -> None:
    ledger = fresh()
    problem, found, body = ended(ledger, noisy(8, 1), strategy=NOISY)
    assert body.mode is BisectionMode.NOISY and body.belief is not None and found.belief is not None
    assert [step.probability for step in body.belief.credible] == [
        found.belief.posterior[i] for i in found.belief.credible
    ]
    assert [problem.steps[step.position - 1].edits for step in body.belief.credible] == [
        step.edits for step in body.belief.credible
    ]
    assert sum(step.probability for step in body.belief.credible) >= 0.9
    shown = told(ledger, body)
    assert "(probability" in shown.headline and shown.explained[0].startswith("The test errs: it failed good versions")
    assert len(body.log) == body.evaluations == found.count()


def test_each_confirmation_is_recorded_with_the_suspect_that_it_was_about() -> None:
    ledger = fresh()
    for strategy, says in ((Strategy(), bad_if(lambda live: 8 in live)), (NOISY, noisy(8, 5, 0.2))):
        problem, found, body = ended(ledger, says, strategy=strategy)
        step_of = {step.edits[0]: step for step in problem.steps}
        for test, kept in zip(found.tested, body.log, strict=True):
            if test.purpose is Purpose.WITHOUT_SUSPECT:
                assert kept.newest is not None
                assert problem.digest_of(step_of[kept.newest].backward(problem.bad)) == test.version
            elif test.purpose is Purpose.SUSPECT_ALONE:
                assert kept.newest is not None
                assert problem.digest_of(step_of[kept.newest].forward(problem.good)) == test.version
            elif test.position:
                assert kept.newest == problem.steps[test.position - 1].edits[0]
            else:
                assert kept.newest is None


def test_the_same_conclusion_of_a_session_is_known_and_an_older_one_is_not_it() -> None:
    ledger = fresh()
    began = ledger.state().head.seq
    body = ended(ledger, bad_if(lambda live: 8 in live))[2]
    assert not recorded_already(ledger.state(), began, body)
    told(ledger, body)
    assert recorded_already(ledger.state(), began, body.model_copy(update={"seconds": 99.0}))
    assert not recorded_already(ledger.state(), ledger.state().head.seq, body)
    assert not recorded_already(ledger.state(), began, body.model_copy(update={"evaluations": 1}))


def test_a_report_is_found_by_its_place() -> None:
    ledger = fresh()
    with pytest.raises(UsageError, match="no bisection was recorded"):
        recorded(ledger.state())
    first = told(ledger, ended(ledger, bad_if(lambda live: 8 in live))[2])
    second = told(ledger, ended(ledger, bad_if(lambda live: 9 in live))[2])
    assert first.seq is not None and second.seq == first.seq + 1
    again = recorded(ledger.state(), first.seq)
    assert (again.body, again.seq, again.bracket) == (first.body, first.seq, first.course.bracket)
    with pytest.raises(UsageError, match=f"there are @{first.seq}, @{second.seq}"):
        recorded(ledger.state(), 1)


def test_a_conclusion_of_version_1_can_be_told_too() -> None:
    ledger = fresh()
    body = ended(ledger, bad_if(lambda live: 8 in live), judge=SCORE)[2]
    bare = tuple(step.model_copy(update=dict.fromkeys(("purpose", "position", "newest"))) for step in body.log)
    old = body.model_copy(update={"log": bare, "steps": None, "suite": None, "seconds": None})
    found = told(ledger, old)
    assert found.headline.startswith("The culprit is e8") and found.searched[0].startswith(
        "changes from the good version"
    )
    assert found.test == "A version is good when the exact_match is at least 0.5."
    assert [found.course.newest(test) for test in old.log] == [""] * len(body.log)
    assert charts.svg(picture(found.course)).startswith("<svg")


def marks_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Every record that is drawn as a point."""
    found: list[dict[str, Any]] = []
    for row in spec["vconcat"]:
        for panel in row.get("hconcat", [row]):
            for layer in panel["layer"]:
                if layer["mark"]["type"] == "point":
                    found += layer["data"]["values"]
    return found


@pytest.mark.parametrize(("judge", "strategy"), [(PERSON, Strategy(minimise=True)), (SCORE, None), (PERSON, NOISY)])
def test_every_test_is_in_the_picture(judge: Judge, strategy: Strategy | None) -> None:
    ledger = fresh()
    says = noisy(8, 3) if strategy is NOISY else bad_if(lambda live: {3, 8} <= live)
    found = told(ledger, ended(ledger, says, strategy=strategy, judge=judge)[2])
    spec = picture(found.course)
    points = marks_of(spec)
    if strategy is NOISY:
        assert sum(int(point["label"].removesuffix("x")) for point in points) == found.body.evaluations
    else:
        numbers = [int(number) for point in points for number in point["label"].split(", ")]
        assert sorted(numbers) == list(range(1, found.body.evaluations + 1))
    assert charts.svg(spec) == charts.svg(spec)


def test_scores_along_the_changes_and_beside_them_share_one_axis() -> None:
    spec = picture(concluded(fresh().state(), ended(fresh(), bad_if(lambda live: 8 in live), judge=SCORE)[2]))
    panels = spec["vconcat"][0]["hconcat"]
    scales = [panel["layer"][-1]["encoding"]["y"]["scale"] for panel in panels]
    assert len(panels) == 2 and scales[0] == scales[1] and scales[0]["domain"] == [0.0, 1.0]


def test_a_threshold_a_bracket_and_probabilities_are_drawn() -> None:
    ledger = fresh()
    exact = picture(told(ledger, ended(ledger, bad_if(lambda live: 8 in live), judge=SCORE)[2]).course)
    layers = [layer for panel in exact["vconcat"][0]["hconcat"] for layer in panel["layer"]]
    bands = [layer["data"]["values"] for layer in layers if layer["mark"]["type"] == "rect"]
    limits = [layer["data"]["values"] for layer in layers if layer["mark"]["type"] == "rule"]
    assert bands == [[{"low": 5, "high": 6}]] and limits == [[{"threshold": 0.5}]] * 2, (
        "e2 and e5 are gone, so e8 is the 6th"
    )
    believed = picture(told(ledger, ended(ledger, noisy(8, 2), strategy=NOISY)[2]).course)
    bars = believed["vconcat"][-1]["layer"][0]["data"]["values"]
    assert bars[0]["change"] == "e8" and (bars[0]["from"], bars[0]["to"]) == (5.2, 5.8)


def test_edits_are_named_as_people_do() -> None:
    assert (names([1]), names([1, 2]), names([1, 2, 3])) == ("e1", "e1 and e2", "e1, e2 and e3")


def test_a_problem_that_was_narrowed_is_recorded_with_its_own_good_end() -> None:
    ledger = fresh()
    problem, _, body = ended(
        ledger, bad_if(lambda live: 8 in live), filters=Filters(subjects=("Subject 8",)), kept=(8,), order="reverse"
    )
    assert body.good == problem.digest_of(frozenset(ledger.state().live) - {8})
    assert (body.order, body.filters, body.steps) == ("reverse", {"subjects": ["Subject 8"]}, 1)
    assert replace(problem, steps=()).prefix(0) == problem.good
