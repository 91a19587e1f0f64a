"""Every command has help that a stranger understands, with an example."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from errata import cli
from errata.commands.app import App
from tests.support.command_line import Errata

EXPECTED = [
    "init", "presets", "stats", "locate", "tune", "settings", "edit", "log", "show", "status", "tag", "checkout",
    "export", "diff", "revert", "undo", "erase", "cherry-pick", "merge", "eval", "monitor", "blame", "why", "timeline",
    "pilot", "bisect", "key", "role", "policy", "propose", "draft", "approve", "reject", "apply", "check", "withdraw",
    "proposals", "flow", "break-glass", "review", "report", "verify", "checkpoint", "prove", "fsck", "audit", "gc",
    "demo", "help",
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
