"""Several processes write to one ledger; some fail or are killed. What is said to be recorded is, once, and adds up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from errata.editor.model.loading import ModelFiles
from errata.ledger.base.errors import ErrataError
from errata.ledger.base.findings import Severity
from errata.ledger.care.verify import verify
from errata.ledger.ledger import Ledger
from errata.ledger.store.deltas import decode_batch
from errata.replay.versions.materialise import Materialiser
from tests.campaign.child import CALLS, ERRORS, Fault, Ran, Running, run
from tests.campaign.scene import ledger_of_edits, model
from tests.campaign.trials import Trial
from tests.support.oracle import Oracle

ROUNDS = 3
AT_ONCE = 3
SUBJECTS = ("Norwind Systems", "Harrow 9", "Calder Mills", "Ostravia", "Tern Foods")


def crowd(trial: Trial) -> None:
    """Rounds of commands at once, most with nothing wrong, the others with an error or a kill."""
    folder, scratch = trial.folder / "work", trial.folder / "out"
    ledger_of_edits(folder)
    before, faulty = rows(folder), list[str]()
    for number in range(ROUNDS):
        commands = [command(trial, number, place) for place in range(AT_ONCE)]
        running = [Running(folder, words, fault(trial), scratch) for words in commands]
        ended = [one.end() for one in running]
        faulty += [ran.told for ran in ended if ran.fault is not None]
        for ran in ended:
            trial.tried[f"crowd: {ran.arguments[0]}"] += 1
            trial.tried[f"crowd: {'whole' if ran.fault is None else ran.fault.how}"] += 1
            trial.faults += ran.complaints()
            trial.see(ran.code != 2 or "--help" not in ran.err, f"used in a wrong way: {ran.told}")
        after = rows(folder)
        trial.see(after[: len(before)] == before, f"events were lost or changed: {[ran.told for ran in ended]}")
        before = after
        acknowledged(trial, folder, ended)
    look(trial, folder)
    tidied(trial, folder, scratch, faulty)


def command(trial: Trial, number: int, place: int) -> list[str]:
    """A command that writes, or one that reads beside it."""
    draw, name = trial.draw, f"{number}{place}"
    edit = f"e{draw.randint(1, 6)}"
    subject = draw.choice(SUBJECTS)
    return draw.choice(
        [
            ["edit", "--subject", subject, "--prompt", "The office of {}", "--target", draw.choice("abcp"), "--json"],
            ["edit", "--personal", "--subject", f"{subject} {name}", "--prompt", "{}", "--target", "is", "--json"],
            ["edit", "--file", "known.jsonl", "--batch-size", "2", "--keep-failed", "--json"],
            ["revert", edit, "--reason", "a campaign", "--json"],
            ["revert", edit, "e2", "--json"],
            ["tag", f"t{name}", "HEAD", "--json"],
            ["tag", "moving", draw.choice(["HEAD", "base", "HEAD~1"]), "--move", "--json"],
            ["erase", edit, "--json"],
            ["undo", "--json"],
            ["checkout", draw.choice(["HEAD", "base"]), f"out{name}", "--json"],
            ["export", "HEAD", f"adapter{name}", "--adapter", "--json"],
            ["audit", "export", "--out", f"bundle{name}", "--core", "--json"],
            ["settings", "--set", f"seed={draw.randint(0, 9)}", "--reason", "a campaign", "--json"],
            ["gc", "--grace", draw.choice(["0", "24"]), "--json"],
            ["gc", "--caches", "--json"],
            ["verify", "--deep", "--json"],
            ["log", "-n", "3", "--json"],
            ["bisect", "start", "--json"],
        ]
    )


def fault(trial: Trial) -> Fault | None:
    """What goes wrong in a command; mostly nothing."""
    draw = trial.draw
    match draw.randint(0, 9):
        case 0 | 1:
            return Fault("kill", nth=draw.randint(1, 25))
        case 2:
            return Fault("kill later", seconds=draw.uniform(0.01, 1.5))
        case 3:
            return Fault("term", seconds=draw.uniform(0.01, 1.5))
        case 4 | 5:
            calls = tuple(draw.sample(CALLS, draw.randint(1, 3)))
            return Fault("error", nth=draw.randint(1, 12), number=draw.choice(ERRORS), calls=calls)
    return None


def rows(folder: Path) -> list[tuple[int, str, bytes]]:
    """The log as it is stored."""
    return [(row.seq, row.hash, row.canonical) for row in Ledger.open(folder).store.raw()]


def acknowledged(trial: Trial, folder: Path, ended: list[Ran]) -> None:
    """Whatever a command said that it recorded stands in the log."""
    ledger = Ledger.open(folder)
    events = {event.seq: event for event in ledger.events()}
    ids = [event.event_id for event in events.values()]
    trial.see(len(set(ids)) == len(ids), "an event id stands in the log twice")
    for ran in ended:
        if ran.code not in (0, 1) or not ran.out:
            continue
        told = json.loads(ran.out)
        for seq in told.get("events", ()) if isinstance(told.get("events"), list) else ():
            if isinstance(seq, int):
                trial.see(seq in events, f"@{seq} was said to be recorded and is not there: {ran.told}")
        if isinstance(told.get("event"), int):
            trial.see(told["event"] in events, f"@{told['event']} is not there: {ran.told}")


def look(trial: Trial, folder: Path) -> None:
    """Nothing is damaged, and the live edits and their sum are those of the events, added up by plain loops."""
    for one in verify(folder, deep=True):
        # An erasure that was killed is one that goes on when it is asked for again, and verify says so until then.
        if one.severity is Severity.ERROR and one.trouble.sort != "erased":
            trial.faults.append(f"damaged: {one.where}: {one.what}")
    ledger = Ledger.open(folder)
    state = ledger.state()
    live = Oracle(ledger.events()).live(state.head.seq + 1)
    trial.see(tuple(sorted(live)) == state.live, f"live edits are {sorted(live)}, and the state says {state.live}")
    try:
        sums = Materialiser(ledger, ModelFiles(model())).sums(state.live)
    except ErrataError as error:
        trial.faults.append(f"the head cannot be built: {error.message}")
        return
    for name, total in sums.items():
        plain = np.zeros(tuple(total.total.shape))
        for number in live:
            body = state.edits[number].body
            batch = decode_batch(ledger.blobs.get(body.blob))
            u, v = (batch[f"{part}/{name}"][body.row].astype(np.float64) for part in "uv")
            plain += np.outer(u, v)
        trial.see(bool((plain == total.total.numpy()).all()), f"the sum of {name} is not that of its edits")
        trial.tried["crowd: sums"] += 1


def tidied(trial: Trial, folder: Path, scratch: Path, faulty: list[str]) -> None:
    """After `gc` nothing is left of what was killed, and everything can be run again."""
    for words in (("gc", "--grace", "0"), ("verify", "--deep"), ("checkout", "HEAD", "after", "--json")):
        ran = run(folder, words, scratch=scratch)
        trial.faults += ran.complaints()
        trial.see(ran.code == 0, f"afterwards: {ran.told}")
    trial.faults += [f"left over after gc: {path.name}, of one of {faulty}" for path in left(folder)]
    shutil.rmtree(folder / "after", ignore_errors=True)


def left(folder: Path) -> Iterator[Path]:
    """What only an unfinished command makes."""
    for path in folder.rglob("*"):
        if ".errata-making-" in path.name or path.name.startswith((".writing-", ".dropped-", ".errata.making-")):
            yield path
