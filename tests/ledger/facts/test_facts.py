"""Facts, fact files and suites: each form is read, and each mistake is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from errata.ledger.base.errors import BadRecord, BadRecords, StorageFailed
from errata.ledger.facts.fact import Fact, Probe, fact_digest
from errata.ledger.facts.fact_files import fact_from, read_facts
from errata.ledger.facts.suites import Metric, higher_is_better, read_suite, suite_digest
from tests.support.fact_files import COUNTERFACT, GOOD, MIRAGE, PROBE, ZSRE, write


def test_a_fact_keeps_what_was_typed_but_for_the_targets_edges() -> None:
    fact = Fact(
        subject="Ada",
        prompt=" {} lives in ",
        target=" Paris\n",
        old=" Rome ",
        paraphrases=("Home of {}:", "Ada's home is"),
    )
    assert (fact.prompt, fact.target, fact.old) == (" {} lives in ", "Paris", "Rome")
    assert fact.text == " Ada lives in "
    assert fact.text[fact.start :].startswith("Ada")
    assert fact.paraphrase_texts == ("Home of Ada:", "Ada's home is")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prompt": "lives in"}, "exactly one {}"),
        ({"prompt": "{} and {} live in"}, "exactly one {}"),
        ({"target": "  "}, "target: must not be empty"),
        ({"target": "x" * 1001}, "target: String should have at most 1000"),
        ({"subject": ""}, "subject: must not be empty"),
        ({"subject": " Ada"}, "spaces around"),
        ({"subject": "{}"}, "marks the subject's place"),
        ({"subject": 3}, "subject: Input should be a valid string"),
        ({"paraphrases": ("{} {}",)}, "a paraphrase has one {}"),
        ({"locality": (Probe(prompt="a", target="b"), 3)}, "locality.1"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"target": "\ud800"}, "target"),
    ],
)
def test_a_wrong_fact_is_refused_in_one_line(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadRecord) as refused:
        Fact.checked(**(GOOD | change))
    assert complaint in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "Ada"},
        {"prompt": "{} is in"},
        {"target": "Rome"},
        {"id": "7"},
        {"old": "Rome"},
        {"paraphrases": ("x",)},
        {"locality": (Probe(prompt="a", target="b"),)},
        {"relation": "P1"},
    ],
)
def test_every_field_of_a_fact_moves_its_digest(change: dict[str, Any]) -> None:
    assert fact_digest(Fact(**GOOD)) != fact_digest(Fact(**(GOOD | change)))


def test_our_form_is_read_whole(tmp_path: Path) -> None:
    record = GOOD | {
        "id": "1",
        "paraphrases": ["Home of {}:"],
        "locality": [{"prompt": "a", "target": "b"}],
        "old": "Rome",
    }
    (fact,) = read_facts(write(tmp_path / "facts.jsonl", record))
    assert fact == Fact(
        **GOOD, id="1", paraphrases=("Home of {}:",), locality=(Probe(prompt="a", target="b"),), old="Rome"
    )


def test_counterfact_is_read() -> None:
    fact = fact_from(COUNTERFACT)
    assert (fact.subject, fact.prompt, fact.target, fact.old) == (
        "Danielle Darrieux",
        "The mother tongue of {} is",
        "English",
        "French",
    )
    assert len(fact.paraphrases) == 2
    assert fact.locality == (Probe(prompt="Michel Rocard is a native speaker of", target="French"),)
    assert (fact.id, fact.relation) == ("7", "P103")


def test_zsre_is_read() -> None:
    fact = fact_from(ZSRE)
    assert fact.prompt == "What university did {} attend?"
    assert (fact.target, fact.old) == ("University of Michigan", "Trinity College")
    assert fact.paraphrase_texts == (ZSRE["rephrase"],)
    assert fact.locality == (Probe(prompt="who played desmond doss father in hacksaw ridge", target="Hugo Weaving"),)
    assert fact_from({k: v for k, v in ZSRE.items() if k != "alt"}).target == "Illinois Institute of Technology"


def test_mirage_is_read() -> None:
    fact = fact_from(MIRAGE)
    assert fact.prompt == "The mother tongue of {} is"
    assert fact.text == MIRAGE["prompt"]
    assert fact.paraphrase_texts == (MIRAGE["rephrase_prompt"],)


def test_the_last_occurrence_of_the_subject_is_its_place() -> None:
    fact = fact_from(MIRAGE | {"prompt": "Paris, that is to say Paris, lies in", "subject": "Paris"})
    assert fact.prompt == "Paris, that is to say {}, lies in"


def test_one_array_and_lines_are_the_same_facts(tmp_path: Path) -> None:
    records = [COUNTERFACT, ZSRE, MIRAGE, GOOD]
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(records, indent=1), encoding="utf-8")
    write(tmp_path / "b.jsonl", *records)
    assert read_facts(tmp_path / "a.json") == read_facts(tmp_path / "b.jsonl")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"subject": "Ada",', "not JSON"),
        ("[1, 2]", "a record is a JSON object"),
        ('{"subject": "Ada", "target": "x"}', "prompt: Field required"),
        ('{"subject": "Ada", "prompt": "{} is", "target": "x", "tarjet": "y"}', "tarjet"),
        ('{"subject": "A", "subject": "B", "prompt": "{} is", "target": "x"}', "'subject' occurs twice"),
        ('{"subject": "A", "prompt": "{} is", "target": "x", "paraphrases": "y"}', "paraphrases: must be a list"),
        ('{"subject": "A", "prompt": "{} is", "target": "x", "locality": ["y"]}', "Probe"),
        ('{"what": 1}', "not a known form"),
        ('{"src": "Where is it?", "subject": "Ada", "alt": "x"}', "'Ada' is not in the prompt"),
        ('{"src": "Where is Ada?", "subject": "Ada"}', "neither alt nor answers"),
        ('{"src": "Where is Ada?", "alt": "x"}', "'subject' is missing"),
        ('{"requested_rewrite": {"prompt": "{} is", "subject": "A", "target_new": {"str": "x"}}}', "'target_true'"),
        ('{"requested_rewrite": 3}', "requested_rewrite: must be an object"),
        ('{"prompt": "Ada is", "subject": "Ada", "target_new": 3}', "target_new: must be a text"),
        ("NaN", "a record is"),
        ('{"subject": "A", "prompt": "{} is", "target": "x", "id": "\\ud800"}', "canonical JSON"),
        ('{"subject": "A", "prompt": "{} is", "target": "x", "relation": "\\ud800"}', "canonical JSON"),
        ('{"subject": "A", "prompt": "{} is", "target": "x", "id": 99999999999999999999}', "canonical JSON"),
        ('{"subject": "A", "prompt": "{} is", "target": "x", "id": 1e400}', "canonical JSON"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(BadRecord) as refused:
        read_facts(path)
    assert refused.value.message.startswith(f"{path}: line 3: ")
    assert complaint in refused.value.message


def test_other_mistakes_of_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps([GOOD, {"prompt": 1}]))
    with pytest.raises(BadRecord, match="record 2: not a known form"):
        read_facts(path)
    path.write_text("[{]")
    with pytest.raises(BadRecord, match="not JSON"):
        read_facts(path)
    path.write_text("\n")
    with pytest.raises(BadRecord, match="holds no facts"):
        read_facts(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadRecord, match="not UTF-8"):
        read_facts(path)
    with pytest.raises(BadRecord, match="no such file"):
        read_facts(tmp_path / "absent")
    with pytest.raises(StorageFailed):
        read_facts(tmp_path)


SUITE_HEAD = {"suite": "general", "metric": "exact_match"}


BAD = ({"subject": "Ada", "prompt": "lives in", "target": "Oslo"}, ["Ada"], {"colour": "red"})


@pytest.mark.parametrize("array", [True, False])
def test_all_bad_records_of_a_file_are_named_and_may_be_left_out(tmp_path: Path, array: bool) -> None:
    path, records = tmp_path / "facts.json", [GOOD, *BAD, GOOD]
    if array:
        path.write_text(json.dumps(records), encoding="utf-8")
    else:
        path.write_text("\n".join([*map(json.dumps, records), "{not JSON"]), encoding="utf-8")
    bad = 3 if array else 4
    with pytest.raises(BadRecords) as refused:
        read_facts(path)
    head, *lines = refused.value.message.split("\n")
    assert head.startswith(f"{path}: {bad} of {2 + bad} records are bad; --skip-bad ")
    word = "record" if array else "line"
    assert [line.split(": ")[1] for line in lines] == [f"{word} {n}" for n in (2, 3, 4, 6)[:bad]]
    records = refused.value.fields["records"]
    assert isinstance(records, list)
    assert [record["where"] for record in records] == [f"{path}: {word} {n}" for n in (2, 3, 4, 6)[:bad]]
    left_out: list[BadRecord] = []
    assert read_facts(path, left_out) == [Fact(**GOOD)] * 2
    assert [record.message for record in left_out] == lines


def test_a_file_with_bad_records_alone_holds_nothing_to_go_on_with(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(BAD), encoding="utf-8")
    with pytest.raises(BadRecord, match="all its 3 records are bad: .*record 1: "):
        read_facts(path, [])


def test_a_suite_is_read(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path / "s.jsonl", SUITE_HEAD, PROBE, PROBE))
    assert (suite.name, suite.metric, len(suite.probes)) == ("general", Metric.EXACT_MATCH, 2)
    again = read_suite(write(tmp_path / "s.jsonl", SUITE_HEAD | {"metric": "neg_log_likelihood"}, PROBE, PROBE))
    assert suite_digest(again) != suite_digest(suite)
    lower = {Metric.NEG_LOG_LIKELIHOOD, Metric.TARGET_RANK, Metric.PERPLEXITY}
    assert {metric for metric in Metric if not higher_is_better(metric)} == lower


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ((), "the first line of a suite"),
        ((PROBE,), "line 1: the first line of a suite"),
        ((SUITE_HEAD | {"metric": "f1"}, PROBE), "'f1' is not one of exact_match"),
        ((SUITE_HEAD | {"metric": 1}, PROBE), "1 is not one of exact_match"),
        ((SUITE_HEAD | {"suite": ""}, PROBE), "name:"),
        ((SUITE_HEAD,), "at least one probe"),
        ((SUITE_HEAD, PROBE, {"prompt": "x"}), "line 3: target: Field required"),
    ],
)
def test_a_wrong_suite_is_refused(tmp_path: Path, records: tuple[object, ...], complaint: str) -> None:
    with pytest.raises(BadRecord, match=complaint.replace("(", r"\(")):
        read_suite(write(tmp_path / "s.jsonl", *records))
