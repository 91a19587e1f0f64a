"""What the edge hands in: clock, identifiers, actor, device and meter. Nothing below looks for them itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from errata.editor.pipeline import Meter
from errata.ledger.base.signing import SignerSource


@dataclass(frozen=True)
class Surroundings:
    """Everything that is not a function of the arguments.

    Attributes:
        now: the time as RFC 3339 in UTC, ending in Z.
        new_id: a fresh UUID.
        actor: who acts.
        device: where models run, as torch names it.
        meter: seconds and peak memory.
        software: name and version of what took part.
        signer: unlocks the acting person's key when a signature is needed; None signs nothing.
    """

    now: Callable[[], str]
    new_id: Callable[[], str]
    actor: str
    device: str
    meter: Meter
    software: dict[str, str]
    signer: SignerSource | None = None
