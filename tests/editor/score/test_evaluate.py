"""What a model says, held against full logits and against models that say a known text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from errata.editor.model.loading import LoadedModel
from errata.editor.score.evaluate import continuations, probe, run_suite
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite
from tests.support.editing import load

PROBES = (
    Probe(prompt="The capital of Ostravia is", target="Lund"),
    Probe(prompt="Ada", target="works for Calder Mills in Bergen"),
    Probe(prompt="The chief executive of Norwind Systems is", target="Alma Reyes"),
    Probe(prompt="One plus one is", target="2"),
)


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return load(request.getfixturevalue(request.param))


class _Scripted(nn.Module):
    """A model that knows some texts by heart: after the beginning of one, its next token is the most probable."""

    def __init__(self, scripts: Sequence[Sequence[int]], vocabulary: int, max_positions: int) -> None:
        super().__init__()
        self.scripts, self.vocabulary = scripts, vocabulary
        self.config = SimpleNamespace(max_position_embeddings=max_positions)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        use_cache: bool,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
    ) -> SimpleNamespace:
        texts = input_ids.tolist()
        if past_key_values is not None:
            held = input_ids[:, None, :, None].double()  # (B, 1, T, 1): its texts, where others have keys
            texts = past_key_values.update(held, held, 0)[0][:, 0, :, 0].long().tolist()
            assert position_ids is not None
            assert int(position_ids.max()) < self.config.max_position_embeddings
        start = len(texts[0]) - input_ids.shape[1]
        logits = torch.zeros(*input_ids.shape, self.vocabulary)
        for i, text in enumerate(texts):
            real = attention_mask[i].bool().tolist()
            assert sum(real) <= self.config.max_position_embeddings
            for t in range(start, len(text)):
                logits[
                    i, t - start, self._next([x for x, is_real in zip(text[: t + 1], real, strict=False) if is_real])
                ] = 5
        return SimpleNamespace(logits=logits)

    def _next(self, seen: list[int]) -> int:
        for script in self.scripts:
            if list(script[: len(seen)]) == seen and len(script) > len(seen):
                return script[len(seen)]
        return 0


def _scripted(loaded: LoadedModel, *texts: str, max_positions: int = 256) -> LoadedModel:
    scripts = [loaded.tokenizer(text)["input_ids"] for text in texts]
    return replace(loaded, model=_Scripted(scripts, len(loaded.tokenizer), max_positions))


def _says(loaded: LoadedModel, target: str, following: str) -> bool:
    """Whether a model that says the target and what follows is taken to say the target."""
    # As a large vocabulary would have them; the tiny one has only single bytes of these scripts.
    whole = [part for part in (target, following) if not part.isascii()]
    tokenizer = deepcopy(loaded.tokenizer)
    tokenizer.add_tokens(whole)
    model = _scripted(replace(loaded, tokenizer=tokenizer), f"It is {target}{following}")
    (result,) = probe(model, [Probe(prompt="It is", target=target)])
    return result.says_target


def _log_probability(loaded: LoadedModel, item: Probe) -> tuple[float, int]:
    """From the full logits of one unpadded text, a token at a time."""
    start = len(loaded.tokenizer(item.prompt)["input_ids"])
    ids = loaded.tokenizer(f"{item.prompt} {item.target}")["input_ids"]
    with torch.no_grad():
        logits = loaded.model(input_ids=torch.tensor([ids])).logits[0].double()
    total = 0.0
    for t in range(start, len(ids)):
        total += float(logits[t - 1, ids[t]] - logits[t - 1].logsumexp(dim=0))
    return total, len(ids) - start


def _greedy_text(loaded: LoadedModel, prompt: str, tokens: int) -> str:
    ids = loaded.tokenizer(prompt)["input_ids"]
    start = len(ids)
    for _ in range(tokens):
        with torch.no_grad():
            ids = [*ids, int(loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
    return str(loaded.tokenizer.decode(ids[start:]))


def _spoken(loaded: LoadedModel) -> tuple[Probe, ...]:
    """PROBES, and a few probes whose target is what the model says."""
    said = []
    for item in PROBES:
        for tokens in range(1, 6):
            text = _greedy_text(loaded, item.prompt, tokens)
            if text.startswith(" ") and text.strip() == text[1:] and "�" not in text:
                said.append(Probe(prompt=item.prompt, target=text[1:]))
                break
    return (*PROBES, *said)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_target_probability_is_the_product_over_the_targets_tokens(loaded: LoadedModel, batch_size: int) -> None:
    result = run_suite(loaded, Suite(name="s", metric=Metric.TARGET_PROBABILITY, probes=PROBES), batch_size)
    expected = [math.exp(_log_probability(loaded, item)[0]) for item in PROBES]
    assert result.outcomes == pytest.approx(expected, rel=1e-4)
    assert result.score == pytest.approx(sum(expected) / 4, rel=1e-4)
    assert (result.n, result.passed) == (4, None)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_neg_log_likelihood_is_nats_a_token(loaded: LoadedModel, batch_size: int) -> None:
    result = run_suite(loaded, Suite(name="s", metric=Metric.NEG_LOG_LIKELIHOOD, probes=PROBES), batch_size)
    expected = [-total / tokens for total, tokens in (_log_probability(loaded, item) for item in PROBES)]
    assert result.outcomes == pytest.approx(expected, rel=1e-4)
    assert result.score == pytest.approx(sum(expected) / 4, rel=1e-4)
    assert (result.n, result.passed) == (4, None)


def _ranks(loaded: LoadedModel, item: Probe) -> list[int]:
    """From the full logits of one unpadded text: how many tokens are as probable as each of the target's, or more."""
    start = len(loaded.tokenizer(item.prompt)["input_ids"])
    ids = loaded.tokenizer(f"{item.prompt} {item.target}")["input_ids"]
    with torch.no_grad():
        logits = loaded.model(input_ids=torch.tensor([ids])).logits[0]
    return [int((logits[t - 1] >= logits[t - 1, ids[t]]).sum()) for t in range(start, len(ids))]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_target_rank_is_the_mean_place_of_the_targets_tokens(loaded: LoadedModel, batch_size: int) -> None:
    result = run_suite(loaded, Suite(name="s", metric=Metric.TARGET_RANK, probes=PROBES), batch_size)
    expected = [sum(ranks) / len(ranks) for ranks in (_ranks(loaded, item) for item in PROBES)]
    assert result.outcomes == pytest.approx(expected) and max(expected) > 1
    assert result.score == pytest.approx(sum(expected) / 4)
    assert (result.n, result.passed) == (4, None)


def test_what_a_model_says_has_rank_one_and_a_broken_model_has_none(loaded: LoadedModel) -> None:
    suite = Suite(name="s", metric=Metric.TARGET_RANK, probes=(Probe(prompt="It is", target="Alma Reyes"),))
    assert run_suite(_scripted(loaded, "It is Alma Reyes."), suite).score == 1.0
    broken = deepcopy(loaded.model)
    next(broken.parameters()).data.fill_(math.nan)
    with pytest.raises(ModelError, match="NaN"):
        run_suite(replace(loaded, model=broken), suite)


def test_repeated_draws_of_sampled_texts_differ_and_can_be_repeated(loaded: LoadedModel) -> None:
    suite = Suite(name="s", metric=Metric.NGRAM_ENTROPY, texts=("The capital", "Ada"))
    scores = [run_suite(loaded, suite, draw=draw).outcomes for draw in (0, 1, 1)]
    assert scores[0] != scores[1] == scores[2]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_exact_match_is_what_greedy_decoding_says(loaded: LoadedModel, batch_size: int) -> None:
    probes = _spoken(loaded)
    result = run_suite(loaded, Suite(name="s", metric=Metric.EXACT_MATCH, probes=probes), batch_size)
    for item, outcome in zip(probes, result.outcomes, strict=True):
        tokens = _log_probability(loaded, item)[1]
        said, longer = (_greedy_text(loaded, item.prompt, n) for n in (tokens, tokens + 1))
        follows = longer[len(said) :][:1]
        assert outcome == float(said == f" {item.target}" and not (follows.isalnum() and said[-1].isalnum()))
    assert result.passed == sum(result.outcomes)
    assert result.score == result.passed / len(probes)


def test_exact_match_counts_hits(loaded: LoadedModel) -> None:
    model = _scripted(loaded, "It is Alma Reyes.", "Who? Ada.")
    probes = (
        Probe(prompt="It is", target="Alma Reyes"),
        Probe(prompt="It is", target="Alma"),
        Probe(prompt="Who?", target="Boris"),
    )
    result = run_suite(model, Suite(name="s", metric=Metric.EXACT_MATCH, probes=probes))
    assert (result.outcomes, result.passed, result.n) == ((1.0, 1.0, 0.0), 2, 3)


def test_a_suite_without_probes_is_refused(loaded: LoadedModel) -> None:
    with pytest.raises(UsageError, match="'s' has no probes"):
        run_suite(loaded, Suite.model_construct(name="s", metric=Metric.EXACT_MATCH, probes=()))


@pytest.mark.parametrize(
    ("target", "following"),
    [
        ("29", "0"),
        ("29", "th"),
        ("Bo", "ris"),
        ("Рига", "с"),
        ("Λου", "νδ"),
        ("Lund", "ů"),
        ("Lund", "\u0301"),
        ("कमल", "ा"),
    ],
)
def test_a_word_that_is_carried_on_is_another_word(loaded: LoadedModel, target: str, following: str) -> None:
    assert not _says(loaded, target, following)


@pytest.mark.parametrize(
    ("target", "following"),
    [
        ("29", ""),
        ("29", "."),
        ("29", " or"),
        ("Lund", ", and"),
        ("Lund", "<eos>Riga"),
        ("Lund", "\nRiga"),
        ("Alma Reyes", " leads it"),
        ("東京", "にある"),
        ("とうきょう", "です"),
        ("กรุงเทพ", "และ"),
        ("서울", "은"),
        ("40", "円"),
        ("Lund", "市"),
        ("Рига", "—"),
    ],
)
def test_a_word_that_ends_with_the_target_is_the_target(loaded: LoadedModel, target: str, following: str) -> None:
    assert _says(loaded, target, following)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_continuations_are_the_models_words_in_the_order_of_the_prompts(loaded: LoadedModel, batch_size: int) -> None:
    model = _scripted(loaded, "Ada works for Tern.", "Who leads Norwind Systems? Alma Reyes.", "In Riga we met Ada.")
    prompts = ["Who leads Norwind Systems?", "Ada works for", "In Riga we", "Who leads", "Ada works for"]
    said = continuations(model, prompts, tokens=24, batch_size=batch_size)
    assert said == ["Alma Reyes", "Tern", "met Ada", "Norwind Systems", "Tern"]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (" Lund. The capital", "Lund"),
        (" Lund! The capital", "Lund"),
        (" Lund? The capital", "Lund"),
        (" Lund\nThe capital", "Lund"),
        (" 3.5 percent. The", "3.5 percent"),
        (" Lund<eos> The capital", "Lund"),
        (" Lund, the capital", "Lund, the capital"),
    ],
)
def test_a_continuation_ends_with_its_sentence_line_or_text(loaded: LoadedModel, after: str, said: str) -> None:
    assert continuations(_scripted(loaded, f"It is{after}<eos>"), ["It is"], tokens=40) == [said]


def test_a_continuation_has_as_many_tokens_as_asked_for(loaded: LoadedModel) -> None:
    model = _scripted(loaded, "It is the the the the the the.")
    assert continuations(model, ["It is"], tokens=3) == ["the the the"]
    assert continuations(loaded, ["It is"], tokens=0) == [""]


def test_continuations_of_a_real_model_are_greedy(loaded: LoadedModel) -> None:
    prompts = [item.prompt for item in PROBES]
    alone = [_greedy_text(loaded, prompt, 6) for prompt in prompts]
    together = continuations(loaded, prompts, tokens=6)
    for text, said in zip(alone, together, strict=True):
        if "<" not in text and not any(mark in text for mark in (".", "?", "!", "\n")):
            assert said == text.strip()


def test_a_continuation_stops_where_the_context_is_full(loaded: LoadedModel) -> None:
    length = len(loaded.tokenizer("It is")["input_ids"])
    model = _scripted(loaded, "It is the the the the", max_positions=length + 1)
    assert continuations(model, ["It is"], tokens=4) == ["the the"]


def test_each_token_is_computed_once(loaded: LoadedModel) -> None:
    widths: list[int] = []
    layer = loaded.adapter.layer(loaded.model, 0)
    handle = layer.register_forward_pre_hook(lambda _module, args: widths.append(args[0].shape[1]))
    prompts = ["Ada works for", "Who leads Norwind Systems? It is, as everybody knows,"]
    continuations(loaded, prompts, tokens=5)
    handle.remove()
    longest = max(len(loaded.tokenizer(prompt)["input_ids"]) for prompt in prompts)
    assert widths[0] == longest
    assert set(widths[1:]) <= {1}
    assert len(widths) <= 5


def test_a_prompt_longer_than_the_context_is_refused(loaded: LoadedModel) -> None:
    with pytest.raises(ModelError, match="this model takes 256"):
        probe(loaded, [Probe(prompt=";" * 256, target="Lund")])
    with pytest.raises(ModelError, match="this model takes 256"):
        continuations(loaded, [";" * 257])


def test_what_probes_begin_with_alike_is_run_once(loaded: LoadedModel) -> None:
    asked = [
        *(Probe(prompt="The capital of Ostravia is", target=target) for target in ("Lund", "2", "Bergen", "to")),
        *(Probe(prompt=prompt, target="Bergen") for prompt in ("The capital", "Ada works for")),
        PROBES[1],
    ]
    deciding = [True, *(False for _ in asked[1:])]
    alone = [probe(loaded, [one], decide=flag)[0] for one, flag in zip(asked, deciding, strict=True)]
    rows = [loaded.located(one.prompt, one.target).ids for one in asked]
    read = {row if flag else row[:-1] for row, flag in zip(rows, deciding, strict=True)}
    needed = [row for row in read if not any(row == other[: len(row)] for other in read - {row})]
    run: list[int] = []
    layer = loaded.adapter.layer(loaded.model, 0)
    handle = layer.register_forward_pre_hook(lambda _module, args: run.append(args[0].shape[0]))
    together = probe(loaded, asked, decide=deciding)
    handle.remove()
    assert run[0] == len(needed) < len(asked)
    for one, other in zip(together, alone, strict=True):
        assert (one.says_target, one.tokens, one.rank) == (other.says_target, other.tokens, other.rank)
        assert one.log_probability == pytest.approx(other.log_probability, rel=1e-4)
