"""Personal facts in change sets: sealed at the door, kept while they are needed, gone when nothing comes of them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from errata.ledger.base.errors import Refused, UsageError
from errata.ledger.base.failpoints import ERASURE_FAILPOINTS
from errata.ledger.care.gc import Sort
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.drafts import drafted, edits_of, put_edits
from errata.ledger.events.change_parts import Closing, EditFacts
from errata.ledger.events.trust_bodies import ChangeClosed
from errata.ledger.facts.fact import Fact, sealed_fact
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import (
    ApplyChange,
    ApplyEdits,
    ErasePersonal,
    ProposeChange,
    RecordDraft,
    RecordEvent,
)
from errata.ledger.secrets.sealing import seal_proposed
from tests.support.collecting import gc, names
from tests.support.crashes import killed
from tests.support.personal import FACT, personal_edit, token_of, told_in
from tests.support.samples import filled, real_edits, run

CLOSED = RecordEvent(ChangeClosed(proposal=1, why=Closing.WITHDRAWN, reason="not needed"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return filled(tmp_path, batches=1, size=3)


def sealed(ledger: Ledger, fact: Fact = FACT) -> Fact:
    return seal_proposed(ledger.blobs, ledger.vault, fact, ledger.opener.token_of(ledger.state(), fact.key))


def propose(ledger: Ledger, fact: Fact) -> None:
    run(ledger, ProposeChange(EditFacts(facts=(fact,)), "asked for"))


def draft(ledger: Ledger, fact: Fact, seed: int) -> str:
    """A draft of p1; the blob of its factors."""
    (edit,) = real_edits(ledger, seed, 1)
    outcome = edit.outcome.model_copy(update={"said_before": "", "said_after": ""})
    edits = (edit.model_copy(update={"fact": fact, "outcome": outcome}),)
    run(ledger, RecordDraft(1, ledger.state().version, drafted(edits), put_edits(ledger.blobs, edits)))
    return edit.blob


def test_only_what_is_sealed_can_be_proposed(ledger: Ledger) -> None:
    with pytest.raises(Refused, match="sealed before it is proposed"):
        propose(ledger, FACT)
    propose(ledger, sealed(ledger))
    assert told_in(ledger.folder or Path()) == {} and verify(ledger, deep=True) == []
    clear = FACT.model_copy(update={"personal": False})
    with pytest.raises(Refused, match="p1 holds this as a personal fact"):
        propose(ledger, clear)
    assert names(gc(ledger.folder or Path()), Sort.KEY) == []


def test_a_draft_that_was_replaced_and_a_change_that_was_closed_leave_nothing(ledger: Ledger) -> None:
    fact = sealed(ledger)
    propose(ledger, fact)
    first, second = (draft(ledger, fact, seed) for seed in (50, 60))
    assert first not in set(ledger.blobs.digests()) and second in set(ledger.blobs.digests())
    assert is_sound(verify(ledger, deep=True))
    run(ledger, CLOSED)
    assert fact.sealed is not None
    assert not {second, fact.sealed.blob} & set(ledger.blobs.digests()) and not list(ledger.vault.tokens())
    assert is_sound(verify(ledger, deep=True))


def test_what_an_edit_has_too_stays_until_that_is_erased(ledger: Ledger) -> None:
    run(ledger, ApplyEdits((personal_edit(ledger, 900),)))
    fact = sealed(ledger)
    propose(ledger, fact)
    assert fact.sealed is not None and fact.sealed.token == token_of(ledger, 4), "one fact has one token"
    draft(ledger, fact, 50)
    kept = ledger.state().trust.changes[1].draft
    assert kept is not None
    run(ledger, ApplyChange(1, edits_of(ledger.blobs, kept, ledger.state().genesis.edited)))
    state = ledger.state()
    assert state.live == (1, 2, 3, 5) and list(ledger.vault.tokens()) == [fact.sealed.token]
    assert ledger.opener.fact(state.edits[5].body.fact) == FACT
    run(ledger, ErasePersonal(fact.sealed.token))
    assert told_in(ledger.folder or Path()) == {} and not list(ledger.vault.tokens())
    assert is_sound(verify(ledger, deep=True))
    with pytest.raises(Refused, match="was erased"):
        propose(ledger, fact)


@pytest.mark.parametrize("point", ["erase.recorded", "erase.blob_dropped", "erase.key_dropped"])
def test_a_kill_while_a_change_is_given_up_is_gone_on_with(ledger: Ledger, point: str) -> None:
    assert point in ERASURE_FAILPOINTS
    fact = sealed(ledger)
    propose(ledger, fact)
    blob, folder = draft(ledger, fact, 50), ledger.folder or Path()
    assert killed(lambda: run(Ledger.open(folder), CLOSED), point) == signal.SIGKILL
    gc(folder)
    again = Ledger.open(folder)
    assert blob not in set(again.blobs.digests()) and not list(again.vault.tokens())
    assert is_sound(verify(again, deep=True))


def test_factors_that_another_draft_needs_stay_whoever_had_them_before(ledger: Ledger) -> None:
    run(ledger, ApplyEdits((personal_edit(ledger, 900),)))
    erased = ledger.state().edits[4].body.blob
    data = ledger.blobs.get(erased)
    run(ledger, ErasePersonal(token_of(ledger, 4)))
    assert erased not in set(ledger.blobs.digests())
    fact = sealed(ledger)
    propose(ledger, fact)
    assert ledger.blobs.put(data) == erased, "the same fact solved on the same head has the same factors"
    outcome = (one := personal_edit(ledger, 900)).outcome
    edits = (one.model_copy(update={"fact": fact, "outcome": outcome, "blob": erased}),)
    run(ledger, RecordDraft(1, ledger.state().version, drafted(edits), put_edits(ledger.blobs, edits)))
    assert erased in set(ledger.blobs.digests())
    assert not [one for one in verify(ledger, deep=True) if one.trouble.sort == "erased"]


def test_nothing_that_other_events_need_goes_with_a_proposal_that_names_it(ledger: Ledger) -> None:
    fact, other = sealed(ledger), ledger.state().edits[1].body.blob
    assert fact.sealed is not None
    propose(ledger, sealed_fact(fact.sealed.model_copy(update={"blob": other})))
    run(ledger, CLOSED)
    assert other in set(ledger.blobs.digests())


@pytest.mark.parametrize("field", ["reason", "ticket", "source"])
def test_a_proposal_does_not_tell_its_own_fact(ledger: Ledger, field: str) -> None:
    words = {"reason": "asked for", "ticket": None, "source": None, field: "Ottilie consults Quillfeather"}
    with pytest.raises(UsageError, match="names the personal fact of p1"):
        run(ledger, ProposeChange(EditFacts(facts=(sealed(ledger),)), **words))
    propose(ledger, sealed(ledger))
    with pytest.raises(UsageError, match="names the personal fact of p1"):
        run(ledger, RecordEvent(ChangeClosed(proposal=1, why=Closing.WITHDRAWN, reason="Brandvold changed her mind")))


def test_an_open_proposal_keeps_nothing_of_a_fact_that_was_erased(ledger: Ledger) -> None:
    run(ledger, ApplyEdits((personal_edit(ledger, 900),)))
    fact = sealed(ledger)
    propose(ledger, fact)
    run(ledger, ErasePersonal(token_of(ledger, 4)))
    assert fact.sealed is not None and fact.sealed.blob not in set(ledger.blobs.digests())
    assert not list(ledger.vault.tokens()) and is_sound(verify(ledger, deep=True))
    assert Ledger.open(ledger.folder or Path()).opener.readable([fact, FACT]) == ((FACT,), 1)
