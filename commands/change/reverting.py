"""`errata revert`: plainly, as a preview, and with the edits after it solved again."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option, name_of, read_facts, read_suite, skip_bad
from errata.commands.lazy import when_used
from errata.commands.words.render import Block, Table
from errata.commands.words.wording import edit_json, facts_changed, version_words
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted, short
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.facts.suites import Suite
from errata.ledger.rules.addresses import resolve_edit

with when_used():
    from errata.editor.score import intervals
    from errata.replay.apply import rederive as rederiving
    from errata.replay.apply import rederive_report
    from errata.replay.measure import comparison, consequences
    from errata.replay.workflow import workspace as workspaces


MOST_ROWS = 20
"""Rows of a list of edits in text; --json has all of them."""


@click.command()
@click.argument("edits", nargs=-1, required=True, metavar="EDIT...")
@click.option("--reason", default="", help="Why; recorded.")
@click.option("--dry-run", is_flag=True, help="Say what it would change, by running the model; record nothing.")
@click.option("--rederive", is_flag=True, help="Solve again, without them, the edits solved beside or after them.")
@file_option("suites", "--suite", multiple=True, help="Score this suite too; repeatable.")
@file_option(
    "files", "--facts", "--locality-of", multiple=True, help="Facts whose locality probes are asked too; repeatable."
)
@skip_bad
@click.option("--sample", type=click.IntRange(min=1), help="Score only so many of the other edits, drawn at random.")
@click.option("--reveal", is_flag=True, help="Show personal facts in the clear, where their keys are here.")
@shared
@click.pass_obj
def revert(
    app: App,
    edits: tuple[str, ...],
    reason: str,
    dry_run: bool,
    rederive: bool,
    suites: tuple[Path, ...],
    files: tuple[Path, ...],
    sample: int | None,
    reveal: bool,
) -> None:
    r"""Take edits back, exactly.

    The version is then the one without them, to the bit. EDIT is a number such as e12, or the start of a delta's
    digest. All are reverted in one transaction or none is. This needs no model.

    --dry-run runs the model with and without them: facts that change back, the other edits' own probes, suites and
    locality probes if given, and how far the weights move. Nothing is recorded.

    --rederive also solves again, without them, every edit of their batches and of later ones, in batches as recorded
    and with the settings recorded; the new edits supersede the old ones. It takes as long as those edits took, and
    says whether it was worth it. `errata help reverting` has the details.

    \b
    Examples:
      errata revert e12 --reason "wrong office"
      errata revert e12 --dry-run --suite general.jsonl
      errata revert e12 --rederive
    """
    if (suites or files or sample is not None) and not (dry_run or rederive):
        raise UsageError("--suite, --facts and --sample go with --dry-run or --rederive; a plain revert runs no model")
    if reveal and not (dry_run or rederive):
        raise UsageError("--reveal goes with --dry-run or --rederive; `errata show` shows an edit")
    ledger = app.ledger()
    numbers = tuple(resolve_edit(ledger.state(), address) for address in edits)
    if rederive:
        _rederive(app, numbers, reason, dry_run, suites, files, sample, reveal)
        return
    if dry_run:
        _preview(app, numbers, suites, files, sample, reveal)
        return
    events = app.writer(ledger).revert(numbers, reason)
    state = ledger.state()
    data = {
        "reverted": [edit_json(state.edits[number]) for number in numbers],
        "events": [event.seq for event in events],
        "version": state.version,
        "live": len(state.live),
    }
    lines = ["reverted", *facts_changed(state, numbers)]
    app.show(data, [*lines, version_words(state)])


def _preview(
    app: App,
    numbers: tuple[int, ...],
    suites: Sequence[Path],
    files: Sequence[Path],
    sample: int | None,
    reveal: bool,
) -> None:
    probes, neighbours = _read(app, suites, files)
    workspace = app.workspace()
    with app.progress("checking the base model") as tell:
        found = consequences.consequences(workspace, numbers, probes, neighbours, sample, tell)
    if not reveal:
        found = replace(
            found,
            facts=consequences.concealed(found.facts, workspace.state),
            scores=consequences.concealed_items(found.scores, workspace.state),
        )
    data = {"dry_run": True, **_plain(found)}
    app.show(data, _previewed(found))


def _rederive(
    app: App,
    numbers: tuple[int, ...],
    reason: str,
    dry_run: bool,
    suites: Sequence[Path],
    files: Sequence[Path],
    sample: int | None,
    reveal: bool,
) -> None:
    probes, neighbours = _read(app, suites, files)
    workspace = app.workspace()
    planned = rederiving.plan(workspace.state, numbers)
    if not dry_run:
        workspace.foresee(ActionSort.REVERT, Capability.APPLY)
        workspace.foresee(ActionSort.EDIT, Capability.APPLY)
    app.say(_announced(planned))
    with app.progress("loading the model") as tell:
        found = rederiving.solve(workspace, planned, tell)
        told = rederive_report.report(workspace, found, probes, neighbours, sample, tell)
    if not reveal:
        told = replace(
            told,
            facts=consequences.concealed(told.facts, planned.state),
            plain=consequences.concealed_items(told.plain, planned.state),
            rederived=consequences.concealed_items(told.rederived, planned.state),
        )
    replaced = None if dry_run else rederiving.record(workspace, found, reason)
    state = workspace.state
    data = {
        "dry_run": dry_run,
        "removed": list(planned.removed),
        "solved_again": [_resolved_json(item, replaced) for item in found.edits],
        "taken_back": list(found.taken_back),
        "batches": [list(batch.numbers) for batch in planned.batches],
        "seconds": found.seconds,
        **_plain(told),
        "version": state.version,
        "live": len(state.live),
    }
    app.show(data, _rederived(workspace, found, told, replaced))


def _announced(planned: rederiving.RederivePlan) -> str:
    """What re-deriving will cost, in edits; their own records say how long each took."""
    if not planned.affected:
        return "no edit was solved beside or after: this is a plain revert"
    sizes = [len(batch.numbers) for batch in planned.batches]
    how = f"in batches of {', '.join(map(str, sizes))}" if len(sizes) <= MOST_ROWS else f"in {len(sizes)} batches"
    start = counted(len(planned.start), "edit")
    again = f"{counted(sum(sizes), 'edit')} {'is' if sum(sizes) == 1 else 'are'} solved again, {how}"
    return f"{again}; {start} before them stay as they are"


def _read(app: App, suites: Sequence[Path], files: Sequence[Path]) -> tuple[list[Suite], list[comparison.Neighbours]]:
    """Suites and facts from files; a bad one is told before a model is loaded."""
    probes = [read_suite(app, path) for path in suites]
    facts = [(name_of(path), tuple(read_facts(app, path))) for path in files]
    if bare := next((name for name, items in facts if not any(fact.locality for fact in items)), None):
        raise UsageError(f"--facts {bare}: none of its facts has a locality probe")
    return probes, [comparison.Neighbours(name, items) for name, items in facts]


def _plain(found: consequences.Consequences | rederive_report.RederiveReport) -> dict[str, Any]:
    """A preview or a report as JSON values."""
    data = asdict(found)
    if data["asked"] < data["others"]:
        data["sample_seed"] = comparison.SEED
    return data


def _previewed(found: consequences.Consequences) -> Iterable[Block]:
    yield f"reverting {', '.join(f'e{n}' for n in found.removed)} would give version {short(found.version_after)}, " + (
        counted(found.live_after, "live edit")
    )
    yield _facts(found.facts, "without, it says")
    yield _asked(found.asked, found.others)
    if found.scores:
        rows = tuple((s.name, _score(s, s.before), _score(s, s.after), _difference(s), _flips(s)) for s in found.scores)
        yield Table(("score", "head", "without", "difference", "flips"), rows)
    for score in found.scores:
        yield from _moved(score)
    cells = tuple((name, f"{d.norm:.6g}", f"{d.relative:.3%}") for name, d in found.distances.items())
    yield Table(("tensor", "norm of the difference", "of the base's norm"), cells)
    yield "nothing was recorded (dry run)"


def _rederived(
    workspace: workspaces.Workspace,
    found: rederiving.Rederived,
    told: rederive_report.RederiveReport,
    replaced: rederiving.Replaced | None,
) -> Iterable[Block]:
    state = found.plan.state
    yield _facts(told.facts, "re-derived, it says")
    if found.edits:
        groups = []
        by_old = {item.old: item for item in found.edits}
        for place, batch in enumerate(found.plan.batches, start=1):
            apart = [d for n in batch.numbers if (d := by_old[n].distance) is not None]
            words = ("-", "-") if not apart else (f"{statistics.median(apart):.2%}", f"{max(apart):.2%}")
            groups.append((str(place), f"e{batch.numbers[0]} to e{batch.numbers[-1]}", str(len(batch.numbers)), *words))
        columns = ("batch", "solved again", "edits", "deltas differ by (median)", "(most)")
        yield Table(columns, tuple(groups))
        ranked = sorted(found.edits, key=lambda item: -(item.distance or 0.0))
        rows = tuple(
            (
                f"e{item.old}",
                _becomes(item, replaced),
                state.edits[item.old].body.fact.text,
                "-" if item.distance is None else f"{item.distance:.2%}",
                "yes" if _works(item) else "no",
            )
            for item in ranked[:MOST_ROWS]
        )
        shown = "" if len(ranked) <= MOST_ROWS else f"the {MOST_ROWS} of {len(ranked)} whose deltas differ most"
        yield Table(("edit", "becomes", "prompt", "differs by", "works"), rows, title=shown)
    yield _asked(told.asked, told.others)
    if told.plain:
        lines = tuple(
            (a.name, _score(a, a.before), _score(a, a.after), _score(b, b.after), _difference(b))
            for a, b in zip(told.plain, told.rederived, strict=True)
        )
        yield Table(("score", "head", "plain revert", "re-derived", "re-derived less plain"), lines)
    for score in told.rederived:
        yield from _moved(score)
    yield told.judgement.sentence
    if replaced is None:
        yield f"nothing was recorded (dry run); solved again in {found.seconds:.1f} s"
        return
    done = f"{counted(len(found.plan.removed), 'edit')} reverted, {len(replaced.recorded)} solved again and superseded"
    if found.taken_back:
        done += f", {len(found.taken_back)} reverted because the model says their targets without them"
    yield f"{done}, {found.seconds:.1f} s"
    yield version_words(workspace.state)


def _facts(facts: Sequence[consequences.FactBack], then: str) -> Table:
    rows = tuple((f"e{f.number}", f.prompt, f.now, f.without, f.said_before) for f in facts)
    return Table(("reverted", "prompt", "the head says", then, "said before the edit"), rows)


def _asked(asked: int, others: int) -> str:
    if asked < others:
        return (
            f"scores of {asked} of the {others} other live edits, drawn with seed {comparison.SEED}, with 95% intervals"
        )
    return f"scores of the {counted(others, 'other live edit')}, with 95% intervals"


def _score(of: comparison.Comparison, score: intervals.Estimate) -> str:
    between = "" if score.low is None else f" ({_number(of, score.low)} to {_number(of, score.high)})"
    return f"{_number(of, score.value)}{between}"


def _difference(of: comparison.Comparison) -> str:
    found = of.difference
    between = "" if found.low is None else f" ({_number(of, found.low, True)} to {_number(of, found.high, True)})"
    return f"{_number(of, found.value, True)}{between}"


def _number(of: comparison.Comparison, value: float | None, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return format(value, f"{sign}.1%" if of.as_share else f"{sign}.4g")


def _flips(of: comparison.Comparison) -> str:
    if not of.as_share:
        return "-"
    worse = sum(item.after < item.before for item in of.moved)
    return f"{worse} lost, {len(of.moved) - worse} gained"


def _moved(score: comparison.Comparison) -> Iterable[str]:
    for item in score.moved[:MOST_ROWS]:
        way = "lost" if item.after < item.before else "gained"
        yield f"{score.name} {way}: {item.address} {item.text}"
    if len(score.moved) > MOST_ROWS:
        yield f"{score.name}: {len(score.moved) - MOST_ROWS} more; --json lists them"


def _works(item: rederiving.Resolved) -> bool:
    return item.needed is None or item.needed.outcome.efficacy


def _becomes(item: rederiving.Resolved, replaced: rederiving.Replaced | None) -> str:
    if item.needed is None:
        return "not needed"
    return "-" if replaced is None else f"e{replaced.numbers[item.old]}"


def _resolved_json(item: rederiving.Resolved, replaced: rederiving.Replaced | None) -> dict[str, Any]:
    return {
        "old": item.old,
        "new": None if replaced is None else replaced.numbers.get(item.old),
        "needed": item.needed is not None,
        "efficacy": _works(item),
        "distance": item.distance,
        "distances": dict(item.distances),
    }
