"""Presets: whole, chosen by shape, and sound as settings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from transformers import AutoConfig

from errata.editor.config import build_config
from errata.editor.model.architecture import ADAPTERS
from errata.editor.presets import PRESETS, Preset, preset_for

NAMES = {
    "gpt2": ("n_layer", "n_embd", "n_inner"),
    "gptj": ("n_layer", "n_embd", "n_inner"),
}


def configuration(preset: Preset, **changes: object) -> object:
    names = NAMES.get(preset.family, ("num_hidden_layers", "hidden_size", "intermediate_size"))
    values = {**dict(zip(names, preset.shape, strict=True)), "vocab_size": preset.vocabularies[0], **changes}
    return AutoConfig.for_model(preset.family, **values)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_chosen_by_the_shape_of_its_model(preset: Preset) -> None:
    assert preset.family in ADAPTERS
    assert preset_for(preset.family, configuration(preset)) is preset
    assert preset_for("olmo2", configuration(preset)) is None
    assert preset_for(preset.family, configuration(preset, vocab_size=77)) is None
    shallow = "n_layer" if preset.family in NAMES else "num_hidden_layers"
    assert preset_for(preset.family, configuration(preset, **{shallow: 3})) is None


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_is_a_whole_setting_with_a_source(preset: Preset) -> None:
    config = build_config(preset.settings)
    assert config.method == "encore"
    assert config.layers[-1] < preset.shape[0]
    assert "arXiv" in preset.source or "github.com" in preset.source or preset.source.startswith("tuned here")
    assert {"layers", "max_steps", "decay", "stats_weight", "norm_weight", "patience"} <= set(preset.settings)


def test_a_gpt_whose_configuration_leaves_the_mlp_out_has_four_times_the_hidden_size() -> None:
    config = SimpleNamespace(num_hidden_layers=48, hidden_size=1600, n_inner=None, vocab_size=50257)
    found = preset_for("gpt2", config)
    assert found is not None and found.name == "gpt2-xl"


def test_names_are_unique() -> None:
    assert len({preset.name for preset in PRESETS}) == len(PRESETS)
