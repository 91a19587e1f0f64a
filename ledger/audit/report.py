"""The report of an audit bundle: what a person has to know of a range of the log, before it is laid out as a page.

Everything is read from the range, so the same range gives the same report. What needs a look stands first: alarms are
what somebody has to answer for, remarks are what a reader has to know to judge the rest. Nothing of the range is left
unsaid: kinds of events that have no section of their own are counted at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from errata.ledger.audit.edit_row import EditRow, Retention
from errata.ledger.audit.range import TURNS, AuditRange
from errata.ledger.base.findings import Finding, Severity
from errata.ledger.base.words import counted, listed, when
from errata.ledger.events.bodies import EditApplied, EditReverted, EditSuperseded, VersionTagged, VersionUntagged
from errata.ledger.events.change_parts import Choice
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import OPEN
from errata.ledger.events.trust_bodies import (
    ChangeApplied,
    ChangeApproved,
    ChangeChecked,
    ChangeClosed,
    ChangeDrafted,
    ChangeProposed,
    ChangeRejected,
    GlassReviewed,
    PolicyChanged,
)
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.kinds.table import words_of
from errata.ledger.state.trust import ChangeRecord, instant


@dataclass(frozen=True)
class Month:
    """What happened in a month, in UTC: `name` is such as 2026-01."""

    name: str
    edits: int
    ended: int
    proposals: int
    approvals: int
    broken: int
    evaluations: int
    seconds: float


@dataclass(frozen=True)
class Person:
    """Somebody who acted in the range, or could: keys and roles as of its end."""

    name: str
    roles: tuple[str, ...]
    keys: tuple[str, ...]
    events: int
    edits: int
    approvals: int


@dataclass(frozen=True)
class Turn:
    """A change of policy, keys or roles, in words."""

    event: Event
    words: str
    digest: str | None


@dataclass(frozen=True)
class ChangeSet:
    """A change set that something was said of in the range, and the edits that it made."""

    record: ChangeRecord
    edits: tuple[int, ...]


@dataclass(frozen=True)
class Ending:
    """An edit that left the live set in the range."""

    event: Event
    edit: int
    by: int | None
    reason: str


@dataclass(frozen=True)
class AuditReport:
    """A range of the log, read for a person.

    Attributes:
        read: the range.
        alarms, remarks: sentences, each with the anchor of the section that says more.
        figures: name -> figure, for the summary.
        months, persons, turns, changes, endings: see their classes; in the order of the log, or of their names.
        evaluations, tags: the events.
        redacted: rows whose fact is withheld.
        findings: of `verify` on the ledger when this was made; None if it was not asked.
        checkpoint: the tree's size and root, as a note.
        others: kind -> events of it that have no section.
    """

    read: AuditRange
    alarms: tuple[tuple[str, str], ...]
    remarks: tuple[tuple[str, str], ...]
    figures: tuple[tuple[str, str], ...]
    months: tuple[Month, ...]
    persons: tuple[Person, ...]
    turns: tuple[Turn, ...]
    changes: tuple[ChangeSet, ...]
    endings: tuple[Ending, ...]
    evaluations: tuple[tuple[Event, EvaluationRecorded], ...]
    tags: tuple[Event, ...]
    redacted: tuple[EditRow, ...]
    findings: tuple[Finding, ...] | None
    checkpoint: str
    others: tuple[tuple[str, int], ...]

    @property
    def within(self) -> tuple[Event, ...]:
        """The events of the range."""
        return self.read.events[self.read.first - 1 :]


def report(read: AuditRange, checkpoint: str, findings: Sequence[Finding] | None = None) -> AuditReport:
    """Read a range for a person.

    Args:
        read: the range.
        checkpoint: the tree's size and root at the range's end, as a note.
        findings: of `ledger.care.verify.verify`; None if it was not asked.
    """
    within = read.events[read.first - 1 :]
    changes = tuple(_changes(read))
    endings = tuple(_endings(within))
    redacted = tuple(row for row in read.rows if row.redacted or row.retention is Retention.ERASED)
    told = None if findings is None else tuple(findings)
    return AuditReport(
        read=read,
        alarms=tuple(_alarms(read, changes, told)),
        remarks=tuple(_remarks(read, within, redacted, told)),
        figures=tuple(_figures(read, within, endings)),
        months=tuple(_months(within)),
        persons=tuple(_persons(read, within)),
        turns=tuple(_turns(within)),
        changes=changes,
        endings=endings,
        evaluations=tuple((event, event.body) for event in within if isinstance(event.body, EvaluationRecorded)),
        tags=tuple(event for event in within if isinstance(event.body, VersionTagged | VersionUntagged)),
        redacted=redacted,
        findings=told,
        checkpoint=checkpoint,
        others=tuple(sorted(Counter(event.kind for event in within if not isinstance(event.body, _TOLD)).items())),
    )


_TOLD = (
    *TURNS,
    EditApplied,
    EditReverted,
    EditSuperseded,
    EvaluationRecorded,
    VersionTagged,
    VersionUntagged,
    ChangeProposed,
    ChangeDrafted,
    ChangeApproved,
    ChangeRejected,
    ChangeClosed,
    ChangeApplied,
    ChangeChecked,
    GlassReviewed,
)
"""Bodies of events that a section tells of."""


def _changes(read: AuditRange) -> Iterator[ChangeSet]:
    """The change sets with an event in the range."""
    made: dict[int, list[int]] = {}
    for edit, proposal in read.state.trust.edit_changes.items():
        made.setdefault(proposal, []).append(edit)
    for record in read.state.trust.changes.values():
        places = [record.seq, record.closed_by or 0]
        places += [one.seq for one in record.drafts] + [one.seq for one in record.approvals]
        places += [one.seq for one in record.checks] + [record.review.seq if record.review else 0]
        if max(places) >= read.first:
            yield ChangeSet(record, tuple(sorted(made.get(record.number, ()))))


def _endings(within: Sequence[Event]) -> Iterator[Ending]:
    for event in within:
        match event.body:
            case EditReverted(edit=edit, reason=reason):
                yield Ending(event, edit, None, reason)
            case EditSuperseded(edit=edit, by=by):
                yield Ending(event, edit, by, "")


def _turns(within: Sequence[Event]) -> Iterator[Turn]:
    for event in within:
        if isinstance(event.body, TURNS):
            policy = event.body.policy.digest if isinstance(event.body, PolicyChanged) else None
            yield Turn(event, words_of(event.body), policy)


def _alarms(
    read: AuditRange, changes: Sequence[ChangeSet], findings: Sequence[Finding] | None
) -> Iterator[tuple[str, str]]:
    """What somebody has to answer for."""
    for finding in findings or ():
        if finding.severity is Severity.ERROR:
            yield f"Verification: {finding.where}: {finding.what}", "verification"
    for change in changes:
        record, anchor = change.record, f"p{change.record.number}"
        if record.broke_glass and record.applied is not None:
            persons = listed([one.person for one in record.applied.body.decisions])
            review = "It has not been reviewed"
            if record.applied.body.review_by is not None:
                late = instant(record.applied.body.review_by) < instant(read.events[-1].recorded_at)
                review += f"; it {'was' if late else 'is'} due by {when(record.applied.body.review_by)}"
            if record.review is not None:
                said = record.review.body
                review = f"Reviewed by {said.decision.person}: {said.verdict.value}, {said.reason}"
            why = record.applied.body.reason
            yield f"Break-glass: {anchor} was applied without approval by {persons}: {why}. {review}.", anchor
        if record.failed_after:
            failed = listed([one.gate for one in record.checks[-1].body.evidence if not one.passed])
            yield f"Gates: {anchor} did not pass once it was applied: {failed}.", anchor
    for key in read.state.trust.keys.values():
        if key.compromised_since is not None:
            told = f"The key {key.key[:20]} of {key.person} may have been compromised since @{key.compromised_since}."
            yield told, "policy"


def _remarks(
    read: AuditRange, within: Sequence[Event], redacted: Sequence[EditRow], findings: Sequence[Finding] | None
) -> Iterator[tuple[str, str]]:
    """What a reader has to know to judge the rest."""
    alone = [row for row in read.rows if row.proposal is None]
    if alone:
        yield (
            f"{counted(len(alone), 'edit')} of {len(read.rows):,} made without a change set: the policy in force asked "
            "for no approval.",
            "edits",
        )
    if failed := [row.number for row in read.rows if not row.outcome.efficacy]:
        yield f"{counted(len(failed), 'edit')} did not work: the model did not say the target afterwards.", "edits"
    if unsigned := sum(event.signature is None for event in within):
        yield (
            f"{counted(unsigned, 'event')} of {len(within):,} without a signature: who made them rests on the name in "
            "the event, not on a key.",
            "persons",
        )
    if redacted:
        yield f"{counted(len(redacted), 'fact')} withheld; a commitment stands in the place of the text.", "redactions"
    if read.first > 1:
        yield f"The range begins at @{read.first}; what happened before it is not in this report.", "range"
    if findings is None:
        yield "The ledger was not verified when this report was made.", "verification"


def _figures(read: AuditRange, within: Sequence[Event], endings: Sequence[Ending]) -> Iterator[tuple[str, str]]:
    state, trust = read.state, read.state.trust
    kinds = Counter(type(event.body) for event in within)
    tags = [name for name, tag in sorted(state.tags.items()) if tag.version == state.version]
    broken = [event for event in within if _broke(event)]
    yield "events", f"{len(within):,} (@{read.first} to @{read.last})"
    yield "edits recorded", f"{len(read.rows):,}, of which {sum(r.status.value == 'live' for r in read.rows):,} live"
    yield (
        "edits that left",
        f"{len(endings):,} ({kinds[EditReverted]:,} reverted, {kinds[EditSuperseded]:,} superseded)",
    )
    yield "live at the end", f"{len(state.live):,}"
    yield (
        "proposals",
        f"{kinds[ChangeProposed]:,} made, {kinds[ChangeApplied]:,} applied, {kinds[ChangeRejected]:,} rejected",
    )
    yield "approvals", f"{kinds[ChangeApproved]:,}"
    yield "break-glass", f"{len(broken):,}"
    yield "evaluations", f"{kinds[EvaluationRecorded]:,}"
    yield "policy at the end", trust.policy.name if trust.policies else f"{OPEN.name} (no event ever set one)"
    yield "tags of the last version", ", ".join(tags) or "none"


def _broke(event: Event) -> bool:
    body = event.body
    return isinstance(body, ChangeApplied) and any(one.choice is Choice.BREAK_GLASS for one in body.decisions)


def _months(within: Sequence[Event]) -> Iterator[Month]:
    groups: dict[str, list[Event]] = {}
    for event in within:
        groups.setdefault(event.recorded_at[:7], []).append(event)
    for name, events in sorted(groups.items()):
        kinds = Counter(type(event.body) for event in events)
        yield Month(
            name=name,
            edits=kinds[EditApplied],
            ended=kinds[EditReverted] + kinds[EditSuperseded],
            proposals=kinds[ChangeProposed],
            approvals=kinds[ChangeApproved],
            broken=sum(_broke(event) for event in events),
            evaluations=kinds[EvaluationRecorded],
            seconds=sum(event.body.seconds for event in events if isinstance(event.body, EditApplied)),
        )


def _persons(read: AuditRange, within: Sequence[Event]) -> Iterator[Person]:
    trust = read.state.trust
    acted, wrote, approved = Counter[str](), Counter[str](), Counter[str]()
    for event in within:
        acted[event.actor] += 1
        wrote[event.actor] += isinstance(event.body, EditApplied)
        if isinstance(event.body, ChangeApproved):
            approved[event.body.decision.person] += 1
    for name in sorted({*acted, *trust.persons}):
        keys = tuple(f"{key.key} (revoked @{key.revoked})" if not key.valid else key.key for key in trust.keys_of(name))
        roles = tuple(sorted(trust.roles.get(name, ())))
        yield Person(name, roles, keys, acted[name], wrote[name], approved[name])
