"""`errata pilot`: a user's own facts, tried in a ledger that is thrown away, and the report that decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import FormerArgument, file_option, name_of, read_facts, read_suite, skip_bad
from errata.commands.lazy import when_used
from errata.commands.measure.pages import Page, require_page, write_page
from errata.commands.options import IN_CHAT, SETTINGS, SYSTEM, chat_settings, settings_from
from errata.commands.outputs import A_PAGE, output_option
from errata.commands.words.render import Block, Table
from errata.editor.config import METHODS
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted
from errata.ledger.kinds.evaluations import interval_words
from errata.replay.charts import Panel, lines

with when_used():
    from errata.editor.score import scores as scoring
    from errata.replay.measure import evaluations
    from errata.replay.tune import pilot as pilots
    from errata.replay.workflow import workspace as workspaces


@click.command()
@file_option("facts", "--facts", help="Your facts, with paraphrases and locality probes.  [required]")
@skip_bad
@click.argument("former", cls=FormerArgument, required=False, type=click.Path(path_type=Path))
@click.option("--model", required=True, help="A folder with a causal language model, or a name on the hub.")
@file_option("corpus", "--corpus", help="Text for second moments and perplexity. Default: of the model's own.")
@file_option("suite", "--suite", help="A general suite that must not suffer.")
@click.option("--batch-size", type=click.IntRange(min=1), default=20, show_default=True, help="Edits solved together.")
@click.option("--adapter", type=click.Path(path_type=Path), help="As for `errata init`.")
@click.option("--method", type=click.Choice(tuple(METHODS)), help="Default: the model's preset.")
@SETTINGS
@IN_CHAT
@SYSTEM
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first N facts.")
@click.option("--points", type=click.IntRange(min=1), default=8, show_default=True, help="Points of the decay curve.")
@output_option("--report", kind=A_PAGE, help="Also write a page of its own; needs the extra `plots`.")
@shared
@click.pass_obj
def pilot(
    app: App,
    facts: Path | None,
    former: Path | None,
    model: str,
    corpus: Path | None,
    suite: Path | None,
    batch_size: int,
    adapter: Path | None,
    method: str | None,
    pairs: tuple[str, ...],
    chat: bool | None,
    system: str | None,
    limit: int | None,
    points: int,
    report: Path | None,
) -> None:
    r"""Try your own facts before you decide.

    The facts are edited in a ledger that is removed afterwards; your own ledger is not looked at. Shown are scores with
    95 % intervals before and after, how they decay along the edits, what an edit costs, and a verdict with what it
    rests on.

    \b
    Example: errata pilot --facts facts.jsonl --model ./my-model --suite general.jsonl
    """
    if (file := facts or former) is None or (facts and former):
        raise UsageError("name one file of facts: --facts FILE")
    items = tuple(read_facts(app, file))[:limit]
    general = None if suite is None else read_suite(app, suite)
    require_page(report, "--report")
    surroundings = app.surroundings()
    settings = settings_from(pairs) | chat_settings(chat, system)
    request = pilots.Pilot(model, corpus, items, batch_size, method, settings, general, points, adapter)
    with app.progress("loading the model") as tell:
        found = pilots.run_pilot(request, surroundings, tell)
    tables, cost = _tables(found), _cost_lines(found)
    if report is not None:
        made = f"{_made(found)}; {app.world.now()}"
        write_page(report, Page("Pilot", name_of(file), made, found.verdict, tables, _chart(found), cost))
    view: list[Block] = [_made(found), *tables, *cost, f"verdict: {found.verdict}"]
    if report is not None:
        view.append(f"report: {report}")
    app.show(_json(found), view)


def _made(found: pilots.PilotReport) -> str:
    return (
        f"{counted(found.facts, 'fact')}: {counted(found.edits, 'edit')} by {found.method}, "
        f"{found.no_ops} said already; in a ledger that is gone"
    )


def _tables(found: pilots.PilotReport) -> list[Table]:
    before = {(row.name, row.decision): row for row in evaluations.score_rows(found.before)}
    rows = [
        (row.name, row.decision, f"{before[row.name, row.decision].value:.1%}", f"{row.value:.1%}",
         interval_words(row, True).removeprefix("95% "), str(row.n))
        for row in evaluations.score_rows(found.after)
    ]  # fmt: skip
    ppl = [(found.perplexity_before, found.perplexity_after)]
    rows += [
        ("perplexity", found.perplexity_of, f"{a.value:.4f}", f"{b.value:.4f}",
         "no interval" if b.low is None else f"{b.low:.4f} to {b.high:.4f}", str(b.n))
        for a, b in ppl
    ]  # fmt: skip
    if found.general_before is not None and found.general_after is not None:
        a, b = found.general_before, found.general_after
        between = "no interval" if b.estimate.low is None else f"{b.estimate.low:.4f} to {b.estimate.high:.4f}"
        rows.append(("general", "suite", f"{a.score:.4f}", f"{b.score:.4f}", between, str(b.n)))
    decay = tuple(
        (str(p.edits), *(_share(p.facts.value(family)) for family in _families()),
         _share(p.first_batch.value(_families()[0])),
         "" if p.general is None else f"{p.general:.4f}", f"{max(p.norm_growth.values()):+.2%}")
        for p in found.points
    )  # fmt: skip
    checks = tuple((check.what, check.outcome.value, check.words) for check in found.checks)
    return [
        Table(("score", "decided by", "before", "after", "95% interval after", "n"), tuple(rows), "scores"),
        Table(("edits", "efficacy", "paraphrase", "locality", "first batch", "general", "norm"), decay, "decay"),
        Table(("check", "outcome", "what it rests on"), checks, "checks"),
    ]


def _families() -> list[Any]:
    return list(scoring.OVERALL)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _cost_lines(found: pilots.PilotReport) -> list[str]:
    cost = found.cost
    if cost.thousand is None:
        return ["cost: no edit was needed"]
    each = sum(cost.seconds) / sum(cost.edits)
    basis = (
        f"extrapolated from {len(cost.edits)} batch{'' if len(cost.edits) == 1 else 'es'}"
        + (" at their mean, no rise being measurable" if cost.slope is None
           else f", each edit adding {cost.slope * 1000:.3g} ms to those after it")
    )  # fmt: skip
    return [
        f"cost: {each:.3f} s an edit, {cost.peak_memory / 2**20:.0f} MiB peak of the whole process",
        f"a thousand edits: about {cost.thousand:.0f} s, {basis}",
    ]


def _chart(found: pilots.PilotReport) -> dict[str, Any]:
    records: list[dict[str, Any]] = []
    for p in found.points:
        for label, scores in (("all edits so far", p.facts), ("first batch", p.first_batch)):
            record: dict[str, Any] = {"edits": p.edits, "of": label}
            for family in _families():
                record[family.value] = scores.value(family)
            if label != "first batch":
                record |= {"general": p.general, "norm": max(p.norm_growth.values())}
            records.append(record)
    panels = [Panel(f.value, f"{f.value}, greedy", percent=True) for f in _families()]
    panels.append(Panel("norm", "norm growth over the base", zero=True))
    if found.general_after is not None:
        panels.append(Panel("general", "general suite", percent=found.general_after.passed is not None))
    return lines(
        records,
        panels,
        title="Scores along the edits",
        subtitle="A falling line is decay.",
        x="edits",
        x_title="edits so far",
        series="of",
        series_order=["all edits so far", "first batch"],
    )


def _json(found: pilots.PilotReport) -> dict[str, Any]:

    def rows(scores: Any) -> list[dict[str, object]]:
        return [row.plain() for row in evaluations.score_rows(scores)]

    def suite(result: Any) -> object:
        return None if result is None else workspaces.score_row("general", "suite", result.estimate).plain()

    cost = found.cost
    return {
        "facts": found.facts,
        "edits": found.edits,
        "no_ops": found.no_ops,
        "method": found.method,
        "before": rows(found.before),
        "after": rows(found.after),
        "general": {"before": suite(found.general_before), "after": suite(found.general_after)},
        "perplexity": {
            "before": workspaces.score_row("perplexity", found.perplexity_of, found.perplexity_before).plain(),
            "after": workspaces.score_row("perplexity", found.perplexity_of, found.perplexity_after).plain(),
        },
        "decay": [
            {"edits": p.edits, "scores": rows(p.facts), "first_batch": rows(p.first_batch), "general": p.general,
             "norm_growth": p.norm_growth}
            for p in found.points
        ],
        "cost": {"seconds": list(cost.seconds), "edits": list(cost.edits), "peak_memory_bytes": cost.peak_memory,
                 "slope_seconds": cost.slope, "thousand_edits_seconds": cost.thousand, "extrapolated": True},
        "checks": [{"what": c.what, "outcome": c.outcome.value, "words": c.words} for c in found.checks],
        "verdict": found.verdict,
    }  # fmt: skip
