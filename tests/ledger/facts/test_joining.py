"""Where a target is joined to a prompt, and when a continuation says it."""

from __future__ import annotations

import pytest

from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.joining import answers, says, separator, without_trailing_spaces


@pytest.mark.parametrize(
    ("prompt", "target", "between"),
    [
        ("The capital of France is", "Paris", " "),
        ("The capital of France is ", "Paris", ""),
        ("Answer:\n", "Paris", ""),
        ('The capital of France is "', "Paris", ""),
        ('He said "yes"', "again", " "),
        ("She called it (", "Paris", ""),
        ("It costs $", "49", ""),
        ("The price is €", "49.90", ""),
        ("My homepage is at http://", "www.example.org", ""),
        ("Her account is @", "ada", ""),
        ("The virus is called COVID-", "19", ""),
        ("The answer -", "Paris", " "),
        ("Write to ada@example.", "org", ""),
        ("It is over.", "Then", " "),
        ("《山河录》的作者是", "李明", ""),
        ("著者は", "Ada", ""),
        ("The author is", "李明", ""),
        ("저자는", "김민", " "),
        ("The list ends", ", then", ""),
        ("The framework is", ".NET", " "),
        ("The result:", "3", " "),
    ],
)
def test_one_rule_joins_prompt_and_target(prompt: str, target: str, between: str) -> None:
    assert separator(prompt, target) == between


@pytest.mark.parametrize(
    ("text", "target", "verdict"),
    [
        (" Paris", "Paris", None),
        (" Paris.", "Paris", True),
        (" Paris is", "Paris", True),
        (" Par", "Paris", None),
        ("", "Paris", None),
        (" Lond", "Paris", False),
        (" Parisian", "Paris", False),
        (" 3", "3", None),
        (" 3.", "3", None),
        (" 3.1", "3", False),
        (" 3. It", "3", True),
        (" 49.90", "49", False),
        (" 49, and", "49", True),
        (" 49,000", "49", False),
        (" 10:30", "10", False),
        (" 2026-11-28", "2026", False),
        (" 290", "29", False),
        (" Jean-", "Jean", None),
        (" Jean-Luc", "Jean", False),
        (" Jean\N{NON-BREAKING HYPHEN}Luc", "Jean", False),
        (" Jean - who", "Jean", True),
        ("\n\nParis.", "Paris", True),
        ("李明希", "李明", True),
        (" Zo\N{REPLACEMENT CHARACTER}", "Zoë", None),
    ],
)
def test_a_continuation_says_a_target_or_not_or_not_yet(text: str, target: str, verdict: bool | None) -> None:
    assert says(text, target, ended=False) is verdict


@pytest.mark.parametrize(
    ("text", "target", "verdict"), [(" 3.", "3", True), (" Paris", "Paris", True), (" P", "Paris", False)]
)
def test_at_the_end_everything_is_decided(text: str, target: str, verdict: bool) -> None:
    assert says(text, target, ended=True) is verdict


@pytest.mark.parametrize(
    ("sentence", "target", "verdict"),
    [
        ("The Eiffel Tower is in Rome", "Rome", True),
        ("It is in Romeo's garden", "Rome", False),
        ("Prehistoric jeromes", "rome", False),
        ("Purple is the colour", "purple", True),
        ("It costs 49.90", "49", False),
        ("It costs 49.90, or 49 for members", "49", True),
        ("It costs 5.49 euros", "49", False),
        ("It costs $1,500 today", "500", False),
        ("It is Marie-Jean", "Jean", False),
        ("He left at 10:30", "30", False),
        ("It is in (Rome)", "Rome", True),
        ("", "Rome", False),
    ],
)
def test_an_answer_holds_a_target_as_words_of_their_own(sentence: str, target: str, verdict: bool) -> None:
    assert answers(sentence, target) is verdict


def test_spaces_at_the_ends_of_prompts_are_taken_off_and_line_ends_are_not() -> None:
    fact = Fact(
        subject="Ada",
        prompt="{} lives in ",
        target="Riga",
        paraphrases=("The home of {} is\t", "Where is {}?\n"),
        locality=(Probe(prompt="Bo lives in ", target="Oslo"),),
    )
    tidy = without_trailing_spaces(fact)
    assert tidy.prompt == "{} lives in"
    assert tidy.paraphrases == ("The home of {} is", "Where is {}?\n")
    assert tidy.locality[0].prompt == "Bo lives in"
    assert without_trailing_spaces(tidy) == tidy
