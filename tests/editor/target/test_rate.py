"""The learning rate that suits a model: the default, or more where hidden states are large."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from errata.editor.config import EditConfig
from errata.editor.target.rate import SHARE, suited_rate
from errata.replay.workflow.genesis import initial_settings
from tests.support.editing import load

DEFAULT = EditConfig.model_fields["learning_rate"].default
LAYER = 1


def test_small_hidden_states_keep_the_default(tiny_llama: Path) -> None:
    assert suited_rate(load(tiny_llama), LAYER) == DEFAULT


def test_the_rate_grows_with_the_hidden_states(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    embedding = loaded.model.get_input_embeddings().weight
    with torch.no_grad():
        embedding.mul_(1e3 / embedding.pow(2).mean().sqrt())
    assert suited_rate(loaded, LAYER) == pytest.approx(SHARE * 1e3, rel=0.2)
    start = initial_settings(loaded, tiny_llama, {"layers": [LAYER]})
    assert start.config.learning_rate == suited_rate(loaded, LAYER)
    assert initial_settings(loaded, tiny_llama, {"learning_rate": 0.1}).config.learning_rate == 0.1
