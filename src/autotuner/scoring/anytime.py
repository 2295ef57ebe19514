"""Anytime-valid interval of a mean difference from few pairs: it holds even if it is looked at after every pair.

Two configurations that are measured in the same block differ by a value in which the block's own condition, such as
drift of the machine, cancels. The differences of the blocks are normal with unknown mean and variance. For a
hypothetical mean, the evidence against it is a likelihood ratio of the scale-invariant statistic (Student's t): the
alternative has effects in standard deviations drawn from a normal distribution with variance :data:`SPREAD`, and the
standard deviation is integrated out with its right Haar measure (Wang and Ramdas, arXiv:2310.03722; Lindon et al.,
arXiv:2210.08589). Under the hypothesis, the evidence is a martingale with mean 1, so by Ville's inequality the
probability that it ever reaches 1 / alpha is at most alpha. The interval consists of all means whose evidence is below
that. It therefore covers at all numbers of pairs at once: any rule may end the measuring, and more pairs may be added
after looking.

Only the pair's own differences determine its variance. Residuals pooled over other configurations would narrow the
interval of three or four pairs, but a configuration whose launches vary five times as much as the others' would then
be called different in 15% to 25% of cases instead of 5%. With its own differences, the interval holds whatever the
others do, and whenever they are dropped.

The module is plain Python, so that commands that show results need not import numpy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

SPREAD = 30.0
"""Variance of the effects that the evidence is designed for, in standard deviations of a difference. Smaller values
give narrower intervals for many pairs (4.0 instead of 4.3 standard errors for 12 pairs at 10), larger ones decide large
effects earlier: above 20, three pairs can decide at 95% with three contenders. It must not depend on the data."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval."""

    center: float
    low: float
    high: float


def factor(pairs: int, alpha: float) -> float:
    """Half-width of the interval in standard errors; infinite for too few pairs.

    The evidence against a mean that is t standard errors away is ``((1 + t**2 / freedom) / (1 + t**2 / (freedom *
    spread))) ** (pairs / 2) / sqrt(spread)``. This is the t at which it reaches 1 / alpha.
    """
    freedom = pairs - 1
    if freedom < 1:
        return math.inf
    spread = 1 + pairs * SPREAD
    power = math.exp(2 / pairs * (math.log(spread) / 2 - math.log(alpha)))
    if power >= spread:
        return math.inf
    return math.sqrt(freedom * (power - 1) / (1 - power / spread))


def fewest_pairs(alpha: float) -> int:
    """The smallest number of pairs whose interval is bounded."""
    pairs = 2
    while math.isinf(factor(pairs, alpha)):
        pairs += 1
    return pairs


def interval(differences: Sequence[float], alpha: float, *, noise: float = 0.0) -> Interval:
    """The interval of the mean difference.

    Args:
        differences: One per block, in order.
        alpha: Probability that the interval ever misses the mean.
        noise: Known minimum of the standard deviation of a difference.

    Raises:
        ValueError: ``differences`` is empty.
    """
    if not differences:
        raise ValueError("no pairs")
    pairs = len(differences)
    center = fmean(differences)
    if pairs < 2:
        return Interval(center, -math.inf, math.inf)
    squares = math.fsum((difference - center) ** 2 for difference in differences)
    deviation = max(math.sqrt(squares / (pairs - 1)), noise)
    width = factor(pairs, alpha)
    half = width * deviation / math.sqrt(pairs) if math.isfinite(width) else math.inf
    return Interval(center, center - half, center + half)
