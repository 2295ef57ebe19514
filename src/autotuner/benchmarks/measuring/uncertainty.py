"""How far a window's figures may be from those of an endless one: 95% intervals from within the window.

Rates: the spread between equal parts of the window (batch means), which follows whatever correlation is shorter than a
part. Percentiles: order statistics, with the sample reduced by how much more alike neighboring requests are than
requests picked at random. What differs from launch to launch is not in it.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PARTS = 10
"""Parts of a window; few enough that each is longer than most correlation, many enough for a spread."""
_T = 2.262
"""Student's t for 95% and PARTS - 1 degrees of freedom."""
_T_PAIRS = 2.776
"""The same for half as many parts."""
_Z = 1.96
_FEWEST = 2 * PARTS


def of_rate(moments: Floats, weights: Floats, window_s: float) -> float | None:
    """Relative half-width of a rate, given when something happened (seconds) and how much; None where nothing did."""
    edges = np.linspace(0, window_s, PARTS + 1)
    parts, _ = np.histogram(moments, bins=edges, weights=weights)
    # Answers that run in step make short parts differ by far more than the whole: pairs of parts tell.
    pairs = parts.reshape(-1, 2).sum(axis=1)
    halves = [_half(parts, _T), _half(pairs, _T_PAIRS)]
    return min(halves) if parts.sum() > 0 else None


def _half(parts: Floats, t: float) -> float:
    mean = float(parts.mean())
    return t * float(parts.std(ddof=1)) / math.sqrt(len(parts)) / mean if mean > 0 else math.inf


def of_mean(values: Floats) -> float | None:
    """Relative half-width of a mean of values in the order of time; None where they are too few."""
    if len(values) < _FEWEST:
        return None
    means = np.array([part.mean() for part in np.array_split(values, PARTS)])
    mean = float(values.mean())
    return _T * float(means.std(ddof=1)) / math.sqrt(PARTS) / mean if mean > 0 else None


def of_percentile(values: Floats, share: float, *, censored: int = 0) -> float | None:
    """Relative half-width of a percentile (``share`` 0.99 for p99) of values in the order of time.

    None where the interval reaches beyond the sample: then the tail is not known, however narrow the data look.
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
    """By how much the parts of the window differ more than random samples would, in being above the percentile."""
    if len(values) < _FEWEST:
        return 1.0
    above = values > np.quantile(values, share)
    fractions = [float(part.mean()) for part in np.array_split(above, PARTS)]
    expected = share * (1 - share) * PARTS / len(values)
    return float(np.clip(np.var(fractions, ddof=1) / expected, 1.0, PARTS))


def joined(output: Sequence[tuple[Floats, float]]) -> tuple[Floats, Floats]:
    """Moments and weights of all chunks, given each request's chunk times and its tokens per chunk."""
    if not output:
        return np.zeros(0), np.zeros(0)
    return np.concatenate([t for t, _ in output]), np.concatenate([np.full(len(t), each) for t, each in output])
