"""What a search for settings keeps with Optuna: its journal file, and spaces and settings in Optuna's terms.

Optuna is imported only once it is asked for: it belongs to the extra `tune`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from errata.editor.config import EditConfig
from errata.editor.score.choice import Space, Trial, trial_from
from errata.ledger.base.errors import StorageFailed, UsageError


def require_optuna() -> Any:
    """Optuna, told to be silent.

    Raises:
        UsageError: if the extra `tune` is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UsageError("tuning needs the extra `tune`: pip install 'errata-lm[tune]'") from None
    optuna.logging.set_verbosity(logging.ERROR)
    return optuna


def open_study(optuna: Any, journal: Path, name: str) -> Any:
    """The study of that name in a journal file, both made if they are not there.

    Raises:
        StorageFailed: if the journal cannot be read or written.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        return optuna.create_study(
            storage=storage, study_name=name, directions=["maximize", "minimize"], load_if_exists=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise StorageFailed(str(journal), f"is not a journal of trials, or cannot be written ({error})") from None


def finished(optuna: Any, study: Any) -> list[Trial]:
    """The trials that were told, in order."""
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return [trial_from(one.user_attrs["trial"]) for one in complete]


def distributions_of(optuna: Any, space: Space) -> dict[str, Any]:
    """A space in Optuna's terms."""
    found: dict[str, Any] = {}
    if len(space.layers) > 1:
        words = [",".join(map(str, layers)) for layers in space.layers]
        found["layers"] = optuna.distributions.CategoricalDistribution(words)
    for name, one in space.ranges.items():
        if one.whole:
            found[name] = optuna.distributions.IntDistribution(int(one.low), int(one.high), log=one.log)
        else:
            found[name] = optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)
    return found


def inside(config: EditConfig, distributions: dict[str, Any]) -> dict[str, Any]:
    """The settings as far as the search's ranges hold them; a weight of 0 has no place on a log scale."""
    record = config.to_record()
    record["layers"] = ",".join(map(str, config.layers))
    return {
        name: record[name]
        for name, one in distributions.items()
        if (record[name] in one.choices if hasattr(one, "choices") else one.low <= record[name] <= one.high)
    }
