"""The workspace: a ledger and its model together, and what is written with both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from torch import Tensor
from torch.nn import Module

from errata.editor.config import EditConfig, build_config
from errata.editor.model import adapter_files
from errata.editor.model.hooks import patched
from errata.editor.model.loading import LoadedModel, ModelFiles, load_model, resolve_model
from errata.editor.score.evaluate import SuiteResult, probe, run_suite
from errata.editor.score.intervals import Estimate
from errata.editor.solve.solver import Solver
from errata.ledger.base.canonical import canonical_bytes
from errata.ledger.base.errors import ModelChanged
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import MoveTag
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import Capability
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import Suite, suite_digest
from errata.ledger.kinds.evaluations import EvaluationRecorded, EvaluationSource, Score
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RecordEvent, TagVersion
from errata.ledger.state.state import State
from errata.replay.record.writer import Writer
from errata.replay.versions.factors import FactorReader
from errata.replay.versions.materialise import Materialiser
from errata.replay.workflow.context import Surroundings
from errata.replay.workflow.factor_cache import FactorCache
from errata.replay.workflow.past_keys import PastKeys


@dataclass(frozen=True)
class EvaluationResult:
    """An evaluation's result before it is recorded: the headline, all scores, and the outcomes behind them as JSON."""

    metric: str
    score: float
    n: int
    passed: int | None
    scores: tuple[Score, ...]
    details: Any


def score_row(name: str, decision: str, estimate: Estimate) -> Score:
    """An estimate as it is recorded."""
    return Score(
        name=name,
        decision=decision,
        value=estimate.value,
        n=estimate.n,
        clusters=estimate.clusters,
        low=estimate.low,
        high=estimate.high,
        method=estimate.method,
    )


class Workspace(Writer):
    """A ledger with its base model, and who writes to it.

    Args:
        ledger: an open ledger that has its first event.
        surroundings: clock, identifiers, actor, device, meter.
        base: the base model's folder, if it is no longer where the ledger says; its digests decide.
    """

    surroundings: Surroundings

    def __init__(self, ledger: Ledger, surroundings: Surroundings, base: Path | None = None) -> None:
        super().__init__(ledger, surroundings)
        self.base = base

    @property
    def created(self) -> bodies.LedgerCreated:
        """The first event's body.

        Raises:
            LedgerDamaged: if the log is empty.
        """
        return self.state.genesis

    @cached_property
    def files(self) -> ModelFiles:
        """The base model's files, checked against the digests recorded at genesis.

        Raises:
            ModelChanged: naming the tensors that differ.
            UsageError: if the model is not where the ledger says.
        """
        created = self.created
        files = ModelFiles(self.base or resolve_model(created.model))
        found = files.digests()
        changed = [
            name for name in sorted(set(found) | set(created.tensors)) if found.get(name) != created.tensors.get(name)
        ]
        if created.files:  # ledgers that are older name none
            beside = files.file_digests()
            changed += [n for n in sorted({*beside, *created.files}) if beside.get(n) != created.files.get(n)]
        elif files.tokenizer_digest() != created.tokenizer_digest:
            changed.append("the tokenizer")
        if files.config_digest() != created.config_digest:
            changed.append("config.json")
        if changed:
            raise ModelChanged(changed)
        return files

    @cached_property
    def loaded(self) -> LoadedModel:
        """The base model, loaded; its files are checked first."""
        names = self.created.adapter
        adapter = None if names is None else adapter_files.from_record(names)
        loaded = load_model(self.files.folder, self.surroundings.device, adapter)
        return loaded.with_system(self.config().chat_system)

    @cached_property
    def materialiser(self) -> Materialiser:
        """Turns live sets into weights."""
        return Materialiser(self.ledger, self.files)

    @cached_property
    def factors(self) -> FactorReader:
        """Reads the deltas of edits, each checked once."""
        return FactorReader(self.ledger.blobs, self.created.edited)

    @cached_property
    def second_moments(self) -> dict[str, Tensor]:
        """The second moment recorded at genesis for each edited tensor, ``(d_in, d_in)`` float64; read once.

        Raises:
            BlobMissing, BlobDamaged: if a blob is not as it was recorded.
        """
        return {
            name: load_tensors(self.ledger.blobs.get(reference.blob))["second_moment"]
            for name, reference in self.created.stats.items()
        }

    @cached_property
    def information(self) -> Tensor | None:
        """The Fisher information recorded at genesis, ``(d_out, d_out)`` float64; None where there was none.

        Raises:
            BlobMissing, BlobDamaged: if its blob is not as it was recorded.
        """
        reference = self.created.fisher
        return None if reference is None else load_tensors(self.ledger.blobs.get(reference.blob))["second_moment"]

    @cached_property
    def solvers(self) -> dict[str, Solver]:
        """A solver for each edited tensor: what stage 2 knows from the batches before, and its factors on disk."""
        return self.new_solvers()

    def new_solvers(self) -> dict[str, Solver]:
        """Solvers that know of no batch: what they give does not depend on what this process did before."""
        store = None
        if self.ledger.folder is not None:
            store = FactorCache(self.ledger.caches.folder("factors"), keep=2 * len(self.created.edited))
        return {
            name: Solver(moment, self.created.stats[name].blob, store) for name, moment in self.second_moments.items()
        }

    @cached_property
    def past_keys(self) -> PastKeys:
        """The keys of live edits, decoded once."""
        return PastKeys(self.ledger.blobs, {name: tensor.shape[1] for name, tensor in self.created.edited.items()})

    def revealed(self, numbers: Iterable[int]) -> State:
        """The state with the personal facts of these edits in the clear: to be looked at, never to be recorded.

        Raises:
            Erased: one of them was erased.
            FactSealed, BlobMissing, BlobDamaged: one of them cannot be read.
        """
        return self.ledger.opener.reveal(self.state, numbers)

    def config(self) -> EditConfig:
        """The ledger's own hyperparameters: the last that were set, else those of the first event."""
        return build_config(self.state.hyperparameters)

    def tag(self, name: str, live: Iterable[int], note: str = "", *, move: bool = False) -> list[Event]:
        """Name a version; the digests of its materialised tensors are recorded with it.

        Args:
            name: the tag.
            live: the version's edits.
            note: a remark.
            move: take the name from the version that has it, if one has, in the same transaction.

        Raises:
            Refused: a version has this name already and it is not to move, it is on that version already, or the
                policy protects it.
        """
        state = self.state
        numbers = tuple(sorted(live))
        weights = self.materialiser.digests(numbers)
        if move and name in state.tags:
            return self.execute(MoveTag.checked(tag=name, live=numbers, weights=weights, note=note), state)
        return self.execute(TagVersion(name, numbers, weights, note), state)

    def measure(self, live: Iterable[int], suite: Suite, draw: int = 0) -> SuiteResult:
        """Run a suite on a version without recording anything; no file is written (`draw` as in `run_suite`)."""
        with self.at(live):
            return run_suite(self.loaded, suite, draw=draw)

    def says(self, live: Iterable[int], facts: Sequence[Fact]) -> list[bool]:
        """Whether a version says each fact's target after its prompt."""
        with self.at(live):
            results = probe(self.loaded, [Probe(prompt=fact.text, target=fact.target) for fact in facts])
        return [result.says_target for result in results]

    def at(self, live: Iterable[int]) -> AbstractContextManager[Module]:
        """A context in which the loaded model is a version."""
        return self.with_weights(self.materialiser.weights(live))

    def with_weights(self, weights: Mapping[str, Tensor]) -> AbstractContextManager[Module]:
        """A context in which the loaded model has these edited tensors, by stored name."""
        return patched(
            self.loaded.model, {self.loaded.parameter_name(n): w.to(self.loaded.device) for n, w in weights.items()}
        )

    def evaluate(self, live: Iterable[int], suite: Suite, again: bool = False) -> tuple[EvaluationRecorded, bool]:
        """A suite's result on a version: the recorded one if there is one, else a new one that is then recorded.

        Returns:
            The result, and whether it was computed now.
        """

        def run() -> EvaluationResult:
            found = self.measure(live, suite)
            name = suite.metric.value
            row = score_row(name, name, found.estimate)
            return EvaluationResult(
                suite.metric.value, found.score, found.n, found.passed, (row,), list(found.outcomes)
            )

        return self.recorded(live, EvaluationSource.SUITE, suite.name, suite_digest(suite), run, again)

    def recorded(
        self,
        live: Iterable[int],
        source: EvaluationSource,
        name: str,
        identity: str,
        run: Callable[[], EvaluationResult],
        again: bool = False,
    ) -> tuple[EvaluationRecorded, bool]:
        """The recorded result of what `identity` names on a version, else `run`'s, which is then recorded.

        A result without intervals, from before they were recorded, does not count: it is computed again.

        Returns:
            The result, and whether it was computed now.
        """
        version = self.state.version_of(live)
        if not again:
            for evaluation in reversed(self.state.recorded(EvaluationRecorded)):
                body = evaluation.body
                if (body.version, body.suite_digest) == (version, identity) and body.scores:
                    return body, False
        self.foresee(None, Capability.RECORD)
        started = self.surroundings.meter.seconds()
        return self.record(live, source, name, identity, run(), started), True

    def record(
        self,
        live: Iterable[int],
        source: EvaluationSource,
        name: str,
        identity: str,
        finding: EvaluationResult,
        started: float,
    ) -> EvaluationRecorded:
        """Record a result on a version; `started` is when the meter's clock said that it began."""
        numbers = tuple(sorted(live))
        details = None
        if finding.details is not None:
            details = self.ledger.blobs.put(canonical_bytes({"suite": identity, "outcomes": finding.details}))
        body = EvaluationRecorded(
            version=self.state.version_of(numbers),
            live_count=len(numbers),
            source=source,
            suite=name,
            suite_digest=identity,
            metric=finding.metric,
            score=finding.score,
            n=finding.n,
            passed=finding.passed,
            scores=finding.scores,
            details_blob=details,
            seconds=self.surroundings.meter.seconds() - started,
            software=self.surroundings.software,
            device=self.surroundings.device,
            peak_memory_bytes=self.surroundings.meter.peak_memory(),
        )
        self.execute(RecordEvent(body))
        return body
