"""`verify_bundle.py` on a machine with nothing but Python, and with bundles that are none."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.audit.alone.encoding import ed25519_holds, parse
from errata.ledger.audit.alone.plain_hashes import L, P, plain_blake3, plain_ed25519
from errata.ledger.audit.alone.program import program
from errata.ledger.base.canonical import canonical_bytes as canonical
from tests.support.bundles import Bundle, bundle_of, governed
from tests.support.people import key_of


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundle_of(governed(), signer=key_of("ada"))


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    for name, data in bundle.files.items():
        (tmp_path / "bundle" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bundle" / name).write_bytes(data)
    return tmp_path / "bundle"


def bare(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """The program, run without any package."""
    environment = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "latin-1"}
    return subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "verify_bundle.py"), str(folder), *words],
        capture_output=True, env=environment, timeout=120, check=False,
    )  # fmt: skip


def test_the_program_imports_nothing_but_python_and_is_the_bundles(folder: Path) -> None:
    assert (folder / "verify_bundle.py").read_bytes() == program()
    names = {
        alias.name if isinstance(node, ast.Import) else node.module or ""
        for node in ast.walk(ast.parse(program()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    others = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert others == {"blake3", "cryptography", "pyarrow"}  # each asked for where it is used


def test_python_alone_finds_a_bundle_sound_and_a_changed_one_not(folder: Path) -> None:
    done = bare(folder)
    assert done.returncode == 0 and done.stdout.endswith(b"sound: nothing is wrong\n"), done.stdout + done.stderr
    (folder / "manifest.sig").write_bytes((folder / "manifest.sig").read_bytes()[::-1])
    done = bare(folder)
    assert done.returncode == 1 and b"manifest.sig" in done.stdout


@pytest.mark.parametrize("size", [0, 1, 64, 65, 1023, 1024, 1025, 2048, 2049, 3073, 5 * 1024, 7 * 1024 + 1, 16 * 1024])
def test_hashes_are_those_of_the_package_at_every_shape_of_the_tree(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    assert plain_blake3(data) == blake3(data).digest()


@given(st.binary(max_size=5000))
def test_hashes_of_any_bytes_are_those_of_the_package(data: bytes) -> None:
    assert plain_blake3(data) == blake3(data).digest()


@given(st.binary(max_size=40), st.integers(0, 2**32), st.integers(0, 511))
def test_signatures_hold_as_the_package_says(message: bytes, seed: int, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(str(seed).encode()).digest())
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert plain_ed25519(public, message, signature)
    other = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
    assert not plain_ed25519(public, message, other) and not ed25519_holds(public, message, other)
    more = signature[:32] + (int.from_bytes(signature[32:], "little") + L).to_bytes(32, "little")
    assert not plain_ed25519(public, message, more) and not ed25519_holds(public, message, more)


@pytest.mark.parametrize("y", [0, 1, 2, P - 1, P, P + 1, 2**255 - 1])
@pytest.mark.parametrize("odd", [0, 1])
def test_points_that_are_none_or_of_small_order_are_judged_as_by_the_package(y: int, odd: int) -> None:
    key = (y | odd << 255).to_bytes(32, "little")
    for signature in (key + bytes(32), bytes(64), b"\1" + bytes(63)):
        for message in (b"", b"a", b"b"):
            assert plain_ed25519(key, message, signature) == ed25519_holds(key, message, signature)


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[1]", b"5", b"null", b'{"files":5}', b"\xff", b"{" * 100_000, b'"\x1b[2J"', b'{"format":"\\u001b[2J"}'],
)
def test_what_is_no_manifest_is_told_in_one_line(folder: Path, manifest: bytes) -> None:
    (folder / "manifest.json").write_bytes(manifest)
    for done in (bare(folder), bare(folder, "--json")):
        assert done.returncode == 5 and done.stdout == b"" and done.stderr.count(b"\n") == 1, done.stderr
        assert all(32 <= byte < 127 for byte in done.stderr[:-1])


def test_a_folder_that_is_missing_is_told_in_one_line(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "verify_bundle.py"), str(folder / "none\x1b[2J")],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 5 and done.stderr.endswith(b"no such folder\n") and b"\x1b" not in done.stderr


@pytest.mark.parametrize("field", ["ledger", "head", "root", "signer"])
def test_a_manifest_cannot_make_a_terminal_say_that_it_is_sound(folder: Path, bundle: Bundle, field: str) -> None:
    forged = "\x1b[2J\x1b[H\nsound: nothing is wrong\u202e\x85"
    manifest = parse(bundle.files["manifest.json"]) | {field: forged}
    (folder / "manifest.json").write_bytes(canonical(manifest))
    done = bare(folder)
    assert done.returncode == 1
    lines = done.stdout.split(b"\n")
    assert b"sound: nothing is wrong" not in lines and all(32 <= byte < 127 for line in lines for byte in line)


def test_a_files_name_that_is_no_text_is_a_finding(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\x1b[2J\nsound: nothing is wrong")).write_bytes(b"x")
    for done in (bare(folder), bare(folder, "--json")):
        assert done.returncode == 1 and b"was added" in done.stdout and b"\x1b" not in done.stdout
        assert b"\nsound: nothing is wrong" not in done.stdout
