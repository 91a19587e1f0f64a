"""Every command has help that a stranger understands, with an example."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from errata import cli
from errata.commands.app import App
from errata.commands.lazy import LazyGroup
from tests.support.command_line import Errata

EXPECTED = [
    "init", "presets", "stats", "locate", "tune", "settings", "edit", "log", "show", "status", "tag", "checkout",
    "export", "publish", "diff", "revert", "undo", "erase", "cherry-pick", "merge", "eval", "monitor", "ask", "blame",
    "why", "timeline", "pilot", "compare", "bisect", "key", "role", "policy", "clock", "propose", "draft", "approve",
    "reject", "apply", "check", "withdraw", "proposals", "flow", "break-glass", "review", "report", "verify",
    "checkpoint", "prove", "fsck", "audit", "gc", "demo", "help",
]  # fmt: skip


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = list(commands(cli.main))


def test_the_commands_are_those_of_the_design_in_the_order_of_use() -> None:
    assert list(cli.main.commands) == EXPECTED


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_each_command_has_help_with_an_example(errata: Errata, path: tuple[str, ...]) -> None:
    done = errata(*path, "--help")
    assert done.code == 0 and done.err == ""
    assert done.out.startswith(f"Usage: errata {' '.join(path)}")
    assert f"errata {' '.join(path)}" in done.out.split("\n", 1)[1], "no example"
    assert "--json" in done.out and "\\b" not in done.out and "\x08" not in done.out


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_short_help_is_not_cut_off(path: tuple[str, ...]) -> None:
    command: click.Command = cli.main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert not command.get_short_help_str(45).endswith("...")


def test_the_help_of_the_whole_fits_a_terminal_and_names_the_exit_codes(errata: Errata) -> None:
    done = errata("--help")
    assert done.code == 0 and "Exit codes" in done.out and "errata demo" in done.out


def test_the_help_promises_only_what_is_done(errata: Errata) -> None:
    bisect = " ".join(errata("bisect", "--help").out.split())
    assert "`run` tests both ends first; by hand they are taken on your word" in bisect
    verify = " ".join(errata("verify", "--help").out.split())
    assert "prove nothing if you mistrust the ledger" in verify


def test_version_and_unknown_words(errata: Errata) -> None:
    assert errata("--version").out.startswith("errata")
    unknown = errata("frobnicate")
    assert unknown.code == 2 and unknown.err.startswith("errata: ") and unknown.err.count("\n") == 1
    assert errata("log", "--no-such-option", "--json").json["error"]["exit_code"] == 2
    assert App.__doc__


def lazy_groups(group: click.Group) -> Iterator[LazyGroup]:
    if isinstance(group, LazyGroup):
        yield group
    for command in list(group.commands.values()):
        if isinstance(command, click.Group):
            yield from lazy_groups(command)


def test_the_short_help_of_commands_that_are_loaded_later_is_their_own() -> None:
    groups = list(lazy_groups(cli.main))
    assert {group.name for group in groups} >= {"main", "key"}
    for group in groups:
        for name, named in group.named.items():
            assert named.short_help == group.commands[name].get_short_help_str(80), name
            assert group.commands[name].name == name


def test_a_groups_own_help_lists_all_its_commands_before_any_is_loaded() -> None:
    for name in [name for name in cli.main.commands if isinstance(cli.main.commands[name], click.Group)]:
        group = cli.main.commands[name]
        assert isinstance(group, click.Group)
        script = f"from errata import cli; cli.call([{name!r}, '--help'])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        listed = re.findall(r"^  ([a-z-]+)  ", done.stdout.partition("Commands:\n")[2], re.MULTILINE)
        assert listed == list(group.commands), name


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_the_list_of_commands_is_what_click_would_write(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    written = []
    for kind in (LazyGroup, click.Group):
        formatter = click.Context(cli.main, info_name="errata").make_formatter()
        kind.format_commands(cli.main, click.Context(cli.main), formatter)
        written.append(formatter.getvalue())
    assert written[0] == written[1] != ""


@pytest.mark.parametrize("words", [(), ("key",), ("bisect",), ("audit",)], ids=" ".join)
def test_without_a_command_the_help_is_shown_as_it_is_laid_out(errata: Errata, words: tuple[str, ...]) -> None:
    done, asked = errata(*words), errata(*words, "--help")
    assert done.code == 2 and done.out == ""
    assert done.err == asked.out and "\n\n" in done.err
