"""Gain of one configuration over another, with a confidence interval from few, interleaved repeats.

With three repeats, a percentile bootstrap cannot exceed the observed extremes and covers far less than it claims.
Therefore the bootstrap only provides the standard error of the log ratio of the means. Each side is resampled
separately, which is conservative if drift moves both alike. The error is corrected for the sample size (n / (n - 1))
and multiplied by Student's t with Welch's degrees of freedom. The tests verify the coverage by simulation, and
``benchmarks/search_landscapes.py`` prints it.

The bootstrap's variance is computed rather than sampled: over all resamples for the few repeats of a proof, so that it
has no sampling error and needs no seed, and by its first-order expansion (the delta method) for more values. The module
is plain Python, so that commands that show results need not import numpy.

That is the interval for a number of repeats that was fixed beforehand. A proof that looks after every block uses
:func:`paired_gain`, whose interval (:mod:`autotuner.scoring.anytime`) holds at all numbers of blocks at once.

These are the only estimators of a gain: every output that compares two configurations calls :func:`gain`,
:func:`paired_gain` or :func:`change`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import combinations_with_replacement
from operator import mul
from statistics import NormalDist, fmean

from autotuner.scoring.anytime import interval
from autotuner.study.metric import Direction

LAUNCH_NOISE = 0.005
"""Minimum relative standard deviation between launches of one configuration. Three repeats may agree to 0.1% by chance,
but no server on real hardware is repeatable to better than about 0.5%."""
MARGIN = 0.03
"""Two configurations count as equally good if the interval of their difference lies within plus or minus this value,
unless the study sets another one."""
_ALL_RESAMPLES = 7
"""Largest number of values whose resamples are all enumerated (1716 for 7, ignoring order). For more values, the
relative error of the first-order expansion is about the relative variance of the mean, which is then small."""
_LARGEST_LOG = 700.0
_REPEATABILITY = 1.96 * math.sqrt(2)
"""Difference, in standard deviations, that two single measurements do not exceed in 95% of cases (ISO 5725-6)."""


class Effect(StrEnum):
    """Conclusion from the interval of a gain."""

    BETTER = "better"
    """The interval lies above zero."""
    WORSE = "worse"
    """The interval lies below zero."""
    AS_GOOD = "as_good"
    """The interval includes zero and lies within plus or minus the margin (an equivalence test)."""
    UNDECIDED = "undecided"
    """The interval includes zero and extends beyond the margin."""


@dataclass(frozen=True)
class Gain:
    """Gain of a configuration over the default; positive is better, whatever the metric's direction."""

    relative: float
    """E.g. 0.12 for 12% more throughput or 12% less time; a difference if ``absolute`` is set."""
    low: float
    high: float
    confidence: float
    repeats: int
    """Repeats of the side that was measured less often; blocks that measured both if they are compared in pairs."""
    effect: Effect
    absolute: bool = False
    """Whether the gain and its interval are differences in the metric's unit, as for shares and for values that
    are not positive."""

    @property
    def bounded(self) -> bool:
        """Whether there were enough repeats for an interval."""
        return self.repeats > 1 and math.isfinite(self.low) and math.isfinite(self.high)

    def logs(self, direction: Direction) -> tuple[float, float] | None:
        """Ends of the interval of a relative gain as log ratios, positive for better; None if one is not finite.

        Where smaller is better, the low end is below -1 if the value may have more than doubled. The end of a very wide
        interval may round to a value of zero, whose logarithm is not finite.
        """
        sign = 1 if direction is Direction.MAX else -1
        ratios = [1 + sign * self.low, 1 + sign * self.high]
        if self.absolute or not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
            return None
        return sign * math.log1p(sign * self.low), sign * math.log1p(sign * self.high)


def change(default_values: Sequence[float], values: Sequence[float]) -> float | None:
    """Relative change of the mean compared to the default's; None without values or if the default's mean is 0."""
    if not default_values or not values or fmean(default_values) == 0:
        return None
    return fmean(values) / fmean(default_values) - 1


def gain(
    default_values: Sequence[float],
    values: Sequence[float],
    direction: Direction,
    *,
    noise: float = LAUNCH_NOISE,
    confidence: float = 0.95,
    margin: float = MARGIN,
) -> Gain:
    """Estimates the relative gain of the mean of ``values`` over the default's.

    Args:
        default_values: Values of the objective for the default, one per repeat.
        values: Values of the objective for the other configuration, one per repeat.
        direction: Whether larger or smaller values are better.
        noise: Known minimum of the relative standard deviation of a value; the interval is never narrower than that
            allows.
        confidence: Level of the interval.
        margin: Relative difference within which both count as equally good.

    Returns:
        The gain with its interval, which is unbounded if a side has a single repeat.

    Raises:
        ValueError: A side is empty, or a value is not a positive, finite number.
    """
    if not default_values or not values:
        raise ValueError("no repeats")
    if not all(math.isfinite(v) and v > 0 for v in (*default_values, *values)):
        raise ValueError("values must be positive, finite numbers")
    ratio = change(default_values, values)
    center = math.log1p(0.0 if ratio is None else ratio)
    half = _half_width(default_values, values, confidence)
    known = student_t(0.5 + confidence / 2, math.inf) * noise * math.sqrt(1 / len(default_values) + 1 / len(values))
    half = max(half, known)
    sign = 1 if direction is Direction.MAX else -1
    low, high = sorted(sign * math.expm1(edge) for edge in (center - half, center + half))
    return Gain(
        relative=sign * math.expm1(center),
        low=low,
        high=high,
        confidence=confidence,
        repeats=min(len(default_values), len(values)),
        effect=_effect(low, high, margin),
    )


def paired_gain(
    pairs: Sequence[tuple[float, float]],
    direction: Direction,
    *,
    alpha: float,
    confidence: float,
    noise: float = LAUNCH_NOISE,
    margin: float = MARGIN,
    share: bool = False,
) -> Gain:
    """Estimates the gain of a configuration over the default from blocks that measured both.

    The gain is that of the means, as in :func:`change`; its interval is that of the mean log ratio of the blocks.
    Ratios are compared, so that drift of the machine that affects both sides of a block alike cancels. Differences are
    compared for a share, whose percentage points matter, and if a value is zero or negative.

    Args:
        pairs: Values of the objective for the default and for the other configuration, one pair per block.
        direction: Whether larger or smaller values are better.
        alpha: Probability that this interval ever misses, at any number of blocks.
        confidence: Level of all intervals of the proof together, for display.
        noise: Known minimum of the relative standard deviation of a value.
        margin: Relative difference within which both count as equally good; for a share, an absolute difference.
        share: Whether the metric is a share between 0 and 1.

    Returns:
        The gain with its interval, which is unbounded for too few blocks.

    Raises:
        ValueError: ``pairs`` is empty, or a value is not finite.
    """
    if not pairs:
        raise ValueError("no pairs")
    if not all(math.isfinite(value) for pair in pairs for value in pair):
        raise ValueError("values must be finite numbers")
    sign = 1 if direction is Direction.MAX else -1
    absolute = share or min(value for pair in pairs for value in pair) <= 0
    if absolute:
        sides = [abs(fmean(side)) for side in zip(*pairs, strict=True)]
        found = interval([other - one for one, other in pairs], alpha, noise=math.sqrt(2) * noise * max(sides))
        center, low, high = (sign * edge for edge in (found.center, found.low, found.high))
        margin = margin if share else margin * sides[0]
    else:
        found = interval([math.log(other / one) for one, other in pairs], alpha, noise=math.sqrt(2) * noise)
        center = sign * (change(*zip(*pairs, strict=True)) or 0.0)
        low, high = (sign * _expm1(edge) for edge in (found.low, found.high))
    low, high = sorted((low, high))
    return Gain(
        relative=center,
        low=low,
        high=high,
        confidence=confidence,
        repeats=len(pairs),
        effect=_effect(low, high, margin),
        absolute=absolute,
    )


def _expm1(value: float) -> float:
    """``exp(value) - 1``; infinite instead of an overflow, which a wide interval of few pairs may cause."""
    return math.expm1(value) if value < _LARGEST_LOG else math.inf


def _effect(low: float, high: float, margin: float) -> Effect:
    if low > 0:
        return Effect.BETTER
    if high < 0:
        return Effect.WORSE
    return Effect.AS_GOOD if low >= -margin and high <= margin else Effect.UNDECIDED


def noise_of(repeats: Sequence[Sequence[float]]) -> float | None:
    """Relative difference that two single measurements of one configuration do not exceed in 95% of cases, pooled over
    groups of repeats; None if no configuration was measured twice."""
    squares = 0.0
    freedom = 0
    for group in repeats:
        mean = math.fsum(group) / len(group) if group else 0.0
        if len(group) > 1 and mean > 0:
            squares += math.fsum((v / mean - 1) ** 2 for v in group)
            freedom += len(group) - 1
    return _REPEATABILITY * math.sqrt(squares / freedom) if freedom else None


def _half_width(default: Sequence[float], other: Sequence[float], confidence: float) -> float:
    """Half of the interval's width on the log scale."""
    parts = []
    for values in (default, other):
        n = len(values)
        if n < 2:
            return math.inf
        parts.append((variance_of_log_mean(values) * n / (n - 1), n - 1))
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 0.0
    freedom = 1 / sum((variance / total) ** 2 / df for variance, df in parts)
    return student_t(0.5 + confidence / 2, freedom) * math.sqrt(total)


def variance_of_log_mean(values: Sequence[float]) -> float:
    """Bootstrap variance of the logarithm of the mean."""
    n = len(values)
    mean = fmean(values)
    if min(values) == max(values):
        return 0.0
    scaled = [value / mean for value in values]
    if n > _ALL_RESAMPLES:
        return fmean((value - 1) ** 2 for value in scaled) / n
    resamples, weights = _resamples(n)
    logs = [math.log(sum(map(scaled.__getitem__, drawn)) / n) for drawn in resamples]
    center = math.fsum(map(mul, logs, weights))
    return math.fsum(weight * (value - center) ** 2 for value, weight in zip(logs, weights, strict=True))


@cache
def _resamples(n: int) -> tuple[list[tuple[int, ...]], list[float]]:
    """All resamples of ``n`` values as indexes, ignoring order, and the probability of each."""
    resamples = list(combinations_with_replacement(range(n), n))
    weights = []
    for drawn in resamples:
        same = math.prod(math.factorial(times) for times in Counter(drawn).values())
        weights.append(math.factorial(n) / same / n**n)
    return resamples, weights


def student_t(probability: float, freedom: float) -> float:
    """Quantile of Student's t distribution for ``probability`` >= 0.5; the normal quantile for infinite ``freedom``.

    With x = sqrt(freedom) * tan(angle), the density becomes cos(angle) ** (freedom - 1), whose integral up to pi / 2 is
    known. Newton's method finds the angle of the requested share: starting at the normal quantile, which is too small,
    it converges monotonically from below, because the density is decreasing.
    """
    normal = NormalDist().inv_cdf(probability)
    if math.isinf(freedom):
        return normal
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    wanted = (2 * probability - 1) * whole
    angle = math.atan(normal / math.sqrt(freedom))
    for _ in range(50):
        step = (wanted - _area(angle, freedom - 1, whole)) / math.pow(math.cos(angle), freedom - 1)
        angle += step
        if abs(step) <= 1e-12:
            break
    return math.sqrt(freedom) * math.tan(angle)


def _area(angle: float, power: float, whole: float) -> float:
    """Integral of cos(x) ** power from 0 to ``angle``; ``whole`` is the integral up to pi / 2. It is summed as a
    hypergeometric series from the closer end of the range, where the series converges quickly."""
    sine = math.sin(angle)
    cosine = math.cos(angle)
    tail = angle > math.pi / 4
    ratio, first, offset = (cosine**2, 1 / (power + 1), power + 3) if tail else (sine**2, 1.0, 3.0)
    term = first
    total = 0.0
    k = 0
    while term > 1e-17 * total:
        total += term
        term *= ratio * (power + 2 + 2 * k) / (offset + 2 * k)
        k += 1
    part = sine * math.pow(cosine, power + 1) * total
    return whole - part if tail else part
