"""Run trials in turn for some minutes: `python -m tests.campaign --minutes 30 --out build/campaign`.

What was counted is kept in the folder after each trial, so the next run goes on with the next one. A fault is told with
the seed of its trial: `--only 137` runs that trial alone.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click

from tests.campaign import crowd, damage, hostile, scene
from tests.campaign.trials import Kind, Trial

KINDS: tuple[Kind, ...] = (
    crowd.crowd, damage.ledgers, damage.bundles, crowd.crowd, damage.models, damage.attacks, damage.arguments,
    hostile.outputs,
)  # fmt: skip


def trial(number: int, seed: int) -> Trial:
    """One trial, from beginning to end."""
    kind = KINDS[number % len(KINDS)]
    with tempfile.TemporaryDirectory(prefix="errata-campaign-") as folder:
        made = Trial(Path(folder), random.Random(f"{seed} {number}"))
        try:
            kind(made)
        except Exception as error:
            made.faults.append(f"{kind.__name__} broke: {type(error).__name__}: {error}")
    made.tried[f"trials: {kind.__name__}"] += 1
    return made


@click.command()
@click.option("--minutes", type=float, default=30.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/campaign"), show_default=True)
@click.option("--only", type=int, help="The number of one trial.")
def main(minutes: float, seed: int, out: Path, only: int | None) -> None:
    """Try things until the time is over; the exit code is 1 if something did not hold."""
    out.mkdir(parents=True, exist_ok=True)
    kept = out / f"campaign-{seed}.json"
    known = json.loads(kept.read_text()) if kept.is_file() and only is None else {}
    tried, faults = Counter[str](known.get("tried", {})), list(known.get("faults", []))
    number, seconds = known.get("next", 0), known.get("seconds", 0.0)
    began = time.monotonic()
    try:
        while only is not None or time.monotonic() - began < 60 * minutes:
            done = trial(number if only is None else only, seed)
            tried += done.tried
            for fault in done.faults:
                click.echo(f"trial {number if only is None else only}: {fault}", err=True)
                faults.append([number, fault])
            if only is not None:
                break
            number += 1
            report = {"seed": seed, "next": number, "seconds": seconds + time.monotonic() - began}
            kept.write_text(json.dumps({**report, "tried": dict(tried), "faults": faults}, indent=1) + "\n")
    finally:
        scene.clean_up()
        damage.clean_up()
    for name, count in sorted(tried.items()):
        click.echo(f"{count:7,}  {name}")
    click.echo(f"{number:,} trials, {(seconds + time.monotonic() - began) / 60:.0f} minutes, {len(faults):,} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
