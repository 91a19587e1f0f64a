"""The wheel, built from what the tree holds and installed where nothing of the tree is in sight."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Installed:
    """An environment that has Errata from its wheel, and what Errata needs from this one.

    Attributes:
        folder: the environment's.
        before: what its site-packages held before the installation.
    """

    folder: Path
    before: frozenset[str]

    @property
    def site(self) -> Path:
        return next((self.folder / "lib").glob("python3*")) / "site-packages"

    @property
    def gained(self) -> set[str]:
        """What the installation brought."""
        return {path.name for path in self.site.iterdir()} - self.before

    def errata(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the command that was installed, in a folder."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(self.folder / "bin" / "errata"), *words]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def source(folder: Path) -> Path:
    """A copy of the files that git tracks, or would, since a build leaves its own traces beside what it builds."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in names.stdout.rstrip("\0").split("\0"):
        if not name.startswith(("tests/", "bench/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def install(scratch: Path) -> Installed:
    """Build the wheel and install it into a fresh environment in a scratch folder.

    Its dependencies are those of the environment that the tests run in, which are only made visible there.
    """
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [
        *pip,
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(scratch / "wheels"),
        str(source(scratch / "source")),
    ]
    subprocess.run(build, check=True, capture_output=True, text=True)
    venv.create(scratch / "fresh", with_pip=False)
    fresh = Installed(scratch / "fresh", frozenset())
    own = Path(sys.executable).parent.parent / "lib" / fresh.site.parent.name / "site-packages"
    (fresh.site / "dependencies.pth").write_text(f"{own}\n", encoding="utf-8")
    fresh = Installed(fresh.folder, frozenset(path.name for path in fresh.site.iterdir()))
    wheel = next((scratch / "wheels").glob("*.whl"))
    python = str(fresh.folder / "bin" / "python")
    put = [*pip, "--python", python, "install", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run(put, check=True, capture_output=True, text=True, cwd=scratch)
    return fresh
