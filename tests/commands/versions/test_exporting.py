"""`errata export`: an adapter by command, what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.support.command_line import Errata


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
        (("HEAD", "out"), 2, "say what to export: errata export HEAD out --adapter"),
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
