"""`Ledger`: a folder with a log and its blobs, and the one way to write to it.

.errata/ledger.db     the log (`ledger.store.sqlite`)
.errata/ledger.seal   the digest of its bytes (`ledger.store.seal`)
.errata/objects/      the blobs (`ledger.store.blobs`)
.errata/vault/        the keys of personal facts (`ledger.secrets.vault`)
.errata/cache/        whatever can be made again; safe to delete (`ledger.store.caches`)
.errata/lock          held while somebody reads or appends
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from errata.ledger.base.collector import collector_resting
from errata.ledger.base.errors import HeadConflict, LedgerDamaged, LedgerNotFound, Refused
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import storage_error, sync_folder
from errata.ledger.base.own import see_own
from errata.ledger.base.signing import Signed, Signer, SignerSource, written
from errata.ledger.events.bodies import EditApplied, EditReverted, FactErased
from errata.ledger.events.change_parts import EditFacts, EraseFact, RevertThem, SignedDecision
from errata.ledger.events.envelope import Act, Draft, Event, Head, Sign
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.events.trust_bodies import ChangeProposed
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.clocks import ClockSet, refuse_leap
from errata.ledger.rules.decide import decide
from errata.ledger.rules.evolve import fold
from errata.ledger.rules.log_check import LogCheck
from errata.ledger.rules.operations import ApplyChange, Command, RecordEvent
from errata.ledger.rules.trust_rules import foresee_direct
from errata.ledger.secrets.erasing import drop_erased
from errata.ledger.secrets.proposed import FORGETTING, sealed_in
from errata.ledger.secrets.sealing import Opener
from errata.ledger.secrets.vault import FolderVault, MemoryVault, Vault
from errata.ledger.state.event_signatures import DOMAIN
from errata.ledger.state.state import State
from errata.ledger.store import snapshot
from errata.ledger.store.blobs import BlobStore, FolderBlobs
from errata.ledger.store.caches import CACHE, Caches
from errata.ledger.store.sqlite import SqliteStore
from errata.ledger.store.store import EventStore

LEDGER_FOLDER = ".errata"
DATABASE = "ledger.db"
LOCK = "lock"


def find_ledger(start: Path) -> Path:
    """The `.errata` folder of `start` or of the nearest folder above it.

    Raises:
        LedgerNotFound: there is none.
    """
    for folder in (here := Path(start).absolute(), *here.parents):
        if (folder / LEDGER_FOLDER).is_dir():
            return folder / LEDGER_FOLDER
    raise LedgerNotFound(str(here))


def ledger_folder(folder: Path) -> Path:
    """The ledger's own folder, given it or the folder that holds it."""
    folder = Path(folder)
    if folder.name == LEDGER_FOLDER or (folder / DATABASE).exists():
        return folder
    return folder / LEDGER_FOLDER


def own_folder(folder: Path) -> Path:
    """The ledger's own folder, given it or the folder that holds it, seen to be what a ledger's has to be.

    Raises:
        LedgerNotFound: there is none.
        LedgerDamaged: something in it is a link, or no file or folder, or on another disk (`ledger.base.own`).
    """
    try:
        root = ledger_folder(folder)
        if not root.is_dir():
            raise LedgerNotFound(str(folder))
        see_own(root)
    except OSError as error:
        raise storage_error(error.filename or folder, error) from error
    return root


def event_signer(signer: Signer) -> Sign:
    """Signs events' hashes with a key, in the domain `event`."""
    return lambda own: written(Signed(signer.key, signer.sign(DOMAIN, own.encode("ascii"))))


def _edits_about(body: Body) -> tuple[int, ...]:
    """The edits that what an event says in words is about."""
    match body:
        case EditReverted(edit=number):
            return (number,)
        case FactErased(edits=edits):
            return edits
        case ChangeProposed(action=RevertThem(edits=edits) | EraseFact(edits=edits)):
            return edits
        case _:
            return ()


def _facts_about(state: State, body: Body) -> list[tuple[str, Fact]]:
    """The facts of the change that an event is about, each with what the change is called."""
    if isinstance(body, ChangeProposed):
        return [(f"p{body.number}", fact) for fact in _facts_in(body)]
    change = state.trust.changes.get(getattr(body, "proposal", 0))
    return [] if change is None else [(f"p{change.number}", fact) for fact in _facts_in(change.body)]


def _words_in(body: Body) -> list[str]:
    """What an event says in somebody's own words."""
    decisions = [getattr(body, "decision", None), *getattr(body, "decisions", ())]
    found = [getattr(body, name, None) for name in ("reason", "note", "ticket", "source")]
    found += [one.meaning for one in decisions if isinstance(one, SignedDecision)]
    return [text for text in found if isinstance(text, str)]


def _may_forget(state: State, body: Body) -> bool:
    """Whether an event can leave something of a personal fact that is to go."""
    if isinstance(body, FactErased):
        return True
    return isinstance(body, FORGETTING) and bool(sealed_in(state.trust.changes[body.proposal]))


def _facts_in(body: Body) -> tuple[Fact, ...]:
    """The facts that an event holds."""
    match body:
        case EditApplied(fact=fact):
            return (fact,)
        case ChangeProposed(action=EditFacts(facts=facts)):
            return facts
        case _:
            return ()


class Ledger:
    """A log, its blobs, and the state folded from it.

    Attributes:
        folder: the `.errata` folder; None for a ledger in memory.
        store, blobs, vault: where events, blobs and the keys of personal facts are kept.
        opener: reads personal facts.
        appended: the seqs of the events that were appended through this object, in order.
    """

    def __init__(self, folder: Path | None, store: EventStore, blobs: BlobStore, elsewhere: Path | None = None) -> None:
        self.folder = folder
        self._showing: SqliteStore | None = None
        self._caches = None if folder is None else Caches(folder, elsewhere)
        self.store = store
        self.blobs = blobs
        self.vault: Vault = MemoryVault() if folder is None else FolderVault(folder / "vault", folder / LOCK)
        self.opener = Opener(blobs, self.vault)
        self.appended: list[int] = []
        self._state = State()
        self._seen = LogCheck()

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make an empty ledger in `folder/.errata` (or in `folder`, if that is its name).

        One whose making was interrupted, or which has no events yet, is finished and returned.

        Raises:
            Refused: there is a ledger with events already.
            StorageFailed: the folder cannot be written to.
        """
        root = ledger_folder(folder)
        try:
            (root / "objects").mkdir(parents=True, exist_ok=True)
            (root / CACHE).mkdir(exist_ok=True)
            sync_folder(root)
            sync_folder(root.parent)
        except OSError as error:
            raise storage_error(root, error) from error
        own_folder(root)
        hit("create.folder_made")
        store = SqliteStore(root / DATABASE)
        store.initialise()
        if store.head().seq:
            raise Refused(f"{root} holds a ledger already", folder=str(root))
        return cls(root, store, FolderBlobs(root / "objects", store.lock_path))

    @classmethod
    def open(cls, folder: Path, elsewhere: Path | None = None, *, showing: bool = False) -> Self:
        """Open the ledger in `folder` or in `folder/.errata`; nothing is written, but for a snapshot.

        Args:
            folder: the ledger's.
            elsewhere: a folder on another disk for its large caches (`ledger.store.caches`).
            showing: for looking only: the state may come from a snapshot (`ledger.store.snapshot`), which is made
                where the log went on by much. What is recorded all the same is decided on a fold of the log.

        Raises:
            LedgerNotFound: there is none.
            LedgerDamaged: the database is missing, unreadable, or behind its seal; or the folder has links in it.
            NewerSchema: a newer Errata wrote it.
        """
        root = own_folder(folder)
        store = SqliteStore(root / DATABASE)
        store.head()
        found = cls(root, store, FolderBlobs(root / "objects", store.lock_path), elsewhere)
        found._showing = store if showing else None
        return found

    @property
    def caches(self) -> Caches:
        """Where large files that can be made again are kept.

        Raises:
            LedgerNotFound: a ledger in memory has no folder.
        """
        if self._caches is None:
            raise LedgerNotFound("memory")
        return self._caches

    @property
    def cache(self) -> Path:
        """The folder for locks, journals and whatever else is small and can be made again.

        Raises:
            LedgerNotFound: a ledger in memory has no folder.
        """
        own = self.caches.own
        with suppress(OSError):
            own.mkdir(exist_ok=True)
        return own

    def state(self) -> State:
        """The state at the log's head; only events that are new since the last call are read.

        Raises:
            LedgerDamaged: the log is damaged, or is shorter than it was.
            NewerSchema: an event is of a newer schema.
        """
        head = self.store.head()
        if head != self._state.head:
            if head.seq <= self._state.head.seq:
                raise LedgerDamaged("ledger.db", f"ends at @{head.seq}, and @{self._state.head.seq} was read before")
            with collector_resting():
                start = self._state
                if self._showing is not None and not start.head.seq:
                    start = snapshot.load(self.caches.own, self._showing) or start
                self._state = start if start.head == head else fold(self.store.read(start.head.seq), start)
                if self._showing is not None and self._state.head.seq - start.head.seq >= snapshot.APART:
                    snapshot.save(self.cache, self._state)
        return self._state

    @property
    def folded(self) -> State:
        """The state as far as it was folded through this object: at the head of its last call, empty before any."""
        return self._state

    def events(self, after: int = 0) -> list[Event]:
        """The events after seq `after`."""
        with collector_resting():
            return list(self.store.read(after))

    def foresee(
        self,
        sort: ActionSort | None,
        capability: Capability,
        *,
        actor: str,
        now: str,
        signer: SignerSource | None = None,
    ) -> None:
        """See, before long work begins, that its result could be recorded: the policy allows it, and the key opens.

        Args:
            sort: what sort of change it is, if it is one.
            capability: what its actor must be able to do.
            actor: by whom.
            now: the time.
            signer: see `execute`.

        Raises:
            Refused: as recording it would be.
        """
        trust = self.state().trust
        own = signer() if signer is not None and trust.policy.signed else None
        foresee_direct(trust, Act(actor, now, None if own is None else own.key), sort, capability)

    def execute(
        self,
        command: Command,
        *,
        actor: str,
        now: str,
        new_id: Callable[[], str],
        expected_head: Head | None = None,
        signer: SignerSource | None = None,
    ) -> list[Event]:
        """Decide on the state at the head, and append what was decided only if that still is the head.

        Args:
            command: what is wanted.
            actor: by whom.
            now: the time, RFC 3339 in UTC, ending in Z.
            new_id: makes a fresh UUID for each event.
            expected_head: the head that the caller's decision rests on, if it is older than this call.
            signer: unlocks the actor's key, which is done only if the policy in force asks for signed events.

        Returns:
            The events as they stand in the log.

        Raises:
            HeadConflict: the log moved; nothing was written.
            Refused, UsageError: the command is not allowed or makes no sense; nothing was written.
            LedgerDamaged: a change is to take effect, and the log has events that the rules do not allow.
            StorageFailed: nothing was written; or a fact was erased, and something of it could not be deleted yet.
        """
        if self._showing is not None:  # a snapshot is for showing, and this is decided on the log
            self._showing, self._state = None, State()
        state = self.state()
        if expected_head is not None and expected_head != state.head:
            raise HeadConflict(expected_head, state.head)
        if isinstance(command, ApplyChange):
            self._see_allowed()
        own = signer() if signer is not None and state.trust.policy.signed else None
        act = Act(actor, now, None if own is None else own.key)
        if not (isinstance(command, RecordEvent) and isinstance(command.body, ClockSet)):
            refuse_leap(state.trust, now)
        decided = decide(state, command, act)
        self.opener.refuse_telling(
            state,
            {number for body in decided for number in _edits_about(body)},
            [fact for body in decided for fact in _facts_about(state, body)],
            {text for body in decided for text in _words_in(body)},
        )
        self.opener.refuse_clear(state, (fact for body in decided for fact in _facts_in(body)))
        drafts = [Draft.checked(event_id=new_id(), body=body, actor=actor, recorded_at=now) for body in decided]
        events = self.store.append(drafts, state.head, None if own is None else event_signer(own))
        self.appended += [event.seq for event in events]
        self._state = fold(events, state)
        if any(_may_forget(self._state, event.body) for event in events):
            hit("erase.recorded")
            self.drop_erased()
        return events

    def _see_allowed(self) -> None:
        """See that the rules allow all events up to the head; what was seen once is not looked at again.

        Raises:
            LedgerDamaged: they do not, or a signature does not hold.
        """
        log, self._seen = self._seen, LogCheck()
        with collector_resting():
            for finding in log.examine(self.store.read(log.head.seq)):
                raise LedgerDamaged(finding.where, finding.what)
        self._seen = log

    def drop_erased(self) -> None:
        """Delete what is left over of facts that were erased (`ledger.secrets.erasing`).

        Raises:
            StorageFailed: something could not be deleted; a second call goes on.
        """
        drop_erased(self.state(), self.blobs, self.vault, self._caches)
