"""A bisection's session on disk, `.errata/bisect.json`: written whole or not at all, read in every version of its form.

Form 3 is what is written. Form 2, of earlier releases, had both ends, no words of its own, all steps in log order, and
a flat list of observations.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from errata.ledger.base.errors import Damaged, ErrataError, UsageError
from errata.ledger.base.files import storage_error, try_lock, write_durably
from errata.ledger.base.records import Record, describe
from errata.ledger.events.bodies import StepOutcome
from errata.replay.bisect.scope import Filters, check_order
from errata.replay.bisect.session import End, Session, Terms
from errata.replay.search.noise import Noise
from errata.replay.search.terms import Observation, Purpose

FILE = "bisect.json"
LOCK = "bisect-session.lock"


class BisectionRunning(ErrataError):
    """Another process runs a bisection in this ledger, or is changing its session."""

    exit_code = 3

    def __init__(self) -> None:
        super().__init__("another process runs a bisection in this ledger; wait for it, or stop it")


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Be the only one to change the session: for a mark as long as it takes, for a run as long as it lasts.

    Args:
        cache: the ledger's cache folder.

    Raises:
        BisectionRunning: another process is at it. The kernel ends its hold when it dies.
        StorageFailed: the folder cannot be written to.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(cache / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(cache / LOCK, error) from error
    try:
        if not try_lock(descriptor):
            raise BisectionRunning
        yield
    finally:
        os.close(descriptor)


class _StoredEnd(Record):
    address: str
    live: tuple[int, ...]


class _StoredObservation(Record):
    version: str
    purpose: Annotated[Purpose, Field(strict=False)]
    position: int | None
    outcome: Annotated[StepOutcome, Field(strict=False)]
    score: float | None
    oracle: str


class _StoredTerms(Record):
    good: str
    bad: str


class _StoredFilters(Record):
    subjects: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    authors: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None


class _StoredNoise(Record):
    confidence: float
    calibration: int
    limit: int
    move: float


class _Form2(Record):
    schema_version: Literal[2]
    good: _StoredEnd
    bad: _StoredEnd
    tested: tuple[_StoredObservation, ...]


class _Form3(Record):
    schema_version: Literal[3]
    good: _StoredEnd | None
    bad: _StoredEnd | None
    terms: _StoredTerms
    filters: _StoredFilters
    edits: tuple[int, ...] | None
    order: str
    began: int
    noise: _StoredNoise | None
    seconds: dict[str, float]
    tested: tuple[tuple[_StoredObservation, ...], ...]


_ANY_FORM: TypeAdapter[_Form2 | _Form3] = TypeAdapter(Annotated[_Form2 | _Form3, Field(discriminator="schema_version")])


def load(folder: Path) -> Session | None:
    """The session of a ledger folder, or None when none is under way.

    Raises:
        Damaged: its file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        stored = _ANY_FORM.validate_json(path.read_bytes())
        return _of_form_2(stored) if isinstance(stored, _Form2) else _of_form_3(stored)
    except (OSError, ValidationError, UsageError) as error:
        reason = describe(error) if isinstance(error, ValidationError) else str(error)
        raise Damaged(f"{path} cannot be read ({reason}); `errata bisect reset` clears it") from None


def save(folder: Path, session: Session) -> None:
    """Write the session, whole or not at all.

    Raises:
        StorageFailed: the file cannot be written; what it held stands.
    """
    noise = session.noise
    stored = _Form3(
        schema_version=3,
        good=_kept(session.good),
        bad=_kept(session.bad),
        terms=_StoredTerms(good=session.terms.good, bad=session.terms.bad),
        filters=_StoredFilters(**vars(session.filters)),
        edits=session.edits,
        order=session.order,
        began=session.began,
        noise=None if noise is None else _StoredNoise(**vars(noise)),
        seconds=dict(session.seconds),
        tested=tuple(tuple(_StoredObservation(**vars(one)) for one in together) for together in session.said),
    )
    write_durably(folder / FILE, json.dumps(stored.plain(), indent=1).encode() + b"\n")


def reset(folder: Path) -> bool:
    """Forget the session; returns whether there was one."""
    path = folder / FILE
    existed = path.is_file()
    path.unlink(missing_ok=True)
    return existed


def _of_form_2(stored: _Form2) -> Session:
    return Session(_end(stored.good), _end(stored.bad), said=tuple((_observation(one),) for one in stored.tested))


def _of_form_3(stored: _Form3) -> Session:
    return Session(
        good=_end(stored.good),
        bad=_end(stored.bad),
        terms=Terms(stored.terms.good, stored.terms.bad),
        filters=Filters(**dict(stored.filters)),
        edits=stored.edits,
        order=check_order(stored.order),
        said=tuple(tuple(_observation(one) for one in together) for together in stored.tested),
        began=stored.began,
        noise=None if stored.noise is None else Noise(**dict(stored.noise)),
        seconds=stored.seconds,
    )


def _kept(end: End | None) -> _StoredEnd | None:
    return None if end is None else _StoredEnd(address=end.address, live=tuple(sorted(end.live)))


def _end(stored: _StoredEnd | None) -> End | None:
    return None if stored is None else End(stored.address, frozenset(stored.live))


def _observation(stored: _StoredObservation) -> Observation:
    return Observation(**dict(stored))
