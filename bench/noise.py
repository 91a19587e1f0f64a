"""Simulated bisections with a test that errs: tests used, right answers against claimed ones; two causes at once."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from errata.editor.score.intervals import wilson
from errata.ledger.kinds.bisections import StepOutcome, Verdict
from errata.ledger.state.state import Step
from errata.replay.search.noise import Noise
from errata.replay.search.search import bisect
from errata.replay.search.terms import EXACT, Conclusion, Judgement, Live, Problem, Strategy

STEPS = 128
RATES = (0.0, 0.05, 0.15, 0.3)


def run(runs: int = 1000, steps: int = STEPS, workers: int = 2) -> dict[str, Any]:
    """Search for a step drawn anew in each run, with a test that errs so often on good and on bad versions alike."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:

        def all_of(what: Callable[..., dict[str, Any]], *arguments: object) -> list[dict[str, Any]]:
            chunk = max(1, runs // (8 * workers))
            return list(pool.map(what, *([a] * runs for a in arguments), range(runs), chunksize=chunk))

        return {
            "steps": steps,
            "runs": runs,
            "confidence": Noise().confidence,
            "exact": _summary(all_of(exact, steps)) | {"bound": math.ceil(math.log2(steps)) + 4},
            "noisy": [_summary(all_of(noisy, steps, rate)) | {"rate": rate} for rate in RATES],
            "pairs": _pairs(all_of(pair, steps)),
        }


def exact(steps: int, seed: int) -> dict[str, Any]:
    """One search with a test that does not err."""
    return _one(steps, 0.0, seed, EXACT)


def noisy(steps: int, rate: float, seed: int) -> dict[str, Any]:
    """One search with a test that errs."""
    return _one(steps, rate, seed, Strategy(noise=Noise()))


def pair(steps: int, seed: int) -> dict[str, Any]:
    """One search where two steps harm only together."""
    planted = set(random.Random(seed).sample(range(1, steps + 1), 2))
    found = bisect(_problem(steps), _test(lambda live: planted <= live, 0.0, seed), strategy=Strategy(minimise=True))
    return {
        "tests": len(found.tested),
        "found": {step.added[0] for step in found.cause} == planted and found.verdict is Verdict.SEVERAL,
        "healed_by_one": len(found.cure) == 1 and found.cure[0].added[0] in planted,
    }


def _one(steps: int, rate: float, seed: int, strategy: Strategy) -> dict[str, Any]:
    planted = random.Random(seed).randint(1, steps)
    found: Conclusion = bisect(_problem(steps), _test(lambda live: planted in live, rate, seed), strategy=strategy)
    return {
        "tests": len(found.tested),
        "verdict": found.verdict.value,
        "right": found.culprit is not None and found.culprit.added == (planted,),
        "claimed": 1.0 if found.belief is None else found.belief.named,
    }


def _problem(steps: int) -> Problem:
    return Problem(frozenset(), tuple(Step(n, (n,), ()) for n in range(1, steps + 1)), lambda live: str(sorted(live)))


def _test(is_bad: Callable[[Live], bool], rate: float, seed: int) -> Callable[[Live], Judgement]:
    rng = random.Random(f"errors {seed}")

    def test(live: Live) -> Judgement:
        said = is_bad(live) is not (rng.random() < rate)
        return Judgement(StepOutcome.BAD if said else StepOutcome.GOOD)

    return test


def _summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    tests = sorted(one["tests"] for one in found)
    named = [one for one in found if one["verdict"] == Verdict.CULPRIT.value]
    right = sum(one["right"] for one in named)
    low, high = wilson(right, len(named))
    return {
        "tests": {
            "mean": statistics.fmean(tests),
            "median": statistics.median(tests),
            "p90": tests[len(tests) * 9 // 10],
            "most": tests[-1],
        },
        "verdicts": dict(Counter(one["verdict"] for one in found)),
        "named": len(named),
        "right": right / len(named),
        "right_low": low,
        "right_high": high,
        "claimed": statistics.fmean(one["claimed"] for one in named),
    }


def _pairs(found: list[dict[str, Any]]) -> dict[str, Any]:
    tests = [one["tests"] for one in found]
    return {
        "found": sum(one["found"] for one in found),
        "healed_by_one": sum(one["healed_by_one"] for one in found),
        "tests": {"mean": statistics.fmean(tests), "most": max(tests)},
    }


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    lines = [
        f"{table['runs']:,} simulated bisections a row, over {table['steps']} edits, to {table['confidence']:.0%}",
        f"{'test errs':>10} {'tests':>7} {'median':>7} {'90 %':>6} {'most':>6} {'named':>7} {'right':>7} "
        f"{'95 % interval':>16} {'claimed':>8}",
    ]
    for row, label in ((table["exact"], "never"), *((r, f"{r['rate']:.0%}") for r in table["noisy"])):
        tests = row["tests"]
        lines.append(
            f"{label:>10} {tests['mean']:>7.1f} {tests['median']:>7.0f} {tests['p90']:>6} {tests['most']:>6} "
            f"{row['named']:>7,} {row['right']:>7.1%} {row['right_low']:>7.1%} to {row['right_high']:.1%} "
            f"{row['claimed']:>8.1%}"
        )
    most, pairs = table["exact"]["tests"]["most"], table["pairs"]
    lines += [
        f"with a test known never to err: at most {most} tests, of {table['exact']['bound']} allowed",
        f"two edits that harm only together: found as a pair in {pairs['found']:,} of {table['runs']:,}, healed by "
        f"removing one of them in {pairs['healed_by_one']:,}; {pairs['tests']['mean']:.1f} tests, at most "
        f"{pairs['tests']['most']}",
    ]
    return "\n".join(lines)
