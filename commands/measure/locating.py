"""`errata locate`: where the model keeps its facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option, read_facts, skip_bad
from errata.commands.lazy import when_used
from errata.commands.outputs import A_CHART, output_option
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted, short
from errata.ledger.facts.fact import Fact
from errata.ledger.state.state import State
from errata.replay import charts

with when_used():
    from errata.editor.attribute import tracing
    from errata.replay.measure import locating


@click.command()
@click.argument("version", default="HEAD")
@file_option("facts", "--facts", help="Facts that the model may know. Default: its edits.")
@skip_bad
@click.option("--sample", type=click.IntRange(min=1), default=50, show_default=True, help="Most facts to trace.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seeds sample and noise.")
@click.option("--noise", default=3.0, show_default=True, help="Noise, in deviations of the subjects' embeddings.")
@click.option("--draws", type=click.IntRange(min=1), default=3, show_default=True, help="Draws of noise a fact.")
@click.option("--window", type=click.IntRange(min=1), help="Layers restored together for MLP and attention; odd.")
@output_option(
    "--out",
    kind=A_CHART,
    names=("locate", "locate-layers"),
    help="Write pictures (SVG, PNG, Vega-Lite) into this folder.",
)
@click.option("--dry-run", is_flag=True, help="Trace, but record nothing.")
@shared
@click.pass_obj
def locate(
    app: App,
    version: str,
    facts: Path | None,
    sample: int,
    seed: int,
    noise: float,
    draws: int,
    window: int | None,
    out: Path | None,
    dry_run: bool,
) -> None:
    """Find the layers that hold facts.

    Causal tracing: noise on the subject makes the model forget the answer, then one state at a time is put right, by
    layer and by token. What brings the answer back is where the fact is. Only facts that VERSION (HEAD if left out)
    answers rightly are traced. The result is recorded, with the layers that it suggests for editing.

    Example: errata locate base --facts facts.jsonl --out pictures
    """
    ledger = app.ledger()
    live = app.live(ledger, version)
    asked = _facts(ledger.state(), live) if facts is None else read_facts(app, facts)
    workspace = app.workspace()
    if out is not None:
        charts.require()
    settings = tracing.TraceSettings(noise=noise, draws=draws, seed=seed, window=window)
    with app.progress("loading the model") as tell:
        chosen = locating.sample_of(asked, sample, seed)
        located = locating.locate(
            workspace, live, chosen, settings, not dry_run, lambda what, done, total: tell(what, done, total, "facts")
        )
        pictures = [] if out is None else locating.draw(located.tracing, out)
    data: dict[str, Any] = {
        **located.body.plain(),
        "recorded": not dry_run,
        "unknown": [fact.plain() for fact in located.unknown],
        "pictures": [str(path) for path in pictures],
    }
    app.show(data, _told(located, pictures))


def _facts(state: State, live: tuple[int, ...]) -> list[Fact]:
    if not live:
        raise UsageError("this version has no edits to trace; give facts that the model knows with --facts FILE")
    facts = [state.edits[number].body.fact for number in live]
    clear = [fact for fact in facts if fact.sealed is None]
    if not clear:
        raise UsageError("all edits of this version are of personal facts, which are not traced; give --facts FILE")
    return clear


def _told(located: locating.RecordedTracing, pictures: list[Path]) -> list[Block]:
    body, view = located.body, list[Block]()
    layers = [f"layer {i}" for i in range(len(body.low))]
    for part, rows in body.effects.items():
        together = f", {body.window} layers together" if body.window > 1 and part != "hidden state" else ""
        cells = tuple((role, *(f"{value:z.3f}" for value in values)) for role, values in rows.items())
        view.append(Table((f"{part}{together}", *layers), cells))
    hidden = body.effects["hidden state"]["last subject token"]
    spans = tuple(
        (f"layer {i}", f"{effect:z.3f}", f"{low:z.3f} to {high:z.3f}")
        for i, (effect, low, high) in enumerate(zip(hidden, body.low, body.high, strict=True))
    )
    view.append(Table(("hidden state, last subject token", "indirect effect", "95 % interval"), spans))
    view += [
        f"{counted(body.facts, 'fact')} traced of {body.asked} that were asked; {counted(body.draws, 'draw')} of noise "
        f"with deviation {body.noise:.3g} each",
        f"noise lowers the answers' mean probability from {body.clean:.3f} to {body.corrupted:.3f}; an effect is what "
        "one restored state brings back",
        f"suggested layers: {', '.join(map(str, body.suggested)) or 'none, no state there brings the answer back'} "
        f"({body.rule})",
        f"version {short(body.version)}, {body.seconds:.1f} s",
    ]
    view += [f"wrote {path}" for path in pictures]
    return view
