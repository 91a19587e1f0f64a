"""Patching always ends with the bytes that were there before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from errata.editor.model.hooks import patched, recording
from errata.editor.model.loading import LoadedModel
from errata.ledger.base.errors import ModelError
from tests.support.editing import load

NAME = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path) -> LoadedModel:
    return load(tiny_llama)


def test_a_patch_is_in_force_inside_and_undone_after(loaded: LoadedModel) -> None:
    before = loaded.model.get_parameter(NAME).clone()
    with patched(loaded.model, {NAME: torch.zeros_like(before)}):
        assert not loaded.model.get_parameter(NAME).any()
    assert torch.equal(loaded.model.get_parameter(NAME), before)


def test_a_patch_is_undone_when_the_body_raises(loaded: LoadedModel) -> None:
    before = loaded.model.get_parameter(NAME).clone()
    with pytest.raises(KeyboardInterrupt), patched(loaded.model, {NAME: torch.ones_like(before)}):
        raise KeyboardInterrupt
    assert torch.equal(loaded.model.get_parameter(NAME), before)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"model.nothing": torch.zeros(1)}, "no parameter"),
        ({NAME: torch.zeros(3, 3)}, r"not torch.float32 \(3, 3\)"),
        ({NAME: torch.zeros(32, 64, dtype=torch.bfloat16)}, "not torch.bfloat16"),
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(
    loaded: LoadedModel, weights: dict[str, torch.Tensor], message: str
) -> None:
    before = loaded.model.get_parameter(NAME).clone()
    with pytest.raises(ModelError, match=message), patched(loaded.model, {NAME: torch.zeros(32, 64), **weights}):
        pytest.fail("the body must not run")
    assert torch.equal(loaded.model.get_parameter(NAME), before)


def test_recording_sees_inputs_and_outputs_and_leaves_no_hook(loaded: LoadedModel) -> None:
    module = loaded.adapter.edited_module(loaded.model, 1)
    with recording({"m": module, "layer": loaded.adapter.layer(loaded.model, 1)}) as records:
        loaded.model(input_ids=torch.tensor([[1, 5, 6]]))
    assert records["m"].args[0].shape == (1, 3, 64)
    assert records["layer"].hidden.shape == (1, 3, 32)
    assert not module._forward_hooks
