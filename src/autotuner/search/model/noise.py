"""Launch-to-launch noise, learned from repeats."""

import math
from collections.abc import Sequence
from statistics import fmean

from autotuner.plugins.search import SearchContext
from autotuner.search.model import scales
from autotuner.search.model.worth import achieved
from autotuner.study.trial import Trial


def launch_noise(context: SearchContext, trials: Sequence[Trial]) -> float:
    """Standard deviation of the logarithm of an objective between launches of one configuration.

    An assumed value and what repeats have shown, each weighted by its degrees of freedom.
    """
    groups: dict[str, list[float]] = {}
    for trial in trials:
        found = achieved(context, trial)
        if found is not None:
            identity = context.identity(trial.configuration)
            groups.setdefault(identity, []).append(fmean(found))
    squares = scales.NOISE_PSEUDO_REPEATS * scales.LAUNCH_NOISE**2
    freedom = float(scales.NOISE_PSEUDO_REPEATS)
    for values in groups.values():
        middle = fmean(values)
        squares += math.fsum((v - middle) ** 2 for v in values)
        freedom += len(values) - 1
    return max(math.sqrt(squares / freedom), scales.NOISE_FLOOR)
