"""The house: which rooms there are, what each may import, and who may see the world."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ledger", "editor", "replay", "commands", "door")
"""From the ground up: each imports those before it. `demo` and `cli.py` stand on top; only `cli.py` and `world.py` see
the world."""

FULL = 17
"""A folder with more entries than that is one in which nobody finds a file at a glance."""

WORLD = {
    "print", "input", "os.environ", "os.getenv", "datetime.now", "datetime.utcnow", "date.today", "time.time",
    "time.monotonic", "time.perf_counter", "torch.cuda", "uuid.uuid4", "Path.cwd", "os.getcwd", "sys.argv", "sys.exit",
}  # fmt: skip
"""Names whose use is the composition root's own."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the product, by its name below `errata`."""
    files = [path for package in (*PACKAGES, "demo") for path in sorted((ROOT / package).rglob("*.py"))]
    named = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in (*files, ROOT / "cli.py", ROOT / "world.py")
    }
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements below a node; expressions hold none, and are most of a file."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _statements(child)


@cache
def imports(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The imports of a file, at its top or inside a function."""
    return tuple(node for node in _statements(tree(path)) if isinstance(node, ast.Import | ast.ImportFrom))


@cache
def imported(name: str) -> frozenset[str]:
    """The modules of ours that a module imports, at its top or inside a function."""
    found = set()
    for node in imports(modules()[name]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "errata":
            base = (node.module or "").removeprefix("errata").removeprefix(".")
            for alias in node.names:
                whole = f"{base}.{alias.name}".removeprefix(".")
                found.add(whole if whole in modules() else base)
        elif isinstance(node, ast.Import):
            found |= {one.name.removeprefix("errata.") for one in node.names if one.name.startswith("errata.")}
    return frozenset(found & modules().keys()) - {name}


def rooms() -> list[Path]:
    return [
        folder
        for package in PACKAGES
        for folder in sorted((ROOT / package).iterdir())
        if (folder / "__init__.py").is_file()
    ]


def page(folder: Path) -> str:
    return ast.get_docstring(tree(folder / "__init__.py")) or ""


def room_of(name: str) -> str:
    """The room that a module stands in: the second part of its name, also for a file beside the rooms."""
    return ".".join(name.split(".")[:2])


def test_only_our_own_name_is_used_for_our_own_modules() -> None:
    own = {*PACKAGES, "demo", "cli", "world"}
    for top in (*PACKAGES, "demo", "bench", "tests", "docs"):
        for path in sorted(set((ROOT / top).rglob("*.py")) - set((ROOT / "tests" / "data").rglob("*"))):
            for node in imports(path):
                names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    assert node.level == 0, f"{path}:{node.lineno}: a relative import"
                    names = [node.module or ""]
                assert not {name.split(".")[0] for name in names} & own, f"{path}:{node.lineno} imports {names}"


def test_what_tests_share_is_no_test_module() -> None:
    """Helpers are modules of `tests/support` or fixtures; a test module or a conftest is nobody's library."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in imports(path):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                names = [*(node.module or "").split("."), *(one.name for one in node.names)]
                wrong = [name for name in names if name.startswith("test_") or name == "conftest"]
                assert not wrong, f"{path}:{node.lineno} imports {wrong}"


def test_packages_import_one_way() -> None:
    below = {package: {*PACKAGES[: place + 1]} for place, package in enumerate(PACKAGES)}
    below["commands"].add("demo")
    below["door"].add("world")
    for name in modules():
        top = name.split(".")[0]
        if top in below:
            wrong = [other for other in imported(name) if other.split(".")[0] not in below[top]]
            assert wrong == [], f"{name} imports {wrong}"


def test_a_room_says_what_is_in_it() -> None:
    for folder in rooms():
        files = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
        missing = [name for name in files if not re.search(rf"\b{name}\b", page(folder))]
        assert missing == [], f"{folder.relative_to(ROOT)}/__init__.py does not name {missing}"


def test_a_room_says_what_it_may_import_and_imports_that() -> None:
    for folder in rooms():
        own = ".".join(folder.relative_to(ROOT).parts)
        used = {
            room_of(other).split(".")[1]
            for name in modules()
            if name == own or name.startswith(f"{own}.")
            for other in imported(name)
            if other.split(".")[0] == own.split(".")[0] and "." in other and room_of(other) != own
        }
        said = re.search(r"^May import: (.*)\.$", page(folder), re.MULTILINE)
        assert said, f"{own} does not say what it may import"
        allowed = set() if said[1] == "no other room" else set(said[1].split(", "))
        assert used == allowed, f"{own} imports {sorted(used)} and says {sorted(allowed)}"


def knots(arrows: dict[str, set[str]]) -> Iterator[set[str]]:
    """Groups of names that lead to each other (Tarjan's strongly connected components of more than one)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[set[str]]:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(arrows.get(name, ())):
            if other not in index:
                yield from visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            place = stack.index(name)
            knot = set(stack[place:])
            del stack[place:]
            if len(knot) > 1:
                yield knot

    for name in sorted(arrows):
        if name not in index:
            yield from visit(name)


def test_no_files_import_each_other_in_a_circle() -> None:
    assert list(knots({name: set(imported(name)) for name in modules()})) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for name in modules():
        arrows.setdefault(room_of(name), set()).update(room_of(other) for other in imported(name))
    assert list(knots({room: others - {room} for room, others in arrows.items()})) == []


def test_a_circle_would_be_found() -> None:
    assert list(knots({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == [{"b", "c"}]


def test_a_class_has_a_name_of_its_own() -> None:
    """One concept, one name, one type; the program in a bundle stands alone, without the rest."""
    alone = "ledger.audit.alone"
    where: dict[str, list[str]] = {}
    for name in modules():
        if name.startswith(alone):
            continue
        for node in tree(modules()[name]).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where.setdefault(node.name, []).append(name)
    assert {name: found for name, found in where.items() if len(found) > 1} == {}


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    for folder in [*(ROOT / package for package in PACKAGES), *rooms()]:
        entries = [path for path in folder.iterdir() if path.name not in ("__pycache__", "__init__.py")]
        assert len(entries) <= FULL, f"{folder.relative_to(ROOT)} has {len(entries)} entries"


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_only_the_composition_root_sees_the_world() -> None:
    for name, path in modules().items():
        if name.split(".")[0] not in PACKAGES:
            continue
        for node in ast.walk(tree(path)):
            used = dotted(node)
            seen = [one for one in WORLD if used == one or ("." in one and used.endswith(f".{one}"))]
            assert not seen, f"{path}:{getattr(node, 'lineno', 0)} uses {seen}"
