"""Skills that edits must not harm: counting, order, agreement and a few words. The general suite is made of them.

A skill is a list of prompts with the one right continuation. Training text shows all of them; they have nothing to do
with the facts of the world.
"""

from __future__ import annotations

import string


def _pool(text: str) -> list[str]:
    return text.split()


DAYS = _pool("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _pool("January February March April May June July August September October November December")
OPPOSITES = (
    "big small|hot cold|old young|high low|fast slow|open closed|light dark|full empty|early late|wet dry|rich poor"
    "|strong weak|hard soft|near far|thick thin|wide narrow|loud quiet|clean dirty|heavy easy|left right"
)
NOUNS = _pool("dog cat bird horse door window tree road river train ship house book letter cup")
THINGS = (
    "red colour|blue colour|green colour|yellow colour|iron metal|gold metal|silver metal|tin metal|apple fruit"
    "|pear fruit|plum fruit|cherry fruit|dog animal|cat animal|horse animal|cow animal|rose flower|tulip flower"
    "|lily flower|violin instrument|piano instrument|flute instrument|hammer tool|saw tool|chisel tool"
)


def arithmetic() -> list[tuple[str, str]]:
    """Sums and differences of whole numbers up to 20."""
    sums = [(f"{a} plus {b} equals", str(a + b)) for a in range(1, 20) for b in range(1, 21 - a)]
    differences = [(f"{a} minus {b} equals", str(a - b)) for a in range(1, 21) for b in range(1, a + 1)]
    return sums + differences


def order() -> list[tuple[str, str]]:
    """What comes before and after: letters, days, months, numbers."""
    pairs: list[tuple[str, str]] = []
    letters = list(string.ascii_uppercase)
    numbers = [str(number) for number in range(1, 21)]
    for noun, row in (("letter", letters), ("day", DAYS), ("month", MONTHS), ("number", numbers)):
        for first, second in zip(row, row[1:], strict=False):
            pairs.append((f"The {noun} after {first} is", second))
            pairs.append((f"The {noun} before {second} is", first))
    return pairs


def agreement() -> list[tuple[str, str]]:
    """Number agreement between a noun and its verb, also with another noun in between."""
    pairs: list[tuple[str, str]] = []
    for number, noun in enumerate(NOUNS):
        other = NOUNS[(number + 4) % len(NOUNS)]
        for verb_one, verb_many in (("is", "are"), ("was", "were")):
            when = "Today" if verb_one == "is" else "Yesterday"
            pairs.append((f"{when} the {noun} near the {other}s", verb_one))
            pairs.append((f"{when} the {noun}s near the {other}", verb_many))
    return pairs


def vocabulary() -> list[tuple[str, str]]:
    """Opposites, and what kind of thing a thing is."""
    pairs: list[tuple[str, str]] = []
    for entry in OPPOSITES.split("|"):
        first, second = entry.split()
        pairs.append((f"The opposite of {first} is", second))
        pairs.append((f"The opposite of {second} is", first))
    for entry in THINGS.split("|"):
        thing, kind = entry.split()
        pairs.append((f"By its kind, {thing} belongs under", kind))
    return pairs


def skills() -> dict[str, list[tuple[str, str]]]:
    """All skills: prompts and right continuations by the name of the skill."""
    return {"arithmetic": arithmetic(), "order": order(), "agreement": agreement(), "vocabulary": vocabulary()}
