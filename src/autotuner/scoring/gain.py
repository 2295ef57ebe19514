"""Is the winner really better than the default, and by how much? An interval from few, interleaved repeats.

With three repeats a percentile bootstrap can reach no further than the extremes seen, and covers far less than it
says. So the bootstrap gives only the standard error of the log ratio of the means (each side resampled by itself, which
is conservative when drift moves both alike); it is corrected for the size of the sample (n / (n - 1)) and taken times
Student's t with Welch's degrees of freedom. Coverage is checked by simulation in the tests, and printed by
``benchmarks/search_landscapes.py``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.study.metric import Direction

_REPEATABILITY = 1.96 * math.sqrt(2)
"""Two single measurements differ by less in 95 % of cases, in standard deviations (ISO 5725-6)."""


@dataclass(frozen=True)
class Gain:
    """The winner against the default; ratios, positive is better whatever the metric's direction."""

    relative: float
    """0.12 is 12 % more throughput, or 12 % less time."""
    low: float
    high: float
    confidence: float
    repeats: int
    """Of the side that was measured less often."""
    as_good: bool
    """True where the data do not show that the winner is better: the default is as good."""
    text: str


def gain(
    default_values: Sequence[float],
    winner_values: Sequence[float],
    direction: Direction,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Gain:
    """The relative gain of the winner's mean over the default's, with its confidence interval.

    Values are one objective's, one a repeat, positive. With a single repeat on a side nothing can be told: the interval
    is unbounded. Raises ValueError for an empty side or a value that is not a positive finite number.
    """
    if not default_values or not winner_values:
        raise ValueError("no repeats")
    if not all(math.isfinite(v) and v > 0 for v in (*default_values, *winner_values)):
        raise ValueError("values must be positive, finite numbers")
    default, winner = np.asarray(default_values, float), np.asarray(winner_values, float)
    centre = math.log(float(winner.mean()) / float(default.mean()))
    half = _half_width(default, winner, np.random.default_rng(seed), confidence, resamples)
    if list(default_values) == list(winner_values):
        half = 0.0
    sign = 1 if direction is Direction.MAX else -1
    relative = sign * math.expm1(centre)
    low, high = sorted(sign * math.expm1(edge) for edge in (centre - half, centre + half))
    repeats = min(len(default), len(winner))
    return Gain(
        relative=relative,
        low=low,
        high=high,
        confidence=confidence,
        repeats=repeats,
        as_good=low <= 0,
        text=_text(relative, low, high, confidence, repeats),
    )


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
    """Quantile of Student's t distribution for ``probability`` >= 0.5.

    With x = sqrt(freedom) * tan(angle) the density becomes cos(angle) ** (freedom - 1), which is integrated.
    """
    angles = np.linspace(0, math.pi / 2, 20_001)
    density = np.cos(angles) ** (freedom - 1)
    steps = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp((2 * probability - 1) * steps[-1], steps, angles))
    return math.sqrt(freedom) * math.tan(angle)


def _text(relative: float, low: float, high: float, confidence: float, repeats: int) -> str:
    if repeats < 2:
        return f"{relative:+.1%} over the default, not proven: measured once only"
    span = f"{confidence:.0%} interval {low:+.1%} to {high:+.1%}, {repeats} interleaved repeats"
    return (
        f"{relative:+.1%} over the default ({span})" if low > 0 else f"the default is as good ({relative:+.1%}; {span})"
    )
