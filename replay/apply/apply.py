"""Write facts into the head of a ledger: batch after batch, each one solve, one blob and one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.pipeline import BatchResult, Edit, EditedMatrix, NoOp, check_facts, edit_batch
from errata.editor.score.evaluate import continuations, probe
from errata.editor.score.scores import own_targets
from errata.editor.solve.grid import ExactSum
from errata.editor.solve.solver import Solver
from errata.ledger.base.errors import ErrataError, Refused, UsageError
from errata.ledger.events import bodies
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.facts.fact import Fact
from errata.ledger.rules.operations import ApplyEdits, RevertEdits
from errata.ledger.state.effects import TAKEN_BACK
from errata.ledger.state.state import State
from errata.replay.apply.recording import new_edits
from errata.replay.workflow.workspace import Workspace


@dataclass(frozen=True)
class BatchReport:
    """What became of a batch's facts.

    Attributes:
        recorded: the edits, as they stand in the log; empty on a dry run.
        edits: the same edits with everything the editor found out.
        no_ops: facts that the model said already.
        taken_back: numbers of edits that were reverted because the model without them says the new target.
        seconds: time of the batch, and of its stage 1.
    """

    recorded: tuple[bodies.EditApplied, ...]
    edits: tuple[Edit, ...]
    no_ops: tuple[NoOp, ...]
    taken_back: tuple[int, ...]
    seconds: float
    stage1_seconds: float


def edit(
    workspace: Workspace,
    facts: Sequence[Fact],
    config: EditConfig,
    batch_size: int = 20,
    dry_run: bool = False,
    advance: Callable[[str], None] = lambda stage: None,
) -> Iterator[BatchReport]:
    """Edit facts in batches; each batch is recorded before the next begins.

    Args:
        workspace: the ledger and its model.
        facts: what to write.
        config: settings; the edited layers are the ledger's.
        batch_size: most edits in one solve; ROME and fine-tuning, which are defined for one edit, take one at a time.
        dry_run: compute and evaluate, but record nothing.
        advance: told the name of each stage.

    Yields:
        A report a batch.

    Raises:
        UsageError: for settings that contradict the ledger, or no facts.
        ModelError: if a batch fails; what earlier batches recorded stands, the batch itself leaves nothing.
        HeadConflict: if somebody else appended meanwhile; likewise.
    """
    own = workspace.config().layers
    if config.layers != own:
        raise UsageError(f"this ledger edits layers {list(own)}; another choice of layers needs a ledger of its own")
    if not facts:
        raise UsageError("no facts to edit")
    if batch_size < 1:
        raise UsageError(f"a batch has at least one edit, not {batch_size}")
    if not dry_run:
        workspace.foresee(ActionSort.EDIT, Capability.APPLY)
    workspace.ledger.opener.refuse_clear(workspace.state, (fact for fact in facts if not fact.personal))
    check_facts(workspace.loaded, facts, workspace.created.context_prompts, config)
    for batch in batches(facts, effective_batch_size(config, batch_size)):
        yield _edit_batch(workspace, batch, config, dry_run, advance)


def edit_all(
    workspace: Workspace,
    facts: Sequence[Fact],
    config: EditConfig,
    batch_size: int = 20,
    dry_run: bool = False,
    advance: Callable[[str], None] = lambda stage: None,
) -> list[BatchReport]:
    """`edit`, to its end: a report a batch.

    Raises:
        ErrataError: as `edit` does; ``fields["recorded"]`` has the numbers of the edits that were recorded before it.
    """
    reports: list[BatchReport] = []
    try:
        reports.extend(edit(workspace, facts, config, batch_size, dry_run, advance))
    except ErrataError as error:
        error.fields["recorded"] = [body.number for report in reports for body in report.recorded]
        raise
    return reports


def effective_batch_size(config: EditConfig, batch_size: int) -> int:
    """Most edits in one solve: what was asked for, or 1 for a method that is defined for one edit."""
    return 1 if config.stage2.one_at_a_time else batch_size


def batches(facts: Sequence[Fact], size: int) -> Iterator[list[Fact]]:
    """Split facts, in order, so that no batch holds two edits of one fact (the later one supersedes the earlier).

    A personal fact is a batch of its own, so that its factors can be erased without those of others.
    """
    batch: list[Fact] = []
    for fact in facts:
        alone = fact.personal or any(other.personal for other in batch)
        if batch and (alone or len(batch) == size or any(fact.key == other.key for other in batch)):
            yield batch
            batch = []
        batch.append(fact)
    if batch:
        yield batch


def _edit_batch(
    workspace: Workspace, facts: list[Fact], config: EditConfig, dry_run: bool, advance: Callable[[str], None]
) -> BatchReport:
    state = workspace.revealed(workspace.state.live)
    earlier = {fact.key: state.live_facts[fact.key] for fact in facts if fact.key in state.live_facts}
    _refuse_sealing_late(state, facts, earlier)
    no_ops: list[NoOp] = []
    said: dict[tuple[str, str], str] = {}
    if earlier:
        kept = [fact for fact in facts if fact.key in earlier]
        with workspace.at(state.live):
            results = probe(workspace.loaded, [own_targets(fact)[0] for fact in kept])
            texts = continuations(workspace.loaded, [fact.text for fact in kept])
        already = {fact.key for fact, result in zip(kept, results, strict=True) if result.says_target}
        said = {fact.key: text for fact, text in zip(kept, texts, strict=True)}
        no_ops += [NoOp(fact, fact.target) for fact in facts if fact.key in already]
        facts = [fact for fact in facts if fact.key not in already]
        earlier = {key: number for key, number in earlier.items() if key not in already}
    if not facts:
        return BatchReport((), (), tuple(no_ops), (), 0.0, 0.0)
    live = tuple(number for number in state.live if number not in set(earlier.values()))
    result = edit_batch(
        workspace.loaded,
        edited_matrices(workspace, state, live),
        facts,
        workspace.created.context_prompts,
        config,
        workspace.surroundings.meter,
        advance,
    )
    result = replace(result, edits=tuple(_with_said_before(item, said) for item in result.edits))
    taken_back = tuple(earlier[no_op.fact.key] for no_op in result.no_ops if no_op.fact.key in earlier)
    no_ops += [no_op for no_op in result.no_ops if no_op.fact.key not in earlier]
    recorded: tuple[bodies.EditApplied, ...] = ()
    if not dry_run:
        recorded = _record(workspace, state, live, result, config, taken_back)
    return BatchReport(recorded, result.edits, tuple(no_ops), taken_back, result.seconds, result.stage1_seconds)


def _refuse_sealing_late(state: State, facts: Sequence[Fact], earlier: Mapping[tuple[str, str], int]) -> None:
    """See that a personal fact is not one that the log holds in the clear."""
    for fact in facts:
        number = earlier.get(fact.key)
        if fact.personal and number is not None and not state.edits[number].body.fact.personal:
            raise Refused(
                f"e{number} holds this fact in the clear, and the log keeps that for ever; "
                f"revert e{number} first if what comes now is to be personal",
                edit=number,
            )


def _with_said_before(item: Edit, said: Mapping[tuple[str, str], str]) -> Edit:
    """An edit that supersedes another: what was said before is what the head said, not the version without both."""
    before = said.get(item.fact.key, item.outcome.said_before)
    return replace(item, outcome=item.outcome.model_copy(update={"said_before": before}))


def _record(
    workspace: Workspace,
    state: State,
    live: tuple[int, ...],
    result: BatchResult,
    config: EditConfig,
    taken_back: tuple[int, ...],
) -> tuple[bodies.EditApplied, ...]:
    """Blob first, events last, in one transaction."""
    reverts = (RevertEdits(taken_back, TAKEN_BACK),) if taken_back else ()
    if not result.edits:
        if reverts:
            workspace.execute(ApplyEdits((), reverts), state)
        return ()
    new = new_edits(workspace, result, config, state.version_of(live), len(live), workspace.surroundings.new_id())
    events = workspace.execute(ApplyEdits(new, reverts), state)
    return tuple(event.body for event in events if isinstance(event.body, bodies.EditApplied))


def edited_matrices(workspace: Workspace, state: State, live: tuple[int, ...]) -> list[EditedMatrix]:
    """The edited tensors at a version, with second moments and the live edits' keys, by ascending layer."""
    return matrices_of(
        workspace, workspace.materialiser.sums(live), workspace.past_keys.of(state, live), workspace.solvers
    )


def matrices_of(
    workspace: Workspace,
    sums: Mapping[str, ExactSum],
    past_keys: Mapping[str, Tensor],
    solvers: Mapping[str, Solver],
) -> list[EditedMatrix]:
    """The edited tensors with these exact sums, past keys and solvers by stored name, by ascending layer."""
    created = workspace.created
    matrices = []
    for name, spec in sorted(created.edited.items(), key=lambda item: item[1].layer):
        matrices.append(
            EditedMatrix(
                name=name,
                layer=spec.layer,
                base=workspace.materialiser.base[name],
                transposed=spec.transposed,
                sum=sums[name],
                second_moment=workspace.second_moments[name],
                past_keys=past_keys[name],
                solver=solvers[name],
            )
        )
    return matrices
