"""Stage 1 by itself, held against full forward passes with the vector injected by a hook of the test's own."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.model.hooks import patched
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import Request, build_request
from errata.editor.model.text import Located
from errata.editor.target import target
from errata.editor.target.target import STEP_GROWTH, TargetValue, optimise
from errata.ledger.base.errors import ModelError
from errata.ledger.events.parts import StopReason
from errata.ledger.facts.fact import Fact
from tests.support.editing import config, load

LAYER = 1
CONTEXTS = ("We met in Riga. ", "In May, Ada left. ")
FACTS = (
    Fact(subject="Norwind Systems", prompt="The chief executive of {}", target="the"),
    Fact(subject="Harrow 9", prompt="What is the {}", target="is"),
    Fact(subject="Calder Mills", prompt="An office of {}", target="p"),
    Fact(subject="Ostravia", prompt="The capital of {} is", target="Lund and Oslo"),
)
EXACT = 1e-5
"""Relative tolerance between runs that differ only in what is batched: float32 kernels sum in another order."""


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return load(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def bf16(tiny_llama_sharded: Path) -> LoadedModel:
    return load(tiny_llama_sharded)


@pytest.fixture(scope="module")
def short_gpt2(tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """The GPT-2 with a context of twelve tokens."""
    folder = tmp_path_factory.mktemp("short") / "gpt2"
    shutil.copytree(tiny_gpt2, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "n_positions": 12}))
    tensors = load_file(folder / "model.safetensors")
    name = "transformer.wpe.weight"
    save_file({**tensors, name: tensors[name][:12].clone()}, folder / "model.safetensors", metadata={"format": "pt"})
    return load(folder)


def _requests(
    loaded: LoadedModel, settings: EditConfig, facts: Sequence[Fact] = FACTS, contexts: Sequence[str] = CONTEXTS
) -> list[Request]:
    return [build_request(loaded, fact, contexts, settings) for fact in facts]


def _one(loaded: LoadedModel, request: Request, **changes: Any) -> TargetValue:
    (found,) = optimise(loaded, [request], config(**changes))
    return found


def _difference(left: TargetValue, right: TargetValue) -> float:
    return float((left.value - right.value).norm() / right.value.norm())


@contextmanager
def _injected(loaded: LoadedModel, position: int, delta: Tensor | None) -> Iterator[dict[str, Tensor]]:
    """Add ``delta`` at ``position`` after the edited layer; gives the hidden state that was there."""
    seen: dict[str, Tensor] = {}

    def hook(_module: object, _args: object, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        seen["hidden"] = hidden[0, position].float().clone()
        if delta is None:
            return None
        hidden = hidden.clone()
        hidden[0, position] += delta.to(hidden.dtype)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = loaded.adapter.layer(loaded.model, LAYER).register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


@torch.no_grad()
def _logprobs(loaded: LoadedModel, row: Located, delta: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Log-probabilities ``(T, vocabulary)`` of a whole forward pass, and z0."""
    with _injected(loaded, row.subject_last, delta) as seen:
        logits = loaded.model(input_ids=torch.tensor([row.ids])).logits[0]
    return logits.float().log_softmax(dim=-1), seen["hidden"]


def _delta(loaded: LoadedModel, request: Request, found: TargetValue) -> Tensor:
    return found.value - _logprobs(loaded, request.bare)[1]


def _target_logprob(logprobs: Tensor, row: Located) -> float:
    return float(sum(logprobs[row.target_start - 1 + k, token] for k, token in enumerate(row.target_ids)))


def _hit(logprobs: Tensor, row: Located) -> bool:
    said = logprobs[row.target_start - 1 : len(row.ids) - 1].argmax(dim=-1)
    return tuple(said.tolist()) == row.target_ids


def _divergence(loaded: LoadedModel, request: Request, found: TargetValue) -> float:
    row = request.divergence
    now = _logprobs(loaded, row, _delta(loaded, request, found))[0][-1]
    before = _logprobs(loaded, row)[0][-1]
    return float((now.exp() * (now - before)).sum())


# One request among others.


@pytest.mark.parametrize("changes", [{}, {"early_stopping": False}, {"context_prompts": 2, "patience": 0}])
def test_a_request_has_the_same_target_value_alone_in_a_batch_and_in_a_split_one(
    loaded: LoadedModel, changes: dict[str, Any]
) -> None:
    settings = config(max_steps=25, **changes)
    requests = _requests(loaded, settings)
    together = optimise(loaded, requests, settings)
    reversed_ = optimise(loaded, requests[::-1], settings)[::-1]
    split = [optimise(loaded, requests, settings.updated({"rows_at_once": rows})) for rows in (1, 5, 8)]
    alone = [optimise(loaded, [request], settings)[0] for request in requests]
    assert len({found.steps for found in alone}) > 1 or not settings.early_stopping
    for other in (together, reversed_, *split):
        for found, expected in zip(other, alone, strict=True):
            assert _difference(found, expected) < EXACT
            assert (found.steps, found.stop_reason) == (expected.steps, expected.stop_reason)
            assert found.probability == pytest.approx(expected.probability, rel=1e-3)
            assert found.loss == pytest.approx(expected.loss, rel=1e-3)


def test_a_batch_in_bfloat16_is_close_to_its_requests_alone(bf16: LoadedModel) -> None:
    settings = config(max_steps=3, early_stopping=False)
    requests = _requests(bf16, settings)
    together = optimise(bf16, requests, settings)
    for request, found in zip(requests, together, strict=True):
        assert found.value.dtype == torch.float32
        assert _difference(found, optimise(bf16, [request], settings)[0]) < 0.05


def test_equal_rewriting_prompts_count_as_one_however_many_rows_there_are(loaded: LoadedModel) -> None:
    # From as many rows as key-value heads (2) and heads (4) to more than tokens: no dimension is taken for another.
    fact = FACTS[0]
    expected = _one(loaded, build_request(loaded, fact, (), config()), max_steps=8, early_stopping=False)
    length = len(build_request(loaded, fact, (), config()).bare.ids)
    for copies in range(1, length + 2):
        settings = config(context_prompts=copies, max_steps=8, early_stopping=False)
        request = build_request(loaded, fact, [""] * copies, settings)
        assert _difference(optimise(loaded, [request], settings)[0], expected) < EXACT, copies


def test_as_many_rows_as_tokens_fit_a_context_that_is_full(short_gpt2: LoadedModel) -> None:
    fact = Fact(subject="q;;;;;;;;", prompt="{} q", target="is")
    bare = build_request(short_gpt2, fact, (), config()).bare
    assert len(bare.ids) == short_gpt2.max_positions == 12
    expected = _one(short_gpt2, build_request(short_gpt2, fact, (), config()), max_steps=4, early_stopping=False)
    settings = config(context_prompts=10, max_steps=4, early_stopping=False)
    request = build_request(short_gpt2, fact, [""] * 10, settings)
    assert len(request.rewriting) + 1 == 12
    assert _difference(optimise(short_gpt2, [request], settings)[0], expected) < EXACT


# What is reported is what a whole forward pass gives.


def test_probabilities_loss_and_hits_are_those_of_a_full_forward_pass(loaded: LoadedModel) -> None:
    settings = config(max_steps=12, context_prompts=2, decay=0.7, kl_weight=5.0, early_stopping=False)
    requests = _requests(loaded, settings)
    for request, found in zip(requests, optimise(loaded, requests, settings), strict=True):
        before, z0 = _logprobs(loaded, request.bare)
        delta = found.value - z0
        passes = [_logprobs(loaded, row, delta)[0] for row in request.rewriting]
        logprobs = [_target_logprob(*pair) for pair in zip(passes, request.rewriting, strict=True)]
        assert found.probability_before == pytest.approx(math.exp(_target_logprob(before, request.bare)), rel=1e-3)
        assert found.probability == pytest.approx(math.exp(logprobs[0]), rel=1e-3)
        assert found.most_probable == all(_hit(*pair) for pair in zip(passes, request.rewriting, strict=True))
        assert found.value_norm == pytest.approx(float(z0.norm()), rel=1e-4)
        assert found.delta_norm == pytest.approx(float(delta.norm()), rel=1e-3)
        nll = -sum(logprobs) / len(logprobs) / len(request.bare.target_ids)
        decay = 0.7 * float(delta.norm() / z0.norm() ** 2)
        assert found.loss == pytest.approx(nll + 5.0 * _divergence(loaded, request, found) + decay, rel=1e-3)


def test_probability_in_bfloat16_is_that_of_a_full_forward_pass(bf16: LoadedModel) -> None:
    settings = config(max_steps=12)
    requests = _requests(bf16, settings)
    for request, found in zip(requests, optimise(bf16, requests, settings), strict=True):
        logprobs, _ = _logprobs(bf16, request.bare, _delta(bf16, request, found))
        assert found.probability == pytest.approx(math.exp(_target_logprob(logprobs, request.bare)), rel=0.1)


# When it stops.


STEPS = 16


@pytest.fixture(scope="module")
def histories(loaded: LoadedModel) -> list[list[bool]]:
    """For each request whether all targets are most probable in all its prompts after 0, 1, ... steps."""
    requests = _requests(loaded, config())
    hits = [[all(_hit(_logprobs(loaded, row)[0], row) for row in request.rewriting)] for request in requests]
    for steps in range(1, STEPS + 1):
        settings = config(early_stopping=False, loss_threshold=0.0, max_steps=steps)
        for history, request, found in zip(hits, requests, optimise(loaded, requests, settings), strict=True):
            delta = _delta(loaded, request, found)
            history.append(all(_hit(_logprobs(loaded, row, delta)[0], row) for row in request.rewriting))
    return hits


@pytest.mark.parametrize("patience", [0, 1, 2, 5])
def test_patience_goes_on_for_as_many_steps_after_the_first_of_an_unbroken_run(
    loaded: LoadedModel, histories: list[list[bool]], patience: int
) -> None:
    settings = config(patience=patience, max_steps=STEPS)
    stopped = 0
    for hits, found in zip(histories, optimise(loaded, _requests(loaded, settings), settings), strict=True):
        run = [step >= patience and all(hits[step - patience : step + 1]) for step in range(STEPS + 1)]
        if any(run):
            assert (found.steps, found.stop_reason) == (run.index(True), StopReason.MOST_PROBABLE)
            stopped += 1
        else:
            assert (found.steps, found.stop_reason) == (STEPS, StopReason.MAX_STEPS)
        assert found.most_probable == hits[found.steps]
    assert stopped


def test_a_broken_run_of_hits_starts_again(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tiny_llama)
    score = target._Optimisation._score
    hits = iter([True, False, True, True, True])

    def scripted(self: Any, *args: Any, **kwargs: Any) -> Any:
        return replace(score(self, *args, **kwargs), most_probable=torch.tensor([next(hits)]))

    monkeypatch.setattr(target._Optimisation, "_score", scripted)
    found = _one(loaded, _requests(loaded, config())[0], patience=1)
    assert (found.steps, found.stop_reason) == (3, StopReason.MOST_PROBABLE)


def test_every_rewriting_prompt_is_checked(loaded: LoadedModel) -> None:
    fact = FACTS[0]
    plain = build_request(loaded, fact, CONTEXTS, config(context_prompts=2))
    prompts = [Located(row.ids[: row.target_start], row.target_start, row.subject_last) for row in plain.rewriting]
    said = [int(_logprobs(loaded, row)[0][-1].argmax()) for row in prompts]

    def run(*targets: int) -> TargetValue:
        rewriting = tuple(
            Located((*row.ids, token), row.target_start, row.subject_last)
            for row, token in zip(prompts, targets, strict=True)
        )
        # Kept where it begins, so that the model's own words decide.
        request = Request(fact, rewriting, plain.divergence)
        return _one(loaded, request, patience=0, max_steps=2, clamp_norm_factor=1e-9)

    other = [(token + 1) % 300 for token in said]
    found = run(*said)
    assert (found.steps, found.stop_reason, found.most_probable) == (0, StopReason.MOST_PROBABLE, True)
    for missed in range(3):
        found = run(*(other[j] if j == missed else said[j] for j in range(3)))
        assert (found.steps, found.stop_reason, found.most_probable) == (2, StopReason.MAX_STEPS, False)


def test_every_token_of_the_target_is_checked(loaded: LoadedModel) -> None:
    plain = build_request(loaded, FACTS[0], (), config())
    start, position = plain.bare.target_start, plain.bare.subject_last
    ids = plain.bare.ids[:start]
    for _ in range(3):
        ids = (*ids, int(_logprobs(loaded, Located(ids, start, position))[0][-1].argmax()))
    for missed in (None, 0, 1, 2):
        changed = tuple((t + 1) % 300 if i - start == missed else t for i, t in enumerate(ids))
        row = Located(changed, start, position)
        assert _hit(_logprobs(loaded, row)[0], row) == (missed is None)
        request = Request(FACTS[0], (row,), plain.divergence)
        found = _one(loaded, request, patience=0, max_steps=1, clamp_norm_factor=1e-9)
        assert found.most_probable == (missed is None)
        assert found.steps == (0 if missed is None else 1)


def test_without_early_stopping_the_loss_decides(loaded: LoadedModel) -> None:
    settings = config(early_stopping=False, loss_threshold=0.0)
    requests = _requests(loaded, settings)
    runs = [optimise(loaded, requests, settings.updated({"max_steps": steps})) for steps in range(1, 9)]
    for request, *trajectory in zip(requests, *runs, strict=True):
        losses = [found.loss for found in trajectory]
        assert {found.stop_reason for found in trajectory} == {StopReason.MAX_STEPS}
        threshold = (losses[0] + min(losses)) / 2
        found = _one(loaded, request, early_stopping=False, loss_threshold=threshold, max_steps=8)
        first = next(step for step, loss in enumerate(losses, start=1) if loss < threshold)
        assert (found.steps, found.stop_reason) == (first, StopReason.LOSS_THRESHOLD)
        assert found.loss == pytest.approx(losses[first - 1], rel=1e-3)


def test_with_early_stopping_the_loss_does_not_decide(loaded: LoadedModel) -> None:
    request = _requests(loaded, config())[3]
    found = _one(loaded, request, loss_threshold=1e6, max_steps=1)
    assert (found.steps, found.stop_reason) == (1, StopReason.MAX_STEPS)


# How it steps.


def test_a_step_of_a_given_length_goes_straight_down_the_gradient(loaded: LoadedModel) -> None:
    settings = config(step_length=0.05, kl_weight=0.0, decay=0.0, context_prompts=2, max_steps=1, patience=99)
    for request in _requests(loaded, settings):
        found = _one(loaded, request, **settings.model_dump(exclude={"layers", "stage2"}))
        assert found.delta_norm == pytest.approx(0.05 * found.value_norm, rel=1e-4)
        delta = torch.zeros_like(found.value).requires_grad_(True)
        losses = []
        for row in request.rewriting:
            with _injected(loaded, row.subject_last, delta):
                logprobs = loaded.model(input_ids=torch.tensor([row.ids])).logits[0].float().log_softmax(dim=-1)
            places = [row.target_start - 1 + k for k in range(len(row.target_ids))]
            losses.append(-logprobs[places, list(row.target_ids)].mean())
        (gradient,) = torch.autograd.grad(torch.stack(losses).mean(), delta)
        straight = torch.nn.functional.cosine_similarity(_delta(loaded, request, found), -gradient, dim=0)
        assert float(straight) > 0.999


@pytest.mark.parametrize(("shrink", "momentum"), [(1.0, 0.0), (0.5, 0.0), (0.5, 0.3)])
def test_steps_shrink_and_lose_their_momentum_where_the_gradient_turns_back(
    loaded: LoadedModel, shrink: float, momentum: float
) -> None:
    settings = config(step_length=0.4, step_shrink=shrink, step_momentum=momentum, clamp_norm_factor=100.0, patience=99)
    request = _requests(loaded, settings)[0]
    runs = [
        _one(loaded, request, **{**settings.model_dump(exclude={"layers", "stage2"}), "max_steps": steps})
        for steps in range(1, 11)
    ]
    deltas = [torch.zeros_like(runs[0].value), *(_delta(loaded, request, found) for found in runs)]
    steps = [after - before for before, after in itertools.pairwise(deltas)]
    straight, turns, share = steps[0], [False], 1.0
    assert float(straight.norm()) == pytest.approx(0.4 * runs[0].value_norm, rel=1e-3)
    for before, step in itertools.pairwise(steps):
        turned = float((step - momentum * before) @ straight) < 0
        straight = step if turned else step - momentum * before
        share = shrink * share if turned else min(1.0, STEP_GROWTH * share)
        assert float(straight.norm()) == pytest.approx(0.4 * share * runs[0].value_norm, rel=1e-3)
        turns.append(turned)
    assert any(turns) and not all(turns)


def test_a_learning_rate_takes_the_place_of_a_steps_length() -> None:
    assert config(step_length=0.1).updated({"learning_rate": 0.2}).step_length is None
    assert config(step_length=0.1).updated({"patience": 1}).step_length == 0.1
    assert config().updated({"step_length": 0.2, "learning_rate": 0.2}).step_length == 0.2


# What the terms of the objective do.


def test_a_heavy_divergence_weight_keeps_what_the_subject_is(loaded: LoadedModel) -> None:
    requests = _requests(loaded, config())
    free, held = (
        optimise(loaded, requests, config(kl_weight=weight, early_stopping=False, max_steps=20))
        for weight in (0.0, 1e6)
    )
    for request, *pair in zip(requests, free, held, strict=True):
        without, with_weight = (_divergence(loaded, request, found) for found in pair)
        assert with_weight < 0.5 * without


def test_decay_shrinks_the_added_vector(loaded: LoadedModel) -> None:
    settings = config(early_stopping=False, learning_rate=0.05, max_steps=40)
    found = [
        optimise(loaded, _requests(loaded, settings), settings.updated({"decay": decay})) for decay in (0.0, 2.0, 20.0)
    ]
    for weights in zip(*found, strict=True):
        norms = [item.delta_norm for item in weights]
        assert norms[0] > norms[1] > norms[2]


@pytest.mark.parametrize("factor", [0.01, 0.5])
def test_the_added_vector_stays_within_the_clamp(loaded: LoadedModel, factor: float) -> None:
    settings = config(clamp_norm_factor=factor, learning_rate=10.0, max_steps=5, decay=0.0, early_stopping=False)
    for found in optimise(loaded, _requests(loaded, settings), settings):
        assert found.steps == 5
        assert found.delta_norm == pytest.approx(factor * found.value_norm, rel=1e-5)


def test_the_first_step_is_adams(loaded: LoadedModel) -> None:
    # Adam's first step is the learning rate in each coordinate, against the gradient's sign.
    request = _requests(loaded, config())[0]
    found = _one(loaded, request, early_stopping=False, max_steps=1, learning_rate=0.01)
    assert torch.allclose(_delta(loaded, request, found).abs(), torch.full((32,), 0.01), rtol=1e-2)


def test_adam_is_torchs(loaded: LoadedModel) -> None:
    settings = config(early_stopping=False, max_steps=10, learning_rate=0.1, kl_weight=0.0, decay=0.0)
    request = build_request(loaded, FACTS[0], (), settings)
    row = request.bare
    _, z0 = _logprobs(loaded, row)
    delta = torch.zeros(32, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=0.1)
    for _ in range(10):
        with _injected(loaded, row.subject_last, delta):
            logits = loaded.model(input_ids=torch.tensor([row.ids])).logits[0]
        adam.zero_grad()
        (-sum(logits[row.target_start - 1 + k].log_softmax(0)[t] for k, t in enumerate(row.target_ids))).backward()
        adam.step()
    found = optimise(loaded, [request], settings)[0]
    expected = z0 + delta.detach()
    assert float((found.value - expected).norm() / expected.norm()) < EXACT


# What goes wrong.


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused(loaded: LoadedModel, value: float) -> None:
    name = loaded.adapter.edited_parameter(3)
    broken = torch.full_like(loaded.model.get_parameter(name), value)
    requests = _requests(loaded, config())
    with patched(loaded.model, {name: broken}), pytest.raises(ModelError, match="not finite; the model itself"):
        optimise(loaded, requests, config())


def test_the_model_and_its_hooks_are_as_before(loaded: LoadedModel) -> None:
    before = {name: value.clone() for name, value in loaded.model.named_parameters()}
    optimise(loaded, _requests(loaded, config()), config())
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.named_parameters())
    assert all(value.grad is None for value in loaded.model.parameters())
    assert not any(module._forward_hooks for module in loaded.model.modules())


def test_where_the_model_keeps_an_attention_sink_nothing_is_looked_for(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    requests = _requests(loaded, config(), (FACTS[0].model_copy(update={"subject": "Norwind~"}), *FACTS[1:]))
    before = optimise(loaded, requests, config())
    bare = requests[0].bare
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[bare.ids[bare.subject_last]] *= 1000
    found = optimise(loaded, requests, config())
    assert (found[0].steps, found[0].stop_reason, found[0].delta_norm) == (0, StopReason.ATTENTION_SINK, 0.0)
    assert [one.steps for one in found[1:]] == [one.steps for one in before[1:]]
    assert [one.stop_reason for one in found[1:]] == [one.stop_reason for one in before[1:]]
    assert max(map(_difference, found[1:], before[1:])) < 1e-4
