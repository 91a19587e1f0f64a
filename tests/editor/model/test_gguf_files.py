"""A GGUF file becomes the model that it was made from, to the bit where its type allows, and what it is not is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from errata.editor.model import gguf_files
from errata.editor.model.gguf_files import gguf_path, read_gguf, write_dequantised
from errata.editor.model.loading import ModelFiles, load_model
from errata.ledger.base.errors import ModelError, UsageError
from tests.support import tiny
from tests.support.gguf_converter import convert

TEMPLATE = "{% for message in messages %}<bos>{{ message['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.save_tiny_llama(tmp_path_factory.mktemp("source") / "llama")
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def dequantised(file: Path, folder: Path) -> Path:
    folder.mkdir()
    assert write_dequantised(read_gguf(file), folder) == ()
    return folder


def test_a_file_in_float32_gives_back_every_bit(tmp_path: Path, model: Path) -> None:
    made = dequantised(convert(model, tmp_path / "m.gguf"), tmp_path / "out")
    assert ModelFiles(made).digests() == ModelFiles(model).digests()
    tokens = torch.tensor([[5, 9, 70, 33, 12]])
    assert torch.equal(load_model(made).model(tokens).logits, load_model(model).model(tokens).logits)


@pytest.mark.parametrize("outtype", ["f16", "bf16", "q8_0"])
def test_a_narrower_file_gives_the_numbers_that_it_holds_as_float32(tmp_path: Path, model: Path, outtype: str) -> None:
    file = convert(model, tmp_path / "m.gguf", outtype)
    about = read_gguf(file)
    files = ModelFiles(dequantised(file, tmp_path / "out"))
    held = next(t for t in gguf.GGUFReader(file).tensors if t.name == "blk.1.ffn_down.weight")
    expected = gguf.quants.dequantize(held.data, held.tensor_type).astype(np.float32)
    stored = files.tensor("model.layers.1.mlp.down_proj.weight")
    assert stored.dtype == torch.float32 and torch.equal(stored, torch.from_numpy(expected))
    assert about.quantisation == outtype.upper() and about.size < about.dequantised_size
    assert about.weights == sum(files.tensor(name).numel() for name in files.shards)


def test_the_tokenizer_keeps_its_tokens_its_bos_and_its_chat_template(tmp_path: Path, model: Path) -> None:
    made = dequantised(convert(model, tmp_path / "m.gguf"), tmp_path / "out")
    theirs, ours = AutoTokenizer.from_pretrained(model), AutoTokenizer.from_pretrained(made)
    assert ours.get_vocab() == theirs.get_vocab() and len(ours) == tiny.VOCAB
    for text in ("The price of Harrow 9 is 40 crowns, naïve.", "  two  spaces\n", "<bos>one<eos>"):
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert ours("a")["input_ids"][0] == ours.bos_token_id
    chat: list[dict[str, str]] = [{"role": "user", "content": "Who?"}]
    assert ours.chat_template == TEMPLATE
    assert ours.apply_chat_template(chat, tokenize=False) == "<bos>Who?"


def test_the_folder_is_an_ordinary_one_and_names_no_place(tmp_path: Path, model: Path) -> None:
    made = dequantised(convert(model, tmp_path / "m.gguf", "q8_0"), tmp_path / "out")
    assert "quantization_config" not in json.loads((made / "config.json").read_text())
    for path in made.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()


def test_a_splitting_that_parts_digits_parts_them(tmp_path: Path, model: Path) -> None:
    """As in `smollm`, which transformers does not know: llama.cpp parts every digit, then splits as GPT-2 does."""
    made = dequantised(convert(model, tmp_path / "m.gguf", **{"tokenizer.ggml.pre": "smollm"}), tmp_path / "out")
    splitter = AutoTokenizer.from_pretrained(made).backend_tokenizer.pre_tokenizer
    assert [piece for piece, _ in splitter.pre_tokenize_str("in 2024")] == ["in", "Ġ", "2", "0", "2", "4"]


def test_what_is_lost_is_told(tmp_path: Path, model: Path) -> None:
    factors: dict[str, Any] = {"tokenizer.ggml.pre": "no-such", "rope_freqs.weight": np.ones(4, dtype=np.float32)}
    (tmp_path / "out").mkdir()
    lost = write_dequantised(read_gguf(convert(model, tmp_path / "m.gguf", **factors)), tmp_path / "out")
    assert len(lost) == 2 and "rope_freqs.weight" in lost[0] and "'no-such'" in lost[1]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"split.count": 3}, UsageError, "one of 3 pieces of a model; llama.cpp joins them: llama-gguf-split --merge"),
        ({"general.type": "adapter"}, UsageError, "holds no model but what GGUF calls 'adapter'"),
        ({"llama.block_count": 50_000}, ModelError, r"m\.gguf is said to have 50,000 layers, and holds \d+ tensors"),
        (
            {"llama.feed_forward_length": 50_000},
            ModelError,
            r"m\.gguf is said to be a model of [\d,]+ numbers, and holds",
        ),
        ({"extra.weight": np.ones(7, dtype=np.float32)}, ModelError, "transformers makes a model of"),
    ],
)
def test_files_that_hold_something_else_are_refused(
    tmp_path: Path, model: Path, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    file = convert(model, tmp_path / "m.gguf", **changes)
    (tmp_path / "out").mkdir()
    with pytest.raises(error, match=says):
        write_dequantised(read_gguf(file), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_file_without_a_weight_that_the_model_needs_is_refused(tmp_path: Path, model: Path) -> None:
    """transformers would draw random numbers for it, others at each load."""
    file = convert(model, tmp_path / "m.gguf", harm="nothing")
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match="no weights for model.layers.1.mlp.down_proj.weight"):
        write_dequantised(read_gguf(file), tmp_path / "out")


def test_a_kind_of_model_that_transformers_does_not_read_is_one_sentence(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "clip")
    writer.add_token_list(["a"])
    writer.add_tensor("x.weight", np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match=r"^transformers cannot read m\.gguf: .*clip") as caught:
        write_dequantised(read_gguf(tmp_path / "m.gguf"), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_short_or_is_none_is_told(tmp_path: Path, model: Path) -> None:
    whole = convert(model, tmp_path / "m.gguf")
    (tmp_path / "half.gguf").write_bytes(whole.read_bytes()[:5000])
    (tmp_path / "text.gguf").write_text("a text")
    with pytest.raises(ModelError, match="half.gguf cannot be read as GGUF"):
        read_gguf(tmp_path / "half.gguf")
    with pytest.raises(UsageError, match="does not begin with GGUF"):
        gguf_path(str(tmp_path / "text.gguf"))
    with pytest.raises(UsageError, match="there is no file"):
        gguf_path(str(tmp_path / "none.gguf"))
    assert gguf_path(str(whole)) == whole and gguf_path(str(model)) is None and gguf_path("owner/name") is None
    assert gguf_path(str(whole.rename(tmp_path / "named-otherwise"))) == tmp_path / "named-otherwise"


def test_a_tokenizer_that_is_not_the_files_is_refused(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = read_gguf(convert(model, tmp_path / "m.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(model)
    gguf_files._check_tokenizer(file, tokenizer)
    for changes, says in (
        ({"tokens": 299}, "300 tokens, and the file has 299"),
        ({"bos": 2}, "token 1 at the beginning of texts, and the file says 2"),
        ({"chat_template": "another"}, "another chat template"),
    ):
        with pytest.raises(ModelError, match=says):
            gguf_files._check_tokenizer(gguf_files.GgufFile(**{**vars(file), **changes}), tokenizer)
    monkeypatch.setattr(type(tokenizer), "decode", lambda *_, **__: "something else")
    with pytest.raises(ModelError, match="'something else' of"):
        gguf_files._check_tokenizer(file, tokenizer)


@pytest.mark.parametrize("module", ["gguf", "accelerate"])
def test_without_the_extra_its_name_is_told(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    file = convert(model, tmp_path / "m.gguf")
    if module == "gguf":
        monkeypatch.setitem(sys.modules, module, None)
    else:
        monkeypatch.setattr(gguf_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'errata-lm\[gguf\]'"):
        read_gguf(file)
