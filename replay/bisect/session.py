"""A bisection that lasts over several commands: what was said so far, and nothing that follows from it.

A session is its ends, its scope, and the list of what was said. Where the search stands is worked out anew each time;
undoing is dropping the end of the list. In memory it is what `replay.bisect.session_file` writes.

By hand, the ends are taken on the caller's word, as git does, and are not asked about; a filtered search's good end is
nobody's word and is asked about first (`replay.bisect.scope`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from errata.ledger.base.errors import UnknownVersion, UsageError
from errata.ledger.base.records import Record
from errata.ledger.kinds.bisections import StepOutcome
from errata.ledger.rules.addresses import SHORTEST_PREFIX, resolve_version
from errata.ledger.state.state import State
from errata.replay.bisect.scope import LOG, NO_FILTERS, Actor, Filters, check_order, chosen, place_of, scoped
from errata.replay.search.noise import Noise
from errata.replay.search.search import next_move
from errata.replay.search.terms import BY_HAND, Conclusion, Observation, Problem, Purpose, Question

_EDIT = re.compile(r"e([0-9]+)")
_DIGITS = re.compile(rf"(?:blake3:)?([0-9a-f]{{{SHORTEST_PREFIX},64}})")
_WORD = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Terms:
    """The words that stand for good and bad in a bisection, as in git.

    Raises:
        UsageError: they cannot be told apart, or mean the opposite of what they say.
    """

    good: str = "good"
    bad: str = "bad"

    def __post_init__(self) -> None:
        for word in (self.good, self.bad):
            if not _WORD.fullmatch(word):
                raise UsageError(f"{word!r} cannot be a term: use small letters, digits and -, starting with a letter")
        if self.good == self.bad:
            raise UsageError(f"good and bad versions cannot both be called {self.good!r}")
        if self.good in ("bad", "new") or self.bad in ("good", "old"):
            raise UsageError("good, old, bad and new keep their meaning")

    def outcome(self, word: str) -> StepOutcome | None:
        """What a word means, if it is one of the two."""
        return {self.good: StepOutcome.GOOD, self.bad: StepOutcome.BAD}.get(word)

    def word(self, outcome: StepOutcome) -> str:
        """The word for an outcome."""
        return {StepOutcome.GOOD: self.good, StepOutcome.BAD: self.bad}.get(outcome, outcome.value)


GOOD_BAD = Terms()
OLD_NEW = Terms("old", "new")
"""git's other pair: for changes that are neither good nor bad."""


@dataclass(frozen=True)
class End:
    """One end of a bisection: the address that it was given as, and the live set that this was then, ascending."""

    address: str
    live: tuple[int, ...]


class Session(Record):
    """A bisection under way.

    Attributes:
        schema_version: of the file's form.
        good, bad: its ends; None as long as an end was not named.
        terms: what good and bad versions are called.
        filters: which steps are searched, and `edits`, whose steps that turned out to be; None for all.
        order: the order of the steps, as `scope.check_order` gives it.
        began: the log's last event when the bisection began.
        noise: how the last run dealt with a test that errs; None if it had one that does not.
        seconds: by the identity of a test, how long its answers took so far.
        said: what was said, in order; what one command said of several versions stands together.
    """

    schema_version: Literal[3] = 3
    good: End | None = None
    bad: End | None = None
    terms: Terms = GOOD_BAD
    filters: Filters = NO_FILTERS
    edits: tuple[int, ...] | None = None
    order: Annotated[str, AfterValidator(check_order)] = LOG
    began: int = 0
    noise: Noise | None = None
    seconds: dict[str, float] = {}
    said: tuple[tuple[Observation, ...], ...] = Field((), alias="tested")

    def but(self, **fields: Any) -> Session:
        """The session with other values of some fields."""
        return self.model_copy(update=fields)

    @property
    def tested(self) -> tuple[Observation, ...]:
        """What was observed, by hand and by runs, in order."""
        return tuple(one for together in self.said for one in together)

    @property
    def marks(self) -> tuple[Observation, ...]:
        """What was marked by hand."""
        return tuple(test for test in self.tested if test.oracle == BY_HAND)

    @property
    def ends(self) -> dict[StepOutcome, End | None]:
        """The two ends by what they are, the good one first."""
        return {StepOutcome.GOOD: self.good, StepOutcome.BAD: self.bad}

    @property
    def missing(self) -> tuple[StepOutcome, ...]:
        """The ends that were not named yet."""
        return tuple(outcome for outcome, end in self.ends.items() if end is None)

    def problem(self, state: State) -> Problem:
        """What is searched.

        Raises:
            UsageError: an end is missing, or both ends are the same version.
        """
        if self.good is None or self.bad is None:
            words = " and ".join(f"`errata bisect {self.terms.word(outcome)} VERSION`" for outcome in self.missing)
            raise UsageError(f"the bisection does not have both its ends yet: {words}")
        return scoped(state, self.good.live, self.bad.live, self.edits, self.order)

    def claims(self, problem: Problem) -> tuple[Observation, ...]:
        """The ends that are taken on the caller's word by hand: a filtered search's good end is not."""
        ends = [_at(problem, 0, StepOutcome.GOOD), _at(problem, len(problem.steps), StepOutcome.BAD)]
        return tuple(ends if self.good and problem.good == frozenset(self.good.live) else ends[1:])

    def trusting(self, problem: Problem) -> tuple[Observation, ...]:
        """The marks made by hand, with the ends taken on the caller's word where they were not marked."""
        seen = {test.version for test in self.marks}
        return (*(claim for claim in self.claims(problem) if claim.version not in seen), *self.marks)

    def move(self, state: State) -> Question | Conclusion:
        """What a person is to test next, or the conclusion; the ends are taken on their word."""
        problem = self.problem(state)
        return next_move(problem, self.trusting(problem))

    def observed(self, *observations: Observation) -> Session:
        """The session with more observations, which `undone` drops together."""
        return self.but(said=(*self.said, observations)) if observations else self

    def by_hand(self) -> Session:
        """The session without what runs observed."""
        kept = (tuple(one for one in together if one.oracle == BY_HAND) for together in self.said)
        return self.but(said=tuple(together for together in kept if together), noise=None, seconds={})

    def undone(self) -> tuple[Session, tuple[Observation, ...]]:
        """The session without the last thing said, and what that was.

        Raises:
            UsageError: nothing was said.
        """
        if not self.said:
            raise UsageError("nothing to undo: no version was marked or tested yet")
        return self.but(said=self.said[:-1]), self.said[-1]

    def speaking(self, word: str) -> Session | None:
        """The session in which a word is a term; git's old and new may be taken up until something was said."""
        if self.terms.outcome(word) is not None:
            return self
        untouched = self.terms == GOOD_BAD and not self.said and len(self.missing) == 2
        return self.but(terms=OLD_NEW) if untouched and OLD_NEW.outcome(word) is not None else None

    def with_end(self, state: State, actor: Actor, outcome: StepOutcome, address: str) -> Session:
        """The session with an end named; with both, the filters are worked out.

        Raises:
            UsageError: both ends are the same version, or no step between them fits the filters.
            UnknownVersion: there is no such version.
        """
        end = End(address, tuple(sorted(resolve_version(state, address))))
        session = self.but(**{"good" if outcome is StepOutcome.GOOD else "bad": end})
        if session.missing:
            return session
        steps = session.problem(state).steps
        if not session.filters:
            return session
        since, until = (_fixed(state, address) for address in (session.filters.since, session.filters.until))
        filters = replace(session.filters, since=since, until=until)
        steps = chosen(state, steps, filters, actor)
        return session.but(filters=filters, edits=tuple(sorted(n for step in steps for n in step.edits)))

    def marked(self, state: State, actor: Actor, address: str | None, outcome: StepOutcome) -> Session:
        """The session with a version marked by hand: the one that is asked about, or the one at an address.

        As long as an end is missing the mark names it, and without an address that is HEAD. A version that was marked
        before may be marked again; the later mark counts.

        Raises:
            UsageError: the version is not one that this bisection looks at, the mark contradicts an end, or nothing is
                left to ask.
            UnknownVersion: there is no such version.
        """
        if self.missing:
            return self.with_end(state, actor, outcome, address or "HEAD")
        return self.observed(self._mark(self.problem(state), state, address, outcome))

    def skipped(self, state: State, words: Sequence[str]) -> Session:
        """The session with versions that cannot be tested: the one asked about, versions, edits and ranges.

        An edit stands for the version in which its step is the newest: the first one that has it. A range A..B stands
        for what comes after A up to B, as in git; of it, the ends and versions that were marked otherwise stay as they
        are.

        Raises:
            UsageError: an end is missing, an edit is not among those searched, or a range is empty.
            UnknownVersion: there is no such version.
        """
        problem = self.problem(state)
        found: dict[str, Observation] = {}
        for word in words or [""]:
            if ".." in word and word not in state.tags:
                marks = self._range(problem, state, word)
            elif _EDIT.fullmatch(word.strip()):
                marks = [self._checked(problem, _at(problem, _place(problem, state, word), StepOutcome.SKIP))]
            else:
                marks = [self._mark(problem, state, word or None, StepOutcome.SKIP)]
            found |= {mark.version: mark for mark in marks}
        return self.observed(*found.values())

    def _range(self, problem: Problem, state: State, word: str) -> list[Observation]:
        first, _, last = word.partition("..")
        low, high = (_place(problem, state, address) for address in (first, last))
        settled = {claim.version for claim in self.claims(problem)}
        settled |= {mark.version for mark in self.marks if mark.outcome is not StepOutcome.SKIP}
        marks = [_at(problem, position, StepOutcome.SKIP) for position in range(low + 1, high + 1)]
        marks = [mark for mark in marks if mark.version not in settled]
        if not marks:
            raise UsageError(f"there is no version to skip in {word!r}, in the order that is searched")
        return marks

    def _mark(self, problem: Problem, state: State, address: str | None, outcome: StepOutcome) -> Observation:
        move = next_move(problem, self.trusting(problem))
        asked = (move,) if isinstance(move, Question) else ()
        if address is None and not asked:
            raise UsageError("nothing is left to test; mark a version again by its digest, or `errata bisect reset`")
        known = next((one for one in (*asked, *self.marks) if address is None or _names(one.version, address)), None)
        if known is not None:
            return self._checked(problem, Observation(known.version, known.purpose, known.position, outcome))
        return self._checked(problem, _at(problem, _version_place(problem, state, address or ""), outcome))

    def _checked(self, problem: Problem, mark: Observation) -> Observation:
        """Refuse a mark that says of an end what it is not: the ends are what the search by hand starts from."""
        for claim in self.claims(problem):
            if mark.version == claim.version and mark.outcome is not claim.outcome:
                word, said = self.terms.word(claim.outcome), self.terms.word(mark.outcome)
                raise UsageError(
                    f"{short_digest(mark.version)} is the {word} end of this bisection and was not marked {said}; "
                    "`errata bisect reset`, then start between other versions"
                )
        return mark


def nobody(seq: int) -> str:
    """An `Actor` for sessions without filters, which ask for none."""
    raise UsageError(f"who made @{seq} is not known here")


def start(
    state: State, good: str | None = None, bad: str | None = None, actor: Actor = nobody, **scope: Any
) -> Session:
    """A new session, between two addresses or with an end still to be named.

    Args:
        state: the ledger's state.
        good: a version that is good.
        bad: a version that is bad.
        actor: says who made an event; asked only for filters by author.
        scope: `terms`, `filters` and `order`, as `Session` has them.

    Raises:
        UnknownVersion: there is no such version.
        UsageError: both are the same version, or no step between them fits the filters.
    """
    session = Session(began=state.head.seq, **scope)
    for outcome, address in ((StepOutcome.GOOD, good), (StepOutcome.BAD, bad)):
        if address is not None:
            session = session.with_end(state, actor, outcome, address)
    return session


def short_digest(version: str) -> str:
    """As many digits of a version's digest as stand for it in a log."""
    return version.removeprefix("blake3:")[:16]


def _fixed(state: State, address: str | None) -> str | None:
    """The address of a place of the log that stays what it is, for one that may move."""
    if address is None:
        return None
    place = place_of(state, address)
    return f"@{place}" if place else "base"


def _at(problem: Problem, position: int, outcome: StepOutcome) -> Observation:
    """What was said by hand of the version that has so many of the steps."""
    purpose = {0: Purpose.GOOD_END, len(problem.steps): Purpose.BAD_END}.get(position, Purpose.SEARCH)
    return Observation(problem.digest_of(problem.prefix(position)), purpose, position, outcome)


def _place(problem: Problem, state: State, word: str) -> int:
    """How many steps the version has that an edit such as `e12`, an address or a digest's start names."""
    named = _EDIT.fullmatch(word.strip())
    if named is None:
        return _version_place(problem, state, word)
    for position, step in enumerate(problem.steps, start=1):
        if int(named[1]) in step.edits:
            return position
    raise UsageError(f"{word} is not among the {len(problem.steps)} changes that are searched")


def _version_place(problem: Problem, state: State, address: str) -> int:
    """How many steps a version has that lies between the ends (or is one), by address or digest prefix."""
    try:
        live = frozenset(resolve_version(state, address))
    except UnknownVersion:
        if _DIGITS.fullmatch(address):
            for position in range(len(problem.steps) + 1):
                if _names(problem.digest_of(problem.prefix(position)), address):
                    return position
        raise
    position = sum(1 for step in problem.steps if live.issuperset(step.added) and live.isdisjoint(step.removed))
    if problem.prefix(position) != live:
        raise UsageError(f"{address!r} is not between the good and the bad version, in the order that is searched")
    return position


def _names(version: str, address: str) -> bool:
    prefix = address.removeprefix("blake3:")
    return len(prefix) >= SHORTEST_PREFIX and version.removeprefix("blake3:").startswith(prefix)
