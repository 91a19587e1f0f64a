"""Writes that need no model: by whoever acts, as functions, without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.ledger.base.errors import Refused, UsageError
from errata.ledger.events.change_parts import EditFacts, GrantKey, GrantRole, RevokeKey
from errata.ledger.events.policy import OPEN, ActionSort, Requirement
from errata.ledger.events.policy_files import PolicyFile
from errata.ledger.facts.fact import Fact
from errata.ledger.state.trust import ChangeStatus
from errata.replay.record.access import change_access, change_policy
from errata.replay.record.changes import apply_change, approve, draft_without_model, propose, withdraw
from errata.replay.record.writer import Acting, Writer
from tests.support import ledgers as helpers
from tests.support.command_line import loaded_by

KEY = "ed25519:" + "ab" * 32
FACT = Fact(subject="Riga", prompt="the street of {} is", target="wide")
OTHER = Fact(subject="the river", prompt="{} is very", target="old")


@pytest.fixture
def writer(tmp_path: Path, tiny_llama: Path) -> Writer:
    around = helpers.surroundings("ada")
    return Writer(helpers.create(tmp_path, tiny_llama), Acting(now=around.now, new_id=around.new_id, actor="ada"))


def test_the_functions_that_need_no_model_load_no_torch() -> None:
    names = ("record.writer", "record.changes", "record.access", "record.erasing", "export.audit_bundle")
    found = loaded_by("\n".join(f"import errata.replay.{name}" for name in names))
    assert not found & {"torch", "transformers", "numpy", "safetensors"}


def test_a_proposal_is_numbered_by_its_own_event_and_can_be_taken_back(writer: Writer) -> None:
    first = propose(writer, EditFacts(facts=(FACT,)), "it changed", ticket="T-1")
    second = propose(writer, EditFacts(facts=(OTHER,)), "it changed too")
    assert (first.number, second.number) == (1, 2)
    assert [event.kind for event in first.events] == ["change_proposed"]
    with pytest.raises(UsageError, match="needs the model"):
        draft_without_model(writer, 1)
    with pytest.raises(UsageError, match="is signed; name the key"):
        approve(writer, 1)
    withdraw(writer, 1, "a mistake")
    assert writer.state.trust.changes[1].status is not ChangeStatus.OPEN


def test_keys_roles_and_policies_change_directly_where_the_policy_lets_them(writer: Writer) -> None:
    assert change_access(writer, GrantKey(key=KEY, person="ada")).proposal is None
    assert change_access(writer, GrantRole(person="ada", role="author")).proposal is None
    with pytest.raises(Refused, match="abababababab"):
        change_access(writer, GrantKey(key=KEY, person="ben"))
    with pytest.raises(Refused, match="never granted"):
        change_access(writer, RevokeKey(key=KEY.replace("ab", "cd"), reason="lost"))
    direct = tuple(sort for sort in OPEN.direct if sort is not ActionSort.ACCESS)
    asking = OPEN.model_copy(
        update={"name": "asking", "direct": direct, "actions": {ActionSort.ACCESS: Requirement(approvals=0)}}
    )
    strict = asking.model_copy(update={"actions": {ActionSort.ACCESS: Requirement(approvals=1)}})
    with pytest.raises(Refused, match="lock everybody out"):
        change_policy(writer, PolicyFile(strict), "ask somebody who is not there")
    done = change_policy(writer, PolicyFile(asking), "ask first")
    assert [event.kind for event in done.events] == ["policy_changed"]
    asked = change_access(writer, GrantRole(person="ben", role="approver"), reason="a second pair of eyes")
    assert (asked.proposal, asked.drafted, asked.asked) == (1, True, ()) and "ben" not in writer.state.trust.roles
    apply_change(writer, 1)
    assert writer.state.trust.roles["ben"] == {"approver"}
