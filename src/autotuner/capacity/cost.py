"""Expected requests of deciding a level: Wald's number for independent requests, times their dispersion."""

from math import log

from autotuner.capacity.share_test import floor_requests

_OVERHEAD = 1.3
"""Requests of a test of many alternatives relative to one of the true share, and the overshoot at its end."""


def requests_to_decide(share: float, allowed: float, error: float, dispersion: float) -> float:
    """Expected requests until a level with this share of misses is certified or refuted.

    Args:
        share: True share of misses; below ``allowed`` the level is certified, above it refuted.
        allowed: Share that the SLO allows.
        error: Error rate of the decision.
        dispersion: Requests that carry the information of one independent request.
    """
    drift = (share * log(share / allowed) if share else 0.0) + (1 - share) * log((1 - share) / (1 - allowed))
    expected = _OVERHEAD * -log(error) * dispersion / max(drift, 1e-9)
    return max(expected, float(floor_requests(allowed))) if share < allowed else expected
