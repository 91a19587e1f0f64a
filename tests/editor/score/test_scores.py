"""Scores of facts by both decisions: what they count, and that greedy decisions are those of real generation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from errata.demo import DATA, MODEL
from errata.editor.model.loading import LoadedModel, load_model
from errata.editor.score.evaluate import ProbeResult, probe, run_suite
from errata.editor.score.scores import DecidedBy, Family, score_facts, summarise
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.fact_files import read_facts
from errata.ledger.facts.suites import Metric, Suite


@pytest.fixture(scope="module")
def shipped() -> LoadedModel:
    return load_model(MODEL)


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path) -> LoadedModel:
    return load_model(tiny_llama)


def _generated(loaded: LoadedModel, prompt: str, tokens: int) -> list[int]:
    """Step by step, each token fed back: no target is known here."""
    ids = list(loaded.tokenizer(prompt)["input_ids"])
    start = len(ids)
    with torch.no_grad():
        for _ in range(tokens):
            ids.append(int(loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


@pytest.mark.shipped
def test_one_forward_pass_decides_what_step_by_step_generation_says(shipped: LoadedModel) -> None:
    facts = read_facts(DATA / "edits.jsonl")[:5]
    items = [Probe(prompt=fact.text, target=target) for fact in facts for target in (fact.old or "", fact.target)]
    for item, result in zip(items, probe(shipped, items), strict=True):
        start = len(shipped.tokenizer(item.prompt)["input_ids"])
        wanted = shipped.tokenizer(f"{item.prompt} {item.target}")["input_ids"][start:]
        said = _generated(shipped, item.prompt, len(wanted) + 1)
        carries_on = str(shipped.tokenizer.decode(said)).strip()[len(item.target) :][:1].isalnum()
        assert result.says_target == (said[:-1] == wanted and not carries_on), item
    results = probe(shipped, items)
    assert {result.says_target for result in results} == {True, False}


def test_comparison_is_by_log_probability_a_token(loaded: LoadedModel) -> None:
    fact = Fact(
        subject="Norwind Systems",
        prompt="The chief executive of {} is",
        target="Alma Reyes",
        old="Boris",
        paraphrases=("Who leads {}?",),
        locality=(Probe(prompt="The capital of Ostravia is", target="Lund"),),
        portability=(Probe(prompt="She works for", target="Norwind", against="Calder Mills"),),
    )
    (outcome,) = score_facts(loaded, [fact]).outcomes

    def more(prompt: str, target: str, rival: str) -> bool:
        a, b = probe(loaded, [Probe(prompt=prompt, target=t) for t in (target, rival)])
        return a.log_probability / a.tokens > b.log_probability / b.tokens

    expected = {
        Family.EFFICACY: more(fact.text, "Alma Reyes", "Boris"),
        Family.PARAPHRASE: more(fact.paraphrase_texts[0], "Alma Reyes", "Boris"),
        Family.LOCALITY: more("The capital of Ostravia is", "Lund", "Alma Reyes"),
        Family.PORTABILITY: more("She works for", "Norwind", "Calder Mills"),
    }
    assert {family: outcome[family, DecidedBy.COMPARISON] for family in expected} == {
        family: (value,) for family, value in expected.items()
    }


def test_a_mean_a_token_is_not_a_sum() -> None:
    long, short = ProbeResult(False, -4.0, 4, 9.0), ProbeResult(False, -2.0, 1, 9.0)
    assert long.log_probability < short.log_probability
    assert long.per_token > short.per_token


def test_what_cannot_be_decided_is_not_counted(loaded: LoadedModel) -> None:
    plain = Fact(subject="Ada", prompt="{} lives in", target="Riga")
    near = plain.model_copy(
        update={
            "subject": "Boris",
            "locality": (Probe(prompt="Ada lives in", target="Oslo"), Probe(prompt="Tern Foods is in", target="Riga")),
        }
    )
    found = score_facts(loaded, [plain, near])
    assert (Family.EFFICACY, DecidedBy.COMPARISON) not in found.scores  # nobody knows the old object
    assert (Family.PARAPHRASE, DecidedBy.GREEDY) not in found.scores
    locality = found.scores[Family.LOCALITY, DecidedBy.GREEDY]
    assert locality.n == 1  # the other one asks for an edited fact
    assert (Family.LOCALITY, DecidedBy.COMPARISON) not in found.scores  # its answer is the new object itself
    assert found.overall == {}
    assert score_facts(loaded, [near], [()]).value(Family.LOCALITY) is None


def test_the_overall_score_is_the_harmonic_mean_and_a_cohort_is_scored_alone() -> None:
    def outcome(efficacy: bool, paraphrase: tuple[bool, ...]) -> dict[tuple[Family, DecidedBy], tuple[bool, ...]]:
        return {
            (Family.EFFICACY, DecidedBy.GREEDY): (efficacy,),
            (Family.PARAPHRASE, DecidedBy.GREEDY): paraphrase,
            (Family.LOCALITY, DecidedBy.GREEDY): (True,),
        }

    found = summarise([outcome(True, (True, False)), outcome(False, (True, True))])
    assert found.overall[DecidedBy.GREEDY].value == pytest.approx(3 / (1 / 0.5 + 1 / 0.75 + 1))
    assert DecidedBy.COMPARISON not in found.overall
    assert found.of([0]).value(Family.EFFICACY) == 1.0
    assert found.of([1]).value(Family.PARAPHRASE) == 1.0


def test_a_suite_of_comparisons_passes_where_the_target_is_more_probable(loaded: LoadedModel) -> None:
    one = Probe(prompt="The capital of Ostravia is", target="Lund", against="Riga")
    other = Probe(prompt=one.prompt, target="Riga", against="Lund")
    result = run_suite(loaded, Suite(name="s", metric=Metric.PROBABILITY_COMPARISON, probes=(one, other)))
    assert sorted(result.outcomes) == [0.0, 1.0]
    assert (result.passed, result.score, result.estimate.method) == (1, 0.5, "wilson")
