r"""How a prompt and its target are joined, and when a text says a target: one rule for editing, probing and scoring.

**Joining.** A space stands between prompt and target, except

- behind white space: the prompt is taken as it is written;
- behind an opening mark: a bracket, an opening quote, or one of ``$ £ € ¥ # @ / \ _ = ~ ¿ ¡``;
- behind a hyphen, or a full stop of an address, that follows a letter or digit directly;
- before a closing mark, a comma or the like;
- where the last character before the border, or the first one behind it, is of a script without spaces between words,
  such as Chinese, Japanese or Thai.

**Saying.** A model says a target if its free greedy continuation of the prompt begins with it, white space apart, and
does not go on to a longer answer: "3" is not said by "3.141", "49" not by "49.90", "29" not by "290", "Jean" not by
"Jean-Luc". In a script without spaces a name's end cannot be seen, and the target is said once it stands there.
"""

from __future__ import annotations

import unicodedata

from errata.ledger.facts.fact import Fact, Probe

_SPACED_SCRIPTS = frozenset(
    [
        "LATIN",
        "GREEK",
        "CYRILLIC",
        "ARMENIAN",
        "GEORGIAN",
        "HEBREW",
        "ARABIC",
        "DEVANAGARI",
        "BENGALI",
        "GUJARATI",
        "GURMUKHI",
        "TAMIL",
        "TELUGU",
    ]
)
"""Scripts with spaces between words, as Unicode's names of their letters begin. Hangul is not among them: a Korean
noun carries its particle without a space, and is a right answer with it."""

_UNSPACED_SCRIPTS = frozenset(["CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"])
"""Scripts without spaces between words, named likewise."""

_OPENING = frozenset("([{<“‘«‹„¿¡$£€¥#@/\\_=~「『《〈（【")
_CLOSING = frozenset(")]}>”’»›,;:.!?%、。，；：！？」』》〉）】…")
_QUOTES = frozenset("\"'`")
_IN_NUMBERS = frozenset(".,:/'’-–")
"""What may stand between two digits of one number, date or time."""
_HYPHENS = frozenset("-‐‑–")
_UNFINISHED = "�"
"""What the bytes of a character decode to while some are missing."""


def separator(prompt: str, target: str) -> str:
    """What stands between a prompt and its target: a space, or nothing."""
    if not prompt or not target or prompt[-1].isspace():
        return ""
    last, first = prompt[-1], target[0]
    closes = first in _CLOSING and not target[1:2].isalnum()
    if last in _OPENING or closes or _opens_a_quote(prompt):
        return ""
    attached = len(prompt) > 1 and prompt[-2].isalnum()
    if attached and (last in "-–" or (last == "." and _is_address(prompt))):
        return ""
    return "" if _script(last) in _UNSPACED_SCRIPTS or _script(first) in _UNSPACED_SCRIPTS else " "


def without_trailing_spaces(fact: Fact) -> Fact:
    """The fact with prompts that end where the target begins: spaces and tabs at their ends are taken off.

    A tokenizer puts the space in front of a word into the word's token, so after a prompt that ends in one a model
    hardly ever says the word that it says after the same prompt without it.
    """

    def probes(items: tuple[Probe, ...]) -> tuple[Probe, ...]:
        return tuple(item.model_copy(update={"prompt": _cut(item.prompt)}) for item in items)

    return fact.model_copy(
        update={
            "prompt": _cut(fact.prompt),
            "paraphrases": tuple(map(_cut, fact.paraphrases)),
            "train": tuple(map(_cut, fact.train)),
            "locality": probes(fact.locality),
            "portability": probes(fact.portability),
        }
    )


def says(text: str, target: str, ended: bool) -> bool | None:
    """Whether a continuation says a target.

    Args:
        text: the continuation so far.
        target: what is wanted.
        ended: whether nothing follows.

    Returns:
        None if what follows decides it.
    """
    said = text.lstrip()
    while said.endswith(_UNFINISHED) and not ended:
        said = said[:-1]
    if not said.startswith(target):
        return None if not ended and target.startswith(said) else False
    rest = said[len(target) :]
    goes_on = _goes_on(target[-1], rest)
    if goes_on is None:
        return True if ended else None
    return not goes_on


def answers(sentence: str, target: str) -> bool:
    """Whether a sentence holds the target as words of their own; upper and lower case at its beginning are the same."""
    for wanted in {target, target[0].upper() + target[1:]}:
        start = sentence.find(wanted)
        while start >= 0:
            attached = start > 0 and bool(_goes_on(wanted[0], sentence[max(0, start - 2) : start][::-1]))
            if not attached and not _goes_on(wanted[-1], sentence[start + len(wanted) :]):
                return True
            start = sentence.find(wanted, start + 1)
    return False


def _goes_on(last: str, rest: str) -> bool | None:
    """Whether what follows a target that ends in `last` makes it a longer answer; None if more has to follow.

    What stands before its first character, read backwards, is told in the same way.
    """
    if not rest:
        return None
    first, second = rest[0], rest[1:2]
    if _in_spaced_word(last) and _in_spaced_word(first):
        return True
    joins = (first in _IN_NUMBERS and last.isdecimal()) or (first in _HYPHENS and _in_spaced_word(last))
    if not joins:
        return False
    if not second:
        return None
    return second.isdecimal() if last.isdecimal() else second.isalpha()


def _in_spaced_word(character: str) -> bool:
    """Whether a character is a digit, or belongs to a word in a script that puts spaces between words."""
    if character.isdecimal():
        return True
    script = _script(character)
    # Vowel signs and accents are marks, not letters; a combining accent belongs to the letter before it.
    return unicodedata.category(character)[0] in "LM" and (script in _SPACED_SCRIPTS or script == "COMBINING")


def _script(character: str) -> str:
    return unicodedata.name(character, "").split(" ", 1)[0]


def _opens_a_quote(prompt: str) -> bool:
    before = prompt[-2:-1]
    return prompt[-1] in _QUOTES and (not before or before.isspace() or before in _OPENING)


def _is_address(prompt: str) -> bool:
    word = prompt.split()[-1]
    return "://" in word or "@" in word or word.lower() == "www."


def _cut(prompt: str) -> str:
    return prompt.rstrip(" \t") if prompt.strip() else prompt
