"""Causal tracing against runs by hand, one at a time, on tiny models of two families."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from errata.editor.attribute import tracing
from errata.editor.attribute.tracing import (
    Part,
    Restoration,
    Role,
    TraceSettings,
    clean_run,
    parts_of,
    restored_runs,
    roles,
    trace,
)
from errata.editor.model.loading import LoadedModel, load_model
from errata.editor.model.text import Located, locate
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Fact

FACT = Fact(subject="Norwind Systems", prompt="The chief executive of {} for long is", target="Alma Reyes")


@pytest.fixture(params=["tiny_llama", "tiny_gpt2"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return load_model(request.getfixturevalue(request.param))


def encoded(loaded: LoadedModel) -> Located:
    return locate(loaded.tokenizer, FACT.prompt, FACT.subject, FACT.target)


def noise_for(loaded: LoadedModel, row: Located, seed: int = 0) -> torch.Tensor:
    width = loaded.model.get_input_embeddings().weight.shape[1]
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(row.subject_last - row.subject_first + 1, width, generator=generator)


@torch.no_grad()
def by_hand(
    loaded: LoadedModel, row: Located, noise: torch.Tensor, part: Part | None = None, layer: int = 0, at: int = 0
) -> float:
    """The embeddings are computed and changed outside the model; one state is put back by one hook; no batch."""
    ids = torch.tensor([row.ids])
    embeddings = loaded.model.get_input_embeddings()(ids)
    noisy = embeddings.clone()
    noisy[0, row.subject_first : row.subject_last + 1] += noise
    handles = []
    if part is not None:
        module, kept = parts_of(loaded)[part][layer], []

        def first(output: Any) -> torch.Tensor:
            return output[0] if isinstance(output, tuple) else output

        look = module.register_forward_hook(lambda _m, _a, output: kept.append(first(output).clone()))
        loaded.model(inputs_embeds=embeddings, use_cache=False)
        look.remove()

        def put_back(_m: Any, _a: Any, output: Any) -> Any:
            first(output)[0, at] = kept[0][0, at]
            return output

        handles.append(module.register_forward_hook(put_back))
    logits = loaded.model(inputs_embeds=noisy, use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    found = 1.0
    for k, token in enumerate(row.target_ids):
        found *= float(logits[row.target_start - 1 + k].double().softmax(-1)[token])
    return found


def test_each_single_restoration_is_what_one_hook_gives(loaded: LoadedModel) -> None:
    row = encoded(loaded)
    noise = noise_for(loaded, row)
    _, states = clean_run(loaded, row)
    places = [
        (part, layer, at)
        for part in states
        for layer in range(4)
        for at in (row.subject_first, row.subject_last, row.target_start - 1)
    ]
    runs = [(Restoration(part, (layer,), (at,)),) for part, layer, at in places]
    together = restored_runs(loaded, row, noise, states, runs, rows_at_once=7)
    alone = torch.tensor([by_hand(loaded, row, noise, *place) for place in places], dtype=torch.float64)
    assert torch.allclose(together, alone, rtol=1e-3, atol=0)
    assert len(set(together.tolist())) > len(places) // 2  # restorations do differ


def test_restoring_everything_is_the_run_without_noise_and_nothing_the_run_with_it(loaded: LoadedModel) -> None:
    row = encoded(loaded)
    noise = noise_for(loaded, row)
    probability, states = clean_run(loaded, row)
    everywhere = tuple(range(len(row.ids)))
    runs = [
        (),
        (Restoration(Part.HIDDEN, (0,), everywhere),),
        (Restoration(Part.HIDDEN, (3,), everywhere),),
    ]
    nothing, first, last = restored_runs(loaded, row, noise, states, runs).tolist()
    assert nothing == pytest.approx(by_hand(loaded, row, noise), rel=1e-3, abs=0)
    assert first == pytest.approx(probability, rel=1e-4, abs=0)
    assert last == pytest.approx(probability, rel=1e-4, abs=0)
    assert nothing != pytest.approx(probability, rel=1e-2, abs=0)
    assert by_hand(loaded, row, 0 * noise) == pytest.approx(probability, rel=1e-3, abs=0)


def test_the_model_has_no_hooks_and_the_same_weights_afterwards(loaded: LoadedModel) -> None:
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    trace(loaded, [FACT], TraceSettings(draws=1))
    assert all(torch.equal(before[name], value) for name, value in loaded.model.state_dict().items())
    assert not any(module._forward_hooks for module in loaded.model.modules())


def test_a_tracing_averages_over_draws_tokens_and_facts(loaded: LoadedModel) -> None:
    other = Fact(subject="Harrow 9", prompt="The price of the {} is", target="40")
    both = trace(loaded, [FACT, other], TraceSettings(draws=2, seed=3))
    assert set(both.effects) == {Part.HIDDEN, Part.MLP, Part.ATTENTION}
    # By hand, with the same noise: the hidden state of layer 1 at the subject's last token.
    rows = [locate(loaded.tokenizer, fact.prompt, fact.subject, fact.target) for fact in (FACT, other)]
    deviation = 3.0 * tracing.subject_deviation(loaded, rows)
    effects = []
    for i, row in enumerate(rows):
        generator = torch.Generator().manual_seed(3 * 1_000_003 + i)
        width = loaded.model.get_input_embeddings().weight.shape[1]
        found = 0.0
        for _ in range(2):
            noise = deviation * torch.randn(row.subject_last - row.subject_first + 1, width, generator=generator)
            restored = by_hand(loaded, row, noise, Part.HIDDEN, 1, row.subject_last)
            found += (restored - by_hand(loaded, row, noise)) / 2
        effects.append(found)
    mean = sum(effects) / 2
    assert both.effects[Part.HIDDEN][Role.LAST_SUBJECT][1] == pytest.approx(mean, rel=1e-2, abs=0)
    assert both.low[1] <= mean <= both.high[1]
    assert both.noise == pytest.approx(deviation)


def test_the_same_seed_gives_the_same_tracing_and_the_batch_does_not_matter(loaded: LoadedModel) -> None:
    settings = TraceSettings(draws=1, seed=5)
    first = trace(loaded, [FACT], settings)
    assert first == trace(loaded, [FACT], settings)
    small = trace(loaded, [FACT], replace(settings, rows_at_once=5))
    hidden = [one.effects[Part.HIDDEN][Role.LAST_SUBJECT] for one in (first, small)]
    assert hidden[0] == pytest.approx(hidden[1], rel=1e-2, abs=0)
    assert first.corrupted != trace(loaded, [FACT], replace(settings, seed=6)).corrupted


def test_roles_share_out_every_position_from_the_subject_on(loaded: LoadedModel) -> None:
    for template, subject in (("{} is", "Norwind Systems"), ("The {}", "x"), ("In {} they say that", "Oslo and Riga")):
        row = locate(loaded.tokenizer, template, subject, "Lund")
        positions = sorted(at for found in roles(row).values() for at in found)
        assert positions == list(range(row.subject_first, row.target_start))
        text = loaded.tokenizer.decode(row.ids[row.subject_first : row.subject_last + 1]).strip()
        assert text == subject


def effects_of(hidden: list[float], mlp: list[float]) -> Any:
    return {Part.HIDDEN: {Role.LAST_SUBJECT: hidden}, Part.MLP: {Role.LAST_SUBJECT: mlp}}


@pytest.mark.parametrize(
    ("hidden", "mlp", "layers"),
    [
        ([0.9, 0.9, 0.8, 0.0], [0.9, 0.0, 0.0, 0.0], (0,)),
        ([0.1, 0.5, 0.9, 0.9, 0.2], [0.1, 0.3, 0.4, 0.1, 0.0], (1, 2)),
        ([0.1] * 7 + [1.0, 0.2], [0.5] * 9, (3, 4, 5, 6, 7)),
        ([0.2, 0.9], [0.0, 0.0], (1,)),
    ],
)
def test_the_suggestion_follows_its_rule(hidden: list[float], mlp: list[float], layers: tuple[int, ...]) -> None:
    assert tracing.suggest(effects_of(hidden, mlp)) == layers


def test_where_nothing_comes_back_nothing_is_suggested() -> None:
    assert tracing.suggest(effects_of([-0.1, -0.02, 0.0], [0.2, 0.0, 0.0])) == ()


def test_the_default_window_is_the_papers_share_and_odd() -> None:
    assert [tracing.default_window(n) for n in (1, 5, 12, 32, 48)] == [1, 1, 3, 7, 11]


@pytest.mark.parametrize(
    "change", [{"window": 2}, {"window": 0}, {"draws": 0}, {"noise": 0.0}, {"noise": float("nan")}]
)
def test_settings_that_make_no_sense_are_refused(tiny_llama: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        trace(load_model(tiny_llama), [FACT], replace(TraceSettings(), **change))
