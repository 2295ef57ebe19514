"""Values that no trial has had.

A model learns from the values of a parameter that were measured how much the parameter matters. If these hardly differ,
it expects the same of the others, although a server may behave differently from some value on: a chunk that holds the
whole prompt, a batch size with a kernel of its own. So once the model expects nothing more, such values are tried.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from autotuner.plugins.search import SearchContext
from autotuner.search.model import scales
from autotuner.search.points import Axis, Points
from autotuner.search.proposals import spelled_out
from autotuner.study.configuration import Configuration
from autotuner.study.trial import Trial


def with_new_values(
    context: SearchContext, trials: Sequence[Trial], configurations: Sequence[Configuration]
) -> NDArray[np.bool_]:
    """Which of the configurations have a value that no trial has had, of a parameter with few values.

    Args:
        context: The problem.
        trials: The finished ones.
        configurations: Candidates.
    """
    found = np.zeros(len(configurations), bool)
    for axis, known in _incomplete(context, trials):
        own = (axis.position(c.values[axis.name]) if axis.name in c.values else None for c in configurations)
        found |= np.array([at is not None and at not in known for at in own], bool)
    return found


def new_values(context: SearchContext, trials: Sequence[Trial], configuration: Configuration) -> tuple[str, ...]:
    """The parameters of which the configuration has a value that no trial has had."""
    values = configuration.values
    return tuple(
        axis.name
        for axis, known in _incomplete(context, trials)
        if axis.name in values and axis.position(values[axis.name]) not in known
    )


def _incomplete(context: SearchContext, trials: Sequence[Trial]) -> Iterator[tuple[Axis, set[int | None]]]:
    """Parameters with few values, not all of which were tried, and the positions of those that were."""
    # Values that failed are known, too: others with them are less likely to start.
    tried = [spelled_out(context, t).values for t in trials]
    for axis in Points(context.space).axes:
        if axis.values is None or len(axis.values) > scales.KNOTS:
            continue
        known = {axis.position(values[axis.name]) for values in tried if axis.name in values}
        if len(known) < len(axis.values):
            yield axis, known
