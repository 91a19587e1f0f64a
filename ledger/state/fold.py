"""A fold under way: the mutable twin of `State`, which each kind of event changes in its own way (`ledger.kinds`).

Nothing here refuses anything: rules are in `ledger.rules` and `ledger.kinds`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from errata.ledger.base.errors import Refused
from errata.ledger.events.bodies import LedgerCreated, VersionTagged
from errata.ledger.events.parts import Body
from errata.ledger.state.state import EditStatus, State, Step, TagMove, version_of
from errata.ledger.state.trust import Recorded

B = TypeVar("B", bound=Body)


class Fold:
    """A fold under way, owned by whoever folds.

    Attributes are those of `State`; `live` is a set here. After `freeze` the fold must not be used any more.
    """

    def __init__(self, state: State | None = None) -> None:
        start = state or State()
        self.head = start.head
        self.created = start.created
        self.edits = dict(start.edits)
        self.live = set(start.live)
        self.steps = list(start.steps)
        self.times = list(start.times)
        self.tags = dict(start.tags)
        self.hyperparameters = start.hyperparameters
        self.records: dict[type[Body], list[Recorded[Any]]] = {kind: list(all_) for kind, all_ in start.records.items()}
        self.tag_moves = list(start.tag_moves)
        self.budgets = dict(start.budgets)
        self.live_facts = dict(start.live_facts)
        self.erasures = dict(start.erasures)
        self.superseding = start.superseding
        self.trust = start.trust.copy()

    def freeze(self) -> State:
        """The state reached."""
        return State(
            head=self.head,
            created=self.created,
            edits=self.edits,
            live=tuple(sorted(self.live)),
            steps=tuple(self.steps),
            times=tuple(self.times),
            tags=self.tags,
            hyperparameters=self.hyperparameters,
            records={kind: tuple(kept) for kind, kept in self.records.items()},
            tag_moves=tuple(self.tag_moves),
            budgets=self.budgets,
            live_facts=self.live_facts,
            erasures=self.erasures,
            superseding=self.superseding,
            trust=self.trust.freeze(),
        )

    @property
    def creation(self) -> LedgerCreated:
        """The first event's body.

        Raises:
            Refused: there is none yet.
        """
        if self.created is None:
            raise Refused("a ledger starts with its creation")
        return self.created

    @property
    def next_number(self) -> int:
        """The number that the next edit gets."""
        return len(self.edits) + 1

    def version_of(self, live: Iterable[int]) -> str:
        """See `State.version_of`."""
        return version_of(self.created, self.edits, live)

    def keep(self, body: Body) -> None:
        """Keep what the event at the head says among the records of its kind."""
        self.records.setdefault(type(body), []).append(Recorded(self.head.seq, body))

    def recorded(self, kind: type[B]) -> list[Recorded[B]]:
        """See `State.recorded`."""
        return self.records.get(kind, [])

    def move(self, added: tuple[int, ...], removed: tuple[int, ...]) -> None:
        """Put a step of the live set on record, made by the event at the head."""
        self.steps.append(Step(self.head.seq, added, removed))

    def move_tag(self, tag: str, body: VersionTagged | None) -> None:
        """Set a tag, or remove it where `body` is None, by the event at the head."""
        if body is None:
            self.tags.pop(tag, None)
        else:
            self.tags[tag] = body
        self.tag_moves.append(TagMove(self.head.seq, tag, body))

    def close(self, number: int, status: EditStatus) -> None:
        """Let an edit leave the live set, because of the event at the head."""
        self.live.discard(number)
        record = self.edits.get(number)
        if record is not None:
            self.edits[number] = record._replace(status=status, closed_by=self.head.seq)
            if self.live_facts.get(record.key) == number:
                del self.live_facts[record.key]
