"""Find the edit that made a version worse: binary search over the edits between a good and a bad version.

A bisection is a pure function of its observations. `next_moves` looks at what has been seen so far and answers with
the next versions to test or with the conclusion; the session on disk and the automatic run are both just ways to supply
observations, and undoing one is dropping it from the list. The course:

1. both ends are tested: a good end that fails, or a bad end that passes, ends the search and no edit is blamed;
2. a binary search over prefixes of the steps, at most ceil(log2 n) tests, working around versions that cannot be
   tested (`replay.search.exact_search`); where the test errs, versions are tested again until one step is probable
   enough (`replay.search.noisy_search`);
3. the suspect is confirmed both ways: bad without it must pass, good with it alone must fail. When it is not, several
   edits do it together (or one masks another): then minimal sets that cause it, and that heal it, are looked for
   (`replay.search.minimise`).

Observations are kept by version digest, so that with a test that does not err no version is tested twice, and with the
identity of the test that made them: an answer of one test says nothing about another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from errata.replay.search import exact_search, noisy_search
from errata.replay.search.terms import (
    BY_HAND,
    EXACT,
    Conclusion,
    Judgement,
    Live,
    Observation,
    Problem,
    Question,
    Strategy,
    Unasked,
)


def next_moves(
    problem: Problem, tested: Sequence[Observation], strategy: Strategy = EXACT, count: int = 1
) -> tuple[Question, ...] | Conclusion:
    """The next versions to test, or the conclusion, given everything that has been observed.

    Args:
        problem: what is searched.
        tested: the observations in order. A later one of the same version replaces an earlier one, unless the strategy
            is for a test that errs: then all count.
        strategy: how it is searched.
        count: how many versions may be tested side by side; 2 to 3 times as many tests are made then, in fewer rounds.

    Returns:
        One to `count` questions while something remains to be tested, else the `Conclusion`. With a test that errs
        several of them may be about one version.

    Raises:
        UsageError: the strategy's prior does not fit the problem.
    """
    try:
        if strategy.noise is None:
            return exact_search.search(problem, tested, strategy, count)
        return noisy_search.search(problem, tested, strategy, strategy.noise, count)
    except Unasked as open_:
        return open_.questions


def next_move(problem: Problem, tested: Sequence[Observation], strategy: Strategy = EXACT) -> Question | Conclusion:
    """The next version to test, or the conclusion: `next_moves` for one test at a time."""
    moves = next_moves(problem, tested, strategy)
    return moves if isinstance(moves, Conclusion) else moves[0]


def bisect(
    problem: Problem,
    oracle: Callable[[Live], Judgement],
    tested: Iterable[Observation] = (),
    on_test: Callable[[Question, Observation], None] = lambda question, observation: None,
    identity: str = BY_HAND,
    strategy: Strategy = EXACT,
    jobs: int = 1,
) -> Conclusion:
    """Ask the oracle until the bisection ends.

    Args:
        problem: what is searched.
        oracle: tests one version. What it raises (a command that asks to stop) ends the run and decides nothing.
        tested: what has been observed before (a session that goes on); what another oracle observed is left out.
        on_test: told about each test when it is done, in this thread.
        identity: the oracle's identity, kept with what it observes.
        strategy: how it is searched.
        jobs: how many tests are made side by side, each in a thread of its own.

    Returns:
        The conclusion. For n steps, at most ceil(log2 n) + 4 tests are made when none is skipped, there is no prior,
        tests are made one at a time and do not err, and one step explains everything.
    """
    observations = [test for test in tested if test.oracle == identity]
    while not isinstance(moves := next_moves(problem, observations, strategy, jobs), Conclusion):
        for question, answer in _told(oracle, moves):
            observation = Observation(
                question.version, question.purpose, question.position, answer.outcome, answer.score, identity
            )
            observations.append(observation)
            on_test(question, observation)
    return moves


def _told(oracle: Callable[[Live], Judgement], questions: Sequence[Question]) -> Iterator[tuple[Question, Judgement]]:
    """Each question with its answer, in order; an error is raised behind the answers that came before it."""
    if len(questions) == 1:
        yield questions[0], oracle(questions[0].live)
        return
    with ThreadPoolExecutor(len(questions)) as pool:
        pending = [(question, pool.submit(oracle, question.live)) for question in questions]
        failed: BaseException | None = None
        for question, answer in pending:
            error = answer.exception()
            if error is None:
                yield question, answer.result()
            failed = failed or error
        if failed is not None:
            raise failed
