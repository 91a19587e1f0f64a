"""Events, edits, versions and conclusions in words, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from errata.commands.words.render import Block, Table
from errata.ledger.base.words import counted, short
from errata.ledger.events import bodies
from errata.ledger.events.parts import HARM, EditOutcome, Origin
from errata.ledger.events.policy import Policy
from errata.ledger.events.words import capabilities, fact_words, gate_words, origin_words, policy_rows
from errata.ledger.kinds.checkouts import VersionCheckedOut
from errata.ledger.kinds.evaluations import SHARES, EvaluationRecorded, Score, TracingRecorded, interval_words
from errata.ledger.kinds.settings import SettingsChanged

if TYPE_CHECKING:
    from errata.ledger.events.envelope import Event
    from errata.ledger.ledger import Ledger
    from errata.ledger.state.state import EditRecord, State
    from errata.ledger.state.trust import KeyRecord, Recorded


V = TypeVar("V", EvaluationRecorded, TracingRecorded, VersionCheckedOut)


def score_table(scores: Iterable[Score]) -> Table:
    """Scores with their intervals and what they rest on."""
    rows = []
    for score in scores:
        as_share = score.decision in SHARES
        value = f"{score.value:.1%}" if as_share else f"{score.value:.6g}"
        between = "" if score.low is None else interval_words(score, as_share).removeprefix("95% ")
        rows.append(
            (score.name, score.decision, value, between, str(score.n), str(score.clusters), score.method or "none")
        )
    return Table(("score", "decided by", "value", "95% interval", "n", "clusters", "interval by"), tuple(rows))


def revealed_event(ledger: Ledger, event: Event) -> Event:
    """An event with its personal fact in the clear; as it is where its fact was erased.

    Raises:
        FactSealed, BlobMissing, BlobDamaged: the fact cannot be read.
    """
    body = event.body
    if not isinstance(body, bodies.EditApplied) or ledger.state().edits[body.number].erased_by is not None:
        return event
    return event.model_copy(update={"body": ledger.opener.body(body)})


def edit_rows(records: Iterable[EditRecord]) -> Table:
    """A table of edits."""
    return Table(
        ("edit", "prompt", "says", "instead of", "status"),
        tuple(
            (f"e{r.number}", r.body.fact.text, said_after(r.body), said_before(r.body), status_words(r))
            for r in records
        ),
    )


def status_words(record: EditRecord) -> str:
    """What became of an edit."""
    return record.status.value if record.erased_by is None else f"{record.status.value}, erased"


def said_after(body: bodies.EditApplied) -> str:
    """What the model said after an edit: the target, if the edit worked."""
    return body.fact.target if body.outcome.efficacy else f"{body.outcome.said_after} (did not work)"


def said_before(body: bodies.EditApplied) -> str:
    """What the model said before an edit."""
    return body.outcome.said_before or body.fact.old or ""


def edit_json(record: EditRecord) -> dict[str, Any]:
    """An edit as JSON."""
    return {
        "seq": record.seq,
        "status": record.status.value,
        "closed_by": record.closed_by,
        "erased_by": record.erased_by,
        **record.body.plain(),
    }


def edit_lines(record: EditRecord) -> list[str]:
    """Everything that was recorded of an edit, in words."""
    body, fact, outcome = record.body, record.body.fact, record.body.outcome
    closed = "" if record.closed_by is None else f" at @{record.closed_by}"
    closed += "" if record.erased_by is None else f", erased at @{record.erased_by}"
    lines = [
        f"e{body.number}  {record.status.value}{closed}  recorded at @{record.seq}",
        f"fact        {fact.text} => {fact.target}",
        f"subject     {fact.subject}",
        f"before      {outcome.said_before}",
        f"after       {outcome.said_after}",
        f"worked      {'yes' if outcome.efficacy else 'no'}{outcome_words(outcome)}",
        f"method      {body.method}, row {body.row} of a batch of {body.batch_size}",
        *([f"rank        {body.rank}, the largest in a tensor"] if body.ranks else ()),
        *_origin_lines(body.origin),
        f"stage 1     {body.stage1.steps} steps, stopped by {body.stage1.stop_reason.value}, probability "
        f"{body.stage1.probability_before:.3g} -> {body.stage1.probability_after:.3g}",
    ]
    lines += [
        f"norm        {name}: {body.norms_before[name]:.6g} -> {body.norms_after[name]:.6g}"
        for name in sorted(body.norms_before)
    ]
    lines += [
        f"cost        {body.seconds:.2f} s, {body.peak_memory_bytes / 2**20:.0f} MiB peak, on {body.device}",
        f"delta       {body.delta_digest}",
        f"blob        {body.blob}",
    ]
    if fact.sealed is not None:
        del lines[2:5]  # subject, before, after: sealed too
        lines.append(f"sealed      as {fact.sealed.token}, commitment {fact.sealed.commitment}")
    if fact.old:
        lines.insert(3, f"old object  {fact.old}")
    return lines


def _origin_lines(origin: Origin | None) -> list[str]:
    if origin is None:
        return []
    return [f"origin      {origin_words(origin)} (@{origin.seq}), recorded by {origin.actor} at {origin.recorded_at}"]


def outcome_words(*outcomes: EditOutcome) -> str:
    """Hits among the edits' paraphrases, locality probes and questions, as far as there are any."""
    words = ""
    for name, of in (("paraphrases", "paraphrase"), ("locality", "locality"), ("in chat", "questions")):
        hits = added([getattr(outcome, of) for outcome in outcomes])
        if hits is not None:
            words += f", {name} {hits[0]} of {hits[1]}"
    return words


def added(hits: Iterable[tuple[int, int] | None]) -> tuple[int, int] | None:
    """Hits and totals of several edits together; None if none of them had probes."""
    found = [pair for pair in hits if pair is not None]
    return (sum(pair[0] for pair in found), sum(pair[1] for pair in found)) if found else None


def harm_words(outcomes: Sequence[EditOutcome]) -> str:
    """A warning where edits made the model worse at texts of its own, a batch or all together; empty where none did.

    Args:
        outcomes: of the edits, in the order in which they were written.
    """
    pairs = [outcome.perplexity for outcome in outcomes if outcome.perplexity is not None]
    together = [(pairs[0][0], pairs[-1][1])] if pairs else []
    before, after = max([*together, *pairs], key=lambda pair: pair[1] / pair[0], default=(1.0, 1.0))
    if after <= (1 + HARM) * before:
        return ""
    what = "these edits" if (before, after) in together else "a batch"
    return (
        f"warning: {what} took the perplexity of the model's own reference texts from {before:.4g} to {after:.4g}; "
        "`errata revert` takes its edits back, and a larger norm_weight or stats_weight (--set) harms less"
    )


def settings_source(state: State) -> tuple[int, str]:
    """The seq of the event that the settings in force come from, and what it was, in words."""
    if not state.recorded(SettingsChanged):
        return 1, "the ledger's creation"
    last = state.recorded(SettingsChanged)[-1]
    evidence = last.body.evidence
    source = "set by hand" if evidence is None else f"tuned on {counted(evidence.facts, 'fact')}"
    return last.seq, source + (f": {last.body.reason}" if last.body.reason else "")


def version_words(state: State) -> str:
    """The version at the head, and how many edits are in force there."""
    return f"version {short(state.version)}, {counted(len(state.live), 'live edit')}"


def recorded_of(state: State, kind: type[V], version: str) -> list[Recorded[V]]:
    """What was recorded of a version, of one kind, in the order of the log."""
    return [one for one in state.recorded(kind) if one.body.version == version]


def version_json(state: State, live: tuple[int, ...]) -> dict[str, Any]:
    """A version as JSON."""
    version = state.version_of(live)
    return {
        "version": version,
        "live": list(live),
        "tags": sorted(name for name, tag in state.tags.items() if tag.version == version),
        "evaluations": [one.body.plain() for one in recorded_of(state, EvaluationRecorded, version)],
        "tracings": [one.body.plain() for one in recorded_of(state, TracingRecorded, version)],
        "checkouts": [{"seq": one.seq, **one.body.plain()} for one in recorded_of(state, VersionCheckedOut, version)],
    }


def facts_changed(state: State, numbers: Iterable[int]) -> list[str]:
    """One line an edit, for edits by number."""
    return [f"  e{number} {fact_words(state.edits[number].body)}" for number in numbers]


def validity_words(record: KeyRecord) -> str:
    """Which events a key can sign."""
    if record.revoked is None:
        return f"after @{record.granted}"
    since = "" if record.compromised_since is None else f", compromised since @{record.compromised_since}"
    return f"after @{record.granted} to @{record.revoked}{since}"


def policy_view(policy: Policy) -> list[Block]:
    """All that a policy says, as tables."""
    roles = tuple((role, capabilities(may)) for role, may in policy.roles.items())
    gates = tuple(
        (gate.name, gate_words(gate), gate.suite.name if gate.suite else "", ", ".join(gate.when))
        for gate in policy.gates
    )
    view: list[Block] = [Table(("", "asks"), tuple(policy_rows(policy)), whole=True)]
    if roles:
        view += ["", Table(("role", "may"), roles, title="roles", whole=True)]
    if gates:
        view += ["", Table(("gate", "lets through", "suite", "measured"), gates, title="gates", whole=True)]
    return view
