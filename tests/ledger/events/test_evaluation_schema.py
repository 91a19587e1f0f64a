"""Old events stay readable, old digests stay what they were, and the new forms of facts and suites are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from errata.ledger.base.canonical import canonical_bytes, parse
from errata.ledger.base.errors import BadRecord
from errata.ledger.events.bodies import EditApplied
from errata.ledger.events.envelope import EMPTY_HEAD, StoredEvent, event_hash
from errata.ledger.facts.fact import Fact, Probe, fact_digest
from errata.ledger.facts.fact_files import fact_from
from errata.ledger.facts.suites import Metric, Suite, read_suite, suite_digest
from errata.ledger.kinds.chain import link, unpack
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.rules.evolve import evolve
from errata.ledger.state.state import State
from tests.support.fact_files import GOOD, MIRAGE, PROBE, ZSRE, write
from tests.support.samples import created, draft, evaluation, new_edit, some_digest


def test_a_fact_without_portability_has_the_bytes_that_it_always_had() -> None:
    fact = Fact(**GOOD, locality=(Probe(prompt="a", target="b"),))
    assert canonical_bytes(fact.plain()) == (
        b'{"id":null,"locality":[{"prompt":"a","target":"b"}],"old":null,"paraphrases":[],"prompt":"{} lives in",'
        b'"relation":null,"subject":"Ada Lovelace","target":"Paris"}'
    )
    suite = Suite(name="s", metric=Metric.EXACT_MATCH, probes=(Probe(prompt="a", target="b"),))
    assert canonical_bytes(suite.plain()) == (
        b'{"metric":"exact_match","name":"s","probes":[{"prompt":"a","target":"b"}]}'
    )


def test_the_new_fields_move_the_digests() -> None:
    plain = Fact(**GOOD)
    probes = [Probe(prompt="a", target="b"), Probe(prompt="a", target="b", against="c")]
    digests = {fact_digest(plain), *(fact_digest(Fact(**GOOD, portability=(p,))) for p in probes)}
    assert len(digests) == 3
    assert Fact.model_validate_json(canonical_bytes(Fact(**GOOD, portability=(probes[1],)).plain())).portability


def as_version(stored: StoredEvent, version: int, drop: tuple[str, ...]) -> StoredEvent:
    """The event as an older Errata stored it."""
    payload = parse(stored.canonical)
    assert isinstance(payload, dict)
    payload["version"] = version
    for name in drop:
        del payload["body"][name]
    data = canonical_bytes(payload)
    return StoredEvent(stored.seq, stored.event_id, stored.kind, version, event_hash(data), None, data)


def test_an_evaluation_of_version_1_is_read_as_a_suites_without_intervals() -> None:
    (created_event, _) = link(draft(created()), EMPTY_HEAD)
    any_state = evolve(State(), created_event)
    body = evaluation(any_state, version=some_digest("version"), live_count=0)
    _, stored = link(draft(body), EMPTY_HEAD)
    assert stored.version == 3
    event = unpack(as_version(stored, 1, ("source", "scores", "device", "peak_memory_bytes")))
    assert isinstance(event.body, EvaluationRecorded)
    assert event.body == body
    assert event.version == 1


def test_an_evaluation_of_version_2_says_no_device_and_no_memory() -> None:
    (created_event, _) = link(draft(created()), EMPTY_HEAD)
    state = evolve(State(), created_event)
    body = evaluation(state, device="cpu", peak_memory_bytes=1)
    _, stored = link(draft(body), EMPTY_HEAD)
    event = unpack(as_version(stored, 2, ("device", "peak_memory_bytes")))
    assert isinstance(event.body, EvaluationRecorded)
    assert event.body == body.model_copy(update={"device": None, "peak_memory_bytes": None})
    assert unpack(stored).body == body


@pytest.mark.parametrize("version", [1, 2])
def test_an_edit_of_an_older_version_is_one_that_was_made_where_it_stands(version: int) -> None:
    new = new_edit()
    body = EditApplied(number=1, **{name: getattr(new, name) for name in type(new).model_fields})
    _, stored = link(draft(body), EMPTY_HEAD)
    assert b"portability" not in stored.canonical
    event = unpack(as_version(stored, version, ("origin",)))
    assert (event.body, event.version) == (body, version)
    assert body.origin is None and stored.version == 5


def test_zsre_with_portability_is_read() -> None:
    asked = {"Recalled Relation": "(a, b, c)", "New Question": "In which state did he study?", "New Answer": "Michigan"}
    fact = fact_from(ZSRE | {"portability": asked})
    assert fact.portability == (Probe(prompt="In which state did he study?", target="Michigan"),)
    assert fact_from(ZSRE).portability == ()


KNOWEDIT = {
    "subject": "Epaspidoceras",
    "prompt": "Which family does Epaspidoceras belong to?",
    "target_new": "Noctuidae",
    "ground_truth": ["Aspidoceratidae"],
    "rephrase_prompt": "What family are Epaspidoceras?",
    "locality": {"Relation_Specificity": [{"prompt": "The taxon rank of Epaspidoceras is", "ground_truth": ["genus"]}]},
    "portability": {
        "Reasoning": [{"prompt": "Epaspidoceras belong to which order?", "ground_truth": [["Lepidoptera", "moths"]]}],
        "Subject_Aliasing": [],
    },
}


def test_knowedit_is_read() -> None:
    fact = fact_from(KNOWEDIT)
    assert (fact.old, fact.prompt) == ("Aspidoceratidae", "Which family does {} belong to?")
    assert fact.locality == (Probe(prompt="The taxon rank of Epaspidoceras is", target="genus"),)
    assert fact.portability == (Probe(prompt="Epaspidoceras belong to which order?", target="Lepidoptera"),)
    assert fact_from(KNOWEDIT | {"rephrase_prompt": None, "rephrase": ["a", "b"]}).paraphrases == ("a", "b")
    assert fact_from(MIRAGE).portability == ()
    with pytest.raises(BadRecord, match="must be a list of objects"):
        fact_from(KNOWEDIT | {"portability": {"Reasoning": ["x"]}})
    with pytest.raises(BadRecord, match="ground_truth"):
        fact_from(KNOWEDIT | {"ground_truth": [3]})


def test_our_portability_and_rivals_are_read() -> None:
    fact = fact_from(GOOD | {"portability": [{"prompt": "p", "target": "t", "against": "u"}]})
    assert fact.portability == (Probe(prompt="p", target="t", against="u"),)


def test_suites_of_texts_and_comparisons_are_read(tmp_path: Path) -> None:
    texts = read_suite(write(tmp_path / "a.jsonl", {"suite": "s", "metric": "perplexity"}, {"text": "one"}))
    assert (texts.texts, texts.probes, texts.size) == (("one",), (), 1)
    rival = PROBE | {"against": "3"}
    pairs = read_suite(write(tmp_path / "b.jsonl", {"suite": "s", "metric": "probability_comparison"}, rival))
    plain = read_suite(write(tmp_path / "c.jsonl", {"suite": "s", "metric": "exact_match"}, rival))
    assert suite_digest(pairs) != suite_digest(plain)


@pytest.mark.parametrize(
    ("metric", "record", "complaint"),
    [
        ("perplexity", PROBE, "line 2"),
        ("exact_match", {"text": "one"}, "line 2"),
        ("probability_comparison", PROBE, "'against'"),
        ("probability_comparison", PROBE | {"against": "2"}, "differs from the target"),
        ("ngram_entropy", {"text": " "}, "must not be empty"),
    ],
)
def test_a_suite_of_the_wrong_form_is_refused(
    tmp_path: Path, metric: str, record: dict[str, str], complaint: str
) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps({"suite": "s", "metric": metric}) + "\n" + json.dumps(record))
    with pytest.raises(BadRecord, match=complaint):
        read_suite(path)
