"""The report of an audit bundle as a page of HTML and as a PDF: one template, two ways to read it.

The page stands alone: no script, no font and no picture from elsewhere. Both are made of the report and of nothing
else, so the same range gives the same page, byte for byte. The PDF's dates and identifier come from the range too; its
glyphs come from the fonts and libraries of the machine that makes it, so its bytes are the same wherever those are.

Long ranges are cut, with a sentence that says so and where the rest is: paper that nobody can leaf through is no
record, and the master copy has it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from errata.ledger.audit.edit_row import EditRow
from errata.ledger.audit.report import AuditReport, ChangeSet
from errata.ledger.audit.words import (
    approvals_words,
    approvers,
    before_words,
    fact_words,
    policy_words,
)
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import harmless, public_name, short, when
from errata.ledger.events.words import action_lines, numbers
from errata.ledger.state.trust import ChangeStatus

TEMPLATES = Path(__file__).parent / "templates"
PAGE, PAPER = "report.html", "report.pdf"
_FILTERS = (
    short,
    when,
    public_name,
    numbers,
    fact_words,
    before_words,
    approvals_words,
    approvers,
    action_lines,
    policy_words,
)


@dataclass(frozen=True)
class Limits:
    """How much of a long range is shown: rows of each table; edits, and change sets, in full."""

    rows: int
    details: int


ON_SCREEN = Limits(rows=10_000, details=1_000)
ON_PAPER = Limits(rows=1_000, details=40)


def html_page(found: AuditReport, limits: Limits = ON_SCREEN) -> str:
    """The report as a page for a browser."""
    return _render(found, limits, paper=False)


def pdf_pages(found: AuditReport, limits: Limits = ON_PAPER) -> bytes:
    """The report as a PDF, A4.

    Raises:
        UsageError: weasyprint or what it needs of the system is not installed.
    """
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:
        raise UsageError(
            "a PDF needs the extra `audit` (pip install 'errata-lm[audit]') and the system's Pango: on Debian "
            f"libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 ({error})"
        ) from error
    identifier = found.read.state.head.hash.partition(":")[2][:32]
    pages: bytes = HTML(string=_render(found, limits, paper=True)).write_pdf(pdf_identifier=bytes.fromhex(identifier))
    return pages


def _render(found: AuditReport, limits: Limits, *, paper: bool) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=harmless,
    )
    environment.filters |= {function.__name__: function for function in _FILTERS}
    rows = found.read.rows
    detailed = _detailed(found, limits.details)
    cards = _change_cards(found, limits.details)
    shown_changes = frozenset(change.record.number for change in cards)
    return environment.get_template("audit.html").render(
        found=found,
        read=found.read,
        created=found.read.state.created,
        begun=found.within[0].recorded_at,
        ended=found.within[-1].recorded_at,
        ledger=found.read.events[0].hash,
        rows=rows[: limits.rows],
        changes=found.changes[: limits.rows],
        change_cards=cards,
        shown_changes=shown_changes,
        alarms=[(words, _nearest(anchor, shown_changes)) for words, anchor in found.alarms],
        endings=found.endings[: limits.rows],
        evaluations=found.evaluations[: limits.rows],
        detailed=detailed,
        shown=frozenset(row.number for row in detailed),
        paper=paper,
        page=PAGE,
    )


def _detailed(found: AuditReport, most: int) -> tuple[EditRow, ...]:
    """The edits that are shown whole: first those that need a look, then the first ones; in the order of the log."""
    asked = [row for row in found.read.rows if _needs_a_look(row)]
    others = [row for row in found.read.rows if not _needs_a_look(row)]
    return tuple(sorted([*asked, *others][:most], key=lambda row: row.seq))


def _change_cards(found: AuditReport, most: int) -> tuple[ChangeSet, ...]:
    """The change sets that are shown whole: first those that need a look, then the first ones."""

    def settled(change: ChangeSet) -> bool:
        record = change.record
        return record.status is ChangeStatus.APPLIED and not record.broke_glass and not record.failed_after

    chosen = sorted(found.changes, key=settled)[:most]
    return tuple(sorted(chosen, key=lambda change: change.record.seq))


def _nearest(anchor: str, shown_changes: frozenset[int]) -> str:
    """The anchor, or that of the section where it would be if its change set is not shown."""
    number = anchor.removeprefix("p")
    return "changes" if number.isdecimal() and int(number) not in shown_changes else anchor


def _needs_a_look(row: EditRow) -> bool:
    return row.break_glass or row.redacted or not row.outcome.efficacy or not all(gate.passed for gate in row.gates)
