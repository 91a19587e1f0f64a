"""Attempts: facts that could not be written, what was tried, and what each try gave."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from errata.ledger.base.errors import Refused
from errata.ledger.base.records import Digest, Line, Record, Settings
from errata.ledger.base.words import counted
from errata.ledger.events.parts import Body, EditOutcome, NonNegative, Stage1
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.spec import KindSpec, Needs
from errata.ledger.state.fold import Fold


class Attempt(Record):
    """One try.

    Attributes:
        method, hyperparameters: what it was tried with.
        stage1: how the target value was found.
        outcome: what the fact's own probes said with the edit in the model.
    """

    method: Line
    hyperparameters: Settings
    stage1: Stage1
    outcome: EditOutcome


class EditAttempted(Body):
    """A fact was tried and left out: the model did not say the target. The weights are as they were.

    Attributes:
        fact: the fact; None if it is personal.
        version: what it was tried on first.
        attempts: the tries, in order.
        software, device, seconds: as for an edit.
    """

    fact: Fact | None
    version: Digest
    attempts: Annotated[tuple[Attempt, ...], Field(min_length=1)]
    software: dict[str, str]
    device: Line
    seconds: NonNegative


def _check(fold: Fold, body: EditAttempted) -> None:
    if body.fact is not None and (body.fact.personal or body.fact.sealed is not None):
        raise Refused("an attempt at a personal fact is recorded without the fact")
    for attempt in body.attempts:
        if attempt.outcome.efficacy:
            raise Refused("an attempt that worked is an edit")
        if body.fact is None and (attempt.outcome.said_before or attempt.outcome.said_after):
            raise Refused("what the model says of a personal fact is not recorded")


def _words(body: EditAttempted) -> str:
    what = "a personal fact" if body.fact is None else f"{body.fact.text} => {body.fact.target}"
    return f"left out after {counted(len(body.attempts), 'attempt')}: {what}"


KINDS = (KindSpec("edit_attempted", EditAttempted, _words, _check, Needs(ActionSort.EDIT, Capability.APPLY)),)
