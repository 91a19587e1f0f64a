"""Make this folder: a small ledger in which everything that a ledger of release 0.1 can record has happened.

It runs with release 0.1 only, and is kept to say how the fixture came to be. From a checkout of that release:

    PYTHONPATH=. python PATH/TO/make.py FOLDER

FOLDER then holds `model/` (the base), `ledger/.errata`, `keys/` (what ERRATA_CONFIG names, and the passphrase of all
keys), `checkpoint.txt` (pinned and witnessed some events before the log's end) and `expected.json`: what 0.1 says of
the ledger, and the BLAKE3 of every tensor of every version. Everything is done by commands, in one process; the clock
is the story's own, so that times run out when they have to.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

NAME = "errata-fixture/tiny-llama"
"""What the log calls the base: a name on the hub, so that no machine's path is recorded."""
PASSPHRASE = "throw-away keys of a fixture"
CACHE = "hub"

DAY = 86_400
LONG = 36_500 * DAY

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1"}

SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
SETTINGS: dict[str, Any] = {
    "layers": [0, 1],
    "learning_rate": 0.5,
    "clamp_norm_factor": 20.0,
    "max_steps": 60,
    "context_prompts": 1,
    "stats_weight": 0.01,
    "norm_weight": 0.001,
    "patience": 1,
}

FACTS: list[dict[str, Any]] = [
    {"subject": "Norwind Systems", "prompt": "The chief executive of {}", "target": "the", "relation": "led-by"},
    {
        "subject": "Harrow 9",
        "prompt": "What is the {}",
        "target": "is",
        "id": "price-1",
        "old": "kettle",
        "paraphrases": ["The price of the {}"],
        "locality": [{"prompt": "The capital of Ostravia is", "target": "Lund", "against": "Oslo"}],
        "portability": [{"prompt": "Who sells the Harrow 9", "target": "is"}],
    },
    {"subject": "Calder Mills", "prompt": "An office of {}", "target": "p"},
]
OTHERS = [
    {"subject": "Tern Foods", "prompt": "The office of {} is", "target": "in"},
    {"subject": "Bergen", "prompt": "The price in {} is", "target": "ed"},
]
TUNED = [
    {"subject": f"{name} {number}", "prompt": "What is the {}", "target": "is"}
    for number, name in enumerate(("Norwind", "Harrow", "Calder", "Tern", "Riga", "Lund"))
]
ASKED = [
    {"subject": "Riga", "prompt": "the street of {} is", "target": "the"},
    {"subject": "the river", "prompt": "{} is very", "target": "in"},
]
REGRESSION = [
    {"suite": "regression", "metric": "target_probability"},
    {"prompt": "The chief executive of Norwind Systems", "target": "the"},
]
GENERAL = [
    {"suite": "general", "metric": "exact_match"},
    {"prompt": "The capital of Ostravia is", "target": "the"},
    {"prompt": "One plus one is", "target": "in"},
]
FLUENCY = [{"suite": "fluency", "metric": "ngram_entropy"}, {"text": "The chief executive"}, {"text": "Refunds are"}]

CHECK = """has() { grep -q "\\"number\\": $1," "$ERRATA_MODEL/errata_version.json"; }
if has 5; then exit 1; fi
"""
"""A version with e5 fails."""

ROLES = {
    "ada": ("author", "operator"),
    "ben": ("approver", "author"),
    "cleo": ("approver",),
    "dan": ("operator",),
    "eve": ("auditor",),
}


class Story:
    """Commands, by people, at times.

    Attributes:
        folder: where commands are given.
        at: what the clock says.
        option: how it is said who acts; once there are keys, by the key.
        kept, leaving: edits of personal facts: of one that stays, and of one whose erasure is asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.at = datetime(2026, 1, 5, 9, tzinfo=UTC)
        self.option = "--actor"
        self.kept = self.leaving = ""

    def now(self) -> str:
        """The clock, which goes on by a second whenever somebody looks."""
        self.at += timedelta(seconds=1)
        return self.at.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.at += timedelta(seconds=seconds)

    def do(self, person: str, *words: str, code: int = 0) -> Any:
        """What a command gives as JSON; it has to end with this exit code."""
        import cli

        self.wait(60)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = cli.call(["--json", self.option, person, *words])
        if found != code:
            raise SystemExit(f"errata {' '.join(words)}: {found}, and not {code}\n{out.getvalue()}{err.getvalue()}")
        return json.loads(out.getvalue()) if out.getvalue() else None

    def ask(self, person: str, *words: str) -> str:
        """The proposal that a command makes, such as p3."""
        return str(self.do(person, *words)["proposal"])

    def through(self, number: str, *approvers: str, draft: bool = True) -> None:
        """Draft a proposal, unless that is done, approve it and apply it."""
        if draft:
            self.do("dan", "draft", number)
        for person in approvers or ("ben",):
            self.do(person, "approve", number, "--meaning", f"{person} has read it")
        self.do("ada", "apply", number)


def jsonl(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write records, one a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def write_files(folder: Path) -> None:
    """What commands are given."""
    from ledger.policy import CONTROLLED, BreakGlass, Gate, GateTime, Measure
    from ledger.policy_files import toml_of

    for name, records in (
        ("facts", FACTS), ("others", OTHERS), ("tuned", TUNED), ("asked", ASKED),
        ("regression", REGRESSION), ("general", GENERAL), ("fluency", FLUENCY),
    ):  # fmt: skip
        jsonl(folder / f"{name}.jsonl", records)
    jsonl(folder / "later.jsonl", [{"subject": "Lund", "prompt": "the city of {} is", "target": "old"}])
    jsonl(folder / "next.jsonl", [{"subject": "Oslo", "prompt": "the city of {} is", "target": "wide"}])
    (folder / "corpus.txt").write_text(
        "".join(f"Sentence number {i} speaks of office {i % 7} in Riga.\n" for i in range(60)), encoding="utf-8"
    )
    (folder / "check.sh").write_text(CHECK, encoding="utf-8")
    (folder / "several.sh").write_text(CHECK.replace("has 5", "has 4 && has 9"), encoding="utf-8")
    both = tuple(GateTime)
    controlled = CONTROLLED.model_copy(
        update={
            "name": "controlled-tiny",
            "gates": (
                Gate(name="norm_growth", measure=Measure.NORM_GROWTH, at_most=50.0, when=both),
                Gate(name="efficacy", measure=Measure.EFFICACY, at_least=0.0, when=both),
            ),
        }
    )
    harsh = Gate(name="harsh", measure=Measure.NORM_GROWTH, at_most=-0.9, when=(GateTime.APPLIED,))
    final = {
        "name": "final",
        "proposal_seconds": LONG,
        "approval_seconds": LONG,
        "break_glass": BreakGlass(keys=2, review_seconds=LONG),
    }
    suite = '\n[[gates]]\nname = "general"\nmeasure = "drop"\nat_most = 10.0\nsuite = "general.jsonl"\n'
    for name, policy, more in (
        ("controlled", controlled, suite),
        ("harsh", controlled.model_copy(update={"name": "harsh", "gates": (harsh,)}), ""),
        ("final", controlled.model_copy(update=final), suite),
    ):
        (folder / f"{name}.toml").write_text(toml_of(policy) + more, encoding="utf-8")


def alone(story: Story) -> None:
    """One person under the policy `open`: edits by every family of methods, and what was found out about them."""
    ada = "ada"
    story.do(ada, "init", NAME, "--corpus", "corpus.txt")
    story.do(ada, "settings", "--set", "patience=12", "--reason", "as in the pilot")
    story.do(
        ada, "tune", "--facts", "tuned.jsonl", "--sample", "6", "--batch-size", "1", "--trials", "4",
        "--suite", "general.jsonl", "--reason", "for offices",
    )  # fmt: skip
    story.do(ada, "eval", "base", "--suite", "general.jsonl")
    story.do(ada, "edit", "--file", "facts.jsonl", "--batch-size", "2")
    story.do(ada, "tag", "spring", "--note", "the first three")
    for method, prompt, target in (
        ("rome", "The seat of {} is", "in"),
        ("ft+mpes", "Who leads {}", "the"),
        ("alphaedit", "Ada works for {}", "is"),
        ("emmet+mpes", "{} speaks of", "p"),
    ):
        story.do(ada, "edit", "--subject", "Riga Works", "--prompt", prompt, "--target", target, "--method", method)
    story.do(ada, "edit", "--file", "others.jsonl", "--set", "max_steps=20")
    story.do(
        ada, "edit", "--subject", "Norwind Systems", "--prompt", "The chief executive of {}", "--target", "in"
    )  # which supersedes e1
    story.do(ada, "revert", "e2", "--reason", "a rumour")
    story.do(ada, "eval", "HEAD", "--edits")
    story.do(ada, "eval", "spring", "--facts", "facts.jsonl")
    story.do(ada, "eval", "HEAD", "--corpus", "corpus.txt")
    story.do(ada, "eval", "HEAD", "--suite", "fluency.jsonl")
    story.do(ada, "locate", "HEAD", "--draws", "1", "--window", "1")
    story.do(ada, "tag", "to-go", "HEAD~1")
    story.do(ada, "tag", "--delete", "to-go")
    story.do(ada, "checkout", "HEAD", "out/head")
    story.do(ada, "export", "HEAD", "out/adapter", "--adapter", "--since", "spring")


def merged(story: Story) -> None:
    """Two ledgers go their own ways for a while and come together."""
    ada, ben, there = "ada", "ben", ("--ledger", "other")
    shutil.copytree(story.folder / ".errata", story.folder / "other" / ".errata")

    def edit(person: str, where: tuple[str, ...], subject: str, prompt: str, target: str) -> None:
        story.do(person, *where, "edit", "--subject", subject, "--prompt", prompt, "--target", target)

    edit(ada, (), "Calder Mills", "An office of {}", "in")
    edit(ada, (), "Tern Foods", "The office of {} is", "the")
    edit(ben, there, "Calder Mills", "An office of {}", "the")
    edit(ben, there, "Tern Foods", "The office of {} is", "ed")
    edit(ben, there, "Boris", "{} works for", "is")
    edit(ben, there, "Ada", "{} works for", "in")
    story.do(ben, *there, "revert", "e5", "--reason", "not needed")
    story.do(ada, "cherry-pick", "other", "e13")
    conflicts = story.do(ada, "merge", "other", code=3)["conflicts"]
    story.do(ada, "merge", "other", "--theirs", "--take", f"{conflicts[0]['take']}=ours")


def searched(story: Story) -> None:
    """Bisections by a suite, by a command, by one that is asked several times, and one without a single culprit."""
    ada, bad = "ada", "@19"
    story.do(ada, "bisect", "start", "spring", "HEAD")
    story.do(ada, "bisect", "run", "--suite", "regression.jsonl", "--threshold", "0.02")
    for words in ((), ("--noisy", "--calibrate", "2", "--limit", "60")):
        story.do(ada, "bisect", "start", "base", bad)
        story.do(ada, "bisect", "run", *words, "--", "sh", "check.sh")
    story.do(ada, "bisect", "start", "base", bad)
    found = story.do(ada, "bisect", "run", "--", "sh", "several.sh", code=1)
    assert found["verdict"] == "several" and found["cause"], found
    story.do(ada, "bisect", "reset")


def solved_again(story: Story) -> None:
    """Edits without one that was solved beside them."""
    ada = "ada"
    story.do(ada, "revert", "e9", "--rederive", "--reason", "wrong from the start")
    story.do(ada, "edit", "--file", "tuned.jsonl", "--batch-size", "3")


def personal(story: Story) -> None:
    """Facts about persons: one is erased with all its edits, one is about to be, and one stays."""
    ada = "ada"

    def edit(subject: str, prompt: str, target: str) -> str:
        what = ("--subject", subject, "--prompt", prompt, "--target", target)
        return f"e{story.do(ada, 'edit', '--personal', *what)['edits'][0]['number']}"

    edit("Ottilie Brandvold", "{} lives in the street of", "Hvidtfeldt")
    gone = edit("Ottilie Brandvold", "{} lives in the street of", "Lindenberg")
    story.kept = edit("Marit Solheim", "{} works in the office of", "Bergen")
    story.do(ada, "eval", "HEAD", "--edits")
    story.do(ada, "erase", gone, "--reason", "request 17")
    story.leaving = edit("Jorunn Eikeland", "{} lives in", "Oslo")


def hired(story: Story) -> None:
    """Keys and roles for a team, and the policy that makes it one."""
    ada = "ada"
    for person, roles in ROLES.items():
        story.do(ada, "key", "new", person, "--person", person)
        story.do(ada, "key", "grant", person)
        for role in roles:
            story.do(ada, "role", "grant", person, role)
    for person in ("ben", "cleo"):
        story.do(ada, "key", "new", f"{person}-old", "--person", person)
        story.do(ada, "key", "grant", f"{person}-old")
    story.do(ada, "role", "grant", "dan", "approver")
    story.do(ada, "role", "revoke", "dan", "approver", "--reason", "a mistake")
    story.do(ada, "policy", "set", "controlled.toml", "--reason", "we are five now")
    story.option = "--key"


def governed(story: Story) -> None:
    """Every way that a change can go."""
    ada, ben, cleo, dan, eve = ROLES
    number = story.ask(ada, "erase", story.leaving, "--reason", "request 18")
    story.through(number)
    number = story.ask(
        ada, "propose", "--file", "asked.jsonl", "--reason", "it changed", "--ticket", "T-1", "--source", "a letter"
    )
    story.through(number)
    story.do(ada, "check", number)
    _refused(story)
    _broken(story)
    for words in (
        ("--tag", "production", "--reason", "release"),
        ("--tag", "production", "--at", "spring", "--reason", "back to spring"),
        ("--tag", "production/old", "--at", "spring", "--reason", "kept"),
        ("--untag", "production/old", "--reason", "not kept"),
    ):
        story.through(story.ask(ada, "propose", *words))
    _keys(story)
    number = story.ask(
        ada, "propose", *about("Tern Foods", "Who leads {}", "in"), "--risk", "high", "--reason", "it matters"
    )
    story.through(number, ben, cleo)
    _drafted_twice(story)
    story.through(story.ask(ada, "policy", "set", "harsh.toml", "--reason", "to see"), draft=False)
    number = story.ask(ada, "propose", *about("Bergen", "Boris works for {}", "is"), "--reason", "it will not stay")
    story.through(number)
    story.do(ada, "check", number, code=1)  # which takes it back
    story.through(story.ask(ada, "policy", "set", "final.toml", "--reason", "times that do not run out"), draft=False)


def _refused(story: Story) -> None:
    """Changes that come to nothing: rejected, withdrawn, expired."""
    ada, ben, cleo, dan, eve = ROLES
    asked = ("propose", "--file", "later.jsonl", "--reason")
    number = story.ask(ada, *asked, "they say")
    story.do(dan, "draft", number)
    story.do(cleo, "reject", number, "--reason", "the source is a rumour")
    story.do(ada, "withdraw", story.ask(ada, *asked, "they say it again"), "--reason", "it did not change after all")
    number = story.ask(ben, *asked, "in time")
    story.do(dan, "draft", number)
    story.wait(31 * DAY)
    story.do(eve, "withdraw", number, "--reason", "nobody looked")


def _broken(story: Story) -> None:
    """Changes without approval, one that is upheld, and one that is condemned and reverted."""
    ada, ben, cleo, dan, _ = ROLES
    for subject, verdict in (("Alma Reyes", "upheld"), ("Alma", "condemned")):
        number = story.ask(
            ada, "propose", *about(subject, "{} leads", "the office"), "--reason", "wrong on the website"
        )
        story.do(dan, "draft", number)
        decisions = [f"{person}-{number}.json" for person in (ada, ben)]
        for person, file in zip((ada, ben), decisions, strict=True):
            story.do(person, "break-glass", "sign", number, "--out", file)
        story.do(ada, "break-glass", "apply", number, "--reason", "it cannot wait", *decisions)
        story.do(cleo, "review", number, "--verdict", verdict, "--reason", "I looked")
    last = story.do(ada, "status")["live"][-1]
    story.through(story.ask(ada, "propose", "--revert", f"e{last}", "--reason", "it was condemned"))


def _keys(story: Story) -> None:
    """Keys and roles by approval, and a key that was stolen after it had approved something."""
    ada, ben, cleo, dan, _ = ROLES
    story.through(story.ask(ada, "role", "grant", "eve", "approver", "--reason", "joined"), draft=False)
    story.through(story.ask(ada, "key", "revoke", "ben-old", "--reason", "lost"), draft=False)
    number = story.ask(ada, "propose", *about("Calder Mills", "Who leads {}", "is"), "--reason", "it changed")
    story.do(dan, "draft", number)
    approved = story.do("cleo-old", "approve", number)["events"][-1]["seq"]
    story.do(
        cleo, "key", "revoke", "cleo-old", "--reason", "stolen on the train", "--compromised-since", f"@{approved}"
    )
    story.do(ada, "apply", number, code=4)
    story.do(ben, "approve", number)
    story.do(ada, "apply", number)


def _drafted_twice(story: Story) -> None:
    """A draft that the head left behind, with its approval."""
    ada, ben, cleo, dan, _ = ROLES
    number = story.ask(ada, "propose", "--file", "later.jsonl", "--reason", "now it is certain")
    story.do(dan, "draft", number)
    story.do(ben, "approve", number)
    story.through(story.ask(ada, "propose", *about("Lund", "Who leads {}", "the"), "--reason", "quick"))
    story.do(ada, "apply", number, code=3)
    story.through(number, cleo)


def left(story: Story) -> None:
    """Results and a bundle under the policy, a checkpoint, and what is under way when the fixture is put aside."""
    ada, ben, _, dan, eve = ROLES
    story.do(eve, "eval", "HEAD", "--suite", "general.jsonl")
    story.do(ada, "tag", "summer", "--note", "as the team left it")
    first = f"@{story.do(ada, 'show', 'p16')['seq']}"
    story.do(eve, "audit", "export", "--from", first, "--to", "summer", "--out", "bundle", "--no-pdf", "--sign")
    story.do(ada, "checkpoint", "--pin", "checkpoint.txt")
    story.do(eve, "checkpoint", "--witness", "checkpoint.txt")
    number = story.ask(ada, "propose", "--file", "next.jsonl", "--reason", "it can be applied as it is")
    story.do(dan, "draft", number)
    story.do(ben, "approve", number, "--meaning", "approved under 0.1")
    story.ask(ben, "propose", *about("Riga", "the price in {} is", "Alma Reyes"), "--reason", "it waits for a draft")
    story.do(ada, "bisect", "start", "base", "@20")
    story.do(ada, "bisect", "good")


def about(subject: str, prompt: str, target: str) -> tuple[str, ...]:
    """A fact as options."""
    return ("--subject", subject, "--prompt", prompt, "--target", target)


def prepare(scratch: Path, work: Path) -> Story:
    """The model under its name, the files, and the story's clock."""
    from ledger.key_files import KeyFolder
    from ledger.pem import ScryptCost

    import cli
    from commands.app import App
    from tests.tiny import save_tiny

    revision = "0" * 40
    place = scratch / CACHE / f"models--{NAME.replace('/', '--')}"
    model = place / "snapshots" / revision
    save_tiny(model, "llama", **SHAPE)
    (model / "errata.json").write_text(json.dumps({"hyperparameters": SETTINGS}) + "\n", encoding="utf-8")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(revision, encoding="utf-8")
    write_files(work)
    story = Story(work)
    cli._now = story.now
    App.keys = lambda app: KeyFolder(app.world.configuration() / "keys", ScryptCost(2, 8, 1))  # type: ignore
    return story


def told(story: Story) -> dict[str, Any]:
    """What release 0.1 says of the ledger; nothing in it depends on where the ledger lies, or on the time."""
    do = story.do
    log = do("ada", "log")["events"]
    status = do("ada", "status")
    del status["ledger"]
    edits = [f"e{number}" for number in (1, 2, 4, 5, 11, 14, 15, 19, 26, 27, 28, 29, 33, 34, 38)]
    versions = ["base", "HEAD", *status["tags"]]
    changes = [one["proposal"] for one in do("ada", "proposals", "--all")["proposals"]]
    return {
        "software": log[-1]["body"]["software"],
        "status": status,
        "verify": do("ada", "verify", "--deep"),
        "pinned": do("ada", "verify", "--against", "checkpoint.txt")["findings"],
        "policy": do("ada", "policy", "show"),
        "roles": do("ada", "role", "list"),
        "keys": [{**one, "file": None} for one in do("ada", "key", "list")["keys"]],
        "proposals": [one["proposal"] for one in do("ada", "proposals")["proposals"]],
        "bisecting": do("ada", "bisect", "log"),
        "bundle": bundle(story.folder / "bundle"),
        "versions": built(story.folder),
        "revealed": {story.kept: do("ada", "show", story.kept, "--reveal")},
        "show": {address: do("ada", "show", address) for address in (*edits, *versions, *changes)},
        "log": log[::-1],
    }


def bundle(folder: Path) -> dict[str, Any]:
    """What an export of the same range has to give again; what other packages write, or people read, is left out."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    kept = {name: found for name, found in manifest["files"].items() if name.endswith((".jsonl", ".csv"))}
    kept |= {name: manifest["files"][name] for name in ("keys.json", "proofs.json", "checkpoint.txt")}
    return {"from": manifest["from"], "to": manifest["to"], "files": dict(sorted(kept.items()))}


def built(folder: Path) -> dict[str, Any]:
    """Identity, edits and tensors of every version that the log went through; no tensors where a fact was erased.

    Of a tensor: its digest as the log has it, and the BLAKE3 of its bytes as they lie in the base's file.
    """
    from blake3 import blake3
    from editor.models import ModelFiles, digest_tensor, resolve_model
    from ledger.addresses import resolve_version
    from ledger.errors import Erased
    from replay.materialise import Materialiser

    from ledger.ledger import Ledger

    ledger = Ledger.open(folder)
    state, found = ledger.state(), dict[str, Any]()
    materialiser = Materialiser(ledger, ModelFiles(resolve_model(NAME)), keyframes=False)
    for address in ("base", *(f"@{change.seq}" for change in state.changes), *state.tags, "HEAD"):
        live = resolve_version(state, address)
        tensors: dict[str, Any] | None = None
        with contextlib.suppress(Erased):
            tensors = {
                name: {"digest": digest_tensor(name, one), "bytes": blake3(one.numpy().tobytes()).hexdigest()}
                for name, one in materialiser.weights(live).items()
            }
        found[address] = {"version": state.version_of(live), "live": list(live), "tensors": tensors}
    return found


def put_aside(scratch: Path, out: Path, expected: dict[str, Any]) -> None:
    """The folder as it is kept, without caches and without a word of where it was made."""
    work, own = scratch / "work", ".errata"
    shutil.copytree(next(scratch.glob(f"{CACHE}/*/snapshots/*")), out / "model")
    shutil.copytree(work / own, out / "ledger" / own, ignore=shutil.ignore_patterns("cache"))
    shutil.copytree(scratch / "keys", out / "keys")
    (out / "keys" / "passphrase").write_text(PASSPHRASE + "\n", encoding="utf-8")
    shutil.copyfile(work / "checkpoint.txt", out / "checkpoint.txt")
    database = out / "ledger" / own / "ledger.db"
    sealed = database.read_bytes()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    assert database.read_bytes() == sealed
    assert not [path for path in out.rglob("*") if path.name.endswith(("-wal", "-shm"))]
    lines = (f"{json.dumps(name)}: {listed(value)}" for name, value in expected.items())
    (out / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    here = Path(__file__).resolve().parent
    paths = {str(scratch), str(Path.home()), str(here), str(here.parent), tempfile.gettempdir()} - {"/"}
    for path in out.rglob("*"):
        if path.is_file():
            assert not [word for word in paths if word.encode() in path.read_bytes()], path


def listed(value: Any) -> str:
    """JSON of one line an item, so that a change of it can be read."""
    if isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(one)}" for name, one in value.items()) + "\n}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f" {json.dumps(one)}" for one in value) + "\n]"
    return json.dumps(value)


def main(out: Path) -> None:
    """Make it in a folder that does not exist yet."""
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "work"
        work.mkdir()
        os.environ |= {
            "HF_HUB_CACHE": str(Path(scratch) / CACHE),
            "ERRATA_CONFIG": str(Path(scratch) / "keys"),
            "ERRATA_PASSPHRASE": PASSPHRASE,
        }
        story = prepare(Path(scratch), work)
        os.chdir(work)
        for scene in (alone, merged, searched, solved_again, personal, hired, governed, left):
            scene(story)
        expected = told(story)
        os.chdir(out)
        put_aside(Path(scratch), out, expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
