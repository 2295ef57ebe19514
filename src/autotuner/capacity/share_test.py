"""Sequential test of a percentile SLO: whether the share of requests over a bound is below or above what it allows.

``p99 ttft <= 500ms`` allows one request in a hundred to be slower. The evidence on each side is an e-process: a mixture
of likelihood ratios of possible shares against the allowed one (Robbins 1970; Ramdas et al., "Game-theoretic statistics
and safe anytime-valid inference", 2023). By Ville's inequality its chance to reach 1/alpha on the wrong side is at most
alpha, whenever the test stops. Requests in a queue are not independent, so both counts are divided by the dispersion,
as in quasi-likelihood; that step is an approximation, and ``benchmarks/capacity.py`` measures the error rates.
"""

from collections.abc import Sequence
from math import exp, log, log1p

from autotuner.capacity.dispersion import tail_dispersion
from autotuner.capacity.observation import ShareCount

_BELOW = (0.05, 0.3, 0.5, 0.65, 0.8)
"""Shares that a good level may have, relative to the allowed one."""
_ABOVE = (1.25, 1.5, 2.0, 3.0, 6.0, 15.0, 40.0)
_HIGHEST = 0.9
"""The share of a level that misses nearly always."""
_LONGEST_RUN = 48
"""Misses in a row that count as one event."""
_FIRST_ESTIMATE = 24
"""Requests after which the dispersion is first estimated; then again with every eighth more."""

# MLPerf inference rules, early stopping at 99% confidence: fewest requests from which a percentile may be claimed.
_MLPERF = ((0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636))


def floor_requests(allowed: float) -> int:
    """Fewest requests from which a percentile SLO may be certified, by MLPerf's early-stopping table.

    Args:
        allowed: Share of requests that may miss the bound; 0.01 for a p99.

    Returns:
        The table's number for the next higher percentile, or beyond the table in proportion to ``1 / allowed``.
    """
    for percentile, requests in _MLPERF:
        if 1 - allowed <= percentile + 1e-9:
            return requests
    return round(_MLPERF[-1][1] * 0.001 / allowed)


class ShareTest:
    """The evidence for and against "at most a share ``allowed`` of the requests is over ``limit``".

    Args:
        limit: Values above it are misses. Failed requests have the value infinity.
        allowed: Share of requests that may miss, between 0 and 1, both exclusive.
    """

    def __init__(self, limit: float, allowed: float) -> None:
        self.limit = limit
        self.allowed = allowed
        self.requests = 0
        self.misses = 0
        self.dispersion = 1.0
        self.least_dispersion = 1.0
        self._values: list[float] = []
        self._run = 0
        self._longest_run = 0
        self._next_estimate = _FIRST_ESTIMATE
        below = [factor * allowed for factor in _BELOW]
        above = [share for share in (factor * allowed for factor in _ABOVE) if share < _HIGHEST]
        self._below = [self._log_ratios(share) for share in below]
        self._above = [self._log_ratios(share) for share in [*above, max(_HIGHEST, (1 + allowed) / 2)]]

    def add(self, value: float) -> None:
        """Adds the next request in the order of arrival."""
        self.requests += 1
        missed = value > self.limit
        self.misses += missed
        self._run = self._run + 1 if missed else 0
        self._longest_run = max(self._longest_run, self._run)
        self._values.append(value)
        if self.requests >= self._next_estimate:
            self._next_estimate = self.requests + self.requests // 8
            self.dispersion = tail_dispersion(self._values, self.limit)

    @property
    def log_evidence_below(self) -> float:
        """Log of the e-process against "more requests miss than allowed"."""
        return self._log_mixture(self._below, max(self.dispersion, self.least_dispersion))

    @property
    def log_evidence_above(self) -> float:
        """Log of the e-process against "no more requests miss than allowed"."""
        # One queue makes one run of misses; only a run that no queue explains counts more than once.
        return self._log_mixture(self._above, max(self.dispersion, min(self._longest_run, _LONGEST_RUN)))

    def observation(self, load: float) -> ShareCount:
        """What the curve needs."""
        count = self.requests / self.dispersion
        return ShareCount(load, count, self.misses / self.dispersion, self.allowed)

    def _log_ratios(self, share: float) -> tuple[float, float]:
        """Log likelihood ratios of a miss and of a hit, for a share against the allowed one."""
        return log(share / self.allowed), log1p(-share) - log1p(-self.allowed)

    def _log_mixture(self, ratios: Sequence[tuple[float, float]], dispersion: float) -> float:
        misses = self.misses / dispersion
        hits = (self.requests - self.misses) / dispersion
        logs = [misses * miss + hits * hit for miss, hit in ratios]
        highest = max(logs)
        return highest + log(sum(exp(one - highest) for one in logs) / len(logs))
