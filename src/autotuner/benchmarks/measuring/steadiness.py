"""Whether a window had settled: throughput and latency of its second half agree with those of its first.

The allowance grows when there are few requests, so that chance alone is seldom called drift. A window with fewer than
eight is not called steady: nothing shows that it was.
"""

from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from autotuner.benchmarks.loadgen.settling import FEWEST, latencies_drift, rates_drift


def drifted(
    output: Sequence[tuple[NDArray[np.float64], float]], ttfts: Sequence[tuple[float, float]], window_s: float
) -> tuple[bool, list[str]]:
    """(steady, why not). ``output``: per request its chunk times inside the window (s) and tokens a chunk; ``ttfts``:
    (end, ttft) of each counted request, in seconds."""
    if len(ttfts) < FEWEST:
        return False, [f"only {len(ttfts)} requests ended in the window: too few to tell whether it was steady"]
    half = window_s / 2
    reasons = []
    first, second = halves(output, window_s)
    if rates_drift(first, second, len(ttfts)):
        reasons.append(f"not steady: {first / half:.0f} tokens/s in the first half, {second / half:.0f} in the second")
    early = [ttft for end, ttft in ttfts if end < half]
    late = [ttft for end, ttft in ttfts if end >= half]
    if early and late:
        a = median(early)
        b = median(late)
        if latencies_drift(a, b, len(ttfts)):
            reasons.append(f"not steady: median ttft went from {a * 1000:.1f} to {b * 1000:.1f} ms")
    return not reasons, reasons


def halves(output: Sequence[tuple[NDArray[np.float64], float]], window_s: float) -> tuple[float, float]:
    """Tokens in the first and in the second half of the window."""
    half = window_s / 2
    first = sum(int((times < half).sum()) * each for times, each in output)
    second = sum(int((times >= half).sum()) * each for times, each in output)
    return first, second
