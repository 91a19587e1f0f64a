"""Begin a ledger, or open one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from errata import world
from errata.commands.app import App
from errata.commands.lazy import when_used
from errata.commands.unlocking import Unlocking
from errata.door.given import File, path_of
from errata.door.opened import OpenLedger

with when_used():
    from errata.commands.change import create
    from errata.editor.preserve import stats as averages
    from errata.replay.workflow import genesis as beginning
    from errata.replay.workflow import workspace as workspaces


def init(
    model: File,
    folder: File | None = None,
    *,
    corpus: File | None = None,
    layers: str | int | Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    context_prompts: int = 5,
    capacity_bits: int = 16,
    max_tokens: int | None = None,
    stats: File | None = None,
    adapter: File | None = None,
    reshard: File | None = None,
    trial: bool = True,
    actor: str | None = None,
    key: str | None = None,
    passphrase_file: File | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> OpenLedger:
    """Start a ledger for a model, as `errata init` does, and open it.

    Args:
        model: a folder with a causal language model, a name on the hub, or a GGUF file; it is only ever read.
        folder: where the ledger is to be; ERRATA_DIR or the current folder if left out.
        corpus: text that the model should keep handling as it does: one document a line, UTF-8; the model writes text
            itself if left out.
        layers: layers to edit, such as 1 or [3, 4]; the model's preset, or one early layer, if left out.
        settings: hyperparameters that differ from the model's preset or the defaults.
        context_prompts: context prompts to draw and record.
        capacity_bits: room on the exact grid, for 2^N deltas as large as the weights.
        max_tokens: read or sample about this many tokens at most.
        stats: second moments that `export_stats` or `errata stats export` wrote, in place of a corpus.
        adapter: JSON or TOML with the names of a family that Errata does not know.
        reshard: base the ledger on a copy of the model in this folder, with the edited tensors in a shard of their own.
        trial: try the settings on a few well-known facts, in memory, where neither a preset nor ``settings`` gives any.
        actor: who acts; this and what follows is as for `open`.
        key: the name of the key that signs.
        passphrase_file: its first line opens the key.
        device: where models run, as torch names it.
        threads: threads of the arithmetic.

    Raises:
        UsageError: the corpus or a setting is not what it must be.
        Refused: there is a ledger already.
        ModelError: the model cannot be loaded, or is of an unknown family.
    """
    app = _app(folder, None, actor, key, passphrase_file, device, threads)
    chosen = dict(settings or {}) | ({} if layers is None else {"layers": layers})
    genesis = beginning.Genesis(
        str(model),
        path_of(corpus),
        chosen,
        None if max_tokens is None else averages.settings_for(max_tokens),
        context_prompts,
        capacity_bits,
        path_of(adapter),
        path_of(reshard),
        path_of(stats),
    )
    place = app.ledger_option or app.world.folder
    around = app.surroundings()
    ledger = beginning.create_ledger(place, genesis, around, say=lambda line: app.say(f"errata: {line}"))
    if trial and not settings:
        create.try_settings(workspaces.Workspace(ledger, around))
    app.ledger_option = place
    return OpenLedger(app)


def open(
    folder: File | None = None,
    *,
    base: File | None = None,
    actor: str | None = None,
    key: str | None = None,
    passphrase_file: File | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> OpenLedger:
    """Open a ledger.

    Args:
        folder: the ledger's folder; ERRATA_DIR, or the one here or above, if left out.
        base: the base model's folder, if it moved; ERRATA_BASE if left out.
        actor: who acts, which is recorded; ERRATA_ACTOR, the key's person or the user if left out.
        key: the name of the key that signs, where the policy asks for signatures; ERRATA_KEY if left out.
        passphrase_file: its first line opens the key.
        device: where models run, as torch names it.
        threads: threads of the arithmetic.

    Raises:
        LedgerNotFound: there is none.
        LedgerDamaged: it cannot be read.
    """
    return OpenLedger(_app(folder, base, actor, key, passphrase_file, device, threads))


def _app(
    folder: File | None,
    base: File | None,
    actor: str | None,
    key: str | None,
    passphrase_file: File | None,
    device: str,
    threads: int | None,
) -> App:
    """The call that the command line would make of these options."""
    app = App(world.here(), Unlocking, passphrase_file=path_of(passphrase_file), device=device, threads=threads)
    app.named(path_of(folder), path_of(base), actor, key)
    return app
