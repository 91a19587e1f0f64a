"""`errata cherry-pick` and `errata merge`, as people use them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from errata.ledger.facts.fact import Fact
from errata.ledger.ledger import Ledger
from tests.support import ledgers as helpers
from tests.support.command_line import Errata, loaded_by
from tests.support.ledgers import write


@pytest.fixture
def other(here: Path) -> Path:
    """A copy of this folder's ledger, beside it; both have e1, e2 and e3."""
    shutil.copytree(here / ".errata", here / "other")
    return here / "other"


def changed(folder: Path, number: int, target: str) -> Fact:
    """Another target for the fact of an edit."""
    fact = Ledger.open(folder).state().edits[number].body.fact
    return fact.model_copy(update={"target": target, "paraphrases": (), "locality": ()})


def lines(text: str) -> Sequence[str]:
    return text.splitlines()


def test_an_edit_is_picked_shown_and_taken_back(errata: Errata, here: Path, other: Path) -> None:
    before = errata("status", "--json").json["version"]
    assert write(other, helpers.fact(10), helpers.fact(11), seed=5) == [4, 5]
    dry = errata("cherry-pick", "other", "e5", "--dry-run")
    assert dry.code == 0 and lines(dry.out)[0].startswith("would be carried over from ledger ")
    assert errata("status", "--json").json["version"] == before
    done = errata("cherry-pick", str(other), "e5")
    assert done.code == 0, done.err
    assert lines(done.out)[1] == "  e4 The seat of Office 11 is => Riga 11  (e5 there)"
    assert lines(done.out)[-1] == lines(dry.out)[-1]  # the version that was foretold
    shown = errata("show", "e4").out
    assert "origin      carried over from ledger " in shown and ", e5 (@" in shown
    assert "recorded by tester at 2026-01-02T03:04:05Z" in shown
    assert "carried over from ledger" in errata("log", "-n", "1", "--oneline").out
    assert errata("verify", "--deep").code == 0
    assert errata("revert", "e4").code == 0
    assert errata("status", "--json").json["version"] == before
    again = errata("cherry-pick", ".", "e4", "--json").json
    assert again["carried"][0]["number"] == 5 and again["carried"][0]["origin"]["number"] == 5


def test_a_range_takes_the_live_ones_and_what_is_here_is_skipped(errata: Errata, here: Path, other: Path) -> None:
    write(other, helpers.fact(10), helpers.fact(11), helpers.fact(12), seed=5)
    assert errata("--ledger", str(other), "revert", "e5").code == 0
    done = errata("cherry-pick", "other", "e2..e6", "--json").json
    assert [edit["origin"]["number"] for edit in done["carried"]] == [4, 6]
    assert done["skipped"] == [{"number": n, "why": "live", "here": n} for n in (2, 3)]
    nothing = errata("cherry-pick", "other", "e6")
    assert nothing.code == 1 and "skipped: e6 there is live here as e5" in nothing.out


def test_a_conflict_is_one_line_and_exit_code_3_until_it_may_replace(errata: Errata, here: Path, other: Path) -> None:
    write(other, changed(other, 1, "a"), seed=5)
    refused = errata("cherry-pick", "other", "e4")
    assert refused.code == 3 and refused.err.count("\n") == 1 and "--replace" in refused.err
    done = errata("cherry-pick", "other", "e4", "--replace", "--json").json
    assert done["superseded"] == [1] and done["live"] == 3
    assert errata("status", "--json").json["version"] == errata("--ledger", "other", "status", "--json").json["version"]


def test_a_merge_tells_conflicts_and_then_does_what_it_is_told(errata: Errata, here: Path, other: Path) -> None:
    write(here, changed(here, 1, "mine"), helpers.fact(20), seed=6)
    write(other, changed(other, 1, "yours"), helpers.fact(21), seed=7)
    assert errata("--ledger", "other", "revert", "e3").code == 0
    head = errata("status", "--json").json["head"]
    refused = errata("merge", "other")
    assert refused.code == 3 and "1 fact changed on both sides" in refused.out
    assert "mine (e4)" in refused.out and "yours (e4)" in refused.out and "tester, 2026-01-02" in refused.out
    assert "--take e4=theirs for one" in refused.out
    assert errata("merge", "other", "--json").json["conflicts"][0]["ours"]["target"] == "mine"
    assert errata("status", "--json").json["head"] == head
    dry = errata("merge", "other", "--theirs", "--dry-run", "--json").json
    done = errata("merge", "other", "--take", "e4=theirs")
    assert done.code == 0, done.err
    assert lines(done.out)[0].startswith("carried over from ledger ") and lines(done.out)[0].endswith(": 2 edits")
    assert "(e4 there, supersedes e4)" in done.out
    assert "taken back, as it was there: 1 edit" in done.out
    assert "yours, not mine (theirs, by hand)" in done.out
    assert errata("status", "--json").json["version"] == dry["version"]
    last = errata("log", "-n", "1", "--oneline").out
    assert (
        "merged ledger " in last
        and "carried over 2 edits (e6 to e7); took back e3; decided on 1 fact (by hand)" in last
    )
    assert errata("verify", "--deep").code == 0
    assert errata("merge", "other").out.startswith("nothing to merge")
    back = errata("--ledger", "other", "merge", str(here))
    assert back.code == 0 and lines(back.out)[0].startswith("carried over from ledger ")
    assert lines(back.out)[0].endswith(": 1 edit")
    assert errata("--ledger", "other", "verify", "--deep").code == 0
    assert errata("--ledger", "other", "status", "--json").json["version"] == dry["version"]


def test_a_fact_that_one_side_took_back_is_named_by_its_digest(errata: Errata, here: Path, other: Path) -> None:
    assert errata("revert", "e1").code == 0
    write(other, changed(other, 1, "yours"), seed=7)
    (conflict,) = errata("merge", "other", "--json").json["conflicts"]
    assert conflict["ours"]["target"] is None and conflict["ours"]["changed_by"] == "ada"
    done = errata("merge", "other", "--take", f"{conflict['take']}=ours")
    assert done.code == 0 and "nothing, not yours (ours, by hand)" in done.out
    assert errata("merge", "other").out.startswith("nothing to merge")


def test_neither_loads_torch(here: Path, other: Path) -> None:
    write(other, helpers.fact(21), helpers.fact(22), seed=7)
    own = ["--ledger", str(here)]
    found = loaded_by(
        f"from errata import cli\nassert cli.call({[*own, 'cherry-pick', str(other), 'e4']!r}) == 0\n"
        f"assert cli.call({[*own, 'merge', str(other)]!r}) == 0\n"
        f"assert cli.call({[*own, 'diff', 'base', '--no-norms', '--with', str(other)]!r}) == 0"
    )
    assert not found & {"torch", "transformers", "rich", "pandas"}


def test_diff_compares_with_a_version_of_another_ledger(errata: Errata, here: Path, other: Path) -> None:
    write(other, changed(other, 1, "yours"), helpers.fact(21), seed=7)
    same = errata("diff", "@4", "@4", "--with", "other", "--no-norms", "--json").json
    assert same["version_a"] == same["version_b"] and same["edits_in"] == same["edits_out"] == []
    found = errata("diff", "HEAD", "--with", "other", "--json").json
    assert (found["edits_in"], found["edits_out"]) == ([4, 5], [1])
    assert all(norms["spectral"] > 0 for norms in found["norms"].values())
    shown = errata("diff", "HEAD", "--with", "other").out
    assert "HEAD there" in shown and "spectral" in shown and "e5 The seat of Office 21 is => Riga 21" in shown
    assert not (other / "cache" / "keyframes").exists()
    assert errata("merge", "other").code == 0
    assert errata("diff", "HEAD", "--with", "other", "--json").json["facts"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["merge", "other", "--ours", "--newest"], 2, "give one of"),
        (["merge", "other", "--take", "e1"], 2, "EDIT=ours or EDIT=theirs"),
        (["merge", "nowhere"], 5, "no ledger in"),
        (["cherry-pick", "other", "e9"], 2, "did you mean 'e3'"),
        (["cherry-pick", "other", "e9..e10"], 2, "e9"),
        (["cherry-pick", "other"], 2, "Missing argument"),
    ],
)
def test_mistakes_are_one_clear_line(
    errata: Errata, here: Path, other: Path, arguments: list[str], code: int, complaint: str
) -> None:
    done = errata(*arguments)
    assert done.code == code and complaint in done.err and done.err.count("\n") == 1
