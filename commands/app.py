"""What every command shares: where the ledger is, the workspace, how results and progress are shown."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from errata.commands.lazy import when_used
from errata.commands.words.render import Loud, View, console, write
from errata.ledger.base.errors import ErrataError, OutputFailed, UnknownVersion, UsageError
from errata.ledger.base.words import json_text, shown

with when_used():
    from errata.commands import pager as paging
    from errata.commands.words import change_view, pace
    from errata.editor import pipeline
    from errata.ledger import ledger as ledgers
    from errata.ledger.base import signing
    from errata.ledger.rules import addresses
    from errata.ledger.secrets import key_files
    from errata.ledger.state import state as states
    from errata.replay.bisect import session_file
    from errata.replay.record import writer as writers
    from errata.replay.search import terms
    from errata.replay.workflow import context, workspace

UNDER_TEST = "BISECT"
"""The address of the version that a bisection under way wants tested."""

LOG_EVERY = 20.0
"""Seconds between two lines on something that takes long, where stderr is no terminal."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class World:
    """What lies outside the program; `cli.py` fills it in.

    Attributes:
        folder: the current folder.
        environment: environment variables.
        actor: who acts when nobody is named.
        now: the time, RFC 3339 in UTC.
        new_id: a fresh UUID.
        seconds: a monotonic clock.
        peak_memory: the process's peak memory in bytes, on the device that is named.
        prepare_torch: sets the number of threads (None leaves it) and checks a device's name; returns that name.
        software: names and versions of what takes part.
        configuration: the user's own folder for Errata, where private keys lie.
        read_stdin: all of standard input, which can be read once.
        ask_secret: asks for something on the terminal without showing it; None where there is no terminal.
        out: where results go.
        err: where progress and logs go.
        output_descriptor: file descriptor for what other programs print.
    """

    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    actor: str
    now: Callable[[], str]
    new_id: Callable[[], str]
    seconds: Callable[[], float]
    peak_memory: Callable[[str], int]
    prepare_torch: Callable[[str, int | None], str]
    software: Callable[[], dict[str, str]]
    configuration: Callable[[], Path]
    read_stdin: Callable[[], bytes]
    ask_secret: Callable[[str], str | None]
    out: TextIO
    err: TextIO
    output_descriptor: int = 2


@dataclass
class App:
    """One call of `errata`: the world and the global options.

    Attributes:
        world: what lies outside.
        unlock: what opens the acting person's key (`commands.unlocking`).
        ledger_option: the folder named by --ledger or ERRATA_DIR, if any.
        base: where the base model is now, if --base or ERRATA_BASE says so; its digests decide.
        caches: a folder on another disk for large caches, if ERRATA_CACHE names one.
        as_json: one JSON document on stdout instead of text.
        actor: who acts, if --actor or ERRATA_ACTOR says so.
        key: the name of the key that signs, if --key or ERRATA_KEY says so.
        passphrase_file: the file whose first line opens it, if --passphrase-file says so.
        device: the device option.
        threads: the threads option.
        skip_bad: whether bad records of a file of facts are left out, as --skip-bad says.
    """

    world: World
    unlock: Callable[[App], signing.SignerSource] = field(repr=False)
    ledger_option: Path | None = None
    base: Path | None = None
    caches: Path | None = None
    as_json: bool = False
    actor: str = ""
    key: str | None = None
    passphrase_file: Path | None = None
    device: str = "cpu"
    threads: int | None = None
    skip_bad: bool = False
    _signer: signing.SignerSource | None = field(default=None, repr=False)
    _warned: bool = field(default=False, repr=False)
    _stdin_read: bool = field(default=False, repr=False)
    _ledgers: list[ledgers.Ledger] = field(default_factory=list, repr=False)

    def named(self, ledger: Path | None, base: Path | None, actor: str | None, key: str | None) -> None:
        """Take what is named, or else what ERRATA_DIR, ERRATA_BASE, ERRATA_ACTOR and ERRATA_KEY say.

        ERRATA_CACHE has no option beside it: where caches are is a matter of the machine.
        """
        environment = self.world.environment
        self.ledger_option = ledger or (Path(environment["ERRATA_DIR"]) if environment.get("ERRATA_DIR") else None)
        self.base = base or (Path(environment["ERRATA_BASE"]) if environment.get("ERRATA_BASE") else None)
        self.caches = Path(environment["ERRATA_CACHE"]) if environment.get("ERRATA_CACHE") else None
        self.actor = actor or environment.get("ERRATA_ACTOR", "")
        self.key = key or environment.get("ERRATA_KEY") or None

    def ledger(self, *, showing: bool = False) -> ledgers.Ledger:
        """Open the ledger that is named, or the one here or above; loud about what was done without approval.

        Args:
            showing: only to show what it holds (`Ledger.open`).
        """
        found = ledgers.Ledger.open(self.ledger_folder(), self.caches, showing=showing)
        self.keep(found)
        if not self._warned:
            self._warned = True
            with suppress(ErrataError):  # damage is for the command to tell, or to mend
                for line in change_view.unreviewed_lines(found.state(), self.world.now()):
                    write([Loud(f"errata: {line}")], self.world.err)
        if showing:
            gc.freeze()  # looking for cycles in what is to be shown would take longer than reading it
        return found

    def keep(self, ledger: ledgers.Ledger) -> None:
        """Remember a ledger that this call writes to, so that what was recorded can be told whatever happens then."""
        self._ledgers.append(ledger)

    @property
    def recorded(self) -> tuple[int, ...]:
        """The seqs of the events that this call recorded, ascending."""
        return tuple(sorted({seq for ledger in self._ledgers for seq in ledger.appended}))

    def ledger_folder(self) -> Path:
        """The ledger's folder: the one that is named, or the one here or above."""
        return self.ledger_option if self.ledger_option is not None else ledgers.find_ledger(self.world.folder)

    def surroundings(self) -> context.Surroundings:
        """Clock, identifiers, actor and device, as replay wants them; loads torch."""
        device = self.world.prepare_torch(self.device, self.threads)
        return context.Surroundings(
            now=self.world.now,
            new_id=self.world.new_id,
            actor=self.who,
            device=device,
            meter=pipeline.Meter(
                seconds=self.world.seconds,
                peak_memory=lambda: self.world.peak_memory(device),
                host_peak_memory=lambda: self.world.peak_memory("cpu"),
            ),
            software=self.world.software(),
            signer=self.signer(),
        )

    def workspace(self) -> workspace.Workspace:
        """The ledger with its model, which is loaded when it is needed; loads torch."""
        ledger = self.ledger()
        surroundings = self.surroundings()
        return workspace.Workspace(ledger, surroundings, self.base)

    def writer(self, ledger: ledgers.Ledger | None = None) -> writers.Writer:
        """The ledger (the one given, else the one that `ledger` opens), and who writes to it; needs no model."""
        acting = writers.Acting(now=self.world.now, new_id=self.world.new_id, actor=self.who, signer=self.signer())
        return writers.Writer(self.ledger() if ledger is None else ledger, acting)

    @property
    def who(self) -> str:
        """Who acts: the one who is named, or else the named key's person, or else the user."""
        if self.actor or self.key is None:
            return self.actor or self.world.actor
        return self.keys().card(self.key).person

    def keys(self) -> key_files.KeyFolder:
        """The user's private keys."""
        return key_files.KeyFolder(self.world.configuration() / "keys")

    def signer(self) -> signing.SignerSource:
        """Unlocks the acting person's key when a signature is first needed, once a process (`commands.unlocking`)."""
        if self._signer is None:
            self._signer = self.unlock(self)
        return self._signer

    def live(
        self, ledger: ledgers.Ledger, address: str, without: Sequence[str] = (), only: Sequence[str] = ()
    ) -> tuple[int, ...]:
        """The live set that an address names; BISECT is the version that a bisection wants tested."""
        state = ledger.state()
        if address != UNDER_TEST:
            return addresses.resolve_version(state, address, without, only)
        return tuple(sorted(self._under_test(ledger, state)))

    def _under_test(self, ledger: ledgers.Ledger, state: states.State) -> frozenset[int]:
        session = session_file.load(ledger.folder) if ledger.folder is not None else None
        move = session.move(state) if session is not None and not session.missing else None
        if not isinstance(move, terms.Question):
            raise UnknownVersion(UNDER_TEST)
        return move.live

    def show(self, data: Any, view: View, *, pager: bool = False) -> None:
        """Show a result: `data` as one JSON document with --json, else `view`, if asked for through a pager.

        Raises:
            OutputFailed: it cannot be written.
        """
        try:
            if self.as_json:
                self.world.out.write(json_text(data) + "\n")
                self.world.out.flush()
            elif not (pager and self.world.out.isatty()):
                write(view, self.world.out)
            else:
                with paging.paged(self.world.out, self.world.environment) as stream:
                    write(view, stream)
        except OSError as error:
            raise OutputFailed(error.strerror or str(error), isinstance(error, BrokenPipeError)) from error

    def read_stdin(self) -> bytes:
        """All of standard input.

        Raises:
            UsageError: it was read already.
        """
        if self._stdin_read:
            raise UsageError("standard input is one file: `-` can be given once")
        self._stdin_read = True
        return self.world.read_stdin()

    def say(self, line: str) -> None:
        """Log a line on stderr."""
        self.world.err.write(shown(line) + "\n")
        self.world.err.flush()

    @contextmanager
    def progress(self, start: str) -> Iterator[pace.Tell]:
        """A spinner on stderr that says what is being done, and how far it is where that is counted.

        Where stderr is no terminal, only what is counted and takes long is told of, in a line now and then.
        """
        paced = pace.Pace(self.world.seconds)
        if not self.world.err.isatty():
            spoken = self.world.seconds()

            def log(what: str, done: int = 0, total: int = 0, unit: str = "tokens") -> None:
                nonlocal spoken
                line = paced.line(what, done, total, unit)
                if total and self.world.seconds() - spoken >= LOG_EVERY:
                    spoken = self.world.seconds()
                    self.say(f"errata: {line}")

            yield log
            return
        with console(self.world.err).status(shown(start)) as status:
            yield lambda what, done=0, total=0, unit="tokens": status.update(shown(paced.line(what, done, total, unit)))


def laid_out(command: F) -> F:
    r"""Let a line `\b` in a command's docstring mark a paragraph that click does not wrap."""
    command.__doc__ = (command.__doc__ or "").replace("\\b\n", "\b\n")
    return command


def shared(command: F) -> F:
    """Options that every command takes after its name too, and its help's layout."""

    def keep_json(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            app_of(context).as_json = True

    def keep_ledger(context: click.Context, _: click.Parameter, value: Path | None) -> None:
        if value is not None:
            app_of(context).ledger_option = value

    command = click.option(
        "--ledger", type=click.Path(path_type=Path), expose_value=False, callback=keep_ledger, hidden=True
    )(laid_out(command))
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=keep_json, help="Print one JSON document."
    )(command)


def app_of(context: click.Context) -> App:
    """The call of `errata` that a command belongs to."""
    app = context.find_object(App)
    assert app is not None, "every command runs with an App as click's object"
    return app
