"""n-gram entropy against values by hand, and perplexity against one token at a time."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from errata.editor.model.loading import LoadedModel, load_model
from errata.editor.score.evaluate import run_suite
from errata.editor.score.fluency import TextLikelihood, likelihoods, ngram_entropy, perplexity, sample_texts
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.facts.suites import Metric, Suite

TEXTS = (
    "The capital of Ostravia is Lund.",
    "Ada works for Calder Mills in Bergen, and the office is in Oslo. " * 4,
    "",
)


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path) -> LoadedModel:
    return load_model(tiny_llama)


def test_entropy_by_hand() -> None:
    # a b c d: three bigrams and two trigrams, each once.
    assert ngram_entropy("a b c d") == pytest.approx((2 / 3 * math.log2(3) + 4 / 3 * math.log2(2)) / 2)
    # a b a b a: two bigrams twice each, trigrams aba twice and bab once.
    trigrams = -(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3))
    assert ngram_entropy("a b a b a") == pytest.approx((2 / 3 * 1 + 4 / 3 * trigrams) / 2)


@pytest.mark.parametrize("text", ["", "one", "no no no no no no"])
def test_a_text_that_repeats_itself_or_is_too_short_has_none(text: str) -> None:
    assert ngram_entropy(text) == 0.0


def test_samples_follow_the_seed_and_not_the_company(loaded: LoadedModel) -> None:
    prompts = ["The price of", "Ada works for a"]
    texts = sample_texts(loaded, prompts, tokens=8)
    assert texts == sample_texts(loaded, prompts, tokens=8, batch_size=1)
    assert texts[:1] == sample_texts(loaded, prompts[:1], tokens=8)
    assert texts != sample_texts(loaded, prompts, tokens=8, seed=5)


def _plain(loaded: LoadedModel, text: str) -> tuple[float, int]:
    ids = loaded.tokenizer(text)["input_ids"]
    with torch.no_grad():
        logits = loaded.model(input_ids=torch.tensor([ids])).logits[0].double()
    predicted = torch.log_softmax(logits, dim=-1)
    return -sum(float(predicted[t - 1, ids[t]]) for t in range(1, len(ids))), len(ids) - 1


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_text_in_one_window_has_its_own_likelihood(loaded: LoadedModel, batch_size: int) -> None:
    found = likelihoods(loaded, TEXTS, batch_size=batch_size)
    for item, text in zip(found[:2], TEXTS, strict=False):
        nats, tokens = _plain(loaded, text)
        assert item.nats == pytest.approx(nats, rel=1e-5)
        assert item.tokens == tokens
    assert found[2] == TextLikelihood(0.0, 0)


@pytest.mark.parametrize("window", [2, 7, 16])
def test_windows_predict_every_token_but_the_first_once(loaded: LoadedModel, window: int) -> None:
    found = likelihoods(loaded, TEXTS[:2], window)
    assert [item.tokens for item in found] == [_plain(loaded, text)[1] for text in TEXTS[:2]]


def test_perplexity_is_over_tokens(loaded: LoadedModel) -> None:
    found = perplexity([TextLikelihood(2.0, 1), TextLikelihood(4.0, 5), TextLikelihood(0.0, 0)])
    assert found.value == pytest.approx(math.e)
    assert (found.n, found.clusters) == (6, 2)
    suite = Suite(name="s", metric=Metric.PERPLEXITY, texts=TEXTS[:2])
    pairs = [_plain(loaded, text) for text in TEXTS[:2]]
    expected = math.exp(sum(nats for nats, _ in pairs) / sum(tokens for _, tokens in pairs))
    result = run_suite(loaded, suite)
    assert result.score == pytest.approx(expected, rel=1e-5)
    assert result.n == 2
    entropy = run_suite(loaded, Suite(name="s", metric=Metric.NGRAM_ENTROPY, texts=TEXTS[:1]))
    assert entropy.score > 0


def test_what_has_no_perplexity_is_told(loaded: LoadedModel) -> None:
    with pytest.raises(UsageError, match="no token"):
        perplexity([TextLikelihood(0.0, 0)])
    with pytest.raises(ModelError, match="NaN"):
        perplexity([TextLikelihood(math.nan, 3)])
    with pytest.raises(UsageError, match="a window"):
        likelihoods(loaded, TEXTS, window=1)


def test_a_likelihood_beyond_all_numbers_is_told() -> None:
    with pytest.raises(ModelError, match="perplexity is not a finite number"):
        perplexity([TextLikelihood(2.0, 1), TextLikelihood(2000.0, 2)])
