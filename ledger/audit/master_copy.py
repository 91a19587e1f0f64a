"""The master copy: a range of the log read edit by edit, each with all that the events say of it.

Pure, over events alone: the same range of the same log gives the same rows, whatever was appended after it.

A batch is a run of edits in the log that were solved together, with what they superseded in between. The versions
before and after it are those that can have been evaluated, so they are what an edit's scores refer to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from errata.ledger.audit.changes import applied_changes, change_columns
from errata.ledger.audit.edit_row import (
    EditRow,
    EndRow,
    PolicyRow,
    Retention,
    ScoreRow,
    TagRow,
    TensorRow,
    TimeSource,
)
from errata.ledger.base import signing
from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.base.records import Record
from errata.ledger.events.bodies import (
    EditApplied,
    EditReverted,
    EditSuperseded,
    LedgerCreated,
    VersionTagged,
    VersionUntagged,
)
from errata.ledger.events.envelope import Event
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.rules.evolve import fold, take
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import State
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
    reading = _Reading(first, told, fold(told))
    for event, batch in zip(told, batches(told), strict=True):
        reading.read(event, batch)
    reading.close()
    return tuple(reading.row(life) for life in reading.lives.values() if life.event.seq >= first)


def batches(events: Sequence[Event]) -> Iterable[str | None]:
    """For each event the batch that it is part of; a superseded edit is part of the batch of what replaced it."""
    for place, event in enumerate(events):
        if isinstance(event.body, EditSuperseded) and place + 1 < len(events):
            event = events[place + 1]
        yield event.body.batch if isinstance(event.body, EditApplied) else None


@dataclass
class _Life:
    """An edit while the log is read: its event, and what was so when it was recorded."""

    event: Event
    body: EditApplied
    before: str
    supersedes: int | None
    roles: tuple[str, ...]
    policy: PolicyRow | None
    after: str = ""
    tags: list[TagRow] = field(default_factory=list)


@dataclass
class _Reading:
    """The log while it is read.

    Attributes:
        first: seq at which the range begins, before which no version is worked out.
        events: all of it, up to the range's end.
        state: what it says at its end.
        now: what it says at the event that is read.
        changes: the change sets that were applied, by the seq of each event that they stand for.
        scores: version -> its evaluations.
        lives: number -> edit.
        batch, solved: the batch under way, and its edits so far.
        before: the version before it.
    """

    first: int
    events: Sequence[Event]
    state: State
    now: Fold = field(default_factory=Fold)
    changes: Mapping[int, ChangeRecord] = field(init=False)
    scores: dict[str, list[ScoreRow]] = field(default_factory=dict)
    lives: dict[int, _Life] = field(default_factory=dict)
    batch: str | None = None
    solved: list[_Life] = field(default_factory=list)
    before: str = ""

    def __post_init__(self) -> None:
        """Look up what only the whole log says."""
        self.changes = applied_changes(self.state.trust.changes)
        for one in self.state.recorded(EvaluationRecorded):
            row = ScoreRow(seq=one.seq, **_shared(ScoreRow, one.body))
            self.scores.setdefault(one.body.version, []).append(row)

    def read(self, event: Event, batch: str | None) -> None:
        """Take one event in."""
        if batch != self.batch or event.seq == self.first:
            self.close()
            self.batch, self.before = batch, "" if batch is None or event.seq < self.first else self._version()
        match event.body:
            case EditApplied() as body:
                self._apply(event, body)
            case VersionTagged() as body:
                self._move(event, body, entered=True)
            case VersionUntagged(tag=tag) if tag in self.now.tags:
                self._move(event, self.now.tags[tag], entered=False)
        take(self.now, event.head, event.body, event.act)

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
        change = self.changes.get(event.seq)
        record = self.state.edits[body.number]
        return EditRow(
            **_shared(EditRow, event),
            previous=event.parent,
            time_source=TimeSource.CLIENT,
            key=None if signed is None else signed.key,
            roles=life.roles,
            action=_action(body, change),
            **_told(body.fact),
            **_shared(EditRow, body) | {"seed": str(body.seed)},
            **{name: getattr(created, name) for name in _OF_THE_BASE},
            base=created.base_digest,
            parent_version=life.before,
            result_version=life.after,
            past_keys=body.solve.past_keys,
            rank=body.rank,
            tensors=_tensors(created, body),
            **_shared(EditRow, body.stage1),
            scores_before=tuple(self.scores.get(life.before, ())),
            scores_after=tuple(self.scores.get(life.after, ())),
            policy=life.policy,
            **({} if change is None else change_columns(change)),
            tags=tuple(life.tags),
            status=record.status,
            supersedes=life.supersedes,
            ended=None if record.closed_by is None else self._end(record.closed_by),
            retention=Retention.KEPT if record.erased_by is None else Retention.ERASED,
        )

    def _created(self) -> LedgerCreated:
        if self.now.created is None:
            raise LedgerDamaged("event @1", "the log does not start with its creation")
        return self.now.created

    def _version(self) -> str:
        self._created()
        return self.now.version_of(self.now.live)

    def _apply(self, event: Event, body: EditApplied) -> None:
        trust = self.now.trust
        policy = trust.policies[-1] if trust.policies else None
        life = _Life(
            event,
            body,
            self.before,
            supersedes=None if self.now.superseding is None else self.now.superseding[0],
            roles=tuple(sorted(trust.roles.get(event.actor, ()))),
            policy=None
            if policy is None
            else PolicyRow(seq=policy.seq, name=policy.body.policy.name, digest=policy.body.policy.digest),
        )
        self.lives[body.number] = life
        self.solved.append(life)

    def _end(self, seq: int) -> EndRow:
        """How an edit left the live set, by the event that ended it."""
        event, change = self.events[seq - 1], self.changes.get(seq)
        return EndRow(
            **_shared(EndRow, event),
            by=event.body.by if isinstance(event.body, EditSuperseded) else None,
            reason=event.body.reason if isinstance(event.body, EditReverted) else "",
            proposal=None if change is None else change.number,
        )

    def _move(self, event: Event, tag: VersionTagged, *, entered: bool) -> None:
        move = TagRow(seq=event.seq, tag=tag.tag, version=tag.version, entered=entered)
        for number in tag.live:
            self.lives[number].tags.append(move)


_OF_THE_BASE = ("model", "family", "dtype", "tokenizer_digest", "config_digest")


def _shared(row: type[Record], source: Record) -> dict[str, Any]:
    """The fields of a row that its source has under the same name."""
    return {name: getattr(source, name) for name in row.model_fields if name in type(source).model_fields}


def _action(body: EditApplied, change: ChangeRecord | None) -> str:
    if change is not None:
        return change.body.action.sort
    return "edit" if body.origin is None else "carry"


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


def _tensors(created: LedgerCreated, body: EditApplied) -> dict[str, TensorRow]:
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
