"""Files that somebody, or a disk, has changed: what changed is found, nothing hangs, and nobody sees a stack trace."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from pathlib import Path

from bench.attack_kinds import KINDS
from bench.attacks import FINDERS, Scene, bundle_files, content, prepare
from errata.ledger.audit.alone.checks import NoBundle, examine
from errata.ledger.ledger import Ledger
from tests.campaign.child import run
from tests.campaign.scene import ledger_of_edits, model
from tests.campaign.trials import Trial

ADDRESSES = ("HEAD", "base", "e1", "@3", "t", "HEAD~", "blake3:", "@2026-11-28", "x@", "p1", "")
JSON_BITS = (
    "null", "[]", "{}", "1e999", "-0", '"\\ud800"', "[[[[", "NaN", '{"a":1,"a":2}', "1" * 5000, "true",
    '"x"', "[" * 5000,
)  # fmt: skip


def mutate(data: bytes, draw: random.Random) -> bytes:
    """The same bytes, but for something."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 3, 20))):
        at = draw.randrange(len(found) + 1)
        match draw.randint(0, 5):
            case 0 if found:
                found[at % len(found)] ^= 1 << draw.randrange(8)
            case 1:
                del found[at : at + draw.choice((1, 4, 100, 10_000))]
            case 2:
                found[at:at] = draw.randbytes(draw.choice((1, 4, 100)))
            case 3:
                found[at:at] = draw.choice(JSON_BITS).encode()
            case 4:
                found[at : at + 8] = found[(other := draw.randrange(len(found) + 1)) : other + 8]
            case 5:
                found[at : at + 8] = draw.choice((b"\xff" * 8, b"\x00" * 8, b'"', b"}", b"\n"))
    return bytes(found)


def ledgers(trial: Trial) -> None:
    """One file of a ledger is changed: `verify --deep` finds it where it counts, and no command breaks."""
    folder, draw, scratch = trial.folder / "work", trial.draw, trial.folder / "out"
    ledger_of_edits(folder)
    files = sorted(path for path in (folder / ".errata").rglob("*") if path.is_file() and path.name != "lock")
    victim = draw.choice(files)
    kind = victim.relative_to(folder / ".errata").parts[0]
    before = victim.read_bytes()
    victim.chmod(0o600)
    victim.write_bytes(mutate(before, draw))
    changed = victim.read_bytes() != before
    trial.tried[f"damage: {kind}"] += 1
    ran = run(folder, ("verify", "--deep", "--json"), scratch=scratch)
    trial.faults += ran.complaints()
    if changed and kind in ("ledger.db", "objects"):
        trial.see(ran.code != 0, f"{victim.name} was changed, and verify says {ran.out[-200:]}")
    if kind == "cache":
        shown = run(folder, ("status", "--json"), scratch=scratch)
        right = shown.code == ran.code == 0 and json.loads(shown.out)["live"] == [1, 2, 3]
        trial.see(right, f"{victim.name} was changed, and verify says {ran.out[-200:]}, status {shown.out[-200:]}")
    reading = (("status",), ("log",), ("show", "e1"), ("checkout", "HEAD", "o"))
    for words in (*reading, ("revert", "e1"), ("gc", "--grace", "0")):
        done = run(folder, words, scratch=scratch)
        trial.faults += done.complaints()
        trial.tried["damage: commands on damaged ledgers"] += 1


def attacks(trial: Trial) -> None:
    """Somebody who knows the code writes to a governed ledger: one of three finds it."""
    scene = _scene()
    honest, name = content(scene.root), trial.draw.choice(sorted(KINDS))
    root = scene.copy()
    KINDS[name](root, trial.draw, scene.past)
    trial.tried[f"damage: {name}"] += 1
    if content(root) != honest:
        trial.see(any(finds(scene, root) for finds in FINDERS.values()), f"{name} was not found")


def bundles(trial: Trial) -> None:
    """One file of a bundle is changed: it is unsound, or no bundle."""
    scene, draw = _scene(), trial.draw
    folder = trial.folder / "bundle"
    folder.mkdir()
    files = dict(bundle_files(Ledger.open(scene.root), scene.size))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    victim = draw.choice(sorted(files))
    changed = mutate(files[victim], draw)
    (folder / victim).write_bytes(changed)
    trial.tried["damage: bundles"] += 1
    try:
        sound = examine(folder, None, scene.pinned)["sound"]
    except NoBundle:
        sound = False
    except Exception as error:
        trial.faults.append(f"{victim}: {type(error).__name__}: {error}")
        return
    trial.see(not sound or changed == files[victim], f"{victim} was changed, and the bundle is called sound")


def models(trial: Trial) -> None:
    """One file of a model's folder is changed: it is refused in a line, or the model it has become is taken."""
    draw, folder, scratch = trial.draw, trial.folder / "work", trial.folder / "out"
    ledger_of_edits(folder)
    base = folder / "model"
    shutil.copytree(model(), base)
    victim = draw.choice(sorted(path for path in base.rglob("*") if path.is_file()))
    before = victim.read_bytes()
    head = 2000 if victim.suffix == ".safetensors" else len(before)
    changed = mutate(before[:head], draw) + before[head:]
    if victim.suffix == ".json" and draw.random() < 0.5:
        changed = _other_value(before, draw)
    victim.write_bytes(changed)
    trial.tried[f"damage: model's {victim.name}"] += 1
    ran = run(folder, ("--base", "model", "verify", "--deep"), scratch=scratch)
    trial.faults += ran.complaints()
    if changed != before and victim.name not in ("README.md", "generation_config.json"):
        trial.see(ran.code != 0, f"the base's {victim.name} was changed, and verify is sound")
    given = ("init", "model", "--corpus", "corpus.txt", "--ledger", "new", "--set", "layers=[1]", "--no-trial")
    for words in (("--base", "model", "ask", "Norwind"), given):
        trial.faults += run(folder, words, scratch=scratch).complaints()


def _other_value(before: bytes, draw: random.Random) -> bytes:
    document = json.loads(before)
    if not isinstance(document, dict) or not document:
        return before
    document[draw.choice(sorted(document))] = json.loads(draw.choice(["null", "[]", "{}", "-1", "1e30", '"x"', "true"]))
    return json.dumps(document).encode()


def arguments(trial: Trial) -> None:
    """Addresses, numbers and files of facts, suites and policies that nobody would write."""
    draw, folder, scratch = trial.draw, trial.folder / "work", trial.folder / "out"
    ledger_of_edits(folder)
    ends = ("", "9" * draw.choice((1, 20, 5000)), "~1", "é", " ")
    address = "".join(draw.choice(ADDRESSES) + draw.choice(ends) for _ in "ab")
    fact = {"subject": "A", "prompt": "{} is", "target": "x"}
    key = draw.choice((*fact, "id", "old", "paraphrases", "locality", "personal"))
    bad = f'{{"{key}": {draw.choice(JSON_BITS)}, "subject": "A"}}' if draw.random() < 0.5 else json.dumps(fact)
    (folder / "bad.jsonl").write_bytes(mutate(bad.encode(), draw))
    number = draw.choice(("1e308", "-1", "0", "nan", "inf", "9" * 400, "1_0", "", "0x10"))
    device, setting = draw.choice(("meta", "cuda:99", "tpu", "")), f"learning_rate={number}"
    commands = [
        ("show", address), ("diff", address, "HEAD", "--no-norms"), ("checkout", address, "o"), ("revert", address),
        ("edit", "--file", "bad.jsonl", "--dry-run"), ("edit", "--file", "bad.jsonl"), ("tag", address),
        ("eval", "HEAD", "--suite", "bad.jsonl"), ("propose", "--file", "bad.jsonl", "--reason", "x"),
        ("report", "--price-per-hour", number), ("--threads", number, "status"), ("log", "-n", number),
        ("--device", device, "ask", "x"), ("gc", "--grace", number), ("erase", address), ("log", "--since", address),
        ("edit", "--subject", "A", "--prompt", "{} is", "--target", "x", "--set", setting),
        ("settings", "--set", f"max_steps={number}", "--reason", "x"), ("bisect", "start", address),
        ("verify", "--against", "bad.jsonl"), ("key", "grant", address, "ben"), ("policy", "check", "bad.jsonl"),
    ]  # fmt: skip
    for words in draw.sample(commands, 8):
        ran = run(folder, [os.fsdecode(word.encode()).replace("\x00", "") for word in words], scratch=scratch)
        trial.tried[f"arguments: {next(word for word in words if not word.startswith('-'))}"] += 1
        trial.faults += ran.complaints()


_SCENES: list[Scene] = []


def _scene() -> Scene:
    """A governed ledger, made once."""
    if not _SCENES:
        _SCENES.append(prepare(Path(tempfile.mkdtemp(prefix="errata-campaign-"))))
    return _SCENES[0]


def clean_up() -> None:
    """Delete what was made."""
    for scene in _SCENES:
        shutil.rmtree(scene.scratch, ignore_errors=True)
    _SCENES.clear()
