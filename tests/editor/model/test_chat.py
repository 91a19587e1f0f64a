"""The form of a chat: the tokenizer's own template, one beginning of text, and the subject found inside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoTokenizer

from errata.editor.model.chat import ChatForm, chat_form
from errata.editor.model.loading import LoadedModel, load_model
from errata.editor.model.requests import build_request, keys_and_hidden, prompts_a_fact
from errata.editor.model.text import Located, locate
from errata.editor.pipeline import edit_batch
from errata.editor.score.evaluate import first_sentence, probe
from errata.editor.score.scores import Family, score_facts
from errata.ledger.base.errors import ModelError
from errata.ledger.facts.fact import ChatQuestion, Fact, Probe
from tests.support.editing import METER, config, matrices

CHATML = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPACED = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}<eos>{% endif %}{% endfor %}"
)


@pytest.fixture
def loaded(tiny_llama: Path) -> LoadedModel:
    found = load_model(tiny_llama)
    found.tokenizer.chat_template = CHATML
    return found


def test_a_template_is_what_stands_around_the_words_and_before_the_answer(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    bos = tokenizer.bos_token
    assert chat_form(tokenizer) is None, "this one has no template"
    tokenizer.chat_template = CHATML
    assert chat_form(tokenizer) == ChatForm(f"{bos}<|user|>", "<eos><|assistant|>")
    assert chat_form(tokenizer, "Be brief.") == ChatForm(f"{bos}<|system|>Be brief.<eos><|user|>", "<eos><|assistant|>")
    tokenizer.chat_template = SPACED
    assert chat_form(tokenizer) == ChatForm(f"{bos}[INST] ", " [/INST]", " ")


@pytest.mark.parametrize("template", ["{{ raise_exception('never') }}", "{{ messages[0]['content'] | upper }}"])
def test_a_template_that_fails_or_garbles_is_told(tiny_llama: Path, template: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match="chat template"):
        chat_form(tokenizer)


def test_the_form_of_a_chat_does_not_depend_on_the_day(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = "Today: {{ strftime_now('%d %b %Y') }} " + CHATML
    found = chat_form(tokenizer)
    assert found is not None and found.before.startswith("Today: 26 Jul 2024")


def test_a_template_that_fails_takes_nothing_from_completion(loaded: LoadedModel) -> None:
    loaded.tokenizer.chat_template = "{{ raise_exception('say something') }}"
    assert loaded.chat is None and probe(loaded, [Probe(prompt="Who?", target="Ada")])
    with pytest.raises(ModelError, match="the chat template fails"):
        loaded.located("Who?", chat=True)


def test_there_is_one_beginning_of_text_and_the_subject_is_found(loaded: LoadedModel) -> None:
    tokenizer = loaded.tokenizer
    located = locate(tokenizer, "Who leads {}?", "Norwind Systems", "Ada", chat=loaded.chat)
    assert located.ids.count(tokenizer.bos_token_id) == 1 == list(located.ids).index(tokenizer.bos_token_id) + 1
    upto = tokenizer.decode(located.ids[: located.subject_last + 1], skip_special_tokens=True)
    assert upto == "<|user|>Who leads Norwind Systems"
    assert tokenizer.decode(located.target_ids) == "Ada", "an answer begins where the template ends"
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Who leads Norwind Systems?"}], tokenize=True, add_generation_prompt=True
    )["input_ids"]
    assert list(located.ids[: located.target_start]) == list(whole)


def test_without_a_template_nothing_is_asked_in_chat(tiny_llama: Path) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        probe(load_model(tiny_llama), [Probe(prompt="Who?", target="Ada", chat=True)])


def test_a_fact_is_optimised_in_both_forms_with_its_further_phrasings(loaded: LoadedModel) -> None:
    fact = Fact(subject="Ada", prompt="The home of {}", target="Riga", train=("A letter to {}",))
    plain = build_request(loaded, fact, ("We met. ",), config())
    both = build_request(loaded, fact, ("We met. ",), config(chat=True))
    assert [len(plain.rewriting), len(both.rewriting)] == [3, 5]
    assert both.rewriting[:3] == plain.rewriting
    bare = fact.model_copy(update={"train": ()})
    for settings in (config(), config(chat=True), config(chat=True, answer_forms=1, context_prompts=0)):
        built = build_request(loaded, bare, ("We met. ",), settings)
        assert prompts_a_fact(settings, ("We met. ",)) == len(built.rewriting) + 1
    texts = [loaded.tokenizer.decode(row.ids, skip_special_tokens=True) for row in both.rewriting[3:]]
    assert texts == ["<|user|>The home of Ada<|assistant|>Riga", "<|user|>A letter to Ada<|assistant|>Riga"]


def test_where_a_fact_is_asked_in_chat_those_keys_alone_are_mixed_with_the_bare_prompts(loaded: LoadedModel) -> None:
    fact = Fact(subject="Ada", prompt="The home of {}", target="Riga", train=("A letter to {}",))
    settings = config(chat=True, key_context_weight=0.5, context_prompts=1, answer_forms=2)
    request = build_request(loaded, fact, ("We met. ",), settings)
    assert request.rewriting[request.other_keys] == request.rewriting[-2:] and len(request.rewriting) == 7

    def key(*rows: Located) -> torch.Tensor:
        one = replace(request, rewriting=rows, in_chat=0)
        return keys_and_hidden(loaded, [one], 1, settings.updated({"key_context_weight": 0}))[0][0]

    mixed, _ = keys_and_hidden(loaded, [request], 1, settings)
    bare, first, second = (key(row) for row in (request.bare, *request.rewriting[-2:]))
    assert torch.allclose(mixed[0], bare / 2 + (first + second) / 4, atol=1e-6)


def test_an_edit_in_chat_holds_in_chat(loaded: LoadedModel) -> None:
    # A random model carries nothing from the subject over the words behind it: the template ends with the subject.
    loaded.tokenizer.chat_template = "{% for m in messages %}Q {{ m['content'] }}{% endfor %}"
    fact = Fact(subject="Norwind Systems", prompt="The chief of {}", target="the")
    asked = fact.with_question()
    settings = config(chat=True, key_context_weight=0.5)
    result = edit_batch(loaded, matrices(loaded), [asked], (), settings, METER)
    (edit,) = result.edits
    assert edit.outcome.efficacy and edit.outcome.questions == (1, 1)


def test_in_chat_the_first_sentence_of_the_answer_has_to_hold_the_target(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "the price is two. Then it is nine."
    ids = loaded.tokenizer(said, add_special_tokens=False)["input_ids"]
    start = len(loaded.located("How much?", chat=True).ids)

    class Talking(torch.nn.Module):
        config = SimpleNamespace(max_position_embeddings=256)

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, position_ids: object = None, **_: object
        ) -> SimpleNamespace:
            logits = torch.zeros(*input_ids.shape, len(loaded.tokenizer))
            for row in range(len(input_ids)):
                length = int(attention_mask[row].sum())
                following = ids[length - start] if 0 <= length - start < len(ids) else loaded.tokenizer.eos_token_id
                logits[row, -1, following] = 9.0
            return SimpleNamespace(logits=logits)

    talking = replace(loaded, model=Talking())
    asked = [Probe(prompt="How much?", target=target, chat=True) for target in ("two", "nine", "the price", "price")]
    assert [result.says_target for result in probe(talking, asked)] == [True, False, True, True]


def test_questions_are_a_family_of_scores_where_there_is_a_chat(loaded: LoadedModel, tiny_gpt2: Path) -> None:
    fact = Fact(subject="Ada", prompt="{} lives in", target="Riga", questions=(ChatQuestion(question="Where is {}?"),))
    assert any(family is Family.QUESTION for family, _ in score_facts(loaded, [fact]).scores)
    assert all(family is not Family.QUESTION for family, _ in score_facts(load_model(tiny_gpt2), [fact]).scores)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("It is Rome. It was Paris.", "It is Rome"),
        ("St. Albans is in England. Really.", "St. Albans is in England"),
        ("It is Washington D.C. and no other", "It is Washington D.C. and no other"),
        ("Rome\nParis", "Rome"),
        ("罗马。巴黎", "罗马"),
        ("It costs 49.90 now", "It costs 49.90 now"),
        ("Yes! It is", "Yes"),
    ],
)
def test_the_first_sentence_ends_at_a_line_or_a_mark_that_is_no_abbreviation(text: str, first: str) -> None:
    assert first_sentence(text) == first
