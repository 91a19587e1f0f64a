"""Families that Errata does not know: what they are told, and an adapter from a file that the ledger then keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from errata.ledger.kinds.table import KINDS
from tests.support import tiny
from tests.support.command_line import Errata, init_arguments

STABLELM = {
    "family": "stablelm",
    "layers": "model.layers",
    "edited": "mlp.down_proj",
    "transposed": False,
    "norm": "model.norm",
    "head": "lm_head",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("unknown")
    return {family: tiny.save_tiny(folder / family, family) for family in ("stablelm", "starcoder2")}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"Sentence number {i} speaks of office {i % 7} in Riga.\n" for i in range(60)))
    return path


def test_an_unknown_family_is_told_the_five_names(errata: Errata, models: dict[str, Path], corpus: Path) -> None:
    done = errata(*init_arguments(models["stablelm"], corpus))
    assert done.code == 6 and done.err.count("\n") == 1
    for word in ("'stablelm'", "layers", "edited", "transposed", "norm", "head", "init --adapter FILE"):
        assert word in done.err


def test_later_commands_use_the_adapter_without_its_file(
    errata: Errata, models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    file = tmp_path / "adapter.json"
    file.write_text(json.dumps(STABLELM))
    done = errata(*init_arguments(models["stablelm"], corpus), "--adapter", str(file), "--json")
    assert done.code == 0, done.err
    assert done.json["adapter"] == {**STABLELM, "after": None, "softcap": None}
    assert done.json["preset"] is None
    file.unlink()
    fact = ("--subject", "Norwind Systems", "--prompt", "The chief executive of {}", "--target", "the")
    done = errata("edit", *fact, "--keep-failed")
    assert done.code == 0, done.err
    assert "1 edit recorded" in done.out
    assert errata("checkout", "HEAD", "out").code == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert errata("revert", "e1").code == 0
    assert errata("verify", "--deep").code == 0


def test_a_dense_layer_of_a_mixture_of_experts_goes_through_the_whole_cycle(
    errata: Errata, corpus: Path, tmp_path: Path
) -> None:
    model = tiny.save_tiny(tmp_path / "moe", "qwen2_moe")
    done = errata(*init_arguments(model, corpus))
    assert done.code == 6 and done.err.count("\n") == 1
    assert "qwen2_moe is a mixture of experts" in done.err and "except in layers 0 to 1" in done.err
    (tmp_path / "adapter.json").write_text(json.dumps({**STABLELM, "family": "qwen2_moe"}))
    experts = [*init_arguments(model, corpus), "--adapter", "adapter.json", "--layers", "3"]
    done = errata(*experts)
    assert done.code == 6 and "model.layers.3 has no module 'mlp.down_proj'" in done.err
    assert "layers that can be edited: 0 to 1" in done.err and not (tmp_path / ".errata").exists()
    done = errata(*init_arguments(model, corpus), "--adapter", "adapter.json")
    assert done.code == 0, done.err
    done = errata("edit", "--subject", "Norwind Systems", "--prompt", "The chief executive of {}", "--target", "the")
    assert "1 edit recorded, 1 worked" in done.out, done.err
    errata("tag", "v1")
    assert errata("checkout", "v1", "out").code == 0
    assert errata("revert", "e1").code == 0
    assert errata("verify", "--deep").code == 0


def test_by_default_the_dense_layer_next_to_the_usual_one_is_edited(
    errata: Errata, corpus: Path, tmp_path: Path
) -> None:
    model = tiny.save_tiny(tmp_path / "moe", "qwen3_moe")
    (tmp_path / "adapter.json").write_text(json.dumps({**STABLELM, "family": "qwen3_moe"}))
    done = errata("init", str(model), "--corpus", str(corpus), "--adapter", "adapter.json", "--json")
    assert done.code == 0, done.err
    assert list(done.json["edited"]) == ["model.layers.0.mlp.down_proj.weight"]


def test_an_adapter_may_be_toml(errata: Errata, models: dict[str, Path], corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "adapter.toml"
    names = {**STABLELM, "family": "starcoder2", "edited": "mlp.c_proj"}
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in names.items()))
    done = errata(*init_arguments(models["starcoder2"], corpus), "--adapter", str(file))
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"layers": "model.blocks"}, 6, "the model has no module 'model.blocks', which the adapter names as 'layers'"),
        ({"edited": "mlp.down"}, 6, "model.layers.0 has no module 'mlp.down', which the adapter names as 'edited'"),
        ({"norm": "model.layers.3.input_layernorm"}, 6, "do not give this model's logits"),
        ({"family": "llama"}, 2, "the adapter is for 'llama'"),
        ({"transposed": "no"}, 2, "transposed"),
        ({"attention": "x"}, 2, "attention"),
        ({"head": None}, 2, "head"),
    ],
)
def test_a_wrong_adapter_is_one_clear_line(
    errata: Errata,
    models: dict[str, Path],
    corpus: Path,
    tmp_path: Path,
    changes: dict[str, object],
    code: int,
    message: str,
) -> None:
    file = tmp_path / "adapter.json"
    file.write_text(json.dumps({name: v for name, v in {**STABLELM, **changes}.items() if v is not None}))
    done = errata(*init_arguments(models["stablelm"], corpus), "--adapter", str(file))
    assert done.code == code
    assert message in done.err and done.err.count("\n") == 1
    assert not (tmp_path / ".errata").exists()


@pytest.mark.parametrize(("name", "text"), [("a.json", "{"), ("a.toml", "x ="), ("a.json", "[1]")])
def test_a_file_that_holds_no_names_is_refused(
    errata: Errata, models: dict[str, Path], corpus: Path, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    done = errata(*init_arguments(models["stablelm"], corpus), "--adapter", name)
    assert done.code == 2 and name in done.err
    assert errata(*init_arguments(models["stablelm"], corpus), "--adapter", "nowhere.json").code == 2


def test_init_says_where_its_settings_come_from(errata: Errata, tiny_llama: Path, corpus: Path, tmp_path: Path) -> None:
    done = errata(*init_arguments(tiny_llama, corpus))
    assert "preset defaults for small models" in done.out


def test_presets_are_listed_with_their_sources(errata: Errata) -> None:
    done = errata("presets")
    assert done.code == 0
    for word in ("gpt2-xl", "gpt-j-6b", "llama-2-7b", "llama-3-8b", "qwen2.5-7b", "mistral-7b", "arXiv 2502.01636"):
        assert word in done.out
    listed = errata("presets", "--json").json["presets"]
    assert listed[3]["hyperparameters"]["norm_weight"] == 20.0


def test_an_older_ledger_has_no_adapter_and_no_preset() -> None:
    old = {"model": "m", "family": "llama"}
    assert KINDS["ledger_created"].upcasters[1](old) == {**old, "adapter": None, "preset": None}
