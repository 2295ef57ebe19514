"""Statistics of a latency over the requests of a window, with right-censored values."""

import math

import numpy as np
from numpy.typing import NDArray

from autotuner.study.measurement import Distribution
from autotuner.study.metric import STATISTICS, fewest_samples

_SHARES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}


def distribution(values: NDArray[np.float64], censored: int = 0) -> Distribution:
    """Computes the statistics of known and censored values.

    Percentiles interpolate linearly between order statistics. A percentile that depends on a censored value is None, as
    are the statistics that need every value.

    Args:
        values: The known values.
        censored: Number of further values, each larger than every known one.
    """
    ordered = np.sort(values)
    count = len(ordered) + censored
    complete = censored == 0
    return Distribution(
        count=count,
        mean=float(ordered.mean()) if complete else None,
        std=float(ordered.std()) if complete else None,
        min=float(ordered[0]) if len(ordered) else None,
        max=float(ordered[-1]) if complete else None,
        censored=censored,
        too_few=tuple(s for s in STATISTICS if count < fewest_samples(s)),
        **{name: _percentile(ordered, count, share) for name, share in _SHARES.items()},
    )


def _percentile(ordered: NDArray[np.float64], count: int, share: float) -> float | None:
    position = share * (count - 1)
    below = math.floor(position)
    above = min(below + 1, count - 1) if position > below else below
    if above >= len(ordered):
        return None
    low = float(ordered[below])
    high = float(ordered[above])
    return low + (high - low) * (position - below)
