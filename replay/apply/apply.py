"""Write facts into the head of a ledger: batch after batch, each one solve, one blob and one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.pipeline import BatchResult, Edit, EditedMatrix, NoOp, check_facts, edit_batch
from errata.editor.score.evaluate import continuations, probe, tokens_to_see
from errata.editor.score.neighbours import draw_locality
from errata.editor.score.scores import own_targets
from errata.editor.solve.grid import ExactSum
from errata.editor.solve.solver import Solver
from errata.ledger.base.errors import ErrataError, ModelError, Refused, UsageError
from errata.ledger.events import bodies
from errata.ledger.events.parts import EditOutcome, StopReason
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.rules.operations import ApplyEdits, RevertEdits
from errata.ledger.secrets import tellings
from errata.ledger.state.effects import TAKEN_BACK
from errata.ledger.state.state import State
from errata.replay.apply.care import NO_CARE, Care
from errata.replay.apply.recording import as_given, new_edits, record_attempts, with_drawn
from errata.replay.apply.report import NOTHING, BatchReport, Unwritten, added
from errata.replay.apply.trial import trial_of
from errata.replay.workflow.workspace import Workspace

ROUNDS = 3
"""How often what was lost is written again at most: each time all facts are asked for, and fewer are left to win."""


def edit(
    workspace: Workspace,
    facts: Sequence[Fact],
    config: EditConfig,
    batch_size: int = 20,
    dry_run: bool = False,
    advance: Callable[[str], None] = lambda stage: None,
    care: Care = NO_CARE,
) -> Iterator[BatchReport]:
    """Edit facts in batches; each batch is recorded before the next begins.

    With `usual_care` an edit that does not work does not stay: the batch is solved again without it, and the fact is
    tried again with the settings of the ladder, as a batch of its own on top. What is left is recorded as an attempt.
    After several solves all facts are asked for again; those that were lost meanwhile are written anew, each in place
    of its first edit.

    Args:
        workspace: the ledger and its model.
        facts: what to write.
        config: settings; the edited layers are the ledger's.
        batch_size: most edits in one solve; ROME and fine-tuning, which are defined for one edit, take one at a time.
        dry_run: compute and evaluate, but record nothing.
        advance: told the name of each stage.
        care: what is done about edits that do not work or are lost, and facts without probes.

    Yields:
        A report a batch.

    Raises:
        UsageError: for settings that contradict the ledger, or no facts.
        ModelError: if a batch fails at the first try; what was recorded before stands, and its numbers are in
            ``fields["recorded"]`` as far as they are of the same batch.
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
    check_facts(workspace.loaded.with_system(config.chat_system), facts, workspace.created.context_prompts, config)
    space = workspace
    if dry_run:
        space = trial_of(workspace, keep_blobs=False)
        facts = [fact.model_copy(update={"personal": False}) for fact in facts]  # nothing is recorded that was sealed
    size = effective_batch_size(config, batch_size)
    held: dict[tuple[str, str], Fact] = {}
    solves: set[str] = set()
    split = list(batches(facts, size))
    for batch in split:
        report = _edit_batch(space, batch, config, care, advance)
        yield replace(report, recorded=()) if dry_run else report
        given = {fact.key: fact for fact in batch}
        held |= {item.fact.key: given[item.fact.key] for item in report.edits if item.outcome.efficacy}
        held |= {no_op.fact.key: given[no_op.fact.key] for no_op in report.no_ops}
        solves |= {body.batch for body in report.recorded}
    if care.look_back and max(len(split), len(solves)) > 1:
        for report in look_back(space, list(held.values()), config, batch_size, care, advance):
            yield replace(report, recorded=()) if dry_run else report


def look_back(
    workspace: Workspace,
    facts: Sequence[Fact],
    config: EditConfig,
    batch_size: int,
    care: Care,
    advance: Callable[[str], None] = lambda stage: None,
) -> Iterator[BatchReport]:
    """Write those of these facts again that the head does not say, though they held in their batch.

    Their edits had worked, or there was nothing to write; arguments as in `edit`, but for the ladder, which takes no
    part: its larger changes cost other text, and its solves most of the time. What is written again can make the model
    forget others, so it is done again as long as fewer are lost each time, at most `ROUNDS` times. A fact that cannot
    be written again keeps its first edit and is not tried another time.

    Yields:
        A report a batch, and one of what is lost in the end, if anything is.
    """
    once = replace(care, ladder=())
    given_up: set[tuple[str, str]] = set()
    lost, before = _lost(workspace, facts, advance), len(facts) + 1
    for _ in range(ROUNDS):
        again = [fact for fact in lost if fact.key not in given_up]
        if not again or len(lost) >= before:
            break
        for batch in batches(again, effective_batch_size(config, batch_size)):
            report = _edit_batch(workspace, batch, config, once, advance)
            given_up |= {one.fact.key for one in report.left_out}
            yield replace(report, left_out=(), again=True)
        lost, before = _lost(workspace, facts, advance), len(lost)
    if lost:
        yield replace(NOTHING, again=True, lost=tuple(lost))


def edit_all(
    workspace: Workspace,
    facts: Sequence[Fact],
    config: EditConfig,
    batch_size: int = 20,
    dry_run: bool = False,
    advance: Callable[[str], None] = lambda stage: None,
    care: Care = NO_CARE,
) -> list[BatchReport]:
    """`edit`, to its end: a report a batch.

    Raises:
        ErrataError: as `edit` does; ``fields["recorded"]`` has the numbers of the edits that were recorded before it.
    """
    reports: list[BatchReport] = []
    try:
        reports.extend(edit(workspace, facts, config, batch_size, dry_run, advance, care))
    except ErrataError as error:
        of_this_batch = error.fields.get("recorded", [])
        assert isinstance(of_this_batch, list)
        error.fields["recorded"] = [body.number for report in reports for body in report.recorded] + of_this_batch
        raise
    return reports


def effective_batch_size(config: EditConfig, batch_size: int) -> int:
    """Most edits in one solve: what was asked for, or 1 for a method that is defined for one edit."""
    return 1 if config.one_at_a_time else batch_size


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


def _lost(workspace: Workspace, facts: Sequence[Fact], advance: Callable[[str], None]) -> list[Fact]:
    """Those of these facts that the head does not say."""
    advance("looking back")
    with workspace.at(workspace.state.live):
        results = probe(workspace.loaded, [own_targets(fact)[0] for fact in facts])
    return [fact for fact, result in zip(facts, results, strict=True) if not result.says_target]


def _edit_batch(
    workspace: Workspace, facts: list[Fact], config: EditConfig, care: Care, advance: Callable[[str], None]
) -> BatchReport:
    """One batch, and what is tried again of it."""
    started = workspace.surroundings.meter.seconds()
    before = workspace.state
    drawn: dict[tuple[str, str], tuple[Probe, ...]] = {}
    if care.draw and any(not fact.locality for fact in facts):
        drawn = _drawn(workspace, facts)
    tries = (config,) if care.keep_failed else (config, *care.ladder)
    failed: dict[tuple[str, str], list[tuple[EditConfig, Edit]]] = {}
    total = NOTHING
    left, hopeless = facts, list[Fact]()
    for number, settings in enumerate(tries):
        remaining: list[Fact] = []
        stands = care.stands(another_try=number > 0)
        parts = list(batches(left, effective_batch_size(settings, len(left))))
        while parts:
            part = parts.pop(0)
            try:
                report, bad = _solve(workspace, part, drawn, settings, stands, advance)
            except ErrataError as error:
                if number == 0 or not isinstance(error, ModelError):
                    error.fields["recorded"] = [body.number for body in total.recorded]
                    raise
                remaining += part  # the mathematics of another try failed, and wrote nothing
                continue
            total = added(total, report)
            keys = {item.fact.key for item in bad}
            again = [fact for fact in part if fact.key in keys]
            if len(part) > 1 and any(item.outcome.efficacy for item in bad):
                parts = [*([fact] for fact in again), *parts]  # too much harm together is perhaps not one by one
                continue
            for item in bad:
                failed.setdefault(item.fact.key, []).append((settings, item))
            sinks = {item.fact.key for item in bad if item.target.stop_reason is StopReason.ATTENTION_SINK}
            hopeless += [fact for fact in again if fact.key in sinks]  # other settings do not move it
            remaining += [fact for fact in again if fact.key not in sinks]
        left = remaining
        if not left:
            break
    left_out = tuple(Unwritten(fact, tuple(failed[fact.key])) for fact in (*hopeless, *left))
    seconds = workspace.surroundings.meter.seconds() - started
    if left_out:
        record_attempts(workspace, left_out, before.version, seconds / len(facts))
    return replace(total, left_out=left_out, seconds=seconds)


def _drawn(workspace: Workspace, facts: Sequence[Fact]) -> dict[tuple[str, str], tuple[Probe, ...]]:
    """Locality probes for facts that bring none, by the fact's key.

    They are recorded in the clear, so personal facts take no part: neither in the version that they are drawn on, nor
    by a name or target that is one of theirs.
    """
    state = workspace.revealed(workspace.state.live)
    personal = [number for number in state.live if workspace.state.edits[number].body.fact.sealed is not None]
    secret = [words for number in personal for words in tellings.names_of(state.edits[number].body.fact)]
    with workspace.at(number for number in state.live if number not in personal):
        found = draw_locality(workspace.loaded, facts, workspace.created.context_prompts)
    return {
        fact.key: tuple(one for one in own if not tellings.tells(f"{one.prompt} {one.target}", secret))
        for fact, own in zip(facts, found, strict=True)
    }


def _solve(
    workspace: Workspace,
    facts: list[Fact],
    drawn: Mapping[tuple[str, str], tuple[Probe, ...]],
    config: EditConfig,
    stands: Callable[[EditOutcome], bool],
    advance: Callable[[str], None],
) -> tuple[BatchReport, list[Edit]]:
    """Solve facts together and record the edits that may stand; those that may not are given back.

    What is recorded was solved without the others (`edit_batch`).
    """
    state = workspace.revealed(workspace.state.live)
    earlier = {fact.key: state.live_facts[fact.key] for fact in facts if fact.key in state.live_facts}
    _refuse_sealing_late(state, facts, earlier)
    no_ops: list[NoOp] = []
    said: dict[tuple[str, str], str] = {}
    if earlier:
        kept = [fact for fact in facts if fact.key in earlier]
        with workspace.at(state.live):
            results = probe(workspace.loaded, [own_targets(fact)[0] for fact in kept])
            texts = continuations(
                workspace.loaded,
                [fact.text for fact in kept],
                tokens_to_see(workspace.loaded, [fact.target for fact in kept]),
            )
        already = {fact.key for fact, result in zip(kept, results, strict=True) if result.says_target}
        said = {fact.key: text for fact, text in zip(kept, texts, strict=True)}
        no_ops += [NoOp(fact, fact.target) for fact in facts if fact.key in already]
        facts = [fact for fact in facts if fact.key not in already]
    failed: list[Edit] = []
    seconds = stage1_seconds = 0.0
    while facts:
        replaced = {fact.key: earlier[fact.key] for fact in facts if fact.key in earlier}
        live = tuple(number for number in state.live if number not in set(replaced.values()))
        result = edit_batch(
            workspace.loaded,
            edited_matrices(workspace, state, live),
            [with_drawn(fact, drawn.get(fact.key, ())) for fact in facts],
            workspace.created.context_prompts,
            config,
            workspace.surroundings.meter,
            advance,
            workspace.created.reference_texts,
            stands=stands,
        )
        seconds, stage1_seconds = seconds + result.seconds, stage1_seconds + result.stage1_seconds
        given = {fact.key: fact for fact in facts}
        bad, edits = (
            tuple(as_given(item, given[item.fact.key], said.get(item.fact.key)) for item in items)
            for items in (result.failed, result.edits)
        )
        failed += bad
        if any(item.fact.key in replaced for item in bad):
            # The edit that it was to replace stays, so the others are to be solved on another version.
            facts = [fact for fact in facts if all(fact.key != item.fact.key for item in bad)]
            continue
        taken_back = tuple(replaced[no_op.fact.key] for no_op in result.no_ops if no_op.fact.key in replaced)
        no_ops += [no_op for no_op in result.no_ops if no_op.fact.key not in replaced]
        recorded = _record(workspace, state, live, replace(result, edits=edits), config, taken_back)
        report = BatchReport(recorded, edits, tuple(no_ops), taken_back, (), seconds, stage1_seconds)
        return report, failed
    return BatchReport((), (), tuple(no_ops), (), (), seconds, stage1_seconds), failed


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
                information=workspace.information if created.fisher and spec.layer == created.fisher.layer else None,
            )
        )
    return matrices
