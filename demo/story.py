"""The whole story on the model that ships: edit, record, rebuild, take back, find the bad one.

`tell` does what a user would do with the commands that each scene names, in a ledger of its own, and yields what there
is to see. It checks what it claims: a claim that does not hold ends the story with an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from errata.demo import DATA, MODEL
from errata.demo.team import change, govern
from errata.editor.model.loading import load_model
from errata.ledger.base.errors import ModelError
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.fact_files import read_facts
from errata.ledger.facts.suites import Metric, Suite, read_suite
from errata.ledger.kinds.bisections import Verdict
from errata.replay.apply.apply import edit
from errata.replay.apply.report import BatchReport
from errata.replay.bisect.run import bisect_with_suite
from errata.replay.bisect.session import start
from errata.replay.export.checkout import checkout
from errata.replay.export.model_card import card_of
from errata.replay.versions.materialise import materialise, weights_digests
from errata.replay.workflow.context import Surroundings
from errata.replay.workflow.deep_verify import deep_verify
from errata.replay.workflow.genesis import Genesis, create_ledger
from errata.replay.workflow.workspace import Workspace

EDITS = 32
BATCH = 8
CHANGE = 3


@dataclass(frozen=True)
class Scene:
    """One step of the story.

    Attributes:
        title: what happens.
        command: the command that does the same.
        lines: what came of it.
        columns: heading of the table, if there is one.
        rows: its rows.
        data: the same for programs.
    """

    title: str
    command: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    data: dict[str, Any] = field(default_factory=dict)


def tell(folder: Path, surroundings: Surroundings) -> Iterator[Scene]:
    """Play the story in ``folder``, which must not exist or be empty.

    Args:
        folder: gets a ledger, two checked-out models and a suite.
        surroundings: clock, actor, device.

    Raises:
        ModelError: if something that the story claims does not hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    requests = read_facts(DATA / "edits.jsonl")
    ledger = create_ledger(folder, Genesis(str(MODEL), DATA / "corpus.txt", {}), surroundings)
    workspace = Workspace(ledger, surroundings)
    yield _beginning(workspace)
    yield from _editing(workspace, requests[:EDITS])
    yield _rebuilding(workspace, folder)
    yield _taking_back(workspace)
    yield from _hunting(workspace, folder, requests[EDITS : EDITS + BATCH], read_facts(DATA / "facts.jsonl"))
    last = EDITS + BATCH
    yield _together(workspace, folder, requests[last : last + CHANGE])
    yield _verifying(workspace)


def _beginning(workspace: Workspace) -> Scene:
    created = workspace.created
    name, spec = next(iter(created.edited.items()))
    return Scene(
        "A ledger on the model that ships",
        f"errata init {_short(MODEL)} --corpus {_short(DATA / 'corpus.txt')}",
        (
            f"{len(created.tensors)} tensors hashed; base {created.base_digest[:19]}",
            f"edited: {name}, {spec.shape[0]} x {spec.shape[1]}, exact on a grid of 2^-{spec.grid_exponent}",
            f"second moment of {created.stats[name].tokens:,} keys recorded",
        ),
        data={"base_digest": created.base_digest, "edited": sorted(created.edited)},
    )


def _editing(workspace: Workspace, facts: Sequence[Fact]) -> Iterator[Scene]:
    suite = read_suite(DATA / "general.jsonl")
    before, _ = workspace.evaluate((), suite)
    reports: list[BatchReport] = list(edit(workspace, facts, workspace.config(), BATCH))
    after, _ = workspace.evaluate(workspace.state.live, suite)
    edits = [body for report in reports for body in report.recorded]
    rows = tuple(
        (
            f"e{body.number}",
            body.fact.text,
            body.outcome.said_before,
            body.fact.target,
            body.outcome.said_after,
            "yes" if body.outcome.efficacy else "no",
            str(body.stage1.steps),
        )
        for body in edits[:10]
    )
    held = workspace.says(workspace.state.live, [body.fact for body in edits])
    paraphrases = [body.outcome.paraphrase for body in edits if body.outcome.paraphrase]
    locality = [body.outcome.locality for body in edits if body.outcome.locality]
    lines = (
        f"{len(edits)} edits in {len(reports)} batches; the first ten above",
        f"said at the head: {sum(held)} of {len(held)}; in other words: {_share(paraphrases)}; "
        f"other facts unchanged: {_share(locality)}",
        f"general suite: {before.score:.1%} before, {after.score:.1%} after ({after.n} probes)",
    )
    data = {
        "edits": len(edits),
        "efficacy": sum(held) / len(held),
        "general_before": before.score,
        "general_after": after.score,
    }
    columns = ("edit", "prompt", "said", "wanted", "says now", "done", "steps")
    yield Scene(
        "Facts change, and every change is on the record", "errata edit --file edits.jsonl", lines, columns, rows, data
    )


def _rebuilding(workspace: Workspace, folder: Path) -> Scene:
    state = workspace.state
    weights = workspace.materialiser.weights(state.live)
    _hold("a rebuild in another order has the same bits", _equal(weights, _from_scratch(workspace, state.live[::-1])))
    base = {name: workspace.files.tensor(name) for name in weights}
    _hold("the empty version is the base to the bit", _equal(base, _from_scratch(workspace, ())))
    workspace.tag("spring", state.live, "the state after the first edits")
    destination = folder / "spring"
    card = card_of(workspace.ledger, state.live, "spring", weights_digests(weights))
    checkout(workspace.files, weights, destination, card)
    loaded = load_model(destination)
    same = all(torch.equal(loaded.model.get_parameter(loaded.parameter_name(n)), w) for n, w in weights.items())
    _hold("a checked-out folder loads in transformers with the same bits", same)
    return Scene(
        "Any version, rebuilt to the bit",
        f"errata tag spring && errata checkout spring {destination.name}",
        (
            f"version {state.version[:19]} = base + {len(state.live)} edits",
            "added in the opposite order, one by one: identical bits",
            "with no edits: the base's bytes",
            f"{destination.name}/ loads with AutoModelForCausalLM.from_pretrained: identical bits",
        ),
        data={"version": state.version},
    )


def _taking_back(workspace: Workspace) -> Scene:
    victim = workspace.state.live[len(workspace.state.live) // 2]
    body = workspace.state.edits[victim].body
    workspace.revert([victim], "shown in the demo")
    live = workspace.state.live
    weights = workspace.materialiser.weights(live)
    _hold("a revert equals never having edited", _equal(weights, _from_scratch(workspace, live)))
    kept = [workspace.state.edits[number].body.fact for number in live]
    says = workspace.says(live, kept)
    gone = not workspace.says(live, [body.fact])[0]
    _hold("the reverted fact is gone", gone)
    return Scene(
        "One edit from the middle, taken back as if it had never been made",
        f"errata revert e{victim}",
        (
            f"e{victim}: {body.fact.text} {body.fact.target!r} is no longer said",
            f"bits equal to a rebuild from the other {len(live)} edits; {sum(says)} of them still hold",
        ),
        data={"reverted": victim, "version": workspace.state.version},
    )


def _hunting(workspace: Workspace, folder: Path, more: Sequence[Fact], known: Sequence[Fact]) -> Iterator[Scene]:
    touched = {body.body.fact.subject for body in workspace.state.edits.values()} | {fact.subject for fact in more}
    right = next(fact for fact in known if fact.subject not in touched)
    wrong = next(f.target for f in known if f.relation == right.relation and f.target != right.target)
    planted = right.model_copy(update={"target": wrong, "old": right.target, "locality": ()})
    half = len(more) // 2
    list(edit(workspace, [*more[:half], planted, *more[half:]], workspace.config(), BATCH))
    state = workspace.state
    number = state.live_facts[planted.key]
    suite = Suite(
        name="regression",
        metric=Metric.EXACT_MATCH,
        probes=tuple(Probe(prompt=text, target=right.target) for text in (right.text, *right.paraphrase_texts)),
    )
    path = folder / "regression.jsonl"
    head = {"suite": suite.name, "metric": suite.metric.value}
    path.write_text("\n".join(json.dumps(r) for r in (head, *(p.model_dump() for p in suite.probes))) + "\n")
    result, _ = bisect_with_suite(workspace, start(state, "base", "HEAD"), suite, 0.5)
    _hold("the bisection found the planted edit", result.verdict is Verdict.CULPRIT and result.suspect is not None)
    assert result.suspect is not None
    _hold("the bisection found the planted edit", result.suspect.added == (number,))
    score = workspace.measure(state.live, suite).score
    healed = workspace.measure([n for n in state.live if n != number], suite).score
    workspace.revert([number], "found by bisection")
    yield Scene(
        "A bad edit slipped in; bisection finds it",
        "errata bisect start base HEAD && errata bisect run --suite regression.jsonl --threshold 0.5",
        (
            f"planted among {len(state.live)} live edits: {planted.text} {wrong!r} (it should be {right.target!r})",
            f"regression suite: {score:.0%} at the head",
            f"culprit e{number}, after {result.count()} evaluations; without it {healed:.0%}, confirmed both ways",
            f"e{number} reverted",
        ),
        data={"culprit": number, "evaluations": result.count(), "candidates": len(state.live)},
    )


def _together(workspace: Workspace, folder: Path, facts: Sequence[Fact]) -> Scene:
    team = govern(workspace, folder / "keys")
    lines, number = change(team, facts)
    state = workspace.state
    record = state.trust.changes[number]
    _hold("the change was approved by somebody else", record.approvals[-1].decision.person != record.author)
    _hold("its gates passed", bool(record.checks) and record.checks[-1].body.passed)
    _hold("the version is the drafted one", state.version == record.drafts[-1].body.result)
    says = workspace.says(state.live, facts)
    _hold("the model says the new facts", all(says))
    return Scene(
        "Now a team: nobody changes the model alone",
        'errata policy set controlled --reason "several of us now" && errata flow prices.jsonl --tag may',
        lines,
        data={"proposal": number, "author": record.author, "approved_by": record.approvals[-1].decision.person},
    )


def _verifying(workspace: Workspace) -> Scene:
    findings = [*verify(workspace.ledger, deep=True), *deep_verify(workspace)]
    _hold("the ledger verifies", is_sound(findings))
    state = workspace.state
    return Scene(
        "The record stands up",
        "errata verify --deep",
        (
            f"{state.head.seq} events, hash chain, blobs, deltas and the weights of tagged versions: no damage",
            f"head @{state.head.seq} {state.head.hash[:19]}",
        ),
        data={"events": state.head.seq, "head": state.head.hash},
    )


def _from_scratch(workspace: Workspace, live: Sequence[int]) -> dict[str, Tensor]:
    """A version by the definition, from the log and the blobs alone, edit by edit in the given order."""
    return materialise(*workspace.materialiser.definition(live))


def _equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].view(torch.uint8).equal(right[name].view(torch.uint8)) for name in left
    )


def _hold(claim: str, holds: bool) -> None:
    if not holds:
        raise ModelError(f"the demo's claim does not hold here: {claim}")


def _share(hits: Sequence[tuple[int, int]]) -> str:
    done, total = sum(h for h, _ in hits), sum(n for _, n in hits)
    return f"{done} of {total}"


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
