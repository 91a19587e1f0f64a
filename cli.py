"""The composition root: the only place that sees the environment, the clock, the device and the current folder.

`entry` is the command `errata`. It hands the world to the commands in `commands/` and turns every error into one line
on stderr and an exit code.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
import time
import traceback
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from errata import __version__
from errata.commands.app import App, InOrder, World, laid_out
from errata.commands.change.carrying import cherry_pick, merge
from errata.commands.change.create import init, presets, stats
from errata.commands.change.edits import edit
from errata.commands.change.reverting import revert
from errata.commands.change.tuning import settings, tune
from errata.commands.change.undoing import undo
from errata.commands.helping import help_
from errata.commands.measure.blaming import blame, timeline, why
from errata.commands.measure.evaluating import evaluate
from errata.commands.measure.locating import locate
from errata.commands.measure.monitoring import monitor
from errata.commands.measure.piloting import pilot
from errata.commands.measure.reporting import report
from errata.commands.search.bisecting import bisect
from errata.commands.team.changing import apply, check, draft, proposals, propose, withdraw
from errata.commands.team.deciding import approve, break_glass, reject, review
from errata.commands.team.erasing import erase
from errata.commands.team.flowing import flow
from errata.commands.team.granting import role
from errata.commands.team.keys import key
from errata.commands.team.policies import policy
from errata.commands.trust.auditing import audit
from errata.commands.trust.checks import demo, gc, verify
from errata.commands.trust.tampering import checkpoint, fsck, prove
from errata.commands.unlocking import Unlocking
from errata.commands.versions.exporting import export
from errata.commands.versions.history import log, show, status
from errata.commands.versions.versions import checkout, diff, tag
from errata.commands.words.render import printable
from errata.ledger.base.errors import ErrataError, StorageFull, UsageError

USAGE, DAMAGED, MODEL, INTERRUPTED = 2, 5, 6, 130

QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Settings of libraries that would otherwise write to stderr; what the user has set wins."""


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"errata {_software()['errata']}")
        context.exit()


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the arithmetic.")
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
    6 model or editing error.
    """
    environment = app.world.environment
    app.ledger_option = ledger or (Path(environment["ERRATA_DIR"]) if environment.get("ERRATA_DIR") else None)
    app.base = base or (Path(environment["ERRATA_BASE"]) if environment.get("ERRATA_BASE") else None)
    app.as_json = as_json
    app.device = device
    app.threads = threads
    app.actor = actor or environment.get("ERRATA_ACTOR", "")
    app.key = key or environment.get("ERRATA_KEY") or None
    app.passphrase_file = passphrase_file


for _command in (
    init,
    presets,
    stats,
    locate,
    tune,
    settings,
    edit,
    log,
    show,
    status,
    tag,
    checkout,
    export,
    diff,
    revert,
    undo,
    erase,
    cherry_pick,
    merge,
    evaluate,
    monitor,
    blame,
    why,
    timeline,
    pilot,
    bisect,
    key,
    role,
    policy,
    propose,
    draft,
    approve,
    reject,
    apply,
    check,
    withdraw,
    proposals,
    flow,
    break_glass,
    review,
    report,
    verify,
    checkpoint,
    prove,
    fsck,
    audit,
    gc,
    demo,
    help_,
):
    main.add_command(_command)


def entry(arguments: Sequence[str] | None = None) -> None:
    """Run `errata` and leave the process with its exit code."""
    sys.exit(call(sys.argv[1:] if arguments is None else arguments))


def call(arguments: Sequence[str]) -> int:
    """Run `errata` with these arguments.

    Returns:
        The exit code (DESIGN, section 8).
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    own = list(arguments)[: list(arguments).index("--")] if "--" in arguments else list(arguments)
    as_json, debug = "--json" in own, "--debug" in own
    try:
        code = main.main(list(arguments), prog_name="errata", standalone_mode=False, obj=App(_world(), Unlocking))
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        return _fail(_usage(error), USAGE, as_json, debug)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("errata: interrupted\n")
        return INTERRUPTED
    except ErrataError as error:
        return _fail(error.to_json(), error.exit_code, as_json, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(_system(error), DAMAGED, as_json, debug)
    except Exception as error:
        what = {"type": type(error).__name__, "message": f"{type(error).__name__}: {error}; --debug shows where"}
        return _fail(what, MODEL, as_json, debug)


def _usage(error: click.ClickException) -> dict[str, Any]:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"; try `{context.command_path} --help`" if context is not None else ""
    return {"type": "UsageError", "message": error.format_message().rstrip(".") + hint, "fields": {}}


def _system(error: OSError) -> dict[str, Any]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(str(error.filename or "the disk")).to_json()
    where = f"{error.filename}: " if error.filename else ""
    return {"type": type(error).__name__, "message": f"{where}{error.strerror or error}", "fields": {}}


def _fail(error: dict[str, Any], code: int, as_json: bool, debug: bool) -> int:
    """Tell an error: one line on stderr, and with --json one document on stdout."""
    if debug:
        traceback.print_exc()
    if as_json:
        sys.stdout.write(json.dumps({"error": {**error, "exit_code": code}}, indent=2, ensure_ascii=False) + "\n")
    sys.stderr.write(f"errata: {' '.join(printable(str(error['message'])).split())}\n")
    return code


def _world() -> World:
    return World(
        folder=Path.cwd(),
        environment=dict(os.environ),
        actor=_user(),
        now=_now,
        new_id=lambda: str(uuid.uuid4()),
        seconds=time.monotonic,
        peak_memory=_peak_memory,
        prepare_torch=_prepare_torch,
        software=_software,
        configuration=_configuration,
        read_stdin=lambda: sys.stdin.buffer.read(),
        ask_secret=_ask_secret,
        out=sys.stdout,
        err=sys.stderr,
    )


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def _configuration() -> Path:
    """`$ERRATA_CONFIG`, else the user's own folder for configuration, as the platform has it."""
    if own := os.environ.get("ERRATA_CONFIG"):
        return Path(own)
    import platformdirs

    folder = platformdirs.user_config_path("errata", appauthor=False)
    if not folder.is_absolute():
        raise UsageError(f"{folder} is no folder for keys, since it is not absolute; ERRATA_CONFIG names another")
    return folder


def _ask_secret(what: str) -> str | None:
    if not sys.stdin.isatty():
        return None
    import getpass

    try:
        return getpass.getpass(f"{what}: ", stream=sys.stderr)
    except EOFError:
        raise click.Abort from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _peak_memory(device: str) -> int:
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _prepare_torch(device: str, threads: int | None) -> str:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r} is not to be had: {str(error).splitlines()[0]}") from None
    return str(chosen)


def _software() -> dict[str, str]:
    from importlib import metadata

    found = {"python": ".".join(map(str, sys.version_info[:3])), "errata": __version__}
    for name in ("torch", "transformers", "numpy", "safetensors"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    entry()
