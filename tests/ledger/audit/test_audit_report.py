"""The report says all that is in a range, the worst first, in one file that stands alone."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from errata.ledger.audit import bundle
from errata.ledger.audit.master_copy import edit_rows
from errata.ledger.audit.pages import ON_SCREEN, Limits, html_page, pdf_pages
from errata.ledger.audit.range import AuditRange
from errata.ledger.audit.report import AuditReport, report
from errata.ledger.audit.views import BOM, PAGE, PAPER, views
from errata.ledger.base.findings import Finding, Trouble, damage, note
from errata.ledger.base.words import short
from errata.ledger.events.change_parts import (
    ChangeAccess,
    ChangePolicy,
    EditFacts,
    EraseFact,
    GrantRole,
    MoveTag,
    RevertThem,
    RevokeKey,
    sort_of,
)
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import CONTROLLED, ActionSort
from errata.ledger.events.words import action_lines
from errata.ledger.rules.evolve import fold
from errata.ledger.rules.operations import ApplyEdits, ChangeKeysAndRoles, RecordEvent
from tests.support import samples
from tests.support.governed import alone, governed, long_log, ungoverned
from tests.support.people import key_of

CHECKPOINT = "errata/blake3:00\n46\nAAAA\n"
VOID = {"meta", "br", "col"}
LOG = governed()


def range_of(events: Sequence[Event], first: int = 1, **changes: Any) -> AuditRange:
    told = tuple(events)
    fields = {"rows": edit_rows(told, first)} | changes
    return AuditRange(events=told, stored=(), first=first, state=fold(told), context=(), **fields)


def read(
    events: Sequence[Event], first: int = 1, findings: Sequence[Finding] | None = (), **changes: Any
) -> AuditReport:
    return report(range_of(events, first, **changes), CHECKPOINT, findings)


def words(page: str) -> str:
    """The text of a page."""
    body = page[page.index("<body>") :]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


class Strict(HTMLParser):
    """Sees that every element that is opened is closed in its place, and collects anchors and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.ids += [told["id"] or ""] if "id" in told else []
        self.links += [told["href"] or ""] if "href" in told else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()


@pytest.mark.parametrize("limits", [ON_SCREEN, Limits(rows=2, details=1), Limits(rows=9, details=0)])
def test_the_page_is_well_formed_and_its_links_lead_somewhere(limits: Limits) -> None:
    parser = Strict()
    parser.feed(html_page(read(LOG.events), limits))
    parser.close()
    assert parser.open == []
    assert len(set(parser.ids)) == len(parser.ids)
    assert {link.removeprefix("#") for link in parser.links} <= set(parser.ids)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = html_page(read(LOG.events)).lower()
    assert not re.findall(r"https?:|<script|<img|<link|@import|url\(|@font-face", page)


def test_what_people_wrote_is_text_and_no_markup() -> None:
    page = html_page(read(LOG.events))
    assert "6 &lt;b&gt;crowns&lt;/b&gt; &amp; more" in page and "<b>crowns" not in page


def test_every_event_of_the_range_is_in_the_page() -> None:
    found = read(LOG.events)
    text = words(html_page(found))
    counted = {kind for kind, _ in found.others}
    untold = [
        event.seq for event in LOG.events if not re.search(rf"@{event.seq}\b", text) and event.kind not in counted
    ]
    assert untold == [] and counted == {"ledger_created"}


def test_every_digest_key_and_signature_that_an_edit_rests_on_is_in_the_page() -> None:
    text = words(html_page(read(LOG.events)))
    for row in edit_rows(LOG.events):
        wanted = [row.hash, row.previous, row.event_id, row.base, row.parent_version, row.result_version, row.blob]
        wanted += [row.delta_digest, row.keys_digest, *([row.key] if row.key else [])]
        wanted += [part for one in row.approvals for part in (one.key, one.signature)]
        wanted += [row.proposal_digest, row.draft_digest] if row.proposal_digest and row.draft_digest else []
        assert [one for one in wanted if one not in text] == []


def test_broken_glass_and_failed_gates_stand_first_and_in_red() -> None:
    found = read(LOG.events)
    assert [anchor for _, anchor in found.alarms] == ["p3", "p3"]
    assert found.alarms[0][0] == (
        "Break-glass: p3 was applied without approval by dan and cleo: nobody who approves can be reached. "
        "Reviewed by ben: upheld, the price was right."
    )
    assert "did not pass once it was applied: efficacy" in found.alarms[1][0]
    page = html_page(found)
    assert page.index('class="alarms"') < page.index('id="range"')
    assert '<section class="card change broken" id="p3">' in page and "No change was applied as break-glass" not in page


def test_glass_that_nobody_looked_at_is_told_with_its_deadline() -> None:
    seq = next(event.seq for event in LOG.events if event.kind == "glass_reviewed")
    found = read(LOG.events[: seq - 1])
    assert "It has not been reviewed; it is due by 2026-02-02 03:00:00 UTC." in found.alarms[0][0]
    assert "NOT REVIEWED" in words(html_page(found))
    late = LOG.events[seq - 2].model_copy(update={"recorded_at": "2026-02-02T03:00:01Z"})
    assert "it was due by" in read([*LOG.events[: seq - 2], late]).alarms[0][0]


def test_damage_is_an_alarm_and_a_note_is_none() -> None:
    findings = (
        damage("blob blake3:12", "is missing", Trouble.BLOB),
        note("ledger.seal", "an append was interrupted", Trouble.HEALS),
    )
    found = read(long_log(3), findings=findings)
    assert found.alarms == (("Verification: blob blake3:12: is missing", "verification"),)
    text = words(html_page(found))
    assert "an append was interrupted" in text and "nothing was found" not in text
    assert Trouble.BLOB.meaning in text and Trouble.BLOB.remedy in text
    assert "nothing was found" in words(html_page(read(long_log(3))))
    unasked = read(long_log(3), findings=None)
    assert "The ledger was not verified when this report was made." in dict(unasked.remarks)


def test_a_key_in_other_hands_is_an_alarm() -> None:
    log = ungoverned()
    step = RevokeKey(key=key_of("cleo").key, reason="a laptop was lost", compromised_since=6)
    log.run("ada", ChangeKeysAndRoles((step,)))
    found = read(log.events)
    assert found.alarms[0][0].endswith("of cleo may have been compromised since @6.")
    assert "revoked, compromised since @6: a laptop was lost" in words(html_page(found))


def test_a_quiet_range_says_so_and_what_its_policy_did_not_ask() -> None:
    found = read(long_log(20))
    assert found.alarms == ()
    remarks = [words for words, _ in found.remarks]
    assert remarks[0].startswith("20 edits of 20 made without a change set")
    assert remarks[1].startswith("23 events of 23 without a signature")
    assert "No change was applied as break-glass" in html_page(found)


def test_months_and_persons_add_up_to_the_range() -> None:
    for events in (LOG.events, long_log(300)):
        found = read(events)
        assert sum(month.edits for month in found.months) == len(found.read.rows)
        assert sum(month.ended for month in found.months) == len(found.endings)
        assert sum(person.events for person in found.persons) == len(events)
        assert sum(person.edits for person in found.persons) == len(found.read.rows)
        assert sum(person.approvals for person in found.persons) == sum(month.approvals for month in found.months)
    assert [month.name for month in found.months] == ["2026-01", "2026-02"]


def test_a_range_tells_of_itself_and_not_of_what_came_before() -> None:
    first = next(event.seq for event in LOG.events if event.kind == "policy_changed")
    found = read(LOG.events, first)
    assert [row.number for row in found.read.rows] == [3, 4, 5]
    assert any("The range begins at @13" in remark for remark, _ in found.remarks)
    assert [turn.event.seq for turn in found.turns] == [13]
    later = next(event.seq for event in LOG.events if event.kind == "glass_reviewed")
    assert [change.record.number for change in read(LOG.events, later).changes] == [3, 4, 5, 6]


def test_what_is_appended_later_does_not_change_the_page() -> None:
    short = html_page(read(LOG.events[:20]))
    log = governed()
    assert html_page(read(log.events[:20])) == short
    assert "11 crowns" not in short


def test_a_long_range_is_cut_with_a_word_on_where_the_rest_is() -> None:
    found = read(LOG.events)
    text = words(html_page(found, Limits(rows=2, details=1)))
    assert "2 of 5 edits are shown; the others are in edits.jsonl, edits.csv and edits.parquet." in text
    assert "2 of 6 change sets are shown; the others are in changes.jsonl." in text
    assert (
        "In full 1 of 6 follow: those applied as break-glass" in text and "p3 applied break-glass an emergency" in text
    )
    assert "1 of 5 edits are shown: those applied as break-glass" in text
    assert "with the same fields. e5 live break-glass" in text, "what needs a look comes before what does not"
    assert not re.search("are shown|follow:", words(html_page(found)))


def test_a_fact_that_is_withheld_is_shown_by_its_commitment() -> None:
    events, commitment = long_log(3), samples.some_digest("commitment")
    gone = {"redacted": True, "commitment": commitment, "subject": None, "prompt": None, "old": None, "new": None}
    rows = tuple(row.model_copy(update=gone) if row.number == 2 else row for row in edit_rows(events))
    found = read(events, rows=rows)
    text = words(html_page(found))
    assert [row.number for row in found.redacted] == [2] and commitment in text
    assert "Subject 2" not in text and "2 crowns" not in text and "Subject 3" in text


def test_an_edit_that_did_not_work_is_told() -> None:
    events = long_log(3)
    rows = edit_rows(events)
    bad = rows[1].model_copy(update={"outcome": rows[1].outcome.model_copy(update={"efficacy": False})})
    found = read(events, rows=(rows[0], bad, rows[2]))
    assert any(remark.startswith("1 edit did not work") for remark, _ in found.remarks)
    assert "does not say the target" in html_page(found, Limits(rows=9, details=1))


def test_proposals_of_every_sort_are_in_words() -> None:
    actions = (
        EditFacts(facts=(samples.new_edit().fact,)),
        RevertThem(edits=tuple(range(1, 20))),
        EraseFact(edits=(4,)),
        MoveTag(tag="production", live=None),
        ChangePolicy(policy=CONTROLLED),
        ChangeAccess(steps=(GrantRole(person="eve", role="auditor"),)),
    )
    assert {sort_of(action) for action in actions} == set(ActionSort) - {ActionSort.MERGE}
    assert [action_lines(action)[0] for action in actions] == [
        "The price of Subject 1 is => 1 crowns",
        "revert e1, e2, e3, e4, e5, e6, e7, e8, e9, e10 and 9 more",
        "erase the fact of e4",
        "remove the tag production",
        f"policy controlled {short(CONTROLLED.digest)}",
        "grant role auditor to eve",
    ]


def test_the_pdf_is_the_same_each_time_and_dated_by_the_range() -> None:
    found = read(LOG.events[:20])
    limits = Limits(rows=3, details=1)
    data = pdf_pages(found, limits)
    assert data.startswith(b"%PDF-") and data == pdf_pages(found, limits)
    inside = b"".join(zlib.decompress(one) for one in re.findall(rb"stream\n(x.*?)\nendstream", data, re.DOTALL))
    assert b"/CreationDate (D:20260130190000Z)/ModDate (D:20260130190000Z)" in inside
    assert data != pdf_pages(read(LOG.events[:26]), limits)


def test_the_files_go_into_a_bundle_and_speak_of_the_whole_version() -> None:
    first = next(event.seq for event in LOG.events if event.kind == "policy_changed")
    events = LOG.events
    whole = bundle.read_range(events, list(LOG.ledger.store.raw()), first, len(events))
    files = views(whole, CHECKPOINT, signer=key_of("dan"), pdf=False)
    assert set(files) == {"attestations.intoto.jsonl", BOM, PAGE, "edits.parquet"}
    assert set(views(whole, CHECKPOINT, pdf=False)) == {"statements.jsonl", BOM, PAGE, "edits.parquet"}
    assert (
        files[BOM] == views(bundle.read_range(events, list(LOG.ledger.store.raw()), 1, len(events)), "", pdf=False)[BOM]
    )
    made = bundle.build(whole, files)
    assert made.files[PAGE] == files[PAGE] and PAPER not in made.files


def test_the_report_does_not_say_where_the_base_lies() -> None:
    log = alone()
    log.run("ada", RecordEvent(samples.created(model="/srv/ada/their-llama")))
    log.run("ada", ApplyEdits((samples.new_edit(1),)))
    page = html_page(read(log.events))
    assert "their-llama" in page and "/srv/ada" not in page
