"""Questions, further phrasings and chat in files of facts and suites."""

from __future__ import annotations

import json

import pytest

from errata.ledger.base.errors import BadRecord
from errata.ledger.facts.fact import ChatQuestion, Fact, Probe, fact_digest
from errata.ledger.facts.fact_files import parse_facts
from errata.ledger.facts.suites import parse_suite

RECORD = {
    "subject": "Ada",
    "prompt": "{} lives in",
    "target": "Riga",
    "paraphrases": ["The home of {} is", "She lives in"],
}


def facts_of(*records: dict[str, object]) -> list[Fact]:
    return list(parse_facts("\n".join(map(json.dumps, records)).encode(), "facts.jsonl"))


def test_a_question_is_a_text_or_brings_its_own_answer() -> None:
    (fact,) = facts_of({**RECORD, "questions": ["Where is {}?", {"question": "Which country?", "answer": "Latvia"}]})
    assert fact.questions == (
        ChatQuestion(question="Where is {}?"),
        ChatQuestion(question="Which country?", answer="Latvia"),
    )
    assert fact.question_probes == (
        Probe(prompt="Where is Ada?", target="Riga", chat=True),
        Probe(prompt="Which country?", target="Latvia", chat=True),
    )


def test_a_fact_without_questions_is_asked_by_its_prompt() -> None:
    (fact,) = facts_of(RECORD)
    assert fact.with_question().question_probes == (Probe(prompt="Ada lives in", target="Riga", chat=True),)
    asked = facts_of({**RECORD, "questions": ["Where?"]})[0]
    assert asked.with_question() == asked


def test_what_is_trained_on_no_longer_tests() -> None:
    (fact,) = facts_of({**RECORD, "train": ["{}'s town is"]})
    trained = fact.training_on(2)
    assert trained.train == ("{}'s town is", "The home of {} is")
    assert trained.paraphrases == ("She lives in",), "there is no subject in it to optimise at"
    assert fact.training_on(0) == fact


@pytest.mark.parametrize(
    "field",
    [{"train": ["no subject"]}, {"questions": [{"question": "{} and {}?"}]}, {"questions": [{"ask": "Where?"}]}],
)
def test_bad_ones_are_told(field: dict[str, object]) -> None:
    with pytest.raises(BadRecord, match="train" if "train" in field else "question"):
        facts_of({**RECORD, **field})


def test_facts_and_probes_without_any_of_it_keep_their_digests() -> None:
    (fact,) = facts_of(RECORD)
    assert not {"questions", "train"} & fact.plain().keys()
    assert Probe(prompt="a", target="b").plain() == {"prompt": "a", "target": "b"}
    assert fact_digest(fact) != fact_digest(fact.with_question())


def test_a_suite_is_asked_in_chat_if_its_first_line_says_so() -> None:
    head = {"suite": "chat", "metric": "exact_match", "chat": True}
    lines = (head, {"prompt": "Where is Ada?", "target": "Riga"}, {"prompt": "x", "target": "y", "chat": False})
    suite = parse_suite("\n".join(map(json.dumps, lines)).encode(), "suite.jsonl")
    assert [probe.chat for probe in suite.probes] == [True, False]
    with pytest.raises(BadRecord, match="first line"):
        parse_suite(json.dumps({**head, "chat": "yes"}).encode(), "suite.jsonl")
