"""What the edge hands in: clock, identifiers, actor, device and meter. Nothing below looks for them itself."""

from __future__ import annotations

from dataclasses import dataclass

from errata.editor.pipeline import Meter
from errata.replay.record.writer import Acting


@dataclass(frozen=True, kw_only=True)
class Surroundings(Acting):
    """Everything that is not a function of the arguments: who acts, and what work with the model needs besides.

    Attributes:
        device: where models run, as torch names it.
        meter: seconds and peak memory.
        software: name and version of what took part.
    """

    device: str
    meter: Meter
    software: dict[str, str]
