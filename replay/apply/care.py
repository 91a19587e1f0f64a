"""What is done for a person's edits beside writing them: another try, nothing left that does not work, more probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from errata.editor.config import EditConfig
from errata.editor.presets import preset_named
from errata.ledger.events.parts import HARM, EditOutcome
from errata.ledger.facts.fact import Fact
from errata.replay.workflow.workspace import Workspace


@dataclass(frozen=True)
class Care:
    """What is done for edits beside writing them.

    Attributes:
        ladder: settings for another try of the facts whose edits did not work, one after the other.
        keep_failed: let edits that did not work stay in the weights; nothing is tried again or looked back on then.
        draw: draw locality probes for facts that bring none.
        most_harm: largest share by which another try may raise the perplexity of the reference texts. What is hard to
            write needs a larger change, and all text may hear of it.
        look_back: after the last of several batches, write facts again that later ones made the model forget.
    """

    ladder: tuple[EditConfig, ...] = ()
    keep_failed: bool = False
    draw: bool = True
    look_back: bool = True
    most_harm: float = HARM

    def stands(self, another_try: bool) -> Callable[[EditOutcome], bool]:
        """Which edits may stay: all of them, or those that work, and in another try do not do much harm."""
        if self.keep_failed:
            return lambda outcome: True
        return lambda outcome: outcome.efficacy and not (another_try and outcome.harm > self.most_harm)


NO_CARE = Care(keep_failed=True, draw=False, look_back=False)
"""Every fact is written once, and stays as it comes out: a method as it is, to be measured."""


def usual_care(workspace: Workspace, config: EditConfig, keep_failed: bool = False) -> Care:
    """What a person who edits wants: nothing in the weights that does not work, and another try before it is given up.

    The ladder is that of the ledger's preset, where it has one, else more of the same (`EditConfig.further`).
    """
    preset = preset_named(workspace.created.preset)
    steps = preset.ladder if preset is not None and preset.ladder else config.further()
    return Care(tuple(config.updated(step) for step in steps), keep_failed, look_back=not keep_failed)


def prepared(config: EditConfig, facts: Sequence[Fact], train_paraphrases: int = 0) -> list[Fact]:
    """Facts as a person's edit takes them.

    Args:
        config: where it edits in chat, a fact without questions is asked by its prompt there.
        facts: as they were given.
        train_paraphrases: how many paraphrases of each fact take part in stage 1 instead of testing it.
    """
    trained = [fact.training_on(train_paraphrases) for fact in facts]
    return [fact.with_question() for fact in trained] if config.chat else trained
