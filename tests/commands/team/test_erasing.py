"""`errata edit --personal`, `show --reveal` and `errata erase`: a fact about a person comes, and goes for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.ledger.ledger import Ledger
from tests.support.command_line import Errata
from tests.support.personal import spellings, told_in

PERSONAL = (
    "--personal",
    "--subject",
    "Ottilie Brandvold",
    "--prompt",
    "{} lives in the street of",
    "--target",
    "Hvidtfeldt",
    "--keep-failed",
)
TEXTS = spellings("Ottilie Brandvold", " lives in the street of", "Hvidtfeldt")


@pytest.fixture
def home(here: Path, errata: Errata) -> Errata:
    assert errata("edit", *PERSONAL).code == 0
    return errata


def test_a_personal_fact_is_seen_only_where_it_is_asked_for(home: Errata, here: Path) -> None:
    assert told_in(here / ".errata", TEXTS) == {}
    number = max(Ledger.open(here).state().edits)
    for command in (("log",), ("show", f"e{number}"), ("show", "HEAD"), ("log", "--json")):
        assert "Ottilie" not in home(*command).out and "[personal" in home(*command).out
    assert "Ottilie Brandvold lives in the street of => Hvidtfeldt" in home("show", f"e{number}", "--reveal").out
    assert home("eval", "HEAD", "--edits").code == 0
    assert told_in(here / ".errata", TEXTS) == {}


def test_an_erased_fact_is_nowhere_and_what_had_it_says_so(home: Errata, here: Path) -> None:
    number = max(Ledger.open(here).state().edits)
    home("tag", "lent")
    planned = home("erase", f"e{number}", "--dry-run", "--json").json
    assert planned["reverted"] == [number]
    done = home("erase", f"e{number}", "--reason", "request 17")
    assert done.code == 0 and "versions that can no longer be built" in done.out and "tags on them: lent" in done.out
    assert told_in(here / ".errata", TEXTS) == {}
    assert home("verify", "--deep").code == 0
    refused = home("checkout", "lent", "lent")
    assert (refused.code, refused.err.count("\n")) == (5, 1) and f"e{number} was erased at" in refused.err
    assert home("checkout", "HEAD", "head").code == 0
    assert "erased at" in home("erase", f"e{number}").out


def test_what_was_recorded_in_the_clear_cannot_be_erased(home: Errata, here: Path) -> None:
    assert (
        home("edit", "--subject", "Riga", "--prompt", "the street of {} is", "--target", "wide", "--keep-failed").code
        == 0
    )
    number = max(Ledger.open(here).state().edits)
    refused = home("erase", f"e{number}")
    assert refused.code == 4 and "was not recorded as personal" in refused.err
    again = home("edit", "--personal", "--subject", "Riga", "--prompt", "the street of {} is", "--target", "old")
    assert again.code == 4 and "in the clear" in again.err
