"""`verify_bundle.py`: this room's files as the one program that lies in every bundle, and imports none of the rest."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PARTS = ("encoding", "plain_hashes", "merkle_tree", "tables", "trust", "master", "checks", "command")
"""In the order in which they stand in it, each under what its file says of itself; the last speaks for the whole."""


@cache
def program() -> bytes:
    """The program's bytes, the same for the same release of Errata."""
    imports, sections, about = set[str](), [], ""
    for part in PARTS:
        text = Path(__file__).with_name(f"{part}.py").read_text(encoding="utf-8")
        module, lines = ast.parse(text), text.splitlines()
        about = ast.get_docstring(module) or ""
        own = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
        imports |= {lines[node.lineno - 1] for node in own if _is_kept(node)}
        heading = [f"# {line}".rstrip() for line in about.splitlines()] if part != PARTS[-1] else ["# The command."]
        sections.append("\n".join([*heading, "", "", "\n".join(lines[own[-1].end_lineno or 0 :]).strip("\n")]))
    start = ["from __future__ import annotations\n", *sorted(imports, key=lambda line: (line.startswith("from"), line))]
    end = 'if __name__ == "__main__":\n    raise SystemExit(main())'
    return ("\n\n\n".join([f'"""{about}\n"""\n\n' + "\n".join(start), *sections, end]) + "\n").encode("utf-8")


def _is_kept(node: ast.Import | ast.ImportFrom) -> bool:
    """Whether an import is of Python's own: those of this room's files are in the program, and no others are there."""
    name = (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
    return name.partition(".")[0] not in {"errata", "__future__"}
