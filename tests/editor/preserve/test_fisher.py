"""The Fisher information of a hidden state: against what changes of it really do, and as a metric of stage 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from errata.editor.model.hooks import patched
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import build_request
from errata.editor.preserve.fisher import fisher, fisher_digest, fisher_settings, metric
from errata.editor.preserve.stats import StatsSettings
from errata.editor.target.target import optimise
from errata.ledger.base.errors import ModelError, UsageError
from tests.support.editing import DOCUMENTS, FACTS, config, load

LAYER = 1
READ = StatsSettings(max_tokens=2_000, batch_size=8)


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return load(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def information(loaded: LoadedModel) -> Tensor:
    return fisher(loaded, DOCUMENTS, LAYER, READ, seed=0).matrix


@contextmanager
def added(loaded: LoadedModel, place: int, change: Tensor) -> Iterator[None]:
    """A change of the hidden state after `LAYER` at one place."""

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        state = (output[0] if isinstance(output, tuple) else output).clone()
        state[:, place] += change
        return (state, *output[1:]) if isinstance(output, tuple) else state

    handle = loaded.adapter.layer(loaded.model, LAYER).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def divergence(loaded: LoadedModel, change: Tensor) -> float:
    """Mean over places of the divergence, summed over all later predictions, that a change there makes."""
    total, places = 0.0, 0
    with torch.no_grad():
        for text in DOCUMENTS[:12]:
            ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
            plain = torch.log_softmax(loaded.model(input_ids=ids).logits[0].double(), dim=-1)
            for place in range(1, ids.shape[1]):
                with added(loaded, place, change):
                    now = torch.log_softmax(loaded.model(input_ids=ids).logits[0].double(), dim=-1)
                total += float((plain.exp() * (plain - now)).sum())
                places += 1
    return total / places


@pytest.mark.parametrize("which", [-1, 20])
def test_a_small_change_moves_predictions_by_half_its_square_in_that_metric(
    which: int, loaded: LoadedModel, information: Tensor
) -> None:
    values, vectors = torch.linalg.eigh(information)
    size = 0.01 / float(values[which]) ** 0.5
    found = divergence(loaded, (size * vectors[:, which]).float())
    assert found == pytest.approx(0.01**2 / 2, rel=0.35)


def test_it_is_symmetric_counted_and_the_same_again(loaded: LoadedModel, information: Tensor) -> None:
    again = fisher(loaded, DOCUMENTS, LAYER, READ, seed=0)
    assert torch.equal(again.matrix, information) and torch.equal(information, information.T)
    assert again.layer == LAYER and 500 < again.tokens <= 2_000
    assert not torch.equal(fisher(loaded, DOCUMENTS, LAYER, READ, seed=1).matrix, information)
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    with pytest.raises(UsageError, match="empty"):
        fisher(loaded, [], LAYER, READ, seed=0)


def test_after_the_last_layer_nothing_is_above(loaded: LoadedModel) -> None:
    last = loaded.adapter.layer_count(loaded.model) - 1
    found = fisher(loaded, DOCUMENTS[:4], last, READ, seed=0).matrix
    assert bool(torch.isfinite(found).all()) and float(found.diagonal().min()) > 0


def test_gradients_that_are_not_numbers_are_refused(loaded: LoadedModel) -> None:
    name = loaded.adapter.edited_parameter(LAYER + 1)
    broken = torch.full_like(loaded.model.get_parameter(name), torch.nan)
    with patched(loaded.model, {name: broken}), pytest.raises(ModelError, match="computes NaN or infinity"):
        fisher(loaded, DOCUMENTS[:4], LAYER, READ, seed=0)


def test_an_average_that_was_interrupted_goes_on_to_the_same_bits(loaded: LoadedModel, information: Tensor) -> None:
    kept: list[Any] = []
    fisher(loaded, DOCUMENTS, LAYER, READ, seed=0, keep=lambda sums: kept.append(replace(sums, sums=clones(sums))))
    assert len(kept) > 2
    assert torch.equal(fisher(loaded, DOCUMENTS, LAYER, READ, seed=0, begun=kept[1]).matrix, information)


def clones(sums: Any) -> dict[int, Tensor]:
    return {layer: tensor.clone() for layer, tensor in sums.sums.items()}


def test_the_metric_is_the_inverse_of_the_identity_and_a_share_of_it(information: Tensor) -> None:
    identity = torch.eye(len(information), dtype=torch.float64)
    assert torch.allclose(metric(information, 0.0).double(), identity)
    whole = identity + 3.0 * information / information.diagonal().mean()
    assert torch.allclose(metric(information, 3.0).double() @ whole, identity, atol=1e-4)


def test_with_it_the_target_is_reached_by_what_other_text_hears_less_of(
    loaded: LoadedModel, information: Tensor
) -> None:
    plain = config(step_length=0.1, step_shrink=0.6)
    weighted = plain.updated({"fisher_weight": 3.0})
    requests = [build_request(loaded, fact, (), plain) for fact in FACTS]
    before, after = optimise(loaded, requests, plain), optimise(loaded, requests, weighted, information)
    assert all(found.most_probable for found in (*before, *after))
    heard = []
    for found in (before, after):
        deltas = torch.stack([one.value for one in found]).double() - at_rest(loaded, requests)
        heard.append(float(torch.einsum("nd,de,ne->n", deltas, information, deltas).mean()))
    assert heard[1] < 0.9 * heard[0]


def at_rest(loaded: LoadedModel, requests: list[Any]) -> Tensor:
    """The hidden states that target values are found from, ``(n, d)``."""
    found = []
    for request in requests:
        states: list[Tensor] = []

        def remember(_module: Any, _args: Any, output: Any, into: list[Tensor] = states) -> None:
            into.append(output[0] if isinstance(output, tuple) else output)

        handle = loaded.adapter.layer(loaded.model, LAYER).register_forward_hook(remember)
        with torch.no_grad():
            loaded.model(input_ids=torch.tensor([request.bare.ids]))
        handle.remove()
        found.append(states[0].reshape(-1, states[0].shape[-1])[request.bare.subject_last].double())
    return torch.stack(found)


def test_without_it_settings_that_ask_for_it_are_refused(loaded: LoadedModel) -> None:
    settings = config(step_length=0.1, fisher_weight=1.0)
    with pytest.raises(ModelError, match="Fisher information after layer 1 is not known"):
        optimise(loaded, [build_request(loaded, FACTS[0], (), settings)], settings)
    with pytest.raises(UsageError, match="fisher_weight needs step_length"):
        config(fisher_weight=1.0, step_length=None)
    assert settings.updated({"learning_rate": 0.3}).fisher_weight == 0


def test_its_text_is_a_part_of_that_of_keys_and_its_digest_names_all_it_depends_on() -> None:
    read = fisher_settings(64, StatsSettings(max_tokens=3_000))
    assert (read.max_tokens, read.window, read.batch_size) == (3_000, 256, 8)
    assert fisher_settings(4_096, StatsSettings()).max_tokens == 16_384
    own = ("base", "tokenizer", "corpus", 4, read, 0)
    others = [
        (*own[:5], 1),
        (*own[:4], replace(read, window=9), 0),
        (*own[:3], 5, read, 0),
        ("other", *own[1:]),
    ]
    assert len({fisher_digest(*args) for args in (own, *others)}) == 5
