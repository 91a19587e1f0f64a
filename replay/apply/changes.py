"""Changes of the model, from a draft to what is measured afterwards; everything else of their life needs no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from errata.ledger.base.errors import Refused
from errata.ledger.base.words import counted
from errata.ledger.drafts import drafted, put_edits
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import EditFacts, RevertThem, sort_of
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import Capability, Evidence, Gate, GateTime
from errata.ledger.facts.fact import Fact
from errata.ledger.rules.operations import CheckChange, RecordDraft, RevertEdits
from errata.ledger.state.standing import change_of, open_change, scored
from errata.ledger.state.trust import ChangeRecord, Trust
from errata.replay.apply.apply import edit
from errata.replay.apply.care import usual_care
from errata.replay.apply.gates import measure_gates
from errata.replay.apply.trial import trial_of
from errata.replay.workflow.workspace import Workspace

Tell = Callable[[str], None]
BATCH = 20
"""Most edits that a draft solves together."""


def draft_change(
    workspace: Workspace,
    number: int,
    tell: Tell = lambda stage: None,
    batch_size: int = BATCH,
    keep_failed: bool = False,
) -> list[Event]:
    """Work out what a proposal would do on the head, measure the policy's gates there, and record both.

    The deltas are solved in a trial of the ledger, batch after batch, and kept; nothing in the model moves. What is
    applied later is exactly this.

    Args:
        workspace: the ledger and its model.
        number: the proposal's.
        tell: told the name of each stage.
        batch_size: most edits in one solve.
        keep_failed: draft edits that do not work too, as they come out at the first try.

    Raises:
        UsageError: there is no such proposal.
        Refused: it is closed, says nothing new, none of its edits works, or whoever asks may not draft.
        ModelError: the edits could not be solved; nothing was recorded.
        StaleDraft: the model or the policy moved meanwhile; nothing was recorded.
    """
    state, surroundings = workspace.state, workspace.surroundings
    change = open_change(state.trust, number, surroundings.now())
    see_draftable(state.trust, change)
    workspace.foresee(None, Capability.DRAFT)
    started = surroundings.meter.seconds()
    gates = state.trust.policy.gates_at(GateTime.DRAFT, sort_of(change.body.action))
    match change.body.action:
        case EditFacts(facts=facts):
            command = _solve(workspace, number, facts, gates, tell, batch_size, keep_failed)
        case RevertThem(edits=edits):
            after = tuple(one for one in state.live if one not in edits)
            tell("measuring gates")
            evidence = measure_gates(workspace, gates, state.live, after, ())
            command = RecordDraft(number, state.version, evidence=evidence)
        case _:
            command = RecordDraft(number, state.version)
    seconds = surroundings.meter.seconds() - started
    # what was recorded meanwhile takes nothing from a draft, unless model or policy moved, and that the rules see
    return workspace.execute(replace(command, seconds=seconds))


def see_draftable(trust: Trust, change: ChangeRecord) -> None:
    """See that a change can be drafted, for the first time or again.

    Raises:
        Refused: it was drafted, and the policy lets that be done once.
    """
    if change.drafts and not trust.policy.redraft:
        raise Refused(
            f"p{change.number} was drafted already, and the policy {trust.policy.name!r} does not allow a second draft;"
            " propose it again",
            proposal=change.number,
        )


def _solve(
    workspace: Workspace,
    number: int,
    facts: tuple[Fact, ...],
    gates: tuple[Gate, ...],
    tell: Tell,
    batch_size: int,
    keep_failed: bool,
) -> RecordDraft:
    """The command that records a draft of these facts; all its edits are solved, and their blobs written."""
    state, trial, opener = workspace.state, trial_of(workspace), workspace.ledger.opener
    proposed, facts = facts, tuple(opener.fact(fact) for fact in facts)
    trial.ledger.opener.given = {
        fact.key: kept for fact, kept in zip(facts, proposed, strict=True) if kept.sealed is not None
    }
    taken_back: list[int] = []
    edits: list[bodies.NewEdit] = []
    config = workspace.config()
    failed: list[Fact] = []
    care = replace(usual_care(workspace, config, keep_failed), look_back=False)  # a draft holds no edit twice
    for report in edit(trial, facts, config, batch_size, advance=tell, care=care):
        failed += [one.fact for one in report.left_out]
        taken_back += report.taken_back
        edits += [body.unnumbered() for body in report.recorded]
    written = {one.fact.key for one in edits}
    if failed and not (edits or taken_back):
        raise Refused(
            f"p{number} would change nothing: {counted(len(failed), 'edit')} did not work, such as "
            f"{shown_fact(failed[0])}; other phrasings to train on or other settings may help (errata tune)",
            proposal=number,
        )
    evidence: tuple[Evidence, ...] = ()
    if edits or taken_back:
        tell("measuring gates")
        asked = [fact for fact in facts if fact not in failed]
        evidence = measure_gates(trial, gates, state.live, trial.state.live, asked)
    return RecordDraft(
        number,
        state.version,
        drafted(edits),
        put_edits(workspace.ledger.blobs, edits),
        left_out=tuple(place for place, fact in enumerate(proposed) if fact.key not in written),
        taken_back=tuple(sorted(taken_back)),
        evidence=evidence,
        failed=tuple(place for place, fact in enumerate(facts) if fact in failed),
    )


def shown_fact(fact: Fact) -> str:
    """A fact as an error may name it."""
    return "a personal fact" if fact.personal else repr(fact.text)


@dataclass(frozen=True)
class GateResult:
    """What the gates found once a change was applied, and what came of it.

    Attributes:
        evidence: what each gate found; empty if the policy measures nothing then.
        reverted: edits that were taken back because a gate failed.
        gone: edits that the change had replaced or taken back, and that taking it back does not bring back.
    """

    evidence: tuple[Evidence, ...]
    reverted: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all gates let the change through."""
        return all(one.passed for one in self.evidence)


def check_change(workspace: Workspace, number: int, *, revert: bool, tell: Tell = lambda stage: None) -> GateResult:
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
        return GateResult(())
    tell("measuring gates")
    before = state.live_at(change.applied.seq)
    action = change.body.action
    facts = action.facts if isinstance(action, EditFacts) else ()
    facts = tuple(fact for place, fact in enumerate(facts) if place not in change.draft.body.failed)
    facts, gone = workspace.ledger.opener.readable(facts)
    if gone:
        tell(f"{counted(gone, 'personal fact')} of it cannot be read any more, and is left out of the measure")
    evidence = measure_gates(workspace, gates, before, state.live, facts)
    workspace.execute(CheckChange(number, evidence), state)
    return take_back(workspace, number) if revert else GateResult(evidence)


def take_back(workspace: Workspace, number: int) -> GateResult:
    """Revert what is live of a change's edits if a gate failed after it was applied; nothing is measured.

    Done again it changes nothing, so it also finishes what was interrupted between the measuring and the revert.

    Raises:
        UsageError: there is no such change.
    """
    state = workspace.state
    change = change_of(state.trust, number)
    evidence = change.checks[-1].body.evidence if change.checks else ()
    own = tuple(one for one, by in state.trust.edit_changes.items() if by == number)
    if not change.failed_after or not own or change.applied is None:
        return GateResult(evidence)
    if live := tuple(one for one in own if state.is_live(one)):
        failed = ", ".join(f"{one.gate} ({scored(one)})" for one in evidence if not one.passed)
        workspace.execute(RevertEdits(live, f"p{number} failed {failed} after it was applied"))
    gone = tuple(
        record.number
        for record in state.edits.values()
        if record.closed_by is not None and change.applied.seq < record.closed_by <= change.applied.last
    )
    return GateResult(evidence, own, gone)
