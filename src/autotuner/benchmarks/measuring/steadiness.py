"""Steadiness of a window: whether throughput and latency of its second half agree with those of its first.

The tolerance is larger for few requests, so that chance alone rarely counts as drift. A window with fewer than eight
requests never counts as steady, because nothing shows that it was.
"""

from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from autotuner.benchmarks.loadgen.window_end import FEWEST, latencies_drift, rates_drift
from autotuner.study.measurement import NOT_STEADY


def check_steadiness(
    output: Sequence[tuple[NDArray[np.float64], float]],
    latencies: Sequence[tuple[float, float]],
    window_s: float,
    *,
    unit: str = "tokens/s",
    latency: str = "ttft",
) -> tuple[bool, list[str]]:
    """Compares the halves of a window.

    Args:
        output: For each request, the times of its chunks inside the window (seconds) and the output per chunk.
        latencies: (end, latency) of each success, in seconds.
        window_s: Length of the window, in seconds.
        unit: Unit of the output.
        latency: Name of the latency.

    Returns:
        Whether the window was steady, and the reasons if it was not.
    """
    if len(latencies) < FEWEST:
        return False, [f"too few finished requests ({len(latencies)}) to judge whether the window was steady"]
    half = window_s / 2
    reasons = []
    first, second = tokens_by_half(output, window_s)
    if rates_drift(first, second, len(latencies)):
        reasons.append(f"{NOT_STEADY}: {first / half:.0f} {unit} in the first half, {second / half:.0f} in the second")
    early = [value for end, value in latencies if end < half]
    late = [value for end, value in latencies if end >= half]
    if early and late:
        a = median(early)
        b = median(late)
        if latencies_drift(a, b, len(latencies)):
            reasons.append(f"{NOT_STEADY}: median {latency} went from {a * 1000:.1f} to {b * 1000:.1f} ms")
    return not reasons, reasons


def tokens_by_half(output: Sequence[tuple[NDArray[np.float64], float]], window_s: float) -> tuple[float, float]:
    """Output tokens in the first and in the second half of the window."""
    half = window_s / 2
    first = sum(int((times < half).sum()) * each for times, each in output)
    second = sum(int((times >= half).sum()) * each for times, each in output)
    return first, second
