"""What a command writes goes into no ledger, and over nothing that is something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

import errata
from errata.cli import main
from errata.commands.outputs import A_CHART, A_PAGE, Kind, Output, ledger_around, output_option
from errata.ledger.base.errors import UsageError
from errata.replay.charts import SUFFIXES
from tests.support.command_line import Errata


def commands(group: click.Command, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(group, click.Group):
        return [(words, group)]
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        inner = group.get_command(context, name)
        assert inner is not None
        found += commands(inner, (*words, name))
    return found


def test_every_option_for_a_page_or_a_chart_is_guarded() -> None:
    """An option whose help says that something is written takes an `Output`."""
    for words, command in commands(main):
        for param in command.params:
            told = getattr(param, "help", None) or ""
            if isinstance(param.type, click.Path) and ("rite" in told or "raw" in told) and param.name != "converter":
                assert isinstance(param.type, Output), (words, param.name)
    written = {("checkout",): "folder", ("export",): "path", ("stats", "export"): "file", ("demo",): "folder"}
    found = {words: {param.name: param for param in command.params} for words, command in commands(main)}
    for words, name in written.items():  # arguments, which have no help
        assert isinstance(found[words][name].type, Output), words
    assert tuple(A_CHART.tells) == SUFFIXES


@pytest.mark.parametrize("place", [".errata/ledger.html", ".errata/objects/ab/page.html", "door/cache/page.html"])
def test_nothing_is_written_into_a_ledger(errata: Errata, here: Path, place: str) -> None:
    (here / "door").symlink_to(here / ".errata")
    for words in (("bisect", "report", "--html", place), ("checkout", "HEAD", place), ("stats", "export", place)):
        refused = errata(*words)
        assert refused.code == 2 and "lies in the ledger" in refused.err, words
    assert not (here / place).exists()


def test_a_page_is_not_written_over_the_log(errata: Errata, here: Path) -> None:
    before = (here / ".errata" / "ledger.db").read_bytes()
    assert errata("bisect", "report", "--html", ".errata/ledger.db", "--force").code == 2
    assert (here / ".errata" / "ledger.db").read_bytes() == before


OTHERS: list[tuple[Kind, str, bytes]] = [
    (A_PAGE, "page.html", b"my notes"),
    (A_CHART, "config.json", b'{"hidden_size": 64}'),
    (A_CHART, "photo.png", b"\xff\xd8\xff"),
    (A_CHART, "drawing.svg", b"gzip"),
]
OWN: list[tuple[Kind, str, bytes]] = [
    (A_PAGE, "page.html", b"<!DOCTYPE html>\n<p>old"),
    (A_PAGE, "page.htm", b""),
    (A_CHART, "chart.json", b'{"$schema": "https://vega.github.io/schema/vega-lite/v5.json"}'),
    (A_CHART, "chart.png", b"\x89PNG\r\n\x1a\n"),
    (A_CHART, "chart.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
]


def asked(kind: Kind, *words: str) -> tuple[int, Any]:
    """How a command ends that has an option of this kind, and the path that it was given."""
    given: list[Path] = []

    @click.command()
    @output_option("--to", kind=kind)
    def command(to: Path) -> None:
        given.append(to)

    try:
        command.main(list(words), standalone_mode=False)
    except click.ClickException as error:
        return error.exit_code, error.format_message()
    return 0, given


@pytest.mark.parametrize(("kind", "name", "data"), OTHERS)
def test_a_file_of_another_kind_is_written_over_only_when_forced(
    tmp_path: Path, kind: Kind, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    code, said = asked(kind, "--to", str(path))
    assert code == 2 and "--force writes over it" in said
    assert asked(kind, "--to", str(path), "--force") == (0, [path])


@pytest.mark.parametrize(("kind", "name", "data"), OWN)
def test_a_file_of_its_own_kind_is_written_over(tmp_path: Path, kind: Kind, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert asked(kind, "--to", str(path)) == (0, [path])


@pytest.mark.parametrize("name", ["page.txt", "page", "folder.html", "link.html"])
def test_no_page_is_written_under_another_name_or_through_a_link(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    assert asked(A_PAGE, "--to", str(tmp_path / name), "--force")[0] == 2


def test_pictures_in_a_folder_go_over_pictures_alone(tmp_path: Path) -> None:
    @click.command()
    @output_option("--to", kind=A_CHART, names=("locate",))
    def command(to: Path) -> None:
        pass

    for name, data in (("locate.json", b'{"mine": 1}'), ("locate.svg", b"gzip"), ("locate.png", b"\xff")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(click.ClickException, match=rf"{name} is there and is not a chart"):
            command.main(["--to", str(tmp_path)], standalone_mode=False)
        command.main(["--to", str(tmp_path), "--force"], standalone_mode=False)
        (tmp_path / name).unlink()
    (tmp_path / "other.json").write_bytes(b"{}")
    command.main(["--to", str(tmp_path)], standalone_mode=False)


def test_the_door_writes_into_no_ledger(here: Path) -> None:
    with errata.open(here) as ledger:
        for write in (ledger.checkout, ledger.export_adapter):
            with pytest.raises(UsageError, match="lies in the ledger"):
                write("HEAD", here / ".errata" / "out")


def test_a_folder_beside_a_ledger_is_in_none(here: Path) -> None:
    assert ledger_around(here / "out") is None and ledger_around(here / ".errata") == (here / ".errata").resolve()
