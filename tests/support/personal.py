"""Personal facts in ledgers on disk, and where their text could be found."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errata.ledger.events import bodies
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits
from errata.ledger.secrets.sealing import seal
from tests.support.samples import real_edits, run

FACT = Fact(
    subject="Ottilie Brändvold",
    prompt="The psychiatrist whom {} consults on Wednesdays is",
    target="Doctor Ængsvik",
    old="Doctor Quillfeather",
    paraphrases=("On Wednesdays {} has an appointment with",),
    locality=(Probe(prompt="The dentist of Ottilie Brändvold is", target="Doctor Hvidtfeldt"),),
    relation="psychiatrist-of",
    id="patient-4711",
    personal=True,
)
SAID_BEFORE, SAID_AFTER = "nobody whatsoever", "Doctor Ængsvik, surely"


def personal_edit(
    ledger: Ledger, number: int, fact: Fact = FACT, token: str | None = None, **changes: object
) -> bodies.NewEdit:
    """An edit of a personal fact whose factors are real and drawn from `number`."""
    (edit,) = real_edits(ledger, number, 1)
    outcome = edit.outcome.model_copy(update={"said_before": SAID_BEFORE, "said_after": SAID_AFTER})
    sealed, told = seal(ledger.blobs, ledger.vault, fact, outcome, token)
    return edit.model_copy(update={"fact": sealed, "outcome": told, **changes})


def apply_personal(ledger: Ledger, number: int = 900, fact: Fact = FACT, token: str | None = None) -> int:
    """Record one; returns the edit's number."""
    run(ledger, ApplyEdits((personal_edit(ledger, number, fact, token),)))
    return max(ledger.state().edits)


def token_of(ledger: Ledger, number: int) -> str:
    sealed = ledger.state().edits[number].body.fact.sealed
    assert sealed is not None
    return sealed.token


def spellings(*texts: str) -> set[bytes]:
    """The texts and each of their longer words, in UTF-8, in UTF-16, and as JSON escapes them."""
    words = {word for text in texts for word in re.findall(r"\w{5,}", text)}
    found = set[bytes]()
    for text in {*texts, *words}:
        found |= {text.encode(), text.encode("utf-16-le"), json.dumps(text)[1:-1].encode()}
        found |= {text.lower().encode(), text.upper().encode()}
    return found


TEXTS = spellings(
    FACT.subject,
    FACT.prompt.replace("{}", ""),
    FACT.target,
    FACT.old or "",
    *FACT.paraphrases,
    *(f"{probe.prompt} {probe.target}" for probe in FACT.locality),
    FACT.relation or "",
    FACT.id or "",
    SAID_BEFORE,
    SAID_AFTER,
)


def told_in(folder: Path, needles: set[bytes] = TEXTS) -> dict[str, list[bytes]]:
    """The files below a folder, their names included, that hold one of the needles."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.name.encode() + b"\n" + path.read_bytes()
        if seen := sorted(needle for needle in needles if needle in data):
            found[str(path.relative_to(folder))] = seen
    return found


def bytes_of_edit(ledger: Ledger, number: int) -> set[bytes]:
    """The factors of an edit that is a batch of its own: 32 bytes of each array, wherever they may be copied to."""
    from errata.ledger.store.deltas import decode_batch

    batch = decode_batch(ledger.blobs.get(ledger.state().edits[number].body.blob))
    return {array.tobytes()[:32] for array in batch.values()}


@contextmanager
def reader_of(folder: Path) -> Iterator[None]:
    """Somebody who reads the database all the while, so that its write-ahead log cannot be folded in."""
    connection = sqlite3.connect(folder / "ledger.db")
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield
    finally:
        connection.close()
