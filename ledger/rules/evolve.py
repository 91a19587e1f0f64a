"""From the events of a log to its state.

`evolve(state, event)` is the only way from one state to the next; `fold` is the same over many events, at the cost of
one copy. Nothing here refuses anything: rules are in `ledger.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable

from errata.ledger.events.bodies import EditApplied, EditSuperseded
from errata.ledger.events.envelope import NOBODY, Act, Event, Head
from errata.ledger.events.parts import Body
from errata.ledger.kinds.table import spec_of
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import State


def take(fold: Fold, head: Head, body: Body, act: Act = NOBODY) -> None:
    """Let one event take effect; `head` is the log's head after it, `act` who appended it and when."""
    fold.head = head
    fold.times.append(act.at)
    fold.trust.see(act.at)
    if not isinstance(body, EditSuperseded):
        fold.trust.follow(head.seq, body.number if isinstance(body, EditApplied) else None)
    spec_of(body).fold(fold, body, act)


def fold(events: Iterable[Event], state: State | None = None) -> State:
    """The state after these events; `evolve` repeated, at the cost of one copy of the state."""
    running = Fold(state)
    for event in events:
        take(running, event.head, event.body, event.act)
    return running.freeze()


def evolve(state: State, event: Event) -> State:
    """The state after one more event; `state` itself stays as it is."""
    return fold((event,), state)
