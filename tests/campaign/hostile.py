"""Text that a terminal, a page or a table would obey, through every output: it comes out as text."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

from tests.campaign.child import Ran, run
from tests.campaign.scene import ledger_of_edits
from tests.campaign.trials import Trial

PIECES = (
    "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\r", "\n@99 edit applied", "\x00", "\x9b31m", "\x85", "\u2028", "\u2029",
    "\u202e", "\u2066", "\u200b", "\ufeff", "\u061c", "\x7f", "\t", "<script>alert(1)</script>", "</pre><b>", "&lt;",
    '"', "'", "=1+1", "@SUM(A1)", "+1", "-1", "|", "`", "$(id)", "{}", "{{7*7}}", "%s", "\\", "\ud7ff", "\U000e0041",
    "sound: nothing is wrong", "[link](javascript:alert(1))", "![x](http://x/y)", "---\nlicense: mit",
)  # fmt: skip
READING = (
    ("log",), ("log", "--oneline"), ("show", "e1"), ("show", "e2"), ("status",), ("tag", "--list"), ("verify",),
    ("diff", "base", "HEAD", "--no-norms"), ("proposals",), ("report", "cost"), ("settings",), ("policy", "show"),
    ("key", "list"), ("revert", "e2", "--dry-run"), ("why", "Norwind Systems"), ("gc", "--dry-run"),
)  # fmt: skip
"""Commands that show what was recorded."""
_OBEYED = re.compile(r"<script|</pre><b>|=1\+1(?=[\",\n])", re.IGNORECASE)


def text(trial: Trial) -> str:
    """Some hostile text, with words in it."""
    draw = trial.draw
    words = ["Norwind", "Riga", "Alma Reyes", "12"]
    return "".join(draw.choice(PIECES if draw.random() < 0.6 else words) for _ in range(draw.randint(1, 6))) or "x"


def obeyed(shown: str, structure: str = "\n") -> list[str]:
    """Characters in an output that something would obey, beside those that structure it."""
    hidden = {"Cc", "Cf", "Zl", "Zp", "Cs"}
    return sorted({f"U+{ord(c):04X}" for c in shown if unicodedata.category(c) in hidden and c not in structure})


def outputs(trial: Trial) -> None:
    """Hostile facts, reasons, tags' notes, tickets and names, written and then shown by every command that shows."""
    folder, draw = trial.folder / "work", trial.draw
    ledger_of_edits(folder)
    scratch = trial.folder / "out"

    def do(*arguments: str) -> Ran:
        ran = run(folder, arguments, scratch=scratch)
        trial.tried["hostile: commands"] += 1
        trial.faults += ran.complaints()
        structure = "\n" if ran.code or "--json" not in arguments else "\n\t"
        for name, shown in (("stdout", ran.out), ("stderr", ran.err)):
            trial.see(not (bad := obeyed(shown, structure)), f"{bad} on {name}: {ran.told}")
        if "--json" in arguments and ran.out:
            try:
                json.loads(ran.out)
            except ValueError:
                trial.faults.append(f"no JSON: {ran.told}")
        return ran

    subject, other = text(trial), text(trial)
    facts = [{"subject": subject, "prompt": f"{text(trial)[:5]} {{}}", "target": text(trial), "id": other}]
    suite = [{"suite": "general", "metric": "exact_match"}, {"prompt": text(trial), "target": text(trial)}]
    (folder / "suite.jsonl").write_text("".join(json.dumps(one) + "\n" for one in suite), encoding="utf-8")
    (folder / "facts.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in facts), encoding="utf-8")
    do("edit", "--file", "facts.jsonl", "--keep-failed")
    do("revert", "e1", "--reason", text(trial).replace("\x00", ""))
    do("tag", "t1", "HEAD", "--note", text(trial).replace("\x00", ""))
    do("propose", "--file", "facts.jsonl", "--reason", text(trial).replace("\x00", "") or "x")
    do(draw.choice(("show", "checkout", "tag", "revert")), text(trial).replace("\x00", ""))
    for command in READING:
        do(*command)
        do(*command, "--json")
    do("checkout", "HEAD", "edited")
    do("audit", "export", "--out", "bundle")
    do("export", "HEAD", "adapter", "--adapter")
    do("bisect", "start", "base", "HEAD")
    do("bisect", "run", "--suite", "suite.jsonl", "--threshold", "0.5")
    do("bisect", "report", "--html", "report.html")
    do("timeline", "--suite", "suite.jsonl", "--chart", "timeline.svg")
    for path in sorted(trial.folder.rglob("*")):
        if path.suffix in (".html", ".svg", ".md", ".csv", ".txt") and path.is_file() and path != folder / "corpus.txt":
            _see_file(trial, path)


def _see_file(trial: Trial, path: Path) -> None:
    written = path.read_bytes().decode("utf-8")
    trial.tried[f"hostile: {path.suffix} files"] += 1
    structure = "\n\r\t" if path.suffix == ".csv" else "\n\t"
    trial.see(not (bad := obeyed(written, structure)), f"{bad} in {path.name}")
    if path.suffix == ".html":
        trial.see(not _OBEYED.search(written.partition("<body")[2]), f"markup of a fact in {path.name}")
