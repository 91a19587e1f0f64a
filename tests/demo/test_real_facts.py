"""The real-world facts: as many as promised, each whole, and no locality probe about what an edit changes."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from errata.demo import REAL
from errata.ledger.facts.fact_files import read_facts

RECORDS: list[dict[str, Any]] = [
    json.loads(line) for line in (REAL / "facts.jsonl").read_text(encoding="utf-8").splitlines()
]
FIELDS = {"id", "relation", "subject", "prompt", "target", "old", "paraphrases", "questions", "locality"}


def each(test: Any) -> Any:
    return pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["id"])(test)


def same(text: str) -> str:
    return text.casefold().removeprefix("the ")


def test_there_are_a_hundred_facts_of_twenty_relations() -> None:
    assert len(RECORDS) == 100
    by_relation = Counter(record["relation"] for record in RECORDS)
    assert len(by_relation) == 20
    assert set(by_relation.values()) == {5}


def test_no_two_facts_share_a_name_or_a_subject_and_no_probe_is_asked_twice() -> None:
    assert len({record["id"] for record in RECORDS}) == len(RECORDS)
    assert len({same(record["subject"]) for record in RECORDS}) == len(RECORDS)
    probes = [probe["prompt"] for record in RECORDS for probe in record["locality"]]
    assert len(set(probes)) == len(probes) == 200


@each
def test_a_record_has_every_field_and_no_other(record: dict[str, Any]) -> None:
    assert set(record) == FIELDS
    assert [len(record[name]) for name in ("paraphrases", "questions", "locality")] == [3, 2, 2]


def test_the_product_reads_them_and_asks_each_question_in_chat() -> None:
    facts = read_facts(REAL / "facts.jsonl")
    assert [fact.id for fact in facts] == [record["id"] for record in RECORDS]
    for fact in facts:
        assert [(probe.target, probe.chat) for probe in fact.question_probes] == [(fact.target, True)] * 2


@each
def test_a_text_names_its_subject_once_and_ends_where_the_answer_begins(record: dict[str, Any]) -> None:
    completed = [record["prompt"], *record["paraphrases"]]
    assert len(set(completed)) == 4
    assert len(set(record["questions"])) == 2
    for text in (*completed, *record["questions"]):
        assert text.count("{}") == 1
    for text in (*completed, *record["questions"], *(probe["prompt"] for probe in record["locality"])):
        assert text == text.strip()
        assert "  " not in text and "\n" not in text
    for text in (*completed, *(probe["prompt"] for probe in record["locality"])):
        assert text[-1] not in ".?!"
    for question in record["questions"]:
        assert question.endswith("?") and len(question) <= 80


@each
def test_a_new_object_is_short_and_is_not_the_old_one(record: dict[str, Any]) -> None:
    assert 1 <= len(record["target"].split()) <= 4
    assert record["target"] == record["target"].strip()
    new, old = same(record["target"]), same(record["old"])
    assert new not in old and old not in new
    for text in (record["prompt"], *record["paraphrases"], *record["questions"]):
        asked = text.replace("{}", record["subject"])
        assert re.search(rf"\b{re.escape(record['target'])}\b", asked, re.IGNORECASE) is None


@each
def test_no_locality_probe_is_about_an_edited_subject(record: dict[str, Any]) -> None:
    for probe in record["locality"]:
        assert set(probe) == {"prompt", "target"}
        for other in RECORDS:
            assert re.search(rf"\b{re.escape(other['subject'])}\b", probe["prompt"], re.IGNORECASE) is None


def test_no_text_holds_a_path_or_an_address() -> None:
    for record in RECORDS:
        assert re.search(r"[/\\]|https?:|@", json.dumps(record, ensure_ascii=False).replace('\\"', "")) is None
