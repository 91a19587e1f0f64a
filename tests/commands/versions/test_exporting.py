"""`errata export` and `errata publish`: adapters, GGUF files and repositories by command, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

import errata as errata_door
from errata.editor.model.loading import ModelFiles
from tests.support import fake_hub
from tests.support.command_line import Errata, init_arguments

CONVERTER = Path(__file__).parents[2] / "support" / "gguf_converter.py"


def test_the_adapter_of_a_version(errata: Errata, here: Path) -> None:
    done = errata("export", "HEAD", "adapter", "--adapter")
    assert done.code == 0 and done.err == ""
    assert done.out.startswith("adapter: LoRA adapter of version ") and "rank 8, 3 edits" in done.out
    assert "exact: its factors are the edits' own" in done.out
    assert json.loads((here / "adapter" / "adapter_config.json").read_text())["layers_to_transform"] == [1]
    assert len(load_file(here / "adapter" / "adapter_model.safetensors")) == 2


def test_a_part_of_a_version_as_json(errata: Errata, here: Path) -> None:
    data = errata("export", "HEAD", "adapter", "--adapter", "--without", "e2", "--json").json
    assert (data["added"], data["removed"], data["since"]) == ([1, 3], [], None)
    assert (data["rank"], data["exact"]) == (8, True)
    assert data == {**data, "folder": str(here / "adapter")}
    only = errata("export", "HEAD", "only", "--adapter", "--only", "e2", "--json").json
    assert only["added"] == [2] and only["version"] != data["version"]
    machine = json.loads((here / "only" / "errata_version.json").read_text())
    assert machine["address"] == "HEAD --only e2" and machine["version"] == only["version"]
    assert machine["tensor_digests"] == only["tensor_digests"]


def test_what_is_written_out_names_no_path_and_the_name_that_is_given(errata: Errata, here: Path) -> None:
    assert errata("export", "HEAD", "adapter", "--adapter").code == 0
    assert errata("checkout", "HEAD", "folder").code == 0
    base = Path(errata("status", "--json").json["model"])
    for folder in ("adapter", "folder"):
        for path in (here / folder).iterdir():
            if path.suffix != ".safetensors":
                assert str(base.parent) not in path.read_text()
        assert not (here / folder / "README.md").read_text().startswith("---\nbase_model")
    for command in (("export", "HEAD", "named", "--adapter"), ("checkout", "HEAD", "called")):
        assert errata(*command, "--base-name", "acme/base-1").code == 0
        card = (here / command[2] / "README.md").read_text()
        assert card.startswith('---\nbase_model: "acme/base-1"\n') and base.name not in card
        refused = errata(command[0], "HEAD", "not", *command[3:], "--base-name", str(base))
        assert refused.code == 2 and "is no model's name" in refused.err and not (here / "not").exists()


def test_the_way_between_two_versions(errata: Errata, here: Path) -> None:
    errata("tag", "served")
    errata("revert", "e1")
    data = errata("export", "HEAD", "fix", "--adapter", "--since", "served", "--json").json
    assert (data["added"], data["removed"], data["since"]["address"]) == ([], [1], "served")
    done = errata("export", "served", "back", "--adapter", "--since", "HEAD")
    assert done.code == 0 and "rank 8, 1 edit\n" in done.out
    assert "1 edit taken away" in errata("export", "HEAD", "again", "--adapter", "--since", "served").out


def test_a_smaller_rank_tells_its_error(errata: Errata, here: Path) -> None:
    done = errata("export", "HEAD", "adapter", "--adapter", "--rank", "2")
    assert done.code == 0 and "not exact: the nearest factors of this rank; from rank 3 on" in done.out
    assert "model.layers.1.mlp.down_proj" in done.out and "%" in done.out
    data = errata("export", "HEAD", "again", "--adapter", "--rank", "2", "--json").json
    assert not data["exact"] and 0 < data["modules"][0]["relative_error"] < 1
    assert data["modules"][0]["error"] < data["modules"][0]["norm"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("HEAD", "out"), 2, "say what to export: errata export HEAD out --adapter, or --gguf"),
        (("base", "out", "--adapter"), 2, "has no edits"),
        (("HEAD", "out", "--adapter", "--since", "HEAD"), 2, "the same edits"),
        (("HEAD", "out", "--adapter", "--rank", "0"), 2, "--rank"),
        (("HEAD", "out", "--adapter", "--rank", "100000"), 2, "take at most 512"),
        (("HEAD", "out", "--adapter", "--since", "nowhere"), 2, "no version 'nowhere'"),
        (("HEAD", ".", "--adapter"), 2, "is not empty"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    errata: Errata, here: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = errata("export", *arguments)
    assert done.code == code and says in done.err and done.err.count("\n") == 1
    assert not (here / "out").exists()


def test_a_gguf_file_by_the_converter_that_is_named_or_found(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ERRATA_GGUF_CONVERTER", raising=False)
    monkeypatch.setenv("PATH", str(here))
    none = errata("export", "HEAD", "m.gguf", "--gguf")
    assert none.code == 2 and "name it with --converter or ERRATA_GGUF_CONVERTER" in none.err
    done = errata("export", "HEAD", "m.gguf", "--gguf", "--outtype", "f16", "--converter", str(CONVERTER))
    assert done.code == 0 and done.err == ""
    assert done.out.startswith("m.gguf: GGUF of version ") and ", f16, 3 edits, " in done.out
    assert "compared with the version, bit for bit: 1 edited matrix\n" in done.out
    shutil.copy(CONVERTER, here / "convert_hf_to_gguf.py")
    data = errata("export", "HEAD", "n.gguf", "--gguf", "--without", "e2", "--json").json
    assert (data["live"], data["outtype"], data["compared"], data["file"]) == ([1, 3], "f32", 1, str(here / "n.gguf"))
    (here / "convert_hf_to_gguf.py").write_text("raise SystemExit('not this one')")
    monkeypatch.setenv("ERRATA_GGUF_CONVERTER", str(CONVERTER))
    assert errata("export", "HEAD", "o.gguf", "--gguf").code == 0
    assert "written out as a GGUF file: " in errata("log", "-n", "1").out
    assert {path.name for path in here.glob("*.gguf")} == {"m.gguf", "n.gguf", "o.gguf"}


def test_a_gguf_file_is_a_model_to_begin_on_again(errata: Errata, here: Path) -> None:
    """Out and in again: the version's weights are the new base's, to the bit."""
    first = errata("export", "HEAD", "m.gguf", "--gguf", "--converter", str(CONVERTER), "--json").json
    (here / "next").mkdir()
    arguments = init_arguments(here / "m.gguf", here / "corpus.txt")
    begun = errata("--ledger", str(here / "next"), *arguments, "--json").json
    errata("checkout", "HEAD", "out")
    assert ModelFiles(here / "next" / "m-dequantised").digests() == ModelFiles(here / "out").digests()
    assert begun["source"]["file"] == "m.gguf" and begun["source"]["quantisation"] == "F32" and first["event"]


def test_options_of_another_form_are_refused(errata: Errata, here: Path) -> None:
    for arguments, says in (
        (("--adapter", "--gguf"), "say what to export"),
        (("--adapter", "--outtype", "f16"), "--outtype is for --gguf"),
        (("--gguf", "--rank", "4"), "--rank is for --adapter"),
        (("--gguf", "--since", "HEAD"), "--since is for --adapter"),
    ):
        done = errata("export", "HEAD", "x", *arguments)
        assert done.code == 2 and says in done.err and not (here / "x").exists()


def test_a_version_is_published_and_shown_with_what_was_sent(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_hub.running() as fake:
        fake_hub.use(monkeypatch, fake)
        would = errata("publish", "HEAD", "ada/tiny", "--dry-run")
        assert would.code == 0 and "would be sent to ada/tiny: version " in would.out
        assert "model.safetensors" in would.out and "nothing was sent" in would.out and fake.asked == []
        done = errata("publish", "HEAD", "ada/tiny", "--private", "--message", "spring", "--without", "e2")
        assert done.code == 0 and done.err == ""
        repository = fake.repositories["ada/tiny"]
        assert done.out.endswith(f"commit {fake.url}/ada/tiny/commit/{repository.revision}\n")
        assert repository.private and repository.commits == ["spring"]
        machine = json.loads(repository.files["errata_version.json"])
        assert machine["address"] == "HEAD --without e2"
        data = errata("publish", "HEAD", "ada/adapter", "--adapter", "--json").json
        assert data["bytes"] == sum(data["files"].values()) and data["url"].startswith(fake.url) and data["event"]
        assert f"published as an adapter at {fake.host}/ada/adapter" in errata("show", "HEAD").out
        fake.failing = ("commit", 500, "try later")
        failed = errata("publish", "HEAD", "ada/other")
        assert failed.code == 5 and failed.err.count("\n") == 1 and "the hub says 500: try later" in failed.err
    assert errata("verify").code == 0


def test_by_the_door_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = errata_door.open(here, actor="ada")
    file = ledger.export_gguf("HEAD", here / "m.gguf", converter=CONVERTER, outtype="bf16")
    assert file.folder == here / "m.gguf" and file.seq and "bf16, 3 edits" in str(file)
    with pytest.raises(errata_door.ErrataError, match="outtype is one of f32, f16, bf16, not 'q4'"):
        ledger.export_gguf("HEAD", here / "n.gguf", converter=CONVERTER, outtype="q4")
    with fake_hub.running() as fake:
        fake_hub.use(monkeypatch, fake)
        would = ledger.publish("HEAD", "ada/tiny", dry_run=True)
        assert (would.url, would.seq) == (None, None) and "model.safetensors" in str(would)
        done = ledger.publish("HEAD", "ada/tiny")
        assert done.files.keys() == would.files.keys() and done.seq and str(done.url) in str(done)
        assert fake.repositories["ada/tiny"].files["config.json"]
