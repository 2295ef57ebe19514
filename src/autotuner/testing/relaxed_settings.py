"""Settings for test studies that do not depend on measured numbers: a busy machine only makes them slower.

A window lasts as long as a number of requests takes; no window has too few requests to be ranked; and the load
generator is never reported as the bottleneck.
"""

from collections.abc import Mapping
from typing import Any

CALM_LIMITS: Mapping[str, float] = {"lag_s": 600.0, "lag_share": 1000.0, "rate_share": 0.0, "cpu_cores": 1000.0}
"""``limits`` of the native benchmark that are never exceeded."""

CALM_BENCHMARK: Mapping[str, Any] = {"kind": "native", "limits": dict(CALM_LIMITS)}
"""The ``benchmark`` section of a study file."""

_PATIENCE = "60s"


def calm_workload(scenario: str = "D(16,8)", *, requests: int = 8, **changes: Any) -> dict[str, Any]:
    """The ``workload`` section of a study file.

    A test that acts while a window is open requests more ``requests``, so that the window lasts long enough.
    """
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
