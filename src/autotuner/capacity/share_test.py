"""Sequential test of a percentile SLO: whether the share of requests over a bound is below or above what it allows.

``p99 ttft <= 500ms`` allows one request in a hundred to be slower. The evidence on each side is an e-process: a mixture
of likelihood ratios of possible shares against the allowed one (Robbins 1970; Ramdas et al., "Game-theoretic statistics
and safe anytime-valid inference", 2023). By Ville's inequality its chance to reach 1/alpha on the wrong side is at most
alpha, whenever the test stops. Requests in a queue are not independent, so both counts are divided by the dispersion,
as in quasi-likelihood; that step is an approximation, and ``benchmarks/capacity.py`` measures the error rates.
"""

from collections.abc import Sequence
from math import exp, log, log1p

from autotuner.capacity.bound_test import BoundTest
from autotuner.capacity.dispersion import tail_dispersion, windows_with
from autotuner.capacity.observation import ShareCount
from autotuner.capacity.twin.control import Control, ControlledBets

_BELOW = ((0.05, 0.2), (0.25, 0.35), (0.45, 0.3), (0.7, 0.15))
"""Shares that a good level may have, relative to the allowed one, and their weights in the mixture: most where the
search places the levels that it wants to certify."""
_ABOVE = ((1.4, 0.15), (2.0, 0.35), (3.5, 0.25), (10.0, 0.15), (40.0, 0.05))
_HIGHEST = 0.9
"""The share of a level that misses nearly always; it has the rest of the weight."""
_LONGEST_RUN = 48
"""Misses in a row that count as one event."""
_CAUTION = 1.3
"""Factor on the dispersion before a level is certified: the estimate from 20 blocks is a third too low at times,
and the test looks again and again."""
_NEAR = 0.5
"""Part of the limit that the slowest requests must reach before their clusters say how misses would cluster."""
_SLOWEST = 8
_OWN_CLUSTERS = 100
"""Clusters from which a bad level's own dispersion is used."""
_SHORTEST_WINDOW = 16
"""Requests without a queue's memory that may hold more than one cluster of misses."""

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


class ShareTest(BoundTest):
    """The evidence for and against "at most a share ``allowed`` of the requests is over ``limit``".

    Args:
        limit: Values above it are misses. Failed requests have the value infinity.
        allowed: Share of requests that may miss, between 0 and 1, both exclusive.
    """

    def __init__(self, limit: float, allowed: float, control: Control | None = None) -> None:
        super().__init__(limit)
        self.allowed = allowed
        self._controlled = None if control is None else ControlledBets(control, limit, allowed)
        self.misses = 0
        self._precursor = False
        self._per_window = 1.0
        self._run = 0
        self._longest_run = 0
        above = [(factor * allowed, weight) for factor, weight in _ABOVE if factor * allowed < _HIGHEST]
        above.append((max(_HIGHEST, (1 + allowed) / 2), 1 - sum(weight for _, weight in above)))
        self._below = [self._log_ratios(factor * allowed, weight) for factor, weight in _BELOW]
        self._above = [self._log_ratios(share, weight) for share, weight in above]

    @property
    def settles(self) -> int | None:
        """Requests that are not bet on; None without a prediction of the misses."""
        return None if self._controlled is None else self._controlled.settles

    def add(self, value: float, predicted: float = 0.0) -> None:
        """Adds the next request in the order of arrival, with the value that the level's control predicts."""
        if self._controlled is not None:
            self._controlled.add(value, predicted)
        self.requests += 1
        missed = value > self.limit
        self.misses += missed
        self._run = self._run + 1 if missed else 0
        self._longest_run = max(self._longest_run, self._run)
        self._values.append(value)
        self._estimate_when_due()

    def refresh(self) -> None:
        """Estimates the dispersion from all requests so far."""
        super().refresh()
        self.dispersion = tail_dispersion(self._values, self.limit)
        if self._controlled is not None:
            self._controlled.refresh(self._values)
        slowest = sorted(self._values)[-_SLOWEST:]
        self._precursor = self.limit <= 0 or slowest[0] >= _NEAR * self.limit
        if self.misses:
            windows = windows_with([value > self.limit for value in self._values], self._window)
            self._per_window = self.misses / windows

    @property
    def _window(self) -> int:
        return max(_SHORTEST_WINDOW, round(self.memory))

    @property
    def log_evidence_below(self) -> float:
        """Log of the e-process against "more requests miss than allowed"."""
        if self._controlled is not None:
            return self._controlled.log_evidence_below(_CAUTION)
        dispersion = self.dispersion
        if not self._precursor:
            # Nothing slow was seen, so nothing says how misses would cluster: at most while the queue stays long.
            dispersion = max(self._per_window, self.memory)
        dispersion = max(dispersion, self.least_dispersion)
        return self._log_mixture(self._below, dispersion if dispersion == 1.0 else _CAUTION * dispersion)

    @property
    def log_evidence_above(self) -> float:
        """Log of the e-process against "no more requests miss than allowed"."""
        if self._controlled is not None:
            return self._controlled.log_evidence_above(_CAUTION)
        # One queue makes one run of misses; only a run that no queue explains counts more than once.
        cluster = max(self._per_window, min(self._longest_run, _LONGEST_RUN))
        # A short level has met one or two clusters, too few to estimate their size.
        short = self.requests < _OWN_CLUSTERS * self.least_dispersion
        known = max(self.dispersion, self.least_dispersion) if short else self.dispersion
        return self._log_mixture(self._above, max(known, cluster))

    def observation(self, load: float) -> ShareCount:
        """What the curve needs."""
        count = self.requests / self.dispersion
        return ShareCount(load, count, self.misses / self.dispersion, self.allowed)

    def _log_ratios(self, share: float, weight: float) -> tuple[float, float, float]:
        """Log likelihood ratios of a miss and of a hit, for a share against the allowed one, and log of its weight."""
        return log(share / self.allowed), log1p(-share) - log1p(-self.allowed), log(weight)

    def _log_mixture(self, ratios: Sequence[tuple[float, float, float]], dispersion: float) -> float:
        misses = self.misses / dispersion
        hits = (self.requests - self.misses) / dispersion
        logs = [misses * miss + hits * hit + weight for miss, hit, weight in ratios]
        highest = max(logs)
        return highest + log(sum(exp(one - highest) for one in logs))
