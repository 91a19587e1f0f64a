"""Settings: the ledger's own hyperparameters, as they were changed after its creation."""

from __future__ import annotations

from errata.ledger.base.errors import Refused
from errata.ledger.base.records import Digest, Record, Settings, WholeNumber
from errata.ledger.base.words import counted
from errata.ledger.events.envelope import Act
from errata.ledger.events.parts import Body, EditNumber, NonNegative, Probability
from errata.ledger.events.policy import Capability
from errata.ledger.kinds.spec import KindSpec, Needs
from errata.ledger.state.fold import Fold


class TuningEvidence(Record):
    """Why settings were chosen by `errata tune`.

    Attributes:
        sample_digest: of the facts of the sample, in order.
        fact_keys: digests of the sample's subjects and prompts: which facts must not be scored with these settings.
        facts, held_out: how many facts the choice was made on, and how many it was then tried on.
        suite_digest: of the general suite, if there was one.
        batch_size: most edits in one solve.
        trials: how many settings were tried, those before among them.
        seed: of sample and search.
        before, after: the quality on the held-out facts with the settings before and with the chosen ones.
        seconds_before, seconds_after: seconds an edit there.
        details_blob: every trial.
    """

    sample_digest: Digest
    fact_keys: tuple[Digest, ...]
    facts: EditNumber
    held_out: EditNumber
    suite_digest: Digest | None
    batch_size: EditNumber
    trials: EditNumber
    seed: WholeNumber
    before: Probability
    after: Probability
    seconds_before: NonNegative
    seconds_after: NonNegative
    details_blob: Digest


class SettingsChanged(Body):
    """The ledger's own hyperparameters are others from here on; those of the first event stay in it.

    Attributes:
        hyperparameters: all of them, as they are now.
        reason: why.
        evidence: what the choice rests on, if it was tuned and not made by hand.
    """

    hyperparameters: Settings
    reason: str
    evidence: TuningEvidence | None = None


def _check(fold: Fold, body: SettingsChanged) -> None:
    wanted, own = body.hyperparameters.get("layers"), fold.creation.hyperparameters.get("layers")
    if wanted != own:
        raise Refused(f"this ledger edits layers {own}, which its first event fixes; for {wanted} start a new one")
    if body.hyperparameters == fold.hyperparameters:
        raise Refused("these settings are in force already")


def _fold(fold: Fold, body: SettingsChanged, act: Act) -> None:
    fold.hyperparameters = body.hyperparameters
    fold.keep(body)


def _words(body: SettingsChanged) -> str:
    how = "" if body.evidence is None else f"tuned on {counted(body.evidence.facts, 'fact')}"
    return f"settings changed: {'; '.join(part for part in (how, body.reason) if part)}"


KINDS = (KindSpec("settings_changed", SettingsChanged, _words, _check, Needs(None, Capability.SETTINGS), fold=_fold),)
