"""Arrival times of an open loop, drawn from the seed before the run and independent of the server's speed.

Random arrivals are conditioned on their count: exactly ``round(rate * duration)`` fall into the duration. Every window
thus offers the requested rate, and all configurations face the same load. A Poisson process conditioned on its count
keeps its distribution (exponential gaps divided by their sum).
"""

from itertools import accumulate
from random import Random


def arrivals(kind: str, rate: float, duration_s: float, rng: Random, *, burstiness: float = 1.0) -> list[float]:
    """Draws arrival times.

    Args:
        kind: ``constant``, ``poisson`` or ``gamma``.
        rate: Requests per second.
        duration_s: Length of the span, in seconds.
        rng: Source of randomness.
        burstiness: Shape of the gamma distribution; the coefficient of variation of the gaps is ``burstiness ** -0.5``.

    Returns:
        Ascending times in seconds from the start, all below ``duration_s``.
    """
    count = max(1, round(rate * duration_s)) if duration_s > 0 else 0
    if kind == "constant":
        return [index / rate for index in range(count)]
    shape = burstiness if kind == "gamma" else 1.0
    gaps = [rng.gammavariate(shape, 1.0) for _ in range(count + 1)]
    scale = duration_s / (sum(gaps) or 1.0)
    return [min(at * scale, duration_s * (1 - 1e-12)) for at in accumulate(gaps[:-1])]
