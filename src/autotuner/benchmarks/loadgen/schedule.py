"""When requests of an open loop arrive: drawn before the run from the seed, however slow the answers will be.

Random arrivals are conditioned on their number: ``round(rate * duration)`` arrivals fall inside the duration, so that
the offered rate is the asked one in every window and two configurations are offered the same load. Given its count, a
Poisson process stays one (exponential gaps, divided by their sum).
"""

from itertools import accumulate
from random import Random


def arrivals(kind: str, rate: float, duration_s: float, rng: Random, *, burstiness: float = 1.0) -> list[float]:
    """Arrival times in seconds from the start, growing, all below ``duration_s``.

    ``kind`` is ``constant``, ``poisson`` or ``gamma``; ``burstiness`` is the shape of the gamma distribution (the
    coefficient of variation of the gaps is ``burstiness ** -0.5``).
    """
    count = max(1, round(rate * duration_s)) if duration_s > 0 else 0
    if kind == "constant":
        return [index / rate for index in range(count)]
    shape = burstiness if kind == "gamma" else 1.0
    gaps = [rng.gammavariate(shape, 1.0) for _ in range(count + 1)]
    scale = duration_s / (sum(gaps) or 1.0)
    return [min(at * scale, duration_s * (1 - 1e-12)) for at in accumulate(gaps[:-1])]
