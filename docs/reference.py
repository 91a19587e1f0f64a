"""Write ``docs/reference.md`` from the docstrings of `errata`: ``python docs/reference.py > docs/reference.md``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import errata
from errata.door import results
from errata.replay.measure import asking

HEAD = """# Reference of the Python door

Written from docstrings by `python docs/reference.py > docs/reference.md`; a test keeps it so. A guide with examples is
[python.md](python.md). `errata.Fact`, `errata.Probe`, `errata.Suite` and `errata.Metric` are what facts and suites are
made of; every error is an `errata.ErrataError`, with `message`, `fields` and the command's `exit_code`.
"""

VALUES = [
    *(one for one in vars(results).values() if inspect.isclass(one) and issubclass(one, results.Result)),
    asking.Answer,
    asking.Candidate,
]


class _Plain(str):
    """A text that shows without quotes, as `inspect` shows annotations."""

    __repr__ = str.__str__


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD, "## errata", _function("errata.init", errata.init), _function("errata.open", errata.open)]
    parts += ["## OpenLedger", _text(errata.OpenLedger)]
    parts += [_member(name, member) for name, member in _members(errata.OpenLedger)]
    parts.append("## What comes back\n\nEvery value prints as lines and tables, in a notebook too.")
    for kind in VALUES:
        parts.append(f"### {kind.__name__}\n\n{_text(kind)}")
        parts += [f"- `{name}`: {_text(member)}" for name, member in _members(kind)]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(part.strip() for part in parts) + "\n")


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that are ours, with what is inherited first."""
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("errata."):
            for name, member in vars(base).items():
                if not name.startswith("_") and isinstance(member, (property, cached_property, type(page))):
                    yield name, member


def _member(name: str, member: Any) -> str:
    return f"### {name}\n\n{_text(member)}" if isinstance(member, property) else _function(name, member)


def _function(name: str, function: Any) -> str:
    own = inspect.signature(function)
    shown = [one.replace(annotation=_Plain(one.annotation)) for one in own.parameters.values() if one.name != "self"]
    signature = f"{name}{own.replace(parameters=shown, return_annotation=_Plain(own.return_annotation))}"
    if len(signature) > 100:
        inside, after = signature.removeprefix(f"{name}(").rsplit(") -> ", 1)
        lines = "".join(f"    {part},\n" for part in _split(inside))
        signature = f"{name}(\n{lines}) -> {after}"
    return f"### {name}\n\n```python\n{signature}\n```\n\n{_text(function)}"


def _split(text: str) -> list[str]:
    """Parameters, parted at commas that stand in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _text(thing: Any) -> str:
    """A docstring in Google's form as Markdown: its sections become lists."""
    lines, listing = [], False
    for line in (inspect.getdoc(thing) or "").splitlines():
        if re.fullmatch(r"(Args|Attributes|Raises|Returns):", line):
            listing = line not in ("Returns:",)
            lines += ["", f"{line}", ""]
        elif listing and (found := re.match(r"    (\w[\w, ]*): (.*)", line)):
            lines.append(f"- `{found[1]}`: {found[2]}")
        elif listing and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            listing = listing and not line.strip()
            lines.append(line.strip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


if __name__ == "__main__":
    sys.stdout.write(page())
