"""What callers may pass: paths, facts and suites in several forms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from errata.ledger.base.errors import BadRecord, UsageError
from errata.ledger.facts.fact import Fact
from errata.ledger.facts.fact_files import fact_from, good_facts, read_facts
from errata.ledger.facts.joining import without_trailing_spaces
from errata.ledger.facts.suites import Suite, read_suite

File = str | PathLike[str]
"""A path."""

Facts = File | Fact | Mapping[str, Any] | Iterable[Fact | Mapping[str, Any]]
"""A file of facts, or one or several facts, each a `Fact` or a record as in a file."""

Edit = str | int
"""An edit's address."""


def path_of(file: File | None) -> Path | None:
    """The path, if there is one."""
    return None if file is None else Path(file)


def suite_of(given: Suite | File) -> Suite:
    """The suite, read from its file if it is one.

    Raises:
        BadRecord: the file is not what it must be.
    """
    return read_suite(Path(given)) if isinstance(given, (str, PathLike)) else given


def facts_of(
    given: Facts | None,
    single: Mapping[str, Any] | None = None,
    personal: bool = False,
    left_out: list[BadRecord] | None = None,
) -> list[Fact]:
    """The facts that are given, or the one that keywords name.

    Args:
        given: a file, or one or several facts.
        single: the fields of one fact.
        personal: whether they are about persons.
        left_out: gets what is wrong with each bad record of several, which is then left out (`parse_facts`).

    Raises:
        UsageError: neither or both are there.
        BadRecord, BadRecords: one or several of them are not what they must be.
    """
    if given is None:
        if not single or not {"subject", "prompt", "target"} <= single.keys():
            raise UsageError("an edit needs subject, prompt and target, or facts")
        found = [fact_from(single)]
    elif single:
        raise UsageError("facts bring their own; give either them or subject, prompt and target")
    elif isinstance(given, (str, PathLike)):
        found = read_facts(Path(given), left_out)
    else:
        several = [given] if isinstance(given, (Fact, Mapping)) else list(given)
        if odd := [one for one in several if not isinstance(one, (Fact, Mapping))]:
            raise UsageError(f"{odd[0]!r} is not a fact: give a Fact, or a mapping with subject, prompt and target")
        records = ((f"record {number}", one) for number, one in enumerate(several, 1))
        found = good_facts(records, "these facts", left_out) if several else []
    found = [without_trailing_spaces(fact) for fact in found]
    return [fact.model_copy(update={"personal": True}) for fact in found] if personal else found


def texts(edits: Iterable[Edit]) -> list[str]:
    """Addresses of edits as a command line gives them."""
    return [str(edit) for edit in edits]
