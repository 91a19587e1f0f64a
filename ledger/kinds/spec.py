"""What is to be said of a kind of event: one `KindSpec` a kind, and `ledger.kinds.table` lists them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from errata.ledger.events.envelope import Act
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.state.fold import Fold

B = TypeVar("B", bound=Body)

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""From a body of one schema version to the next version's."""


class Needs(NamedTuple):
    """What it takes to append an event directly: its sort of change, if it is one, and what its actor may do."""

    sort: ActionSort | None
    capability: Capability


RECORD = Needs(None, Capability.RECORD)
"""What it takes to record what was found out."""


def keep(fold: Fold, body: Body, act: Act) -> None:
    """Keep the body among the records of its kind: all that an event does that moves nothing."""
    fold.keep(body)


@dataclass(frozen=True)
class KindSpec(Generic[B]):
    """A kind of event.

    Attributes:
        name: what the log calls it.
        body: what such an event says.
        words: one line on an event, as the log shows it.
        check: raises what is wrong with an event at this place of the log, whoever appends it.
        needs: what it takes to append one directly; None for steps in a change's life, and for the first event.
        step: for steps in a change's life, raises what is wrong with it, given who takes it and when.
        fold: lets an event take effect.
        version: the newest schema version.
        upcasters: older version -> from a body of it to one of the next. A body changes by a new version and an
            upcaster from the one before, never in place: bodies are hashed.
    """

    name: str
    body: type[B]
    words: Callable[[B], str]
    check: Callable[[Fold, B], None] | None = None
    needs: Needs | None = None
    step: Callable[[Fold, B, Act], None] | None = None
    fold: Callable[[Fold, B, Act], None] = keep
    version: int = 1
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict)
