"""Where a ledger keeps what can be made again, and what a killed run leaves behind: for `errata gc`.

Nothing heavy is imported here, so that collecting needs no model.
"""

from __future__ import annotations

from errata.ledger.care.gc import Places
from errata.ledger.store.snapshot import FOLDER as SNAPSHOTS

FOLDERS = ("keyframes", "factors", SNAPSHOTS)
"""Folders of `.errata/cache` whose files can all be made again (`versions.keyframes`, `workflow.factor_cache`)."""

SCRATCH = ("bisect", "checkouts")
"""Folders of `.errata/cache` in which each entry belongs to one run, and to nobody once that run is gone."""

UNFINISHED = ".writing-"
"""How the names of cache files start that were not finished."""

CHECKOUT, BISECT = "checkout-", "bisect-"
"""How the names of folders in `SCRATCH` start that are held by whoever fills them (`ledger.base.held`)."""

PILOT, COMPARE = "errata-pilot-", "errata-compare-"
"""How the names of folders start, among the system's temporary ones, in which ledgers to throw away are made."""

PLACES = Places(
    caches=FOLDERS, scratch=SCRATCH, unfinished=(UNFINISHED,), held=(CHECKOUT, BISECT), temporary=(PILOT, COMPARE)
)
"""What `ledger.care.gc` has to know of the caches."""
