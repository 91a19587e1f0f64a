"""The master copy: a range of the log read edit by edit, each with all that the events say of it.

Pure, over events alone: the same range of the same log gives the same rows, whatever was appended after it.

A batch is a run of edits in the log that were solved together, with what they superseded in between. The versions
before and after it are those that can have been evaluated, so they are what an edit's scores refer to.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from errata.ledger.audit.changes import applied_changes, change_row
from errata.ledger.audit.parts import (
    RANK,
    ChangeRow,
    EditRow,
    EndRow,
    PolicyRow,
    Retention,
    ScoreRow,
    TagMove,
    TensorRow,
    TimeSource,
)
from errata.ledger.base import signing
from errata.ledger.base.digests import version_digest
from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.events import bodies
from errata.ledger.events.envelope import Event
from errata.ledger.events.trust_bodies import PolicyChanged, RoleGranted, RoleRevoked
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.kinds.evolve import fold
from errata.ledger.state.state import EditStatus
from errata.ledger.state.trust import ChangeRecord


def edit_rows(events: Sequence[Event], first: int = 1, last: int | None = None) -> tuple[EditRow, ...]:
    """The rows of all edits that were recorded in a range, in the order of the log.

    Args:
        events: the log from its first event on; those after `last` are not looked at.
        first: seq at which the range begins.
        last: seq at which it ends, and as of which the rows speak; the last event's if left out.

    Raises:
        LedgerDamaged: the log does not start with its creation.
    """
    told = events if last is None else events[:last]
    reading = _Reading(first, applied_changes(fold(told).trust.changes))
    for event, batch in zip(told, batches(told), strict=True):
        reading.read(event, batch)
    reading.close()
    return tuple(reading.row(life) for life in reading.lives.values() if life.event.seq >= first)


def batches(events: Sequence[Event]) -> Iterable[str | None]:
    """For each event the batch that it is part of; a superseded edit is part of the batch of what replaced it."""
    for place, event in enumerate(events):
        if isinstance(event.body, bodies.EditSuperseded) and place + 1 < len(events):
            event = events[place + 1]
        yield event.body.batch if isinstance(event.body, bodies.EditApplied) else None


@dataclass
class _Life:
    """An edit while the log is read: its event, and what became of it."""

    event: Event
    body: bodies.EditApplied
    before: str
    after: str = ""
    supersedes: int | None = None
    status: EditStatus = EditStatus.LIVE
    ended: EndRow | None = None
    retention: Retention = Retention.KEPT
    tags: list[TagMove] = field(default_factory=list)
    roles: tuple[str, ...] = ()
    policy: PolicyRow | None = None
    change: ChangeRecord | None = None


@dataclass
class _Reading:
    """The log while it is read.

    Attributes:
        first: seq at which the range begins, before which no version is worked out.
        changes: by the seq of each event that they stand for.
        deltas: digests of the live deltas, sorted.
        scores: version -> its evaluations.
        batch, solved: the batch under way, and its edits so far.
        before: the version before it.
        superseded: the edit that the next one replaces.
        roles: person -> the roles that they have.
        policy: the one in force, once an event has set one.
    """

    first: int
    changes: Mapping[int, ChangeRecord]
    created: bodies.LedgerCreated | None = None
    lives: dict[int, _Life] = field(default_factory=dict)
    deltas: list[str] = field(default_factory=list)
    scores: dict[str, list[ScoreRow]] = field(default_factory=dict)
    tags: dict[str, bodies.VersionTagged] = field(default_factory=dict)
    batch: str | None = None
    solved: list[_Life] = field(default_factory=list)
    before: str = ""
    superseded: int | None = None
    roles: dict[str, set[str]] = field(default_factory=dict)
    policy: PolicyRow | None = None

    def read(self, event: Event, batch: str | None) -> None:
        """Take one event in."""
        if batch != self.batch or event.seq == self.first:
            self.close()
            self.batch, self.before = batch, "" if batch is None or event.seq < self.first else self._version()
        match event.body:
            case bodies.LedgerCreated() as body:
                self.created = body
            case bodies.EditApplied() as body:
                self._apply(event, body)
            case bodies.EditSuperseded() as body:
                self._end(event, body.edit, EditStatus.SUPERSEDED, by=body.by)
                self.superseded = body.edit
            case bodies.EditReverted() as body:
                self._end(event, body.edit, EditStatus.REVERTED, reason=body.reason)
            case EvaluationRecorded() as body:
                fields = {name: getattr(body, name) for name in ScoreRow.model_fields if name != "seq"}
                self.scores.setdefault(body.version, []).append(ScoreRow(seq=event.seq, **fields))
            case bodies.FactErased(edits=edits):
                for number in edits:
                    self.lives[number].retention = Retention.ERASED
            case PolicyChanged() as body:
                self.policy = PolicyRow(seq=event.seq, name=body.policy.name, digest=body.policy.digest)
            case RoleGranted() as body:
                self.roles.setdefault(body.person, set()).add(body.role)
            case RoleRevoked() as body:
                self.roles.get(body.person, set()).discard(body.role)
            case bodies.VersionTagged() as body:
                self.tags[body.tag] = body
                self._move(event, body, entered=True)
            case bodies.VersionUntagged() as body:
                if (tag := self.tags.pop(body.tag, None)) is not None:
                    self._move(event, tag, entered=False)

    def close(self) -> None:
        """End the batch under way: its edits learn what version it made."""
        after = self._version() if self.before else ""
        for life in self.solved:
            life.after = after
        self.batch, self.before, self.solved = None, "", []

    def row(self, life: _Life) -> EditRow:
        """What there is to say of an edit, once all was read."""
        event, body, created = life.event, life.body, self._created()
        signed = None if event.signature is None else signing.read(event.signature)
        change = None if life.change is None else change_row(life.change)
        return EditRow(
            seq=event.seq,
            event_id=event.event_id,
            previous=event.parent,
            hash=event.hash,
            recorded_at=event.recorded_at,
            time_source=TimeSource.CLIENT,
            actor=event.actor,
            key=None if signed is None else signed.key,
            roles=life.roles,
            number=body.number,
            action=change.action.value if change else "edit" if body.origin is None else "carry",
            **_told(body.fact),
            method=body.method,
            hyperparameters=body.hyperparameters,
            seed=str(body.seed),
            software=body.software,
            device=body.device,
            model=created.model,
            family=created.family,
            dtype=created.dtype,
            tokenizer_digest=created.tokenizer_digest,
            config_digest=created.config_digest,
            base=created.base_digest,
            parent_version=life.before,
            result_version=life.after,
            batch=body.batch,
            batch_size=body.batch_size,
            row=body.row,
            past_keys=body.solve.past_keys,
            delta_digest=body.delta_digest,
            keys_digest=body.keys_digest,
            blob=body.blob,
            rank=RANK,
            tensors=_tensors(created, body),
            steps=body.stage1.steps,
            stop_reason=body.stage1.stop_reason,
            converged=body.stage1.converged,
            probability_before=body.stage1.probability_before,
            probability_after=body.stage1.probability_after,
            outcome=body.outcome,
            scores_before=tuple(self.scores.get(life.before, ())),
            scores_after=tuple(self.scores.get(life.after, ())),
            policy=life.policy,
            **_under(change),
            tags=tuple(life.tags),
            status=life.status,
            supersedes=life.supersedes,
            ended=life.ended,
            origin=body.origin,
            retention=life.retention,
            seconds=body.seconds,
            peak_memory_bytes=body.peak_memory_bytes,
        )

    def _created(self) -> bodies.LedgerCreated:
        if self.created is None:
            raise LedgerDamaged("event @1", "the log does not start with its creation")
        return self.created

    def _version(self) -> str:
        return version_digest(self._created().base_digest, self.deltas)

    def _apply(self, event: Event, body: bodies.EditApplied) -> None:
        life = _Life(event, body, self.before, supersedes=self.superseded)
        life.roles = tuple(sorted(self.roles.get(event.actor, ())))
        life.policy, life.change = self.policy, self.changes.get(event.seq)
        self.superseded = None
        self.lives[body.number] = life
        self.solved.append(life)
        insort(self.deltas, body.delta_digest)

    def _end(self, event: Event, number: int, status: EditStatus, by: int | None = None, reason: str = "") -> None:
        life, change = self.lives[number], self.changes.get(event.seq)
        life.status = status
        life.ended = EndRow(
            seq=event.seq,
            hash=event.hash,
            recorded_at=event.recorded_at,
            actor=event.actor,
            by=by,
            reason=reason,
            proposal=None if change is None else change.number,
        )
        del self.deltas[bisect_left(self.deltas, life.body.delta_digest)]

    def _move(self, event: Event, tag: bodies.VersionTagged, *, entered: bool) -> None:
        move = TagMove(seq=event.seq, tag=tag.tag, version=tag.version, entered=entered)
        for number in tag.live:
            self.lives[number].tags.append(move)


_UNGOVERNED = {
    "proposal": None,
    "author": None,
    "drafter": None,
    "proposal_digest": None,
    "draft_digest": None,
    "reason": "",
    "ticket": None,
    "source": None,
    "risk": None,
    "approvals": (),
    "gates": (),
    "break_glass": False,
    "break_glass_reason": "",
    "review_by": None,
    "review": None,
}
"""What a row says of an edit that is part of no change set."""


def _under(change: ChangeRow | None) -> dict[str, Any]:
    return _UNGOVERNED if change is None else {name: getattr(change, name) for name in _UNGOVERNED}


def _told(fact: Fact) -> dict[str, Any]:
    """A fact in the columns of the master copy; of a personal one, only what stands in its place."""
    columns: dict[str, Any] = {"redacted": fact.sealed is not None, "commitment": None}
    if fact.sealed is not None:
        clear = dict.fromkeys(("subject", "prompt", "old", "new", "fact_id", "relation"))
        return columns | clear | {"commitment": fact.sealed.commitment}
    return columns | {
        "subject": fact.subject,
        "prompt": fact.prompt,
        "old": fact.old,
        "new": fact.target,
        "fact_id": fact.id,
        "relation": fact.relation,
    }


def _tensors(created: bodies.LedgerCreated, body: bodies.EditApplied) -> dict[str, TensorRow]:
    return {
        name: TensorRow(
            shape=tensor.shape,
            layer=tensor.layer,
            grid_exponent=tensor.grid_exponent,
            bound=body.bounds[name],
            norm_before=body.norms_before[name],
            norm_after=body.norms_after[name],
            residual_norm=body.solve.residual_norms.get(name),
            solve_error=body.solve.solve_errors.get(name),
        )
        for name, tensor in created.edited.items()
    }
