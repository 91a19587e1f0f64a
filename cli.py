"""The command line: `entry` is the command `errata`.

It hands the world (`world.py`) to the commands in `commands/` and turns every error into one line
on stderr and an exit code.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import click

from errata import __version__, world
from errata.commands import streams
from errata.commands.app import App, laid_out
from errata.commands.lazy import LazyGroup, Named
from errata.commands.unlocking import Unlocking
from errata.ledger.base.errors import ErrataError, OutputFailed, StorageFull
from errata.ledger.base.words import json_text, ranges, shown

USAGE, DAMAGED, MODEL, UNTOLD, INTERRUPTED, TERMINATED = 2, 5, 6, 7, 130, 143

QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
"""Settings of libraries that would otherwise write to stderr; what the user has set wins."""


COMMANDS = {
    "init": Named("change.create:init", "Start a ledger for MODEL in this folder."),
    "presets": Named("change.create:presets", "List settings of known models."),
    "stats": Named("change.create:stats", "Show the recorded second moments."),
    "locate": Named("measure.locating:locate", "Find the layers that hold facts."),
    "tune": Named("change.tuning:tune", "Find settings on a sample of your facts."),
    "settings": Named("change.tuning:settings", "Show or change the settings in force."),
    "edit": Named("change.edits:edit", "Write facts into the model, on record."),
    "log": Named("versions.history:log", "List what happened, newest first."),
    "show": Named("versions.history:show", "Show one edit, version or proposal."),
    "status": Named("versions.history:status", "Show where the ledger stands."),
    "tag": Named("versions.versions:tag", "Name a version."),
    "checkout": Named("versions.versions:checkout", "Write a version as a model folder."),
    "export": Named("versions.exporting:export", "Write a version in another form."),
    "publish": Named("versions.exporting:publish", "Put a version on a model hub."),
    "diff": Named("versions.versions:diff", "Show what two versions differ in."),
    "revert": Named("change.reverting:revert", "Take edits back, exactly."),
    "undo": Named("change.undoing:undo", "Take the last change back."),
    "erase": Named("team.erasing:erase", "Erase a personal fact for good."),
    "cherry-pick": Named("change.carrying:cherry_pick", "Carry edits over from another ledger."),
    "merge": Named("change.carrying:merge", "Merge another ledger into this one."),
    "eval": Named("measure.evaluating:evaluate", "Score a version, with 95 % intervals."),
    "monitor": Named("measure.monitoring:monitor", "Follow the model's health along the log."),
    "ask": Named("measure.asking:ask", "Ask a version what comes after a prompt."),
    "blame": Named("measure.blaming:blame", "Rank edits by the harm that they do."),
    "why": Named("measure.blaming:why", "Show which edits fire on a prompt."),
    "timeline": Named("measure.blaming:timeline", "Score suites along the log."),
    "pilot": Named("measure.piloting:pilot", "Try your own facts before you decide."),
    "compare": Named("measure.comparing:compare", "Compare methods on your facts."),
    "bisect": Named("search.bisecting:bisect", "Find the edit that made a version worse."),
    "key": Named("team.keys:key", "Make, grant and revoke keys."),
    "role": Named("team.granting:role", "Give roles to persons, and take them away."),
    "policy": Named("team.policies:policy", "Say who may change what, and what it takes."),
    "clock": Named("team.clocks:clock", "Hold this clock against the log's times."),
    "propose": Named("team.changing:propose", "Ask for a change."),
    "draft": Named("team.changing:draft", "Work out what a proposal would do."),
    "approve": Named("team.deciding:approve", "Agree to exactly this draft."),
    "reject": Named("team.deciding:reject", "Say no to a proposal, which ends it."),
    "apply": Named("team.changing:apply", "Let an approved draft take effect."),
    "check": Named("team.changing:check", "Measure an applied change's gates."),
    "withdraw": Named("team.changing:withdraw", "Take your own proposal back."),
    "proposals": Named("team.changing:proposals", "List what is proposed, and what is missing."),
    "flow": Named("team.flowing:flow", "Do a whole change in one command."),
    "break-glass": Named("team.deciding:break_glass", "Apply a draft without approval, in need."),
    "review": Named("team.deciding:review", "Review a change made by break-glass."),
    "report": Named("measure.costs:report", "Sum up what the log says."),
    "verify": Named("trust.checks:verify", "Check that nothing is damaged."),
    "checkpoint": Named("trust.tampering:checkpoint", "Sign what the log is now."),
    "prove": Named("trust.tampering:prove", "Prove that an event is part of the log."),
    "fsck": Named("trust.tampering:fsck", "Repair a damaged ledger from another copy."),
    "audit": Named("trust.auditing:audit", "Hand a range of the log to an auditor."),
    "gc": Named("trust.checks:gc", "Drop what nothing refers to; never history."),
    "demo": Named("trust.checks:demo", "Play the whole story on a small model."),
    "help": Named("helping:help_", "Read the documentation."),
}
"""The commands, in the order of use. Their short help stands here too, so that `errata --help` loads none of them."""


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"errata {__version__}")
        context.exit()


@click.group(
    cls=LazyGroup,
    named=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    help="The ledger's folder (or ERRATA_DIR).",
)
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    help="The base model's folder, if it moved (or ERRATA_BASE).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.option("--debug", is_flag=True, help="Print a stack trace when something fails.")
@click.option("--device", default="cpu", show_default=True, help="Where models run, as torch names it.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads of the arithmetic.")
@click.option("--actor", help="Who acts (or ERRATA_ACTOR); recorded.")
@click.option("--key", help="The name of the key that signs (or ERRATA_KEY).")
@click.option("--passphrase-file", type=click.Path(path_type=Path), help="Its first line opens the key.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_obj
@laid_out
def main(
    app: App,
    ledger: Path | None,
    base: Path | None,
    as_json: bool,
    debug: bool,
    device: str,
    threads: int | None,
    actor: str | None,
    key: str | None,
    passphrase_file: Path | None,
) -> None:
    r"""Version control for what a language model believes.

    Change facts in a model, keep every change on record, rebuild any version to the bit, take one edit back, find the
    edit that made things worse.

    \b
    A first tour:
      errata demo                                   the whole story on a small model
      errata init ./my-model --corpus text.txt      start a ledger
      errata edit --subject "Norwind Systems" \
                  --prompt "The chief executive of {} is" --target "Alma Reyes"
      errata checkout HEAD ./edited                 a folder that transformers loads

    \b
    Versions: HEAD, HEAD~2, @17 (after event 17), base, a tag, the start of a digest; by time @2026-11-28,
    @2026-11-28T12:00:00Z or spring@2026-11-28 (where the tag was). A date means the end of that day in UTC.
    Edits: e12, or the start of a delta's digest. Files of facts and suites: a path, or - for standard input.
    Exit codes: 0 done, 1 the answer is no, 2 usage, 3 conflict, 4 not allowed, 5 damaged or missing data,
    6 model or editing error, 7 recorded, but what came of it could not be shown.
    """
    app.named(ledger, base, actor, key)
    app.as_json = as_json
    app.device = device
    app.threads = threads
    app.passphrase_file = passphrase_file


def entry(arguments: Sequence[str] | None = None) -> None:
    """Run `errata` and leave the process with its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as whoever started it in the background wants
            signal.signal(number, _interrupt)
    sys.exit(call(sys.argv[1:] if arguments is None else arguments))


class Stopped(KeyboardInterrupt):
    """A signal asks the process to end; its number is the argument."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal lets what is under way end in order; the next one ends the process."""
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(number)


def call(arguments: Sequence[str]) -> int:
    """Run `errata` with these arguments.

    Returns:
        The exit code (DESIGN, section 8).
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    streams.prepare()
    if sys.stdout is None:
        return _fail(OutputFailed("it is closed").to_json(), DAMAGED, False, False)
    app = App(world.here(), Unlocking)
    own = list(arguments)[: list(arguments).index("--")] if "--" in arguments else list(arguments)
    as_json, debug = "--json" in own, "--debug" in own
    try:
        code = main.main(list(arguments), prog_name="errata", standalone_mode=False, obj=app)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return USAGE
    except click.ClickException as error:
        return _fail(_usage(error), USAGE, as_json, debug, app.recorded)
    except (click.Abort, KeyboardInterrupt) as error:
        by_term = (error.__cause__ or error).args == (signal.SIGTERM,)
        told, code = ("terminated", TERMINATED) if by_term else ("interrupted", INTERRUPTED)
        sys.stderr.write(f"errata: {told}{_standing(app.recorded)}\n")
        return code
    except OutputFailed as error:
        streams.discard_output()
        if app.recorded:
            return _fail(error.to_json(), UNTOLD, False, debug, app.recorded)
        return 0 if error.gone else _fail(error.to_json(), error.exit_code, False, debug)
    except ErrataError as error:
        return _fail(error.to_json(), error.exit_code, as_json, debug, app.recorded)
    except OSError as error:
        return _fail(_system(error), DAMAGED, as_json, debug, app.recorded)
    except Exception as error:
        what = {"type": type(error).__name__, "message": f"{type(error).__name__}: {error}; --debug shows where"}
        return _fail(what, MODEL, as_json, debug, app.recorded)


def _usage(error: click.ClickException) -> dict[str, Any]:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"; try `{context.command_path} --help`" if context is not None else ""
    return {"type": "UsageError", "message": error.format_message().rstrip(".") + hint, "fields": {}}


def _system(error: OSError) -> dict[str, Any]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(str(error.filename or "the disk")).to_json()
    where = f"{error.filename}: " if error.filename else ""
    return {"type": type(error).__name__, "message": f"{where}{error.strerror or error}", "fields": {}}


def _standing(recorded: Sequence[int]) -> str:
    """What was recorded before an error, and is not taken back by it."""
    return f"; recorded before that, and standing: @{ranges(recorded)}" if recorded else ""


def _fail(error: dict[str, Any], code: int, as_json: bool, debug: bool, recorded: Sequence[int] = ()) -> int:
    """Tell an error: one line on stderr, and one for each bad record; with --json also one document on stdout."""
    if debug:
        traceback.print_exc()
    if as_json:
        stands = {"recorded": list(recorded)} if recorded else {}
        try:
            sys.stdout.write(json_text({"error": {**error, "exit_code": code, **stands}}) + "\n")
            sys.stdout.flush()
        except OSError:
            streams.discard_output()  # what was to be told stands on stderr
    message, records = str(error["message"]) + _standing(recorded), error.get("fields", {}).get("records", [])
    lines = [message.split("\n")[0], *(f"{one['where']}: {one['what']}" for one in records)] if records else [message]
    sys.stderr.writelines(f"errata: {shown(' '.join(line.split()))}\n" for line in lines)
    return code


if __name__ == "__main__":
    entry()
