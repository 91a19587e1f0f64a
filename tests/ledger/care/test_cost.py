"""Costs: what is recorded of checkouts, and sums that are exact, complete and independent of order and grouping."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.ledger.base.errors import Refused
from errata.ledger.care.cost import CostReport, Grouping, summarise
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import DraftedEdit
from errata.ledger.events.envelope import Draft, Event
from errata.ledger.events.parts import Body, Origin
from errata.ledger.events.trust_bodies import ChangeApplied, ChangeDrafted, ChangeProposed
from errata.ledger.kinds.checkouts import Publication, VersionCheckedOut
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.kinds.table import spec_of
from errata.ledger.rules.decide import decide
from errata.ledger.rules.operations import RecordEvent
from errata.ledger.state.state import State
from errata.ledger.store.store import MemoryStore
from tests.support.memory import edits, fresh
from tests.support.samples import checked_out, conclusion, created, evaluation, new_edit, new_id, some_digest, tracing

ORIGIN = Origin(
    ledger=some_digest("other"),
    event=some_digest("event"),
    seq=3,
    number=2,
    actor="bob",
    recorded_at="2025-01-01T00:00:00Z",
)


def edit(number: int, **changes: Any) -> bodies.EditApplied:
    new = new_edit(number, **changes)
    return new.numbered(number)


def evaluated(**changes: Any) -> EvaluationRecorded:
    return evaluation(State(created=created()), **changes)


def log(*said: tuple[str, str, Body]) -> list[Event]:
    """A log of (actor, time, body) after a ledger's creation."""
    store = MemoryStore()
    first = ("ada", "2026-01-01T00:00:00Z", created())
    drafts = [Draft(event_id=new_id(), body=body, actor=actor, recorded_at=at) for actor, at, body in (first, *said)]
    return store.append(drafts, store.head())


LOG = log(
    ("ada", "2026-10-31T23:59:59Z", edit(1, seconds=0.1, peak_memory_bytes=300)),
    ("ada", "2026-11-01T00:00:00Z", edit(2, seconds=0.2, peak_memory_bytes=200)),
    ("bob", "2026-11-02T00:00:00Z", edit(3, seconds=0.3, peak_memory_bytes=100, method="memit", device="cuda:0")),
    ("bob", "2026-11-02T10:00:00Z", evaluated(seconds=1.5)),
    ("bob", "2026-11-03T00:00:00Z", evaluated(seconds=2.5, device="cpu", peak_memory_bytes=50)),
    ("ada", "2026-11-04T00:00:00Z", checked_out(seconds=4.0, peak_memory_bytes=70)),
    ("ada", "2026-11-04T00:00:00Z", checked_out(format="adapter", bytes_linked=0, seconds=8.0, peak_memory_bytes=60)),
    ("ada", "2026-11-05T00:00:00Z", conclusion(seconds=None)),
    ("ada", "2026-11-05T00:00:00Z", conclusion(seconds=16.0)),
    ("ada", "2026-11-06T00:00:00Z", tracing(seconds=32.0)),
    ("ada", "2026-11-07T00:00:00Z", bodies.EditReverted(edit=1, reason="")),
    ("ada", "2026-11-08T00:00:00Z", edit(4, seconds=1000.0, origin=ORIGIN)),
)


def by_group(found: CostReport) -> dict[tuple[str, ...], tuple[int, float]]:
    return {row.group: (row.count, row.seconds) for row in found.rows}


def test_the_sums_by_month_method_and_requester() -> None:
    found = summarise(LOG)
    assert by_group(found) == {
        ("2026-10", "edit: encore", "ada"): (1, 0.1),
        ("2026-11", "bisection: exact", "ada"): (2, 16.0),
        ("2026-11", "checkout: adapter", "ada"): (1, 8.0),
        ("2026-11", "checkout: folder", "ada"): (1, 4.0),
        ("2026-11", "edit: encore", "ada"): (1, 0.2),
        ("2026-11", "edit: memit", "bob"): (1, 0.3),
        ("2026-11", "evaluation: suite", "bob"): (2, 4.0),
        ("2026-11", "tracing", "ada"): (1, 32.0),
    }
    assert (found.total.count, found.total.seconds) == (10, 64.6)


def test_what_is_not_recorded_is_counted_and_never_guessed() -> None:
    rows = {row.group: row for row in summarise(LOG, [Grouping.METHOD]).rows}
    bisections, suites = rows["bisection: exact",], rows["evaluation: suite",]
    assert (bisections.count, bisections.untimed, bisections.unmeasured) == (2, 1, 2)
    assert bisections.peak_memory_bytes is None and bisections.devices == ()
    assert (suites.count, suites.untimed, suites.unmeasured, suites.peak_memory_bytes) == (2, 0, 1, 50)
    total = summarise(LOG, [Grouping.METHOD]).total
    assert (total.untimed, total.unmeasured) == (1, 4)
    assert (total.peak_memory_bytes, total.devices) == (300, ("cpu", "cuda:0"))
    assert by_group(summarise(LOG, [Grouping.DEVICE]))["not recorded",] == (4, 49.5)


def test_an_edit_from_another_ledger_was_paid_for_there() -> None:
    assert summarise(LOG).elsewhere == 1
    assert summarise(LOG, until="2026-11-07").elsewhere == 0


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        ("2026-11", "", 9),
        ("", "2026-10", 1),
        ("2026-10-31", "2026-11-01", 2),
        ("2026-11-04", "2026-11", 5),
        ("2026-11-02", "2026-11-02", 2),
        ("2027", "", 0),
    ],
)
def test_both_ends_of_a_stretch_of_time_count(since: str, until: str, count: int) -> None:
    found = summarise(LOG, since=since, until=until)
    assert found.total.count == sum(row.count for row in found.rows) == count
    assert not count or found.total.seconds > 0


def test_an_hour_costs_what_it_costs() -> None:
    hour = log(*(("ada", "2026-11-02T00:00:00Z", edit(n, seconds=900.0)) for n in range(1, 5)))
    assert summarise(hour).total.price(2.5) == 2.5
    assert summarise(log()).total.price(2.5) == 0.0


def proposed(number: int, text: str) -> ChangeProposed:
    action = {"sort": "edit", "facts": [new_edit().fact.plain()]}
    fields = {"number": number, "action": action, "reason": text, "risk": "normal"}
    return ChangeProposed.model_validate_json(json.dumps(fields))


def drafted(proposal: int, edits: int, seconds: float) -> ChangeDrafted:
    digest = some_digest("any")
    return ChangeDrafted(
        proposal=proposal, number=1, proposal_digest=digest, parent=digest, result=digest, policy=digest,
        edits=(DraftedEdit(fact=digest, delta=digest, edit=digest),) * edits, seconds=seconds,
    )  # fmt: skip


def test_a_change_is_its_authors_and_its_time_is_counted_once() -> None:
    at = "2026-11-01T00:00:00Z"
    applied = ChangeApplied(proposal=1, draft=1, subject=some_digest("any"), authority="approved")
    changes = log(
        ("ada", at, proposed(1, "asked for by ada")),
        ("bob", at, proposed(2, "asked for by bob")),
        ("bot", at, drafted(1, 2, 10.0)),
        ("bot", at, drafted(2, 1, 5.0)),
        ("eve", at, applied),
        ("eve", at, bodies.EditSuperseded(edit=9, by=10)),
        ("eve", at, edit(1, seconds=2.0)),
        ("eve", at, edit(2, seconds=3.0)),
        ("eve", at, edit(3, seconds=0.5)),
    )
    assert by_group(summarise(changes, [Grouping.REQUESTER, Grouping.METHOD])) == {
        ("ada", "draft"): (1, 5.0),  # what it took beyond the two edits that came of it
        ("ada", "edit: encore"): (2, 5.0),
        ("bob", "draft"): (1, 5.0),  # never applied
        ("eve", "edit: encore"): (1, 0.5),  # not the change's
    }
    assert summarise(changes).total.seconds == 15.5


TIMES = st.floats(0, 1e9) | st.sampled_from([0.1, 1e-9, 1e16])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ada", "bob"]), st.integers(1, 12), TIMES), max_size=12), st.randoms())
def test_no_order_and_no_grouping_changes_a_total(said: list[tuple[str, int, float]], random: Any) -> None:
    one = [(who, f"2026-{month:02}-01T00:00:00Z", evaluated(seconds=s)) for who, month, s in said]
    other = list(one)
    random.shuffle(other)
    exact = float(sum((Fraction(seconds) for _, _, seconds in said), Fraction()))
    first, second = log(*one), log(*other)
    for n in range(len(Grouping) + 1):
        for by in itertools.combinations(Grouping, n):
            found, shuffled = summarise(first, by), summarise(second, by)
            assert found == shuffled
            assert (found.total.count, found.total.seconds) == (len(said), exact)
            assert sum(row.count for row in found.rows) == len(said)
            assert math.isclose(math.fsum(row.seconds for row in found.rows), exact)


PUBLISHED = Publication(hub="huggingface.co", repository="ada/tiny", revision="0a" * 20)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"live_count": 2}, "2 edits, and there are 1"),
        ({"since": some_digest("v")}, "starts from no other version"),
        ({"format": "adapter"}, "an adapter shares no bytes"),
        ({"format": "gguf"}, "a GGUF file shares no bytes"),
        ({"format": "gguf", "bytes_linked": 0, "since": some_digest("v")}, "a GGUF file starts from no other"),
        ({"published": PUBLISHED}, "what is published shares no bytes"),
    ],
)
def test_checkouts_that_contradict_the_log_are_refused(changes: dict[str, Any], says: str) -> None:
    state = fresh(edits(1)).state()
    with pytest.raises(Refused, match=says):
        decide(state, RecordEvent(checked_out(**changes)))


def test_a_checkout_changes_no_version_and_is_kept_in_order() -> None:
    since = some_digest("since")
    said = [checked_out(), checked_out(format="adapter", bytes_linked=0, since=since), checked_out(live_count=1)]
    before = fresh(edits(1)).state()
    after = fresh(edits(1), *(RecordEvent(one) for one in said)).state()
    assert [one.body for one in after.recorded(VersionCheckedOut)] == said and [
        one.seq for one in after.recorded(VersionCheckedOut)
    ] == [3, 4, 5]
    assert (after.version, after.steps, after.edits) == (before.version, before.steps, before.edits)
    assert spec_of(said[0]).name == "version_checked_out"
