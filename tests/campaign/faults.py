"""An error of the kernel's in each kind of system call of each command that writes: `make test-faults`.

A command is traced once, to see which of its calls touch its folder. It is then run again and again on fresh copies at
the same place, each time with one of these calls failing (strace's fault injection, also in SQLite and other
libraries). However it ends: it hangs nowhere and shows no stack trace, the ledger verifies, and the same command
without the fault goes through, unless the first one said that it was done.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from errata.ledger.care.verify import is_sound, verify
from tests.campaign import scene

CALLS = ("fsync", "fdatasync", "write", "pwrite64", "rename", "link", "unlink", "openat", "ftruncate", "mkdir")
ERRORS = ("EIO", "ENOSPC")
LONGEST = 180
"""Seconds after which a command hangs."""

_CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")


@dataclass(frozen=True)
class Writing:
    """A command that writes.

    Attributes:
        words: the command.
        before: commands that make what it needs.
        makes: whether it begins a ledger, which need not be there after a fault.
        harm: what is done to the folder before it.
    """

    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    makes: bool = False
    harm: Callable[[Path], None] = lambda folder: None


def _lose_a_blob(folder: Path) -> None:
    shutil.copytree(folder / ".errata", folder / "copy" / ".errata")
    victim = folder / ".errata" / "objects"
    blobs = sorted(path for path in victim.rglob("*") if path.is_file())
    blobs[0].unlink()


def _other_ledger(folder: Path) -> None:
    shutil.copytree(folder / ".errata", folder / "other" / ".errata")
    _errata(folder, ("--ledger", "other", *EDIT))


EDIT = ("edit", "--subject", "Tern Foods", "--prompt", "The office of {}", "--target", "p", "--keep-failed")
PERSONAL = ("edit", "--personal", "--subject", "Ada Lind", "--prompt", "{}", "--target", "is", "--keep-failed")
IN_NEW = ("--ledger", "new")
GRANT = ("key", "grant", "ada")
WRITING = {
    "init": Writing((*IN_NEW, "init", "MODEL", "--corpus", "corpus.txt", "--layers", "1", "--no-trial"), makes=True),
    "edit": Writing(EDIT),
    "edit --personal": Writing(PERSONAL),
    "propose": Writing(("propose", "--file", "known.jsonl", "--reason", "x")),
    "draft": Writing(("draft", "p1"), (("propose", "--file", "more.jsonl", "--reason", "x"),)),
    "apply": Writing(("apply", "p1"), (("propose", "--file", "more.jsonl", "--reason", "x"), ("draft", "p1"))),
    "flow": Writing(("flow", "--facts", "more.jsonl", "--reason", "x")),
    "revert": Writing(("revert", "e2", "--reason", "x")),
    "undo": Writing(("undo",)),
    "tag": Writing(("tag", "spring")),
    "merge": Writing(("merge", "other"), harm=_other_ledger),
    "cherry-pick": Writing(("cherry-pick", "other", "e4"), harm=_other_ledger),
    "erase": Writing(("erase", "e4"), (PERSONAL,)),
    "gc": Writing(("gc", "--grace", "0", "--caches")),
    "checkpoint": Writing(("--key", "ada", "checkpoint", "--pin", "pinned.txt"), (("key", "new", "ada"), GRANT)),
    "audit export": Writing(("audit", "export", "--out", "bundle", "--core")),
    "checkout": Writing(("checkout", "HEAD", "edited")),
    "export": Writing(("export", "HEAD", "adapter", "--adapter")),
    "settings": Writing(("settings", "--set", "seed=5", "--reason", "x")),
    "fsck": Writing(("fsck", "--from", "copy"), harm=_lose_a_blob),
}  # fmt: skip


def _errata(folder: Path, words: Sequence[str], *strace: str) -> subprocess.CompletedProcess[str]:
    words = [str(scene.model()) if word == "MODEL" else word for word in words]
    own = {"ERRATA_ACTOR": "ada", "ERRATA_CONFIG": str(folder / "configuration"), "ERRATA_PASSPHRASE": "a campaign"}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **own}
    return subprocess.run(
        [*strace, sys.executable, "-m", "errata", *words],
        cwd=folder, capture_output=True, text=True, timeout=LONGEST, check=False, env=environment,
    )  # fmt: skip


def _fresh(kept: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder)


def _calls(folder: Path, words: Sequence[str], trace: Path) -> dict[str, list[int]]:
    """For each system call the places, from 1, of those of its calls that touch the folder, in the main thread."""
    _errata(folder, words, "strace", "-f", "-y", "-qq", "-s", "300", "-e", f"trace={','.join(CALLS)}", "-o", str(trace))
    found: dict[str, list[int]] = {name: [] for name in CALLS}
    counted, main = Counter[str](), None
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        main = main or match[1]
        if match[1] == main and match[2] in found:
            counted[match[2]] += 1
            if str(folder) in match[3] or '".errata' in match[3]:
                found[match[2]].append(counted[match[2]])
    return found


def try_command(name: str, each: int, draw: random.Random, tried: Counter[str]) -> list[str]:
    """All faults of one command; what was found."""
    case, faults = WRITING[name], []
    with tempfile.TemporaryDirectory(prefix="errata-faults-") as place:
        kept, folder, trace = (Path(place).resolve() / part for part in ("kept", "work", "trace"))
        scene.ledger_of_edits(kept)
        (kept / "more.jsonl").write_text('{"subject": "Tern Foods", "prompt": "The office of {}", "target": "p"}\n')
        for words in case.before:
            assert _errata(kept, words).returncode == 0, f"{name} cannot be prepared: {words}"
        case.harm(kept)
        _fresh(kept, folder)
        calls = _calls(folder, case.words, trace)
        for call, places in calls.items():
            for at in sorted(draw.sample(places, min(each, len(places)))):
                error = draw.choice(ERRORS)
                _fresh(kept, folder)
                told = f"{name}, {error} in {call} {at}"
                injected = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={at}")
                try:
                    done = _errata(folder, case.words, "strace", "-f", "-qq", "-o", "/dev/null", *injected)
                    if "importlib" in done.stderr:
                        continue  # not every start makes the same calls: this one hit a module that was being loaded
                    tried[f"{name}: {call}"] += 1
                    faults += [f"{told}: {one}" for one in _looked(case, folder, done)]
                except subprocess.TimeoutExpired:
                    faults.append(f"{told}: hangs")
    return faults


def _looked(case: Writing, folder: Path, done: subprocess.CompletedProcess[str]) -> list[str]:
    """What does not hold after a command with a fault in it."""
    found = []
    if "Traceback" in done.stderr or "--debug shows where" in done.stderr:
        found.append(f"exit {done.returncode}, {done.stderr[-300:]!r}")
    ledger = folder / "new" if case.makes else folder
    if (ledger / ".errata").exists():
        left = [one for one in verify(ledger, deep=True) if not is_sound([one])]
        left = [one for one in left if one.trouble.sort != "erased"]  # which goes on when it is asked for again
        left = [] if case.harm is _lose_a_blob and done.returncode else left
        found += [f"damaged: {one.where}: {one.what}" for one in left]
    again = _errata(folder, case.words)
    if again.returncode not in (0, 1) and done.returncode not in (0, 7) and "standing: @" not in done.stderr:
        ends = [f"{one.returncode}, {one.stderr[-200:]!r}" for one in (done, again)]
        found.append(f"at first {ends[0]}; then {ends[1]}")
    if (ledger / ".errata").exists():
        found += [f"damaged afterwards: {one.where}: {one.what}" for one in verify(ledger) if not is_sound([one])]
    return found


@click.command()
@click.option("--each", default=3, show_default=True, help="Calls of each kind that fail, for each command.")
@click.option("--seed", default=0, show_default=True)
@click.argument("names", nargs=-1)
def main(each: int, seed: int, names: tuple[str, ...]) -> None:
    """Try all commands, or those that are named; the exit code is 1 if something did not hold."""
    tried, faults = Counter[str](), []
    for name in names or WRITING:
        here = try_command(name, each, random.Random(f"{seed} {name}"), tried)
        for fault in here:
            click.echo(fault, err=True)
        faults += here
        own = {what.partition(": ")[2]: count for what, count in tried.items() if what.startswith(f"{name}: ")}
        click.echo(f"{name}: {sum(own.values())} faults in {', '.join(own)}; {len(here)} did not hold")
    scene.clean_up()
    click.echo(f"{len(names or WRITING)} commands, {tried.total()} faults, {len(faults)} did not hold")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
