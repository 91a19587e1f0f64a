"""The search with a test that errs: it asks what tells most for its cost, and stops when it is sure enough.

Like the exact search a procedure that asks as it goes, run again from the start on all observations; here every test of
a version counts, and a version may be tested again. The course:

1. both ends are tested several times: how often the test errs is learnt there first, and an end that is not what it was
   said to be ends the search;
2. the version is tested whose answer has the largest mutual information with the hypotheses for its cost: prefixes, and
   the two confirmations of the most probable step (`replay.search.noise`). At first that halves the belief, later it
   repeats tests around the suspect and confirms it;
3. it ends when one hypothesis is as probable as was asked, or the limit of tests is reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from errata.ledger.kinds.bisections import StepOutcome, Verdict
from errata.ledger.state.state import Step
from errata.replay.search.exact_search import minimal_sets
from errata.replay.search.noise import KINDS, Belief, Noise, Posterior, Tally, claim_holds
from errata.replay.search.terms import (
    CONFIRMATIONS,
    Conclusion,
    Live,
    Observation,
    Problem,
    Purpose,
    Question,
    Strategy,
    Unasked,
)

_NOTHING = 1e-9
"""A test that tells less than this, in nats, is not made."""


@dataclass(frozen=True)
class _Seen:
    """The observations, by what was tested."""

    tallies: dict[str, Tally]
    skipped: frozenset[str]
    total: int

    def of(self, version: str) -> Tally:
        return self.tallies.get(version, Tally())


def search(problem: Problem, tested: Sequence[Observation], strategy: Strategy, noise: Noise, count: int) -> Conclusion:
    """The conclusion that these observations lead to.

    Args:
        problem: what is searched.
        tested: the observations, all of which count.
        strategy: how.
        noise: how sure, and for how many tests.
        count: how many questions may be asked side by side.

    Raises:
        Unasked: with what is to be tested next.
    """
    seen = _tally(tested)
    size = len(problem.steps)
    good, bad = problem.good, problem.bad
    at_end = {0: problem.digest_of(good), size: problem.digest_of(bad)}

    def end(verdict: Verdict, candidates: tuple[Step, ...] = (), belief: Belief | None = None) -> Conclusion:
        return Conclusion(verdict, candidates=candidates, tested=tuple(tested), steps=size, belief=belief)

    def ask(*questions: Question) -> Unasked:
        """The questions as far as the limit allows; never none."""
        return Unasked(*questions[: max(1, min(count, noise.limit - seen.total))])

    ends = (
        (0, Purpose.GOOD_END, Verdict.GOOD_IS_BAD),
        (size, Purpose.BAD_END, Verdict.BAD_IS_GOOD),
    )
    for k, purpose, verdict in ends:
        version = at_end[k]
        if version in seen.skipped:
            return end(Verdict.INCONCLUSIVE, candidates=problem.steps)
        tally = seen.of(version)
        holds = claim_holds(tally, claimed_bad=k > 0)
        if holds <= 1 - noise.confidence:
            return end(verdict)
        missing = max(noise.calibration - tally.total, 1 if holds < noise.confidence else 0)
        if missing > 0:
            if seen.total >= noise.limit:
                known = [(end_, seen.of(at_end[end_])) for end_ in at_end]
                belief = Posterior(strategy.weights(size), known).belief(noise.confidence, 0.0)
                return end(Verdict.INCONCLUSIVE, candidates=problem.steps, belief=belief)
            raise ask(*[problem.question(bad if k else good, purpose, k, size.bit_length())] * missing)

    positions = {t.position: t.version for t in tested if t.position is not None} | at_end
    lengths = [(k, seen.of(version)) for k, version in positions.items()]
    weights = strategy.weights(size)
    posterior = Posterior(weights, lengths)
    confirmed_by = problem.confirmed(tested, posterior.credible(1.0))
    if confirmed_by:
        told = [
            [(index, seen.of(version)) for (version, how), index in confirmed_by.items() if how is purpose]
            for purpose in CONFIRMATIONS
        ]
        posterior = Posterior(weights, lengths, without=told[0], alone=told[1])
    suspect = posterior.suspect
    step = problem.steps[suspect]
    # Whether it is one step, and whether several: what the verdict will say is the more probable of the two.
    informed = 1.0 - posterior.coin
    single = informed * float(posterior.hypotheses[0, suspect])
    several = informed * float(posterior.hypotheses[1:, suspect].max())
    both = [problem.question(problem.confirmation(purpose, suspect), purpose, left=1) for purpose in CONFIRMATIONS]
    open_ = [question for question in both if question.version not in seen.skipped]
    named = max(single, several)
    confirmed = all(seen.of(question.version).total for question in both)
    if named >= noise.confidence and confirmed:
        kind = int(posterior.hypotheses[:, suspect].argmax())
        alone_fails, without_passes = KINDS[kind]
        verdict = Verdict.CULPRIT if kind == 0 else Verdict.SEVERAL
        found = replace(
            end(verdict, (step,), posterior.belief(noise.confidence, named)),
            suspect=step,
            without_passes=without_passes,
            alone_fails=alone_fails,
        )
        if kind == 0 or not strategy.minimise:
            return found
        cause, cure = _minimal_sets(problem, suspect, posterior, seen, noise)
        return replace(found, cause=cause, cure=cure)

    def inconclusive() -> Conclusion:
        belief = posterior.belief(noise.confidence, named)
        chosen = tuple(problem.steps[i] for i in sorted(belief.credible))
        found = end(Verdict.INCONCLUSIVE, chosen, belief)
        return replace(found, suspect=step) if len(chosen) == 1 else found

    if seen.total >= noise.limit or posterior.coin >= noise.confidence:
        return inconclusive()
    sure = informed * float(posterior.steps[suspect]) >= noise.confidence
    if sure and len(open_) < len(both):
        return inconclusive()
    if confirmed and named / informed >= noise.confidence:  # all that is open is whether the test says anything
        k = min(at_end, key=lambda end: seen.of(at_end[end]).total)
        raise ask(problem.question(bad if k else good, ends[k > 0][1], k, 1))
    if named >= noise.confidence:  # sure without having looked: look at least once
        raise ask(next(question for question in open_[::-1] if not seen.of(question.version).total))
    questions = _most_telling(problem, tested, posterior, noise, open_, count)
    if not questions:
        return inconclusive()
    raise ask(*questions)


def _tally(tested: Sequence[Observation]) -> _Seen:
    bad = Counter(t.version for t in tested if t.outcome is StepOutcome.BAD)
    good = Counter(t.version for t in tested if t.outcome is StepOutcome.GOOD)
    tallies = {version: Tally(bad[version], good[version]) for version in bad.keys() | good.keys()}
    skipped = frozenset(t.version for t in tested if t.outcome is StepOutcome.SKIP)
    return _Seen(tallies, skipped, sum(tally.total for tally in tallies.values()))


def _most_telling(
    problem: Problem,
    tested: Sequence[Observation],
    posterior: Posterior,
    noise: Noise,
    confirmations: Sequence[Question],
    count: int,
) -> list[Question]:
    """The versions whose test tells most for its cost, the best first."""
    size = len(problem.steps)
    prefixes, alone, without = posterior.information()
    here = tested[-1].position if tested else None
    if here is None:  # behind a confirmation the model stands next to one of the ends
        here = size if tested and tested[-1].purpose is Purpose.WITHOUT_SUSPECT else 0

    def worth(information: float, position: int) -> float:
        return information / (1.0 + noise.move * abs(position - here))

    skipped = {t.position for t in tested if t.outcome is StepOutcome.SKIP}
    options: list[tuple[float, int, Question | None]] = [
        (worth(float(told), k), k, None) for k, told in enumerate(prefixes, start=1) if k not in skipped
    ]
    for question in confirmations[::-1]:
        told, near = (alone, 0) if question.purpose is Purpose.SUSPECT_ALONE else (without, size)
        options.append((worth(told, near), near, question))
    best = sorted((o for o in options if o[0] > _NOTHING), key=lambda o: (-o[0], o[1]))[:count]
    left = int(_doubt(posterior) / best[0][0]) if best else 0
    return [
        problem.question(problem.prefix(k), Purpose.SEARCH, k, left)
        if question is None
        else replace(question, left=left)
        for _, k, question in best
    ]


def _doubt(posterior: Posterior) -> float:
    """Entropy of the hypotheses, in nats."""
    likely = posterior.hypotheses[posterior.hypotheses > 0]
    return float(-(likely * np.log(likely)).sum())


def _minimal_sets(
    problem: Problem, suspect: int, posterior: Posterior, seen: _Seen, noise: Noise
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Minimal cause and cure, each version being tested until what it is is sure enough."""
    doubt = (1 - noise.confidence) / 4  # several versions decide together

    def ask(live: Live, purpose: Purpose) -> StepOutcome:
        version = problem.digest_of(live)
        if version in seen.skipped:
            return StepOutcome.SKIP
        bad = posterior.is_bad(seen.of(version))
        if bad >= 1 - doubt:
            return StepOutcome.BAD
        if bad <= doubt:
            return StepOutcome.GOOD
        if seen.total >= noise.limit:
            return StepOutcome.SKIP
        raise Unasked(problem.question(live, purpose))

    return minimal_sets(problem, suspect, ask)
