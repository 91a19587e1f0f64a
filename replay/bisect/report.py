"""A recorded bisection as a colleague reads it who was not there: what was found, how sure it is, and what to do.

Everything is read from the log; no model is loaded and nothing is tested again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errata.ledger.base.errors import UsageError
from errata.ledger.events.bodies import BisectionConcluded, BisectionMode, StepOutcome, Verdict
from errata.ledger.events.envelope import Event
from errata.ledger.rules.addresses import versions
from errata.ledger.state.state import EditRecord, EditStatus, State
from errata.replay.bisect.picture import Band, Bar, Mark, chart
from errata.replay.bisect.scope import LOG, Filters
from errata.replay.search.terms import Purpose


@dataclass(frozen=True)
class Provenance:
    """An edit, and where it comes from.

    Attributes:
        number: the edit's.
        wrote: prompt and target.
        said_before: what the model said before it.
        worked: whether the model said the target afterwards.
        recorded: place in the log, time and actor of its event.
        solved: method, batch, and its row there.
        now: what became of it, in words.
        live: whether it is in force at the head.
    """

    number: int
    wrote: str
    said_before: str
    worked: bool
    recorded: tuple[int, str, str]
    solved: str
    now: str
    live: bool


@dataclass(frozen=True)
class Report:
    """A bisection's conclusion with everything that explains it.

    Attributes:
        seq, recorded_at, actor: its event.
        body: what was recorded.
        headline: the verdict in one sentence.
        explained: what the verdict means and how it was confirmed, a sentence each.
        test: what decided whether a version is good.
        searched: what was searched, a sentence each.
        edits: every edit that the conclusion names, by number.
        advice: what to do next: a command and why, each.
    """

    seq: int
    recorded_at: str
    actor: str
    body: BisectionConcluded
    headline: str
    explained: tuple[str, ...]
    test: str
    searched: tuple[str, ...]
    edits: Mapping[int, Provenance]
    advice: tuple[tuple[str, str], ...]


def find(state: State, seq: int | None) -> tuple[int, BisectionConcluded]:
    """The conclusion at a place of the log; the last one if none is named.

    Raises:
        UsageError: there is none.
    """
    if not state.bisections:
        raise UsageError("no bisection was recorded in this ledger yet")
    if seq is None:
        return state.bisections[-1].seq, state.bisections[-1].body
    for known in state.bisections:
        if known.seq == seq:
            return seq, known.body
    places = ", ".join(f"@{known.seq}" for known in state.bisections[-5:])
    raise UsageError(f"@{seq} is no bisection's conclusion; there are {places}")


def report(state: State, events: Sequence[Event], seq: int | None = None) -> Report:
    """The report of a conclusion.

    Args:
        state: the ledger's state.
        events: the whole log.
        seq: the conclusion's place; the last one if None.

    Raises:
        UsageError: there is no such conclusion.
    """
    place, body = find(state, seq)
    named = {number for number in (body.culprit, *body.candidates, *body.cause, *body.cure) if number is not None}
    named |= {number for step in (body.belief.credible if body.belief else ()) for number in step.edits}
    edits = {number: _provenance(state, events, state.edits[number]) for number in sorted(named)}
    return Report(
        seq=place,
        recorded_at=events[place - 1].recorded_at,
        actor=events[place - 1].actor,
        body=body,
        headline=_headline(state, body),
        explained=tuple(_explained(state, body)),
        test=_test(body),
        searched=tuple(_searched(state, body)),
        edits=edits,
        advice=tuple(_advice(state, body)),
    )


def picture(found: Report) -> dict[str, Any]:
    """The tests along the changes as a Vega-Lite specification."""
    body = found.body
    marks = [
        Mark(
            number,
            step.purpose,
            step.position,
            step.outcome,
            step.score,
            "suspect" if step.newest is None else f"e{step.newest}",
        )
        for number, step in enumerate(body.log, start=1)
    ]
    believed = [] if body.belief is None else list(body.belief.credible)
    bars = [Bar(step.position, names(step.edits), step.probability) for step in believed]
    exact = body.mode is BisectionMode.EXACT
    lines = ["Numbers tell the order of the tests." if exact else "Numbers tell how often a version got an answer."]
    if body.threshold is not None:
        side = "above" if body.direction == "higher_is_better" else "below"
        lines.append(f"Scores {side} the dashed line ({body.threshold:g}) or on it are good.")
    return chart(
        marks,
        body.steps or max((step.position or 0 for step in body.log), default=0),
        title="Every test, along the changes",
        subtitle=lines,
        metric=body.metric,
        threshold=body.threshold,
        band=_band(body),
        bars=bars,
    )


def names(edits: Iterable[int]) -> str:
    """Edits as people write them: `e1, e2 and e3`."""
    *first, last = [f"e{number}" for number in edits]
    return f"{', '.join(first)} and {last}" if first else last


def _band(body: BisectionConcluded) -> Band | None:
    """The bracket that the tests left, where the test does not err and both sides were seen."""
    placed = [step for step in body.log if step.position is not None]
    bad = [step.position or 0 for step in placed if step.outcome is StepOutcome.BAD]
    if body.mode is not BisectionMode.EXACT or not bad:
        return None
    good = [
        step.position or 0 for step in placed if step.outcome is StepOutcome.GOOD and (step.position or 0) < min(bad)
    ]
    return Band(max(good), min(bad)) if good else None


def _provenance(state: State, events: Sequence[Event], record: EditRecord) -> Provenance:
    body = record.body
    event = events[record.seq - 1]
    now = "in force at the head"
    if record.closed_by is not None:
        by = events[record.closed_by - 1]
        now = f"{record.status.value} at @{record.closed_by} by {by.actor}"
    together = f"row {body.row + 1} of {body.batch_size} in batch {body.batch[:8]}"
    return Provenance(
        number=record.number,
        wrote=f"{body.fact.text} => {body.fact.target}",
        said_before=body.outcome.said_before,
        worked=body.outcome.efficacy,
        recorded=(record.seq, event.recorded_at, event.actor),
        solved=f"{body.method}, {together}",
        now=now,
        live=record.status is EditStatus.LIVE,
    )


def _headline(state: State, body: BisectionConcluded) -> str:
    sure = "" if body.probability is None else f" (probability {body.probability:.1%})"
    match body.verdict:
        case Verdict.CULPRIT if body.culprit is not None:
            partner = [number for number in body.candidates if number != body.culprit]
            if partner:
                return f"The culprit is e{body.culprit}, which superseded {names(partner)}{sure}."
            if body.culprit in _removals(state, body):
                return f"The culprit is the removal of e{body.culprit}{sure}."
            fact = state.edits[body.culprit].body.fact
            return f"The culprit is e{body.culprit}{sure}: {fact.text} => {fact.target}"
        case Verdict.SEVERAL if len(body.cause) > 1:
            return f"No single edit explains it: {names(body.cause)} cause it together{sure}."
        case Verdict.SEVERAL if len(body.cure) > 1:
            return f"No single edit explains it: only without {names(body.cure)} together does it heal{sure}."
        case Verdict.SEVERAL:
            return f"No single edit explains it; the first bad change is {names(body.candidates)}{sure}."
        case Verdict.GOOD_IS_BAD if body.filters:
            return "The cause is not among the changes that were searched."
        case Verdict.GOOD_IS_BAD:
            return "The good version fails the test itself; no edit is to blame."
        case Verdict.BAD_IS_GOOD:
            return "The bad version passes the test; there was nothing to find."
    if len(body.candidates) == 1:
        return f"Inconclusive: probably {names(body.candidates)}, but it was not confirmed."
    return f"Inconclusive: it is one of {names(body.candidates)}." if body.candidates else "Inconclusive."


def _explained(state: State, body: BisectionConcluded) -> Iterable[str]:
    if body.belief is not None:
        yield (
            f"The test errs: it failed good versions {_rate(body.belief.false_bad)} of the time and passed bad ones "
            f"{_rate(body.belief.false_good)}. Versions were tested several times, and the probabilities below are "
            f"what all answers together say. The search was to end at {body.belief.confidence:.0%}. That the test says "
            f"nothing of the versions has a probability of {body.belief.coin:.2g}."
        )
    suspects = _suspects(body)
    subject = names(suspects) if suspects else ""
    if suspects and suspects[0] in _removals(state, body):
        subject = f"the removal of {subject}"
    if body.confirmed_without and body.confirmed_with:
        yield (
            f"Confirmed both ways: the bad version without {subject} passes, and the good version with {subject} and "
            "nothing else fails."
        )
    elif body.confirmed_without is not None or body.confirmed_with is not None:
        without = {True: "passes", False: "fails still", None: "could not be tested"}[body.confirmed_without]
        alone = {True: "fails", False: "passes still", None: "could not be tested"}[body.confirmed_with]
        yield f"The bad version without {subject} {without}; the good version with {subject} and nothing else {alone}."
    if len(body.cause) > 1:
        yield f"Together {names(body.cause)} make the good version fail; without any one of them it passes."
    elif body.cause and not body.confirmed_with:
        yield f"The good version with {names(body.cause)} and nothing else fails."
    if len(body.cure) > 1:
        yield f"Without {names(body.cure)} the bad version passes; with any one of them put back it fails."
    elif body.cure and not body.confirmed_without:
        yield f"The bad version without {names(body.cure)} passes."
    if body.verdict is Verdict.GOOD_IS_BAD and body.filters:
        yield "The bad version without any of the changes that were searched fails all the same."
    if body.verdict is Verdict.INCONCLUSIVE and body.belief is None:
        yield "Versions that would decide could not be tested."


def _suspects(body: BisectionConcluded) -> tuple[int, ...]:
    """The edit of the first bad step that the confirmations are about."""
    return body.candidates[:1] if body.culprit is None else (body.culprit,)


def _rate(rate: Any) -> str:
    return f"{rate.mean:.0%} (95 % interval {rate.low:.0%} to {rate.high:.0%})"


def _test(body: BisectionConcluded) -> str:
    if body.threshold is not None:
        bound = "at least" if body.direction == "higher_is_better" else "at most"
        where = "" if body.suite is None else f" of {body.suite}"
        return f"A version is good when the {body.metric}{where} is {bound} {body.threshold:g}."
    if body.command is not None:
        return f"A version is good when this command exits with 0: {body.command}"
    return "A person said which versions are good."


def _searched(state: State, body: BisectionConcluded) -> Iterable[str]:
    count = "changes" if body.steps is None else f"{body.steps:,} change{'' if body.steps == 1 else 's'}"
    yield f"{count} from the good version {_named(state, body.good)} to the bad version {_named(state, body.bad)}"
    if body.filters:
        yield (
            f"only changes with {Filters.of(body.filters)}; the others stayed as they are in the bad version, so the "
            "good end is the bad version without any of those searched"
        )
    if body.order != LOG:
        yield f"in the order {body.order}, not that of the log"
    if body.prior is not None:
        yield "beginning with the changes that blame held likeliest (--prior)"
    took = "" if body.seconds is None else f" in {body.seconds:.1f} s"
    yield f"{body.evaluations} test{'' if body.evaluations == 1 else 's'}{took}"


def _named(state: State, version: str) -> str:
    tags = sorted(name for name, tag in state.tags.items() if tag.version == version)
    digest = version.removeprefix("blake3:")[:12]
    return f"{', '.join(tags)} ({digest})" if tags else digest


def _removals(state: State, body: BisectionConcluded) -> frozenset[int]:
    """The edits that the bad version lacks: of those between the ends, the ones whose change was that they went."""
    live = state.live
    if body.bad != state.version:
        live = next((live for version, live in versions(state) if version == body.bad), tuple(state.edits))
    return frozenset(state.edits).difference(live)


def _advice(state: State, body: BisectionConcluded) -> Iterable[tuple[str, str]]:
    wanted = body.cure or ((body.culprit,) if body.culprit is not None else ())
    gone = _removals(state, body)
    live = [number for number in wanted if number not in gone and state.edits[number].status is EditStatus.LIVE]
    missed = [number for number in wanted if number in gone and state.edits[number].status is not EditStatus.LIVE]
    if missed and not live:
        yield f"errata show e{missed[0]}", "everything that is recorded of it"
        yield f"errata cherry-pick . {' '.join(f'e{number}' for number in missed)}", "bring it back, exactly"
    elif live:
        edits = " ".join(f"e{number}" for number in live)
        yield f"errata show e{live[0]}", "everything that is recorded of it"
        yield f"errata revert {edits} --dry-run", "what taking it out would change"
        yield f"errata revert {edits}", "take it out, exactly"
    elif wanted:
        held = "in force" if wanted[0] in gone else "not in force"
        yield f"errata show e{wanted[0]}", f"{names(wanted)} {'is' if len(wanted) == 1 else 'are'} {held} now"
    elif body.verdict is Verdict.GOOD_IS_BAD and body.filters:
        yield "errata bisect start GOOD BAD", "search without filters, or with others"
    elif body.verdict is Verdict.GOOD_IS_BAD:
        yield "errata bisect start EARLIER GOOD", "search before the version that was said to be good"
    elif body.verdict is Verdict.INCONCLUSIVE and body.mode is BisectionMode.NOISY:
        yield "errata bisect run --noisy --limit N", "allow more tests, or ask for less confidence"
    elif body.verdict is Verdict.INCONCLUSIVE:
        yield "errata bisect start GOOD BAD --order random", "other versions lie between in another order"
    elif body.verdict is Verdict.SEVERAL:
        yield "errata bisect run --minimise", "find the smallest sets that cause and that heal it"


def rows_of_tests(state: State, body: BisectionConcluded) -> list[tuple[str, ...]]:
    """The tests as rows: number, why, changes, version, newest change or what else it is, outcome, score."""
    beside = {Purpose.WITHOUT_SUSPECT.value: "bad without", Purpose.SUSPECT_ALONE.value: "good with nothing but"}
    rows: list[tuple[str, ...]] = []
    gone = _removals(state, body)
    for number, step in enumerate(body.log, start=1):
        which = ""
        if step.newest is not None:
            fact = state.edits[step.newest].body.fact
            change = f"{'removal of ' if step.newest in gone else ''}e{step.newest} {fact.text} => {fact.target}"
            which = change if step.position is not None else f"{beside.get(step.purpose or '', '')} {change}"
        rows.append(
            (
                str(number),
                step.purpose or "",
                "" if step.position is None else str(step.position),
                step.version.removeprefix("blake3:")[:12],
                "cannot be tested" if step.outcome is StepOutcome.SKIP else step.outcome.value,
                "" if step.score is None else f"{step.score:.6g}",
                which,
            )
        )
    return rows
