"""Uncertainty of a window's figures: 95% intervals around those of an endless window, estimated from within it.

Rates: the spread between equal parts of the window (batch means), which accounts for correlations shorter than a part.
Percentiles: order statistics, with the sample size reduced by how much more similar neighboring requests are than
random ones. Differences between launches are not included.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PARTS = 10
"""Parts of a window: few enough that a part is longer than most correlations, many enough to estimate a spread."""
_T = 2.262
"""Student's t for 95% and PARTS - 1 degrees of freedom."""
_T_PAIRS = 2.776
"""Student's t for half as many parts."""
_Z = 1.96
"""Standard deviations of a normal distribution for 95%."""
_FEWEST = 2 * PARTS


def of_rate(moments: Floats, weights: Floats, window_s: float) -> float | None:
    """Relative half-width of the 95% interval of a rate.

    Args:
        moments: Times of the events, in seconds from the window's start.
        weights: Weight of each event, e.g. its tokens.
        window_s: Length of the window, in seconds.

    Returns:
        None if there were no events.
    """
    edges = np.linspace(0, window_s, PARTS + 1)
    parts, _ = np.histogram(moments, bins=edges, weights=weights)
    # Answers that run in lockstep make short parts differ far more than the whole window; pairs of parts do not.
    pairs = parts.reshape(-1, 2).sum(axis=1)
    halves = [_half(parts, _T), _half(pairs, _T_PAIRS)]
    return min(halves) if parts.sum() > 0 else None


def _half(parts: Floats, t: float) -> float:
    mean = float(parts.mean())
    return t * float(parts.std(ddof=1)) / math.sqrt(len(parts)) / mean if mean > 0 else math.inf


def of_mean(values: Floats) -> float | None:
    """Relative half-width of the 95% interval of a mean of values in chronological order; None if they are too few."""
    if len(values) < _FEWEST:
        return None
    means = np.array([part.mean() for part in np.array_split(values, PARTS)])
    mean = float(values.mean())
    return _T * float(means.std(ddof=1)) / math.sqrt(PARTS) / mean if mean > 0 else None


def of_percentile(values: Floats, share: float, *, censored: int = 0) -> float | None:
    """Relative half-width of the 95% interval of a percentile.

    Args:
        values: Known values in chronological order.
        share: The percentile as a fraction, e.g. 0.99 for p99.
        censored: Number of further values, each larger than every known one.

    Returns:
        None if the interval extends beyond the sample: the tail is then unknown, however narrow the data look.
    """
    count = len(values) + censored
    if count < 2:
        return None
    ordered = np.sort(values)
    center = share * (count - 1)
    half = _Z * math.sqrt(share * (1 - share) * count * _inflation(values, share))
    low = math.floor(center - half)
    high = math.ceil(center + half)
    if low < 0 or high >= len(ordered):
        return None
    value = float(np.interp(center, np.arange(len(ordered)), ordered))
    return max(float(ordered[high]) - value, value - float(ordered[low])) / value if value > 0 else None


def _inflation(values: Floats, share: float) -> float:
    """How much more the share above the percentile varies between parts of the window than between random samples."""
    if len(values) < _FEWEST:
        return 1.0
    above = values > np.quantile(values, share)
    fractions = [float(part.mean()) for part in np.array_split(above, PARTS)]
    expected = share * (1 - share) * PARTS / len(values)
    return float(np.clip(np.var(fractions, ddof=1) / expected, 1.0, PARTS))


def pool_chunks(output: Sequence[tuple[Floats, float]]) -> tuple[Floats, Floats]:
    """Times (seconds) and tokens of all chunks, given the chunk times and tokens per chunk of each request."""
    if not output:
        return np.zeros(0), np.zeros(0)
    return np.concatenate([t for t, _ in output]), np.concatenate([np.full(len(t), each) for t, each in output])
