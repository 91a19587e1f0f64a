"""Long work that could not be recorded is refused before it begins; what is recorded is signed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from errata.commands.app import App
from errata.ledger.secrets.key_files import KeyFolder
from errata.ledger.secrets.pem import ScryptCost
from errata.replay.workflow import workspace as workflow
from tests.support import ledgers as helpers
from tests.support.command_line import Errata, options, snapshot
from tests.support.ledgers import write
from tests.support.people import ROLES


@pytest.fixture
def team(errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch) -> Errata:
    """The tiny model's ledger under `controlled`, with four people, and beside it another with an edit more."""
    monkeypatch.setenv("ERRATA_CONFIG", str(here / "configuration"))
    monkeypatch.setenv("ERRATA_PASSPHRASE", "correct horse")
    monkeypatch.delenv("ERRATA_KEY", raising=False)
    cheap = ScryptCost(2, 8, 1)
    monkeypatch.setattr(App, "keys", lambda app: KeyFolder(app.world.configuration() / "keys", cheap))
    shutil.copytree(here / ".errata", here / "other")
    write(here / "other", helpers.fact(10), seed=5)
    for person, roles in ROLES.items():
        assert errata("key", "new", person, "--person", person).code == 0
        assert errata("key", "grant", person).code == 0
        assert all(errata("role", "grant", person, role).code == 0 for role in roles)
    assert errata("policy", "set", "controlled", "--reason", "several of us").code == 0
    return errata


@pytest.mark.parametrize(
    ("who", "arguments", "words"),
    [
        ("ada", options(), "lets nobody edit directly"),
        ("ada", ["revert", "e1", "--rederive"], "lets nobody revert directly"),
        ("ada", ["merge", "other"], "lets nobody bring edits over from another ledger directly"),
        ("ada", ["cherry-pick", "other", "e4"], "lets nobody bring edits over"),
        ("ada", ["revert", "e1"], "lets nobody revert directly"),
        ("ben", ["tune", "--facts", "facts.jsonl"], "ben (approver) may not settings"),
        ("eve", ["eval", "base", "--suite", "suite.jsonl"], "eve has no key"),
        ("eve", ["locate", "base", "--facts", "facts.jsonl"], "eve has no key"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_what_could_not_be_recorded_is_refused_before_the_model_is_loaded(
    team: Errata, here: Path, monkeypatch: pytest.MonkeyPatch, who: str, arguments: list[str], words: str
) -> None:
    def loaded(*_: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(workflow, "load_model", loaded)
    before = snapshot(here)
    done = team("--actor", who, *arguments)
    assert done.code in (2, 4) and words in done.err, done.err
    assert snapshot(here) == before


def test_a_command_that_bisects_does_not_get_the_passphrase(team: Errata, here: Path) -> None:
    seen = here / "seen"
    assert team("bisect", "start", "base", "HEAD").code == 0
    team("bisect", "run", "--", "sh", "-c", f"env >> {seen}; exit 128")
    assert "ERRATA_MODEL=" in seen.read_text() and "correct horse" not in seen.read_text()


def test_what_needs_no_record_needs_no_key(team: Errata, here: Path) -> None:
    (here / "configuration" / "keys").chmod(0o755)  # nothing in it can be used
    assert team(*options(), "--dry-run").code == 0
    assert team("revert", "e1", "--dry-run").code == 0
    assert team("revert", "e1", "--rederive", "--dry-run").code == 0
    assert team("merge", "other", "--dry-run").code == 0
    assert team("cherry-pick", "other", "e4", "--dry-run").code == 0


def test_what_the_workspace_records_is_signed_by_whoever_acts(team: Errata) -> None:
    done = team("--actor", "ben", "eval", "base", "--suite", "suite.jsonl")
    assert done.code == 0, done.err
    newest = team("log", "-n", "1", "--json").json["events"][0]
    key = team("key", "show", "ben", "--json").json
    assert newest["kind"] == "evaluation_recorded" and newest["signature"].startswith(key["key"])
    assert key["signed"] == [newest["seq"]]
    assert team("--actor", "eve", "eval", "base", "--suite", "suite.jsonl").code == 0  # it is on record already
    assert team("verify").code == 0
