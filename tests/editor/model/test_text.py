"""Subjects and targets as tokens: the traps of section 4, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from errata.editor.model.text import Located, locate, pad
from errata.ledger.base.errors import ModelError
from tests.support import tiny


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    folder: Path = request.getfixturevalue(request.param)
    return AutoTokenizer.from_pretrained(folder)


def up_to_subject(tokenizer: PreTrainedTokenizerFast, located: Located) -> str:
    return str(tokenizer.decode(located.ids[: located.subject_last + 1], skip_special_tokens=True))


def test_the_target_follows_the_prompt_with_one_space(tokenizer: PreTrainedTokenizerFast) -> None:
    located = locate(tokenizer, "The price of {} is", "Harrow 9", "forty crowns")
    assert tokenizer.decode(located.target_ids) == " forty crowns"
    assert tokenizer.decode(located.ids[: located.target_start], skip_special_tokens=True) == "The price of Harrow 9 is"


def test_a_prompt_that_ends_in_a_space_gets_no_second_one(tokenizer: PreTrainedTokenizerFast) -> None:
    located = locate(tokenizer, "The price of {} is ", "Harrow 9", "the kettle")
    whole = tokenizer.decode(located.ids, skip_special_tokens=True)
    assert whole == "The price of Harrow 9 is the kettle"
    assert tokenizer.decode(located.target_ids).strip() == "the kettle"


def test_bos_is_kept_at_the_front_and_never_inside_the_target(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    located = locate(tokenizer, "{} is", "Ada", "in Riga")
    assert located.ids[0] == tokenizer.bos_token_id
    assert tokenizer.bos_token_id not in located.target_ids


def test_the_subject_is_the_one_in_the_slot_when_the_text_repeats_it(tokenizer: PreTrainedTokenizerFast) -> None:
    located = locate(tokenizer, "Unlike Ada, {} works with Ada in", "Ada", "Riga", prefix="Ada met Ada. ")
    assert up_to_subject(tokenizer, located) == "Ada met Ada. Unlike Ada, Ada"


@pytest.mark.parametrize("subject", ["Ünïcode Größe", "Harrow 9", "a", "名前 株式会社"])
def test_the_last_token_of_any_subject_is_found_by_offsets(tokenizer: PreTrainedTokenizerFast, subject: str) -> None:
    located = locate(tokenizer, "Who leads {}? The answer is", subject, "Ada")
    assert up_to_subject(tokenizer, located) == f"Who leads {subject}"


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that merges "ab?" into one token, and "x y" too: borders vanish inside tokens."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {token: i for i, token in enumerate(sorted(alphabet))}
    merges = [("b", "?"), ("a", "b?"), ("s", "Ġ"), ("sĠ", "t")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_a_subject_whose_last_token_merges_with_what_follows_is_found() -> None:
    tokenizer = merging_tokenizer()
    located = locate(tokenizer, "who is {}? it is", "ab", "x")
    assert tokenizer.decode(located.ids[located.subject_last]) == "ab?"


@pytest.mark.parametrize("template", ["{} is", "so {}"])
def test_a_target_that_would_merge_with_the_prompt_follows_the_prompts_own_tokens(template: str) -> None:
    tokenizer = merging_tokenizer()
    located = locate(tokenizer, template, "s", "t1")
    assert list(located.ids[: located.target_start]) == tokenizer(template.replace("{}", "s"))["input_ids"]
    assert tokenizer.decode(located.target_ids) == " t1"


def test_a_tokenizer_without_offsets_is_refused() -> None:
    with pytest.raises(ModelError, match="fast tokenizer"):
        locate(object(), "{} is", "Ada", "red")


def test_an_empty_prompt_is_refused(tiny_gpt2: Path) -> None:
    with pytest.raises(ModelError, match="empty prompt"):
        locate(AutoTokenizer.from_pretrained(tiny_gpt2), "", target="red")


def test_padding_goes_to_the_right_whatever_the_tokenizer_prefers() -> None:
    ids, mask = pad([[5, 6], [7]], "cpu")
    assert ids.tolist() == [[5, 6], [7, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]


@pytest.fixture(scope="module", params=["bpe+bos", "bpe", "unigram+bos", "unigram"])
def metaspace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """SentencePiece-style tokenizers, as those of Llama 2 and Gemma: words begin with "▁", the rest falls to bytes."""
    folder = tmp_path_factory.mktemp("metaspace")
    kind, _, bos = request.param.partition("+")
    tiny.save_metaspace_tokenizer(folder, with_bos=bool(bos), kind=kind)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(("end", "said"), [("", "▁forty▁crowns"), (" ", "forty▁crowns")])
def test_a_metaspace_target_begins_where_the_prompt_ends(
    metaspace: PreTrainedTokenizerFast, end: str, said: str
) -> None:
    located = locate(metaspace, "The price of {} is" + end, "Harrow 9", "forty crowns")
    assert "".join(metaspace.convert_ids_to_tokens(list(located.target_ids))) == said
    assert list(located.ids[: located.target_start]) == metaspace(f"The price of Harrow 9 is{end}")["input_ids"]
    assert metaspace.decode(located.ids, skip_special_tokens=True) == "The price of Harrow 9 is forty crowns"


@pytest.mark.parametrize("subject", ["Ünïcode Größe", "Harrow 9", "a", "名前 株式会社", "Ada 🙂"])
@pytest.mark.parametrize("template", ["{} is", "Who leads {}? The answer is", "So ({}) is"])
def test_the_last_token_of_a_metaspace_subject_is_found(
    metaspace: PreTrainedTokenizerFast, subject: str, template: str
) -> None:
    located = locate(metaspace, template, subject, "Ada")
    assert up_to_subject(metaspace, located) == template.split("{}")[0] + subject


def test_a_metaspace_subject_is_the_one_in_the_slot(metaspace: PreTrainedTokenizerFast) -> None:
    located = locate(metaspace, "Unlike Ada, {} works with Ada in", "Ada", "Riga", prefix="Ada met Ada. ")
    assert up_to_subject(metaspace, located) == "Ada met Ada. Unlike Ada, Ada"
    with_bos = metaspace.convert_ids_to_tokens([located.ids[0]])[0] == "<bos>"
    assert (metaspace.bos_token_id in located.ids) == with_bos
    assert metaspace.bos_token_id not in located.ids[1:]


NORMALISERS = {
    "NFC": normalizers.NFC(),
    "NFD": normalizers.NFD(),
    "NFKC": normalizers.NFKC(),
    "NFKD": normalizers.NFKD(),
    "without accents": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
}


@pytest.mark.parametrize("name", NORMALISERS)
@pytest.mark.parametrize("kind", ["bytes", "unigram", "bpe"])
@pytest.mark.parametrize("subject", ["Café", "Cafe\u0301", "Zoë\u0301", "\ufb01\ufb00", "漢字か\u3099", "한국"])
@pytest.mark.parametrize("template", ["A {} is", "A {}は is"])
def test_the_last_token_is_found_of_a_subject_that_the_normaliser_changes(
    tmp_path: Path, name: str, kind: str, subject: str, template: str
) -> None:
    if kind == "bytes":
        tiny.save_tokenizer(tmp_path, with_bos=True)
    else:
        tiny.save_metaspace_tokenizer(tmp_path, with_bos=True, kind=kind)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    backend = tokenizer.backend_tokenizer
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([NORMALISERS[name], *own])
    located = locate(tokenizer, template, subject)
    wanted = NORMALISERS[name].normalize_str(f"A {subject}")
    assert up_to_subject(tokenizer, located).strip() == wanted


@pytest.mark.parametrize(("name", "subject"), [("NFD", "ÅÉ"), ("without accents", "q\u0301")])
def test_a_subject_is_refused_if_no_byte_of_a_changed_run_can_be_called_its_last(
    tmp_path: Path, name: str, subject: str
) -> None:
    tiny.save_metaspace_tokenizer(tmp_path, with_bos=False, kind="unigram")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.backend_tokenizer.normalizer = NORMALISERS[name]
    with pytest.raises(ModelError, match="the end of the subject in it cannot be found"):
        locate(tokenizer, "A {}は is", subject)
