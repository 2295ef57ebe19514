"""Settings for studies that are not about figures: a busy machine makes them slower and changes nothing else.

A window is as long as a number of requests takes, however long that is; none is too thin to be ranked; and the load
generator is never called the bottleneck.
"""

from collections.abc import Mapping
from typing import Any

CALM_LIMITS: Mapping[str, float] = {"lag_s": 600.0, "lag_share": 1000.0, "rate_share": 0.0, "cpu_cores": 1000.0}
"""``limits`` of the native benchmark that nothing exceeds."""

CALM_BENCHMARK: Mapping[str, Any] = {"kind": "native", "limits": dict(CALM_LIMITS)}
"""The ``benchmark`` section of a study file."""

_PATIENCE = "60s"


def calm_workload(scenario: str = "D(16,8)", *, requests: int = 8, **changes: Any) -> dict[str, Any]:
    """The ``workload`` section of a study file. A test that acts while a window is open asks for more ``requests``, so
    that the window lasts, on a busy machine all the longer."""
    return {
        "scenarios": [scenario],
        "concurrency": [2],
        "warmup": "100ms",
        "duration": _PATIENCE,
        "max_duration": _PATIENCE,
        "requests": requests,
        "min_requests": 0,
        **changes,
    }
