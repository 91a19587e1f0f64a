"""The script that sees to the tests' system packages asks for them only when they are missing, and is heard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "system-packages.sh"


def run(
    tmp_path: Path, *, python: str, apt_get: str | None, root: bool = True, openssl: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the script where `apt-get`, `id` and `sudo` are ours, and nothing else but the shell's own tools is found."""
    tools = tmp_path / "bin"
    tools.mkdir()
    scripts = {"id": f"echo {0 if root else 1000}", "python": python}
    if apt_get is not None:
        scripts["apt-get"] = f'echo "$@" >> {tmp_path}/called\n{apt_get}'
    if openssl:
        scripts["openssl"] = ":"
    for name, text in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    (tools / "env").symlink_to("/usr/bin/env")
    (tools / "cat").symlink_to("/bin/cat")
    command = ["/bin/sh", str(SCRIPT), str(tools / "python")]
    environment = {"PATH": str(tools), "HOME": str(tmp_path)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def calls(tmp_path: Path) -> list[str]:
    called = tmp_path / "called"
    return called.read_text().splitlines() if called.exists() else []


def missing_until(tmp_path: Path) -> str:
    """A Python that misses a library until somebody installs it."""
    return f"cat > /dev/null; test -e {tmp_path}/there || echo libpango-1.0.so.0"


def test_nothing_is_installed_where_nothing_is_missing(tmp_path: Path) -> None:
    done = run(tmp_path, python=f'exec {sys.executable} "$@"', apt_get="exit 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert calls(tmp_path) == []


def test_what_is_missing_is_installed_once(tmp_path: Path) -> None:
    done = run(tmp_path, python=missing_until(tmp_path), apt_get=f": > {tmp_path}/there")
    assert done.returncode == 0
    assert (
        len(calls(tmp_path)) == 1
        and "libpango-1.0-0" in calls(tmp_path)[0]
        and "fonts-dejavu-core" in calls(tmp_path)[0]
    )


def test_openssl_is_looked_for_too(tmp_path: Path) -> None:
    done = run(tmp_path, python=f'exec {sys.executable} "$@"', apt_get=":", openssl=False)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("the tests need openssl: install them")
    assert len(calls(tmp_path)) == 1 and "openssl" in calls(tmp_path)[0]


def test_old_lists_of_packages_are_renewed(tmp_path: Path) -> None:
    renewed = f'test "$1" = update && : > {tmp_path}/new\ntest -e {tmp_path}/new || exit 100\n: > {tmp_path}/there'
    assert run(tmp_path, python=missing_until(tmp_path), apt_get=renewed).returncode == 0
    assert [call.split()[0] for call in calls(tmp_path)] == ["install", "update", "install"]


@pytest.mark.parametrize(
    ("apt_get", "root", "says"),
    [
        ("exit 100", True, "apt-get could not install"),
        (":", True, "it is still missing"),
        (":", False, "as root: apt-get install"),
        (None, True, "Debian calls them"),
    ],
)
def test_what_cannot_be_installed_is_told_in_one_line(
    tmp_path: Path, apt_get: str | None, root: bool, says: str
) -> None:
    done = run(tmp_path, python=missing_until(tmp_path), apt_get=apt_get, root=root)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("the tests need libpango-1.0.so.0: install them") and says in last
    assert os.access(SCRIPT, os.X_OK)
