"""The house's layers: what may import what, and who may see the world."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BELOW = {
    "ledger": {"ledger"},
    "editor": {"editor", "ledger"},
    "replay": {"replay", "editor", "ledger"},
    "commands": {"commands", "replay", "editor", "ledger", "demo"},
}
OWN = {"ledger", "editor", "replay", "commands", "cli", "demo", "bench", "tests"}
WORLD = {
    "print", "input", "os.environ", "os.getenv", "datetime.now", "datetime.utcnow", "date.today", "time.time",
    "time.monotonic", "time.perf_counter", "torch.cuda", "uuid.uuid4", "Path.cwd", "os.getcwd", "sys.argv", "sys.exit",
}  # fmt: skip
"""Names whose use is the composition root's own."""


def modules() -> list[Path]:
    return [path for package in BELOW for path in sorted((ROOT / package).rglob("*.py"))]


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    allowed = BELOW[path.relative_to(ROOT).parts[0]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
        for name in names:
            top = name.split(".")[0]
            assert top not in OWN or top in allowed, f"{path}:{node.lineno} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_composition_root_sees_the_world(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = dotted(node)
        for forbidden in WORLD:
            seen = name == forbidden or name.endswith(f".{forbidden}") and "." in forbidden
            assert not seen, f"{path}:{getattr(node, 'lineno', 0)} uses {forbidden}"


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_importing_the_ledger_loads_no_heavy_library() -> None:
    found = loaded_by("import ledger.ledger, ledger.verify, ledger.fact_files, ledger.addresses")
    assert not found & {"torch", "transformers", "numpy", "safetensors", "rich", "pandas"}


def test_help_loads_no_heavy_library() -> None:
    found = loaded_by("import cli\nassert cli.call(['--help']) == 0\nassert cli.call(['edit', '--help']) == 0")
    assert not found & {"torch", "transformers", "numpy", "safetensors", "rich", "pandas", "sqlite_utils"}


def test_reading_the_log_loads_neither_torch_nor_transformers_nor_rich(tmp_path: Path, tiny_llama: Path) -> None:
    from tests.replay import helpers

    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 2, seed=0)
    found = loaded_by(
        f"import cli\nassert cli.call(['--ledger', {str(tmp_path)!r}, 'log']) == 0\n"
        f"assert cli.call(['--ledger', {str(tmp_path)!r}, 'show', 'e1']) == 0\n"
        f"assert cli.call(['--ledger', {str(tmp_path)!r}, 'status']) == 0\n"
        f"assert cli.call(['--ledger', {str(tmp_path)!r}, 'revert', 'e1']) == 0"
    )
    assert not found & {"torch", "transformers", "rich", "pandas"}
