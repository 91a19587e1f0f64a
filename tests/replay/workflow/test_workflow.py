"""The main path on tiny models: a ledger, edits, versions to the bit, reverts, supersession, and what is refused."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from errata.ledger.base.errors import HeadConflict, ModelChanged, ModelError, Refused, UsageError
from errata.ledger.base.findings import Severity
from errata.ledger.care.verify import verify
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import OF_TEXTS, Metric, Suite
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.ledger import LEDGER_FOLDER, Ledger
from errata.ledger.rules.operations import RecordEvent
from errata.replay.apply.apply import batches, edit
from errata.replay.versions.materialise import materialise, weights_digests
from errata.replay.workflow import genesis as genesis_module
from errata.replay.workflow.deep_verify import deep_verify
from errata.replay.workflow.genesis import Genesis, create_ledger
from errata.replay.workflow.workspace import Workspace
from errata.replay.workflow.writing_out import checkout
from tests.support.editing import FACTS, SETTINGS
from tests.support.ledgers import bits
from tests.support.workspaces import create, facts, make, run, said_by_the_base, surroundings


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2", "tiny_llama_sharded", "tiny_llama_half"])
def edited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = make(tmp_path_factory.mktemp("ledger"), request.getfixturevalue(request.param), layers="0,1")
    run(space, facts(10))
    return space


def test_every_edit_is_an_event_that_holds_the_fact_the_settings_and_a_hashed_delta(edited: Workspace) -> None:
    state = edited.state
    assert len(state.edits) >= 9
    assert state.live == tuple(state.edits)
    for record in state.edits.values():
        body = record.body
        assert body.method == "encore"
        assert set(body.bounds) == set(edited.created.edited)
        assert body.hyperparameters == edited.config().to_record()
        assert body.stage1.steps > 0
    assert len({record.body.blob for record in state.edits.values()}) == 3
    assert [f for f in verify(edited.ledger, deep=True) if f.severity != "note"] == []


def test_any_order_of_removal_and_any_subset_give_the_bits_of_the_definition(edited: Workspace) -> None:
    rng = random.Random(5)
    live = list(edited.state.live)
    for _ in range(12):
        subset = rng.sample(live, rng.randrange(len(live) + 1))
        by_walk = edited.materialiser.weights(subset)
        by_definition = materialise(*edited.materialiser.definition(rng.sample(subset, len(subset))))
        assert bits(by_walk) == bits(by_definition)
        assert edited.state.version_of(subset) == edited.state.version_of(subset[::-1])


def test_no_edits_are_the_bytes_of_the_base(edited: Workspace) -> None:
    edited.materialiser.weights(edited.state.live)
    assert weights_digests(edited.materialiser.weights(())) == {
        name: edited.created.tensors[name] for name in edited.created.edited
    }


def test_the_weights_that_were_evaluated_are_those_of_the_version(edited: Workspace) -> None:
    bodies = [record.body for record in edited.state.edits.values()][-2:]
    says = edited.says(edited.state.live, [body.fact for body in bodies])
    assert says == [body.outcome.efficacy for body in bodies]
    assert any(record.body.outcome.efficacy for record in edited.state.edits.values())


def test_norms_chain_from_one_edit_to_the_next(edited: Workspace) -> None:
    bodies = [record.body for record in edited.state.edits.values()]
    for name, spec in edited.created.edited.items():
        assert bodies[0].norms_before[name] == pytest.approx(spec.frobenius_norm, rel=1e-9)
        for earlier, later in itertools.pairwise(bodies):
            assert later.norms_before[name] == pytest.approx(earlier.norms_after[name], rel=1e-6)


def test_past_keys_are_those_of_the_live_edits_and_reverted_ones_leave(fresh: Workspace) -> None:
    run(fresh, facts(3))
    run(fresh, facts(4)[3:])
    assert fresh.state.edits[4].body.solve.past_keys == 3
    fresh.revert([1, 2])
    run(fresh, facts(5)[4:])
    assert fresh.state.edits[5].body.solve.past_keys == 2
    run(fresh, facts(6)[5:], past_keys=False)
    assert fresh.state.edits[6].body.solve.past_keys == 0


def test_reverting_an_edit_restores_the_bits(fresh: Workspace) -> None:
    run(fresh, facts(3))
    before, version = bits(fresh.materialiser.weights(fresh.state.live)), fresh.state.version
    run(fresh, facts(4)[3:])
    assert bits(fresh.materialiser.weights(fresh.state.live)) != before
    fresh.revert([4], "a test")
    assert bits(fresh.materialiser.weights(fresh.state.live)) == before
    assert fresh.state.version == version
    with pytest.raises(Refused):
        fresh.revert([4])


def test_a_later_edit_of_the_same_fact_supersedes_the_earlier(fresh: Workspace) -> None:
    (fact,) = facts(1)
    run(fresh, [fact])
    (report,) = run(fresh, [fact.model_copy(update={"target": "two"})])
    assert fresh.state.live == (2,)
    first, second = (record.body.outcome for record in fresh.state.edits.values())
    assert second.said_before == first.said_after
    assert fresh.state.edits[2].body.solve.past_keys == 0
    assert len(report.recorded) == 1
    assert bits(fresh.materialiser.weights(fresh.state.live)) == bits(materialise(*fresh.materialiser.definition([2])))


def test_a_fact_the_head_says_already_is_a_no_op_and_leaves_the_log_alone(fresh: Workspace) -> None:
    run(fresh, list(FACTS[:1]))
    head = fresh.state.head
    (report,) = run(fresh, list(FACTS[:1]))
    assert [no_op.fact for no_op in report.no_ops] == list(FACTS[:1])
    assert fresh.state.head == head


def test_editing_a_fact_back_to_what_the_base_says_takes_the_edit_back(fresh: Workspace) -> None:
    known = said_by_the_base(fresh)
    run(fresh, [known.model_copy(update={"target": "two"})])
    assert fresh.state.live == (1,)
    (report,) = run(fresh, [known])
    assert report.taken_back == (1,)
    assert fresh.state.live == ()
    assert report.recorded == ()


def test_one_fact_twice_in_a_file_is_two_batches(fresh: Workspace) -> None:
    first, second = facts(2)
    again = first.model_copy(update={"target": "two"})
    assert [len(batch) for batch in batches([first, second, again], 10)] == [2, 1]
    run(fresh, [first, second, again], size=10)
    assert fresh.state.live == (2, 3)


def test_a_dry_run_records_nothing(fresh: Workspace) -> None:
    head = fresh.state.head
    reports = list(edit(fresh, facts(2), fresh.config(), 2, dry_run=True))
    assert len(reports[0].edits) == 2
    assert reports[0].recorded == ()
    assert fresh.state.head == head


def test_somebody_elses_append_meanwhile_is_a_conflict_and_writes_nothing(fresh: Workspace, tmp_path: Path) -> None:
    other = Workspace(Ledger.open(tmp_path), surroundings(first=10_000))
    stale = fresh.state

    def interfere(stage: str) -> None:
        if stage == "probes":
            other.tag("meanwhile", ())

    with pytest.raises(HeadConflict):
        list(edit(fresh, facts(2), fresh.config(), 2, advance=interfere))
    assert fresh.state.edits == {}
    assert fresh.state.head.seq == stale.head.seq + 1


def test_an_evaluation_is_stored_and_not_computed_twice(fresh: Workspace) -> None:
    suite = Suite(name="s", metric=Metric.EXACT_MATCH, probes=(Probe(prompt="A letter to", target="Riga"),))
    first, computed = fresh.evaluate((), suite)
    second, again = fresh.evaluate((), suite)
    assert (computed, again) == (True, False)
    assert first == second
    assert len(fresh.state.recorded(EvaluationRecorded)) == 1
    assert fresh.evaluate((), suite, again=True)[1] is True


@pytest.mark.parametrize("metric", list(Metric))
def test_every_metric_gives_a_number_in_its_range(fresh: Workspace, metric: Metric) -> None:
    probes = (Probe(prompt="A letter to", target="Riga", against="Oslo"),) * 3
    own = {"texts": ("A letter to Riga",) * 3} if metric in OF_TEXTS else {"probes": probes}
    suite = Suite.model_validate({"name": "s", "metric": metric, **own})
    result = fresh.measure((), suite)
    assert result.n == 3
    assert result.score >= 0
    unbounded = {Metric.NEG_LOG_LIKELIHOOD, Metric.TARGET_RANK, *OF_TEXTS}
    assert metric in unbounded or result.score <= 1


def test_a_changed_base_is_named(tmp_path: Path, tiny_llama: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    space = make(tmp_path / "here", model)
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.3.mlp.up_proj.weight"][0, 0] += 1
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    again = Workspace(Ledger.open(tmp_path / "here"), surroundings())
    with pytest.raises(ModelChanged, match=r"model\.layers\.3\.mlp\.up_proj\.weight"):
        list(edit(again, facts(1), space.config()))
    moved = Workspace(Ledger.open(tmp_path / "here"), surroundings(), base=tiny_llama)
    assert moved.loaded is not None


@pytest.mark.parametrize(
    "name",
    [
        "chat_template.jinja",
        "additional_chat_templates/rag.jinja",
        "generation_config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.json",
    ],
)
@pytest.mark.parametrize("how", ["changed", "added", "removed"])
def test_a_file_that_decides_what_the_model_is_given_or_says_belongs_to_the_base(
    tmp_path: Path, tiny_llama: Path, name: str, how: str
) -> None:
    model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    path = model / name
    path.parent.mkdir(exist_ok=True)
    if how == "added":
        path.unlink(missing_ok=True)
    elif not path.exists():
        path.write_text('{"before": 1}')
    space = make(tmp_path / "here", model)
    assert (name in space.created.files) == (how != "added")
    space.tag("v1", ())
    if how == "removed":
        path.unlink()
    else:
        path.write_text('{"after": 1}')
    again = Workspace(Ledger.open(tmp_path / "here"), surroundings())
    found = deep_verify(again)
    assert [finding.what for finding in found if finding.severity is Severity.ERROR] == [
        f"{name} is not what it was at genesis"
    ]
    with pytest.raises(ModelChanged, match=f"since this ledger was created: {name}; put it back"):
        checkout(Workspace(Ledger.open(tmp_path / "here"), surroundings()), (), tmp_path / "out", "base")
    assert not (tmp_path / "out").exists()


def test_a_file_that_decides_nothing_may_come_and_go(tmp_path: Path, tiny_llama: Path) -> None:
    model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    make(tmp_path / "here", model)
    (model / "README.md").write_text("another card")
    assert deep_verify(Workspace(Ledger.open(tmp_path / "here"), surroundings())) == []


def test_an_older_ledger_without_files_is_checked_for_none_but_the_tokenizers(tmp_path: Path, tiny_llama: Path) -> None:
    model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    space = make(tmp_path / "here", model)
    older = space.created.model_copy(update={"files": {}})
    assert "files" not in older.plain()
    (model / "chat_template.jinja").write_text("{{ messages }}")
    old = Ledger.create(tmp_path / "older")
    old.execute(RecordEvent(older), actor="tester", now="2026-01-01T00:00:00Z", new_id=surroundings().new_id)
    assert deep_verify(Workspace(old, surroundings())) == []
    (model / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelChanged, match="the tokenizer"):
        _ = Workspace(old, surroundings()).files


def test_a_ledger_is_created_once_and_a_failed_creation_leaves_nothing(tmp_path: Path, tiny_llama: Path) -> None:
    space = make(tmp_path / "a", tiny_llama)
    with pytest.raises(Refused, match="exists"):
        create(tmp_path / "a", tiny_llama)
    assert space.state.head.seq == 1
    empty = tmp_path / "b" / "empty.txt"
    empty.parent.mkdir()
    empty.write_text("\n")
    for genesis in (
        Genesis(str(tiny_llama), empty, SETTINGS),
        Genesis(str(tmp_path / "nowhere"), empty, SETTINGS),
        Genesis(str(tiny_llama), tmp_path / "a" / "corpus.txt", {**SETTINGS, "layers": "9"}),
        Genesis(str(tiny_llama), tmp_path / "a" / "corpus.txt", {**SETTINGS, "stats_weight": "heavy"}),
    ):
        with pytest.raises((UsageError, Exception)):
            create_ledger(tmp_path / "b", genesis, surroundings())
        assert not (tmp_path / "b" / LEDGER_FOLDER).exists()


def test_settings_for_other_layers_need_another_ledger(fresh: Workspace) -> None:
    with pytest.raises(UsageError, match="edits layers"):
        list(edit(fresh, facts(1), fresh.config().updated({"layers": "2"})))
    with pytest.raises(UsageError, match="no facts"):
        list(edit(fresh, [], fresh.config()))


def test_a_second_creation_never_touches_a_ledger_that_was_made_meanwhile(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = genesis_module.load_model

    def load_while_another_is_made(*arguments: object) -> object:
        monkeypatch.setattr(genesis_module, "load_model", slow)
        run(create(tmp_path, tiny_llama), facts(1))
        return slow(*arguments)

    monkeypatch.setattr(genesis_module, "load_model", load_while_another_is_made)
    with pytest.raises(Refused, match="begun there meanwhile"):
        create(tmp_path, tiny_llama)
    assert len(Ledger.open(tmp_path).state().edits) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(LEDGER_FOLDER)] == [LEDGER_FOLDER]


def test_a_creation_that_fails_while_writing_leaves_nothing(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genesis_module, "_put_in_place", lambda made, place: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        create(tmp_path, tiny_llama)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.txt"]
    monkeypatch.undo()
    (tmp_path / LEDGER_FOLDER).mkdir()
    assert create(tmp_path, tiny_llama).state.head.seq == 1


def test_a_bad_fact_late_in_a_file_is_found_before_anything_is_written(fresh: Workspace) -> None:
    head = fresh.state.head
    for bad in (
        Fact(subject="Harrow 9", prompt="The {} is", target="very " * 60 + "long"),
        Fact(subject="Harrow 9", prompt="The {} is", target="red", paraphrases=("so " * 400 + "{} is",)),
        Fact(subject="Harrow 9", prompt="The {}", target="red", locality=(Probe(prompt="so " * 400, target="a"),)),
    ):
        with pytest.raises(ModelError):
            run(fresh, [*facts(5), bad], size=2)
        assert fresh.state.head == head


def test_taking_back_and_editing_are_one_transaction_guarded_by_the_head(fresh: Workspace, tmp_path: Path) -> None:
    known = said_by_the_base(fresh)
    run(fresh, [known.model_copy(update={"target": "two"})])
    other = Workspace(Ledger.open(tmp_path), surroundings(first=10_000))

    def interfere(stage: str) -> None:
        if stage == "probes":
            other.tag("meanwhile", ())

    before = fresh.state.head.seq
    with pytest.raises(HeadConflict):
        list(edit(fresh, [known, *facts(1)], fresh.config(), 4, advance=interfere))
    assert fresh.state.live == (1,)
    assert fresh.state.head.seq == before + 1
    (report,) = edit(fresh, [known, *facts(1)], fresh.config(), 4)
    assert report.taken_back == (1,)
    assert fresh.state.live == (2,)
    assert fresh.state.edits[2].body.solve.live_before == fresh.state.version_of(())


def test_a_locality_probe_counts_only_if_it_held_before(fresh: Workspace) -> None:
    holds = said_by_the_base(fresh)
    probes = (Probe(prompt=holds.text, target=holds.target), Probe(prompt="A letter to", target="Zanzibar"))
    (fact,) = facts(1)
    run(fresh, [fact.model_copy(update={"locality": probes})])
    locality = fresh.state.edits[1].body.outcome.locality
    assert locality is not None
    assert locality[1] == 1


def test_a_base_whose_configuration_changed_is_refused(tmp_path: Path, tiny_llama: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    space = make(tmp_path / "here", model)
    assert space.files
    config = model / "config.json"
    config.write_text(config.read_text().replace('"silu"', '"gelu"'))
    with pytest.raises(ModelChanged, match=r"config\.json"):
        _ = Workspace(Ledger.open(tmp_path / "here"), surroundings()).files


def test_a_base_with_nan_is_refused_by_name(tmp_path: Path, tiny_llama: Path) -> None:
    for name, message in (
        ("model.layers.1.mlp.down_proj.weight", r"model\.layers\.1\.mlp\.down_proj\.weight holds NaN"),
        ("model.norm.weight", "computes NaN"),
    ):
        model = tmp_path / name
        shutil.copytree(tiny_llama, model)
        tensors = load_file(model / "model.safetensors")
        tensors[name].view(-1)[0] = float("nan")
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError, match=message):
            create(tmp_path / "ledger", model)
        assert not (tmp_path / "ledger" / LEDGER_FOLDER).exists()
