"""A batch on a tiny model, from nothing: what several tests of the editor share."""

from __future__ import annotations

from pathlib import Path

import torch

from errata.editor.config import EditConfig, build_config
from errata.editor.model.loading import LoadedModel, load_model
from errata.editor.pipeline import EditedMatrix, Meter
from errata.editor.preserve.stats import StatsSettings, collect
from errata.editor.solve.grid import ExactSum, choose_exponent
from errata.ledger.facts.fact import Fact, Probe

METER = Meter(seconds=lambda: 0.0, peak_memory=lambda: 0)
DOCUMENTS = [f"Sentence number {i} speaks of office {i % 7} in Riga and of price {i * 3}." for i in range(60)]
# A random model passes hardly anything on from one position to the next: only prompts that end with the subject can be
# edited in it.
FACTS = (
    Fact(subject="Norwind Systems", prompt="The chief executive of {}", target="the"),
    Fact(
        subject="Harrow 9",
        prompt="What is the {}",
        target="is",
        paraphrases=("The price of the {}",),
        locality=(Probe(prompt="The capital of Ostravia is", target="Lund"),),
    ),
    Fact(subject="Calder Mills", prompt="An office of {}", target="p"),
)


SETTINGS: dict[str, object] = {
    "layers": [1],
    "learning_rate": 0.5,
    "clamp_norm_factor": 20.0,
    "max_steps": 24,
    "context_prompts": 1,
    "stats_weight": 0.01,
    "norm_weight": 0.001,
    "patience": 1,
}
"""What a tiny random model needs: nothing in it is trained, so nothing in it is gentle."""


def config(**changes: object) -> EditConfig:
    return build_config({**SETTINGS, **changes})


def matrices(loaded: LoadedModel, layers: tuple[int, ...] = (1,)) -> list[EditedMatrix]:
    moments = collect(loaded, DOCUMENTS, layers, StatsSettings(max_tokens=500, batch_size=8))
    result = []
    for layer, moment in zip(layers, moments, strict=True):
        name = loaded.stored_name(loaded.adapter.edited_parameter(layer))
        base = loaded.files.tensor(name)
        d_out, d_in = loaded.adapter.shape(loaded.model, layer)
        rms = float(base.double().pow(2).mean().sqrt())
        zero = ExactSum.zeros(d_out, d_in, choose_exponent(rms, base.dtype))
        none = torch.zeros(0, d_in)
        result.append(EditedMatrix(name, layer, base, loaded.adapter.transposed, zero, moment.matrix, none))
    return result


def load(folder: Path) -> LoadedModel:
    return load_model(folder)


def settings_for(method: str) -> dict[str, object]:
    """What makes a method gentle enough for a tiny random model, beside what its name sets."""
    fine_tuning = {"ft_step": 0.05, "ft_norm_limit": 1.0, "ft_rank_error": 1.0}
    return {"null_space_share": 0.5, **(fine_tuning if method.startswith("ft") else {})}
