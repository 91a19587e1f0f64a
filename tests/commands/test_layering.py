"""What a command may load before it needs it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.command_line import loaded_by

ROOT = Path(__file__).parents[2]


def test_importing_the_ledger_loads_no_heavy_library() -> None:
    found = loaded_by(
        "import errata.ledger.ledger, errata.ledger.care.verify\n"
        "import errata.ledger.facts.fact_files, errata.ledger.rules.addresses"
    )
    assert not found & {"torch", "transformers", "numpy", "safetensors", "rich", "pandas"}


def test_the_list_of_commands_loads_none_of_them() -> None:
    found = loaded_by("from errata import cli\nassert cli.call(['--help']) == 0")
    rooms = {name for name in found if name.startswith("errata.commands.") and name.count(".") > 2}
    assert rooms == {"errata.commands.words.render"}
    assert not found & {"pydantic", "errata.ledger.ledger", "errata.replay.record.writer"}


def test_help_of_no_command_loads_a_heavy_library() -> None:
    found = loaded_by(
        "from errata import cli\nassert cli.call(['edit', '--help']) == 0\nassert all(cli.main.commands.values())"
    )
    assert "errata.commands.trust.checks" in found
    assert not found & {"torch", "transformers", "numpy", "safetensors", "rich", "pandas", "sqlite_utils"}


def test_no_command_writes_to_a_ledger_itself() -> None:
    for path in sorted((ROOT / "commands").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert not re.search(r"\.execute$|\bstore\.append$|\bblobs\.put$", called), f"{path}:{called}"


def test_what_is_imported_later_is_nobody_elses() -> None:
    done = loaded_by(
        "import errata.replay.measure as room\n"
        "from errata.commands.lazy import when_used\n"
        "with when_used():\n    from errata.replay.measure import blame\n"
        "assert 'errata.replay.measure.blame' not in sys.modules and not hasattr(room, 'blame')\n"
        "assert not hasattr(blame, '__file__') and 'torch' not in sys.modules\n"
        "assert blame.Blame.__module__ == 'errata.replay.measure.blame' and 'torch' in sys.modules\n"
        "with when_used():\n    from errata.replay.measure import blame as again\n"
        "assert again is room.blame is sys.modules['errata.replay.measure.blame']\n"
        "try:\n    with when_used():\n        from errata.replay.measure import nothing\n"
        "except ImportError:\n    pass\nelse:\n    raise AssertionError('a module that is not there was named')"
    )
    assert "errata.replay.measure.blame" in done


def test_reading_the_log_loads_neither_torch_nor_transformers_nor_rich(tmp_path: Path, tiny_llama: Path) -> None:
    from tests.support import ledgers as helpers

    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 2, seed=0)
    found = loaded_by(
        f"from errata import cli\nassert cli.call(['--ledger', {str(tmp_path)!r}, 'log']) == 0\n"
        f"assert cli.call(['--ledger', {str(tmp_path)!r}, 'show', 'e1']) == 0\n"
        f"assert cli.call(['--ledger', {str(tmp_path)!r}, 'status']) == 0\n"
        f"assert cli.call(['--ledger', {str(tmp_path)!r}, 'revert', 'e1']) == 0"
    )
    assert not found & {"torch", "transformers", "rich", "pandas"}
