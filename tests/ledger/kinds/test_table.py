"""The table of kinds: each kind has all that is to be said of one, and a new one needs a spec and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata import cli
from errata.ledger.base.errors import NewerSchema, Refused
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.events.bodies import LedgerCreated
from errata.ledger.events.parts import Body, Count
from errata.ledger.events.policy import OPEN, Capability
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.kinds.spec import RECORD, KindSpec
from errata.ledger.kinds.table import BODIES, KINDS, spec_of, words_of
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RecordEvent
from errata.ledger.state.fold import Fold
from tests.support.governed import governed
from tests.support.samples import filled, run


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_has_a_body_a_rule_and_words(name: str) -> None:
    spec = KINDS[name]
    assert spec.name == name and BODIES[spec.body] is spec
    assert issubclass(spec.body, Body) and spec.body.model_config["frozen"]
    assert spec.check is not None or spec.step is not None
    assert callable(spec.words) and callable(spec.fold)
    # an event is the first one, a step in a change's life, or appended directly by somebody who may
    assert [spec.body is LedgerCreated, spec.step is not None, spec.needs is not None].count(True) == 1
    assert sorted(spec.upcasters) == list(range(1, spec.version))


def test_every_event_of_a_log_is_told_on_one_line() -> None:
    events = governed().events
    told = [words_of(event.body) for event in events]
    assert all(told) and not any("\n" in line for line in told)
    assert {event.kind for event in events} == {spec_of(event.body).name for event in events}


class NoteTaken(Body):
    """Somebody looked at so many edits."""

    looked_at: Count


def _check(fold: Fold, body: NoteTaken) -> None:
    if body.looked_at > len(fold.edits):
        raise Refused(f"a note of {body.looked_at} edits, and there are {len(fold.edits)}")


def _words(body: NoteTaken) -> str:
    return f"looked at {body.looked_at} edits"


NOTE = KindSpec("note_taken", NoteTaken, _words, _check, RECORD)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, NOTE.name, NOTE)
    monkeypatch.setitem(BODIES, NOTE.body, NOTE)


@pytest.mark.usefixtures("noted")
def test_a_kind_that_one_spec_adds_is_appended_folded_verified_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = filled(tmp_path, batches=1, size=3)
    (event,) = run(ledger, RecordEvent(NoteTaken(looked_at=3)))
    assert (event.kind, event.version) == ("note_taken", 1)
    with pytest.raises(Refused, match="a note of 4 edits, and there are 3"):
        run(ledger, RecordEvent(NoteTaken(looked_at=4)))

    again = Ledger.open(tmp_path)
    assert again.events()[-1] == event and again.state().head == event.head
    (kept,) = again.state().recorded(NoteTaken)
    assert (kept.seq, kept.body) == (event.seq, NoteTaken(looked_at=3))
    assert is_sound(verify(again))
    monkeypatch.chdir(tmp_path)
    assert cli.call(("log", "--oneline", "-n", "1")) == 0
    assert capsys.readouterr().out == f"@{event.seq} looked at 3 edits\n"


@pytest.mark.usefixtures("noted")
def test_a_policy_says_who_may_append_a_new_kind(tmp_path: Path) -> None:
    silent = OPEN.model_copy(
        update={"name": "silent", "everyone": tuple(one for one in OPEN.everyone if one is not Capability.RECORD)}
    )
    ledger = filled(tmp_path, batches=1, size=3)
    run(ledger, RecordEvent(PolicyChanged(policy=silent, reason="")))
    with pytest.raises(Refused, match="may not record under the policy 'silent'"):
        run(ledger, RecordEvent(NoteTaken(looked_at=1)))


def test_a_program_without_that_spec_says_that_the_log_is_newer(tmp_path: Path) -> None:
    ledger = filled(tmp_path, batches=1, size=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, NOTE.name, NOTE)
        patch.setitem(BODIES, NOTE.body, NOTE)
        run(ledger, RecordEvent(NoteTaken(looked_at=1)))
    with pytest.raises(NewerSchema, match="note_taken"):
        Ledger.open(tmp_path).events()
