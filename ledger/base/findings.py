"""Findings: what `verify` has to say, what that means, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

NOTHING = "nothing"
"""The remedy of what needs none."""


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Something is damaged, missing or contradicts the rules."""
    NOTE = "note"
    """Nothing is lost: a crash left something behind, and it will be tidied up."""


class Trouble(Enum):
    """Sorts of findings: a name, what it means, and what to do."""

    FILE = (
        "file",
        "the database file is not what was last written: a disk failed, or somebody changed it by other means",
        "restore it from another copy: `errata fsck --from COPY`",
    )
    SEAL = (
        "seal",
        "there is no record of which bytes the database file should have; the events themselves are checked one by one",
        "if all else is sound, write a new seal: `errata verify --reseal`",
    )
    LOST = (
        "lost events",
        "events that were recorded are gone, and with them what they say of the model",
        "restore the log from another copy: `errata fsck --from COPY`; what was lost is in no other place here",
    )
    EVENT = (
        "event",
        "an event is not what was recorded: its bytes, its hash or its place in the chain were changed",
        "do not trust what follows it; restore the log from another copy, and ask who can write to this folder",
    )
    RULE = (
        "rule",
        "the rules and the policy then in force do not allow this event: it was not written by Errata",
        "treat it as forged: restore the log from another copy, and hold that against a pinned checkpoint",
    )
    SIGNATURE = (
        "signature",
        "somebody claims to have signed what the key that is named did not sign",
        "treat what it is under as forged; restore from another copy, and revoke the key if its owner may have lost it",
    )
    BLOB = (
        "blob",
        "what an event refers to, such as an edit's factors, is missing or damaged: versions with it cannot be built",
        "restore it from another copy: `errata fsck --from COPY`",
    )
    FACTORS = (
        "factors",
        "an edit's factors are whole but not those that were recorded with it: it would do something else to the model",
        "restore log and blobs from another copy: `errata fsck --from COPY`",
    )
    STATE = (
        "state",
        "what commands see as the ledger's state is not what its log says",
        "open the ledger again; if that does not help, this is a fault of Errata's: please report it",
    )
    MODEL = (
        "model",
        "the base model's files or the weights of a tagged version are not what was recorded",
        "name the right base model (`--base`); if it is the right one, its files were changed since",
    )
    CACHE = (
        "cache",
        "a file of the caches claims to be what the log makes and is not: a disk failed, or somebody wrote it; nothing"
        " is recorded or built from it, but commands that only show may have shown what it says",
        "`errata gc --caches` deletes it; ask who can write to this folder",
    )
    CHECKPOINT = (
        "checkpoint",
        "the log does not continue what was pinned: it was cut off or rewritten, or is another log",
        "the checkpoint is right if you trust who signed it; restore a copy of the log that continues it",
    )
    ERASED = (
        "erased",
        "something of an erased fact is still here: erasing was interrupted, or somebody brought it back from a copy",
        "`errata gc` deletes it",
    )
    SEALED = (
        "sealed",
        "the log is whole, but here nobody can read a personal fact, and it cannot be edited again or evaluated",
        "bring its key into .errata/vault from a copy, or erase the fact: `errata erase`",
    )
    GONE = (
        "gone",
        "a tag names a version with a fact that was erased: nobody can build it any more, which is what was asked for",
        "untag it, or tag the version without the fact",
    )
    LEFTOVER = (
        "leftover",
        "an interrupted command left it behind; nothing refers to it",
        "nothing; `errata gc` drops what is old enough",
    )
    HEALS = ("heals", "an append was interrupted after it was safe; the next one writes it again", NOTHING)
    UNCHECKED = ("unchecked", "it could not be checked, because something else is wrong", "mend that first")
    PINNED = ("pinned", "a checkpoint from before agrees with the log", NOTHING)

    def __init__(self, sort: str, meaning: str, remedy: str) -> None:
        self.sort = sort
        self.meaning = meaning
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: how bad, where, what, and of which sort."""

    severity: Severity
    where: str
    what: str
    trouble: Trouble

    def to_json(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return {
            "severity": self.severity.value,
            "where": self.where,
            "what": self.what,
            "sort": self.trouble.sort,
            "meaning": self.trouble.meaning,
            "remedy": self.trouble.remedy,
        }


def damage(where: str, what: str, trouble: Trouble) -> Finding:
    """A finding of severity error."""
    return Finding(Severity.ERROR, where, what, trouble)


def note(where: str, what: str, trouble: Trouble) -> Finding:
    """A finding of severity note."""
    return Finding(Severity.NOTE, where, what, trouble)


def troubles(findings: Iterable[Finding]) -> list[Trouble]:
    """The sorts of findings that there are, each once, in the order in which they came."""
    return list(dict.fromkeys(finding.trouble for finding in findings))
