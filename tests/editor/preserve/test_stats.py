"""Second moments: against a direct average, and what their digest depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from errata.editor.model.hooks import recording
from errata.editor.preserve.stats import StatsSettings, collect, keys_in, stats_digest
from errata.ledger.base.errors import UsageError
from tests.support.editing import DOCUMENTS, load
from tests.support.tiny import save_tiny


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("with_bos", [True, False])
def test_the_streamed_second_moment_is_the_average_over_all_positions_but_a_beginning_of_text(
    family: str, with_bos: bool, tmp_path: Path
) -> None:
    loaded = load(save_tiny(tmp_path, family, tokenizer="bytes+bos" if with_bos else "bytes"))
    documents = DOCUMENTS[:7]
    (moment,) = collect(loaded, [*documents, "", "  "], [1], StatsSettings(batch_size=3))
    total, count = torch.zeros(64, 64, dtype=torch.float64), 0
    for text in documents:
        ids = torch.tensor([loaded.tokenizer(text)["input_ids"]])
        with torch.no_grad(), recording({"k": loaded.adapter.edited_module(loaded.model, 1)}) as records:
            loaded.model(input_ids=ids)
        keys = records["k"].args[0][0, int(with_bos) :].double()
        total += keys.T @ keys
        count += len(keys)
    assert moment.tokens == count == keys_in(loaded, documents, StatsSettings(batch_size=3))
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
    settings = StatsSettings(skip_first=1)
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
