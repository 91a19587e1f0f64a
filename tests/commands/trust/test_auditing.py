"""`errata audit`: a bundle is written whole and recorded, or not at all, and is checked without a ledger."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from errata.ledger.audit.alone.program import program as whole
from errata.ledger.witness.notes import VerifierKey, parse_checkpoint
from errata.replay.export import whole_folder
from tests.support.command_line import Errata, settle


def test_a_bundle_is_written_recorded_and_sound(errata: Errata, here: Path, tmp_path: Path) -> None:
    assert errata("tag", "first", "HEAD").code == 0
    made = errata("audit", "export", "--no-pdf", "--out", "out/bundle", "--json")
    assert made.code == 0, made.err
    told = made.json
    assert (told["from"], told["edits"]) == (1, 3)
    newest = errata("log", "-n", "1", "--json").json["events"][0]
    assert newest["kind"] == "audit_exported" and newest["seq"] == told["recorded"] == told["to"] + 1
    assert newest["body"]["manifest"] == told["manifest"][0]
    assert "exported for audit" in errata("log", "-n", "1", "--oneline").out
    for digest in told["manifest"]:
        done = errata("audit", "verify", "out/bundle", "--manifest-digest", digest)
        assert done.code == 0 and "sound: nothing is wrong" in done.out, done.out
    assert errata("verify").code == 0

    again = errata("audit", "export", "--no-pdf", "--to", f"@{told['to']}", "--out", "again")
    assert again.code == 0, again.err
    names = sorted(path.name for path in Path("again").iterdir())
    assert names == sorted(path.name for path in Path("out/bundle").iterdir())
    assert all(Path("again", name).read_bytes() == Path("out/bundle", name).read_bytes() for name in names)

    assert {"report.html", "statements.jsonl", "bom.cdx.json"} < set(names)
    part = errata("audit", "export", "--no-pdf", "--from", "e3", "--to", "first", "--out", "part", "--json").json
    assert part["edits"] == 1 and part["events"] < told["events"]
    assert errata("audit", "verify", "part", "--json").json["sound"]


def test_the_report_says_what_verification_found(errata: Errata, here: Path) -> None:
    assert errata("audit", "export", "--no-pdf", "--out", "sound").code == 0
    assert "verified when this report was made, and nothing was found" in Path("sound/report.html").read_text("utf-8")
    event = next(one for one in errata("log", "--json").json["events"] if one["kind"] == "edit_applied")
    blob = event["body"]["blob"].removeprefix("blake3:")
    (path,) = (one for one in Path(".errata/objects").rglob("*") if one.is_file() and blob in str(one).replace("/", ""))
    path.unlink()
    made = errata("audit", "export", "--no-pdf", "--to", "@4", "--out", "damaged")
    assert made.code == 0, made.err
    page = Path("damaged/report.html").read_text("utf-8")
    assert 'class="alarms"' in page and blob[:12] in page and "nothing was found" not in page


def test_a_bundle_is_checked_without_the_ledger_by_its_own_program(errata: Errata, here: Path, tmp_path: Path) -> None:
    assert errata("audit", "export", "--no-pdf", "--out", "bundle").code == 0
    kept = Path("bundle/checkpoint.txt").read_bytes()
    alone = tmp_path / "elsewhere"
    shutil.move("bundle", alone / "bundle")
    shutil.rmtree(tmp_path / ".errata")
    (alone / "kept").write_bytes(kept)
    run = [sys.executable, "-I", "bundle/verify_bundle.py", "bundle", "--checkpoint", "kept"]
    done = subprocess.run(run, cwd=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "sound: nothing is wrong" in done.stdout, done.stdout + done.stderr
    assert errata("audit", "verify", str(alone / "bundle"), "--checkpoint", str(alone / "kept")).code == 0

    with (alone / "bundle" / "README.txt").open("a") as page:
        page.write("one more line\n")
    done = subprocess.run([*run, "--json"], cwd=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["findings"][0]["where"] == "README.txt"
    wrong = errata("audit", "verify", str(alone / "bundle"))
    assert wrong.code == 1 and "not sound: 1 finding" in wrong.out


def test_the_program_loads_nothing_of_errata_nor_any_model(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_bytes(whole())
    script = (
        "import runpy, sys\nsys.argv = ['x', '.']\n"
        f"try: runpy.run_path({str(program)!r}, run_name='__main__')\nexcept SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert not {"ledger", "torch", "pydantic", "numpy", "rfc8785"} & set(done.stderr.split())
    assert done.stdout == "" and "manifest.json is missing" in done.stderr


def test_the_bundles_program_is_held_against_the_one_that_ran(errata: Errata, here: Path) -> None:
    assert errata("audit", "export", "--no-pdf", "--out", "bundle").code == 0
    program = Path("bundle/verify_bundle.py")
    program.write_bytes(program.read_bytes() + b"# all is well\n")
    done = errata("audit", "verify", "bundle", "--json")
    assert done.code == 1 and not done.json["same_program"]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("export", "--out", "there"), 2, "there exists"),
        (("export", "--out", "new", "--from", "@3"), 2, "inside a batch"),
        (("export", "--out", "new", "--from", "@40"), 2, "there is no range"),
        (("export", "--out", "new", "--to", "nonsense"), 2, "no event 'nonsense'"),
        (("export",), 2, "--out"),
        (("verify", "nowhere"), 5, "nowhere: no such folder"),
        (("verify", "there", "--checkpoint", "nowhere"), 2, "nowhere is not a file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    errata: Errata, here: Path, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    Path("there").mkdir()
    before = errata("log", "--json").json
    done = errata("audit", *arguments)
    assert done.code == code and complaint in done.err and done.err.count("\n") == 1, done.err
    assert not Path("new").exists()
    assert errata("log", "--json").json == before


def test_without_pyarrow_nothing_is_written(errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = errata("audit", "export", "--no-pdf", "--out", "bundle")
    assert done.code == 2 and "pip install 'errata-lm[audit]'" in done.err and not Path("bundle").exists()


def test_an_export_that_is_not_recorded_leaves_no_folder(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from errata.ledger.base.errors import Refused
    from errata.ledger.ledger import Ledger

    def refuse(*_: object, **__: object) -> None:
        raise Refused("somebody says no")

    monkeypatch.setattr(Ledger, "execute", refuse)
    done = errata("audit", "export", "--no-pdf", "--out", "below/bundle")
    assert done.code == 4 and "somebody says no" in done.err
    assert not Path("below").exists()


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_bundle_that_cannot_be_written_is_not_on_record(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = errata("log", "--json").json["events"]

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        if call == "fsync":
            patch.setattr(whole_folder, "flush_file", fail)
        else:
            patch.setattr(Path, "rename", fail)
        done = errata("audit", "export", "--core", "--out", "bundle")
    assert done.code == 5 and done.err.count("\n") == 1
    assert not Path("bundle").exists() and errata("log", "--json").json["events"] == before
    assert errata("audit", "export", "--core", "--out", "bundle").code == 0


def test_the_exporters_key_signs_the_manifest_the_checkpoint_and_the_statements(
    errata: Errata, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, tmp_path)
    unknown = errata("audit", "export", "--no-pdf", "--out", "bundle", "--sign")
    assert unknown.code == 2 and "ada has no key" in unknown.err and not Path("bundle").exists()
    key = errata("key", "new", "laptop", "--json").json["key"]
    assert errata("key", "grant", "laptop").code == 0
    made = errata("audit", "export", "--no-pdf", "--out", "bundle", "--sign")
    assert made.code == 0 and f"signed   by {key}" in made.out, made.err
    names = {path.name for path in Path("bundle").iterdir()}
    assert {"manifest.sig", "attestations.intoto.jsonl"} < names
    told = errata("audit", "verify", "bundle", "--json").json
    assert told["sound"] and told["signer"] == key
    kept = parse_checkpoint(Path("bundle/checkpoint.txt").read_bytes())
    assert [one.name for one in kept.signatures] == ["ada"]
    assert kept.vouchers([VerifierKey("ada", key)]) == ([VerifierKey("ada", key)], [])


def test_who_may_not_record_exports_nothing(
    errata: Errata, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch, tmp_path)
    for person, role in (("ada", "author"), ("ben", "approver"), ("cleo", "approver"), ("dan", "operator")):
        assert errata("key", "new", person, "--person", person).code == 0
        assert errata("key", "grant", person).code == 0
        assert errata("role", "grant", person, role).code == 0
    assert errata("policy", "set", "controlled", "--reason", "we are four now").code == 0
    done = errata("--actor", "eve", "audit", "export", "--no-pdf", "--out", "bundle")
    assert done.code in (2, 4) and "eve" in done.err and not Path("bundle").exists()
    assert errata("audit", "export", "--no-pdf", "--out", "bundle").code == 0
    assert errata("log", "-n", "1", "--json").json["events"][0]["signature"] is not None
    assert errata("audit", "verify", "bundle", "--json").json["sound"]
