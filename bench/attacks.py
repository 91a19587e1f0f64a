"""Attacks on a ledger by somebody who can write to its files, and what finds each of them."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.attack_kinds import KINDS, Attack
from bench.governed import go_on, work
from errata.ledger.audit.alone.checks import examine
from errata.ledger.audit.bundle import build, read_range
from errata.ledger.base.errors import ErrataError
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.ledger import DATABASE, LEDGER_FOLDER, Ledger
from errata.ledger.store.sqlite import SqliteStore
from errata.ledger.witness.checkpoints import against, checkpoint_of
from errata.ledger.witness.notes import VerifierKey, parse_checkpoint
from tests.support.people import key_of

COPY_AFTER = (3, 12, 20, 28, 36, 44)
"""After how many commands the attacker keeps a copy of the folder."""
CONTROLS = 25
WITNESS = VerifierKey("cleo", key_of("cleo").key)
"""Whose signature on the checkpoint the auditor trusts, from outside the ledger."""


@dataclass(frozen=True)
class Scene:
    """A ledger that nobody has touched, and what was kept of it elsewhere.

    Attributes:
        root: its own folder.
        past: copies of it from earlier on, which the attacker kept.
        pinned: a checkpoint of it, kept where the attacker cannot write.
        size: how many events that covers.
        scratch: a folder for copies.
    """

    root: Path
    past: tuple[Path, ...]
    pinned: Path
    size: int
    scratch: Path

    def copy(self) -> Path:
        """A fresh copy of the ledger's folder, in the place of the last one."""
        target = self.scratch / "copy"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.root, target)
        return target


def prepare(folder: Path) -> Scene:
    """Let the four work, and keep copies and a checkpoint."""
    past: list[Path] = []
    commands = 0

    def keep() -> None:
        nonlocal commands
        commands += 1
        if commands in COPY_AFTER:
            past.append(shutil.copytree(folder / "ledger" / LEDGER_FOLDER, folder / f"past-{commands}"))

    ledger = work(folder / "ledger", keep).ledger
    assert ledger.folder is not None
    pinned = folder / "pinned.txt"
    size = ledger.state().head.seq
    made = checkpoint_of([event.hash for event in ledger.events()]).signed(WITNESS.name, key_of(WITNESS.name))
    pinned.write_text(made.note, encoding="utf-8")
    return Scene(ledger.folder, tuple(past), pinned, size, folder)


def by_verify(scene: Scene, root: Path) -> bool:
    """`errata verify --deep` finds damage."""
    return not is_sound(verify(root, deep=True))


def by_checkpoint(scene: Scene, root: Path) -> bool:
    """`errata verify --against` the checkpoint finds what that alone can tell."""
    _, rows = SqliteStore(root / DATABASE).audit()
    pinned = parse_checkpoint(scene.pinned.read_bytes())
    return not is_sound(against(pinned, rows, [WITNESS], []))


def by_bundle(scene: Scene, root: Path) -> bool:
    """An auditor asks for all events, at least up to the checkpoint: there are none, or they do not verify."""
    try:
        ledger = Ledger.open(root)
        files = bundle_files(ledger, max(scene.size, ledger.store.head().seq))
    except (ErrataError, LookupError, ValueError):  # not the log that was pinned, or one that makes no tables
        return True
    folder = scene.scratch / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return not examine(folder, None, scene.pinned)["sound"]


FINDERS: Mapping[str, Callable[[Scene, Path], bool]] = {
    "verify": by_verify,
    "checkpoint": by_checkpoint,
    "bundle": by_bundle,
}


def bundle_files(ledger: Ledger, last: int) -> Mapping[str, bytes]:
    """A bundle of the log from its beginning.

    Raises:
        ErrataError: the log cannot be read, or has no such event.
    """
    return build(read_range(ledger.events(), list(ledger.store.raw()), 1, last), {}).files


def run(attempts: int = 300, seed: int = 0, controls: int = CONTROLS) -> dict[str, Any]:
    """Draw attacks, as many of each kind, each on a fresh copy; and look at copies that nobody attacked.

    Args:
        attempts: how many at least, over all kinds.
        seed: what they are drawn by.
        controls: how many copies that were left alone, or in which honest work went on after the checkpoint.
    """
    each = -(-attempts // len(KINDS))
    with tempfile.TemporaryDirectory() as folder:
        scene = prepare(Path(folder))
        kinds = {name: of_kind(scene, name, attack, each, seed) for name, attack in KINDS.items()}
        alarms = sum(alarmed(scene, number) for number in range(controls))
    return {
        "seed": seed,
        "events": scene.size,
        "attempts": each * len(kinds),
        "kinds": kinds,
        "found": sum(row["found"] for row in kinds.values()),
        "controls": controls,
        "false_alarms": alarms,
    }


def alarmed(scene: Scene, number: int) -> bool:
    """Whether anything is found on a copy that nobody attacked, and on which work went on by a few events."""
    root = scene.copy()
    go_on(root, number % 4)
    return any(finds(scene, root) for finds in FINDERS.values())


def of_kind(scene: Scene, name: str, attack: Attack, attempts: int, seed: int) -> dict[str, Any]:
    """So many attacks of one kind that change something, and how many of them each finder finds."""
    honest = content(scene.root)
    row: dict[str, Any] = {"attempts": attempts, **dict.fromkeys(FINDERS, 0), "found": 0, "missed": []}
    draw = done = 0
    while done < attempts:
        draw += 1
        root = scene.copy()
        attack(root, random.Random(f"{seed} {name} {draw}"), scene.past)
        if content(root) == honest:
            continue
        done += 1
        finders = [finder for finder, finds in FINDERS.items() if finds(scene, root)]
        for finder in finders:
            row[finder] += 1
        row["found"] += bool(finders)
        if not finders:
            row["missed"].append(draw)
    return row


def content(root: Path) -> object:
    """All that a ledger's files say, whatever pages it lies in."""
    connection = sqlite3.connect(f"file:{root / DATABASE}?mode=ro", uri=True)
    try:
        marks = [connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")]
        schema = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
        rows = connection.execute("SELECT * FROM events ORDER BY seq").fetchall()
    finally:
        connection.close()
    blobs = {path.name: path.read_bytes() for path in (root / "objects").rglob("*") if path.is_file()}
    return marks, schema, rows, blobs


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    lines = [
        f"{table['attempts']} attacks on a governed ledger of {table['events']} events, drawn by seed {table['seed']}",
        f"{'kind':<28} {'attacks':>7} {'verify':>7} {'--against':>10} {'bundle':>7} {'found':>6}",
    ]
    for name, row in table["kinds"].items():
        lines.append(
            f"{name:<28} {row['attempts']:>7} {row['verify']:>7} {row['checkpoint']:>10} {row['bundle']:>7} "
            f"{row['found']:>6}"
        )
    lines += [
        f"found: {table['found']} of {table['attempts']}",
        f"copies that nobody attacked: {table['controls']}, false alarms: {table['false_alarms']}",
    ]
    return "\n".join(lines)
