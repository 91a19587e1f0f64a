"""Edits reverted, plainly and with all later ones solved again: how far deltas differ, and what it gains.

Two cases. In the first, edits are about facts drawn at random, and one is removed. In the second, each subject has two
edits, one in each of two batches, and for half of the subjects the first is removed: a subject's edits share a key, and
the second was solved for what the first had left to do. The scores are those of the remaining edits' own probes and of
the general suite on three versions: (a) the head, (b) the plain revert, (c) the re-derived version.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.shipped import DATA, draw_edits, workspace
from errata.ledger.facts.fact import Fact
from errata.ledger.facts.fact_files import read_facts
from errata.ledger.facts.suites import read_suite
from errata.replay.apply import rederive
from errata.replay.apply.apply import edit
from errata.replay.apply.rederive_report import report
from errata.replay.measure.comparison import Comparison


def run(count: int = 60, batch_size: int = 20, seed: int = 1) -> dict[str, Any]:
    """Both cases, each in a ledger of its own."""
    return {
        "seed": seed,
        "cases": {
            f"{count} facts drawn at random": _case(draw_edits(count, seed), batch_size, [7]),
            f"two facts of each of {batch_size} subjects": _case(
                draw_pairs(batch_size, seed), batch_size, list(range(1, batch_size // 2 + 1))
            ),
        },
    }


def draw_pairs(subjects: int, seed: int) -> list[Fact]:
    """Edit requests for two facts of each of some subjects: one of each subject first, then the others."""
    objects = json.loads((DATA / "objects.json").read_text(encoding="utf-8"))
    known: dict[str, list[Fact]] = defaultdict(list)
    for fact in read_facts(DATA / "facts.jsonl"):
        known[fact.subject].append(fact)
    rng = random.Random(seed)
    drawn = [rng.sample(known[name], 2) for name in rng.sample([n for n in known if len(known[n]) > 1], subjects)]
    requests = []
    for fact in (pair[place] for place in (0, 1) for pair in drawn):
        new = rng.choice([name for name in objects[fact.relation] if name != fact.target])
        requests.append(fact.model_copy(update={"target": new, "old": fact.target}))
    return requests


def _case(facts: Sequence[Fact], batch_size: int, removed: list[int]) -> dict[str, Any]:
    """Edit in batches, solve again without some edits, and then revert them plainly."""
    with tempfile.TemporaryDirectory() as folder:
        space = workspace(Path(folder))
        started = time.perf_counter()
        list(edit(space, facts, space.config(), batch_size))
        edited = time.perf_counter() - started
        planned = rederive.plan(space.state, removed)
        found = rederive.solve(space, planned)
        told = report(space, found, [read_suite(DATA / "general.jsonl")])
        distances = {item.old: item.distance for item in found.edits}
        batches = []
        for batch in planned.batches:
            apart = [d for number in batch.numbers if (d := distances[number]) is not None]
            batches.append({"edits": len(batch.numbers), "median": statistics.median(apart), "most": max(apart)})
        live = len(space.state.live)
        started = time.perf_counter()
        space.revert(removed)
        reverted = time.perf_counter() - started
        return {
            "live": live,
            "batch_size": batch_size,
            "removed": removed,
            "no_ops": len(found.taken_back),
            "batches": batches,
            "scores": [_row(*pair) for pair in zip(told.plain, told.rederived, strict=True)],
            "sentence": told.judgement.sentence,
            "seconds": {"editing": edited, "re-deriving": found.seconds, "plain revert": reverted},
        }


def _row(plain: Comparison, again: Comparison) -> dict[str, Any]:
    ends = again.difference
    return {
        "name": plain.name,
        "n": plain.before.n,
        "versions": [plain.before.value, plain.after.value, again.after.value],
        "difference": [ends.value, ends.low, ends.high],
        "p": again.p,
    }


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    return "\n\n".join(_render(name, case) for name, case in table["cases"].items())


def _render(name: str, case: dict[str, Any]) -> str:
    gone = len(case["removed"])
    what = f"e{case['removed'][0]} reverted" if gone == 1 else f"{gone} edits of the first batch reverted"
    lines = [f"{name}: {case['live']} edits in batches of {case['batch_size']}, {what}"]
    lines.append("batch  solved again  deltas differ by (median)  (most)")
    for place, batch in enumerate(case["batches"], start=1):
        lines.append(f"{place:<5}  {batch['edits']:<12}  {batch['median']:<25.2%}  {batch['most']:.2%}")
    head = ("score", "probes", "(a) head", "(b) plain revert", "(c) re-derived", "(c) - (b), 95% interval", "sign test")
    rows = [head]
    for score in case["scores"]:
        value, low, high = score["difference"]
        shares = [f"{share:.1%}" for share in score["versions"]]
        between = f"{value:+.1%} ({low:+.1%} to {high:+.1%})"
        rows.append((score["name"], str(score["n"]), *shares, between, f"p = {score['p']:.3f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(case["sentence"])
    lines.append("seconds: " + ", ".join(f"{what} {value:.2f}" for what, value in case["seconds"].items()))
    return "\n".join(lines)
