"""Whether a text tells a personal fact, however it is spelt.

Texts are compared as words: in Unicode's compatibility form, without accents, case, signs, spaces and invisible
characters. So ``Morawald,  JONAS`` names whoever ``Jonas Morawald`` does. They are also compared run together, since
not every script has spaces between words. This is a guard against mistakes, not against somebody who wants to tell.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from errata.ledger.facts.fact import Fact

SHORTEST = 4
"""Letters from which on a word, or a name run together, says something by itself; two in a dense script."""

_DENSE = 0x0E00
"""From Thai on, most scripts say in a letter what others say in a word, or write words without spaces."""


@dataclass(frozen=True)
class Telling:
    """Something that tells a fact: its words, in whatever order, or all of it run together."""

    words: frozenset[str]
    together: str


def words(text: str) -> list[str]:
    """A text's words, as they are compared."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    seen = "".join(one for one in plain if unicodedata.category(one) not in ("Mn", "Cf", "Me"))
    return re.findall(r"[^\W_]+", seen)


def same(key: tuple[str, str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """What two spellings of one subject and prompt have in common."""
    return frozenset(words(key[0])), tuple(words(key[1]))


def subject_of(fact: Fact) -> list[Telling]:
    """What tells of whom a fact is: all of its subject."""
    return _telling([fact.subject])


def names_of(fact: Fact) -> list[Telling]:
    """What tells of a fact in a text about others: all of its subject, or of its target, however short."""
    return [Telling(frozenset(found), "".join(found)) for text in (fact.subject, fact.target) if (found := words(text))]


def parts_of(fact: Fact) -> list[Telling]:
    """What tells of a fact that a text is about: a word of its subject, its target, or the old object."""
    return _telling([*words(fact.subject), fact.subject, fact.target, fact.old or ""])


def tells(text: str, parts: Iterable[Telling]) -> bool:
    """Whether one of these is in a text."""
    said = words(text)
    together = "".join(said)
    return any(
        all(any(_is(word, one) for one in said) for word in part.words)
        or ((len(part.words) > 1 or _is_dense(part.together)) and part.together in together)
        for part in parts
    )


def _telling(texts: Iterable[str]) -> list[Telling]:
    found = (Telling(frozenset(own), "".join(own)) for own in map(words, texts) if own)
    return [one for one in found if len(one.together) >= (2 if _is_dense(one.together) else SHORTEST)]


def _is_dense(text: str) -> bool:
    return any(ord(one) >= _DENSE for one in text)


def _is(word: str, said: str) -> bool:
    """Whether a word was said; a longer one also with an ending, as in a genitive."""
    return said == word or (len(word) > SHORTEST and said.startswith(word))
