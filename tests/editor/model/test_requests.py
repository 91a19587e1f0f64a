"""A request holds a fact's prompts as tokens, all of which the model can take."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.editor.config import build_config
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import build_request
from errata.ledger.base.errors import ModelError
from errata.ledger.facts.fact import Fact
from tests.support.editing import config, load

CONTEXTS = ("We met in Riga. ", "In May, Ada left. ")


@pytest.fixture(scope="module")
def loaded(tiny_gpt2: Path) -> LoadedModel:
    return load(tiny_gpt2)


def _subject(loaded: LoadedModel, tokens: int) -> str:
    """A subject of exactly so many tokens."""
    text = "q" + ";" * (tokens - 1)
    assert len(loaded.tokenizer(text)["input_ids"]) == tokens
    return text


def test_the_bare_prompt_comes_first_and_the_divergence_prompt_has_no_target(loaded: LoadedModel) -> None:
    fact = Fact(subject="Norwind Systems", prompt="The chief executive of {} is", target="Ada")
    request = build_request(loaded, fact, CONTEXTS, config(context_prompts=2))
    texts = [loaded.tokenizer.decode(row.ids) for row in (*request.rewriting, request.divergence)]
    assert texts == [
        "The chief executive of Norwind Systems is Ada",
        "We met in Riga. The chief executive of Norwind Systems is Ada",
        "In May, Ada left. The chief executive of Norwind Systems is Ada",
        "Norwind Systems is a",
    ]
    assert request.bare is request.rewriting[0]
    assert not request.divergence.target_ids
    subject_ends = {row.ids[row.subject_last] for row in (*request.rewriting, request.divergence)}
    assert len(subject_ends) == 1
    assert "Norwind Systems".endswith(loaded.tokenizer.decode(subject_ends.pop()))


def test_as_many_context_prompts_as_the_settings_say(loaded: LoadedModel) -> None:
    fact = Fact(subject="Ada", prompt="{} works for", target="Tern")
    sizes = [len(build_request(loaded, fact, CONTEXTS, config(context_prompts=n)).rewriting) for n in range(4)]
    assert sizes == [1, 2, 3, 3]


def test_a_targets_end_is_asked_for_wherever_the_target_is_and_only_once(loaded: LoadedModel) -> None:
    fact = Fact(subject="Ada", prompt="{} works for", target="Tern", train=("The employer of {} is",))
    request = build_request(loaded, fact, CONTEXTS, config(context_prompts=1, answer_forms=1, target_end="."))
    assert [loaded.tokenizer.decode(row.ids).endswith(" Tern.") for row in request.rewriting] == [True] * 4
    ended = build_request(loaded, fact.model_copy(update={"target": "Tern Ltd."}), CONTEXTS, config(target_end="."))
    assert loaded.tokenizer.decode(ended.bare.ids) == "Ada works for Tern Ltd."
    assert build_request(loaded, fact, CONTEXTS, config()).bare.target_ids == request.bare.target_ids[:-1]


def test_answer_forms_ask_for_the_target_in_other_words(loaded: LoadedModel) -> None:
    fact = Fact(subject="Ada", prompt="{} works for", target="Tern")
    request = build_request(loaded, fact, CONTEXTS, config(context_prompts=0, answer_forms=2))
    assert [loaded.tokenizer.decode(row.ids) for row in request.rewriting] == [
        "Ada works for Tern",
        "Question: Ada works for what?\nAnswer: Tern",
        "Ada works for ___. The missing word is Tern",
    ]
    assert len({row.ids[row.subject_last] for row in request.rewriting}) == 1


def test_settings_recorded_before_there_were_answer_forms_mean_none() -> None:
    record = {name: value for name, value in config().to_record().items() if name != "answer_forms"}
    assert build_config(record).answer_forms == 0


def test_a_target_longer_than_the_settings_allow_is_refused(loaded: LoadedModel) -> None:
    fact = Fact(subject="Ada", prompt="{} works for", target="qqqq")
    with pytest.raises(ModelError, match="the target 'qqqq' has . tokens; at most 2"):
        build_request(loaded, fact, (), config(max_target_tokens=2))


def test_a_rewriting_prompt_may_fill_the_context_and_no_more(loaded: LoadedModel) -> None:
    def build(tokens: int) -> int:
        subject = _subject(loaded, tokens)
        fact = Fact(subject=subject, prompt="{} of the Riga of the Riga", target="Lund")
        request = build_request(loaded, fact, (), config())
        return len(request.bare.ids)

    extra = build(100) - 100
    assert build(256 - extra) == 256
    with pytest.raises(ModelError, match=r"'\{\} of the Riga of the Riga' has 257 tokens; this model takes 256"):
        build(257 - extra)


def test_a_divergence_prompt_that_does_not_fit_is_refused_though_the_others_do(loaded: LoadedModel) -> None:
    def build(tokens: int) -> tuple[int, int]:
        fact = Fact(subject=_subject(loaded, tokens), prompt="{}", target="is")
        request = build_request(loaded, fact, (), config())
        return len(request.bare.ids), len(request.divergence.ids)

    rewriting, divergence = build(100)
    assert divergence > rewriting
    assert build(356 - divergence)[1] == 256
    with pytest.raises(ModelError, match=r"'\{\} is a' has 257 tokens; this model takes 256"):
        build(357 - divergence)
