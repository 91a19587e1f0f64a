"""What is left that only Unix has, file by file, so that whoever brings Errata elsewhere knows where to begin."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNIX_MODULES = {"fcntl", "pty", "pwd", "grp", "resource", "termios", "tty", "posix"}
UNIX_NAMES = {
    "O_DIRECTORY", "copy_file_range", "fchmod", "fork", "getuid", "geteuid", "killpg", "mkfifo", "pread", "pwrite",
    "setsid", "posix_fallocate", "posix_fadvise", "SIGKILL", "SIGSTOP", "SIGHUP", "WIFSIGNALED", "WTERMSIG",
}  # fmt: skip
"""Names of `os` and `signal` that Windows' Python does not have."""

USED = {
    "world.py": {"resource"},  # peak memory of the process
    "ledger/base/files.py": {"O_DIRECTORY", "fchmod", "pwrite"},  # durable files: folders are synchronised too
    "replay/export/sharing.py": {"fcntl", "copy_file_range", "pread"},  # reflinks
    "ledger/base/own.py": {"O_DIRECTORY"},  # what is deleted is reached by descriptors
    "ledger/base/held.py": {"O_DIRECTORY", "geteuid"},  # a folder under construction is locked itself
    "replay/bisect/oracles.py": {"killpg", "SIGKILL"},  # a test command ends with all that it started
    "replay/versions/keyframes.py": {"pread"},
}


def unix_only(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & UNIX_MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} & UNIX_MODULES
        elif isinstance(node, ast.Attribute):
            found |= {node.attr} & UNIX_NAMES
    return found


def test_what_is_unix_only_stands_where_it_is_known() -> None:
    files = sorted(ROOT.glob("*.py"))
    for package in ("ledger", "editor", "replay", "commands", "door", "demo"):
        files += sorted((ROOT / package).rglob("*.py"))
    assert {str(path.relative_to(ROOT)): found for path in files if (found := unix_only(path))} == USED
