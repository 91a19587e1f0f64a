"""Whether a text tells a personal fact, however it is spelt.

Texts are compared as sequences of words: in Unicode's compatibility form, without accents, case, signs, spaces and
invisible characters. So ``Morawald,  JONAS`` names whoever ``Jonas Morawald`` does. This is a guard against mistakes,
not against somebody who wants to tell.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from errata.ledger.facts.fact import Fact

SHORTEST = 4
"""Characters of a word from which on it says something by itself."""

Words = frozenset[str]


def words(text: str) -> list[str]:
    """A text's words, as they are compared."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    seen = "".join(one for one in plain if unicodedata.category(one) not in ("Mn", "Cf", "Me"))
    return re.findall(r"\w+", seen)


def same(key: tuple[str, str]) -> tuple[Words, tuple[str, ...]]:
    """What two spellings of one subject and prompt have in common."""
    return frozenset(words(key[0])), tuple(words(key[1]))


def subject_of(fact: Fact) -> list[Words]:
    """What tells of whom a fact is: all words of its subject together."""
    return _long([frozenset(words(fact.subject))])


def names_of(fact: Fact) -> list[Words]:
    """What tells of a fact in a text about others: all words of its subject, or of its target, however short."""
    return [words_ for text in (fact.subject, fact.target) if (words_ := frozenset(words(text)))]


def parts_of(fact: Fact) -> list[Words]:
    """What tells of a fact that a text is about: a word of its subject, its target, or the old object."""
    name = (frozenset({word}) for word in words(fact.subject))
    whole = (frozenset(words(text)) for text in (fact.target, fact.old or ""))
    return _long([*name, *subject_of(fact), *whole])


def tells(text: str, parts: Iterable[Words]) -> bool:
    """Whether one of these groups of words is in a text, in whatever order."""
    said = words(text)
    return any(all(any(_is(word, one) for one in said) for word in group) for group in parts)


def _long(groups: Iterable[Words]) -> list[Words]:
    return [group for group in groups if any(len(word) >= SHORTEST for word in group)]


def _is(word: str, said: str) -> bool:
    """Whether a word was said; a longer one also with an ending, as in a genitive."""
    return said == word or (len(word) > SHORTEST and said.startswith(word))
