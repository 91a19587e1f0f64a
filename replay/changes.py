"""Changes of the model, from a draft to what is measured afterwards; everything else of their life needs no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ledger import bodies
from ledger.change_commands import CheckChange, RecordDraft
from ledger.change_parts import EditFacts, RevertThem, sort_of
from ledger.commands import RevertEdits
from ledger.drafts import as_new, drafted, put_edits
from ledger.effects import drafted_facts
from ledger.errors import Refused
from ledger.events import Event
from ledger.facts import Fact
from ledger.policy import Evidence, Gate, GateTime
from ledger.standing import change_of, open_change
from ledger.trust import ChangeRecord
from replay.apply import edit
from replay.gates import measure_gates
from replay.trial import trial_of
from replay.workflow import Workspace

Tell = Callable[[str], None]
BATCH = 20
"""Most edits that a draft solves together."""


def needs_model(change: ChangeRecord) -> bool:
    """Whether drafting a change, or checking it afterwards, needs the model."""
    return isinstance(change.body.action, EditFacts | RevertThem)


def draft_change(workspace: Workspace, number: int, tell: Tell = lambda stage: None) -> list[Event]:
    """Work out what a proposal would do on the head, measure the policy's gates there, and record both.

    The deltas are solved in a trial of the ledger, batch after batch, and kept; nothing in the model moves. What is
    applied later is exactly this.

    Args:
        workspace: the ledger and its model.
        number: the proposal's.
        tell: told the name of each stage.

    Raises:
        UsageError: there is no such proposal.
        Refused: it is closed, says nothing new, or whoever asks may not draft.
        ModelError: the edits could not be solved; nothing was recorded.
        HeadConflict: the log moved meanwhile.
    """
    state, surroundings = workspace.state, workspace.surroundings
    change = open_change(state.trust, number, surroundings.now())
    started = surroundings.meter.seconds()
    gates = state.trust.policy.gates_at(GateTime.DRAFT, sort_of(change.body.action))
    match change.body.action:
        case EditFacts(facts=facts):
            command = _solve(workspace, number, facts, gates, tell)
        case RevertThem(edits=edits):
            after = tuple(one for one in state.live if one not in edits)
            tell("measuring gates")
            evidence = measure_gates(workspace, gates, state.live, after, ())
            command = RecordDraft(number, state.version, evidence=evidence)
        case _:
            command = RecordDraft(number, state.version)
    seconds = surroundings.meter.seconds() - started
    return workspace.execute(replace(command, seconds=seconds), state)


def _solve(
    workspace: Workspace, number: int, facts: tuple[Fact, ...], gates: tuple[Gate, ...], tell: Tell
) -> RecordDraft:
    """The command that records a draft of these facts; all its edits are solved, and their blobs written."""
    state, trial = workspace.state, trial_of(workspace)
    taken_back: list[int] = []
    edits: list[bodies.NewEdit] = []
    for report in edit(trial, facts, workspace.config(), BATCH, advance=tell):
        taken_back += report.taken_back
        edits += [as_new(body) for body in report.recorded]
    written = {one.fact.key for one in edits}
    tell("measuring gates")
    evidence = measure_gates(trial, gates, state.live, trial.state.live, [one.fact for one in edits])
    return RecordDraft(
        number,
        state.version,
        drafted(edits),
        put_edits(workspace.ledger.blobs, edits),
        left_out=tuple(place for place, fact in enumerate(facts) if fact.key not in written),
        taken_back=tuple(sorted(taken_back)),
        evidence=evidence,
    )


@dataclass(frozen=True)
class Check:
    """What the gates found once a change was applied, and what came of it.

    Attributes:
        evidence: what each gate found; empty if the policy measures nothing then.
        reverted: edits that were taken back because a gate failed.
    """

    evidence: tuple[Evidence, ...]
    reverted: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all gates let the change through."""
        return all(one.passed for one in self.evidence)


def check_change(workspace: Workspace, number: int, *, revert: bool, tell: Tell = lambda stage: None) -> Check:
    """Measure the gates of a change that was applied, record what they found, and take it back if one fails.

    Args:
        workspace: the ledger and its model; the change's version is the head.
        number: the change's.
        revert: take the change's edits back if a gate fails.
        tell: told the name of each stage.

    Raises:
        UsageError: there is no such change.
        Refused: it was not applied, or the head has moved on.
    """
    state = workspace.state
    change = change_of(state.trust, number)
    if change.applied is None or change.draft is None:
        raise Refused(f"p{number} has not been applied, so there is nothing to check")
    policy = state.trust.policy_at(change.applied.seq)
    gates = policy.gates_at(GateTime.APPLIED, sort_of(change.body.action))
    if not gates:
        return Check(())
    tell("measuring gates")
    before = state.live_at(change.applied.seq)
    facts = drafted_facts(change.body, change.draft.body)
    evidence = measure_gates(workspace, gates, before, state.live, facts)
    workspace.execute(CheckChange(number, evidence), state)
    failed = [one.gate for one in evidence if not one.passed]
    own = tuple(one for one, by in state.trust.edit_changes.items() if by == number and state.is_live(one))
    if not failed or not revert or not own:
        return Check(evidence)
    workspace.execute(RevertEdits(own, f"p{number} failed {', '.join(failed)} after it was applied"))
    return Check(evidence, own)
