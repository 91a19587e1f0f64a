"""The command run in process: what it gives back, what it is given, and what it may touch or load."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from errata.commands.app import App
from errata.ledger.secrets.key_files import KeyFolder
from errata.ledger.secrets.pem import ScryptCost
from tests.support import editing


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Errata = Callable[..., Done]


SETTINGS = tuple(f"{name}={value:g}" for name, value in editing.SETTINGS.items() if name != "layers")
FACTS: list[dict[str, Any]] = [fact.model_dump(mode="json", exclude_defaults=True) for fact in editing.FACTS]


def init_arguments(model: Path, corpus: Path, *settings: str) -> list[str]:
    pairs = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    return ["init", str(model), "--corpus", str(corpus), "--layers", "1", *pairs]


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


GOOD = {"subject": "Tern Foods", "prompt": "In Riga is {}", "target": "the"}


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a ledger but its lock and cache."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock" and "cache" not in path.parts
    }


def options(**changes: str) -> list[str]:
    fact = {**GOOD, **changes}
    return ["edit", *(word for name, value in fact.items() for word in (f"--{name}", value))]


ROOT = Path(__file__).parents[2]


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


SECRET = "correct horse battery"


CHEAP = ScryptCost(2, 8, 1)


def settle(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Keys lie in `folder`, and passphrases cost little."""
    monkeypatch.setenv("ERRATA_CONFIG", str(folder / "configuration"))
    monkeypatch.setenv("ERRATA_PASSPHRASE", SECRET)
    monkeypatch.setenv("ERRATA_ACTOR", "ada")
    monkeypatch.delenv("ERRATA_KEY", raising=False)
    monkeypatch.setattr(App, "keys", lambda app: KeyFolder(app.world.configuration() / "keys", CHEAP))
