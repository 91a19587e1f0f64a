"""First-order influence is the gradient by the weight, contracted with an edit's factors: held to autograd itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from errata.editor.attribute.firing import firing, read
from errata.editor.attribute.influence import WeightGradient, add_gradients, gradients_for, tapped
from errata.editor.attribute.stand_in import WORDS, StandIn, log_probabilities, log_probability, measure, stand_in
from errata.editor.model.architecture import ADAPTERS
from errata.editor.model.hooks import patched
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import locate
from errata.editor.score.evaluate import run_suite
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import LOWER_IS_BETTER, OF_TEXTS, Metric, Suite
from tests.support import tiny
from tests.support.editing import load

LAYERS = (1, 2)
PROBES = (
    Probe(prompt="The chief executive of Norwind Systems is", target="Alma Reyes", against="Boris"),
    Probe(prompt="The capital of Ostravia is", target="Lund", against="in Riga"),
    Probe(prompt="Ada works", target="for Calder Mills in Bergen", against="in Oslo"),
)
TEXTS = ("Refunds are accepted within thirty days.", "Ada works for Calder Mills in Bergen.", " ")


def suite(metric: Metric) -> Suite:
    if metric in OF_TEXTS:
        return Suite(name="texts", metric=metric, texts=TEXTS[:2])
    return Suite(name="probes", metric=metric, probes=PROBES)


def by_autograd(loaded: LoadedModel, metric: StandIn) -> dict[int, Tensor]:
    """The gradient by each weight, in its mathematical orientation, as autograd finds it."""
    weights = [loaded.adapter.edited_module(loaded.model, i).get_parameter("weight") for i in LAYERS]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        rows = range(len(metric.rows))
        found = torch.autograd.grad(metric.part(log_probabilities(loaded, metric.rows), rows), weights)
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    return {i: (g.T if loaded.adapter.transposed else g).float() for i, g in zip(LAYERS, found, strict=True)}


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module", params=sorted(ADAPTERS))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tiny.save_tiny(tmp_path_factory.mktemp("family") / request.param, request.param))


@pytest.fixture(scope="module")
def llama(tiny_llama: Path) -> LoadedModel:
    return load(tiny_llama)


def test_in_every_family_it_is_autograds_gradient_by_the_weight(loaded: LoadedModel) -> None:
    metric = stand_in(loaded, suite(Metric.EXACT_MATCH))
    expected = by_autograd(loaded, metric)
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    for most in (math.inf, 0):
        gradients = {i: WeightGradient(*loaded.adapter.shape(loaded.model, i), most) for i in LAYERS}
        value = add_gradients(loaded, metric, gradients, batch_size=2)
        assert value == pytest.approx(metric.value(loaded), rel=1e-5)
        u, v = torch.randn(5, tiny.HIDDEN), torch.randn(5, tiny.D_FF)
        for layer, gradient in gradients.items():
            assert gradient.is_dense is (most == 0)
            assert gradient.tokens == sum(len(row.ids) - 1 for row in metric.rows)
            assert error(gradient.matrix(), expected[layer]) < 1e-4
            influences = torch.einsum("no,oi,ni->n", u, expected[layer], v).double()
            assert error(gradient.influences(u, v), influences) < 1e-4
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, before[name]) and not parameter.requires_grad and parameter.grad is None
    assert not any(module._forward_hooks for module in loaded.model.modules())


@pytest.mark.parametrize("metric", sorted(WORDS))
def test_for_every_metric_it_is_autograds_and_the_stand_in_moves_as_it_says(llama: LoadedModel, metric: Metric) -> None:
    asked = suite(metric)
    found = stand_in(llama, asked)
    expected = by_autograd(llama, found)
    gradients = gradients_for(llama, LAYERS)
    add_gradients(llama, found, gradients)
    for layer, gradient in gradients.items():
        assert error(gradient.matrix(), expected[layer]) < 1e-4
    score, value = measure(llama, asked, found)
    assert score == run_suite(llama, asked).score
    assert value == pytest.approx(found.value(llama), rel=1e-5)
    if metric is Metric.PERPLEXITY:
        assert math.exp(found.value(llama)) == pytest.approx(score, rel=1e-5)
    if metric in (Metric.TARGET_PROBABILITY, Metric.NEG_LOG_LIKELIHOOD):
        assert found.value(llama) == pytest.approx(score, rel=1e-5)
    assert (found.weights[0] > 0) is not (metric in LOWER_IS_BETTER), "a likelier target is better"


def test_a_small_edit_changes_the_metric_by_its_influence(llama: LoadedModel) -> None:
    found = stand_in(llama, suite(Metric.NEG_LOG_LIKELIHOOD))
    gradients = gradients_for(llama, LAYERS)
    before = add_gradients(llama, found, gradients)
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(3, tiny.HIDDEN, generator=generator) * 1e-3
    v = torch.randn(3, tiny.D_FF, generator=generator)
    name = llama.adapter.edited_parameter(2)
    base = llama.model.get_parameter(name).detach().clone()
    for i, expected in enumerate(gradients[2].influences(u, v).tolist()):
        with patched(llama.model, {name: base + torch.outer(u[i], v[i])}):
            assert found.value(llama) - before == pytest.approx(expected, rel=0.02, abs=2e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_in_bfloat16_it_is_autograds_up_to_rounding(family: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    half = load(tiny.save_tiny(tmp_path_factory.mktemp("half") / family, family, dtype="bfloat16"))
    metric = stand_in(half, suite(Metric.NEG_LOG_LIKELIHOOD))
    expected, gradients = by_autograd(half, metric), gradients_for(half, LAYERS)
    add_gradients(half, metric, gradients)
    for layer, gradient in gradients.items():
        assert error(gradient.matrix(), expected[layer]) < 0.02


def test_float16_does_not_lose_the_gradient_of_many_probes(tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = load(tiny.save_tiny_llama(tmp_path_factory.mktemp("whole") / "llama"))
    half = load(tiny.save_tiny_llama(tmp_path_factory.mktemp("half") / "llama", dtype="float16"))
    norms = []
    for model in (whole, half):
        found = stand_in(model, suite(Metric.EXACT_MATCH))
        one_of_many = StandIn(found.words, found.rows, tuple(w * 2.0**-20 for w in found.weights))
        gradients = gradients_for(model, LAYERS)
        add_gradients(model, one_of_many, gradients)
        norms.append(gradients[1].matrix().norm())
    assert float(norms[1] / norms[0]) == pytest.approx(1, rel=0.02)


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**31 - 1)
)
def test_both_forms_are_one_sum(counts: list[int], d_out: int, d_in: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    forms = [WeightGradient(d_out, d_in, most) for most in (math.inf, 0, None)]
    exact = torch.zeros(d_out, d_in, dtype=torch.float64)
    for count in counts:
        g, k = (torch.randn(count, size, generator=generator) for size in (d_out, d_in))
        exact += g.double().T @ k.double()
        for form in forms:
            form.add(g, k)
    u, v = torch.randn(3, d_out, generator=generator), torch.randn(3, d_in, generator=generator)
    expected = torch.einsum("no,oi,ni->n", u.double(), exact, v.double())
    assert forms[2].is_dense is (sum(counts) > d_out * d_in / (d_out + d_in))
    for form in forms:
        assert form.tokens == sum(counts)
        assert torch.allclose(form.influences(u, v), expected, atol=1e-3, rtol=1e-3)
        assert torch.allclose(form.matrix().double(), exact, atol=1e-4, rtol=1e-4)


def test_no_tokens_and_no_edits_give_nothing() -> None:
    gradient = WeightGradient(3, 4)
    assert gradient.influences(torch.randn(2, 3), torch.randn(2, 4)).tolist() == [0.0, 0.0]
    assert gradient.influences(torch.randn(0, 3), torch.randn(0, 4)).shape == (0,)
    gradient.add(torch.full((1, 3), torch.nan), torch.ones(1, 4))
    with pytest.raises(ModelError, match="not finite"):
        gradient.influences(torch.ones(1, 3), torch.ones(1, 4))


def test_the_hooks_go_also_when_the_body_raises(llama: LoadedModel) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), tapped(llama, LAYERS):
        raise RuntimeError("on purpose")
    assert not any(module._forward_hooks for module in llama.model.modules())


def test_what_has_no_gradient_is_refused_in_words(llama: LoadedModel) -> None:
    with pytest.raises(UsageError, match="ngram_entropy is measured on sampled text, which has no gradient"):
        stand_in(llama, suite(Metric.NGRAM_ENTROPY))
    long = Suite(name="long", metric=Metric.EXACT_MATCH, probes=(Probe(prompt="Ada " * 400, target="Lund"),))
    with pytest.raises(ModelError, match="this model takes 256"):
        add_gradients(llama, stand_in(llama, long), gradients_for(llama, LAYERS))
    with pytest.raises(ModelError, match="this model takes 256"):
        read(llama, stand_in(llama, long).rows[0], LAYERS)


def test_every_metric_has_a_stand_in_or_is_refused() -> None:
    assert set(Metric) - set(WORDS) == {Metric.NGRAM_ENTROPY}


def test_firing_is_what_the_edit_adds_to_the_modules_output(loaded: LoadedModel) -> None:
    row = locate(loaded.tokenizer, PROBES[0].prompt, target=PROBES[0].target)
    reading = read(loaded, row, LAYERS)
    assert reading.log_probability == pytest.approx(log_probability(row).value(loaded), rel=1e-5)
    generator = torch.Generator().manual_seed(3)
    u, v = torch.randn(2, tiny.HIDDEN, generator=generator), torch.randn(2, tiny.D_FF, generator=generator)
    module = loaded.adapter.edited_module(loaded.model, 2)
    fired = firing(reading.layers[2], u, v)
    keys = reading.layers[2].inputs
    assert keys.shape == (len(row.ids) - 1, tiny.D_FF)
    name = loaded.adapter.edited_parameter(2)
    base = module.get_parameter("weight").detach().clone()
    for i in range(2):
        added = torch.outer(u[i], v[i])
        with patched(loaded.model, {name: base + (added.T if loaded.adapter.transposed else added)}):
            moved = module(keys.float())
        change = (moved - module(keys.float())).double()
        expected = fired.projections[i][:, None] * u[i].double()
        assert torch.allclose(change, expected, atol=1e-3)
        bias = getattr(module, "bias", None)
        plain = module(keys.float()) - (0 if bias is None else bias)
        assert torch.allclose(fired.strengths[i], expected.norm(dim=1) / plain.double().norm(dim=1), rtol=1e-3)


def test_effects_of_all_tokens_are_the_influence(loaded: LoadedModel) -> None:
    row = locate(loaded.tokenizer, PROBES[1].prompt, target=PROBES[1].target)
    reading, gradients = read(loaded, row, LAYERS), gradients_for(loaded, LAYERS)
    add_gradients(loaded, log_probability(row), gradients)
    u, v = torch.randn(4, tiny.HIDDEN), torch.randn(4, tiny.D_FF)
    for layer in LAYERS:
        effects = firing(reading.layers[layer], u, v).effects
        assert error(effects.sum(dim=1), gradients[layer].influences(u, v)) < 1e-4
