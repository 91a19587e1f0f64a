"""`errata blame`, `errata why` and `errata timeline`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from errata.commands.app import App, shared
from errata.commands.files import file_option, read_suite
from errata.commands.lazy import when_used
from errata.commands.options import CHART, EVERY, ONLY, WITHOUT
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.records import describe
from errata.ledger.base.words import counted, short
from errata.ledger.events.words import fact_words
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import SAMPLED, Metric, Suite
from errata.ledger.kinds.evaluations import SHARES
from errata.ledger.state.state import State
from errata.replay.charts import Panel, lines, require, save

with when_used():
    from errata.editor.attribute import stand_in
    from errata.editor.model import text
    from errata.editor.score import intervals
    from errata.replay.measure import blame as blames
    from errata.replay.measure import timeline as timelines
    from errata.replay.measure import why as whys


@click.command()
@click.argument("version", default="HEAD")
@file_option("suite", "--suite", help="What the edits are blamed for: a suite, JSONL.")
@click.option("--prompt", help="Or one prompt, with --target.")
@click.option("--target", help="What the version should say after it.")
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, help="Edits also left out singly.")
@click.option("--check", type=click.IntRange(min=0), default=0, show_default=True, help="As many others, at random.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seeds the random choice.")
@WITHOUT
@ONLY
@shared
@click.pass_obj
def blame(
    app: App,
    version: str,
    suite: Path | None,
    prompt: str | None,
    target: str | None,
    top: int,
    check: int,
    seed: int,
    without: tuple[str, ...],
    only: tuple[str, ...],
) -> None:
    r"""Rank edits by the harm that they do.

    Every live edit of VERSION (HEAD if left out) by how much worse it makes a suite, or the answer to a prompt, to
    first order: from one forward and backward pass. Metrics without a gradient have a stand-in, which the output names.
    The edits at the top, and --check others, are also left out one by one, which is exact; the rank correlation of both
    is told. Nothing is recorded.

    \b
    Examples:
      errata blame --suite general.jsonl
      errata blame --suite general.jsonl --top 5 --check 50
      errata blame HEAD~3 --prompt "The price of the Harrow 9 is" --target "40 crowns"
    """
    if (suite is None) == (prompt is None):
        raise UsageError("say what to blame edits for: --suite FILE, or --prompt TEXT with --target TEXT")
    if (prompt is None) != (target is None):
        raise UsageError("--prompt TEXT and --target TEXT go together")
    asked = prompt_suite(prompt, target) if suite is None else read_suite(app, suite)
    live = app.live(app.ledger(), version, without, only)
    workspace = app.workspace()
    with app.progress("loading the model") as tell:
        differentiated = None
        if prompt is not None and target is not None:
            differentiated = stand_in.log_probability(
                text.locate(workspace.loaded.tokenizer, prompt, target=asked.probes[0].target)
            )
        found = blames.blame(workspace, live, asked, top, check, seed, differentiated, tell)
    app.show(asdict(found), blame_told(workspace.state, found))


def prompt_suite(prompt: str | None, target: str | None) -> Suite:
    """A suite of one prompt.

    Raises:
        UsageError: the prompt or the target is not what it must be.
    """
    try:
        probe = Probe.model_validate({"prompt": prompt, "target": target})
    except ValidationError as error:
        raise UsageError(describe(error)) from error
    return Suite(name="prompt", metric=Metric.TARGET_PROBABILITY, probes=(probe,))


def blame_told(state: State, found: blames.Blame) -> list[Block]:
    """What the edits of a version are blamed for: those with an exact value, or the first ten."""
    shown = [one for one in found.edits if one.left_out is not None] or list(found.edits[:10])
    several = len(found.edits[0].parts) > 1
    columns = ["rank", "edit", "harm", "exact", f"{found.metric} without it"]
    columns += ["mostly in", "fact"] if several else ["fact"]
    ranks = {one.edit: str(rank) for rank, one in enumerate(found.edits, start=1)}
    rows = []
    for one in shown:
        exact = one.left_out
        cells = [ranks[one.edit], f"e{one.edit}", f"{one.harm:+.3g}"]
        cells += ["", ""] if exact is None else [f"{exact.harm:+.3g}", _score(found.metric, exact.score_without)]
        cells += [_mostly(state, one)] if several else []
        rows.append((*cells, fact_words(state.edits[one.edit].body)))
    word = "lowers" if found.higher_is_better else "raises"
    return [
        f"{found.suite} on {short(found.version)}: {found.metric} {_score(found.metric, found.score)}, "
        f"{counted(len(found.edits), 'live edit')}",
        f"harm: how much having the edit {word} the {found.stand_in}; now {found.value:.4g}",
        f"to first order, from {counted(found.tokens, 'token')}; exact: by leaving the edit out",
        Table(tuple(columns), tuple(rows)),
        *_agreements(found),
    ]


def _mostly(state: State, one: blames.Blamed) -> str:
    """The layer through which an edit does most of what it does."""
    name = max(one.parts, key=lambda tensor: abs(one.parts[tensor]))
    return f"layer {state.genesis.edited[name].layer}"


def _agreements(found: blames.Blame) -> list[Block]:
    """Rank correlations, in words."""
    kinds = (
        ("the top", found.agreement_top),
        ("a random sample", found.agreement_sample),
        ("both", found.agreement_all),
    )
    told = [(words, one) for words, one in kinds if one.edits]
    if len(told) == 1 or not found.sample:
        told = told[:1]
    return [f"rank correlation of first order with exact, over {words}, {_agreement(one)}" for words, one in told]


def _agreement(one: blames.Agreement) -> str:
    def told(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.2f}"

    return f"{counted(one.edits, 'edit')}: {told(one.stand_in)}; with the score's own change: {told(one.score)}"


def _score(metric: str, value: float) -> str:
    return f"{value:.1%}" if metric in SHARES else f"{value:.4g}"


@click.command()
@click.argument("prompt")
@click.argument("version", default="HEAD")
@click.option("--target", help="The answer to explain. Default: what the version says.")
@click.option("--top", type=click.IntRange(min=0), default=5, show_default=True, help="Edits also left out singly.")
@WITHOUT
@ONLY
@shared
@click.pass_obj
def why(
    app: App, prompt: str, version: str, target: str | None, top: int, without: tuple[str, ...], only: tuple[str, ...]
) -> None:
    r"""Show which edits fire on a prompt.

    For each live edit of VERSION (HEAD if left out): the token and layer where it is strongest, v·k there, its strength
    as a share of what the edited module gives there, and what it adds to the log-probability of the answer, to first
    order. The first few are also left out one by one, which is exact. --json has v·k and strength of those at every
    token and layer. Nothing is recorded.

    \b
    Examples:
      errata why "The chief executive of Norwind Systems is"
      errata why "The price of the Harrow 9 is" HEAD~3 --target "40 crowns"
    """
    live = app.live(app.ledger(), version, without, only)
    workspace = app.workspace()
    with app.progress("loading the model"):
        found = whys.why(workspace, prompt, live, target, top)
    app.show(asdict(found), _why_told(workspace.state, found, top))


def _why_told(state: State, found: whys.Why, top: int) -> list[Block]:
    shown = found.edits[: top or 10]
    rows = []
    for one in shown:
        there = found.tokens[one.position]
        cells = [f"e{one.edit}", f"{one.influence:+.3g}"]
        if one.without is None:
            cells += ["", "", ""]
        else:
            cells += [f"{one.without.change:+.3g}", f"{one.without.probability:.3g}", one.without.says]
        cells += [f"{one.projection:.3g}", f"{one.strength:.1%}", f"layer {one.layer}, token {one.position} {there!r}"]
        rows.append((*cells, fact_words(state.edits[one.edit].body)))
    columns = ("edit", "adds", "exact", "P without", "says without", "v·k", "strength", "strongest at", "fact")
    view: list[Block] = [
        f"{short(found.version)}, {counted(len(found.edits), 'live edit')}, says: {found.says}",
        f"the base says: {found.base_says}",
        f"probability of {found.answer!r}: {found.probability:.3g}; in the base {found.base_probability:.3g}",
        "adds: what the edit adds to that log-probability, nats, to first order; exact: by leaving the edit out",
        "strength: the edit's share of what the edited module gives, |v·k|·|u| / |W k|",
        Table(columns, tuple(rows)),
    ]
    grid = [one for one in shown if one.strengths is not None]
    if grid:
        view.append(_by_token(found, [(f"e{one.edit}", one.strengths or {}) for one in grid]))
    return view


def _by_token(found: whys.Why, edits: Sequence[tuple[str, Mapping[int, tuple[float, ...]]]]) -> Table:
    """Each edit's strength at each token: the largest over layers."""
    rows = []
    for place, token in enumerate(found.tokens):
        cells = tuple(f"{max(of[place] for of in strengths.values()):.1%}" for _, strengths in edits)
        part = "answer" if place >= found.answer_start else "prompt"
        rows.append((str(place), part, repr(token), *cells))
    where = "" if len(found.layers) == 1 else ", the largest over layers"
    return Table(("token", "", "text", *(name for name, _ in edits)), tuple(rows), title=f"strength by token{where}")


@click.command()
@file_option("files", "--suite", multiple=True, required=True, help="A suite; may be repeated.")
@EVERY
@CHART
@shared
@click.pass_obj
def timeline(app: App, files: tuple[Path, ...], every: int | None, chart: Path | None) -> None:
    """Score suites along the log.

    From the base to the head, with 95 % intervals, the norms of the edited matrices, and the two points between which
    each suite fell the most, where a bisection would start. Nothing is recorded, and no file is written but the chart.

    Example: errata timeline --suite general.jsonl --suite regression.jsonl --every 50 --chart scores.svg
    """
    suites = [read_suite(app, file) for file in files]
    workspace = app.workspace()
    if chart is not None:
        require()
    with app.progress("loading the model") as tell:
        moments = list(timelines.timeline(workspace, suites, every, lambda done, of: tell(f"point {done} of {of}")))
    steepest = timelines.falls(moments, suites)
    if chart is not None:
        save(_timeline_chart(moments, suites), chart)
    data = {
        "moments": [asdict(moment) for moment in moments],
        "falls": {name: asdict(fall) for name, fall in steepest.items()},
    }
    view: list[Block] = [_timeline_table(moments, suites, steepest)]
    view += [_fall_told(suite, steepest.get(suite.name)) for suite in suites]
    app.show(data, view)


def _timeline_table(
    moments: Sequence[timelines.Moment], suites: Sequence[Suite], steepest: Mapping[str, timelines.Fall]
) -> Table:
    rows = []
    for moment in moments:
        cells = [f"@{moment.seq}", str(len(moment.live)), " ".join(f"x{value:.3f}" for value in moment.norms.values())]
        for suite in suites:
            fall = steepest.get(suite.name)
            mark = " <" if fall is not None and fall.stop == moment.seq else ""
            cells.append(_with_interval(suite, moment.scores[suite.name]) + mark)
        rows.append(tuple(cells))
    return Table(("at", "live", "norm", *(suite.name for suite in suites)), tuple(rows))


def _with_interval(suite: Suite, score: intervals.Estimate) -> str:
    metric = suite.metric.value
    between = (
        ""
        if score.low is None or score.high is None
        else f" ({_score(metric, score.low)} to {_score(metric, score.high)})"
    )
    return _score(metric, score.value) + between


def _fall_told(suite: Suite, fall: timelines.Fall | None) -> str:
    if fall is None:
        return f"{suite.name}: at no point worse than at the one before"
    drawn = "; this metric samples, so a fall may be chance" if suite.metric in SAMPLED else ""
    worse = f"{100 * fall.worse:.1f} points" if suite.metric.value in SHARES else f"{fall.worse:.4g}"
    changes = [words for words in (_range(fall.added), _gone(fall.removed)) if words]
    sure = "" if fall.apart is None else " (intervals apart)" if fall.apart else " (intervals overlap)"
    return (
        f"{suite.name}: worse by {worse}{sure} between @{fall.start} and @{fall.stop}, {', '.join(changes)}: "
        f"errata bisect start @{fall.start} @{fall.stop}{drawn}"
    )


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return ""
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"e{numbers[0]} to e{numbers[-1]}"
    return ", ".join(f"e{number}" for number in numbers[:6]) + (
        f" and {len(numbers) - 6} more" if len(numbers) > 6 else ""
    )


def _gone(numbers: Sequence[int]) -> str:
    return f"without {_range(numbers)}" if numbers else ""


def _timeline_chart(moments: Sequence[timelines.Moment], suites: Sequence[Suite]) -> dict[str, Any]:
    records: list[dict[str, Any]] = []
    for moment in moments:
        for i, suite in enumerate(suites):
            score = moment.scores[suite.name]
            records.append({"edits": moment.made, "what": suite.name, f"score{i}": score.value, f"low{i}": score.low,
                            f"high{i}": score.high})  # fmt: skip
        records += [{"edits": moment.made, "what": name, "norm": norm} for name, norm in moment.norms.items()]
    panels = []
    for i, suite in enumerate(suites):
        metric = suite.metric.value
        panels.append(
            Panel(f"score{i}", metric.replace("_", " "), percent=metric in SHARES, low=f"low{i}", high=f"high{i}",
                  note=f"Suite: {suite.name}")
        )  # fmt: skip
    panels.append(Panel("norm", "norm, as a multiple of the base's", note="How much did the edited matrices grow?"))
    series = [*(suite.name for suite in suites), *moments[0].norms]
    return lines(
        records, panels, title="Scores along the log", subtitle="Bands are 95 % intervals.", x="edits",
        x_title="edits made", series="what", series_order=series,
    )  # fmt: skip
