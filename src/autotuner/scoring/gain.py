"""By how much one configuration beats another, and what that shows: an interval from few, interleaved repeats.

With three repeats a percentile bootstrap can reach no further than the extremes seen, and covers far less than it
says. So the bootstrap gives only the standard error of the log ratio of the means (each side resampled by itself, which
is conservative when drift moves both alike); it is corrected for the size of the sample (n / (n - 1)) and taken times
Student's t with Welch's degrees of freedom. Coverage is checked by simulation in the tests, and printed by
``benchmarks/search_landscapes.py``.

This module is the only estimator of a gain: every output that compares two configurations calls :func:`gain` or
:func:`change`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING

from autotuner.study.metric import Direction

if TYPE_CHECKING:  # loaded where an interval is computed: a study without repeats needs none
    import numpy as np
    from numpy.typing import NDArray

LAUNCH_NOISE = 0.005
"""Least relative standard deviation between two launches of one configuration. Three repeats may agree to 0.1 % by
chance; no server on real hardware repeats better than about half a percent."""
MARGIN = 0.03
"""Two configurations are called equally good when the interval of their difference lies inside plus or minus this."""
_REPEATABILITY = 1.96 * math.sqrt(2)
"""Two single measurements differ by less in 95 % of cases, in standard deviations (ISO 5725-6)."""


class Effect(StrEnum):
    """What the interval of a gain shows."""

    BETTER = "better"
    """It lies above zero."""
    WORSE = "worse"
    """It lies below zero."""
    AS_GOOD = "as_good"
    """It includes zero and lies inside plus or minus :data:`MARGIN`: an equivalence test."""
    UNDECIDED = "undecided"
    """It includes zero and reaches beyond the margin."""


@dataclass(frozen=True)
class Gain:
    """One configuration against the default; ratios, positive is better whatever the metric's direction."""

    relative: float
    """0.12 is 12 % more throughput, or 12 % less time."""
    low: float
    high: float
    confidence: float
    repeats: int
    """Of the side that was measured less often."""
    effect: Effect


def change(default_values: Sequence[float], values: Sequence[float]) -> float | None:
    """The relative change of the mean over the default's; None without values or where the default's mean is 0."""
    if not default_values or not values or fmean(default_values) == 0:
        return None
    return fmean(values) / fmean(default_values) - 1


def gain(
    default_values: Sequence[float],
    values: Sequence[float],
    direction: Direction,
    *,
    noise: float = LAUNCH_NOISE,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Gain:
    """The relative gain of the mean of ``values`` over the default's, with its confidence interval.

    Values are one objective's, one a repeat, positive. With a single repeat on a side nothing can be told: the interval
    is unbounded. ``noise`` is the least relative standard deviation of one value that is known from elsewhere; the
    interval is never narrower than it allows. Raises ValueError for an empty side or a value that is not a positive
    finite number.
    """
    if not default_values or not values:
        raise ValueError("no repeats")
    if not all(math.isfinite(v) and v > 0 for v in (*default_values, *values)):
        raise ValueError("values must be positive, finite numbers")
    import numpy as np

    default, other = np.asarray(default_values, float), np.asarray(values, float)
    ratio = change(default_values, values)
    centre = math.log1p(0.0 if ratio is None else ratio)
    half = _half_width(default, other, np.random.default_rng(seed), confidence, resamples)
    known = student_t(0.5 + confidence / 2, math.inf) * noise * math.sqrt(1 / len(default) + 1 / len(other))
    half = max(half, known)
    sign = 1 if direction is Direction.MAX else -1
    low, high = sorted(sign * math.expm1(edge) for edge in (centre - half, centre + half))
    return Gain(
        relative=sign * math.expm1(centre),
        low=low,
        high=high,
        confidence=confidence,
        repeats=min(len(default), len(other)),
        effect=_effect(low, high),
    )


def _effect(low: float, high: float) -> Effect:
    if low > 0:
        return Effect.BETTER
    if high < 0:
        return Effect.WORSE
    return Effect.AS_GOOD if low >= -MARGIN and high <= MARGIN else Effect.UNDECIDED


def noise_of(repeats: Sequence[Sequence[float]]) -> float | None:
    """The relative difference that two single measurements of one configuration stay below in 95 % of cases, pooled
    over groups of repeats; None where no configuration was measured twice."""
    squares, freedom = 0.0, 0
    for group in repeats:
        mean = math.fsum(group) / len(group) if group else 0.0
        if len(group) > 1 and mean > 0:
            squares += math.fsum((v / mean - 1) ** 2 for v in group)
            freedom += len(group) - 1
    return _REPEATABILITY * math.sqrt(squares / freedom) if freedom else None


def _half_width(
    default: NDArray[np.float64],
    winner: NDArray[np.float64],
    rng: np.random.Generator,
    confidence: float,
    resamples: int,
) -> float:
    """Half the interval's width, on the log scale."""
    import numpy as np

    parts = []
    for values in (default, winner):
        n = len(values)
        if n < 2:
            return math.inf
        means = np.log(values[rng.integers(n, size=(resamples, n))].mean(axis=1))
        parts.append((float(means.var()) * n / (n - 1), n - 1))
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(variance**2 / df for variance, df in parts)
    return student_t(0.5 + confidence / 2, freedom) * math.sqrt(total)


def student_t(probability: float, freedom: float) -> float:
    """Quantile of Student's t distribution for ``probability`` >= 0.5; the normal one for infinite ``freedom``.

    With x = sqrt(freedom) * tan(angle) the density becomes cos(angle) ** (freedom - 1), which is integrated.
    """
    if math.isinf(freedom):
        return NormalDist().inv_cdf(probability)
    import numpy as np

    angles = np.linspace(0, math.pi / 2, 20_001)
    density = np.cos(angles) ** (freedom - 1)
    steps = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp((2 * probability - 1) * steps[-1], steps, angles))
    return math.sqrt(freedom) * math.tan(angle)
