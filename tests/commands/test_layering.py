"""What a command may load before it needs it."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import loaded_by


def test_importing_the_ledger_loads_no_heavy_library() -> None:
    found = loaded_by(
        "import errata.ledger.ledger, errata.ledger.care.verify\n"
        "import errata.ledger.facts.fact_files, errata.ledger.rules.addresses"
    )
    assert not found & {"torch", "transformers", "numpy", "safetensors", "rich", "pandas"}


def test_help_loads_no_heavy_library() -> None:
    found = loaded_by(
        "from errata import cli\nassert cli.call(['--help']) == 0\nassert cli.call(['edit', '--help']) == 0"
    )
    assert not found & {"torch", "transformers", "numpy", "safetensors", "rich", "pandas", "sqlite_utils"}


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
