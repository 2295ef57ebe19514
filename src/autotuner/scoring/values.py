"""Values of a window for scoring."""

import math

from autotuner.study.measurement import Measurement


def metric_value(m: Measurement, metric: str, statistic: str | None) -> float | None:
    """The value of a metric; None if it was not measured or is not a finite number."""
    if metric != "success_rate":
        return _finite(m.value(metric, statistic))
    # A capacity search without a certified load has no window of its own in which requests could fail.
    return None if m.undecided else success_rate(m)


def success_rate(m: Measurement) -> float:
    """The share of successes, or the reported rate if that is lower; 0 if no request ended."""
    counted = (m.requests - m.failed) / m.requests if m.requests > 0 else 0.0
    stated = _finite(m.scalars.get("success_rate"))
    return counted if stated is None else min(counted, stated)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
