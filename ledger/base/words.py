"""Numbers, sizes, lists, instants and digests as people read them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

_DIGITS = 15
_JOINERS = "\u200c\u200d"
"""What joins letters or keeps them apart: Persian, Indic scripts and emoji are written with it."""


def shown(text: str) -> str:
    """Text from anywhere, as one line that hides nothing and that a terminal does not obey.

    Control characters, line breaks, marks that change the direction of writing, and others that nobody sees are
    escaped as in Python. All that people read goes through here, whatever it is shown on.
    """
    return text if text.isprintable() else "".join(c if _is_plain(c) else _escape(c) for c in text)


def harmless(value: Any) -> Any:
    """A template's value: text as `shown` gives it, and what is markup already as it is."""
    return shown(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def json_text(value: Any, indent: int | None = 2) -> str:
    """A value as JSON that can be shown: what `shown` escapes is escaped in its strings, and all else is as it is.

    Raises:
        ValueError: NaN or infinity, which JSON has not.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c == "\n" or _is_plain(c) else _units(c) for c in text)


def _is_plain(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def _escape(character: str) -> str:
    code = ord(character)
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _units(character: str) -> str:
    """A character as JSON escapes it, in UTF-16's units."""
    return json.dumps(character)[1:-1]


def counted(number: int, what: str, plural: str = "") -> str:
    """A number and its noun, such as `1 edit` or `2 edits`; a plural that is not formed with an s is given."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


def whole(digits: str) -> int:
    """The number that decimal digits are; of more digits than anything here has, one that is larger than all."""
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS


def sized(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size:,} bytes" if size < 10_000 else f"{size / 2**20:,.2f} MiB"


def short(digest: str | None) -> str:
    """The first digits of a digest or of a key's name, as people write them; nothing of None."""
    return "" if digest is None else digest.rpartition(":")[2][:12]


def listed(words: Sequence[str]) -> str:
    """A list as people write it: `ada, ben and cy`; `nobody` if it is empty."""
    *first, last = words or ("nobody",)
    return f"{', '.join(first)} and {last}" if first else last


def ranges(numbers: Sequence[int]) -> str:
    """Ascending whole numbers as people write them: `0 to 2 and 5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return listed([f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs])


def hub_name(model: str) -> str | None:
    """A base model's name on the hub, such as `openai-community/gpt2`; None for a folder's path."""
    return model if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", model, re.ASCII) else None


def public_name(model: str) -> str:
    """A base model as everybody may read it: its name on the hub, or the last part of its folder's path."""
    return hub_name(model) or PurePath(model).name or "a local model"


def because(reason: str) -> str:
    """A reason after what it is the reason of, if there is one."""
    return f": {reason}" if reason else ""


def when(instant: str) -> str:
    """An RFC 3339 instant to the second, in UTC."""
    return f"{instant[:19].replace('T', ' ')} UTC"
