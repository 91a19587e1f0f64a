"""The commands of `errata bisect` by which a person does it: ends, marks, and what was said so far."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import named, read_file
from errata.commands.search.bisecting import ALSO, COMMANDS
from errata.commands.search.showing import alone, folder_of, session_of, show_conclusion, show_question
from errata.ledger.base.errors import UsageError
from errata.ledger.base.json_files import as_text
from errata.ledger.base.words import short
from errata.ledger.kinds.bisections import StepOutcome
from errata.ledger.ledger import Ledger
from errata.replay.bisect import session_file
from errata.replay.bisect.conclude import PERSON, conclusion_body, recorded_already
from errata.replay.bisect.log import log_lines, replayed
from errata.replay.bisect.scope import Actor, Filters
from errata.replay.bisect.session import GOOD_BAD, Session, Terms
from errata.replay.bisect.session import start as start_session
from errata.replay.search.terms import Conclusion


@click.command()
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
    /,
    good: str | None,
    bad: str | None,
    term_good: str | None,
    term_bad: str | None,
    order: str,
    **filters: Any,
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
    alone(app)
    ledger = app.ledger()
    if session_file.load(folder_of(ledger)) is not None:
        raise UsageError("a bisection is under way; `errata bisect reset` ends it")
    terms = Terms(term_good or GOOD_BAD.good, term_bad or GOOD_BAD.bad)
    for word in (terms.good, terms.bad):
        if word in {*COMMANDS, *ALSO} - {"good", "bad"}:
            raise UsageError(f"{word!r} cannot be a term: `errata bisect {word}` is something else")
    ends = (good, bad or (None if good is None else "HEAD"))
    session = start_session(
        ledger.state(), *ends, actor=actors(ledger), terms=terms, filters=Filters(**filters), order=order
    )
    _keep(app, session)


def marking(word: str, what: str = "Mark a version with a word of this bisection.") -> click.Command:
    """The command that marks a version with a word."""
    again = "VERSION is the one under test if left out; one that was marked before may be marked again."
    ends = "As long as an end is missing, VERSION (HEAD if left out) is that end."

    @click.command(name=word, help=f"{what}\n\n{again} {ends}\n\nExample: errata bisect {word}")
    @click.argument("version", required=False)
    @shared
    @click.pass_obj
    def mark(app: App, version: str | None) -> int:
        alone(app)
        ledger = app.ledger()
        session = session_of(ledger)
        spoken = session.speaking(word)
        outcome = None if spoken is None else spoken.terms.outcome(word)
        if spoken is None or outcome is None:
            said = f"this bisection says {session.terms.good} and {session.terms.bad}"
            raise UsageError(f"no such command {word!r}; {said}; try `errata bisect --help`")
        if version is None and spoken.marks and not spoken.missing:
            move = spoken.move(ledger.state())
            if isinstance(move, Conclusion) and move.culprit is not None:
                return _go_on(app, spoken)  # stopped before it was recorded: the same command finishes it
        return _go_on(app, spoken.marked(ledger.state(), actors(ledger), version, outcome))

    return mark


good = marking("good", "Mark a version as good.")
bad = marking("bad", "Mark a version as bad.")


@click.command()
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


@click.command()
@shared
@click.pass_obj
def undo(app: App) -> None:
    """Take back the last thing said.

    A mark made by hand, a skip of several versions, or an answer of a run; may be repeated. The ends stay.

    Example: errata bisect undo
    """
    alone(app)
    ledger = app.ledger()
    session, dropped = session_of(ledger).undone()
    session_file.save(folder_of(ledger), session)
    for test in dropped:
        said = "skipped" if test.outcome is StepOutcome.SKIP else session.terms.word(test.outcome)
        app.say(f"taken back: {short(test.version)} is {said} ({test.purpose.value})")
    show_question(app, ledger.state(), session)


@click.command()
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
    lines = [*[words.good] * only_good, *[words.bad] * only_bad]
    app.show(vars(words), lines or [f"good versions are {words.good}, bad ones are {words.bad}"])


@click.command()
@shared
@click.pass_obj
def log(app: App) -> None:
    """Print the marks so far.

    As commands, which `errata bisect replay` repeats; the answers of runs are comments.

    Example: errata bisect log > bisection.txt
    """
    ledger = app.ledger()
    lines = log_lines(ledger.state(), session_of(ledger))
    app.show({"log": lines}, lines)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True))
@shared
@click.pass_obj
def replay(app: App, file: Path) -> None:
    """Begin again from a log.

    FILE is what `errata bisect log` printed, or - for standard input.

    Example: errata bisect replay bisection.txt
    """
    alone(app)
    ledger = app.ledger()
    _keep(app, replayed(ledger.state(), actors(ledger), as_text(read_file(app, file), named(file)).splitlines()))


@click.command()
@shared
@click.pass_obj
def reset(app: App) -> None:
    """Forget the bisection under way.

    What was recorded in the log stays there: `errata bisect report` shows it.

    Example: errata bisect reset
    """
    alone(app)
    existed = session_file.reset(folder_of(app.ledger()))
    app.show({"reset": existed}, ["bisection forgotten" if existed else "no bisection is under way"])


def _keep(app: App, session: Session) -> None:
    """Save a session, and show what it asks."""
    ledger = app.ledger()
    session_file.save(folder_of(ledger), session)
    show_question(app, ledger.state(), session)


def _go_on(app: App, session: Session) -> int:
    """Save what was said by hand: the search goes on, or ends; only a culprit is recorded and closes the session."""
    ledger = app.ledger()
    state = ledger.state()
    move = None if session.missing else session.move(state)
    if not isinstance(move, Conclusion):
        _keep(app, session)
        return 0
    session_file.save(folder_of(ledger), session)
    tests = len({mark.version for mark in session.marks})
    body = conclusion_body(session, session.problem(state), move, PERSON, evaluations=tests)
    if move.culprit is not None:
        if not recorded_already(state, session.began, body):
            app.writer(ledger).conclude_bisection(body)
        session_file.reset(folder_of(ledger))
    return show_conclusion(app, state, session, move, body)


def actors(ledger: Ledger) -> Actor:
    """Who made an event, by its place in the log; it is read only where somebody asks."""
    read = cache(ledger.events)
    return lambda seq: read()[seq - 1].actor
