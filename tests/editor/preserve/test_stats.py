"""Second moments: against a direct average, and what their digest depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from errata.editor.model.hooks import recording
from errata.editor.preserve.stats import StatsSettings, collect, stats_digest
from errata.ledger.base.errors import UsageError
from tests.support.editing import DOCUMENTS, load


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gpt2"])
def test_the_streamed_second_moment_is_the_average_over_all_but_first_positions(
    model: str, request: pytest.FixtureRequest
) -> None:
    loaded = load(request.getfixturevalue(model))
    documents = DOCUMENTS[:7]
    (moment,) = collect(loaded, [*documents, "", "  "], [1], StatsSettings(batch_size=3))
    total, count = torch.zeros(64, 64, dtype=torch.float64), 0
    for text in documents:
        ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
        with torch.no_grad(), recording({"k": loaded.adapter.edited_module(loaded.model, 1)}) as records:
            loaded.model(input_ids=ids)
        keys = records["k"].args[0][0, 1:].double()
        total += keys.T @ keys
        count += len(keys)
    assert moment.tokens == count
    assert torch.allclose(moment.matrix, total / count, rtol=1e-4, atol=1e-7)
    assert torch.equal(moment.matrix, moment.matrix.T)


def test_reading_stops_at_the_most_tokens(tiny_llama: Path) -> None:
    (moment,) = collect(load(tiny_llama), DOCUMENTS, [0], StatsSettings(max_tokens=50, batch_size=4))
    assert moment.tokens == 50


def test_long_documents_are_read_in_windows(tiny_llama: Path) -> None:
    (moment,) = collect(load(tiny_llama), [" ".join(DOCUMENTS[:8])], [0], StatsSettings(window=16))
    assert moment.tokens > 100


def test_an_empty_corpus_is_refused(tiny_llama: Path) -> None:
    with pytest.raises(UsageError, match="no key"):
        collect(load(tiny_llama), ["", " "], [0], StatsSettings())


def test_the_digest_depends_on_everything_the_moment_depends_on() -> None:
    settings = StatsSettings()
    arguments = {"base": "b", "tokenizer": "t", "corpus": "c", "layer": 1, "settings": settings}
    changes = [
        {"base": "x"},
        {"tokenizer": "x"},
        {"corpus": "x"},
        {"layer": 2},
        {"settings": replace(settings, max_tokens=1)},
        {"settings": replace(settings, window=1)},
        {"settings": replace(settings, batch_size=1)},
        {"settings": replace(settings, skip_first=0)},
    ]
    digests = {stats_digest(**arguments)} | {stats_digest(**{**arguments, **change}) for change in changes}
    assert len(digests) == 1 + len(changes)
