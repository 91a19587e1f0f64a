"""The only way to a ledger's log: who writes, and what is written in one step without the model.

Each write asks `ledger.rules.decide` for events through `Ledger.execute`, guarded by the head that the work was based
on: whoever was slower gets a HeadConflict and has changed nothing. Nothing here loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from errata.editor.config import EditConfig
from errata.ledger.base.errors import ErrataError, HeadConflict
from errata.ledger.base.signing import SignerSource
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.kinds.bisections import BisectionConcluded
from errata.ledger.kinds.checkouts import VersionCheckedOut
from errata.ledger.kinds.clocks import ClockSet, first_ahead
from errata.ledger.kinds.settings import SettingsChanged, TuningEvidence
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import Command, RecordEvent, RevertEdits, UntagVersion
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import State

CHECKOUT_TRIES = 10
"""How often others may append first before the record of a checkout is given up."""


@dataclass(frozen=True, kw_only=True)
class Acting:
    """Who acts, as a ledger wants to know it.

    Attributes:
        now: the time as RFC 3339 in UTC, ending in Z.
        new_id: a fresh UUID.
        actor: who acts.
        signer: unlocks the acting person's key when a signature is needed; None signs nothing.
    """

    now: Callable[[], str]
    new_id: Callable[[], str]
    actor: str
    signer: SignerSource | None = None


class Writer:
    """A ledger and who writes to it.

    Args:
        ledger: an open ledger that has its first event.
        surroundings: clock, identifiers, actor and key.
    """

    def __init__(self, ledger: Ledger, surroundings: Acting) -> None:
        self.ledger = ledger
        self.surroundings = surroundings

    @property
    def state(self) -> State:
        """What the log says now."""
        return self.ledger.state()

    def execute(self, command: Command, based_on: State | None = None) -> list[Event]:
        """Decide on a command and append its events, guarded by the head of the state that it was based on."""
        expected = None if based_on is None else based_on.head
        return self.ledger.execute(command, expected_head=expected, **self.acting())

    def acting(self) -> dict[str, Any]:
        """Who acts, when and with which key, as `Ledger.execute` and `ledger.sharing` take it."""
        around = self.surroundings
        return {"actor": around.actor, "now": around.now(), "new_id": around.new_id, "signer": around.signer}

    def foresee(self, sort: ActionSort | None, capability: Capability) -> None:
        """See, before long work begins, that its result could be recorded (`Ledger.foresee`)."""
        around = self.surroundings
        self.ledger.foresee(sort, capability, actor=around.actor, now=around.now(), signer=around.signer)

    def unlock(self) -> None:
        """Open the acting person's key before long work begins, if the policy in force asks for signed events."""
        if self.surroundings.signer is not None and self.state.trust.policy.signed:
            self.surroundings.signer()

    def revert(self, numbers: Sequence[int], reason: str = "") -> list[Event]:
        """Take edits back, all in one transaction.

        Raises:
            Refused: if one of them is not live.
        """
        return self.execute(RevertEdits(tuple(numbers), reason))

    def untag(self, name: str) -> list[Event]:
        """Take a name from its version."""
        return self.execute(UntagVersion(name))

    def change_settings(self, config: EditConfig, reason: str, evidence: TuningEvidence | None = None) -> list[Event]:
        """Let the ledger's own hyperparameters be these from now on.

        Raises:
            Refused: for other layers than the ledger edits, or if nothing changes.
        """
        body = SettingsChanged(hyperparameters=config.to_record(), reason=reason, evidence=evidence)
        return self.execute(RecordEvent(body))

    def set_clock(self, reason: str) -> Event:
        """Record that the clock is right, and which event's was ahead (`ledger.kinds.clocks`).

        Raises:
            Refused: whoever acts may neither review, approve nor administer.
        """
        acting = self.acting()
        body = ClockSet(ahead=first_ahead(Fold(self.state), acting["now"]), reason=reason)
        return self.ledger.execute(RecordEvent(body), **acting)[-1]

    def conclude_bisection(self, body: BisectionConcluded) -> list[Event]:
        """Record a bisection's result."""
        return self.execute(RecordEvent(body))

    def record_checkout(self, body: VersionCheckedOut) -> int | ErrataError:
        """Record that a version was written out.

        The folder is there whole by now, and nothing takes it back, so an error is returned and not raised. What the
        body says stays true whatever else is appended meanwhile: a moved head only means to try again.

        Returns:
            The event's seq, or why it was not recorded.
        """
        why: ErrataError
        for _ in range(CHECKOUT_TRIES):
            try:
                return self.execute(RecordEvent(body))[-1].seq
            except HeadConflict as error:
                why = error
            except ErrataError as error:
                return error
        return why
