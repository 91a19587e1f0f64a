"""Events picked out of a log: by subject, actor, kind and time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from errata.ledger.base.errors import UsageError
from errata.ledger.base.times import period
from errata.ledger.events.bodies import EditApplied, EditReverted, EditSuperseded, FactErased
from errata.ledger.events.change_parts import EditFacts, EraseFact, RevertThem
from errata.ledger.events.envelope import Event
from errata.ledger.events.parts import Body
from errata.ledger.events.trust_bodies import ChangeProposed
from errata.ledger.kinds.merges import LedgerMerged


def select(
    events: Sequence[Event],
    *,
    subject: str = "",
    actor: str = "",
    kinds: Collection[str] = (),
    since: str = "",
    until: str = "",
) -> list[Event]:
    """The events that all of this holds of, in their order; what is left empty asks for nothing.

    Args:
        events: the whole log: an event that takes an edit back is about the subject of that edit.
        subject: a part of a subject, in upper or lower case.
        actor: who recorded the event.
        kinds: any of these kinds, by name.
        since: a date or time (`ledger.base.times`) to begin with.
        until: a date or time that still counts.

    Raises:
        UsageError: a date cannot be read, or `until` is before `since`.
    """
    first = period(since).start if since else None
    end = period(until).end if until else None
    if first is not None and end is not None and end <= first:
        raise UsageError(f"nothing lies between {since} and {until}: the end is before the start")
    about = _Subjects()
    found = []
    for event in events:
        if subject and not any(subject.casefold() in one.casefold() for one in about.of(event.body)):
            continue
        if (actor and event.actor != actor) or (kinds and event.kind not in kinds):
            continue
        at = datetime.fromisoformat(event.recorded_at)
        if (first is None or at >= first) and (end is None or at < end):
            found.append(event)
    return found


class _Subjects:
    """What subjects events are about, asked one event after the other from the first on."""

    def __init__(self) -> None:
        self._edits: dict[int, str] = {}
        self._proposals: dict[int, set[str]] = {}

    def of(self, body: Body) -> set[str]:
        """The subjects that the log's next event is about."""
        match body:
            case EditApplied(number=number, fact=fact):
                self._edits[number] = fact.subject
                return {fact.subject}
            case EditReverted(edit=number) | EditSuperseded(edit=number):
                return self._named((number,))
            case FactErased(edits=edits):
                return self._named(edits)
            case LedgerMerged():
                return self._named((*body.carried, *body.taken_back)) | {one.subject for one in body.resolutions}
            case ChangeProposed(number=number, action=action):
                match action:
                    case EditFacts(facts=facts):
                        self._proposals[number] = {fact.subject for fact in facts}
                    case RevertThem(edits=edits) | EraseFact(edits=edits):
                        self._proposals[number] = self._named(edits)
                    case _:
                        self._proposals[number] = set()
                return self._proposals[number]
            case _:
                return self._proposals.get(getattr(body, "proposal", 0), set())

    def _named(self, numbers: Iterable[int]) -> set[str]:
        return {self._edits[number] for number in numbers if number in self._edits}
