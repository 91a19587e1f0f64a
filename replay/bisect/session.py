"""A bisection that lasts over several commands: what was said so far, and nothing that follows from it.

A session is its two ends, what of the steps between them is searched, and a list of what was said: marks by hand and
answers of runs. Where the search stands is worked out again each time, and undoing is dropping the last thing said.

Marks made by hand take the two ends on the caller's word, as git does, and a mark that contradicts them is refused;
the good end of a filtered search is nobody's word and is asked like any other version. A run tests both ends itself.
Neither uses the other's answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from errata.ledger.base.errors import UnknownVersion, UsageError
from errata.ledger.events.bodies import StepOutcome
from errata.ledger.rules.addresses import SHORTEST_PREFIX, resolve_version
from errata.ledger.state.state import State
from errata.replay.bisect.between import problem_between
from errata.replay.bisect.scope import LOG, NO_FILTERS, Actor, Filters, chosen, place_of, scoped
from errata.replay.search.noise import Noise
from errata.replay.search.search import next_move
from errata.replay.search.terms import BY_HAND, Conclusion, Live, Observation, Problem, Purpose, Question

_EDIT = re.compile(r"e([0-9]+)")
_DIGITS = re.compile(rf"(?:blake3:)?([0-9a-f]{{{SHORTEST_PREFIX},64}})")
_WORD = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Terms:
    """The words that stand for good and bad in this bisection, as in git."""

    good: str = "good"
    bad: str = "bad"

    def outcome(self, word: str) -> StepOutcome | None:
        """What a word means, if it is one of the two."""
        return {self.good: StepOutcome.GOOD, self.bad: StepOutcome.BAD}.get(word)

    def word(self, outcome: StepOutcome) -> str:
        """The word for an outcome."""
        return {StepOutcome.GOOD: self.good, StepOutcome.BAD: self.bad}.get(outcome, outcome.value)


GOOD_BAD = Terms()
OLD_NEW = Terms("old", "new")
"""git's other pair: for changes that are neither good nor bad."""


def check_terms(terms: Terms) -> Terms:
    """See that the terms can be told apart and mean what they say.

    Raises:
        UsageError: they cannot.
    """
    for word in (terms.good, terms.bad):
        if not _WORD.fullmatch(word):
            raise UsageError(f"{word!r} is no term: use small letters, digits and -, starting with a letter")
    if terms.good == terms.bad:
        raise UsageError(f"good and bad versions cannot both be called {terms.good!r}")
    if terms.good in ("bad", "new") or terms.bad in ("good", "old"):
        raise UsageError("good, old, bad and new keep their meaning")
    return terms


@dataclass(frozen=True)
class End:
    """One end of a bisection: the address that it was given as, and the live set that this was then."""

    address: str
    live: Live


@dataclass(frozen=True)
class Session:
    """A bisection under way.

    Attributes:
        good, bad: its ends; None as long as an end was not named.
        terms: what good and bad versions are called.
        filters: which steps are searched, and `edits`, whose steps that turned out to be; None for all.
        order: the order of the steps, as `bisect_scope.check_order` gives it.
        said: what was said, in order; what one command said of several versions stands together.
        began: the log's last event when the bisection began.
        noise: how the last run dealt with a test that errs; None if it had one that does not.
        seconds: by the identity of a test, how long its answers took so far.
    """

    good: End | None = None
    bad: End | None = None
    terms: Terms = GOOD_BAD
    filters: Filters = NO_FILTERS
    edits: tuple[int, ...] | None = None
    order: str = LOG
    said: tuple[tuple[Observation, ...], ...] = ()
    began: int = 0
    noise: Noise | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def tested(self) -> tuple[Observation, ...]:
        """What was observed, by hand and by runs, in order."""
        return tuple(one for together in self.said for one in together)

    @property
    def marks(self) -> tuple[Observation, ...]:
        """What was marked by hand."""
        return tuple(test for test in self.tested if test.oracle == BY_HAND)

    @property
    def missing(self) -> tuple[StepOutcome, ...]:
        """The ends that were not named yet."""
        ends = ((StepOutcome.GOOD, self.good), (StepOutcome.BAD, self.bad))
        return tuple(outcome for outcome, end in ends if end is None)

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
        """The ends that are taken on the caller's word by hand."""
        bad = Observation(problem.digest_of(problem.bad), Purpose.BAD_END, len(problem.steps), StepOutcome.BAD)
        if self.good is None or problem.good != self.good.live:
            return (bad,)
        return (Observation(problem.digest_of(problem.good), Purpose.GOOD_END, 0, StepOutcome.GOOD), bad)

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
        return replace(self, said=(*self.said, observations)) if observations else self

    def by_hand(self) -> Session:
        """The session without what runs observed."""
        kept = (tuple(one for one in together if one.oracle == BY_HAND) for together in self.said)
        return replace(self, said=tuple(together for together in kept if together), noise=None, seconds={})

    def undone(self) -> tuple[Session, tuple[Observation, ...]]:
        """The session without the last thing said, and what that was.

        Raises:
            UsageError: nothing was said.
        """
        if not self.said:
            raise UsageError("nothing to undo: no version was marked or tested yet")
        return replace(self, said=self.said[:-1]), self.said[-1]

    def with_end(self, state: State, actor: Actor, outcome: StepOutcome, address: str) -> Session:
        """The session with an end named; with both, the filters are worked out.

        Raises:
            UsageError: both ends are the same version, or no step between them fits the filters.
            UnknownVersion: there is no such version.
        """
        end = End(address, frozenset(resolve_version(state, address)))
        session = replace(self, good=end) if outcome is StepOutcome.GOOD else replace(self, bad=end)
        if session.good is None or session.bad is None:
            return session
        whole = problem_between(state, session.good.live, session.bad.live)
        if not session.filters:
            return session
        since, until = (_fixed(state, address) for address in (session.filters.since, session.filters.until))
        filters = replace(session.filters, since=since, until=until)
        steps = chosen(state, whole.steps, filters, actor)
        return replace(session, filters=filters, edits=tuple(sorted(n for step in steps for n in step.edits)))

    def marked(self, state: State, actor: Actor, address: str | None, outcome: StepOutcome) -> Session:
        """The session with a version marked by hand: the one that is asked about, or the one at an address.

        As long as an end is missing the mark names it, and without an address that is HEAD. A version that was marked
        before may be marked again; the later mark counts.

        Raises:
            UsageError: the version is none that this bisection looks at, the mark contradicts an end, or there is
                nothing left to ask.
            UnknownVersion: there is no such version.
        """
        if self.missing:
            if outcome is StepOutcome.SKIP:
                self.problem(state)
            return self.with_end(state, actor, outcome, address or "HEAD")
        problem = self.problem(state)
        mark = self._mark(problem, state, address, outcome)
        self._check_end(problem, mark)
        return self.observed(mark)

    def skipped(self, state: State, words: Sequence[str]) -> Session:
        """The session with versions that cannot be tested: the one asked about, versions, edits and ranges.

        An edit stands for the version in which its step is the newest: the first one that has it. A range A..B stands
        for what comes after A up to B, as in git; of it, the ends and versions that were marked otherwise stay as they
        are.

        Raises:
            UsageError: an edit is not among those searched, or a range is empty.
            UnknownVersion: there is no such version.
        """
        problem = self.problem(state)
        found: dict[str, Observation] = {}
        for word in words or [""]:
            if ".." in word and word not in state.tags:
                marks = self._range(problem, state, word)
            elif (position := _step_of(problem, word)) is not None:
                marks = [_skip(problem, position)]
            else:
                marks = [self._mark(problem, state, word or None, StepOutcome.SKIP)]
            for mark in marks:
                self._check_end(problem, mark)
                found[mark.version] = mark
        return self.observed(*found.values())

    def _range(self, problem: Problem, state: State, word: str) -> list[Observation]:
        first, _, last = word.partition("..")
        low, high = (_place(problem, state, address) for address in (first, last))
        settled = {claim.version for claim in self.claims(problem)}
        settled |= {mark.version for mark in self.marks if mark.outcome is not StepOutcome.SKIP}
        marks = [_skip(problem, position) for position in range(low + 1, high + 1)]
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
            return Observation(known.version, known.purpose, known.position, outcome)
        version, position = _locate(problem, state, address or "")
        return Observation(version, _purpose(problem, position), position, outcome)

    def _check_end(self, problem: Problem, mark: Observation) -> None:
        """Refuse a mark that says of an end what it is not: the ends are what the search by hand starts from."""
        for claim in self.claims(problem):
            if mark.version == claim.version and mark.outcome is not claim.outcome:
                word, said = self.terms.word(claim.outcome), self.terms.word(mark.outcome)
                raise UsageError(
                    f"{short_digest(mark.version)} is the {word} end of this bisection and was not marked {said}; "
                    "`errata bisect reset`, then start between other versions"
                )


def start(
    state: State,
    actor: Actor,
    good: str | None = None,
    bad: str | None = None,
    *,
    terms: Terms = GOOD_BAD,
    filters: Filters = NO_FILTERS,
    order: str = LOG,
) -> Session:
    """A new session, between two addresses or with an end still to be named.

    Args:
        state: the ledger's state.
        actor: says who made an event; asked only for filters by author.
        good: a version that is good.
        bad: a version that is bad.
        terms: what they are called.
        filters: which of the steps between are searched.
        order: their order, as `bisect_scope.check_order` gives it.

    Raises:
        UnknownVersion: there is no such version.
        UsageError: both are the same version, or no step between them fits the filters.
    """
    session = Session(terms=terms, filters=filters, order=order, began=state.head.seq)
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


def _purpose(problem: Problem, position: int) -> Purpose:
    return {0: Purpose.GOOD_END, len(problem.steps): Purpose.BAD_END}.get(position, Purpose.SEARCH)


def _skip(problem: Problem, position: int) -> Observation:
    version = problem.digest_of(problem.prefix(position))
    return Observation(version, _purpose(problem, position), position, StepOutcome.SKIP)


def _step_of(problem: Problem, word: str) -> int | None:
    """The position right after the step of an edit that is named like `e12`; None for a word of another form."""
    named = _EDIT.fullmatch(word.strip())
    if named is None:
        return None
    for position, step in enumerate(problem.steps, start=1):
        if int(named[1]) in step.edits:
            return position
    raise UsageError(f"{word} is not among the {len(problem.steps)} changes that are searched")


def _place(problem: Problem, state: State, address: str) -> int:
    position = _step_of(problem, address)
    return _locate(problem, state, address)[1] if position is None else position


def _locate(problem: Problem, state: State, address: str) -> tuple[str, int]:
    """Digest and position of a version that lies between the ends (or is one), by address or digest prefix."""
    try:
        live = frozenset(resolve_version(state, address))
    except UnknownVersion:
        if _DIGITS.fullmatch(address):
            for position in range(len(problem.steps) + 1):
                version = problem.digest_of(problem.prefix(position))
                if _names(version, address):
                    return version, position
        raise
    position = sum(1 for step in problem.steps if live >= set(step.added) and live.isdisjoint(step.removed))
    if problem.prefix(position) != live:
        raise UsageError(f"{address!r} is not between the good and the bad version, in the order that is searched")
    return problem.digest_of(live), position


def _names(version: str, address: str) -> bool:
    prefix = address.removeprefix("blake3:")
    return len(prefix) >= SHORTEST_PREFIX and version.removeprefix("blake3:").startswith(prefix)
