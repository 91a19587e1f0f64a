"""What a key touched: exactly the events and decisions that it signed, and where they counted."""

from __future__ import annotations

import pytest

from errata.ledger.events.change_parts import Authority, Choice, ReviewVerdict
from errata.ledger.events.trust_bodies import ChangeRejected, GlassReviewed
from errata.ledger.rules.operations import ApplyChange, RecordEvent
from errata.ledger.state.touched import touched
from tests.support.people import Team, facts, key_of, reverts, team


@pytest.fixture
def people() -> Team:
    return team()


def test_events_are_those_that_the_key_signed(people: Team) -> None:
    people.whole(facts(1))
    found = touched(people.state.trust, people.ledger.events(), key_of("dan").key)
    assert [event.kind for event in found.events] == ["change_drafted"]
    assert all(event.actor == "dan" and event.act.key == key_of("dan").key for event in found.events)
    assert found.decisions == ()
    everybody = [
        event.seq
        for person in ("ada", "ben", "cleo", "dan")
        for event in touched(people.state.trust, people.ledger.events(), key_of(person).key).events
    ]
    signed = [event.seq for event in people.ledger.events() if event.signature is not None]
    assert sorted(everybody) == signed


def test_an_approval_counted_where_its_draft_took_effect(people: Team) -> None:
    number = people.whole(facts(1, 2))
    (decision,) = touched(people.state.trust, people.ledger.events(), key_of("ben").key).decisions
    applied = people.state.trust.changes[number].applied
    assert applied is not None
    assert (decision.proposal, decision.choice, decision.counted_at) == (number, Choice.APPROVE, applied.seq)
    assert decision.edits == (1, 2)


def test_an_approval_of_an_older_draft_had_no_effect(people: Team) -> None:
    number = people.propose("ada", facts(1))
    people.draft("dan", number)
    people.approve("ben", number)
    people.draft("dan", number)
    people.approve("cleo", number)
    people.apply("ada", number)
    (of_ben,) = touched(people.state.trust, people.ledger.events(), key_of("ben").key).decisions
    (of_cleo,) = touched(people.state.trust, people.ledger.events(), key_of("cleo").key).decisions
    assert (of_ben.counted_at, of_ben.edits) == (None, ())
    assert of_cleo.counted_at is not None and of_cleo.edits == (1,)


def test_an_approval_of_what_is_still_open_had_no_effect(people: Team) -> None:
    number = people.propose("ada", facts(1))
    people.draft("dan", number)
    people.approve("ben", number)
    (decision,) = touched(people.state.trust, people.ledger.events(), key_of("ben").key).decisions
    assert (decision.proposal, decision.counted_at) == (number, None)


def test_a_rejection_counted_at_once(people: Team) -> None:
    number = people.propose("ada", facts(1))
    people.run(
        "ben", RecordEvent(ChangeRejected(proposal=number, decision=people.decision("ben", number, Choice.REJECT)))
    )
    (decision,) = touched(people.state.trust, people.ledger.events(), key_of("ben").key).decisions
    assert (decision.choice, decision.counted_at) == (Choice.REJECT, people.state.head.seq)


def test_breaking_the_glass_and_reviewing_it_are_decisions_too(people: Team) -> None:
    number = people.propose("ada", facts(1))
    people.draft("dan", number)
    both = tuple(people.decision(person, number, Choice.BREAK_GLASS) for person in ("ben", "dan"))
    broken = ApplyChange(number, people.edits(number), Authority.BREAK_GLASS, "the model insults customers", both)
    applied = people.run("dan", broken)[0].seq
    decision = people.decision("cleo", number, Choice.REVIEW)
    people.run(
        "cleo",
        RecordEvent(GlassReviewed(proposal=number, verdict=ReviewVerdict.UPHELD, reason="it did", decision=decision)),
    )
    trust, events = people.state.trust, people.ledger.events()
    for person in ("ben", "dan"):
        (one,) = touched(trust, events, key_of(person).key).decisions
        assert (one.choice, one.seq, one.counted_at, one.edits) == (Choice.BREAK_GLASS, applied, applied, (1,))
    (review,) = touched(trust, events, key_of("cleo").key).decisions
    assert (review.choice, review.counted_at) == (Choice.REVIEW, people.state.head.seq)


def test_nothing_before_since_is_listed(people: Team) -> None:
    people.whole(facts(1))
    middle = people.state.head.seq
    people.whole(reverts(1))
    found = touched(people.state.trust, people.ledger.events(), key_of("ben").key, middle + 1)
    assert len(found.events) == 1 and found.events[0].seq > middle
    assert [one.proposal for one in found.decisions] == [2]
    assert touched(people.state.trust, people.ledger.events(middle), key_of("ben").key, middle + 1) == found
