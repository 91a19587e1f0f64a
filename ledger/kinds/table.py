"""The table of kinds, and what is asked of it; a new kind is one file in this room and one line here."""

from __future__ import annotations

from typing import Any

from errata.ledger.events.parts import Body
from errata.ledger.kinds import (
    access,
    bisections,
    checkouts,
    clocks,
    decisions,
    edits,
    evaluations,
    exports,
    merges,
    proposals,
    settings,
    tags,
)
from errata.ledger.kinds.spec import KindSpec

_SUBJECTS: tuple[tuple[KindSpec[Any], ...], ...] = (
    edits.KINDS,
    tags.KINDS,
    evaluations.KINDS,
    bisections.KINDS,
    checkouts.KINDS,
    settings.KINDS,
    merges.KINDS,
    access.KINDS,
    proposals.KINDS,
    decisions.KINDS,
    exports.KINDS,
    clocks.KINDS,
)

KINDS: dict[str, KindSpec[Any]] = {spec.name: spec for subject in _SUBJECTS for spec in subject}
"""Name -> kind."""

BODIES: dict[type[Body], KindSpec[Any]] = {spec.body: spec for spec in KINDS.values()}
"""Body -> kind."""


def spec_of(body: Body) -> KindSpec[Any]:
    """The kind of event that has this body."""
    return BODIES[type(body)]


def words_of(body: Body) -> str:
    """One line on what an event says, as the log shows it."""
    return spec_of(body).words(body)
