"""Events, edits, versions and conclusions in words, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from errata.commands.words.render import Table
from errata.commands.words.trust_wording import trust_words
from errata.ledger.base.words import counted, short, sized
from errata.ledger.events import bodies
from errata.ledger.events.parts import Origin
from errata.ledger.kinds.bisections import BisectionConcluded
from errata.ledger.kinds.checkouts import CheckoutFormat, VersionCheckedOut
from errata.ledger.kinds.evaluations import EvaluationRecorded, Score
from errata.ledger.kinds.exports import AuditExported
from errata.ledger.kinds.merges import LedgerMerged
from errata.ledger.kinds.settings import SettingsChanged
from errata.ledger.kinds.tracings import TracingRecorded

if TYPE_CHECKING:
    from errata.ledger.events.envelope import Event
    from errata.ledger.ledger import Ledger
    from errata.ledger.state.state import EditRecord, State

FULL_DIGITS = 16
"""Digits of a digest where it stands for itself."""


def event_words(event: Event) -> str:
    """One line on what an event says."""
    match event.body:
        case bodies.LedgerCreated() as body:
            return f"ledger created on {body.model}, base {short(body.base_digest)}"
        case bodies.EditApplied() as body:
            return f"e{body.number} {fact_words(body)}" + (f", {origin_words(body.origin)}" if body.origin else "")
        case bodies.EditReverted() as body:
            return f"e{body.edit} reverted" + (f": {body.reason}" if body.reason else "")
        case bodies.EditSuperseded() as body:
            return f"e{body.edit} superseded by e{body.by}"
        case EvaluationRecorded() as body:
            return f"{body.suite} on {short(body.version)}: {score_words(body)}"
        case bodies.VersionTagged() as body:
            return f"tag {body.tag} on {short(body.version)}" + (f": {body.note}" if body.note else "")
        case bodies.VersionUntagged() as body:
            return f"tag {body.tag} removed"
        case BisectionConcluded() as body:
            who = (body.culprit,) if body.culprit else body.cause
            what = " ".join((body.verdict.value, *(f"e{number}" for number in who)))
            return f"bisection by {body.metric}: {what}, {counted(body.evaluations, 'evaluation')}"
        case TracingRecorded() as body:
            return f"{tracing_words(body)} in {short(body.version)}"
        case VersionCheckedOut() as body:
            return f"{short(body.version)} {checkout_words(body)}"
        case SettingsChanged() as body:
            how = "" if body.evidence is None else f"tuned on {counted(body.evidence.facts, 'fact')}"
            return f"settings changed: {'; '.join(part for part in (how, body.reason) if part)}"
        case LedgerMerged() as body:
            return merge_words(body)
        case AuditExported() as body:
            return f"@{body.first} to @{body.last} exported for audit, manifest {short(body.manifest)}"
        case bodies.FactErased() as body:
            which = ", ".join(f"e{number}" for number in body.edits)
            return f"personal fact {body.token} erased, {which}" + (f": {body.reason}" if body.reason else "")
    return trust_words(event.body) or event.kind.value


def score_words(body: EvaluationRecorded) -> str:
    """An evaluation's headline, with its interval if one was recorded."""
    head = next((s for s in body.scores if s.name == body.metric and s.value == body.score), None)
    between = "" if head is None or head.low is None else f", {interval_words(head, body.passed is not None)}"
    if body.passed is not None:
        return f"{body.passed} of {body.n} ({body.score:.1%}{between})"
    return f"{body.metric} {body.score:.6g} over {body.n}{between}"


SHARES = frozenset({"greedy", "comparison", "exact_match", "probability_comparison"})
"""Decisions whose scores are shares."""


def interval_words(score: Score, as_share: bool) -> str:
    """A score's 95 % interval."""
    if score.low is None or score.high is None:
        return "no interval"
    return f"95% {score.low:.1%} to {score.high:.1%}" if as_share else f"95% {score.low:.6g} to {score.high:.6g}"


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


def tracing_words(body: TracingRecorded) -> str:
    """What a tracing found."""
    return f"{counted(body.facts, 'fact')} traced, layers {', '.join(map(str, body.suggested)) or 'none'} suggested"


def checkout_words(body: VersionCheckedOut) -> str:
    """How a version was written out."""
    form = "a model folder" if body.format is CheckoutFormat.FOLDER else "an adapter"
    since = "" if body.since is None else f" on {short(body.since)}"
    linked = f", {sized(body.bytes_linked)} linked" if body.bytes_linked else ""
    return f"written out as {form}{since}: {sized(body.bytes_written)}{linked}"


def origin_words(origin: Origin) -> str:
    """Where an edit was carried over from, in short."""
    return f"carried over from ledger {short(origin.ledger)}, e{origin.number}"


def merge_words(body: LedgerMerged) -> str:
    """What a merge did."""
    done = []
    if body.carried:
        which = f"e{body.carried[0]}" + (f" to e{body.carried[-1]}" if len(body.carried) > 1 else "")
        done.append(f"carried over {counted(len(body.carried), 'edit')} ({which})")
    if body.taken_back:
        done.append(f"took back {', '.join(f'e{number}' for number in body.taken_back)}")
    if body.resolutions:
        rule = "of two equal targets the earlier edit" if body.rule is None else f"rule {body.rule.value}"
        how = sorted({"by hand" if one.by_hand else rule for one in body.resolutions})
        done.append(f"decided on {counted(len(body.resolutions), 'fact')} ({', '.join(how)})")
    return f"merged ledger {short(body.ledger)} at @{body.seq} {short(body.head)}: {'; '.join(done)}"


def revealed_event(ledger: Ledger, event: Event) -> Event:
    """An event with its personal fact in the clear; as it is where its fact was erased.

    Raises:
        FactSealed, BlobMissing, BlobDamaged: the fact cannot be read.
    """
    body = event.body
    if not isinstance(body, bodies.EditApplied) or ledger.state().edits[body.number].erased_by is not None:
        return event
    return event.model_copy(update={"body": ledger.opener.body(body)})


def event_json(event: Event) -> dict[str, Any]:
    """An event as JSON."""
    return event.model_dump(mode="json")


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
        f"worked      {'yes' if outcome.efficacy else 'no'}{probe_words(outcome.paraphrase, outcome.locality)}",
        f"method      {body.method}, row {body.row} of a batch of {body.batch_size}",
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


def probe_words(paraphrase: tuple[int, int] | None, locality: tuple[int, int] | None) -> str:
    """Hits among paraphrases and locality probes, as far as there are any."""
    words = ""
    for name, hits in (("paraphrases", paraphrase), ("locality", locality)):
        if hits is not None:
            words += f", {name} {hits[0]} of {hits[1]}"
    return words


def settings_source(state: State) -> tuple[int, str]:
    """The seq of the event that the settings in force come from, and what it was, in words."""
    if not state.settings:
        return 1, "the ledger's creation"
    last = state.settings[-1]
    evidence = last.body.evidence
    source = "set by hand" if evidence is None else f"tuned on {counted(evidence.facts, 'fact')}"
    return last.seq, source + (f": {last.body.reason}" if last.body.reason else "")


def version_json(state: State, live: tuple[int, ...]) -> dict[str, Any]:
    """A version as JSON."""
    version = state.version_of(live)
    return {
        "version": version,
        "live": list(live),
        "tags": sorted(name for name, tag in state.tags.items() if tag.version == version),
        "evaluations": [e.body.plain() for e in state.evaluations if e.body.version == version],
        "tracings": [one.body.plain() for one in state.tracings if one.body.version == version],
        "checkouts": [{"seq": one.seq, **one.body.plain()} for one in state.checkouts if one.body.version == version],
    }


def facts_changed(state: State, numbers: Iterable[int]) -> list[str]:
    """One line an edit, for edits by number."""
    return [f"  e{number} {fact_words(state.edits[number].body)}" for number in numbers]


def fact_words(body: bodies.EditApplied) -> str:
    """What an edit wrote, and whether that did not work."""
    return f"{body.fact.text} => {body.fact.target}" + ("" if body.outcome.efficacy else " (not said afterwards)")
