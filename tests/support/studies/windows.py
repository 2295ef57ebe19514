"""Measured windows with a chosen throughput and TTFT."""

from typing import Any

from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.workload import Concurrency

_STATISTICS = ("mean", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max")


def window(level: Concurrency, rate: float = 100.0, ttft: float | None = 0.1, **more: Any) -> Measurement:
    """A window of 500 requests.

    Args:
        level: Its load.
        rate: Output tokens per second.
        ttft: TTFT of every request, in seconds; None if it was not measured.
        more: Further fields of the measurement.
    """
    known = {} if ttft is None else {"ttft": Distribution(count=500, std=0.0, **dict.fromkeys(_STATISTICS, ttft))}
    return Measurement(
        scenario="D(16,8)",
        level=level,
        window_s=8.0,
        requests=500,
        failed=0,
        distributions=known,
        scalars={"output_throughput": rate},
        **more,
    )
