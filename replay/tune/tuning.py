"""Searching for settings: throw-away edits of a sample in memory, driven by Optuna, the choice put on record.

Every trial edits the same facts from the base on, in batches one after the other, as a ledger would, and is scored at
the end; nothing of it is recorded. The settings in force are trial 0. The choice is then tried on facts of the sample
that took no part in it, against the settings before, and becomes the ledger's own if it is not worse there.

Optuna keeps the trials in a journal file, so that a search goes on where it was left. Its sampler is seeded again for
each trial from the number of trials before: an interrupted search and one in a single run make the same proposals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from errata.editor.config import EditConfig, build_config
from errata.editor.model.hooks import patched
from errata.editor.model.requests import prompts_a_fact
from errata.editor.pipeline import EditedMatrix, check_facts, edit_batch, with_batch
from errata.editor.preserve.fisher import fisher, fisher_settings
from errata.editor.preserve.stats import collect
from errata.editor.score.choice import Baseline, Scores, Space, Trial, baseline, choose, score, trial_record
from errata.editor.solve.grid import CAPACITY_BITS, ExactSum, capacity, choose_exponent
from errata.editor.solve.solver import Solver
from errata.ledger.base.canonical import canonical_bytes, value_digest
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.base.records import Digest
from errata.ledger.facts.fact import Fact, Probe, fact_digest
from errata.ledger.facts.suites import OF_TEXTS, Suite, suite_digest
from errata.ledger.kinds.settings import SettingsChanged, TuningEvidence
from errata.ledger.secrets.sealing import refuse_personal
from errata.replay.apply.apply import batches, effective_batch_size
from errata.replay.tune.study import distributions_of, finished, inside, open_study, require_optuna
from errata.replay.workflow.moments import text_behind
from errata.replay.workflow.workspace import Workspace

STARTUP_TRIALS = 8
"""Trials that are drawn at random before the sampler learns from those before."""

__all__ = ["TuningResult", "Search", "Workbench", "conclude", "fact_key", "require_optuna", "run", "split", "tuned_on"]


def fact_key(fact: Fact) -> Digest:
    """The digest of a fact's subject and prompt, by which it is known again without being told."""
    return value_digest("fact-key", list(fact.key))


def tuned_on(workspace: Workspace, facts: Sequence[Fact]) -> list[Fact]:
    """Which of these facts were in a sample that the ledger's settings were tuned on: their scores flatter."""
    changes = workspace.state.recorded(SettingsChanged)
    used = {key for one in changes if one.body.evidence is not None for key in one.body.evidence.fact_keys}
    return [fact for fact in facts if fact_key(fact) in used]


def split(facts: Sequence[Fact]) -> tuple[list[Fact], list[Fact]]:
    """A sample's facts to choose on, and a third of them to try the choice on.

    Raises:
        UsageError: for fewer than three facts.
    """
    held_out = len(facts) // 3
    if held_out == 0:
        raise UsageError(f"tuning needs at least 3 facts, not {len(facts)}: two to choose on and one to try it on")
    return list(facts[: len(facts) - held_out]), list(facts[len(facts) - held_out :])


class Workbench:
    """The base model with all that trials share: second moments by layer, and a solver for each edited matrix.

    Args:
        workspace: the ledger and its model; nothing is written to it.
        layers: layers that trials may edit.
        corpus: text for second moments of layers that the ledger has none of; the text that the model wrote if None.
        batch_size: most edits in one solve.
        advance: told what is being done.

    Raises:
        UsageError: if a corpus is needed and not given.
    """

    def __init__(
        self,
        workspace: Workspace,
        layers: Sequence[int],
        corpus: Path | None,
        batch_size: int,
        advance: Callable[[str], None] = lambda stage: None,
    ) -> None:
        self.workspace, self.batch_size = workspace, batch_size
        self.loaded = workspace.loaded
        created = workspace.created
        own = {spec.layer: name for name, spec in created.edited.items()}
        others = [layer for layer in layers if layer not in own]
        self._matrices = {layer: self._own(name) for layer, name in own.items()}
        self._collected: dict[str, Any] | None = None
        self._text = partial(text_behind, created, workspace.ledger.blobs, corpus)
        self._information: dict[int, torch.Tensor] = {}
        if created.fisher is not None and workspace.information is not None:
            self._information[created.fisher.layer] = workspace.information
        self._advance = advance
        if others:
            text = self._text()
            advance(
                f"averaging keys of layers {', '.join(map(str, others))}, of which the ledger has no second moments"
            )
            self._collected = {"corpus": text.digest, "settings": asdict(text.settings)}
            for moment in collect(self.loaded, text.documents(), others, text.settings):
                self._matrices[moment.layer] = self._other(moment.layer, moment.matrix)

    def identity(self) -> dict[str, Any]:
        """What trials depend on beside their settings and facts, as JSON values."""
        created = self.workspace.created
        return {
            "base": created.base_digest,
            "stats": {name: reference.digest for name, reference in created.stats.items()},
            "collected": self._collected,
            "contexts": list(created.context_prompts),
        }

    def measure(self, number: int, config: EditConfig, facts: Sequence[Fact], before: Baseline) -> Trial:
        """Edit the facts from the base on, batch after batch, and score the result."""
        adapter, model = self.loaded.adapter, self.loaded.model
        meter = self.workspace.surroundings.meter
        above = adapter.layer_count(model) - 1 - config.layers[-1]
        matrices = [self._matrices[layer] for layer in config.layers]
        if config.fisher_weight > 0:
            matrices[-1] = replace(matrices[-1], information=self._information_after(config.layers[-1]))
        used = dict.fromkeys((matrix.name for matrix in matrices), 0.0)
        seconds, steps, edits = 0.0, 0, 0
        contexts = self.workspace.created.context_prompts
        try:
            for batch in batches(facts, effective_batch_size(config, self.batch_size)):
                result = edit_batch(self.loaded, matrices, batch, contexts, config, meter)
                seconds += result.seconds
                steps += sum(item.target.steps for item in result.edits)
                edits += len(result.edits)
                for matrix in matrices:
                    used[matrix.name] += sum(item.factors[matrix.name].bound for item in result.edits)
                    if used[matrix.name] >= capacity(matrix.sum.exponent):
                        raise ModelError(f"{matrix.name} has no room on its exact grid")
                matrices = with_batch(matrices, result)
            weights = {m.name: m.sum.weights(m.base, m.transposed).to(self.loaded.device) for m in matrices}
            names = {self.loaded.parameter_name(name): weight for name, weight in weights.items()}
            with patched(model, names):
                found: Scores | None = score(self.loaded, facts, before)
            failed = ""
        except ModelError as error:
            found, failed = None, error.message
        many = max(1, edits)
        work = steps * prompts_a_fact(config, contexts) * (above + 1) / many
        return Trial(number, config, found, seconds / many, work, steps / many, failed)

    def _information_after(self, layer: int) -> torch.Tensor:
        """The Fisher information after a layer; collected where the ledger has another one's."""
        if layer not in self._information:
            text = self._text()
            self._advance(f"averaging gradients after layer {layer}, of which the ledger has no Fisher information")
            read = fisher_settings(self.loaded.adapter.shape(self.loaded.model, layer)[0], text.settings)
            found = fisher(self.loaded, text.documents(), layer, read, self.workspace.config().seed)
            self._information[layer] = found.matrix
        return self._information[layer]

    def baseline(self, facts: Sequence[Fact], general: Sequence[Probe]) -> Baseline:
        """What holds on the base."""
        return baseline(self.loaded, facts, general)

    def _own(self, name: str) -> EditedMatrix:
        spec, base = self.workspace.created.edited[name], self.workspace.materialiser.base[name]
        moment = self.workspace.second_moments[name]
        return self._matrix(name, spec.layer, base, spec.shape, spec.grid_exponent, moment)

    def _other(self, layer: int, moment: torch.Tensor) -> EditedMatrix:
        name = self.loaded.stored_name(self.loaded.adapter.edited_parameter(layer))
        base = self.loaded.files.tensor(name)
        exponent = choose_exponent(float(base.double().pow(2).mean().sqrt()), base.dtype, CAPACITY_BITS)
        return self._matrix(name, layer, base, self.loaded.adapter.shape(self.loaded.model, layer), exponent, moment)

    def _matrix(
        self, name: str, layer: int, base: torch.Tensor, shape: tuple[int, int], exponent: int, moment: torch.Tensor
    ) -> EditedMatrix:
        transposed = self.loaded.adapter.transposed
        past_keys = torch.zeros(0, shape[1])
        # Nothing of it is kept on disk: factors of settings that are never used again would push out the ledger's own.
        solver = Solver(moment)
        return EditedMatrix(
            name, layer, base, transposed, ExactSum.zeros(*shape, exponent), moment, past_keys, solver=solver
        )


@dataclass(frozen=True)
class Search:
    """What a search depends on; a study that was left goes on only with the same.

    Attributes:
        facts: facts that settings are chosen on.
        held_out: facts that the choice is tried on.
        suite: the general suite, if any; its probes count by exact match, as far as they hold on the base.
        space: where settings are sought.
        seed: seeds the sampler.
        batch_size: most edits in one solve.

    Raises:
        UsageError: for a suite of texts, which have no answer that could hold or not.
    """

    facts: tuple[Fact, ...]
    held_out: tuple[Fact, ...]
    suite: Suite | None
    space: Space
    seed: int
    batch_size: int

    def __post_init__(self) -> None:
        if self.suite is not None and self.suite.metric in OF_TEXTS:
            raise UsageError(f"tuning needs a suite of probes; {self.suite.metric.value} is a metric of texts")

    @property
    def sample_digest(self) -> str:
        """The identity of the sample."""
        return value_digest("facts", [fact_digest(fact) for fact in (*self.facts, *self.held_out)])

    def identity(self, bench: Workbench) -> str:
        """The identity of the whole search on a workbench."""
        record = {
            "bench": bench.identity(),
            "start": bench.workspace.config().to_record(),
            "sample": self.sample_digest,
            "suite": None if self.suite is None else suite_digest(self.suite),
            "layers": [list(layers) for layers in self.space.layers],
            "ranges": {name: [r.low, r.high, r.log, r.whole] for name, r in self.space.ranges.items()},
            "seed": self.seed,
            "batch_size": self.batch_size,
        }
        return value_digest("tuning", record)


def run(
    bench: Workbench,
    search: Search,
    journal: Path,
    trials: int,
    seconds: float | None = None,
    advance: Callable[[list[Trial]], None] = lambda done: None,
) -> list[Trial]:
    """Try settings until there are ``trials`` of them, or time is over.

    Args:
        bench: what trials run on.
        search: what is sought.
        journal: Optuna's file; made if it is not there, gone on with if it holds this search.
        trials: how many in all, those of earlier runs and the settings before among them.
        seconds: most time of this run; the trial under way is finished. At least one is made.
        advance: called with all trials after each.

    Returns:
        All trials, in order; the first is the settings before.

    Raises:
        UsageError: if the extra `tune` is not installed, or a fact is personal.
        ModelError: if a fact does not fit the model, or the settings before fail on the sample.
        StorageFailed: if the journal cannot be read or written.
    """
    refuse_personal((*search.facts, *search.held_out), "tuned on")
    optuna = require_optuna()
    start, meter = bench.workspace.config(), bench.workspace.surroundings.meter
    check_facts(bench.loaded, (*search.facts, *search.held_out), bench.workspace.created.context_prompts, start)
    study = open_study(optuna, journal, search.identity(bench))
    for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(left.number, state=optuna.trial.TrialState.FAIL)
    done = finished(optuna, study)
    distributions = distributions_of(optuna, search.space)
    before = bench.baseline(search.facts, () if search.suite is None else search.suite.probes)
    began = meter.seconds()
    while len(done) < trials and (not done or seconds is None or meter.seconds() - began < seconds):
        number = len(done)
        if number == 0:
            measured = bench.measure(0, start, search.facts, before)
            if measured.scores is None:
                raise ModelError(f"the settings in force fail on this sample: {measured.failed}")
            study.add_trial(
                optuna.trial.create_trial(
                    values=[measured.quality, measured.work],
                    params=inside(start, distributions),
                    distributions={n: d for n, d in distributions.items() if n in inside(start, distributions)},
                    user_attrs={"trial": trial_record(measured)},
                )
            )
        else:
            study.sampler = optuna.samplers.TPESampler(
                seed=(search.seed * 1_000_003 + number) % 2**32, n_startup_trials=STARTUP_TRIALS
            )
            asked = study.ask(distributions)
            config = build_config({**start.to_record(), **asked.params})
            measured = bench.measure(number, config, search.facts, before)
            asked.set_user_attr("trial", trial_record(measured))
            study.tell(asked, [measured.quality, measured.work])
        done.append(measured)
        advance(done)
    return done


@dataclass(frozen=True)
class TuningResult:
    """How a search ended.

    Attributes:
        trials: all of them.
        own: the choice among those with the ledger's own layers.
        overall: the choice among all.
        before, after: the settings before and the ledger's choice on the held-out facts.
        overall_after: the overall choice on them.
        changed: whether the choice became the ledger's own settings.
    """

    trials: tuple[Trial, ...]
    own: Trial
    overall: Trial
    before: Trial
    after: Trial
    overall_after: Trial
    changed: bool


def conclude(
    bench: Workbench, search: Search, trials: Sequence[Trial], reason: str = "", record: bool = True
) -> TuningResult:
    """Choose, try the choice on the held-out facts, and record it if it works there and is not worse."""
    workspace, start = bench.workspace, trials[0]
    own = choose([trial for trial in trials if trial.config.layers == start.config.layers], search.seed)
    overall = choose(trials, search.seed)
    held_before = bench.baseline(search.held_out, () if search.suite is None else search.suite.probes)
    tried: dict[int, Trial] = {}
    for trial in (start, own, overall):
        if trial.number not in tried:
            tried[trial.number] = bench.measure(trial.number, trial.config, search.held_out, held_before)
    before, after = tried[start.number], tried[own.number]
    changed = record and own is not start and after.quality > 0 and after.quality >= before.quality
    if changed:
        details = [trial_record(trial) for trial in trials]
        evidence = TuningEvidence(
            sample_digest=search.sample_digest,
            fact_keys=tuple(fact_key(fact) for fact in (*search.facts, *search.held_out)),
            facts=len(search.facts),
            held_out=len(search.held_out),
            suite_digest=None if search.suite is None else suite_digest(search.suite),
            batch_size=effective_batch_size(start.config, search.batch_size),
            trials=len(trials),
            seed=search.seed,
            before=before.quality,
            after=after.quality,
            seconds_before=before.seconds,
            seconds_after=after.seconds,
            details_blob=workspace.ledger.blobs.put(canonical_bytes({"trials": details})),
        )
        workspace.change_settings(own.config, reason, evidence)
    return TuningResult(tuple(trials), own, overall, before, after, tried[overall.number], changed)
