"""A batch's result as what is recorded of it: its factors as a blob, and its edits, ready for a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from errata.editor.config import EditConfig, Stage2
from errata.editor.pipeline import BatchResult, Edit
from errata.editor.target.target import TargetValue
from errata.ledger.events import bodies
from errata.ledger.events.parts import EditOutcome, Solve, Stage1
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.kinds.edits import Attempt, EditAttempted
from errata.ledger.rules.operations import RecordEvent
from errata.ledger.secrets.sealing import seal, unsaid
from errata.ledger.store.deltas import encode_batch, row_delta_digest, row_keys_digest
from errata.replay.apply.report import Unwritten
from errata.replay.workflow.workspace import Workspace


def new_edits(
    workspace: Workspace, result: BatchResult, config: EditConfig, live_before: str, past_keys: int, batch: str
) -> tuple[bodies.NewEdit, ...]:
    """Write a batch's blob and give its edits as they are to be recorded; the events come last and are the caller's.

    Args:
        workspace: where the blob goes.
        result: a batch with at least one edit.
        config: the settings that it was solved with.
        live_before: the version that it was solved on.
        past_keys: how many edits that version has.
        batch: the batch's own identifier.

    Raises:
        StorageFailed: the blob could not be written.
    """
    arrays = {}
    for name in result.sums:
        of_edits = [item.factors[name] for item in result.edits]
        for part, rows in (
            ("u", torch.cat([factors.u for factors in of_edits])),
            ("v", torch.cat([factors.v for factors in of_edits])),
            ("k", torch.stack([factors.k for factors in of_edits])),
        ):
            arrays[f"{part}/{name}"] = rows.numpy().astype("<f4")
    blob = workspace.ledger.blobs.put(encode_batch(arrays))
    surroundings, created = workspace.surroundings, workspace.created
    new = []
    for row, item in enumerate(result.edits):
        fact, outcome = _as_recorded(workspace, item)
        ranks = {name: len(factors.u) for name, factors in item.factors.items()}
        ranks = ranks if max(ranks.values()) > 1 else {}
        new.append(
            bodies.NewEdit(
                fact=fact,
                method=config.method,
                hyperparameters=config.to_record(),
                seed=config.seed,
                software=surroundings.software,
                device=surroundings.device,
                batch=batch,
                batch_size=len(result.edits),
                row=row,
                stage1=stage1_of(item.target),
                delta_digest=row_delta_digest(arrays, row, ranks),
                keys_digest=row_keys_digest(arrays, row),
                blob=blob,
                bounds={name: factors.bound for name, factors in item.factors.items()},
                norms_before={name: factors.norm_before for name, factors in item.factors.items()},
                norms_after={name: factors.norm_after for name, factors in item.factors.items()},
                solve=Solve(
                    live_before=live_before,
                    past_keys=past_keys if config.past_keys and config.stage2 != Stage2.FT else 0,
                    stats={name: reference.digest for name, reference in created.stats.items()},
                    layers=config.layers,
                    residual_norms={name: float(factors.u.flatten().norm()) for name, factors in item.factors.items()},
                    solve_errors=dict(result.residuals),
                ),
                seconds=result.seconds / len(result.edits),
                peak_memory_bytes=result.peak_memory,
                outcome=outcome,
                drawn=() if item.fact.personal else item.drawn,
                ranks=ranks,
            )
        )
    return tuple(new)


def record_attempts(workspace: Workspace, left_out: Sequence[Unwritten], version: str, seconds: float) -> None:
    """Record what was tried in vain, each fact with its share of the batch's time; of a personal one, only that."""
    around = workspace.surroundings
    for one in left_out:
        hidden = {"said_before": "", "said_after": ""} if one.fact.personal else {}
        attempts = tuple(
            Attempt(
                method=config.method,
                hyperparameters=config.to_record(),
                stage1=stage1_of(item.target),
                outcome=item.outcome.model_copy(update=hidden),
            )
            for config, item in one.tries
        )
        body = EditAttempted(
            fact=None if one.fact.personal else one.fact,
            version=version,
            attempts=attempts,
            software=around.software,
            device=around.device,
            seconds=seconds,
        )
        workspace.execute(RecordEvent(body))


def stage1_of(target: TargetValue) -> Stage1:
    """How a target value was found, as it is recorded."""
    return Stage1(
        steps=target.steps,
        stop_reason=target.stop_reason,
        probability_before=min(1.0, target.probability_before),
        probability_after=min(1.0, target.probability),
        loss=target.loss,
        converged=target.most_probable,
        delta_norm=target.delta_norm,
        value_norm=target.value_norm,
    )


def _as_recorded(workspace: Workspace, item: Edit) -> tuple[Fact, EditOutcome]:
    """The fact, and what its own probes said; sealed if it is personal."""
    if not item.fact.personal:
        return item.fact, item.outcome
    ledger = workspace.ledger
    if (given := ledger.opener.given.get(item.fact.key)) is not None:
        return given, unsaid(item.outcome)
    token = ledger.opener.token_of(workspace.state, item.fact.key)
    return seal(ledger.blobs, ledger.vault, item.fact, item.outcome, token)


def with_drawn(fact: Fact, drawn: tuple[Probe, ...]) -> Fact:
    """The fact with locality probes that were drawn for it, if it brings none."""
    return fact if fact.locality or not drawn else fact.model_copy(update={"locality": drawn})


def as_given(item: Edit, fact: Fact, said_before: str | None = None) -> Edit:
    """An edit with its fact as it was given, apart from the probes that were drawn for it.

    Args:
        item: an edit of the fact `with_drawn`.
        fact: the fact.
        said_before: what the head said, for an edit that supersedes another; None keeps what was found.
    """
    outcome = item.outcome if said_before is None else item.outcome.model_copy(update={"said_before": said_before})
    return replace(item, fact=fact, drawn=() if fact.locality else item.fact.locality, outcome=outcome)
