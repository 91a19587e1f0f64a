"""`errata tune` and `errata settings`: how the ledger edits when nobody says otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option, read_facts, read_suite, skip_bad
from errata.commands.lazy import when_used
from errata.commands.options import SETTINGS, settings_from
from errata.commands.outputs import A_CHART, Output, output_option
from errata.commands.words.render import Block, Table
from errata.commands.words.wording import settings_source
from errata.editor.config import build_config
from errata.ledger.base.errors import UsageError
from errata.ledger.base.files import write_file
from errata.ledger.base.words import counted
from errata.ledger.events.policy import Capability
from errata.replay import charts

with when_used():
    from errata.editor.score import choice as scored
    from errata.replay.measure import locating
    from errata.replay.tune import chart, tuning
    from errata.replay.workflow import genesis


COLUMNS = {"clamp_norm_factor": "clamp", "max_steps": "steps at most", "null_space_share": "null space"}
"""Headings of settings that are not called by their names."""


@click.command()
@file_option("facts", "--facts", required=True, help="Facts as they would be edited.")
@skip_bad
@click.option("--sample", type=click.IntRange(min=3), default=150, show_default=True, help="Facts to draw from them.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seeds sample and search.")
@file_option("suite", "--suite", help="A suite of what must stay: the general score.")
@click.option("--layers", "choices", multiple=True, help="Layers to try, such as 3,4; repeatable.")
@file_option("corpus", "--corpus", help="The text that `errata init` was given, if any; for --layers.")
@click.option("--batch-size", type=click.IntRange(min=1), default=20, show_default=True, help="Most edits in a solve.")
@click.option("--trials", type=click.IntRange(min=1), default=40, show_default=True, help="Settings to try, in all.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Begin no trial after this long.")
@click.option("--study", type=Output(), help="Optuna's journal. Default: in the ledger's cache.")
@output_option("--out", kind=A_CHART, names=("tune",), help="Write pictures, and errata.json if other layers win.")
@click.option("--reason", default="", help="Why; recorded.")
@click.option("--dry-run", is_flag=True, help="Search and tell, but record nothing.")
@shared
@click.pass_obj
def tune(
    app: App,
    facts: Path,
    sample: int,
    seed: int,
    suite: Path | None,
    choices: tuple[str, ...],
    corpus: Path | None,
    batch_size: int,
    trials: int,
    minutes: float | None,
    study: Path | None,
    out: Path | None,
    reason: str,
    dry_run: bool,
) -> None:
    """Find settings on a sample of your facts.

    Facts are drawn from FILE, edited in memory with many settings, and scored; the settings in force are tried first.
    A third of the sample is kept from the search, and the choice is tried on it. If it is not worse there, it becomes
    the ledger's own settings, on record. A search that was interrupted goes on when it is called again. Leave the
    facts of the sample out of later scores: `errata edit` says when it meets one. The suite is one of probes; whatever
    its metric, they count by exact match.

    Example: errata tune --facts facts.jsonl --suite general.jsonl --trials 40 --minutes 10
    """
    asked = read_facts(app, facts)
    general = None if suite is None else read_suite(app, suite)
    workspace = app.workspace()
    if not dry_run:
        workspace.foresee(None, Capability.SETTINGS)
    tuning.require_optuna()
    if out is not None:
        charts.require()
    start = workspace.config()
    layers = [build_config({"layers": choice}).layers for choice in choices]
    chosen, held_out = tuning.split(locating.sample_of(asked, sample, seed))
    space = scored.space_around(start, layers)
    search = tuning.Search(tuple(chosen), tuple(held_out), general, space, seed, batch_size)
    journal = study or workspace.ledger.cache / "tune.journal"
    with app.progress("loading the model") as tell:
        bench = tuning.Workbench(workspace, sorted({n for one in space.layers for n in one}), corpus, batch_size, tell)
        tell("searching for settings", 0, trials, "trials")
        done = tuning.run(
            bench,
            search,
            journal,
            trials,
            None if minutes is None else minutes * 60,
            lambda found: tell("searching for settings", len(found), trials, "trials"),
        )
        tell("trying the choice on held-out facts")
        outcome = tuning.conclude(bench, search, done, reason, record=not dry_run)
        pictures = [] if out is None else chart.draw(outcome, out)
    preset = _write_preset(outcome, out)
    data = {
        "sample_digest": search.sample_digest,
        "facts": len(search.facts),
        "held_out": len(search.held_out),
        "trials": [_entry(trial) for trial in outcome.trials],
        "pareto": [trial.number for trial in _front(outcome)],
        "chosen": outcome.own.number,
        "chosen_of_all_layers": outcome.overall.number,
        "before_held_out": _entry(outcome.before),
        "after_held_out": _entry(outcome.after),
        "changed": outcome.changed,
        "hyperparameters": workspace.config().to_record(),
        "journal": str(journal),
        "pictures": [str(path) for path in pictures],
        "preset": None if preset is None else str(preset),
    }
    app.show(data, _told(outcome, search, dry_run, pictures, preset))


@click.command()
@SETTINGS
@click.option("--reason", default="", help="Why; recorded with --set.")
@shared
@click.pass_obj
def settings(app: App, pairs: tuple[str, ...], reason: str) -> None:
    """Show or change the settings in force.

    They are what `errata edit` uses where it is not told otherwise: those of the ledger's creation, or what was tuned
    or set since. A change is an event; earlier edits keep the settings that they were made with.

    Example: errata settings --set norm_weight=10 --reason "as in the pilot"
    """
    ledger = app.ledger()
    state = ledger.state()
    if reason and not pairs:
        raise UsageError("--reason belongs to --set NAME=VALUE")
    if pairs:
        config = build_config(dict(state.hyperparameters)).updated(settings_from(pairs))
        app.writer(ledger).change_settings(config, reason)
        state = ledger.state()
    first = build_config(dict(state.genesis.hyperparameters)).to_record()
    now = build_config(dict(state.hyperparameters)).to_record()
    seq, source = settings_source(state)
    rows = tuple(
        (name, json.dumps(value), "" if first.get(name) == value else json.dumps(first.get(name)))
        for name, value in now.items()
    )
    data = {"hyperparameters": now, "seq": seq, "source": source, "at_creation": first}
    app.show(data, [Table(("setting", "value", "at creation"), rows), f"in force since @{seq}: {source}"])


def _front(outcome: tuning.TuningResult) -> list[scored.Trial]:
    return scored.pareto(outcome.trials)


def _entry(trial: scored.Trial) -> dict[str, Any]:
    scores = trial.scores
    return {
        "number": trial.number,
        "quality": trial.quality,
        **{name: None if scores is None else scores.share(name) for name in scored.COMPONENTS},
        "seconds": trial.seconds,
        "steps": trial.steps,
        "work": trial.work,
        "failed": trial.failed,
        "hyperparameters": trial.config.to_record(),
    }


def _write_preset(outcome: tuning.TuningResult, out: Path | None) -> Path | None:
    """A preset for a new ledger, where other layers than this ledger's own were chosen among all."""
    if outcome.overall is outcome.own or out is None:
        return None
    preset = {"hyperparameters": outcome.overall.config.to_record()}
    write_file(out / genesis.PRESET, (json.dumps(preset, indent=2) + "\n").encode())
    return out / genesis.PRESET


def _told(
    outcome: tuning.TuningResult, search: tuning.Search, dry_run: bool, pictures: list[Path], preset: Path | None
) -> list[Block]:
    start, own, overall = outcome.trials[0], outcome.own, outcome.overall
    shown = {trial.number: trial for trial in (start, own, overall, *_front(outcome))}
    sought = ("layers", *search.space.ranges)
    names = {start.number: "before", overall.number: "best layers", own.number: "chosen"}
    if own is start:
        names[own.number] = "before, chosen"
    view: list[Block] = [
        Table(
            ("trial", "", *_SCORES, "seconds/edit", "steps/edit"),
            tuple((str(n), names.get(n, "front"), *_cells(trial)) for n, trial in sorted(shown.items())),
            title="on the facts that were chosen on",
        ),
        Table(
            ("trial", *(COLUMNS.get(name, name.replace("_", " ")) for name in sought)),
            tuple((str(n), *(_setting(trial, name) for name in sought)) for n, trial in sorted(shown.items())),
        ),
    ]
    held = [("before", outcome.before), ("chosen", outcome.after)][: 1 if own is start else 2]
    if overall is not own:
        held.append(("best layers", outcome.overall_after))
    rows = tuple((name, *_cells(trial)) for name, trial in held)
    view.append(Table(("", *_SCORES, "seconds/edit", "steps/edit"), rows, title="on held-out facts"))
    failed = [trial for trial in outcome.trials if trial.scores is None]
    view.append(f"{counted(len(outcome.trials), 'trial')}, {len(failed)} failed; chosen: {scored.CHOICE}")
    if failed:
        view.append(f"the first that failed is trial {failed[0].number}: {failed[0].failed}")
    if search.suite is not None and search.suite.metric != "exact_match":
        view.append(f"the suite's metric is {search.suite.metric.value}; here its probes count by exact match")
    if overall is not own:
        layers = ", ".join(map(str, overall.config.layers))
        where = f"{preset} holds that preset" if preset else "--out FOLDER writes a preset"
        view.append(f"trial {overall.number} edits layers {layers}, which needs a new ledger: {where}")
    if outcome.changed:
        view.append("the choice is the ledger's own settings now: errata settings")
    elif own is start:
        view.append("the settings before stand: nothing that was tried is better")
    elif dry_run:
        view.append("nothing was recorded (dry run)")
    else:
        view.append(f"the settings before stand: on the held-out facts the choice {_lacking(outcome.after)}")
    return [*view, *(f"wrote {path}" for path in pictures)]


def _lacking(after: scored.Trial) -> str:
    """Why a choice was not taken."""
    if after.scores is None:
        return f"fails: {after.failed}"
    return "is worse" if after.quality > 0 else "has a quality of 0: one of its scores is 0"


_SCORES = ("quality", "efficacy", "paraphrase", "locality", "general")


def _cells(trial: scored.Trial) -> tuple[str, ...]:
    if trial.scores is None:
        return ("0.000", *("-" for _ in _SCORES[1:]), "-", "-")
    shares = [trial.scores.share(name) for name in _SCORES[1:]]
    cells = ["-" if share is None else f"{share:.1%}" for share in shares]
    return (f"{trial.quality:.3f}", *cells, f"{trial.seconds:.3f}", f"{trial.steps:.1f}")


def _setting(trial: scored.Trial, name: str) -> str:
    value = getattr(trial.config, name)
    return ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:.4g}"
