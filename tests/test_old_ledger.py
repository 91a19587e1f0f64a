"""A ledger that release 0.1 wrote opens, is verified deeply, says what it said, and goes on.

It lies in `tests/data/ledger-0.1`, whose `make.py` tells how it was made; nearly everything that can happen to a ledger
has happened in it. `expected.json` beside it holds what that release said of it, and digests of the bytes of the edited
tensors of every version, which are compared with bytes: no digest of ours is trusted there.
"""

from __future__ import annotations

import json
import math
import shutil
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from safetensors import safe_open

from errata import cli
from errata.editor.model.loading import ModelFiles, digest_tensor
from errata.ledger.base.errors import Erased
from errata.ledger.kinds import clocks
from errata.ledger.kinds.table import KINDS
from errata.ledger.ledger import Ledger
from errata.ledger.rules.addresses import resolve_version
from errata.replay.versions.materialise import Materialiser

FIXTURE = Path(__file__).parent / "data" / "ledger-0.1"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text("utf-8"))
VERSIONS: dict[str, Any] = EXPECTED["versions"]
WORDS = frozenset({"missing", "next"})
"""What is told in words, which may be chosen anew."""


@dataclass(frozen=True)
class Old:
    """A copy of the fixture, and the command run in its folder."""

    folder: Path
    capfd: pytest.CaptureFixture[str]

    def call(self, *words: str, code: int = 0) -> Any:
        """What a command gives as JSON; it has to end with this exit code."""
        self.capfd.readouterr()
        found = cli.call(["--json", *words])
        captured = self.capfd.readouterr()
        assert found == code, captured.err
        return json.loads(captured.out)

    def by(self, person: str, *words: str, code: int = 0) -> Any:
        """The same, signed with a key of the fixture."""
        return self.call("--key", person, *words, code=code)

    def ledger(self) -> Ledger:
        return Ledger.open(self.folder / "ledger")

    def materialiser(self) -> Materialiser:
        return Materialiser(self.ledger(), ModelFiles(self.folder / "model"), keyframes=False)

    def apply(self, proposal: str) -> None:
        """Let dan draft a proposal, cleo approve it and ada apply it."""
        self.by("dan", "draft", proposal, "--keep-failed")
        self.by("cleo", "approve", proposal)
        self.by("ada", "apply", proposal)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Old:
    folder = tmp_path / "copy"
    monkeypatch.setattr(clocks, "LEAP_SECONDS", math.inf)  # nobody has written to it for long
    shutil.copytree(FIXTURE, folder)
    secret = folder / "keys" / "keys"
    secret.chmod(0o700)
    for path in (*secret.glob("*.pem"), *(folder / "ledger" / ".errata" / "vault").iterdir()):
        path.chmod(0o600)  # a checkout knows nothing of who may read
    monkeypatch.chdir(folder / "ledger")
    monkeypatch.setenv("ERRATA_BASE", str(folder / "model"))
    monkeypatch.setenv("ERRATA_CONFIG", str(folder / "keys"))
    monkeypatch.setenv("ERRATA_PASSPHRASE", (folder / "keys" / "passphrase").read_text().strip())
    for name in ("ERRATA_ACTOR", "ERRATA_DIR", "ERRATA_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Old(folder, capfd)


def without(found: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in names}


def of_bytes(raw: bytes) -> str:
    return blake3(raw).hexdigest()


def buildable() -> dict[str, dict[str, Any]]:
    return {address: one["tensors"] for address, one in VERSIONS.items() if one["tensors"] is not None}


def test_it_is_sound_to_the_last_bit_and_goes_on_from_its_checkpoint(old: Old) -> None:
    assert old.call("verify", "--deep") == EXPECTED["verify"]
    assert EXPECTED["verify"]["findings"] == []
    pinned = old.call("verify", "--against", str(old.folder / "checkpoint.txt"))
    assert [(one["severity"], one["sort"]) for one in pinned["findings"]] == [("note", "pinned")]


def test_every_kind_of_event_that_release_0_1_knew_is_in_it() -> None:
    kinds = {event["kind"] for event in EXPECTED["log"]}
    assert len(kinds) == 27 and kinds <= set(KINDS)


def test_the_log_says_what_it_said(old: Old) -> None:
    found = old.call("log")["events"][::-1]
    for event, expected in zip(found, EXPECTED["log"], strict=True):
        assert event == expected


def test_the_state_is_what_it_was(old: Old) -> None:
    assert without(old.call("status"), ["ledger"]) == EXPECTED["status"]
    policy, expected = old.call("policy", "show"), EXPECTED["policy"]
    assert tomllib.loads(policy.pop("toml")) == tomllib.loads(expected["toml"])
    assert policy == without(expected, ["toml"])
    assert old.call("role", "list") == EXPECTED["roles"]
    assert [{**one, "file": None} for one in old.call("key", "list")["keys"]] == EXPECTED["keys"]
    assert [one["proposal"] for one in old.call("proposals")["proposals"]] == EXPECTED["proposals"]


def test_edits_versions_and_changes_are_shown_as_they_were(old: Old) -> None:
    found = {address: without(old.call("show", address), WORDS) for address in EXPECTED["show"]}
    for address, expected in EXPECTED["show"].items():
        assert found[address] == without(expected, WORDS), address


def test_every_version_has_its_identity_and_every_tensor_its_bits(old: Old) -> None:
    state, materialiser, built = old.ledger().state(), old.materialiser(), buildable()
    for address, expected in VERSIONS.items():
        live = resolve_version(state, address)
        assert (state.version_of(live), list(live)) == (expected["version"], expected["live"]), address
        if address not in built:
            with pytest.raises(Erased):
                materialiser.weights(live)
            continue
        for weights in (materialiser.weights(live).items(), materialiser.stream(live)):
            found = {
                name: {"digest": digest_tensor(name, one), "bytes": of_bytes(one.contiguous().numpy().tobytes())}
                for name, one in weights
            }
            assert found == built[address], address
    assert len(built) > 40 and len(VERSIONS) > len(built)


def test_a_checkout_holds_those_bits_and_one_with_an_erased_fact_is_refused(old: Old) -> None:
    for address in ("HEAD", "spring"):
        made = old.by("eve", "checkout", address, address)
        assert made["version"] == VERSIONS[address]["version"]
        with safe_open(f"{address}/model.safetensors", framework="numpy") as file:
            found = {name: of_bytes(file.get_tensor(name).tobytes()) for name in VERSIONS[address]["tensors"]}
        assert found == {name: one["bytes"] for name, one in VERSIONS[address]["tensors"].items()}
    (gone, *_) = VERSIONS.keys() - buildable().keys()
    assert old.by("eve", "checkout", gone, "gone", code=5)["error"]["type"] == Erased.__name__


def test_a_personal_fact_is_read_with_its_key_and_can_be_erased(old: Old) -> None:
    ((edit, expected),) = EXPECTED["revealed"].items()
    assert expected["fact"]["personal"] and old.call("show", edit, "--reveal") == expected
    old.apply(old.by("ada", "erase", edit, "--reason", "request 19")["proposal"])
    assert old.call("show", edit)["erased_by"] == old.call("status")["head"]["seq"]
    assert not list((old.folder / "ledger" / ".errata" / "vault").iterdir())
    assert old.call("verify", "--deep")["sound"] is True


def test_after_so_long_a_time_somebody_looks_at_the_clock_first(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "LEAP_SECONDS", 180 * 86_400.0)
    ((edit, _),) = EXPECTED["revealed"].items()
    old.by("ada", "erase", edit, "--reason", "request 19", code=4)
    assert old.by("cleo", "clock", "--set", "--reason", "a quiet year")["ahead"] is None
    assert old.by("ada", "erase", edit, "--reason", "request 19")["proposal"]


def test_an_export_of_the_same_range_gives_the_same_bytes(old: Old) -> None:
    bundle = EXPECTED["bundle"]
    where = ("--from", f"@{bundle['from']}", "--to", f"@{bundle['to']}", "--out", "bundle", "--no-pdf", "--sign")
    old.by("eve", "audit", "export", *where)
    written = {name: Path("bundle", name).read_bytes() for name in bundle["files"]}
    assert {name: of_bytes(data) for name, data in written.items()} == {
        name: expected["blake3"] for name, expected in bundle["files"].items()
    }
    assert old.call("audit", "verify", "bundle")["sound"] is True


def test_a_bisection_that_was_under_way_finds_its_edit(old: Old) -> None:
    def commands(log: list[str]) -> list[str]:
        return [line for line in log if not line.startswith("#")]

    assert commands(old.call("bisect", "log")["log"]) == commands(EXPECTED["bisecting"]["log"])
    asked = old.by("ada", "bisect", "bad")
    while "under_test" in asked:
        asked = old.by("ada", "bisect", "bad" if 5 in asked["live"] else "good")
    assert (asked["verdict"], asked["culprit"]) == ("culprit", 5)
    assert old.call("log", "-n", "1")["events"][0]["kind"] == "bisection_concluded"


def test_changes_that_were_under_way_and_new_ones_are_made(old: Old) -> None:
    waiting, asked = EXPECTED["proposals"]
    old.by("ada", "apply", waiting)  # drafted, measured and approved by release 0.1
    result = EXPECTED["show"][waiting]["drafts"][-1]["result"]
    assert old.call("status")["version"] == result
    assert old.by("ada", "check", waiting)["passed"] is True
    old.by("ada", "tag", "autumn")
    old.apply(asked)
    written = old.call("status")
    assert written["edits"] == EXPECTED["status"]["edits"] + 2 and written["version"] != result
    fact = ("--subject", "Ostravia", "--prompt", "The capital of {} is", "--target", "Alma Reyes")
    old.apply(old.by("ben", "propose", *fact, "--reason", "it moved")["proposal"])
    newest = old.call("status")["live"][-2:]
    assert newest == [written["edits"], written["edits"] + 1]
    back = [word for number in newest for word in ("--revert", f"e{number}")]
    old.apply(old.by("ada", "propose", *back, "--reason", "back to what 0.1 had drafted")["proposal"])
    assert old.call("status")["version"] == result
    old.by("ada", "tag", "winter")
    shown = [one["weights"] for one in old.call("tag", "--list")["tags"] if one["tag"] in ("autumn", "winter")]
    assert len(shown) == 2 and shown[0] == shown[1]
    assert old.call("verify", "--deep")["findings"] == []
    assert old.call("proposals")["proposals"] == []
    assert old.call("verify", "--against", str(old.folder / "checkpoint.txt"))["sound"] is True
