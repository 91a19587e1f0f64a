"""What a bisection found, in words: how sure it is, what decided, where the edits come from, and what to do.

Everything is read from the log; no model is loaded and nothing is tested again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from errata.ledger.base.words import counted, listed, short
from errata.ledger.events.envelope import Event
from errata.ledger.kinds.bisections import BisectionBelief, BisectionConcluded, BisectionMode, EstimatedRate, Verdict
from errata.ledger.state.state import EditStatus
from errata.replay.bisect.course import Course
from errata.replay.bisect.scope import LOG, Filters


@dataclass(frozen=True)
class Provenance:
    """An edit, and where it comes from.

    Attributes:
        edit: its number.
        wrote: prompt and target.
        said_before: what the model said before it.
        worked: whether the model said the target afterwards.
        seq, recorded_at, actor: of its event.
        solved: method, batch, and its row there.
        now: what became of it, in words.
        live: whether it is in force at the head.
    """

    edit: int
    wrote: str
    said_before: str
    worked: bool
    seq: int
    recorded_at: str
    actor: str
    solved: str
    now: str
    live: bool


def provenances(course: Course, events: Sequence[Event]) -> list[Provenance]:
    """Every edit that a conclusion names, by number.

    Args:
        course: what was concluded.
        events: the whole log.
    """
    body = course.body
    named = {number for number in (body.culprit, *body.candidates, *body.cause, *body.cure) if number is not None}
    named |= {number for step in (body.belief.credible if body.belief else ()) for number in step.edits}
    found = []
    for number in sorted(named):
        record = course.state.edits[number]
        made, event = record.body, events[record.seq - 1]
        now = "in force at the head"
        if record.closed_by is not None:
            now = f"{record.status.value} at @{record.closed_by} by {events[record.closed_by - 1].actor}"
        found.append(
            Provenance(
                edit=number,
                wrote=f"{made.fact.text} => {made.fact.target}",
                said_before=made.outcome.said_before,
                worked=made.outcome.efficacy,
                seq=record.seq,
                recorded_at=event.recorded_at,
                actor=event.actor,
                solved=f"{made.method}, row {made.row + 1} of {made.batch_size} in batch {made.batch[:8]}",
                now=now,
                live=record.status is EditStatus.LIVE,
            )
        )
    return found


def role(body: BisectionConcluded, number: int) -> str:
    """What an edit is in a conclusion."""
    candidate = number in body.candidates
    roles = {
        "the culprit": number == body.culprit,
        "superseded by the culprit": candidate and body.culprit not in (None, number),
        "part of the cause": number in body.cause,
        "part of the cure": number in body.cure,
        "first bad change": candidate and body.verdict is Verdict.SEVERAL and not body.cause,
        "a candidate": candidate and body.verdict is Verdict.INCONCLUSIVE,
    }
    return ", ".join(name for name, is_one in roles.items() if is_one)


def names(edits: Iterable[int]) -> str:
    """Edits as people write them: `e1, e2 and e3`."""
    return listed([f"e{number}" for number in edits])


def headline(course: Course) -> str:
    """The verdict in one sentence."""
    body = course.body
    sure = "" if body.probability is None else f" (probability {body.probability:.1%})"
    match body.verdict:
        case Verdict.CULPRIT if body.culprit is not None:
            partner = [number for number in body.candidates if number != body.culprit]
            if partner:
                return f"The culprit is e{body.culprit}, which superseded {names(partner)}{sure}."
            if body.culprit in course.gone:
                return f"The culprit is the removal of e{body.culprit}{sure}."
            fact = course.state.edits[body.culprit].body.fact
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


def explained(course: Course) -> Iterator[str]:
    """What the verdict means and how it was confirmed, a sentence each."""
    body = course.body
    if body.belief is not None:
        yield f"{errs(body.belief)} The search was to end at {body.belief.confidence:.0%}."
    suspects = body.candidates[:1] if body.culprit is None else (body.culprit,)
    subject = names(suspects) if suspects else ""
    if suspects and suspects[0] in course.gone:
        subject = f"the removal of {subject}"
    if body.confirmed_without and body.confirmed_with:
        yield (
            f"Confirmed both ways: the bad version without {subject} passes, and the good version with {subject} and "
            "nothing else fails."
        )
    elif body.confirmed_without is not None or body.confirmed_with is not None:
        without = {True: "passes", False: "still fails", None: "could not be tested"}[body.confirmed_without]
        alone = {True: "fails", False: "still passes", None: "could not be tested"}[body.confirmed_with]
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
        which = f"{counted(body.steps or 0, 'change')} with {Filters.of(body.filters)}"
        yield f"The bad version without the {which} still fails the test."
    if body.verdict is Verdict.INCONCLUSIVE:
        yield (
            "Versions that would decide could not be tested."
            if body.belief is None
            else "No change is as probable as was asked for."
        )


def errs(belief: BisectionBelief) -> str:
    """What was learnt of a test that errs, in sentences."""
    return (
        f"The test errs: it failed good versions {_rate(belief.false_bad)} of the time and passed bad ones "
        f"{_rate(belief.false_good)}. The probabilities below are what all answers together say; that the test says "
        f"nothing about the versions has a probability of {belief.coin:.2g}."
    )


def _rate(rate: EstimatedRate) -> str:
    return f"{rate.mean:.0%} (95 % interval {rate.low:.0%} to {rate.high:.0%})"


def judged(body: BisectionConcluded) -> str:
    """What decided whether a version is good."""
    if body.threshold is not None:
        bound = "at least" if body.direction == "higher_is_better" else "at most"
        where = "" if body.suite is None else f" of {body.suite}"
        return f"A version is good when the {body.metric}{where} is {bound} {body.threshold:g}."
    if body.command is not None:
        return f"A version is good when this command exits with 0: {body.command}"
    return "A person said which versions are good."


def searched(course: Course) -> Iterator[str]:
    """What was searched, a sentence each."""
    body = course.body
    count = "changes" if body.steps is None else counted(body.steps, "change")
    yield f"{count} from the good version {_named(course, body.good)} to the bad version {_named(course, body.bad)}"
    if body.filters:
        yield (
            f"only changes with {Filters.of(body.filters)}; the others stayed as they are in the bad version, so the "
            "good end is the bad version without any of those searched"
        )
    if body.order != LOG:
        yield f"in the order {body.order}, not that of the log"
    if body.prior is not None:
        yield "beginning with the changes that blame held likeliest (--prior)"
    yield counted(body.evaluations, "test") + ("" if body.seconds is None else f" in {body.seconds:.1f} s")


def _named(course: Course, version: str) -> str:
    tags = sorted(name for name, tag in course.state.tags.items() if tag.version == version)
    return f"{', '.join(tags)} ({short(version)})" if tags else short(version)


def advice(course: Course) -> Iterator[tuple[str, str]]:
    """What to do next: a command and why, each."""
    body, edits = course.body, course.state.edits
    wanted = body.cure or ((body.culprit,) if body.culprit is not None else ())
    live = [number for number in wanted if number not in course.gone and edits[number].status is EditStatus.LIVE]
    missed = [number for number in wanted if number in course.gone and edits[number].status is not EditStatus.LIVE]
    if live or missed:
        chosen = " ".join(f"e{number}" for number in live or missed)
        yield f"errata show {chosen.split()[0]}", "everything that is recorded of it"
        if live:
            yield f"errata revert {chosen} --dry-run", "what taking it out would change"
            yield f"errata revert {chosen}", "take it out, exactly"
        else:
            yield f"errata cherry-pick . {chosen}", "bring it back, exactly"
    elif wanted:
        held = "in force" if wanted[0] in course.gone else "not in force"
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
