"""Blame: its own work at Llama-3-8B's shape, and whether it finds a harmful edit among 500 real ones.

Cost: what is left once the backward pass is done, ``Σ_t (u·g_t)(v·k_t)`` for 10,000 edits and five matrices of
4096 x 14336, against its matrix products at the machine's rate and one pass over the factors. All of it is CPU time of
one thread, which other processes on the machine disturb least.

Ranking, on the shipped model: 499 edits as any user would make them, and one harmful edit planted beside them, ten
times over. The suite asks for true facts about subjects that no edit is about. Two kinds are planted:

- overshot: an ordinary request, with a learning rate ten times the default, 40 steps without early stopping, decay and
  divergence off, a clamp 25 times as wide, and a stats weight of 1 where the others have 1,000;
- generic: the prompt "The price of" with "The price" as its subject, which is no name but how many questions begin;
  ordinary settings, but for a stats weight of 1, without which the second moment would hold such an edit back.

A control is the first generic edit with the stats weight of the 499: about as large, and harmless. Each is one batch of
its own on top of the 499, recorded and taken back before the next.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.lifelong import BATCH, COMMON, chosen_facts
from bench.shipped import workspace
from errata.editor.attribute.influence import WeightGradient, add_gradients, gradients_for
from errata.editor.attribute.stand_in import StandIn, measure, stand_in
from errata.editor.model.hooks import patched
from errata.editor.score.ranking import spearman
from errata.editor.solve.norms import norm_of
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.replay.apply.apply import edit
from errata.replay.measure.blame import Blame, blame
from errata.replay.measure.first_order import influences
from errata.replay.workflow.workspace import Workspace

SHAPE = (4096, 14336)
"""The edited matrices of Llama-3-8B."""
TENSORS = 5
TOKENS = (20, 1000)
"""Tokens behind the gradient: one prompt, and a suite of fifty."""
ORDINARY = 499
WEAK = {"stats_weight": 1.0}
OVERSHOT: dict[str, Any] = {
    **WEAK, "learning_rate": 3.0, "early_stopping": False, "loss_threshold": 0.0, "max_steps": 40,
    "clamp_norm_factor": 100.0, "decay": 0.0, "kl_weight": 0.0,
}  # fmt: skip
GENERIC = ("batteries", "Persian", "Greyport", "timber", "1988")
"""What the generic edits make of "The price of"."""
CONTROL = "control"
CHECKED = 50
POINTS = (2, 4, 8)


def run(count: int = 10_000, ordinary: int = ORDINARY, seed: int = 11) -> dict[str, Any]:
    """Measure both."""
    torch.set_num_threads(1)
    return {"cost": cost(count), "ranking": ranking(ordinary, seed)}


def cost(count: int) -> dict[str, Any]:
    """Seconds of the influences of ``count`` edits; one tensor's factors are drawn and used for each of the five."""
    d_out, d_in = SHAPE
    generator = torch.Generator().manual_seed(0)
    u, v = (torch.randn(count, size, generator=generator) for size in SHAPE)
    a, b = torch.randn(2048, 4096, generator=generator), torch.randn(4096, 1024, generator=generator)
    rate = 2.0 * a.numel() * b.shape[1] / _cpu_seconds(lambda: a @ b)
    read = v.nbytes / _cpu_seconds(lambda: v.sum())
    ways = {}
    for tokens in TOKENS:
        gradient = WeightGradient(*SHAPE)
        gradient.add(torch.randn(tokens, d_out, generator=generator), torch.randn(tokens, d_in, generator=generator))
        taken = TENSORS * _cpu_seconds(partial(gradient.influences, u, v))
        product = TENSORS * 2.0 * count * tokens * (d_out + d_in) / rate
        memory = TENSORS * (u.nbytes + v.nbytes) / read
        ways[str(tokens)] = {
            "seconds": taken, "product_seconds": product, "memory_seconds": memory,
            "to_product": taken / product, "to_limit": taken / (product + memory),
        }  # fmt: skip
    return {"edits": count, "flop_per_second": rate, "bytes_per_second": read, "tokens": ways}


def _cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Median CPU time of some work on one thread, after one run that does not count."""
    work()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return statistics.median(found)


def ranking(ordinary: int, seed: int) -> dict[str, Any]:
    """Plant harmful edits, one at a time, and see where blame puts them."""
    requests, others = chosen_facts(ordinary + len(GENERIC), seed)
    requests = [fact.model_copy(update={"paraphrases": ()}) for fact in requests]
    suite = Suite(
        name="unrelated", metric=Metric.EXACT_MATCH,
        probes=tuple(Probe(prompt=fact.text, target=fact.target) for fact in others[::2]),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        space = workspace(Path(folder))
        settings = space.config().updated(COMMON)
        for _ in edit(space, requests[:ordinary], settings, BATCH):
            pass
        live = space.state.live
        metric = stand_in(space.loaded, suite)
        with space.at(()):
            base, _ = measure(space.loaded, suite, metric)
        with space.at(live):
            before = measure(space.loaded, suite, metric)
        plants = [("overshot", fact, OVERSHOT) for fact in requests[ordinary:]]
        plants += [("generic", Fact(subject="The price", prompt="{} of", target=t), WEAK) for t in GENERIC]
        plants.append((CONTROL, Fact(subject="The price", prompt="{} of", target=GENERIC[0]), {}))
        rows = [_planted(space, live, suite, metric, before, *plant) for plant in plants]
        found = blame(space, (*live, rows[0]["edit"]), suite, top=0, check=CHECKED)
        return {
            "ordinary": len(live),
            "probes": suite.size,
            "base": base,
            "before": before[0],
            "plants": rows,
            "checked": CHECKED,
            "agreement": {"stand_in": found.agreement_sample.stand_in, "score": found.agreement_sample.score},
            "by_size": _by_size(space, found),
            "averaged": {str(points): _averaged(space, found, metric, points) for points in POINTS},
        }


def _planted(
    space: Workspace,
    live: Sequence[int],
    suite: Suite,
    metric: StandIn,
    before: tuple[float, float],
    kind: str,
    fact: Fact,
    changes: dict[str, Any],
) -> dict[str, Any]:
    """Plant one edit, blame, and take it back; its delta stays in the ledger."""
    (report,) = edit(space, [fact], space.config().updated({**COMMON, **changes}), 1)
    (number,) = (body.number for body in report.recorded)
    space.revert([number])
    version = (*live, number)
    began = time.process_time()
    found = blame(space, version, suite, top=0)
    taken = time.process_time() - began
    order = [one.edit for one in found.edits]
    one = found.edits[order.index(number)]
    sizes = _sizes(space, version)
    return {
        "kind": kind,
        "prompt": fact.text,
        "target": fact.target,
        "edit": number,
        "after": found.score,
        "rank": order.index(number) + 1,
        "harm": one.harm,
        "exact": before[1] - found.value,
        "next": max(other.harm for other in found.edits if other.edit != number),
        "size": sizes[number] / sorted(sizes.values())[len(sizes) // 2],
        "rank_by_size": 1 + sum(size > sizes[number] for size in sizes.values()),
        "seconds": taken,
    }


def _sizes(space: Workspace, live: Iterable[int]) -> dict[int, float]:
    """The Frobenius norm of each edit's delta over all tensors."""
    found: dict[int, float] = {}
    for members, factors in space.factors.read_numbered(space.state, live):
        squares = torch.zeros(len(members))
        for u, v in factors.values():
            of_edits = zip(u.chunk(len(members)), v.chunk(len(members)), strict=True)
            squares += torch.tensor([norm_of(a, b) ** 2 for a, b in of_edits])
        found |= dict(zip(members, squares.sqrt().tolist(), strict=True))
    return found


def _by_size(space: Workspace, found: Blame) -> float | None:
    """Spearman's correlation of leave-one-out harm with the size of the delta alone, which needs no suite."""
    exact = {one.edit: one.left_out.harm for one in found.edits if one.left_out is not None}
    sizes = _sizes(space, exact)
    return spearman([sizes[number] for number in exact], list(exact.values()))


def _averaged(space: Workspace, found: Blame, metric: StandIn, points: int) -> float | None:
    """Spearman's correlation with leave-one-out of gradients averaged along the way from the base to the version."""
    live = tuple(one.edit for one in found.edits)
    exact = {one.edit: one.left_out.stand_in for one in found.edits if one.left_out is not None}
    totals, layers = space.materialiser.sums(live), {n: t.layer for n, t in space.created.edited.items()}
    mean = dict.fromkeys(exact, 0.0)
    for i in range(points):
        weights = {}
        for name, total in totals.items():
            base, spec = space.materialiser.base[name], space.materialiser.specs[name]
            change = total.total.T if spec.transposed else total.total
            weights[space.loaded.parameter_name(name)] = (base.double() + (i + 0.5) / points * change).to(base.dtype)
        gradients = gradients_for(space.loaded, sorted(layers.values()))
        with patched(space.loaded.model, weights):
            add_gradients(space.loaded, metric, gradients)
        for number, parts in influences(space, exact, {name: gradients[layers[name]] for name in layers}).items():
            mean[number] += sum(parts.values()) / points
    return spearman([mean[number] for number in exact], list(exact.values()))


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    return "\n".join([*_render_cost(table["cost"]), *_render_ranking(table["ranking"])])


def _render_cost(cost: dict[str, Any]) -> list[str]:
    lines = [
        f"{cost['edits']:,} edits, {TENSORS} matrices of {SHAPE[0]} x {SHAPE[1]}, one thread; float32 products "
        f"reach {cost['flop_per_second'] / 1e9:.0f} GFLOP/s, reading {cost['bytes_per_second'] / 1e9:.1f} GB/s",
        f"{'tokens':>6}  {'seconds':>7}  {'products':>8}  {'reading':>7}  {'/ products':>10}  {'/ both':>6}",
    ]
    for tokens, way in cost["tokens"].items():
        own, least = f"{way['seconds']:>7.2f}", f"{way['product_seconds']:>8.2f}  {way['memory_seconds']:>7.2f}"
        lines.append(f"{int(tokens):>6,}  {own}  {least}  {way['to_product']:>10.2f}  {way['to_limit']:>6.2f}")
    return lines


def _render_ranking(ranks: dict[str, Any]) -> list[str]:
    width = max(len(f"{row['prompt']} => {row['target']}") for row in ranks["plants"])
    lines = [
        f"one harmful edit beside {ranks['ordinary']} others; the suite, {ranks['probes']} facts about other subjects: "
        f"base {ranks['base']:.1%}, {ranks['ordinary']} edits {ranks['before']:.1%}",
        f"{'planted':<8}  {'prompt and target':<{width}}  {'suite':>6}  {'harm':>6}  {'exact':>6}  {'next':>6}  "
        "rank  size  rank by size",
    ]
    for row in ranks["plants"]:
        values = "  ".join(f"{row[name]:>6.3f}" for name in ("harm", "exact", "next"))
        lines.append(
            f"{row['kind']:<8}  {row['prompt'] + ' => ' + row['target']:<{width}}  {row['after']:>6.1%}  {values}  "
            f"{row['rank']:>4}  x{row['size']:.1f}  {row['rank_by_size']}"
        )
    harmful = [row for row in ranks["plants"] if row["kind"] != CONTROL]
    first = sum(row["rank"] <= 5 for row in harmful)
    averaged = ", ".join(f"{points} points {value:.2f}" for points, value in ranks["averaged"].items())
    return [
        *lines,
        "suite: with the plant; harm: nats of the mean log-probability, to first order; exact: by leaving it out;",
        "next: the most harmful other edit; size: the delta's norm, as a multiple of the median",
        f"among the first five: {first} of {len(harmful)}; forward, backward, ranking and the score take "
        f"{max(row['seconds'] for row in ranks['plants']):.1f} s of CPU time at most",
        f"rank correlation with leave-one-out over {ranks['checked']} edits drawn at random: "
        f"{ranks['agreement']['stand_in']:.2f}; of the delta's norm alone: {ranks['by_size']:.2f}; of gradients "
        f"averaged on the way from the base: {averaged}",
    ]
