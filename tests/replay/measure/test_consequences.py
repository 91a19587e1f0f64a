"""What a revert would change, told beforehand, is what it then changes; and what may be concluded from a comparison."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.editor.score.evaluate import continuations, probe
from errata.editor.score.intervals import paired, sign_test
from errata.ledger.base.errors import Refused, UnknownEdit, UsageError
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.replay.apply.rederive import plan, solve, weights_of
from errata.replay.apply.rederive_report import Worth, judge, report
from errata.replay.measure.comparison import Comparison, Moved, Neighbours, questions
from errata.replay.measure.consequences import consequences
from errata.replay.workflow.workspace import Workspace
from tests.support.editing import FACTS
from tests.support.ledgers import bits
from tests.support.workspaces import make, run

OTHER = Fact(
    subject="Tern Foods",
    prompt="In Riga is {}",
    target="of",
    paraphrases=("We saw {}",),
    locality=(Probe(prompt="The chief executive of Norwind Systems", target="the"),),
)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Workspace:
    """e1 to e3 in one batch, e4 in a second."""
    made = make(tmp_path_factory.mktemp("ledger"), tiny_llama)
    run(made, [*FACTS, OTHER], size=3)
    assert all(record.body.outcome.efficacy for record in made.state.edits.values())
    return made


def suite(metric: Metric, *facts: Fact) -> Suite:
    return Suite(name=metric.value, metric=metric, probes=tuple(Probe(prompt=f.text, target=f.target) for f in facts))


def by_name(found: tuple[Comparison, ...]) -> dict[str, Comparison]:
    return {score.name: score for score in found}


def test_a_preview_is_what_the_model_says_with_and_without_and_records_nothing(space: Workspace) -> None:
    head = space.state.head
    found = consequences(space, [1, 3])
    assert space.state.head == head
    assert found.removed == (1, 3) and found.live_after == 2
    assert found.version_after == space.state.version_of((2, 4))
    texts = [FACTS[0].text, FACTS[2].text]
    for live, told in (((1, 2, 3, 4), "now"), ((2, 4), "without")):
        with space.at(live):
            assert [getattr(fact, told) for fact in found.facts] == continuations(space.loaded, texts)
    recorded = [space.state.edits[number].body.outcome.said_before for number in (1, 3)]
    assert [fact.said_before for fact in found.facts] == recorded
    assert [fact.number for fact in found.facts] == [1, 3]


def test_the_other_edits_scores_are_those_of_their_probes_on_both_versions(space: Workspace) -> None:
    found = consequences(space, [2])
    scores = by_name(found.scores)
    assert (found.asked, found.others) == (3, 3)
    others = [FACTS[0], FACTS[2], OTHER]
    for live, side in ((space.state.live, "before"), ((1, 3, 4), "after")):
        with space.at(live):
            hits = [r.says_target for r in probe(space.loaded, [Probe(prompt=f.text, target=f.target) for f in others])]
        assert getattr(scores["efficacy"], side).value == pytest.approx(sum(hits) / 3)
    assert scores["paraphrase"].before.n == 1
    assert "locality" not in scores, "its only probe asks for an edited fact"


def test_flips_of_a_suite_are_listed_and_other_metrics_have_none(space: Workspace) -> None:
    suites = [suite(metric, *FACTS) for metric in (Metric.EXACT_MATCH, Metric.TARGET_PROBABILITY)]
    found = by_name(consequences(space, [1], suites).scores)
    exact = found["exact_match (exact_match)"]
    assert exact.moved[0] == Moved("1", f"{FACTS[0].text} => the", 1.0, 0.0)
    assert exact.before.value == 1.0 and exact.before.low is not None
    soft = found["target_probability (target_probability)"]
    assert soft.moved == () and soft.after.value < soft.before.value
    assert soft.difference.value == pytest.approx(soft.after.value - soft.before.value)


def test_what_reverting_all_gives_is_the_base(space: Workspace) -> None:
    found = consequences(space, [4, 3, 2, 1])
    assert found.scores == () and found.live_after == 0
    texts = [OTHER.text, *(fact.text for fact in FACTS[::-1])]
    assert [fact.without for fact in found.facts] == continuations(space.loaded, texts)


def test_weights_distances_are_those_of_the_tensors(space: Workspace) -> None:
    found = consequences(space, [2, 4])
    head, rest = (space.materialiser.weights(live) for live in (space.state.live, (1, 3)))
    for name, distance in found.distances.items():
        base = space.materialiser.base[name].double()
        assert distance.norm == pytest.approx(float((head[name].double() - rest[name].double()).norm()), rel=1e-12)
        assert distance.relative == pytest.approx(distance.norm / float(base.norm()), rel=1e-9)


def test_locality_of_given_facts_counts_what_the_base_says_and_leaves_out_edited_prompts(space: Workspace) -> None:
    said = continuations(space.loaded, ["One plus one", "Refunds are"], tokens=1)
    held = [Probe(prompt=p, target=w) for p, w in zip(("One plus one", "Refunds are"), said, strict=True) if w.strip()]
    standing = [item for item, found in zip(held, probe(space.loaded, held), strict=True) if found.says_target]
    asked = (*standing, Probe(prompt="One plus two", target="Lund"), Probe(prompt=FACTS[0].text, target="the"))
    near = Neighbours("near", (Fact(subject="X", prompt="{} is", target="Y", locality=asked),))
    found = by_name(consequences(space, [4], neighbours=[near]).scores)
    assert (found["locality of near"].before.n if "locality of near" in found else 0) == len(standing)


def test_a_sample_is_drawn_by_a_fixed_seed(space: Workspace) -> None:
    state = space.state
    first, second = (questions(state, [1], [2, 3, 4], sample=2) for _ in range(2))
    assert first == second and len(first.others) == 2 and first.of == 3
    assert questions(state, [1], [2, 3, 4], sample=9).others == (2, 3, 4)
    assert consequences(space, [1], sample=1).asked == 1


def test_what_makes_no_sense_is_refused(space: Workspace) -> None:
    for numbers, error in (([1, 1], UsageError), ([99], UnknownEdit)):
        with pytest.raises(error):
            consequences(space, numbers)
    with pytest.raises(UsageError, match="sample"):
        questions(space.state, [1], [2], sample=0)
    with pytest.raises(UsageError, match="two suites"):
        consequences(space, [1], [suite(Metric.EXACT_MATCH, FACTS[0])] * 2)


def test_a_report_compares_head_plain_revert_and_rederived(space: Workspace) -> None:
    found = solve(space, plan(space.state, [1]))
    told = report(space, found, [suite(Metric.EXACT_MATCH, *FACTS[1:])])
    plain, again = by_name(told.plain), by_name(told.rederived)
    assert list(plain) == list(again) and told.asked == 3
    for name, score in plain.items():
        assert score.after == again[name].before, "both are of the plain revert"
    with space.with_weights(weights_of(space, found)):
        asked = [Probe(prompt=f.text, target=f.target) for f in (FACTS[1], FACTS[2], OTHER)]
        hits = [result.says_target for result in probe(space.loaded, asked)]
        assert [fact.without for fact in told.facts] == continuations(space.loaded, [FACTS[0].text])
    assert again["efficacy"].after.value == pytest.approx(sum(hits) / 3)
    assert bits(space.materialiser.weights(space.state.live)) != bits(weights_of(space, found))
    assert told.judgement == judge(told.rederived)


def test_a_reverted_edit_cannot_be_previewed(tmp_path: Path, tiny_llama: Path) -> None:
    other = make(tmp_path, tiny_llama)
    run(other, list(FACTS[:1]))
    other.revert([1])
    with pytest.raises(Refused, match="not live"):
        consequences(other, [1])


def compared(name: str, rises: int, falls: int, n: int = 60, higher_is_better: bool = True) -> Comparison:
    before = [0.0] * rises + [1.0] * (n - rises)
    after = [1.0] * rises + [0.0] * falls + [1.0] * (n - rises - falls)
    differences = [b - a for a, b in zip(before, after, strict=True)]
    found = paired(before, after, "facts", as_share=True)
    return Comparison(name, found, found, found, sign_test(differences), True, higher_is_better, ())


@pytest.mark.parametrize(
    ("scores", "worth"),
    [
        ([compared("a", 0, 0)], Worth.NO_GAIN),
        ([compared("a", 4, 0)], Worth.NO_GAIN),
        ([compared("a", 10, 0), compared("b", 0, 0)], Worth.WORTH_IT),
        ([compared("a", 0, 10)], Worth.HARMFUL),
        ([compared("a", 10, 0), compared("b", 0, 10)], Worth.TRADE),
        ([compared("a", 10, 0, higher_is_better=False)], Worth.HARMFUL),
        ([], Worth.NO_GAIN),
    ],
)
def test_the_rule_says_what_was_worth_it(scores: list[Comparison], worth: Worth) -> None:
    found = judge(scores)
    assert found.worth is worth
    assert all(name in found.sentence for name in (*found.better, *found.worse))


def test_where_nothing_moved_the_interval_still_says_how_much_could_have_been_missed() -> None:
    few, many = (paired([1.0] * n, [1.0] * n, "facts", as_share=True) for n in (10, 1000))
    assert few.value == many.value == 0
    assert few.low is not None and many.low is not None and few.high is not None
    assert few.low < -0.2 < -0.01 < many.low < 0 and few.high == -few.low
    numbers = paired([0.5, 0.25], [0.5, 0.25], "texts")
    assert (numbers.low, numbers.high, numbers.method) == (None, None, None)


def test_a_difference_that_does_not_exist_is_seldom_claimed() -> None:
    generator = random.Random(3)
    claimed = 0
    for _ in range(400):
        before = [float(generator.random() < 0.9) for _ in range(40)]
        after = [value if generator.random() < 0.9 else float(generator.random() < 0.9) for value in before]
        p = sign_test([b - a for a, b in zip(before, after, strict=True)])
        claimed += p <= 0.05
    assert claimed <= 400 * 0.05


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=12))
def test_the_sign_test_is_the_binomial_tail(differences: list[float]) -> None:
    up, down = differences.count(1.0), differences.count(-1.0)
    ways = [bin(i).count("1") for i in range(2 ** (up + down))]
    extreme = sum(min(k, up + down - k) <= min(up, down) for k in ways) / len(ways)
    assert sign_test(differences) == pytest.approx(min(1.0, extreme) if up != down else 1.0)
