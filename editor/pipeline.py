"""The whole of a batch: encode, optimise target values, solve, round to the grid, evaluate. Nothing is recorded here.

The caller's model is patched with the version's weights only while the batch is worked on. Everything a batch depends
on is an argument; everything it found out is in the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.editor.config import EditConfig, Stage2
from errata.editor.methods.closed_form import closed_form
from errata.editor.methods.fine_tune import fine_tune
from errata.editor.model.after_norm import landed_values, output_change
from errata.editor.model.hooks import patched
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import Request, build_request, keys_and_hidden
from errata.editor.preserve.neighbourhood import with_neighbours
from errata.editor.score.evaluate import continuations, probe, tokens_to_see
from errata.editor.score.fluency import likelihoods, perplexity
from errata.editor.score.scores import outcomes_of, own_targets, standing_probes
from errata.editor.solve.grid import ExactSum, bounds, round_factors
from errata.editor.solve.norms import running_norms
from errata.editor.solve.solve import Solution, SolvedBy, spread
from errata.editor.solve.solver import Solver
from errata.editor.target.target import TargetValue, optimise
from errata.ledger.base.errors import ModelError
from errata.ledger.events.parts import EditOutcome
from errata.ledger.facts.fact import Fact, Probe


@dataclass(frozen=True)
class EditedMatrix:
    """One edited tensor of a version, with what a batch needs to know of it.

    Attributes:
        name: the tensor's stored name.
        layer: its layer.
        base: the base tensor as stored.
        transposed: whether it is stored ``(d_in, d_out)``.
        sum: exact sum of the version's deltas; never changed here.
        second_moment: C, ``(d_in, d_in)`` float64.
        past_keys: ``(m, d_in)`` float32, keys of the live edits.
        solver: the tensor's own, kept by the caller from batch to batch; without one, nothing is known from before.
        information: Fisher information of the hidden state after the layer, ``(d_out, d_out)`` float64, where it is
            known and the layer is the last.
    """

    name: str
    layer: int
    base: Tensor
    transposed: bool
    sum: ExactSum
    second_moment: Tensor
    past_keys: Tensor
    solver: Solver | None = None
    information: Tensor | None = None


@dataclass(frozen=True)
class Meter:
    """What things cost.

    Attributes:
        seconds: a monotonic clock.
        peak_memory: the process's peak memory in bytes, on the device where models run.
        host_peak_memory: the same in the host's own memory, where that is another.
    """

    seconds: Callable[[], float]
    peak_memory: Callable[[], int]
    host_peak_memory: Callable[[], int] | None = None


@dataclass(frozen=True)
class Factors:
    """One edit's factors for one tensor: ``u`` ``(r, d_out)``, ``v`` ``(r, d_in)`` and ``k`` ``(d_in,)``, float32.

    The delta is the sum of the outer products of the ``r`` rows; ``r`` is one unless the edit is fine-tuning.

    ``shortfall`` is the part of the wanted change that a norm behind the module cannot give
    (`editor.model.after_norm`).
    """

    u: Tensor
    v: Tensor
    k: Tensor
    bound: float
    norm_before: float
    norm_after: float
    shortfall: float = 0.0


@dataclass(frozen=True)
class Edit:
    """A fact written into the model, not yet recorded.

    ``drawn`` are the locality probes that were drawn for a fact without any (`editor.score.neighbours`).
    """

    fact: Fact
    target: TargetValue
    factors: dict[str, Factors]
    outcome: EditOutcome
    drawn: tuple[Probe, ...] = ()


@dataclass(frozen=True)
class NoOp:
    """A fact that the model already says; nothing to write."""

    fact: Fact
    said: str


@dataclass(frozen=True)
class BatchResult:
    """Everything a batch found out.

    Attributes:
        edits: facts written, in the order of the request.
        no_ops: facts that the model said before.
        failed: facts whose edits did not work and were left out, with what was tried; they are in no sum.
        sums: exact sum of each edited tensor with the batch in it.
        residuals: relative residual of each tensor's solve.
        seconds: time of the whole batch.
        stage1_seconds: time of stage 1.
        peak_memory: bytes.
    """

    edits: tuple[Edit, ...]
    failed: tuple[Edit, ...]
    no_ops: tuple[NoOp, ...]
    sums: dict[str, ExactSum]
    residuals: dict[str, float]
    seconds: float
    stage1_seconds: float
    peak_memory: int


def check_facts(loaded: LoadedModel, facts: Sequence[Fact], context_prompts: Sequence[str], config: EditConfig) -> None:
    """Encode facts and their probes as a batch would, so that a bad one is found before any work is done.

    Raises:
        ModelError: naming the first fact that does not fit the model.
    """
    for fact in facts:
        build_request(loaded, fact, context_prompts, config)
        questions = fact.question_probes if loaded.chat is not None else ()
        for item in [*own_targets(fact), *fact.locality, *questions]:
            length = len(loaded.located(item.prompt, item.target, chat=item.chat).ids)
            if length > loaded.max_positions:
                raise ModelError(
                    f"a probe of the fact {fact.text!r} has {length} tokens; this model takes {loaded.max_positions}"
                )


def with_batch(matrices: Sequence[EditedMatrix], result: BatchResult) -> list[EditedMatrix]:
    """The edited tensors with a batch in them: in their sums, and its keys among the past ones."""
    if not result.edits:
        return list(matrices)
    return [
        replace(
            matrix,
            sum=result.sums[matrix.name],
            past_keys=torch.cat(
                [matrix.past_keys, torch.stack([item.factors[matrix.name].k for item in result.edits])]
            ),
        )
        for matrix in matrices
    ]


def edit_batch(
    loaded: LoadedModel,
    matrices: Sequence[EditedMatrix],
    facts: Sequence[Fact],
    context_prompts: Sequence[str],
    config: EditConfig,
    meter: Meter,
    advance: Callable[[str], None] = lambda stage: None,
    reference_texts: Sequence[str] = (),
    stands: Callable[[EditOutcome], bool] = lambda outcome: True,
) -> BatchResult:
    """Edit facts together in one solve a layer.

    Edits whose outcome does not stand are taken out and stage 2 is solved again for the others, until all that are left
    do; their target values are those that were found beside the ones that failed.

    Args:
        loaded: the base model; it has its own weights again afterwards.
        matrices: the edited tensors at the version to edit, by ascending layer.
        facts: what to write.
        context_prompts: the ledger's recorded context prompts.
        config: settings; its layers must be those of ``matrices``.
        meter: clock and memory.
        advance: told the name of each stage when it begins.
        reference_texts: texts whose perplexity is measured before the batch and after it.
        stands: whether an edit of this outcome may stay.

    Raises:
        ModelError: if a fact does not fit the model, the mathematics fails, or the method takes one edit at a time and
            these are more; nothing is changed then.
    """
    if config.one_at_a_time and len(facts) > 1:
        raise ModelError(f"{config.stage2} writes one edit at a time, and these are {len(facts)}")
    if tuple(m.layer for m in matrices) != config.layers:
        raise ModelError(f"settings edit layers {config.layers}, but the ledger holds {[m.layer for m in matrices]}")
    started = meter.seconds()
    loaded = loaded.with_system(config.chat_system)
    requests = [build_request(loaded, fact, context_prompts, config) for fact in facts]
    sums = {matrix.name: matrix.sum.clone() for matrix in matrices}
    weights = {m.name: sums[m.name].weights(m.base, m.transposed) for m in matrices}
    with patched(loaded.model, _by_parameter(loaded, weights)):
        said = continuations(
            loaded, [fact.text for fact in facts], tokens_to_see(loaded, [fact.target for fact in facts])
        )
        known = [result.says_target for result in probe(loaded, [own_targets(fact)[0] for fact in facts])]
        no_ops = tuple(NoOp(f, s) for f, s, k in zip(facts, said, known, strict=True) if k)
        wanted = [i for i, k in enumerate(known) if not k]
        if not wanted:
            cost = meter.seconds() - started
            return BatchResult((), (), no_ops, sums, {}, cost, 0.0, meter.peak_memory())
        requests = [requests[i] for i in wanted]
        standing = standing_probes(loaded, [facts[i] for i in wanted])
        perplexity_before = _perplexity(loaded, reference_texts)
        advance("target values")
        stage1_started = meter.seconds()
        targets = [] if config.stage2 == Stage2.FT else optimise(loaded, requests, config, matrices[-1].information)
        stage1_seconds = meter.seconds() - stage1_started
    failed: list[Edit] = []
    places = list(range(len(requests)))
    edits: list[Edit] = []
    layers: dict[str, _WrittenLayer] = {}
    while places:
        sums = {matrix.name: matrix.sum.clone() for matrix in matrices}
        weights = {m.name: sums[m.name].weights(m.base, m.transposed) for m in matrices}
        own = [requests[i] for i in places]
        advance("weights")
        if config.stage2 == Stage2.FT:
            with patched(loaded.model, _by_parameter(loaded, weights)):
                targets, layers = _fine_tune(loaded, matrices, own, config, sums, weights)
            stage1_seconds = meter.seconds() - stage1_started
        else:
            layers = _write(loaded, matrices, own, [targets[i] for i in places], config, sums, weights)
        advance("probes")
        with patched(loaded.model, _by_parameter(loaded, weights)):
            after = _perplexity(loaded, reference_texts)
            outcomes = outcomes_of(
                loaded,
                [request.fact for request in own],
                [standing[i] for i in places],
                [said[wanted[i]] for i in places],
                None if perplexity_before is None or after is None else (perplexity_before, after),
            )
        edits = [
            Edit(requests[i].fact, targets[i], {name: layer.rows[row] for name, layer in layers.items()}, outcome)
            for row, (i, outcome) in enumerate(zip(places, outcomes, strict=True))
        ]
        bad = {i for i, item in zip(places, edits, strict=True) if not stands(item.outcome)}
        if not bad:
            break
        failed += [item for i, item in zip(places, edits, strict=True) if i in bad]
        places = [i for i in places if i not in bad]
    if not places:
        edits, layers, sums = [], {}, {matrix.name: matrix.sum.clone() for matrix in matrices}
    return BatchResult(
        tuple(edits),
        tuple(failed),
        no_ops,
        sums,
        {name: layer.residual for name, layer in layers.items()},
        meter.seconds() - started,
        stage1_seconds,
        meter.peak_memory(),
    )


def _perplexity(loaded: LoadedModel, texts: Sequence[str]) -> float | None:
    return perplexity(likelihoods(loaded, texts)).value if texts else None


@dataclass(frozen=True)
class _WrittenLayer:
    rows: list[Factors]
    residual: float


def _write(
    loaded: LoadedModel,
    matrices: Sequence[EditedMatrix],
    requests: Sequence[Request],
    targets: Sequence[TargetValue],
    config: EditConfig,
    sums: dict[str, ExactSum],
    weights: dict[str, Tensor],
) -> dict[str, _WrittenLayer]:
    """Stage 2 over all edited layers; ``sums`` and ``weights`` are brought up to date layer by layer."""
    values = torch.stack([target.value for target in targets]).double()  # (n, d_out)
    with patched(loaded.model, _by_parameter(loaded, weights)):
        wanted = landed_values(loaded, requests, config.layers[-1], values)
        moments = _with_neighbours(loaded, matrices, requests, config)
    written: dict[str, _WrittenLayer] = {}
    for matrix in matrices:
        with patched(loaded.model, _by_parameter(loaded, weights)):
            keys, hidden = keys_and_hidden(loaded, requests, matrix.layer, config)
            share = spread(wanted - hidden, matrix.layer, config.layers)
            change = output_change(loaded, requests, matrix.layer, share)
        keys = keys.to(torch.float32)  # what is solved is what is recorded
        solver = _solver(matrix, moments.pop(matrix.layer, None))  # one layer's factor at a time
        solution = closed_form(config, solver, keys, change.residual, matrix.past_keys)
        layer = _put(matrix, solution, keys, sums, weights)
        rows = [replace(row, shortfall=float(part)) for row, part in zip(layer.rows, change.shortfall, strict=True)]
        written[matrix.name] = replace(layer, rows=rows)
    return written


def _with_neighbours(
    loaded: LoadedModel, matrices: Sequence[EditedMatrix], requests: Sequence[Request], config: EditConfig
) -> dict[int, Tensor]:
    """Second moments by layer with the batch's neighbours in them; none where neighbours take no part."""
    if not config.has_neighbours:
        return {}
    own = {matrix.layer: matrix.second_moment for matrix in matrices}
    return with_neighbours(loaded, [request.fact for request in requests], own, config)


def _solver(matrix: EditedMatrix, moment: Tensor | None) -> Solver:
    """The tensor's own solver; with the batch's neighbours in C another one, whose factor serves this batch alone."""
    if moment is not None:
        return Solver(moment)
    return matrix.solver or Solver(matrix.second_moment)


def _fine_tune(
    loaded: LoadedModel,
    matrices: Sequence[EditedMatrix],
    requests: Sequence[Request],
    config: EditConfig,
    sums: dict[str, ExactSum],
    weights: dict[str, Tensor],
) -> tuple[list[TargetValue], dict[str, _WrittenLayer]]:
    """Fine-tuning in place of both stages, for one request; the hidden state it leads to stands for a target value."""
    (request,) = requests
    tuned = fine_tune(loaded, request, _by_parameter(loaded, weights), config)
    _, before = keys_and_hidden(loaded, requests, config.layers[-1], config)
    written: dict[str, _WrittenLayer] = {}
    for matrix in matrices:
        with patched(loaded.model, _by_parameter(loaded, weights)):
            keys, _ = keys_and_hidden(loaded, requests, matrix.layer, config)
        form = tuned.forms[loaded.parameter_name(matrix.name)]
        solution = Solution(form.u, form.v, form.error, SolvedBy.GRADIENT)
        written[matrix.name] = _put(matrix, solution, keys.to(torch.float32), sums, weights)
    with patched(loaded.model, _by_parameter(loaded, weights)):
        _, after = keys_and_hidden(loaded, requests, config.layers[-1], config)
    target = TargetValue(
        value=after[0].float(),
        steps=tuned.steps,
        stop_reason=tuned.stop_reason,
        most_probable=tuned.most_probable,
        probability=tuned.probability,
        probability_before=tuned.probability_before,
        loss=tuned.loss,
        delta_norm=float((after - before).norm()),
        value_norm=float(before.norm()),
    )
    return [target], written


def _put(
    matrix: EditedMatrix, solution: Solution, keys: Tensor, sums: dict[str, ExactSum], weights: dict[str, Tensor]
) -> _WrittenLayer:
    """Round a solution to the grid and bring the tensor's sum and weights up to date; one key takes all its pairs."""
    u, v = round_factors(solution.u, solution.v, matrix.sum.exponent)
    before = sums[matrix.name].total + _upright(matrix.base, matrix.transposed).to(torch.float64)
    norms = running_norms(before, u, v)
    sums[matrix.name].add(u, v)
    weights[matrix.name] = sums[matrix.name].weights(matrix.base, matrix.transposed)
    u, v, keys = u.cpu(), v.cpu(), keys.cpu()
    shares, each = bounds(u, v), len(u) // len(keys)
    rows = [
        Factors(u[i : i + each], v[i : i + each], key, math.fsum(shares[i : i + each]), norms[i], norms[i + each])
        for key, i in zip(keys, range(0, len(u), each), strict=True)
    ]
    return _WrittenLayer(rows, solution.residual)


def _upright(base: Tensor, transposed: bool) -> Tensor:
    return base.T if transposed else base


def _by_parameter(loaded: LoadedModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {loaded.parameter_name(name): weight for name, weight in weights.items()}
