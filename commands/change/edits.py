"""`errata edit`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.lazy import when_used
from errata.commands.options import SETTINGS, GivenFacts, fact_options, settings_from
from errata.commands.words.render import Block, Table
from errata.commands.words.wording import probe_words
from errata.editor.config import METHODS, config_for
from errata.ledger.base.errors import ErrataError
from errata.ledger.base.words import counted, short

with when_used():
    from errata.editor import pipeline
    from errata.replay.apply import apply
    from errata.replay.tune import tuning


@click.command()
@fact_options
@click.option("--personal", is_flag=True, help="About a person: recorded sealed, so that it can be erased.")
@click.option(
    "--batch-size", default=20, show_default=True, help="Most edits that are solved together; rome and ft take one."
)
@click.option("--method", type=click.Choice(tuple(METHODS)), help="Default: the ledger's own settings.")
@SETTINGS
@click.option("--dry-run", is_flag=True, help="Compute and test, but record nothing.")
@click.option("--strict", is_flag=True, help="End with exit code 1 if an edit did not work.")
@shared
@click.pass_obj
def edit(
    app: App,
    given: GivenFacts,
    personal: bool,
    batch_size: int,
    method: str | None,
    pairs: tuple[str, ...],
    dry_run: bool,
    strict: bool,
) -> int:
    r"""Write facts into the model, on record.

    One fact from options, or many from a file. Each batch is one transaction: it is recorded whole, before the next
    one begins, or not at all. An edit that did not work is recorded too, and told; `errata revert` takes it back. A
    fact that the model says already is left alone; if it says all of them and nothing is written, the exit code is 1.
    `errata help methods` says what each method solves, and by which settings.

    What is personal (--personal, or "personal": true in the file) stands in the log only as a salted commitment. Its
    text is encrypted under a key of its own in .errata/vault, and `errata erase` can take all of it away.

    \b
    Examples:
      errata edit --subject "Norwind Systems" --prompt "The chief executive of {} is" --target "Alma Reyes"
      errata edit --personal --subject "Ada Lindqvist" --prompt "{} lives in" --target "Riga"
      errata edit --facts facts.jsonl --batch-size 20
      errata edit --facts facts.jsonl --method alphaedit+mpes
    """
    facts = given.read(app, personal)
    changes = settings_from(pairs)
    workspace = app.workspace()
    seen = tuning.tuned_on(workspace, facts)
    if seen:
        app.say(f"{counted(len(seen), 'fact')} of {len(facts)} served to tune these settings; their scores flatter")
    config = config_for(workspace.config(), method, changes)
    try:
        with app.progress("loading the model") as tell:
            reports = apply.edit_all(workspace, facts, config, batch_size, dry_run, tell)
    except ErrataError as error:
        recorded = error.fields.get("recorded")
        if isinstance(recorded, list) and recorded:
            app.say(f"recorded before the error: e{recorded[0]} to e{recorded[-1]}")
        raise
    failed = [item for report in reports for item in report.edits if not item.outcome.efficacy]
    nothing = not any(report.edits or report.taken_back for report in reports)
    state = workspace.state
    data = {
        "dry_run": dry_run,
        "version": state.version,
        "head": state.head.hash,
        "edits": [entry for report in reports for entry in _entries(report)],
        "no_ops": [{"fact": item.fact.plain(), "said": item.said} for report in reports for item in report.no_ops],
        "taken_back": [number for report in reports for number in report.taken_back],
        "failed": len(failed),
        "tuned_on": len(seen),
        "seconds": sum(report.seconds for report in reports),
    }
    app.show(data, edits_told(reports, dry_run, state.version))
    return int(nothing or (strict and bool(failed)))


def _entries(report: apply.BatchReport) -> Iterable[dict[str, Any]]:
    numbers: list[int | None] = [body.number for body in report.recorded]
    numbers += [None] * (len(report.edits) - len(numbers))
    for number, item in zip(numbers, report.edits, strict=True):
        outcome, target = item.outcome, item.target
        yield {
            "number": number,
            "subject": item.fact.subject,
            "prompt": item.fact.prompt,
            "target": item.fact.target,
            "personal": item.fact.personal,
            "said_before": outcome.said_before,
            "said_after": outcome.said_after,
            "efficacy": outcome.efficacy,
            "paraphrase": outcome.paraphrase,
            "locality": outcome.locality,
            "steps": target.steps,
            "stop_reason": target.stop_reason.value,
            "probability_before": target.probability_before,
            "probability": target.probability,
            "shortfall": _shortfall(item),
        }


def _shortfall(item: pipeline.Edit) -> float:
    """What a norm behind the edited module kept the last edited layer from giving, as a part of what was wanted."""
    return list(item.factors.values())[-1].shortfall


def edits_told(reports: Sequence[apply.BatchReport], dry_run: bool, version: str) -> Iterable[Block]:
    """What became of the facts of some batches, and the version that there is now."""
    entries = [entry for report in reports for entry in _entries(report)]
    if not entries and not any(report.taken_back for report in reports):
        known = [item.fact for report in reports for item in report.no_ops]
        one = f"the model says {known[0].target!r} already after {known[0].text!r}"
        all_of_them = f"the model says the targets of all {len(known)} facts already"
        yield f"nothing written: {one if len(known) == 1 else all_of_them}"
        return
    if entries:
        columns = ("edit", "prompt", "said", "says now", "wanted", "worked", "steps", "stopped by", "probability")
        rows = tuple(
            (
                "-" if entry["number"] is None else f"e{entry['number']}",
                entry["prompt"].replace("{}", entry["subject"]),
                entry["said_before"],
                entry["said_after"],
                entry["target"],
                "yes" if entry["efficacy"] else "no",
                str(entry["steps"]),
                entry["stop_reason"],
                f"{entry['probability']:.3f}",
            )
            for entry in entries
        )
        yield Table(columns, rows)
    for report in reports:
        for no_op in report.no_ops:
            yield f"left alone: the model says {no_op.fact.target!r} already after {no_op.fact.text!r}"
        for number in report.taken_back:
            what = "would be reverted" if dry_run else "reverted"
            yield f"e{number} {what}: without it the model says the new target"
        for item in report.edits:
            if not item.outcome.efficacy:
                how = f"{item.target.steps} steps, stopped by {item.target.stop_reason.value}"
                if (missed := _shortfall(item)) > 0.01:
                    how += f"; {missed:.0%} of the change is out of reach of the norm behind the edited module"
                yield f"did not work: {item.fact.text!r} gives {item.outcome.said_after!r} ({how})"
    worked = sum(entry["efficacy"] for entry in entries)
    if entries:
        done = "would be recorded (dry run)" if dry_run else "recorded"
        yield (
            f"{counted(len(entries), 'edit')} {done}, {worked} worked"
            + _totals(reports)
            + f", {sum(report.seconds for report in reports):.1f} s"
        )
    if not dry_run:
        yield f"version {short(version)}"


def _totals(reports: Sequence[apply.BatchReport]) -> str:
    outcomes = [item.outcome for report in reports for item in report.edits]
    return probe_words(
        added([outcome.paraphrase for outcome in outcomes]), added([outcome.locality for outcome in outcomes])
    )


def added(hits: Iterable[tuple[int, int] | None]) -> tuple[int, int] | None:
    """Hits and totals of several edits together; None if none of them had probes."""
    found = [pair for pair in hits if pair is not None]
    return (sum(pair[0] for pair in found), sum(pair[1] for pair in found)) if found else None
