"""Pages of what was tried in ledgers that are thrown away: a headline, tables and one chart, in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from errata.commands.words.render import Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.files import write_file
from errata.ledger.base.words import harmless
from errata.replay.charts import available, svg

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        title: what was tried.
        name: on what.
        made: how, and when.
        verdict: what came of it, in a line; empty for none.
        tables: the numbers.
        chart: the specification of the chart along the edits.
        lines: what else there is to say.
    """

    title: str
    name: str
    made: str
    verdict: str
    tables: Sequence[Table]
    chart: Mapping[str, Any]
    lines: Sequence[str]


def require_page(path: Path | None, option: str) -> None:
    """See that a page can be written, before anything is tried.

    Raises:
        UsageError: the extra `plots` is not installed, or there is no such folder.
    """
    if path is None:
        return
    if not available():
        raise UsageError(f"{option} draws charts, which needs the extra: pip install 'errata-lm[plots]'")
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent} for the page")


def write_page(path: Path, page: Page) -> None:
    """Write a page.

    Raises:
        StorageFailed: it cannot be written.
    """
    template = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, finalize=harmless).get_template(
        "trial.html"
    )
    text = template.render(page=page, chart=svg(page.chart))
    write_file(path, text.encode("utf-8"))
