"""A batch from facts to factors, on tiny random models of each family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from errata.editor.model.hooks import patched
from errata.editor.model.loading import LoadedModel, digest_tensor
from errata.editor.pipeline import BatchResult, edit_batch
from errata.editor.score.evaluate import probe
from errata.ledger.base.errors import ModelError
from errata.ledger.events.parts import StopReason
from errata.ledger.facts.fact import Fact, Probe
from tests.support.editing import FACTS, METER, config, load, matrices

CONTEXTS = ("We met in Riga. ",)


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2", "tiny_llama_sharded", "tiny_llama_half"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    folder: Path = request.getfixturevalue(request.param)
    return load(folder)


def run(loaded: LoadedModel, layers: tuple[int, ...] = (1,), **changes: object) -> BatchResult:
    return edit_batch(loaded, matrices(loaded, layers), FACTS, CONTEXTS, config(layers=layers, **changes), METER)


@pytest.fixture(scope="module")
def result(loaded: LoadedModel) -> BatchResult:
    return run(loaded)


def test_an_edited_tiny_model_says_the_targets(result: BatchResult) -> None:
    assert [edit.fact for edit in result.edits] == list(FACTS)
    assert all(edit.target.stop_reason is StopReason.MOST_PROBABLE for edit in result.edits)
    assert all(edit.outcome.efficacy for edit in result.edits)
    assert all(edit.outcome.said_after.startswith(edit.fact.target.split()[0]) for edit in result.edits)
    assert all(edit.outcome.said_after != edit.outcome.said_before for edit in result.edits)
    assert result.edits[1].outcome.paraphrase is not None
    assert result.edits[0].outcome.locality is None


def test_the_factors_of_the_edits_add_up_to_the_batch_to_the_bit(loaded: LoadedModel, result: BatchResult) -> None:
    for matrix in matrices(loaded):
        alone = matrix.sum.clone()
        for edit in reversed(result.edits):
            factors = edit.factors[matrix.name]
            alone.add(factors.u, factors.v)
        assert torch.equal(alone.total, result.sums[matrix.name].total)


def test_what_was_tested_is_what_is_stored(loaded: LoadedModel, result: BatchResult) -> None:
    (matrix,) = matrices(loaded)
    weights = result.sums[matrix.name].weights(matrix.base, matrix.transposed)
    with patched(loaded.model, {loaded.parameter_name(matrix.name): weights}):
        said = probe(loaded, [Probe(prompt=fact.text, target=fact.target) for fact in FACTS])
    assert [p.says_target for p in said] == [edit.outcome.efficacy for edit in result.edits]


def test_the_callers_model_keeps_its_bytes(loaded: LoadedModel, result: BatchResult) -> None:
    for parameter, value in loaded.model.named_parameters():
        if parameter in loaded.files.shards:
            assert digest_tensor(parameter, value) == loaded.files.digests()[parameter]


def test_the_same_batch_gives_the_same_bits(loaded: LoadedModel, result: BatchResult) -> None:
    again = run(loaded)
    for name, total in result.sums.items():
        assert torch.equal(total.total, again.sums[name].total)


def test_several_layers_share_the_residual(loaded: LoadedModel) -> None:
    result = run(loaded, layers=(0, 1))
    assert len(result.edits[0].factors) == 2
    assert sum(edit.outcome.efficacy for edit in result.edits) >= 2


def test_keys_behind_context_prompts_can_be_mixed_in(loaded: LoadedModel, result: BatchResult) -> None:
    mixed = run(loaded, key_context_weight=0.5)
    name = next(iter(mixed.sums))
    bare_key, mixed_key = result.edits[0].factors[name].k, mixed.edits[0].factors[name].k
    assert not torch.equal(bare_key, mixed_key)


def test_norms_are_those_of_the_matrix_before_and_after_each_edit(loaded: LoadedModel, result: BatchResult) -> None:
    (matrix,) = matrices(loaded)
    first, last = result.edits[0].factors[matrix.name], result.edits[-1].factors[matrix.name]
    assert first.norm_before == pytest.approx(float(matrix.base.double().norm()), rel=1e-9)
    upright = matrix.base.T if matrix.transposed else matrix.base
    after = upright.double() + result.sums[matrix.name].total
    assert last.norm_after == pytest.approx(float(after.norm()), rel=1e-9)


def test_a_fact_the_model_already_says_is_a_no_op(loaded: LoadedModel, result: BatchResult) -> None:
    (matrix,) = matrices(loaded)
    edited = type(matrix)(**{**matrix.__dict__, "sum": result.sums[matrix.name]})
    again = edit_batch(loaded, [edited], FACTS, CONTEXTS, config(), METER)
    assert again.edits == ()
    assert [no_op.fact for no_op in again.no_ops] == list(FACTS)


def test_early_stopping_takes_fewer_steps_than_none(loaded: LoadedModel, result: BatchResult) -> None:
    plain = run(loaded, early_stopping=False, loss_threshold=0.0, max_steps=40)
    assert all(edit.target.stop_reason is StopReason.MAX_STEPS for edit in plain.edits)
    assert all(edit.target.steps == 40 for edit in plain.edits)
    assert sum(e.target.steps for e in result.edits) < sum(e.target.steps for e in plain.edits)


def test_the_clamp_bounds_the_added_vector(loaded: LoadedModel) -> None:
    tight = run(loaded, clamp_norm_factor=0.25, max_steps=10)
    assert all(e.target.delta_norm <= 0.25 * e.target.value_norm * (1 + 1e-5) for e in tight.edits)


def test_a_target_that_is_too_long_is_refused_and_nothing_is_changed(loaded: LoadedModel) -> None:
    fact = Fact(subject="Harrow 9", prompt="The {} is", target="very " * 60 + "long")
    with pytest.raises(ModelError, match="at most 20 are accepted"):
        edit_batch(loaded, matrices(loaded), [fact], CONTEXTS, config(max_target_tokens=20), METER)


def test_a_prompt_beyond_the_models_context_is_refused(loaded: LoadedModel) -> None:
    fact = Fact(subject="Harrow 9", prompt="so " * 400 + "{} is", target="red")
    with pytest.raises(ModelError, match="this model takes"):
        edit_batch(loaded, matrices(loaded), [fact], CONTEXTS, config(), METER)


def test_settings_for_other_layers_than_the_ledgers_are_refused(loaded: LoadedModel) -> None:
    with pytest.raises(ModelError, match="edit layers"):
        edit_batch(loaded, matrices(loaded), FACTS, CONTEXTS, config(layers=(2,)), METER)
