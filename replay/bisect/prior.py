"""What blame knows before a bisection tests anything: a weight of each step (`replay.search.search.Strategy.prior`).

A step's harm is what the edits that it adds do to the metric, less what those that it removes did, to first order at
the bad version. Standardised over the steps, an exponential makes it a probability: softmax(z). First order can be
wrong, and a search must still find what it did not suspect; so a share of the probability is spread evenly:

    ``w_i = (1 - ε)·softmax(z)_i + ε/n``.

However wrong blame is, each step keeps at least ε of the weight that it had without a prior, which costs a search at
most ``log2(1/ε) = 2.3`` bits more than without one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from errata.editor.attribute.stand_in import stand_in
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.suites import Suite, higher_is_better
from errata.ledger.state.state import Step
from errata.replay.measure.first_order import first_order
from errata.replay.workflow.workspace import Workspace

EVEN_SHARE = 0.2
"""ε: what is spread evenly."""


def step_harm(harms: Mapping[int, float], step: Step) -> float:
    """What a step makes worse: the harm of the edits that it adds, less that of those that it removes."""
    return math.fsum((*(harms[number] for number in step.added), *(-harms[number] for number in step.removed)))


def step_weights(harms: Mapping[int, float], steps: Sequence[Step]) -> tuple[float, ...]:
    """How likely each step is the culprit, as far as blame knows.

    Args:
        harms: how much worse each edit of the steps makes the metric, in any unit; negative where it mends it.
        steps: what a bisection searches.

    Returns:
        A weight a step, in order: positive, they sum to 1, and more harm never weighs less. All alike where no step
        harms more than another.

    Raises:
        UsageError: a harm is not finite.
        KeyError: an edit of a step has no harm.
    """
    found = [step_harm(harms, step) for step in steps]
    if not found:
        return ()
    if not all(map(math.isfinite, found)):
        raise UsageError("harms are finite numbers; one of them is not")
    largest = max(map(abs, found)) or 1.0
    scaled = [harm / largest for harm in found]  # so that squares neither overflow nor vanish
    spread = statistics.pstdev(scaled)
    if not spread:
        return (1 / len(found),) * len(found)
    highest = max(scaled)
    raised = [math.exp((harm - highest) / spread) for harm in scaled]
    total = math.fsum(raised)
    return tuple((1 - EVEN_SHARE) * value / total + EVEN_SHARE / len(found) for value in raised)


def prior(workspace: Workspace, bad: Iterable[int], steps: Sequence[Step], suite: Suite) -> tuple[float, ...]:
    """Weights of a bisection's steps from one backward pass over a suite at the bad version.

    Args:
        workspace: the ledger and its model.
        bad: the bad version.
        steps: what is searched.
        suite: what the bisection measures.

    Raises:
        UsageError: the suite's metric has no stand-in that has a gradient.
        ModelError: a probe does not fit the model, or the gradient is not finite.
    """
    sign = -1.0 if higher_is_better(suite.metric) else 1.0
    numbers = {number for step in steps for number in step.edits}
    found = first_order(workspace, bad, numbers, stand_in(workspace.loaded, suite))
    return step_weights({number: sign * found.influence(number) for number in numbers}, steps)
