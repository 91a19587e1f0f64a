"""A planted bad edit among 128, found by bisection; and a wrong good end, which is told and blames nobody."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from bench.shipped import draw_edits, workspace
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.replay.apply.apply import edit
from errata.replay.bisect.run import bisect_with_suite
from errata.replay.bisect.session import start


def run(count: int = 128, batch_size: int = 32, seed: int = 3, rounds: int = 4) -> dict[str, Any]:
    """Search for several edits in turn: each is the one that made its fact's own suite fail."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        space = workspace(Path(folder))
        for _ in edit(space, draw_edits(count, seed), space.config(), batch_size):
            pass
        state = space.state
        holding = [n for n, says in zip(state.live, _says(space), strict=True) if says]
        rows = []
        for planted in rng.sample(holding, rounds):
            suite = _suite(state.edits[planted].body.fact)
            result, _ = bisect_with_suite(space, start(state, "base", "HEAD"), suite, 0.5)
            rows.append(
                {
                    "planted": planted,
                    "found": list(result.suspect.added) if result.suspect else None,
                    "verdict": result.verdict.value,
                    "evaluations": result.count(),
                }
            )
        wrong, _ = bisect_with_suite(space, start(state, "HEAD~1", "HEAD"), suite, 0.5)
        return {
            "edits": len(state.live),
            "rounds": rows,
            "wrong_good_end": {"verdict": wrong.verdict.value, "blamed": wrong.suspect is not None},
        }


def _says(space: Any) -> list[bool]:
    return list(space.says(space.state.live, [space.state.edits[n].body.fact for n in space.state.live]))


def _suite(fact: Any) -> Suite:
    texts = (fact.text, *fact.paraphrase_texts)
    probes = tuple(Probe(prompt=text, target=fact.old) for text in texts)
    return Suite(name="the old fact", metric=Metric.EXACT_MATCH, probes=probes)


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    lines = [f"{table['edits']} edits"]
    for row in table["rounds"]:
        lines.append(f"planted e{row['planted']}: {row['verdict']} {row['found']} in {row['evaluations']} evaluations")
    wrong = table["wrong_good_end"]
    lines.append(f"a good end that is bad: {wrong['verdict']}, an edit blamed: {wrong['blamed']}")
    return "\n".join(lines)
