"""Revert edits and solve again, without them, those that were solved after or beside them: a rebase of the log's end.

A plain revert is exact in what it removes, and leaves what the removed edits did to others: the solves after them had
them in the weights and among the past keys, and those of their own batch shared one system with them. Here the first
batch that holds a removed edit, and all later ones, are solved again in the order of the log, in batches as recorded,
with the settings and seeds that were recorded with each, from the version of the live edits before that batch. Members
that are not live any more are left out. So re-deriving everything after the base is, to the bit, editing the facts that
remain in a new ledger.

Each batch is solved on the sums and past keys that the one before left, and nothing is recorded meanwhile. Then come
all blobs, and last one transaction: the removed edits reverted, the new edits in place of the old ones of the same
facts. A fact that the model says without its edit is a no-op: its old edit is reverted too. If other edits are live by
then, nothing is recorded (HeadConflict).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from errata.editor.config import EditConfig, build_config
from errata.editor.pipeline import BatchResult, Edit, NoOp, check_facts, edit_batch, with_batch
from errata.editor.solve.grid import ExactSum
from errata.editor.solve.norms import difference_norm, norm_of
from errata.ledger.base.digests import version_digest
from errata.ledger.base.errors import Refused, UsageError
from errata.ledger.events.bodies import EditApplied, NewEdit
from errata.ledger.facts.fact import Fact
from errata.ledger.rules.decide import decide
from errata.ledger.rules.operations import ApplyEdits, RevertEdits
from errata.ledger.state.state import State
from errata.replay.apply.apply import matrices_of
from errata.replay.apply.recording import as_given, new_edits, with_drawn
from errata.replay.workflow.workspace import Workspace

BATCH_PREFIX = "rederived-"
"""How the identifiers of batches start that were solved again."""


@dataclass(frozen=True)
class RederiveBatch:
    """Edits to solve again together: their batch's identifier, their numbers by row, and the recorded settings."""

    batch: str
    numbers: tuple[int, ...]
    config: EditConfig


@dataclass(frozen=True)
class RederivePlan:
    """What is to be solved again.

    Attributes:
        state: the ledger's state that this is decided on.
        removed: the edits to revert.
        start: the live edits before the first batch that holds one of them.
        batches: everything live since then, but for the removed edits, in the order of the log.
    """

    state: State
    removed: tuple[int, ...]
    start: tuple[int, ...]
    batches: tuple[RederiveBatch, ...]

    @property
    def affected(self) -> tuple[int, ...]:
        """The edits to solve again."""
        return tuple(number for batch in self.batches for number in batch.numbers)


@dataclass(frozen=True)
class Resolved:
    """One edit that was solved again.

    Attributes:
        old: the number of the edit that it replaces.
        edit: the new one, or what the model says without either.
        distances: by tensor, ``‖u'v'ᵀ - uvᵀ‖ / ‖uvᵀ‖``; empty for a no-op, None where the old delta is zero.
        distance: the same over all edited tensors together; None for a no-op, or if the old delta is zero.
    """

    old: int
    edit: Edit | NoOp
    distances: Mapping[str, float | None]
    distance: float | None

    @property
    def needed(self) -> Edit | None:
        """The new edit, if it is needed."""
        return self.edit if isinstance(self.edit, Edit) else None


@dataclass(frozen=True)
class Rederived:
    """Everything solved again, and nothing recorded.

    Attributes:
        plan: what was asked for.
        results: one a batch of the plan.
        edits: one an edit of the plan, in its order.
        sums: the exact sums of the version that this makes.
        seconds: time of the batches.
    """

    plan: RederivePlan
    results: tuple[BatchResult, ...]
    edits: tuple[Resolved, ...]
    sums: Mapping[str, ExactSum]
    seconds: float

    @property
    def taken_back(self) -> tuple[int, ...]:
        """The old edits that the model does not need without the removed ones."""
        return tuple(item.old for item in self.edits if item.needed is None)


@dataclass(frozen=True)
class Replaced:
    """What was recorded: the new edits, and old number -> new number."""

    recorded: tuple[EditApplied, ...]
    numbers: Mapping[int, int]


def plan(state: State, numbers: Sequence[int]) -> RederivePlan:
    """What has to be solved again if these edits are to be as if they had never been made.

    Raises:
        Refused: one of them is not live, or an affected edit's recorded settings cannot be used.
        UnknownEdit: one of them was never recorded.
        UsageError: an edit twice.
    """
    decide(state, RevertEdits(tuple(numbers)), None)
    removed = frozenset(numbers)
    batches = {state.edits[number].body.batch for number in removed}
    first = min(record.number for record in state.edits.values() if record.body.batch in batches)
    groups: dict[str, list[int]] = {}
    for number in state.live:
        if number >= first and number not in removed:
            groups.setdefault(state.edits[number].body.batch, []).append(number)
    return RederivePlan(
        state,
        tuple(numbers),
        tuple(number for number in state.live if number < first),
        tuple(RederiveBatch(batch, tuple(members), _settings(state, members)) for batch, members in groups.items()),
    )


def solve(
    workspace: Workspace, planned: RederivePlan, advance: Callable[[str], None] = lambda stage: None
) -> Rederived:
    """Solve the planned batches one on the other; nothing is recorded.

    Args:
        workspace: the ledger and its model.
        planned: what `plan` gave for the workspace's ledger.
        advance: told the batch and the stage.

    Raises:
        ModelError: if a batch fails.
        BlobMissing, BlobDamaged: if an edit before or a replaced one cannot be read.
    """
    state, created = planned.state, workspace.created
    facts = facts_of(workspace, planned)
    for batch in planned.batches:
        check_facts(workspace.loaded, [facts[n] for n in batch.numbers], created.context_prompts, batch.config)
    matrices = matrices_of(
        workspace,
        workspace.materialiser.sums(planned.start),
        workspace.past_keys.of(state, planned.start),
        workspace.new_solvers(),
    )
    results = []
    for place, batch in enumerate(planned.batches, start=1):
        result = edit_batch(
            workspace.loaded,
            matrices,
            [with_drawn(facts[number], planned.state.edits[number].body.drawn) for number in batch.numbers],
            created.context_prompts,
            batch.config,
            workspace.surroundings.meter,
            _told(advance, f"batch {place} of {len(planned.batches)}"),
            created.reference_texts,
        )
        own = {facts[number].key: facts[number] for number in batch.numbers}
        result = replace(result, edits=tuple(as_given(item, own[item.fact.key]) for item in result.edits))
        matrices = with_batch(matrices, result)
        results.append(result)
    return Rederived(
        planned,
        tuple(results),
        _resolved(workspace, planned, results),
        {matrix.name: matrix.sum for matrix in matrices},
        sum(result.seconds for result in results),
    )


def facts_of(workspace: Workspace, planned: RederivePlan) -> dict[int, Fact]:
    """The facts to solve again, by number, personal ones in the clear."""
    revealed = workspace.ledger.opener.reveal(planned.state, planned.affected)
    return {number: revealed.edits[number].body.fact for number in planned.affected}


def record(workspace: Workspace, found: Rederived, reason: str = "") -> Replaced:
    """Record what was solved again: all blobs, and then one transaction.

    Args:
        workspace: the ledger and its model.
        found: what `solve` gave.
        reason: why the edits are reverted.

    Raises:
        HeadConflict: the live set is another than when the plan was made; nothing was recorded.
        Refused: a rule forbids it, such as a full grid; nothing was recorded.
    """
    planned, created = found.plan, workspace.created
    deltas = [planned.state.edits[number].delta_digest for number in planned.start]
    new: list[NewEdit] = []
    for batch, result in zip(planned.batches, found.results, strict=True):
        if result.edits:
            before = version_digest(created.base_digest, deltas)
            name = BATCH_PREFIX + workspace.surroundings.new_id()
            made = new_edits(workspace, result, batch.config, before, len(deltas), name)
            deltas += [item.delta_digest for item in made]
            new += made
    reverts = [RevertEdits(planned.removed, _why(reason, planned))]
    if found.taken_back:
        gone = ", ".join(f"e{number}" for number in planned.removed)
        reverts.append(RevertEdits(found.taken_back, f"the model without {gone} and without this edit says its target"))
    now = workspace.state
    # A tag or an evaluation recorded meanwhile takes nothing from what was solved; another live set does.
    based_on = now if now.live == planned.state.live else planned.state
    events = workspace.execute(ApplyEdits(tuple(new), tuple(reverts)), based_on)
    recorded = tuple(event.body for event in events if isinstance(event.body, EditApplied))
    by_fact = {body.fact.key: body.number for body in recorded}
    numbers = {item.old: by_fact[planned.state.edits[item.old].key] for item in found.edits if item.needed is not None}
    return Replaced(recorded, numbers)


def weights_of(workspace: Workspace, found: Rederived) -> dict[str, Tensor]:
    """The edited tensors of the version that was found, by stored name, as the model stores them."""
    materialiser = workspace.materialiser
    return {
        name: total.weights(materialiser.base[name], materialiser.specs[name].transposed)
        for name, total in found.sums.items()
    }


def _told(advance: Callable[[str], None], where: str) -> Callable[[str], None]:
    return lambda stage: advance(f"{where}: {stage}")


def _why(reason: str, planned: RederivePlan) -> str:
    """A revert's reason, so that a reader of the log knows what the events after it are."""
    count = len(planned.affected)
    if not count:
        return reason
    gone = ", ".join(f"e{number}" for number in planned.removed)
    what = "edit" if count == 1 else "edits"
    done = f"{count} {what} solved beside or after {gone} solved again without"
    return f"{reason}; {done}" if reason else done


def _settings(state: State, members: Sequence[int]) -> EditConfig:
    """The settings that a batch was solved with."""
    recorded = [state.edits[number].body for number in members]
    if any(body.hyperparameters != recorded[0].hyperparameters for body in recorded):
        raise Refused(f"e{members[0]} and others of its batch have different settings; they cannot be solved together")
    try:
        return build_config(recorded[0].hyperparameters)
    except UsageError as error:
        raise Refused(
            f"e{members[0]} cannot be solved again with the settings that it was recorded with: {error.message}; "
            "a plain revert needs none"
        ) from None


def _resolved(workspace: Workspace, planned: RederivePlan, results: Sequence[BatchResult]) -> tuple[Resolved, ...]:
    """Each edit of the plan with what became of it, and how far its new delta is from its old one."""
    facts, found = facts_of(workspace, planned), []
    for batch, result in zip(planned.batches, results, strict=True):
        edits = {item.fact.key: item for item in result.edits}
        no_ops = {item.fact.key: item for item in result.no_ops}
        for number in batch.numbers:
            key = facts[number].key
            if key in no_ops:
                found.append(Resolved(number, no_ops[key], {}, None))
                continue
            (old,) = workspace.factors.read(planned.state, (number,))
            apart, size = {}, {}
            for name, (u, v) in old.items():
                new = edits[key].factors[name]
                apart[name], size[name] = difference_norm(u, v, new.u, new.v), norm_of(u, v)
            whole = _ratio(math.hypot(*apart.values()), math.hypot(*size.values()))
            distances = {name: _ratio(apart[name], size[name]) for name in apart}
            found.append(Resolved(number, edits[key], distances, whole))
    return tuple(found)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
