"""``python -m bench [NAME ...]``: run benchmarks, print their tables and keep them in ``bench/results``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import click
from transformers.utils import logging

NAMES = (
    "edits", "bits", "bisection", "noise", "blame", "trace", "stage2", "speed", "lifelong", "replay", "rederive",
    "serve", "attacks", "long_log", "ranks",
)  # fmt: skip
RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parent.parent / "docs" / "pictures"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--keep/--no-keep", default=True, help="Write bench/results/NAME.json.")
def main(names: tuple[str, ...], keep: bool) -> None:
    """Run the named benchmarks, or all of them."""
    logging.disable_progress_bar()
    for name in names or NAMES:
        module = import_module(f"bench.{name}")
        click.echo(f"== {name}: {(module.__doc__ or '').strip().splitlines()[0]}", err=True)
        table = module.run()
        click.echo(module.render(table))
        if keep:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
            if hasattr(module, "pictures"):
                for path in module.pictures(table, PICTURES):
                    click.echo(f"drawn: {path.name}", err=True)


if __name__ == "__main__":
    main()
