"""Events' signatures: by whom, over what, and when they hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.base.signing import PrivateKey
from errata.ledger.care.verify import verify
from errata.ledger.events.change_parts import Choice, RevokeKey
from errata.ledger.events.envelope import Draft, Event
from errata.ledger.events.parts import Body
from errata.ledger.events.trust_bodies import ChangeApproved, KeyGranted, RoleGranted
from errata.ledger.ledger import event_signer
from errata.ledger.rules.evolve import fold
from errata.ledger.rules.operations import ChangeKeysAndRoles
from errata.ledger.state.event_signatures import signature_problem
from errata.ledger.state.standing import counting, still_asked
from tests.support.people import Team, facts, key_of, team
from tests.support.samples import new_id


def problem(here: Team, seq: int, signature: str | None) -> str | None:
    events = here.ledger.events()
    changed = events[seq - 1].model_copy(update={"signature": signature})
    return signature_problem(fold(events[: seq - 1]).trust, changed)


def test_every_signature_of_a_governed_ledger_holds() -> None:
    here = team()
    here.whole(facts(1, 2))
    for event in here.ledger.events():
        assert problem(here, event.seq, event.signature) is None
    assert [one for one in verify(here.ledger) if "signature" in one.what] == []


def test_a_signature_is_of_one_event_by_a_key_of_its_actor() -> None:
    here = team()
    here.propose("ada", facts(1))
    here.propose("ada", facts(2))
    last, before = here.ledger.events()[-1], here.ledger.events()[-2]
    assert "did not sign this event" in str(problem(here, last.seq, before.signature))
    assert "did not sign this event" in str(problem(here, last.seq, f"{key_of('ada').key}:{'0' * 128}"))
    for other in (key_of("ben"), key_of("mallory")):
        foreign = event_signer(other)(last.hash)
        assert "not a key of ada's there" in str(problem(here, last.seq, foreign))
    assert problem(here, last.seq, "nobody") == "its signature cannot be read"
    assert problem(here, last.seq, event_signer(key_of("ada"))(last.hash)) is None


def test_a_signature_that_nobody_asked_for_must_hold_too() -> None:
    here = team()
    first = here.ledger.events()[0]
    assert first.signature is None
    assert "not a key of ada's there" in str(problem(here, 1, event_signer(key_of("mallory"))(first.hash)))
    # ada's key was not granted yet
    assert "not a key of ada's there" in str(problem(here, 1, event_signer(key_of("ada"))(first.hash)))


def test_a_revoked_key_signed_its_own_revocation_and_nothing_after_it() -> None:
    here = team()
    seq = here.run("ben", ChangeKeysAndRoles((RevokeKey(key=key_of("ben").key, reason="stolen"),)))[-1].seq
    here.propose("ada", facts(1))
    event = here.ledger.events()[seq - 1]
    assert problem(here, seq, event.signature) is None
    later = here.ledger.events()[seq].model_copy(update={"actor": "ben"})
    signed = later.model_copy(update={"signature": event_signer(key_of("ben"))(later.hash)})
    assert "not a key of ben's there" in str(signature_problem(fold(here.ledger.events()[:seq]).trust, signed))


def written(here: Team, body: Body, actor: str, key: PrivateKey | None) -> None:
    """Put an event into the log past the rules, as who can write to the database can."""
    one = Draft(event_id=new_id(), body=body, actor=actor, recorded_at=here.at)
    here.ledger.store.append([one], here.ledger.store.head(), None if key is None else event_signer(key))


def waiting(here: Team) -> int:
    number = here.propose("ada", facts(1))
    here.draft("dan", number)
    return number


def test_an_approval_that_was_written_past_the_rules_does_not_count() -> None:
    here = team()
    number = waiting(here)
    true = here.decision("ben", number, Choice.APPROVE)
    other = here.decision("cleo", number, Choice.REJECT)
    for forged in (
        true.model_copy(update={"signature": "0" * 128}),
        true.model_copy(update={"meaning": "I did not say this"}),
        true.model_copy(update={"person": "cleo"}),
        other,
    ):
        written(here, ChangeApproved(proposal=number, decision=forged), "ben", key_of("ben"))
        change = here.state.trust.changes[number]
        assert change.draft is not None and counting(here.state.trust, change, change.draft) == []
    written(here, ChangeApproved(proposal=number, decision=true), "ben", key_of("ben"))
    change = here.state.trust.changes[number]
    assert change.draft is not None and counting(here.state.trust, change, change.draft) == [true]


@pytest.mark.parametrize("key", [key_of("mallory"), None], ids=["signed by the forger", "unsigned"])
def test_nothing_takes_effect_on_a_log_with_events_that_the_rules_do_not_allow(key: PrivateKey | None) -> None:
    here = team()
    number = waiting(here)
    mine = key_of("mallory")
    written(here, KeyGranted(key=mine.key, person="mallory"), "ada", key)
    written(here, RoleGranted(person="mallory", role="approver"), "ada", key)
    decision = here.decision("mallory", number, Choice.APPROVE, mine)
    written(here, ChangeApproved(proposal=number, decision=decision), "mallory", mine)
    change = here.state.trust.changes[number]
    assert change.draft is not None and still_asked(here.state.trust, change, change.draft) == []
    for _ in range(2):  # it is looked at anew each time
        with pytest.raises(LedgerDamaged, match="event @"):
            here.apply("ada", number)
    assert here.state.live == ()


def test_what_was_seen_to_be_allowed_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    here = team()
    here.whole(facts(1))
    seen, read = [], here.ledger.store.read

    def reading(after: int = 0) -> Iterator[Event]:
        seen.append(after)
        return read(after)

    monkeypatch.setattr(here.ledger.store, "read", reading)
    here.whole(facts(2))
    assert min(seen) > 0
