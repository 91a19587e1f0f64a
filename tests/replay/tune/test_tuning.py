"""A search end to end on a tiny model: it goes on where it was left, it repeats itself, and its choice is on record."""

from __future__ import annotations

import builtins
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from errata.editor.config import EditConfig
from errata.editor.score.choice import Scores, Trial, space_around
from errata.ledger.base.errors import ModelError, Refused, StorageFailed, UsageError
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.ledger.kinds.settings import SettingsChanged
from errata.replay.apply.apply import effective_batch_size
from errata.replay.tune import tuning
from errata.replay.tune.tuning import Search, Workbench, conclude, fact_key, run, split, tuned_on
from errata.replay.workflow.genesis import Genesis, create_ledger
from errata.replay.workflow.workspace import Workspace
from tests.support.ledgers import surroundings

SETTINGS = {
    "layers": [1], "learning_rate": 0.5, "clamp_norm_factor": 20.0, "max_steps": 6, "context_prompts": 1,
    "stats_weight": 0.01, "norm_weight": 0.001, "patience": 1,
}  # fmt: skip
FACTS = [
    Fact(subject=f"{name} {n}", prompt="The office of {} is in", target=town)
    for n, (name, town) in enumerate(itertools.product(("Norwind", "Calder", "Tern"), ("the", "is")))
]
SUITE = Suite(name="general", metric="exact_match", probes=(Probe(prompt="One plus one is", target="two"),))


@pytest.fixture
def workspace(tiny_llama: Path, tmp_path: Path) -> Workspace:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"Sentence number {i} speaks of office {i % 7} in Riga.\n" for i in range(20)))
    around = surroundings()
    return Workspace(create_ledger(tmp_path / "ledger", Genesis(str(tiny_llama), corpus, SETTINGS), around), around)


def search_of(workspace: Workspace, layers: tuple[tuple[int, ...], ...] = (), seed: int = 1) -> Search:
    facts, held_out = split(FACTS)
    return Search(tuple(facts), tuple(held_out), SUITE, space_around(workspace.config(), layers), seed, 2)


def bench_of(workspace: Workspace, tmp_path: Path, layers: tuple[int, ...] = (1,)) -> Workbench:
    return Workbench(workspace, layers, tmp_path / "corpus.txt", 2)


def told(trials: Any) -> list[Any]:
    """Trials without their seconds."""
    return [replace(trial, seconds=0.0) for trial in trials]


def test_an_interrupted_search_goes_on_as_if_it_had_never_stopped(workspace: Workspace, tmp_path: Path) -> None:
    bench, search = bench_of(workspace, tmp_path, (1, 2)), search_of(workspace, ((2,), (1, 2)))
    whole = run(bench, search, tmp_path / "whole.journal", 5)

    class Stopped(Exception):
        pass

    def stop(done: Any) -> None:
        if len(done) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        run(bench, search, tmp_path / "parts.journal", 5, advance=stop)
    seen: list[int] = []
    resumed = run(bench, search, tmp_path / "parts.journal", 5, advance=lambda done: seen.append(len(done)))
    assert seen == [4, 5]  # three were there
    assert told(resumed) == told(whole)
    assert whole[0].config == workspace.config()
    assert len({trial.config for trial in whole}) == 5
    assert {trial.config.layers for trial in whole} > {(1,)}


def test_a_trial_that_was_cut_off_is_made_again(workspace: Workspace, tmp_path: Path) -> None:
    bench, search = bench_of(workspace, tmp_path), search_of(workspace)
    whole = run(bench, search, tmp_path / "whole.journal", 3)
    run(bench, search, tmp_path / "parts.journal", 2)
    real = bench.measure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(bench, search, tmp_path / "parts.journal", 3)
    assert bench.measure == real
    assert told(run(bench, search, tmp_path / "parts.journal", 3)) == told(whole)


def test_time_ends_a_search_after_the_trial_under_way(workspace: Workspace, tmp_path: Path) -> None:
    done = run(bench_of(workspace, tmp_path), search_of(workspace), tmp_path / "j", 50, seconds=1.0)
    assert len(done) == 1  # the helper's clock ticks once a look


def test_trials_leave_neither_the_model_nor_the_ledger_changed(workspace: Workspace, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in workspace.loaded.model.state_dict().items()}
    head = workspace.state.head
    run(bench_of(workspace, tmp_path), search_of(workspace), tmp_path / "j", 2)
    assert workspace.state.head == head
    assert all(value.equal(before[name]) for name, value in workspace.loaded.model.state_dict().items())


def two_that_work(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> tuple[Trial, Trial]:
    """The settings before, and others that write every fact as well at half the work, on any facts."""

    def measure(number: int, config: EditConfig, facts: Any, before: Any) -> Trial:
        return Trial(number, config, Scores(efficacy=((1, 1),) * len(facts)), 0.5, 10.0 / (1 + number), 3.0)

    monkeypatch.setattr(bench, "measure", measure)
    config = bench.workspace.config()
    return measure(0, config, FACTS[:4], None), measure(1, config.updated({"patience": 0}), FACTS[:4], None)


def test_the_choice_is_recorded_with_its_evidence_and_is_in_force(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, search = bench_of(workspace, tmp_path), search_of(workspace)
    start, better = two_that_work(bench, monkeypatch)
    outcome = conclude(bench, search, [start, better], "cheaper")
    assert outcome.own is better
    assert outcome.changed == (outcome.after.quality >= outcome.before.quality)
    assert outcome.changed
    assert workspace.config() == better.config
    assert workspace.created.hyperparameters["patience"] == 1  # the first event stays as it was
    body = workspace.state.recorded(SettingsChanged)[-1].body
    assert body.evidence is not None
    assert (body.evidence.facts, body.evidence.held_out, body.evidence.trials) == (4, 2, 2)
    assert body.evidence.fact_keys == tuple(fact_key(fact) for fact in FACTS)
    assert tuned_on(workspace, [FACTS[5], Fact(subject="Else", prompt="{} is", target="x")]) == [FACTS[5]]
    assert is_sound(verify(workspace.ledger))
    assert not workspace.ledger.blobs.check(body.evidence.details_blob)


def test_a_choice_that_writes_nothing_on_held_out_facts_is_not_recorded(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, search = bench_of(workspace, tmp_path), search_of(workspace)
    start, better = two_that_work(bench, monkeypatch)
    nothing = Scores(efficacy=((0, 1),) * 2)
    monkeypatch.setattr(bench, "measure", lambda number, config, *_: replace(start, number=number, scores=nothing))
    outcome = conclude(bench, search, [start, better])
    assert outcome.own is better and not outcome.changed and workspace.state.recorded(SettingsChanged) == ()


def test_a_dry_run_records_nothing_and_neither_does_the_start(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, search = bench_of(workspace, tmp_path), search_of(workspace)
    start, better = two_that_work(bench, monkeypatch)
    assert not conclude(bench, search, [start, better], record=False).changed
    assert not conclude(bench, search, [start]).changed
    assert workspace.state.recorded(SettingsChanged) == ()


def test_settings_that_break_the_arithmetic_are_a_failed_trial(workspace: Workspace, tmp_path: Path) -> None:
    bench, search = bench_of(workspace, tmp_path), search_of(workspace)
    for matrix in bench._matrices.values():
        matrix.sum.exponent = 70  # a grid so fine that no delta fits it
    trial = bench.measure(1, workspace.config(), search.facts, bench.baseline(search.facts, ()))
    assert trial.scores is None and trial.failed and trial.quality == 0.0


@pytest.mark.parametrize("stage2", ["rome", "ft"])
def test_methods_of_one_edit_are_tried_one_edit_at_a_time(workspace: Workspace, tmp_path: Path, stage2: str) -> None:
    bench, search = bench_of(workspace, tmp_path), search_of(workspace)
    config = workspace.config().updated({"stage2": stage2, "past_keys": False, "max_steps": 2, "ft_rank_error": 1.0})
    assert (effective_batch_size(config, 2), effective_batch_size(workspace.config(), 2)) == (1, 2)
    trial = bench.measure(1, config, search.facts, bench.baseline(search.facts, ()))
    assert trial.scores is not None, trial.failed
    assert len(trial.scores.efficacy) == len(search.facts)


def test_settings_in_force_that_fail_end_the_search_with_their_reason(workspace: Workspace, tmp_path: Path) -> None:
    bench, search = bench_of(workspace, tmp_path), search_of(workspace)
    for matrix in bench._matrices.values():
        matrix.sum.exponent = 70
    for _ in range(2):  # it is not taken for a trial when it is called again
        with pytest.raises(ModelError, match="in force fail on this sample: .*grid"):
            run(bench, search, tmp_path / "j", 3)


def test_a_suite_of_texts_is_refused(workspace: Workspace) -> None:
    texts = Suite(name="texts", metric=Metric.PERPLEXITY, texts=("Riga is a town.",))
    with pytest.raises(UsageError, match="perplexity is a metric of texts"):
        replace(search_of(workspace), suite=texts)


def test_a_held_out_fact_that_does_not_fit_is_found_before_any_trial(workspace: Workspace, tmp_path: Path) -> None:
    long = Fact(subject="Tern 9", prompt="The office of {} is in", target="the " * 200)
    search = replace(search_of(workspace), held_out=(long,))
    with pytest.raises(ModelError):
        run(bench_of(workspace, tmp_path), search, tmp_path / "j", 1)
    assert not (tmp_path / "j").exists()


def test_a_matrix_has_one_solver_for_all_trials(workspace: Workspace, tmp_path: Path) -> None:
    bench, search = bench_of(workspace, tmp_path), search_of(workspace)
    (solver,) = (matrix.solver for matrix in bench._matrices.values())
    assert solver is not None
    before = bench.baseline(search.facts, ())
    first = bench.measure(1, workspace.config(), search.facts, before)
    made = solver.factorisations
    assert made == 1  # two batches
    assert told([bench.measure(1, workspace.config(), search.facts, before)]) == told([first])
    assert solver.factorisations == made
    bench.measure(2, workspace.config().updated({"norm_weight": 0.5}), search.facts, before)
    assert solver.factorisations == made + 1


def test_a_search_on_another_corpus_is_another_search(workspace: Workspace, tmp_path: Path) -> None:
    search = search_of(workspace, ((2,),))
    same = {search.identity(bench_of(workspace, tmp_path, (1, 2))) for _ in range(2)}
    assert len(same) == 1
    (tmp_path / "corpus.txt").write_text("Quite another text about the office in Riga.\n" * 9)
    assert search.identity(bench_of(workspace, tmp_path, (1, 2))) not in same


def test_other_layers_than_the_ledger_s_are_never_recorded(workspace: Workspace) -> None:
    with pytest.raises(Refused, match="new one"):
        workspace.change_settings(workspace.config().updated({"layers": [2]}), "")
    with pytest.raises(Refused, match="already"):
        workspace.change_settings(workspace.config(), "")


def test_other_layers_need_a_corpus(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="--corpus"):
        Workbench(workspace, (1, 2), None, 2)


def test_the_sample_is_split_so_that_nothing_is_in_both() -> None:
    facts, held_out = split(FACTS)
    assert [*facts, *held_out] == FACTS and len(held_out) == 2
    with pytest.raises(UsageError, match="at least 3"):
        split(FACTS[:2])


def test_a_journal_in_a_place_that_cannot_be_is_one_line(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed):
        run(bench_of(workspace, tmp_path), search_of(workspace), tmp_path / "file" / "j", 1)


def test_without_the_extra_tuning_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="tune"):
        tuning.require_optuna()
