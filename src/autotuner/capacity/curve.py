"""Model of how the misses grow with the load, fitted to all levels so far: where the capacity is, and how steep."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from autotuner.capacity.observation import Observation, ShareCount

Floats = NDArray[np.float64]

_LOADS = 240
_STEEPNESSES = np.geomspace(5.0, 180.0, 16)
"""Growth of the log odds of a miss per unit of log load. A lightly loaded queue has about 5, an engine that runs out of
slots more than 50."""
_BEYOND = 4.0
"""How far outside the measured loads the capacity is looked for, as a factor."""
_LOWEST_ODDS = -14.0
_HIGHEST_ODDS = 2.2
_MEAN_SCALE = 0.25
"""Standard deviations of the values per unit of log odds, for bounds on a mean."""


@dataclass(frozen=True)
class Estimate:
    """Where the capacity is likely to be."""

    low: float
    """10% quantile."""
    median: float
    high: float
    """90% quantile."""

    @property
    def width(self) -> float:
        """Ratio of the quantiles."""
        return self.high / self.low


def estimate(observations: Sequence[Observation]) -> Estimate:
    """The load at which a bound is just met, as a posterior under a logistic curve in the log load.

    The steepness is unknown, its prior uniform in the logarithm, as is that of the load. The curve only proposes the
    next level; no certificate depends on it.

    Args:
        observations: What one bound showed at each level, at least one.
    """
    loads = [one.load for one in observations]
    grid = np.geomspace(min(loads) / _BEYOND, max(loads) * _BEYOND, _LOADS)
    total = np.zeros((len(_STEEPNESSES), _LOADS))
    for one in observations:
        total += _log_likelihood(one, _STEEPNESSES[:, None] * (log(one.load) - np.log(grid))[None, :])
    weights = np.exp(total - total.max()).sum(axis=0)
    shares = np.cumsum(weights) / weights.sum()
    low, median, high = (float(grid[min(int(np.searchsorted(shares, at)), _LOADS - 1)]) for at in (0.1, 0.5, 0.9))
    return Estimate(low, median, high)


def _log_likelihood(one: Observation, excess: Floats) -> Floats:
    """Log likelihood of a level, by the excess of the log odds of a miss over the allowed ones."""
    if isinstance(one, ShareCount):
        odds = np.clip(log(one.allowed / (1 - one.allowed)) + excess, _LOWEST_ODDS, _HIGHEST_ODDS)
        miss = 1 / (1 + np.exp(-odds))
        return np.asarray(one.misses * np.log(miss) + (one.requests - one.misses) * np.log1p(-miss))
    return np.asarray(-0.5 * one.requests * (one.distance - _MEAN_SCALE * np.clip(excess, -40, 40)) ** 2)
