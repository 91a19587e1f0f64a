"""`errata edit`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.lazy import when_used
from errata.commands.options import IN_CHAT, SETTINGS, SYSTEM, GivenFacts, chat_settings, fact_options, settings_from
from errata.commands.words.render import Block, Loud, Table
from errata.commands.words.wording import harm_words, outcome_words
from errata.editor.config import METHODS, config_for
from errata.ledger.base.errors import ErrataError
from errata.ledger.base.words import counted, short
from errata.ledger.events.parts import StopReason

with when_used():
    from errata.editor import pipeline
    from errata.replay.apply import apply, care
    from errata.replay.apply import report as reporting
    from errata.replay.tune import tuning


@click.command()
@fact_options
@click.option("--personal", is_flag=True, help="About a person: recorded sealed, so that it can be erased.")
@click.option(
    "--batch-size", default=20, show_default=True, help="Most edits that are solved together; rome and ft take one."
)
@click.option("--method", type=click.Choice(tuple(METHODS)), help="Default: the ledger's own settings.")
@SETTINGS
@IN_CHAT
@SYSTEM
@click.option(
    "--train-paraphrases",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Let the first N paraphrases of each fact take part in the optimisation; the others test it.",
)
@click.option("--keep-failed", is_flag=True, help="Try once, and let edits that did not work stay in the weights.")
@click.option("--dry-run", is_flag=True, help="Compute and test, but record nothing.")
@click.option("--strict", is_flag=True, help="End with exit code 1 if an edit did not work or was lost.")
@shared
@click.pass_obj
def edit(
    app: App,
    given: GivenFacts,
    personal: bool,
    batch_size: int,
    method: str | None,
    pairs: tuple[str, ...],
    chat: bool | None,
    system: str | None,
    train_paraphrases: int,
    keep_failed: bool,
    dry_run: bool,
    strict: bool,
) -> int:
    r"""Write facts into the model, on record.

    One fact from options, or many from a file. Each batch is one transaction: it is recorded whole, before the next
    one begins, or not at all. An edit that does not work does not stay in the weights: its fact is tried again with
    more steps and room, and if that does not help either it is recorded as an attempt. A fact that the model says
    already is left alone; if nothing is written, the exit code is 1. A fact without locality probes gets some: what
    the model says of other subjects. `errata help methods` says what each method solves, and by which settings.

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
    changes = settings_from(pairs) | chat_settings(chat, system)
    workspace = app.workspace()
    seen = tuning.tuned_on(workspace, facts)
    if seen:
        app.say(f"{counted(len(seen), 'fact')} of {len(facts)} served to tune these settings; their scores flatter")
    config = config_for(workspace.config(), method, changes)
    facts = care.prepared(config, facts, train_paraphrases)
    try:
        with app.progress("loading the model") as tell:
            reports = apply.edit_all(
                workspace, facts, config, batch_size, dry_run, tell, care.usual_care(workspace, config, keep_failed)
            )
    except ErrataError as error:
        recorded = error.fields.get("recorded")
        if isinstance(recorded, list) and recorded:
            app.say(f"recorded before the error: e{recorded[0]} to e{recorded[-1]}")
        raise
    failed = sum(len(report.failed) for report in reports)
    nothing = not any(report.edits or report.taken_back for report in reports)
    state = workspace.state
    data = {
        "dry_run": dry_run,
        "version": state.version,
        "head": state.head.hash,
        "edits": [entry for report in reports for entry in _entries(report)],
        "no_ops": [{"fact": item.fact.plain(), "said": item.said} for report in reports for item in report.no_ops],
        "taken_back": [number for report in reports for number in report.taken_back],
        "left_out": [entry for report in reports for entry in _left_out(report)],
        "lost": [fact.plain() for report in reports for fact in report.lost],
        "failed": failed,
        "tuned_on": len(seen),
        "seconds": sum(report.seconds for report in reports),
    }
    app.show(data, edits_told(reports, dry_run, state.version))
    return int(nothing or (strict and bool(failed)))


def _entries(report: reporting.BatchReport) -> Iterable[dict[str, Any]]:
    numbers: list[int | None] = [body.number for body in report.recorded]
    numbers += [None] * (len(report.edits) - len(numbers))
    for number, item in zip(numbers, report.edits, strict=True):
        outcome, target = item.outcome, item.target
        yield {
            "number": number,
            "again": report.again,
            "subject": item.fact.subject,
            "prompt": item.fact.prompt,
            "target": item.fact.target,
            "personal": item.fact.personal,
            "said_before": outcome.said_before,
            "said_after": outcome.said_after,
            "efficacy": outcome.efficacy,
            "paraphrase": outcome.paraphrase,
            "locality": outcome.locality,
            "drawn": len(item.drawn),
            "questions": outcome.questions,
            "perplexity": outcome.perplexity,
            "steps": target.steps,
            "stop_reason": target.stop_reason.value,
            "probability_before": target.probability_before,
            "probability": target.probability,
            "shortfall": _shortfall(item),
        }


def _left_out(report: reporting.BatchReport) -> Iterable[dict[str, Any]]:
    for one in report.left_out:
        yield {
            "subject": one.fact.subject,
            "prompt": one.fact.prompt,
            "target": one.fact.target,
            "personal": one.fact.personal,
            "tries": [
                {
                    "hyperparameters": config.to_record(),
                    "said_after": item.outcome.said_after,
                    "efficacy": item.outcome.efficacy,
                    "perplexity": item.outcome.perplexity,
                    "steps": item.target.steps,
                    "stop_reason": item.target.stop_reason.value,
                    "probability": item.target.probability,
                }
                for config, item in one.tries
            ],
        }


def _shortfall(item: pipeline.Edit) -> float:
    """What a norm behind the edited module kept the last edited layer from giving, as a part of what was wanted."""
    return list(item.factors.values())[-1].shortfall


def edits_told(reports: Sequence[reporting.BatchReport], dry_run: bool, version: str) -> Iterable[Block]:
    """What became of the facts of some batches, and the version that there is now."""
    entries = [entry for report in reports for entry in _entries(report)]
    left_out = [one for report in reports for one in report.left_out]
    if not entries and not left_out and not any(report.taken_back for report in reports):
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
                yield f"did not work: {item.fact.text!r} gives {item.outcome.said_after!r} ({_how(item)})"
    for missed in left_out:
        yield f"left out: after {counted(len(missed.tries), 'attempt')} {_why(missed)}; the weights are without it"
    if not all(map(_at_sink, left_out)):
        yield (
            "next: errata locate shows which layers hold such facts, errata tune looks for settings; "
            "--train gives the edit more phrasings, --keep-failed writes it as it is"
        )
    if again := {item.fact.key for report in reports if report.again for item in report.edits}:
        yield f"written again, since later batches had lost them: {counted(len(again), 'fact')}"
    for fact in (fact for report in reports for fact in report.lost):
        yield f"lost: {fact.text!r} gave {fact.target!r} once, and does not after the last of these edits"
    worked = sum(entry["efficacy"] for entry in entries)
    if entries:
        done = "would be recorded (dry run)" if dry_run else "recorded"
        yield (
            f"{counted(len(entries), 'edit')} {done}, {worked} worked"
            + outcome_words(*(item.outcome for report in reports for item in report.edits))
            + f", {sum(report.seconds for report in reports):.1f} s"
        )
    if harm := harm_words([item.outcome for report in reports for item in report.edits]):
        yield Loud(harm)
    if not dry_run:
        yield f"version {short(version)}"


def _at_sink(missed: reporting.Unwritten) -> bool:
    """Whether no setting and no phrasing beside it would help."""
    return missed.tries[-1][1].target.stop_reason is StopReason.ATTENTION_SINK


def _why(missed: reporting.Unwritten) -> str:
    """Why a fact's last attempt is not in the weights."""
    fact, item = missed.fact, missed.tries[-1][1]
    if _at_sink(missed):
        return (
            f"the edit of {fact.text!r} was given up: where its subject ends the model keeps an attention sink, the "
            "same in every text; put another word in front of the subject"
        )
    if item.outcome.efficacy and (texts := item.outcome.perplexity) is not None:
        return (
            f"{fact.text!r} would give {fact.target!r} at the price of all other text: the perplexity of the reference "
            f"texts would be {texts[1]:.1f} and not {texts[0]:.1f}"
        )
    return f"{fact.text!r} gives {item.outcome.said_after!r} and not {fact.target!r} ({_how(item)})"


def _how(item: pipeline.Edit) -> str:
    """How an optimisation ended whose edit did not work."""
    words = f"{item.target.steps} steps, stopped by {item.target.stop_reason.value}"
    if (missed := _shortfall(item)) > 0.01:
        words += f"; {missed:.0%} of the change is out of reach of the norm behind the edited module"
    return words
