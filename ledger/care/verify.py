"""`verify`: re-derive everything that the ledger claims, and tell all that does not hold.

From the bytes up: the file against its seal, SQLite's own checks, each row's shape, canonical bytes, hashes and links,
ids, bodies, the rules (each event must be one that `decide` could have made), and the blobs that events refer to; with
`deep`, the digest and the grid bound of every edit's factors. Nothing is raised on damage, and nothing stops at the
first finding. The weights of tagged versions need the base model and are recomputed by `replay`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from errata.ledger.base.canonical import is_canonical, parse
from errata.ledger.base.collector import collector_resting
from errata.ledger.base.errors import ErrataError, FactSealed, LedgerDamaged, LedgerNotFound, StorageFailed
from errata.ledger.base.findings import Finding, Severity, Trouble, damage, note
from errata.ledger.drafts import edits_of, waiting
from errata.ledger.events.bodies import EditApplied, FactErased, LedgerCreated
from errata.ledger.events.change_parts import ChangePolicy, EditFacts
from errata.ledger.events.envelope import EMPTY_HEAD, Event, Head, StoredEvent, event_hash
from errata.ledger.events.trust_bodies import ChangeDrafted, ChangeProposed, PolicyChanged
from errata.ledger.facts.fact import Sealed
from errata.ledger.kinds.chain import unpack
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.kinds.settings import SettingsChanged, TuningEvidence
from errata.ledger.kinds.table import BODIES, KINDS
from errata.ledger.ledger import DATABASE, Ledger, own_folder
from errata.ledger.rules.evolve import fold
from errata.ledger.rules.log_check import LogCheck
from errata.ledger.secrets.erasing import leftovers
from errata.ledger.secrets.proposed import ENDS, FORGETTING, waiting_facts
from errata.ledger.secrets.sealing import unseal
from errata.ledger.state.state import State
from errata.ledger.store import snapshot
from errata.ledger.store.blobs import BlobStore, FolderBlobs
from errata.ledger.store.caches import CACHE
from errata.ledger.store.deltas import decode_batch
from errata.ledger.store.row_checks import faults
from errata.ledger.store.sqlite import SqliteStore
from errata.ledger.store.store import EventStore

__all__ = ["Examined", "Finding", "Severity", "examine", "is_sound", "verify"]


@dataclass(frozen=True)
class Examined:
    """What was found of a ledger as it was at one moment.

    Attributes:
        findings: everything that was found.
        rows: the log as it was then, as it is stored.
        state: the state that its readable events make.
    """

    findings: tuple[Finding, ...] = ()
    rows: tuple[StoredEvent, ...] = ()
    state: State = field(default_factory=State)


def verify(ledger: Ledger | Path, *, deep: bool = False) -> list[Finding]:
    """All findings on a ledger; an empty list, or notes only, means that it is sound.

    Args:
        ledger: the ledger, or its folder, which need not be one that can be opened.
        deep: also recompute the digests of all factors.
    """
    return list(examine(ledger, deep=deep).findings)


def examine(ledger: Ledger | Path, *, deep: bool = False) -> Examined:
    """Examine a ledger as it is at one moment: the log is read once, and others may go on writing meanwhile.

    Nothing that they write changes what is examined, but for an erasure, or a change that leaves a personal fact: these
    delete what the log named before, and then all begins again.

    Args:
        ledger: the ledger, or its folder, which need not be one that can be opened.
        deep: also recompute the digests of all factors.
    """
    if not isinstance(ledger, Ledger):
        try:
            root = own_folder(ledger)
        except LedgerNotFound:
            return Examined((damage(str(ledger), "no ledger here", Trouble.LOST),))
        except LedgerDamaged as error:
            return Examined((damage(error.where, error.what, Trouble.FILE),))
        except StorageFailed as error:
            return Examined((damage(str(ledger), error.message, Trouble.FILE),))
        ledger = Ledger(root, SqliteStore(root / DATABASE), FolderBlobs(root / "objects"))
    while True:
        with collector_resting():
            found = _examine_once(ledger, deep)
        if is_sound(found.findings) or not _forgotten_after(ledger.store, found.rows):
            return found


def _examine_once(ledger: Ledger, deep: bool) -> Examined:
    seen, unread = ledger.folded, None  # before the log is read, so that it is not ahead of it
    try:
        ledger.store.head()
    except ErrataError as error:
        unread = damage("ledger.db", error.message, Trouble.FILE)
    findings, rows, events = examine_log(ledger.store, ledger.blobs)
    state = fold(events)
    if is_sound(findings):
        findings += [unread] if unread is not None else _examine_state(ledger, seen, events, state)
        findings += _examine_drafts(ledger.blobs, state)
    findings += _examine_blobs(ledger.blobs, rows, events)
    findings += _examine_personal(ledger, state, deep)
    if deep:
        findings += _examine_factors(ledger.blobs, events)
    return Examined(tuple(findings), tuple(rows), state)


def _forgotten_after(store: EventStore, rows: Sequence[StoredEvent]) -> bool:
    """Whether something was recorded since these rows were read after which blobs of personal facts go."""
    if not rows:
        return False
    with suppress(ErrataError):
        return any(isinstance(event.body, (FactErased, *FORGETTING)) for event in store.read(rows[-1].seq))
    return False


def examine_log(store: EventStore, blobs: BlobStore) -> tuple[list[Finding], list[StoredEvent], list[Event]]:
    """All that is wrong with the log, from its bytes to the rules; its rows; and those events that can be read.

    Blobs are not looked at, but for whether there are any without a log.
    """
    try:
        findings, rows = store.audit()
    except (ErrataError, OSError) as error:
        findings, rows = [damage("ledger.db", str(error), Trouble.FILE)], []
    if not rows and not findings and next(iter(blobs.digests()), None) is not None:
        findings = [damage("ledger.db", "holds no events although there are blobs: the log is lost", Trouble.LOST)]
    events: list[Event] = []
    with collector_resting():
        findings += _examine_rows(rows, events)
        log = LogCheck()
        findings += [*log.examine(events), *log.examine_end()]
    return findings, rows, events


def is_sound(findings: Iterable[Finding]) -> bool:
    """Whether nothing is damaged: there are notes at most."""
    return all(finding.severity is Severity.NOTE for finding in findings)


def _examine_rows(rows: Sequence[StoredEvent], events: list[Event]) -> Iterator[Finding]:
    """Canonical bytes, hashes, links and ids; the events that can be parsed are added to `events`."""
    head, ids = EMPTY_HEAD, set[str]()
    for row in rows:
        where = f"event @{row.seq}"
        if row.seq != head.seq + 1:
            yield damage(where, f"follows @{head.seq}: events are missing or out of order", Trouble.EVENT)
        if row.event_id in ids:
            yield damage(where, f"its id {row.event_id} occurs twice", Trouble.EVENT)
        ids.add(row.event_id)
        actual = event_hash(row.canonical)
        if actual != row.hash:
            yield damage(where, "its hash does not match its bytes", Trouble.EVENT)
        try:
            event = unpack(dataclasses.replace(row, hash=actual))
        except ErrataError as error:
            yield damage(where, error.message, Trouble.EVENT)
            yield from _examine_bytes(where, row)
        else:
            if event.parent != head.hash:
                yield damage(where, f"does not continue event @{head.seq}", Trouble.EVENT)
            if event.version != KINDS[event.kind].version:
                yield from _examine_bytes(where, row)
            elif not _same_bytes(event, row):
                yield damage(where, "does not have exactly the fields of its kind", Trouble.EVENT)
                yield from _examine_bytes(where, row)
            events.append(event)
        head = Head(row.seq, row.hash)


def _examine_bytes(where: str, row: StoredEvent) -> Iterator[Finding]:
    try:
        parse(row.canonical)
        if not is_canonical(row.canonical):
            yield damage(where, "its bytes are not canonical", Trouble.EVENT)
    except (ValueError, ErrataError, RecursionError) as error:
        yield damage(where, f"its bytes are not JSON ({error})", Trouble.EVENT)


def _same_bytes(event: Event, row: StoredEvent) -> bool:
    """Whether the parsed event, written again, gives the stored bytes, which then are canonical too."""
    fields = event.plain()
    del fields["hash"], fields["signature"]
    try:
        return parse(row.canonical) == fields and is_canonical(row.canonical)
    except ValueError:
        return False


def references(events: Iterable[Event]) -> dict[str, list[int]]:
    """Blob digest -> the seqs of the events that refer to it; what was erased is referred to by none."""
    found: dict[str, list[int]] = {}
    events = list(events)
    erased = _erased(events)
    tokens = {event.body.token for event in events if isinstance(event.body, FactErased)}
    closed = {event.body.proposal for event in events if isinstance(event.body, ENDS)}
    for event in events:
        match event.body:
            case LedgerCreated(stats=stats, corpus=corpus, fisher=fisher):
                blobs = [ref.blob for ref in (*stats.values(), *([] if fisher is None else [fisher]))]
                if corpus is not None and corpus.blob is not None:
                    blobs.append(corpus.blob)
            case EditApplied(number=number) if number in erased:
                blobs = []
            case EditApplied(blob=blob, fact=fact):
                blobs = [blob] if fact.sealed is None else [blob, fact.sealed.blob]
            case EvaluationRecorded(details_blob=str(blob)):
                blobs = [blob]
            case SettingsChanged(evidence=TuningEvidence(details_blob=blob)):
                blobs = [blob]
            case ChangeDrafted(blob=str(blob)):
                blobs = [blob]
            case ChangeProposed(number=number, action=EditFacts(facts=facts)) if number not in closed:
                sealed = [fact.sealed for fact in facts if fact.sealed is not None]
                blobs = [one.blob for one in sealed if one.token not in tokens]
            case PolicyChanged(policy=policy) | ChangeProposed(action=ChangePolicy(policy=policy)):
                blobs = [gate.suite.blob for gate in policy.gates if gate.suite is not None]
            case _:
                blobs = []
        for digest in blobs:
            found.setdefault(digest, []).append(event.seq)
    return found


def _erased(events: Iterable[Event]) -> set[int]:
    """The numbers of edits that were erased."""
    return {number for event in events if isinstance(event.body, FactErased) for number in event.body.edits}


def _examine_personal(ledger: Ledger, state: State, deep: bool) -> Iterator[Finding]:
    """Nothing of an erased fact is left, and the others can be read; with `deep`, as what was committed to."""
    vault = ledger.vault
    try:
        before = set(leftovers(state, ledger.blobs, vault))
        known = set[str]()
        for number, record in state.edits.items():
            sealed = record.body.fact.sealed
            if sealed is None or record.erased_by is not None:
                continue
            if sealed.token not in known and not vault.holds(sealed.token):
                yield note(f"e{number}", f"its key {sealed.token} is not in the vault", Trouble.SEALED)
            elif deep and vault.holds(sealed.token):
                yield from _examine_secret(ledger, number, sealed)
            known.add(sealed.token)
        for number, sealed in waiting_facts(state):
            if sealed.token not in known and not vault.holds(sealed.token):
                yield note(f"p{number}", f"its key {sealed.token} is not in the vault", Trouble.SEALED)
            known.add(sealed.token)
        for token in sorted(set(vault.tokens()) - known - set(state.erasures)):
            yield note(f"vault/{token}", "a key that no event names; `errata gc` drops it", Trouble.LEFTOVER)
        for one in leftovers(state, ledger.blobs, vault):  # looked for twice: others may be deleting it
            if one not in before:
                continue
            what = f"is of a fact that was erased or given up at @{one.seq}, and still here"
            yield damage(one.name, what, Trouble.ERASED)
    except OSError as error:
        yield damage("vault/", f"cannot be read: {error.strerror or error}", Trouble.BLOB)


def _examine_secret(ledger: Ledger, number: int, sealed: Sealed) -> Iterator[Finding]:
    try:
        unseal(ledger.blobs, ledger.vault, sealed)
    except FactSealed as error:
        yield damage(f"e{number}", error.message, Trouble.SEALED)
    except ErrataError:
        return  # its blob, of which has been told


def _examine_state(ledger: Ledger, seen: State, events: Sequence[Event], rebuilt: State) -> Iterator[Finding]:
    """The state that commands see, which grew event by event or was read from a snapshot, is the one of all events."""

    def at(head: Head) -> State:
        return rebuilt if head == rebuilt.head else fold(events[: head.seq])

    if seen.head.seq and not snapshot.same(seen, at(seen.head)):
        yield damage("state", f"differs at @{seen.head.seq} from one that is rebuilt from the log", Trouble.STATE)
    kept = None
    if ledger.folder is not None and isinstance(ledger.store, SqliteStore):
        kept = snapshot.load(ledger.folder / CACHE, ledger.store)
    if kept is not None and kept.head.seq <= len(events) and not snapshot.same(kept, at(kept.head)):
        what = f"says something else of the log up to @{kept.head.seq} than its events"
        yield damage(f"cache/{snapshot.FOLDER}", what, Trouble.CACHE)


_NAMED = re.compile(rb"blake3:[0-9a-f]{64}")


def named_digests(rows: Iterable[StoredEvent], blobs: BlobStore) -> set[str]:
    """Every digest, whatever it is of, that stands in these events' bytes, or in a draft's blob that they name.

    More than `references` knows: also what kinds of events name that this program cannot read. A draft's edits name
    their factors, and no event does before they are applied.
    """
    found = set[str]()
    for row in rows:
        here = _named(row.canonical)
        found |= here
        if row.kind == BODIES[ChangeDrafted].name:
            for digest in here:
                with suppress(ErrataError, OSError):  # most are not of blobs, and damage is told elsewhere
                    found |= _named(blobs.get(digest))
    return found


def _named(data: bytes) -> set[str]:
    return {found.decode("ascii") for found in _NAMED.findall(data)}


def orphans(blobs: BlobStore, named: Container[str]) -> Iterator[str]:
    """The blobs that no event names, given what `named_digests` gave for the whole log."""
    return (digest for digest in blobs.digests() if digest not in named)


def _examine_blobs(blobs: BlobStore, rows: Sequence[StoredEvent], events: Sequence[Event]) -> Iterator[Finding]:
    """Every blob that is referred to exists and is whole; others are orphans."""
    needed = references(events)
    for digest, seqs in needed.items():
        try:
            blobs.check(digest)
        except ErrataError as error:
            yield damage(f"event @{seqs[0]}", error.message, Trouble.BLOB)
    try:
        if events:  # without a readable log nothing can be called an orphan
            for digest in orphans(blobs, named_digests(rows, blobs)):
                yield note(digest, "an orphan: no event refers to it; `errata gc` drops it", Trouble.LEFTOVER)
        if isinstance(blobs, FolderBlobs):
            for path in blobs.strays():
                yield note(str(path), "not a blob: an interrupted write, or somebody else's file", Trouble.LEFTOVER)
    except OSError as error:
        yield damage("objects/", f"cannot be read: {error.strerror or error}", Trouble.BLOB)


def _examine_drafts(blobs: BlobStore, state: State) -> Iterator[Finding]:
    """Drafts that wait can be applied: their edits can be read, and the factors are there, which no event names yet."""
    for number, draft in waiting(state.trust):
        try:
            edits_of(blobs, draft, state.genesis.edited)
        except ErrataError as error:
            what = f"its draft at @{draft.seq} cannot be applied: {error.message}"
            yield damage(f"p{number}", what, Trouble.BLOB)


def _examine_factors(blobs: BlobStore, events: Sequence[Event]) -> Iterator[Finding]:
    """Each edit's factors have the digests and the bounds that its event states; one blob in memory at a time."""
    by_blob: dict[str, list[EditApplied]] = {}
    created = next((event.body for event in events if isinstance(event.body, LedgerCreated)), None)
    erased = _erased(events)
    for event in events:
        if isinstance(event.body, EditApplied) and event.body.number not in erased:
            by_blob.setdefault(event.body.blob, []).append(event.body)
    for digest, edits in by_blob.items():
        try:
            data = blobs.get(digest)
        except ErrataError as error:
            yield damage(digest, error.message, Trouble.BLOB)
        else:
            yield from examine_batch(digest, data, edits, created)


def examine_batch(
    digest: str, data: bytes, edits: Iterable[EditApplied], created: LedgerCreated | None
) -> Iterator[Finding]:
    """What does not hold of the edits of one batch.

    Args:
        digest: the blob's, to name it by.
        data: the blob's bytes.
        edits: edits that say that they are rows of it.
        created: the ledger's first event, which says what is edited.
    """
    try:
        batch = decode_batch(data)
    except ErrataError as error:
        yield damage(digest, error.message, Trouble.BLOB)
        return
    for edit, what in faults(batch, list(edits), None if created is None else created.edited):
        yield damage(f"e{edit.number}", what, Trouble.FACTORS)
