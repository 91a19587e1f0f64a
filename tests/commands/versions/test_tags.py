"""Tags that move, and versions by time, as commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Errata, snapshot


def test_a_tag_moves_and_the_old_place_can_be_asked_for(errata: Errata, here: Path) -> None:
    assert errata("tag", "spring", "@2", "--note", "first").code == 0
    moved = errata("tag", "--move", "spring", "HEAD", "--note", "second", "--json").json
    assert (moved["live"], moved["note"]) == ([1, 2, 3], "second")
    assert (moved["moved_from"]["live"], moved["moved_from"]["note"]) == ([1], "first")
    events = errata("log", "-n", "2", "--json").json["events"]
    assert [event["kind"] for event in events] == ["version_tagged", "version_untagged"]
    assert events[0]["recorded_at"] == events[1]["recorded_at"]
    assert "it was on" in errata("tag", "--move", "spring", "base").out
    assert errata("show", "spring@5", "--json").json["live"] == [1]
    assert errata("show", "spring@7", "--json").json["live"] == [1, 2, 3]
    assert errata("verify", "--deep").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("tag", "--move", "summer"), 4, "no tag 'summer'; `errata tag summer` sets it"),
        (("tag", "--move", "spring", "@4"), 4, "on that version already"),
        (("tag", "--move"), 2, "say one thing"),
        (("tag", "--move", "--list"), 2, "say one thing"),
        (("tag", "spring", "@2"), 4, "`errata tag --move spring` moves it"),
        (("show", "spring@2001-01-01"), 2, "the log begins at"),
        (("show", "spring@4"), 2, "was first set at @5"),
        (("checkout", "@2026-13-01", "out"), 2, "'2026-13-01' is not a date or time"),
        (("export", "summer@2026-11-28", "out", "--adapter"), 2, "no version 'summer@2026-11-28'"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    errata: Errata, here: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert errata("tag", "spring").code == 0
    before = snapshot(here)
    done = errata(*arguments)
    assert done.code == code and words in done.err and done.err.count("\n") == 1, done.err
    assert snapshot(here) == before


def test_commands_that_take_a_version_take_a_time(errata: Errata, here: Path) -> None:
    assert errata("tag", "spring").code == 0
    events = errata("log", "--json").json["events"]
    today, first = events[0]["recorded_at"][:10], events[-2]["recorded_at"]
    assert errata("checkout", f"@{today}", "out", "--without", "e2", "--json").json["live"] == [1, 3]
    assert f"@{today} --without e2" in (here / "out" / "README.md").read_text()
    assert errata("export", f"spring@{today}", "adapter", "--adapter", "--only", "e1").code == 0
    changed = errata("diff", "base", f"HEAD@{first}", "--no-norms", "--json").json
    assert changed["edits_in"] == [1, 2]
    assert errata("eval", f"spring@{today}", "--suite", "suite.jsonl").code == 0
    assert errata("bisect", "start", "base", f"spring@{today}").code == 0
    assert errata("bisect", "reset").code == 0
    assert errata("tag", "old", f"@{first}", "--json").json["live"] == [1, 2]
