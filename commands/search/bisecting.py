"""`errata bisect`: find the edit that made a version worse; the commands by which a person does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from errata.commands.app import App, shared
from errata.commands.lazy import InOrder
from errata.commands.search.bisect_reporting import report
from errata.commands.search.bisect_running import run
from errata.commands.search.bisect_visualising import visualise
from errata.commands.search.bisect_words import actors, alone, folder_of, session_of, show_conclusion, show_question
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import short

if TYPE_CHECKING:
    from errata.replay.bisect.session import Session


_ALSO = {"visualize": "visualise", "view": "visualise"}
"""git's other names of commands."""


class _WithTerms(InOrder):
    """A group in which a word that is no command marks a version: the session knows whether it is one of its terms."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, or the mark that a term makes."""
        known = super().get_command(ctx, _ALSO.get(cmd_name, cmd_name))
        return known if known is not None or cmd_name.startswith("-") else _marking(cmd_name)


@click.group(cls=_WithTerms)
@shared
def bisect() -> None:
    r"""Find the edit that made a version worse.

    By binary search over the edits between a good and a bad version. The culprit is confirmed both ways: the bad
    version without it passes, the good one with it alone fails. `run` tests both ends first; by hand they are taken on
    your word. Neither uses the other's answers.

    \b
    By a suite's score, in process, without writing any model:
      errata bisect start spring HEAD
      errata bisect run --suite general.jsonl --threshold 0.95
    By a command: 0 is good, 125 cannot be tested, 1 to 124 bad, anything else stops:
      errata bisect run -- ./check.sh          # finds the model's folder in ERRATA_MODEL
    By hand:
      errata checkout BISECT ./try && errata bisect bad
    Only among the edits of one subject, and then what was found, as a page:
      errata bisect start spring HEAD --subject "Norwind Systems"
      errata bisect report --html found.html
    """


@bisect.command()
@click.argument("good", required=False)
@click.argument("bad", required=False)
@click.option("--term-good", "--term-old", "term_good", metavar="WORD", help="What good versions are called.")
@click.option("--term-bad", "--term-new", "term_bad", metavar="WORD", help="What bad versions are called.")
@click.option("--subject", "subjects", multiple=True, metavar="S", help="Only edits of this subject; repeatable.")
@click.option("--layer", "layers", multiple=True, type=int, metavar="N", help="Only edits that change this layer.")
@click.option("--author", "authors", multiple=True, metavar="A", help="Only changes that this actor made.")
@click.option("--batch", "batches", multiple=True, metavar="B", help="Only edits of this batch, or of e12's batch.")
@click.option("--since", metavar="VERSION", help="Only changes made after this version.")
@click.option("--until", metavar="VERSION", help="Only changes made up to this version.")
@click.option("--order", default="log", show_default=True, help="log, reverse, random or random:SEED.")
@shared
@click.pass_obj
def start(
    app: App,
    good: str | None,
    bad: str | None,
    term_good: str | None,
    term_bad: str | None,
    subjects: tuple[str, ...],
    layers: tuple[int, ...],
    authors: tuple[str, ...],
    batches: tuple[str, ...],
    since: str | None,
    until: str | None,
    order: str,
) -> None:
    r"""Begin between a good and a bad version.

    BAD is HEAD if only GOOD is given. Without both, `errata bisect good` and `errata bisect bad` name them, as in git.
    `run` tests both before it searches; marks made by hand take them on your word.

    Filters search only the changes that fit all of them (each by any of its values); the other changes stay as they
    are in the bad version. The good end is then the bad version without any of the changes that fit. Nobody has called
    that version good, so it is tested first, by hand too: if it fails, the cause lies elsewhere.

    Any order of the changes leads between the same ends; another than the log's helps when one change hides another.

    \b
    Examples:
      errata bisect start spring HEAD
      errata bisect start base HEAD --author ada --since spring
      errata bisect start --term-good fast --term-bad slow
    """
    from errata.replay.bisect import session as bisect_session
    from errata.replay.bisect import session_file as bisect_file
    from errata.replay.bisect.scope import Filters, check_order
    from errata.replay.bisect.session import GOOD_BAD, Terms, check_terms

    alone(app)
    ledger = app.ledger()
    if bisect_file.load(folder_of(ledger)) is not None:
        raise UsageError("a bisection is under way; `errata bisect reset` ends it")
    terms = check_terms(Terms(term_good or GOOD_BAD.good, term_bad or GOOD_BAD.bad))
    for word in (terms.good, terms.bad):
        if word in {*bisect.commands, *_ALSO} - {"good", "bad"}:
            raise UsageError(f"{word!r} cannot be a term: `errata bisect {word}` is something else")
    session = bisect_session.start(
        ledger.state(),
        actors(ledger),
        good,
        bad or (None if good is None else "HEAD"),
        terms=terms,
        filters=Filters(subjects, layers, authors, batches, since, until),
        order=check_order(order),
    )
    bisect_file.save(folder_of(ledger), session)
    show_question(app, ledger.state(), session)


def _mark(app: App, version: str | None, word: str) -> int:
    """Mark a version by hand with a word of the session."""
    from errata.replay.bisect.log import speaking
    from errata.replay.search.terms import Conclusion

    alone(app)
    ledger = app.ledger()
    session = session_of(ledger)
    spoken = speaking(session, word)
    if spoken is None:
        said = f"this bisection says {session.terms.good} and {session.terms.bad}"
        raise UsageError(f"no such command {word!r}; {said}; try `errata bisect --help`")
    outcome = spoken.terms.outcome(word)
    assert outcome is not None
    if version is None and spoken.marks and not spoken.missing:
        move = spoken.move(ledger.state())
        if isinstance(move, Conclusion) and move.culprit is not None:
            return _go_on(app, spoken)  # stopped before it was recorded: the same command finishes it
    return _go_on(app, spoken.marked(ledger.state(), actors(ledger), version, outcome))


def _go_on(app: App, session: Session) -> int:
    """Save what was said by hand: the search goes on, or ends; only a culprit is recorded and closes the session."""
    from errata.replay.bisect import session_file as bisect_file
    from errata.replay.bisect.record import PERSON, conclusion_body, recorded_already
    from errata.replay.search.terms import Conclusion

    ledger = app.ledger()
    state = ledger.state()
    move = None if session.missing else session.move(state)
    bisect_file.save(folder_of(ledger), session)
    if not isinstance(move, Conclusion):
        show_question(app, state, session)
        return 0
    tests = len({mark.version for mark in session.marks})
    if move.culprit is not None:
        body = conclusion_body(
            session.problem(state), move, PERSON, evaluations=tests, filters=session.filters, order=session.order
        )
        if not recorded_already(state, session.began, body):
            app.writer(ledger).conclude_bisection(body)
        bisect_file.reset(folder_of(ledger))
    return show_conclusion(app, state, session, move, tests)


def _marking(word: str, what: str = "Mark a version with a word of this bisection.") -> click.Command:
    """The command that marks a version with a word."""
    again = "VERSION is the one under test if left out; one that was marked before may be marked again."
    ends = "As long as an end is missing, VERSION (HEAD if left out) is that end."

    @click.command(name=word, help=f"{what}\n\n{again} {ends}\n\nExample: errata bisect {word}")
    @click.argument("version", required=False)
    @shared
    @click.pass_obj
    def mark(app: App, version: str | None) -> int:
        return _mark(app, version, word)

    return mark


bisect.add_command(_marking("good", "Mark a version as good."))
bisect.add_command(_marking("bad", "Mark a version as bad."))


@bisect.command()
@click.argument("versions", nargs=-1, metavar="[VERSION|EDIT|A..B]...")
@shared
@click.pass_obj
def skip(app: App, versions: tuple[str, ...]) -> int:
    r"""Say that versions cannot be tested.

    The one under test if nothing is named. An edit (e12) stands for the version in which its change is the newest one:
    the first that has it, in the order that is searched. A..B, of versions or edits, stands for every version after A
    up to B, as in git; of it, the two ends and versions that you marked otherwise stay as they are.

    \b
    Examples:
      errata bisect skip
      errata bisect skip e12 e40..e45
    """
    alone(app)
    ledger = app.ledger()
    return _go_on(app, session_of(ledger).skipped(ledger.state(), versions))


@bisect.command()
@shared
@click.pass_obj
def undo(app: App) -> None:
    """Take back the last thing said.

    A mark made by hand, a skip of several versions, or an answer of a run; may be repeated. The ends stay.

    Example: errata bisect undo
    """
    from errata.ledger.events.bodies import StepOutcome
    from errata.replay.bisect import session_file as bisect_file

    alone(app)
    ledger = app.ledger()
    session, dropped = session_of(ledger).undone()
    bisect_file.save(folder_of(ledger), session)
    for test in dropped:
        said = "skipped" if test.outcome is StepOutcome.SKIP else session.terms.word(test.outcome)
        app.say(f"taken back: {short(test.version)} is {said} ({test.purpose.value})")
    show_question(app, ledger.state(), session)


@bisect.command()
@click.option("--term-good", "--term-old", "only_good", is_flag=True, help="Print only the word for good versions.")
@click.option("--term-bad", "--term-new", "only_bad", is_flag=True, help="Print only the word for bad versions.")
@shared
@click.pass_obj
def terms(app: App, only_good: bool, only_bad: bool) -> None:
    """Show what good and bad versions are called.

    `errata bisect start --term-good WORD --term-bad WORD` chooses the words. As in git, `old` and `new` can be used
    from the first mark on without choosing them.

    Example: errata bisect terms
    """
    words = session_of(app.ledger()).terms
    lines = [words.good] if only_good else []
    lines += [words.bad] if only_bad else []
    app.show(
        {"good": words.good, "bad": words.bad}, lines or [f"good versions are {words.good}, bad ones are {words.bad}"]
    )


bisect.add_command(run)
bisect.add_command(visualise)


@bisect.command(name="log")
@shared
@click.pass_obj
def show_log(app: App) -> None:
    """Print the marks so far.

    As commands, which `errata bisect replay` repeats; the answers of runs are comments.

    Example: errata bisect log > bisection.txt
    """
    from errata.replay.bisect.log import log_lines

    ledger = app.ledger()
    lines = log_lines(ledger.state(), session_of(ledger))
    app.show({"log": lines}, lines)


@bisect.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@shared
@click.pass_obj
def replay(app: App, file: Path) -> None:
    """Begin again from a log.

    Example: errata bisect replay bisection.txt
    """
    from errata.replay.bisect import session_file as bisect_file
    from errata.replay.bisect.log import replayed

    alone(app)
    ledger = app.ledger()
    session = replayed(ledger.state(), actors(ledger), file.read_text(encoding="utf-8").splitlines())
    bisect_file.save(folder_of(ledger), session)
    show_question(app, ledger.state(), session)


@bisect.command()
@shared
@click.pass_obj
def reset(app: App) -> None:
    """Forget the bisection under way.

    What was recorded in the log stays there: `errata bisect report` shows it.

    Example: errata bisect reset
    """
    from errata.replay.bisect import session_file as bisect_file

    alone(app)
    existed = bisect_file.reset(folder_of(app.ledger()))
    app.show({"reset": existed}, ["bisection forgotten" if existed else "no bisection is under way"])


bisect.add_command(report)
