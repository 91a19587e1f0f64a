"""The demo world: consistent, varied, a function of its seed, and what the committed files say it is."""

import dataclasses
import json
import random
from collections import Counter

import pytest
import torch

from errata.demo import DATA, MODEL
from errata.demo.corpus import Document, one_pass
from errata.demo.packing import collate, encode, pack
from errata.demo.relations import RELATIONS
from errata.demo.skills import skills
from errata.demo.suites import edit_rows, files
from errata.demo.world import SEED, DemoWorld, make_world


@pytest.fixture(scope="module")
def world() -> DemoWorld:
    return make_world()


def test_a_world_is_a_function_of_its_seed(world):
    assert make_world(SEED) == world
    assert make_world(SEED + 1).facts != world.facts


def test_there_are_enough_facts_relations_and_phrasings(world):
    assert len(world.facts) >= 2000
    assert len(RELATIONS) >= 12
    assert len({relation.name for relation in RELATIONS}) == len(RELATIONS)
    for relation in RELATIONS:
        assert len(set(relation.phrasings)) == len(relation.phrasings) >= 5


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_every_phrasing_names_the_subject_once_and_leaves_the_object_to_come(relation):
    for phrasing in relation.phrasings:
        assert phrasing.count("{}") == 1
        assert phrasing == phrasing.strip()
        assert not phrasing.endswith("{}")


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: relation.name)
def test_objects_come_from_a_closed_set_and_are_spread_evenly(relation, world):
    assert 8 <= len(set(relation.objects)) == len(relation.objects) <= 60
    counts = Counter(fact.object for fact in world.by_relation()[relation.name])
    assert set(counts) == set(relation.objects)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_names_are_distinct_and_no_name_holds_another(world):
    subjects = list(world.kinds)
    assert len(set(subjects)) == len(subjects)
    assert all(len(subject.split()) >= 2 for subject in subjects)
    padded = " " + " | ".join(subjects) + " "
    assert all(padded.count(f" {subject} ") == 1 for subject in subjects)


def test_subjects_have_one_or_two_facts_and_one_object_a_relation(world):
    assert {len(facts) for facts in world.by_subject().values()} == {1, 2}
    assert len({(fact.subject, fact.relation.name) for fact in world.facts}) == len(world.facts)
    assert len({fact.id for fact in world.facts}) == len(world.facts)


def test_a_pass_says_every_fact_once_and_marks_names_and_answers(world):
    documents = one_pass(world, SEED, 3)
    told = Counter()
    for document in documents:
        for start, end in document.mentions:
            assert document.text[start:end] in world.kinds
        for start, end in document.answers:
            assert document.text[start - 1] == " "
            assert document.text[end] == "."
        told.update(sentence_key for sentence_key in _said(document, world))
    assert told == Counter((fact.subject, fact.object) for fact in world.facts)


def _said(document: Document, world: DemoWorld) -> list[tuple[str, str]]:
    names = [document.text[start:end] for start, end in document.mentions]
    objects = [document.text[start:end] for start, end in document.answers]
    facts = {(fact.subject, fact.object) for fact in world.facts}
    return [pair for pair in zip(names, objects, strict=False) if pair in facts]


def test_skills_have_one_answer_a_prompt():
    pairs = [pair for group in skills().values() for pair in group]
    assert len({prompt for prompt, _ in pairs}) == len(pairs)
    assert dict(pairs)["7 plus 5 equals"] == "12"
    assert dict(pairs)["The letter after C is"] == "D"


def test_edits_ask_for_another_object_and_probe_only_what_no_edit_touches(world):
    rows = edit_rows(world, SEED)
    truth = {fact.id: fact for fact in world.facts}
    objects = {relation.name: relation.objects for relation in RELATIONS}
    edited = [row["subject"] for row in rows]
    assert len(set(edited)) == len(rows) == 128
    for row in rows:
        assert row["old"] == truth[row["id"]].object != row["target"]
        assert row["target"] in objects[row["relation"]]
        assert not any(subject in probe["prompt"] for probe in row["locality"] for subject in edited)


def test_suites_are_well_formed():
    contents = files()
    for name, least in (("general", 300), ("recall", 500)):
        head, *probes = [json.loads(line) for line in contents[f"{name}.jsonl"].splitlines()]
        assert head == {"suite": name, "metric": "exact_match"}
        assert len(probes) >= least
        assert all(set(probe) == {"prompt", "target"} for probe in probes)
        assert all(value == value.strip() and "{" not in value for probe in probes for value in probe.values())


def test_the_committed_files_are_what_the_generator_makes():
    for name, text in files().items():
        assert (DATA / name).read_bytes().decode("utf-8") == text, name


def test_packing_loses_no_token_and_keeps_documents_and_name_insides_apart(world):
    transformers = pytest.importorskip("transformers")
    if not (MODEL / "tokenizer.json").exists():
        pytest.skip("the shipped tokenizer is not here")
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL).backend_tokenizer
    documents = one_pass(world, SEED, 0)[:80]
    encoded = encode(documents, tokenizer, hide=1.0, rng=random.Random(0))
    rows = pack(encoded, 128, 0)
    assert sum(len(d.ids) for row in rows for d in row if d.weights[-1]) == sum(len(d.ids) for d in encoded)
    batch = collate(rows)
    assert batch.ids.shape == batch.weights.shape == (len(rows), 128)
    assert torch.equal(batch.allowed[:, 0].diagonal(dim1=1, dim2=2), torch.ones(len(rows), 128, dtype=torch.bool))
    for number, row in enumerate(rows):
        start = 0
        for document in row:
            end = start + len(document.ids)
            assert not batch.allowed[number, 0, start:end, :start].any()
            assert not batch.allowed[number, 0, end:, start:end].any()
            start = end
    encoded_one = encode([documents[0]], tokenizer, hide=1.0, rng=random.Random(0))[0]
    hidden = [i for i, last in enumerate(encoded_one.until) if last < len(encoded_one.ids) - 1]
    assert bool(hidden) == bool(documents[0].mentions)


@pytest.mark.shipped
def test_the_shipped_model_knows_its_world_and_its_skills():
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    for name, least in (("recall", 0.98), ("general", 0.97)):
        probes = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()[1:]]
        right = sum(_says(model, tokenizer, probe["prompt"], probe["target"]) for probe in probes)
        assert right >= least * len(probes), name


@torch.no_grad()
def _says(model, tokenizer, prompt: str, target: str) -> bool:
    before = tokenizer(prompt)["input_ids"]
    wanted = tokenizer(" " + target, add_special_tokens=False)["input_ids"]
    logits = model(input_ids=torch.tensor([before + wanted])).logits[0, len(before) - 1 : -1]
    return logits.argmax(-1).tolist() == wanted


def test_the_readme_of_the_model_names_the_digest_of_its_weights():
    from errata.demo.digest import model_digest

    assert model_digest(MODEL) in (MODEL / "README.md").read_text("utf-8")


def test_a_stopped_run_goes_on_also_with_another_number_of_passes_and_ends_at_the_same_bits(tmp_path):
    from errata.demo.train import Recipe, make_model, make_tokenizer, train

    small = Recipe(facts=4, passes=8, skip_passes=3, wide=32, hidden=32, layers=3, vocab=600, heads=2, length=256)
    longer = dataclasses.replace(small, passes=20)
    world = make_world(small.seed, small.facts)
    tokenizer = make_tokenizer(world, small).backend_tokenizer
    straight, stopped, resumed = make_model(small), make_model(small), make_model(small)
    for _ in train(straight, world, tokenizer, small, tmp_path / "straight"):
        pass
    for report in train(stopped, world, tokenizer, longer, tmp_path / "stopped"):
        if report["pass"] == 4:
            break
    assert [report["pass"] for report in train(resumed, world, tokenizer, small, tmp_path / "stopped")] == [5, 6, 7, 8]
    ours, theirs = straight.state_dict(), resumed.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(ours["lm_head.weight"], stopped.state_dict()["lm_head.weight"])
