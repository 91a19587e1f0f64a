"""Methods side by side: the same facts, each method in a ledger of its own that is thrown away, seed by seed.

A seed is an order of the facts: it decides which of them are solved together and which are the oldest. Second moments
are collected once. Of a run what was measured is kept (`runs.Run`), and what methods came to is computed from that.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import save as encoded

from errata.editor.config import EditConfig, config_for, require_method
from errata.editor.methods.registry import method_named
from errata.editor.solve.grid import CAPACITY_BITS
from errata.ledger.base.canonical import file_digest, value_digest
from errata.ledger.base.errors import GridExhausted, ModelError, UsageError
from errata.ledger.base.files import write_durably
from errata.ledger.facts.fact import Fact
from errata.ledger.facts.suites import Suite
from errata.ledger.ledger import LEDGER_FOLDER, Ledger
from errata.replay.apply.care import NO_CARE, prepared, usual_care
from errata.replay.tune import life
from errata.replay.tune.runs import Outcome, Run, RunPoint, plain_outcome, run_point
from errata.replay.workflow.context import Surroundings
from errata.replay.workflow.genesis import Genesis, create_ledger
from errata.replay.workflow.workspace import Workspace

START = "start"
"""The folder of the ledger that every run begins as a copy of."""
MARKER = "comparison"
"""The file that makes a folder one of a comparison, and says of which."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")


@dataclass(frozen=True)
class Contender:
    """A method with settings, under a name of its own.

    Attributes:
        name: how it is called.
        method: as `errata edit` takes it.
        settings: on top of those of the comparison.
    """

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contest:
    """What is compared.

    Attributes:
        model, corpus, moments, adapter: as `errata init` takes them.
        facts: what is edited; of several facts with one subject and prompt, the last.
        contenders: the first is what the others are held against.
        settings: on top of the model's preset, for all; what a method's name sets comes before them.
        seeds: orders of the facts; seed 0 is the order as given.
        batch_size: edits in one solve.
        capacity_bits: as `errata init` takes them; methods that nothing bounds need many.
        points: along the edits, scores are taken about this many times.
        suites: suites that must not suffer.
        texts: texts whose perplexity is followed; the ledger's reference texts if there are none.
        keep_failed: write every fact once, and let edits that do not work stay: methods as they are.
    """

    model: str
    facts: tuple[Fact, ...]
    contenders: tuple[Contender, ...]
    corpus: Path | None = None
    moments: Path | None = None
    adapter: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 1
    batch_size: int = 20
    capacity_bits: int = CAPACITY_BITS
    points: int = 4
    suites: tuple[Suite, ...] = ()
    texts: tuple[str, ...] = ()
    keep_failed: bool = False


_RUN = TypeAdapter(Run)


def compare(
    plan: Contest,
    folder: Path,
    surroundings: Surroundings,
    advance: Callable[[str], None] = lambda what: None,
) -> list[Run]:
    """Run every contender with every seed, as far as ``folder`` does not have them yet.

    A finished run is a file there, and its ledger beside it; one that was interrupted goes on with the batch that it
    was in. So contenders and seeds can be added to a comparison later.

    Args:
        plan: what is compared.
        folder: where runs are kept.
        surroundings: clock, actor, device.
        advance: told what is being done.

    Returns:
        The runs, contender by contender.

    Raises:
        UsageError: for a request that makes no sense, or a folder that holds runs of other facts, another model or
            other settings.
        ModelError: if the model fails.
    """
    names = [contender.name for contender in plan.contenders]
    if not plan.facts or not names or plan.seeds < 1:
        raise UsageError("a comparison needs facts, methods and at least one seed")
    if len(set(names)) < len(names):
        raise UsageError(f"two methods are called {next(n for n in names if names.count(n) > 1)!r}; name them apart")
    for contender in plan.contenders:
        if not _NAME.fullmatch(contender.name):
            raise UsageError(f"{contender.name!r} is no name for a method's runs: letters, digits and + - _ .")
        require_method(contender.method)
    plan = replace(plan, facts=tuple({fact.key: fact for fact in plan.facts}.values()))
    folder.mkdir(parents=True, exist_ok=True)
    _start(plan, folder, surroundings, advance)
    own = Workspace(Ledger.open(folder / START), surroundings).config()
    configs = [config_for(own, contender.method, contender.settings) for contender in plan.contenders]
    for contender, config in zip(plan.contenders, configs, strict=True):
        if config.layers != own.layers:
            raise UsageError(f"{contender.name} edits other layers than the rest; give all of them the same")
    bases: dict[str, _Base] = {}
    return [
        _run(plan, contender, config, seed, folder, surroundings, advance, bases)
        for contender, config in zip(plan.contenders, configs, strict=True)
        for seed in range(plan.seeds)
    ]


def _start(plan: Contest, folder: Path, surroundings: Surroundings, advance: Callable[[str], None]) -> None:
    """The ledger that every run begins as a copy of, with the settings that are for all."""
    files = {"corpus": plan.corpus, "moments": plan.moments, "adapter": plan.adapter}
    there = {name: path for name, path in files.items() if path is not None and path.is_file()}
    digests = {name: file_digest("comparison", path) for name, path in there.items()}
    identity = value_digest(
        "comparison", {"model": plan.model, "settings": dict(plan.settings), "bits": plan.capacity_bits, **digests}
    )
    marker = folder / MARKER
    if marker.is_file():
        if marker.read_text(encoding="utf-8") != identity:
            raise UsageError(f"{folder} was begun with another model, text or settings for all; name another folder")
    elif any(folder.iterdir()):
        raise UsageError(f"{folder} holds other things than a comparison; name another folder")
    else:
        write_durably(marker, identity.encode())
    if (folder / START / LEDGER_FOLDER).is_dir():
        return
    advance("starting a ledger to throw away")
    genesis = Genesis(
        plan.model,
        plan.corpus,
        dict(plan.settings),
        capacity_bits=plan.capacity_bits,
        adapter=plan.adapter,
        moments=plan.moments,
    )
    create_ledger(folder / START, genesis, surroundings)


def _run(
    plan: Contest,
    contender: Contender,
    config: EditConfig,
    seed: int,
    folder: Path,
    surroundings: Surroundings,
    advance: Callable[[str], None],
    bases: dict[str, _Base],
) -> Run:
    name = f"{contender.name}-{seed}"
    space = Workspace(Ledger.open(folder / START), surroundings)
    care = NO_CARE if plan.keep_failed else usual_care(space, config)
    facts = prepared(config, plan.facts)
    order = list(range(len(facts)))
    if seed:
        random.Random(seed).shuffle(order)
    method = method_named(config.stage2)
    asked = {
        "start": space.created.plain(),
        "facts": [fact.plain() for fact in facts],
        "suites": [suite.plain() for suite in plan.suites],
        "texts": list(plan.texts),
    }
    identity = value_digest(
        "comparison run",
        {
            **asked,
            "config": config.to_record(),
            "code": "" if method is None else method.code,
            "keep_failed": plan.keep_failed,
            "ladder": [step.to_record() for step in care.ladder],
            "most_harm": care.most_harm,
            "batch_size": plan.batch_size,
            "seed": seed,
            "points": plan.points,
        },
    )
    if (kept := _kept(folder / f"{name}.json", identity)) is not None:
        return kept
    place = folder / name
    begun = folder / f"{name}.begun"
    if begun.is_file() and begun.read_text(encoding="utf-8") != identity:
        raise UsageError(f"{place} was begun with other facts or settings; name another folder, or remove it")
    if not begun.is_file():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / START / LEDGER_FOLDER, place / LEDGER_FOLDER)
        write_durably(begun, identity.encode())
    space = Workspace(Ledger.open(place), surroundings)
    course = life.Life(tuple(facts[i] for i in order), config, plan.batch_size, care)
    ended = None
    try:
        life.write(space, course, lambda what: advance(f"{name}: {what}"))
    except (ModelError, GridExhausted) as error:
        ended = error.message
    key = value_digest("comparison base", asked)
    if key not in bases:
        bases[key] = _base(plan, space, facts, folder / f"base.{key[-16:]}.safetensors", advance)
    base = bases[key]
    points = _measured(plan, space, course, facts, base.measures, lambda what: advance(f"{name}: {what}"))
    run = _summary(identity, contender.name, seed, config.to_record(), order, space, base, points, ended)
    write_durably(folder / f"{name}.json", json.dumps(_RUN.dump_python(run, mode="json")).encode())
    begun.unlink()
    return run


def _kept(path: Path, identity: str) -> Run | None:
    if not path.is_file():
        return None
    run = _RUN.validate_json(path.read_bytes())
    if run.identity != identity:
        raise UsageError(f"{path} is of other facts or settings; name another folder, or remove it")
    return run


@dataclass(frozen=True)
class _Base:
    measures: life.Measures
    point: RunPoint
    outcomes: tuple[Outcome, ...]


_BASE_SAID = TypeAdapter(tuple[RunPoint, tuple[Outcome, ...], tuple[tuple[int, ...], ...]])
"""The base's point and outcomes, and the places of each fact's locality probes that stand."""


def _base(plan: Contest, space: Workspace, facts: Sequence[Fact], path: Path, advance: Callable[[str], None]) -> _Base:
    """What is asked along every run and what the base says to it, from ``path`` where it is kept already."""
    texts = plan.texts or space.created.reference_texts
    if path.is_file():
        with safe_open(path, framework="pt") as file:
            point, outcomes, places = _BASE_SAID.validate_json(file.metadata()["said"])
            states = file.get_tensor("states")
        standing = {fact.key: tuple(fact.locality[i] for i in own) for fact, own in zip(facts, places, strict=True)}
        return _Base(life.Measures(standing, plan.suites, texts, states), point, outcomes)
    advance("scores of the base")
    measures = life.base_measures(space, facts, plan.suites, texts)
    found = life.measure(space, (), facts, measures)
    base = _Base(measures, run_point(found), tuple(map(plain_outcome, found.outcomes)))
    places = tuple(
        tuple(i for i, item in enumerate(fact.locality) if item in measures.standing[fact.key]) for fact in facts
    )
    said = _BASE_SAID.dump_json((base.point, base.outcomes, places)).decode()
    write_durably(path, encoded({"states": measures.states}, metadata={"said": said}))
    return base


def _measured(
    plan: Contest,
    space: Workspace,
    course: life.Life,
    facts: Sequence[Fact],
    measures: life.Measures,
    advance: Callable[[str], None],
) -> list[life.Point]:
    """The versions along the run; the last of these is asked in the comparison's order of facts."""
    *earlier, (_, head) = life.points_along(space, course, plan.points)
    points = []
    for number, (count, live) in enumerate(earlier, start=1):
        advance(f"scores at point {number} of {len(earlier) + 1}")
        points.append(life.measure(space, live, course.facts[:count], measures))
    advance("scores at the end")
    return [*points, life.measure(space, head, facts, measures)]


def _summary(
    identity: str,
    contender: str,
    seed: int,
    config: dict[str, Any],
    order: Sequence[int],
    space: Workspace,
    base: _Base,
    points: Sequence[life.Point],
    ended: str | None,
) -> Run:
    records = [record.body for record in space.state.edits.values()]
    made = max(1, len(records))
    return Run(
        identity=identity,
        contender=contender,
        seed=seed,
        config=config,
        order=tuple(order),
        outcomes=tuple(plain_outcome(outcome) for outcome in points[-1].outcomes),
        base=base.outcomes,
        points=(replace(base.point, facts=0), *map(run_point, points)),
        edits=len(space.state.live),
        left_out=len(order) - len(space.state.live),
        steps=sum(body.stage1.steps for body in records) / made,
        seconds=sum(body.seconds for body in records) / made,
        peak_memory=max((body.peak_memory_bytes for body in records), default=0),
        ended=ended,
    )
