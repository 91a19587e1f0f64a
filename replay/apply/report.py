"""What became of a batch of facts."""

from __future__ import annotations

from dataclasses import dataclass

from errata.editor.config import EditConfig
from errata.editor.pipeline import Edit, NoOp
from errata.ledger.events import bodies
from errata.ledger.facts.fact import Fact


@dataclass(frozen=True)
class Unwritten:
    """A fact that could not be written: the tries, in order, each with the edit that did not work.

    Attributes:
        fact: the fact.
        tries: settings, and what they gave.
    """

    fact: Fact
    tries: tuple[tuple[EditConfig, Edit], ...]


@dataclass(frozen=True)
class BatchReport:
    """What became of a batch's facts.

    Attributes:
        recorded: the edits, as they stand in the log; empty on a dry run.
        edits: the same edits with everything the editor found out.
        no_ops: facts that the model said already.
        taken_back: numbers of edits that were reverted because the model without them says the new target.
        left_out: facts whose edits did not work with any settings, and are not in the weights.
        seconds: time of the batch, and of its stage 1.
        again: whether these are facts that held after an earlier batch and that later ones made the model forget.
        lost: in the last report after several batches, facts that held after theirs and not at the end.
    """

    recorded: tuple[bodies.EditApplied, ...]
    edits: tuple[Edit, ...]
    no_ops: tuple[NoOp, ...]
    taken_back: tuple[int, ...]
    left_out: tuple[Unwritten, ...]
    seconds: float
    stage1_seconds: float
    again: bool = False
    lost: tuple[Fact, ...] = ()

    @property
    def failed(self) -> tuple[Fact, ...]:
        """Facts that the model does not say afterwards."""
        kept = (item.fact for item in self.edits if not item.outcome.efficacy)
        return (*kept, *(one.fact for one in self.left_out), *self.lost)


NOTHING = BatchReport((), (), (), (), (), 0.0, 0.0)
"""The report of a batch that has not begun."""


def added(left: BatchReport, right: BatchReport) -> BatchReport:
    """Two reports of one batch as one; what either left out is the caller's to say."""
    return BatchReport(
        left.recorded + right.recorded,
        left.edits + right.edits,
        left.no_ops + right.no_ops,
        left.taken_back + right.taken_back,
        (),
        left.seconds + right.seconds,
        left.stage1_seconds + right.stage1_seconds,
    )
