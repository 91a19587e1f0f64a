"""A trial: the ledger as it would go on, in memory. Its events are nobody's."""

from __future__ import annotations

from collections.abc import Callable

from errata.ledger.base.errors import HeadConflict
from errata.ledger.base.signing import SignerSource
from errata.ledger.events.envelope import Draft, Event, Head
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.ledger import Ledger
from errata.ledger.rules.decide import decide
from errata.ledger.rules.operations import Command
from errata.ledger.store.blobs import OverlaidBlobs
from errata.ledger.store.store import MemoryStore
from errata.replay.workflow.workspace import Workspace

SHARED = ("files", "loaded", "second_moments")
"""What a workspace has read of the base model, which a trial can use as it is."""


class TrialLedger(Ledger):
    """A ledger's log continued in memory, where the policy is not asked: whether it may be recorded is seen later.

    Args:
        ledger: what it begins as; nothing is ever written to its log.
        keep_blobs: whether blobs go to the ledger's own, since what was tried may be recorded; else they stay in
            memory.
    """

    def __init__(self, ledger: Ledger, keep_blobs: bool = True) -> None:
        blobs = ledger.blobs if keep_blobs else OverlaidBlobs(ledger.blobs)
        super().__init__(ledger.folder, MemoryStore(ledger.store.raw()), blobs)

    def foresee(
        self,
        sort: ActionSort | None,
        capability: Capability,
        *,
        actor: str,
        now: str,
        signer: SignerSource | None = None,
    ) -> None:
        """Anything can be tried."""

    def execute(
        self,
        command: Command,
        *,
        actor: str,
        now: str,
        new_id: Callable[[], str],
        expected_head: Head | None = None,
        signer: SignerSource | None = None,
    ) -> list[Event]:
        """As `Ledger.execute`, without asking the policy and without a signature."""
        state = self.state()
        if expected_head is not None and expected_head != state.head:
            raise HeadConflict(expected_head, state.head)
        drafts = [
            Draft.checked(event_id=new_id(), body=body, actor=actor, recorded_at=now)
            for body in decide(state, command, None)
        ]
        return self.store.append(drafts, state.head)


def trial_of(workspace: Workspace, keep_blobs: bool = True) -> Workspace:
    """A workspace in which anything can be tried; the model that was loaded is used again."""
    trial = Workspace(TrialLedger(workspace.ledger, keep_blobs), workspace.surroundings, workspace.base)
    for name in SHARED:
        if name in workspace.__dict__:
            trial.__dict__[name] = workspace.__dict__[name]
    return trial
