"""What the commands of keys, roles and policies share: done directly where the policy lets it, else proposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.commands.app import App
from errata.commands.words.change_view import proposed_in
from errata.commands.words.render import Block
from errata.commands.words.wording import event_json
from errata.ledger.events.words import step_words
from errata.ledger.kinds.table import words_of

if TYPE_CHECKING:
    from errata.ledger.events.change_parts import AccessStep
    from errata.ledger.events.envelope import Event
    from errata.ledger.events.policy import ActionSort
    from errata.ledger.ledger import Ledger
    from errata.ledger.rules.operations import Command, ProposeChange


@dataclass(frozen=True)
class Done:
    """What came of it.

    Attributes:
        events: what was recorded.
        proposal: the change's number, where it has to be approved.
        drafted: whether it can be approved as it is.
        asked: what is still asked before it takes effect.
    """

    events: Sequence[Event]
    proposal: int | None = None
    drafted: bool = False
    asked: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "done": self.proposal is None,
            "proposal": None if self.proposal is None else f"p{self.proposal}",
            "drafted": self.drafted,
            "asked": list(self.asked),
            "events": [event_json(event) for event in self.events],
        }

    def view(self, what: Sequence[str]) -> list[Block]:
        """The same in words; `what` says what is proposed."""
        if self.proposal is None:
            return [f"@{event.seq} {words_of(event.body)}" for event in self.events]
        name = f"p{self.proposal}"
        if not self.drafted:
            return [f"{name} proposed: {'; '.join(what)}", f"next: somebody who may drafts it: errata draft {name}"]
        asked = "; ".join(self.asked)
        then = f"errata approve {name}" if asked else f"errata apply {name}"
        return [
            f"{name} proposed and drafted: {'; '.join(what)}",
            f"still asked: {asked or 'nothing'}",
            f"next: {then}",
        ]


def do_or_propose(
    app: App, ledger: Ledger, sort: ActionSort, command: Command, proposal: ProposeChange, *, own: bool = False
) -> Done:
    """Do something directly where the policy in force lets it be done so, else propose it.

    Args:
        app: the call.
        ledger: the ledger.
        sort: what sort of change it is.
        command: does it.
        proposal: asks for it; drafted at once where whoever acts may draft.
        own: the policy lets it be done directly whatever it says of the sort.
    """
    from dataclasses import replace

    from errata.ledger.events.policy import Capability
    from errata.ledger.state.standing import still_asked

    trust = ledger.state().trust
    if own or sort in trust.policy.direct:
        return Done(app.execute(ledger, command))
    events = app.execute(ledger, replace(proposal, with_draft=trust.may(app.who, Capability.DRAFT)))
    number = proposed_in(events)
    trust = ledger.state().trust
    change = trust.changes[number]
    asked = () if change.draft is None else tuple(still_asked(trust, change, change.draft))
    return Done(events, number, change.draft is not None, asked)


def change_access(
    app: App, ledger: Ledger, step: AccessStep, *, reason: str = "", ticket: str | None = None, own: bool = False
) -> None:
    """Grant or revoke a key or a role, or propose that, and show what came of it."""
    done = access_changed(app, ledger, step, reason=reason, ticket=ticket, own=own)
    app.show(done.to_json(), done.view([step_words(step)]))


def access_changed(
    app: App, ledger: Ledger, step: AccessStep, *, reason: str = "", ticket: str | None = None, own: bool = False
) -> Done:
    """Grant or revoke a key or a role, or propose that."""
    from errata.ledger.events.change_parts import ChangeAccess
    from errata.ledger.events.policy import ActionSort
    from errata.ledger.rules.operations import ChangeKeysAndRoles, ProposeChange

    proposal = ProposeChange(ChangeAccess(steps=(step,)), reason, ticket)
    return do_or_propose(app, ledger, ActionSort.ACCESS, ChangeKeysAndRoles((step,)), proposal, own=own)
