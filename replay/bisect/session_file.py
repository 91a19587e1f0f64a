"""A bisection's session on disk, `.errata/bisect.json`: written whole or not at all, read in every version of its form.

Form 3 is `Session` itself. Form 2, of earlier releases, had both ends, the usual terms, all steps in the log's order,
and a flat list of observations.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from errata.ledger.base.errors import Damaged, ErrataError, UsageError
from errata.ledger.base.files import storage_error, try_lock, write_durably
from errata.ledger.base.json_files import json_value
from errata.ledger.base.records import describe
from errata.replay.bisect.session import Session

FILE = "bisect.json"
SESSION_LOCK, SCRATCH_LOCK = "bisect-session.lock", "bisect.lock"


class BisectionRunning(ErrataError):
    """Another process runs a bisection in this ledger, or is changing its session."""

    exit_code = 3

    def __init__(self) -> None:
        super().__init__("another process runs a bisection in this ledger; wait for it, or stop it")


@contextmanager
def alone(cache: Path, lock: str = SESSION_LOCK) -> Iterator[None]:
    """Be the only one to change the session: for a mark as long as it takes, for a run as long as it lasts.

    Args:
        cache: the ledger's cache folder.
        lock: the lock file's name there; `SCRATCH_LOCK` for the folder that a run's checkouts are made in.

    Raises:
        BisectionRunning: another process holds it. The kernel ends its hold when it dies.
        StorageFailed: the folder cannot be written to.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(cache / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(cache / lock, error) from error
    try:
        if not try_lock(descriptor):
            raise BisectionRunning
        yield
    finally:
        os.close(descriptor)


def load(folder: Path) -> Session | None:
    """The session of a ledger folder, or None when none is under way.

    Raises:
        Damaged: its file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        data = path.read_bytes()
        stored = json_value(data)
        if isinstance(stored, dict) and stored.get("schema_version") == 2:
            said = [[one] for one in stored.get("tested", ())]
            data = json.dumps(stored | {"schema_version": 3, "tested": said}).encode()
        return Session.model_validate_json(data)
    except (OSError, ValueError, UsageError) as error:
        reason = describe(error) if isinstance(error, ValidationError) else str(error)
        raise Damaged(f"{path} cannot be read ({reason}); `errata bisect reset` clears it") from None


def save(folder: Path, session: Session) -> None:
    """Write the session, whole or not at all.

    Raises:
        StorageFailed: the file cannot be written; what it held stands.
    """
    stored = session.model_dump(mode="json", by_alias=True)
    write_durably(folder / FILE, json.dumps(stored, indent=1).encode() + b"\n")


def reset(folder: Path) -> bool:
    """Forget the session; returns whether there was one."""
    path = folder / FILE
    existed = path.is_file()
    path.unlink(missing_ok=True)
    return existed
