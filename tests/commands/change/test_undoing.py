"""`errata undo`: it says what the last change was, takes it back, and says what it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.ledger.ledger import Ledger
from tests.support.command_line import Errata, snapshot


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(errata: Errata, here: Path) -> None:
    before = snapshot(here)
    done = errata("undo", "--dry-run")
    assert done.code == 0 and snapshot(here) == before
    lines = done.out.splitlines()
    assert lines[0].startswith("last change: @4, by ") and lines[1] == "  @4 e3 An office of Calder Mills => p"
    assert lines[2:4] == ["would be reverted", "  e3 An office of Calder Mills => p"]
    assert lines[4].endswith("2 live edits: that of @3 again, to the bit") and lines[5].endswith("(dry run)")
    assert errata("undo", "--dry-run", "--json").json["events"] == []


def test_undo_takes_the_last_batch_back_and_given_twice_brings_it_back(errata: Errata, here: Path) -> None:
    version = Ledger.open(here).state().version
    done = errata("undo", "--json").json
    assert (done["reverted"], done["brought_back"], done["events"], done["live"]) == ([3], [], [5], 2)
    assert done["last_change"][0]["body"]["number"] == 3 and done["refused"] is None
    again = errata("undo", "--json").json
    assert again["brought_back"] == [{"edit": 3, "as": 4}] and again["version"] == version
    assert "e3 reverted: undo of @4" in errata("log", "--oneline").out
    told = errata("undo").out
    assert "  e4 An office of Calder Mills => p" in told and "that of @5 again, to the bit" in told
    assert "back, with the deltas that they had" in errata("undo").out
    assert errata("verify", "--deep").code == 0


def test_undo_moves_tags_back_and_settings_too(errata: Errata, here: Path) -> None:
    assert errata("tag", "spring", "@2").code == 0
    assert errata("tag", "--move", "spring").code == 0
    done = errata("undo")
    assert done.code == 0 and "tag spring on" in done.out and "again" in done.out
    assert Ledger.open(here).state().tags["spring"].live == (1,)
    assert errata("tag", "--delete", "spring").code == 0
    assert errata("undo").code == 0 and Ledger.open(here).state().tags["spring"].live == (1,)
    assert errata("undo").out.splitlines()[-2] == "tag spring removed"
    before = Ledger.open(here).state().hyperparameters
    assert errata("settings", "--set", "norm_weight=0.5", "--reason", "as in the pilot").code == 0
    assert "settings what they were: norm_weight=0.001" in errata("undo").out
    assert Ledger.open(here).state().hyperparameters == before
    assert errata("verify", "--deep").code == 0


@pytest.mark.parametrize(("undone", "words"), [(("role", "grant", "ben", "author"), "errata role revoke")])
def test_what_undo_leaves_alone_is_refused_with_the_way(
    errata: Errata, here: Path, undone: tuple[str, ...], words: str
) -> None:
    assert errata(*undone).code == 0
    before = snapshot(here)
    for arguments in (("undo",), ("undo", "--dry-run")):
        done = errata(*arguments)
        assert done.code == 4 and words in done.err and done.err.count("\n") == 1
    assert snapshot(here) == before
