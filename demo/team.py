"""The part of the story in which nobody changes the model alone: persons with keys, and the whole way of a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from errata.ledger.base.errors import Refused
from errata.ledger.base.signing import Signer
from errata.ledger.events.change_parts import EditFacts, GrantKey, GrantRole
from errata.ledger.events.policy import CONTROLLED
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.facts.fact import Fact
from errata.ledger.rules.operations import ChangeKeysAndRoles, RecordEvent
from errata.ledger.secrets.key_files import KeyFolder
from errata.replay.apply.changes import check_change, draft_change
from errata.replay.record.changes import apply_change, approve, propose
from errata.replay.workflow.workspace import Workspace

TEAM = {"ada": ("author", "operator", "approver"), "ben": ("approver",), "cleo": ("approver",)}
PASSPHRASE = b"a demo keeps no secrets"
"""Of the keys in the demo's own folder, which sign for nobody else."""


class Team:
    """Three people with keys of their own on one ledger.

    Args:
        workspace: the ledger and its model.
        folder: where their private keys lie, each under the passphrase.
    """

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace = workspace
        keys = KeyFolder(folder)
        now = workspace.surroundings.now
        self.keys: dict[str, Signer] = {}
        for person in TEAM:
            keys.create(person, person, now(), lambda: PASSPHRASE)
            self.keys[person] = keys.unlock(person, lambda: PASSPHRASE)

    def of(self, person: str) -> Workspace:
        """The workspace as one of them has it: what they record is theirs, and signed with their key."""
        around = replace(self.workspace.surroundings, actor=person, signer=lambda: self.keys[person])
        own = Workspace(self.workspace.ledger, around, self.workspace.base)
        own.__dict__["files"], own.__dict__["loaded"] = self.workspace.files, self.workspace.loaded
        return own


def govern(workspace: Workspace, folder: Path) -> Team:
    """Give everybody a key and roles, and let the policy `controlled` be in force from here on."""
    team = Team(workspace, folder)
    keys = tuple(GrantKey(key=team.keys[person].key, person=person) for person in TEAM)
    roles = tuple(GrantRole(person=person, role=role) for person, held in TEAM.items() for role in held)
    team.of("ada").execute(ChangeKeysAndRoles((*keys, *roles)))
    team.of("ada").execute(RecordEvent(PolicyChanged(policy=CONTROLLED, reason="several of us now")))
    return team


def change(team: Team, facts: Sequence[Fact]) -> tuple[tuple[str, ...], int]:
    """Take a change its whole way; what there is to tell, and its number.

    Raises:
        ModelError, Refused: a step of it fails, which is the story's fault.
    """
    ada, ben = team.of("ada"), team.of("ben")
    number = propose(ada, EditFacts(facts=tuple(facts)), "price list of May", ticket="SALES-88").number
    draft_change(ada, number)
    draft = ada.state.trust.changes[number].drafts[-1]
    gates = ", ".join(f"{one.gate} {one.score:.3g}" for one in draft.body.evidence if one.score is not None)
    try:
        approve(ada, number)
    except Refused as error:
        alone = error.message
    else:
        raise Refused("the author approved her own change")
    approve(ben, number)
    apply_change(ada, number)
    found = check_change(ada, number, revert=True)
    ada.tag("may", ada.state.live, f"p{number}")
    record = ada.state.trust.changes[number]
    assert record.applied is not None
    return (
        f"p{number} proposed by ada: {len(facts)} facts; drafted, {len(draft.body.edits)} edits; gates: {gates}",
        f"ada approves: refused, {alone}",
        f"ben approves the draft {draft.digest[:19]}, signed with his key",
        f"applied at @{record.applied.seq} to @{record.applied.last}, nothing solved again; gates measured once more: "
        + ("passed" if found.passed else "failed"),
        "tag may: a version that two people answer for",
    ), number
