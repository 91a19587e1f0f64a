"""Where a version keeps its facts: causal tracing over a sample, recorded, with its pictures."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.editor.attribute.tracing import RULE, Part, Role, TraceSettings, Tracing, trace
from errata.editor.score.evaluate import probe
from errata.ledger.base.canonical import value_digest
from errata.ledger.base.errors import UsageError
from errata.ledger.events.policy import Capability
from errata.ledger.facts.fact import Fact, Probe, fact_digest
from errata.ledger.kinds.evaluations import TracingRecorded
from errata.ledger.rules.operations import RecordEvent
from errata.ledger.secrets.sealing import refuse_personal
from errata.replay import charts
from errata.replay.workflow.moments import Advance
from errata.replay.workflow.workspace import Workspace


@dataclass(frozen=True)
class RecordedTracing:
    """A tracing as it was recorded, and the facts that were looked at but that the version does not know."""

    tracing: Tracing
    body: TracingRecorded
    unknown: tuple[Fact, ...]


def sample_of(facts: Sequence[Fact], count: int, seed: int) -> list[Fact]:
    """At most ``count`` facts drawn without putting back, from a seed; one of each subject and prompt."""
    unique = list({fact.key: fact for fact in facts}.values())
    return unique if len(unique) <= count else random.Random(seed).sample(unique, count)


def facts_digest(facts: Sequence[Fact]) -> str:
    """The identity of a list of facts."""
    return value_digest("facts", [fact_digest(fact) for fact in facts])


def locate(
    workspace: Workspace,
    live: Sequence[int],
    facts: Sequence[Fact],
    settings: TraceSettings,
    record: bool = True,
    advance: Advance = lambda what, done, total: None,
) -> RecordedTracing:
    """Trace those of the facts that a version knows, and record the result.

    Args:
        workspace: the ledger and its model.
        live: the version.
        facts: the sample.
        settings: noise, draws, windows.
        record: whether an event is appended.
        advance: told what is being done, how many facts are done and how many there are; 0 and 0 where none count.

    Raises:
        UsageError: if the version knows none of them, or one is personal.
    """
    refuse_personal(facts, "traced")
    if record:
        workspace.foresee(None, Capability.RECORD)
    started = workspace.surroundings.meter.seconds()
    state = workspace.state
    numbers = tuple(sorted(live))
    advance("asking for the facts", 0, 0)
    with workspace.at(numbers):
        results = probe(workspace.loaded, [Probe(prompt=fact.text, target=fact.target) for fact in facts])
        known = [fact for fact, result in zip(facts, results, strict=True) if result.says_target]
        if not known:
            raise UsageError(f"this version says the target of none of {len(facts)} facts; there is nothing to trace")
        advance("tracing facts", 0, len(known))
        tracing = trace(workspace.loaded, known, settings, lambda done: advance("tracing facts", done, len(known)))
    body = TracingRecorded(
        version=state.version_of(numbers),
        live_count=len(numbers),
        facts_digest=facts_digest(known),
        facts=len(known),
        asked=len(facts),
        noise=tracing.noise,
        draws=settings.draws,
        seed=settings.seed,
        window=tracing.window,
        clean=min(1.0, tracing.clean),
        corrupted=min(1.0, tracing.corrupted),
        effects={
            part.value: {role.value: values for role, values in rows.items()} for part, rows in tracing.effects.items()
        },
        low=tracing.low,
        high=tracing.high,
        suggested=tracing.suggested,
        rule=RULE,
        seconds=workspace.surroundings.meter.seconds() - started,
        software=workspace.surroundings.software,
    )
    if record:
        workspace.execute(RecordEvent(body))
    said = {fact.key for fact in known}
    return RecordedTracing(tracing, body, tuple(fact for fact in facts if fact.key not in said))


def heat_map(tracing: Tracing) -> dict[str, Any]:
    """The mean indirect effects as a picture: a panel a part, a row a token role, a column a layer."""
    layers = len(tracing.low)
    cells = [
        {"layer": layer, "token": role.value, "effect": effect, "part": _part_words(part, tracing.window)}
        for part, rows in tracing.effects.items()
        for role, effects in rows.items()
        for layer, effect in enumerate(effects)
    ]
    present = [role.value for role in Role if any(role in rows for rows in tracing.effects.values())]
    return charts.heat_map(
        cells,
        title="Where the model keeps its facts",
        subtitle=[
            f"Noise on the subject lowers the answer's mean probability from {tracing.clean:.2f} to "
            f"{tracing.corrupted:.2f}. A cell says how much of it comes",
            f"back when only this state is put right: the mean over {tracing.facts} facts that the model knows.",
        ],
        x="layer",
        y="token",
        value="effect",
        x_order=range(layers),
        y_order=present,
        value_title="indirect effect",
        domain=(0.0, max(0.05, tracing.clean - tracing.corrupted)),
        cell=(48 if layers <= 12 else max(16, 600 // layers), 34),
        panel="part",
        panel_order=[_part_words(part, tracing.window) for part in tracing.effects],
        numbers=layers <= 12,
    )


def profile(tracing: Tracing) -> dict[str, Any]:
    """The effects at the subject's last token by layer, one line a part, the hidden state's with its interval."""
    records: list[dict[str, Any]] = []
    for part, rows in tracing.effects.items():
        for layer, effect in enumerate(rows[Role.LAST_SUBJECT]):
            record: dict[str, Any] = {"layer": layer, "part": _part_words(part, tracing.window), "effect": effect}
            if part is Part.HIDDEN:
                record |= {"low": tracing.low[layer], "high": tracing.high[layer]}
            else:
                record |= {"low": effect, "high": effect}
            records.append(record)
    suggested = ", ".join(map(str, tracing.suggested)) or "none"
    return charts.lines(
        records,
        [charts.Panel("effect", "mean indirect effect", low="low", high="high", zero=True)],
        title="What the subject's last token carries, layer by layer",
        subtitle=[
            f"Mean over {tracing.facts} facts, 95 % interval for the hidden state. Suggested for editing: {suggested}."
        ],
        x="layer",
        x_title="layer",
        series="part",
        series_order=[_part_words(part, tracing.window) for part in tracing.effects],
        size=(560, 260),
        x_discrete=True,
    )


def draw(tracing: Tracing, folder: Path) -> list[Path]:
    """Write both pictures as SVG, PNG and Vega-Lite into a folder; returns the files.

    Raises:
        UsageError: if the extra `plots` is not installed.
    """
    return charts.save_all({"locate": heat_map(tracing), "locate-layers": profile(tracing)}, folder)


def _part_words(part: Part, window: int) -> str:
    if part is Part.HIDDEN:
        return "hidden state after the layer"
    return f"{part.value} output" + (f", {window} layers around" if window > 1 else "")
