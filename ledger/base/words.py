"""Numbers, sizes, lists, instants and digests as people read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath


def counted(number: int, what: str, plural: str = "") -> str:
    """A number and its noun, such as `1 edit` or `2 edits`; a plural that is not formed with an s is given."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


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
