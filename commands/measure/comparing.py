"""`errata compare`: methods on the same facts, each in ledgers that are thrown away, as one table and one picture."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option, name_of, read_facts, read_suite, skip_bad
from errata.commands.lazy import when_used
from errata.commands.measure.pages import Page, require_page, write_page
from errata.commands.options import IN_CHAT, SYSTEM, chat_settings, settings_from
from errata.commands.outputs import A_PAGE, Output, output_option
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.held import held_folder
from errata.ledger.base.words import counted
from errata.replay.charts import Panel, lines
from errata.replay.workflow.caches import COMPARE

with when_used():
    from errata.editor.methods import registry
    from errata.editor.score import intervals
    from errata.editor.score import scores as scoring
    from errata.replay.measure import evaluations
    from errata.replay.tune import compare as comparing
    from errata.replay.tune import runs as standing
    from errata.replay.workflow import workspace as workspaces


@click.command()
@file_option("facts", "--facts", required=True, help="Facts, with paraphrases and locality probes.")
@skip_bad
@click.option("--model", required=True, help="A folder with a causal language model, a hub name or a GGUF file.")
@click.option(
    "--add", "files", multiple=True, type=click.Path(path_type=Path), help="Run a Python file that has more methods."
)
@click.option("--methods", required=True, help="Methods, such as encore,memit,plain=memit; the first is the reference.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Orders of the facts to try.")
@click.option(
    "--set", "pairs", multiple=True, metavar="[METHOD:]NAME=VALUE", help="A hyperparameter, for all or for one."
)
@file_option("corpus", "--corpus", help="Text for second moments. Default: of the model's own.")
@file_option("moments", "--stats", help="Second moments that `errata stats export` wrote, in place of text.")
@file_option("suites", "--suite", multiple=True, help="A suite that must not suffer; may be repeated.")
@click.option("--batch-size", type=click.IntRange(min=1), default=20, show_default=True, help="Edits solved together.")
@click.option(
    "--capacity-bits", "bits", type=click.IntRange(1, 40), default=16, show_default=True, help="As for `errata init`."
)
@click.option("--adapter", type=click.Path(path_type=Path), help="As for `errata init`.")
@IN_CHAT
@SYSTEM
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first N facts.")
@click.option("--points", type=click.IntRange(min=1), default=4, show_default=True, help="Points along the edits.")
@click.option("--keep-failed", is_flag=True, help="Methods as they are: every fact is written once, and stays.")
@click.option("--out", type=Output(), help="Keep runs in this folder, and go on with those in it.")
@output_option("--html", "page", kind=A_PAGE, help="Also write a page; needs the extra `plots`.")
@shared
@click.pass_obj
def compare(
    app: App,
    facts: Path,
    model: str,
    files: tuple[Path, ...],
    methods: str,
    seeds: int,
    pairs: tuple[str, ...],
    corpus: Path | None,
    moments: Path | None,
    suites: tuple[Path, ...],
    batch_size: int,
    bits: int,
    adapter: Path | None,
    chat: bool | None,
    system: str | None,
    limit: int | None,
    points: int,
    keep_failed: bool,
    out: Path | None,
    page: Path | None,
) -> None:
    r"""Compare methods on your facts.

    Every method edits the same facts in a ledger of its own, which is removed afterwards; your own ledger is not looked
    at. Shown are scores with 95 % intervals, the oldest edits to the newest, what is left of the suites, what an edit
    costs, and each method's differences from the first one, fact by fact. What a method's name sets comes before what
    --set sets for all. --add FILE runs Python code that adds methods.

    A seed is an order of the facts. With --out FOLDER runs and their ledgers stay there: the same command goes on with
    what was interrupted, and methods or seeds may be added.

    \b
    Examples:
      errata compare --model ./my-model --facts facts.jsonl --methods encore,memit,alphaedit+mpes
      errata compare --model ./my-model --facts facts.jsonl --methods encore,light=encore \
          --set light:stats_weight=500 --seeds 2 --out runs --html compare.html
    """
    require_page(page, "--html")
    for file in files:
        registry.load_methods(file)
    common, own = _settings(pairs)
    plan = comparing.Contest(
        model=model,
        facts=tuple(read_facts(app, facts))[:limit],
        contenders=_contenders(methods, own),
        corpus=corpus,
        moments=moments,
        adapter=adapter,
        settings=common | chat_settings(chat, system),
        seeds=seeds,
        batch_size=batch_size,
        capacity_bits=bits,
        points=points,
        suites=tuple(read_suite(app, suite) for suite in suites),
        keep_failed=keep_failed,
    )
    with _folder(out) as folder, app.progress("loading the model") as tell:
        runs = comparing.compare(plan, folder, app.surroundings(), tell)
    found = standing.standings(runs)
    base = standing.base_scores(runs)
    made = f"{counted(len(plan.facts), 'fact')} in batches of {batch_size}, {counted(seeds, 'order')}"
    tables = tables_of(base, found)
    ended = [f"{run.contender}, order {run.seed}: ended early: {run.ended}" for run in runs if run.ended]
    view: list[Block] = [made, *tables, *ended]
    if page is not None:
        chart = picture(runs, made)
        write_page(
            page, Page("Methods compared", name_of(facts), f"{made}; {app.world.now()}", "", tables, chart, ended)
        )
        view.append(f"page: {page}")
    app.show(_json(base, found), view)


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with held_folder(Path(tempfile.gettempdir()), COMPARE) as folder:
        yield folder


def _settings(pairs: Sequence[str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Settings for all, and for single methods by name."""
    common: list[str] = []
    own: dict[str, list[str]] = {}
    for pair in pairs:
        name, colon, rest = pair.partition(":")
        if colon and "=" not in name:
            own.setdefault(name, []).append(rest)
        else:
            common.append(pair)
    return settings_from(tuple(common)), {name: settings_from(tuple(given)) for name, given in own.items()}


def _contenders(methods: str, own: dict[str, dict[str, str]]) -> tuple[comparing.Contender, ...]:
    found = []
    for part in filter(None, (part.strip() for part in methods.split(","))):
        name, equals, method = part.partition("=")
        found.append(comparing.Contender(name, method if equals else name, own.pop(name, {})))
    if own:
        raise UsageError(f"--set {next(iter(own))}: is for a method that --methods does not name")
    return tuple(found)


def tables_of(base: scoring.FactScores, found: Sequence[standing.Standing]) -> list[Table]:
    """Scores, ages, harm and cost, and differences from the first method.

    Args:
        base: scores before any edit.
        found: what each method came to (`replay.tune.runs.Standing`).
    """
    return [_scores(base, found), _ages(found), _harm(found), *_differences(found)]


def _share(found: intervals.Estimate | None) -> str:
    """A share with its interval."""
    if found is None:
        return ""
    return f"{found.value:.1%}" + ("" if found.low is None else f" ({found.low:.0%}-{found.high:.0%})")


def _keys(base: scoring.FactScores) -> list[tuple[scoring.Family, scoring.DecidedBy]]:
    """Kinds of probes and decisions that there are, greedy ones first."""
    return [
        (family, decision)
        for decision in scoring.DecidedBy
        for family in scoring.Family
        if (family, decision) in base.scores
    ]


def _scores(base: scoring.FactScores, found: Sequence[standing.Standing]) -> Table:
    keys = _keys(base)
    rows = [("base", *(_share(base.scores.get(key)) for key in keys))]
    rows += [(one.name, *(_share(one.scores.scores.get(key)) for key in keys)) for one in found]
    return Table(("method", *(f"{family.value}, {decision.value}" for family, decision in keys)), tuple(rows), "scores")


def _ages(found: Sequence[standing.Standing]) -> Table:
    groups = ("oldest", *(f"group {i}" for i in range(2, standing.AGES)), "newest")
    rows = tuple((one.name, *map(_share, one.ages)) for one in found)
    return Table(("method", *groups), rows, "said at the end, by age of the edit")


def _harm(found: Sequence[standing.Standing]) -> Table:
    names = list(found[0].runs[0].points[0].suites)
    rows = []
    for one in found:
        base, ends = one.runs[0].points[0], [run.points[-1] for run in one.runs]
        rows.append((
            one.name,
            f"{base.perplexity:.2f} to {_mean([end.perplexity for end in ends]):.2f}",
            *(f"{base.suites[name]:.4g} to {_mean([end.suites[name] for end in ends]):.4g}" for name in names),
            f"x{_mean([end.norm for end in ends]):.2f}",
            f"x{_mean([end.activation_norm for end in ends]):.2f}",
            f"{_mean([end.activation_drift for end in ends]):.3f}",
            f"{_mean([run.left_out for run in one.runs]):g}",
            f"{_mean([run.steps for run in one.runs]):.1f}",
            f"{_mean([run.seconds for run in one.runs]):.3f}",
            f"{max(run.peak_memory for run in one.runs) / 2**20:.0f} MiB",
        ))  # fmt: skip
    columns = ("method", "perplexity", *names, "norm", "activations", "drift", "not in", "steps", "s an edit", "peak")
    return Table(columns, tuple(rows), "what it did to the rest, and what it cost")


def _differences(found: Sequence[standing.Standing]) -> list[Table]:
    rows = [
        (one.name, f"{key[0].value}, {key[1].value}", *in_points(estimate), f"{p:.3f}")
        for one in found[1:]
        for key, (estimate, p) in sorted(one.against.items(), key=lambda item: (item[0][1].value, item[0][0].value))
    ]
    title = f"against {found[0].name}, fact by fact"
    return [Table(("method", "probes", "points", "95% interval", "p"), tuple(rows), title)] if rows else []


def in_points(found: intervals.Estimate) -> tuple[str, str]:
    """A difference of shares in percentage points, and its interval; empty without one."""
    value = f"{100 * found.value:+.1f}"
    if found.low is None or found.high is None:
        return value, ""
    return value, f"{100 * found.low:+.1f} to {100 * found.high:+.1f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def picture(runs: Sequence[standing.Run], made: str) -> dict[str, Any]:
    """The chart: each method's means over its orders of the facts, along the edits."""
    methods = list(dict.fromkeys(run.contender for run in runs))
    records = []
    for method in methods:
        for points in zip(*(run.points for run in runs if run.contender == method), strict=True):
            names = points[0].scores
            mean = {name: _mean([point.scores[name] for point in points]) for name in names}
            rest = {name: _mean([getattr(point, name) for point in points]) for name in ("perplexity", "norm")}
            drift = _mean([point.activation_drift for point in points])
            # The base's scores are of all facts; along the edits they are of those that were asked for so far.
            records.append({"method": method, "facts": points[0].facts, **mean, **rest, "drift": drift})
    wanted = (
        ("efficacy/greedy", "Do the edits hold?"),
        ("paraphrase/greedy", "Also in other words?"),
        ("question/greedy", "Also in chat?"),
        ("locality/greedy", "Are other facts left alone?"),
        ("paraphrase/comparison", "Other words, new answer against old"),
        ("locality/comparison", "Other facts, their answer against the new one"),
    )
    panels = [
        Panel(name, f"{name.partition('/')[0]}, {name.partition('/')[2]}", percent=True, note=note)
        for name, note in wanted
        if any(name in record for record in records)
    ]
    panels += [
        Panel("perplexity", "perplexity", note="Does it still read other text?"),
        Panel("norm", "norm / base's norm", note="How much did the edited matrix grow?"),
        Panel("drift", "mean relative distance", zero=True, note="How far did activations drift?"),
    ]
    return lines(
        records,
        panels,
        title="Methods along the edits",
        subtitle=[made, "Each point asks all the facts that had been edited by then; at 0 all facts, on the base."],
        x="facts",
        x_title="facts edited",
        series="method",
        series_order=methods,
        columns=3,
    )


def _json(base: scoring.FactScores, found: Sequence[standing.Standing]) -> dict[str, Any]:
    def row(name: str, decision: str, found: intervals.Estimate) -> dict[str, Any]:
        return workspaces.score_row(name, decision, found).plain()

    def scores(of: scoring.FactScores) -> list[dict[str, Any]]:
        return [one.plain() for one in evaluations.score_rows(of)]

    return {
        "base": scores(base),
        "methods": [
            {
                "name": one.name,
                "scores": scores(one.scores),
                "by_age": [group and row("efficacy", "greedy", group) for group in one.ages],
                "against_first": [
                    {**row(f.value, d.value, e), "p": p}
                    for (f, d), (e, p) in one.against.items()
                ],
                "runs": [
                    {"seed": run.seed, "config": run.config, "edits": run.edits, "left_out": run.left_out,
                     "steps": run.steps, "seconds": run.seconds, "peak_memory_bytes": run.peak_memory,
                     "ended": run.ended, "points": [vars(point) for point in run.points]}
                    for run in one.runs
                ],
            }
            for one in found
        ],
    }  # fmt: skip
