"""Findings: what `verify` has to say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Something is damaged, missing or contradicts the rules."""
    NOTE = "note"
    """Nothing is lost: a crash left something behind, and it will be tidied up."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: how bad, where, and what."""

    severity: Severity
    where: str
    what: str

    def to_json(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return {"severity": self.severity.value, "where": self.where, "what": self.what}


def damage(where: str, what: str) -> Finding:
    """A finding of severity error."""
    return Finding(Severity.ERROR, where, what)


def note(where: str, what: str) -> Finding:
    """A finding of severity note."""
    return Finding(Severity.NOTE, where, what)
