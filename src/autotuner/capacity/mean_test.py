"""Sequential test of a bound on a mean or a rate: ``mean ttft <= 200ms``, ``output_throughput >= 500``.

Uses an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory
and asymptotic confidence sequences", 2021): latencies have no known upper bound, so no sequence can be exact. The
number of requests is divided by the variance inflation of their dependence.
"""

from math import inf, log, sqrt
from statistics import fmean

from autotuner.capacity.bound_test import BoundTest
from autotuner.capacity.dispersion import mean_dispersion
from autotuner.capacity.observation import MeanValue

_TIGHTEST = 30.0
"""Independent requests at which the confidence sequence is tightest."""
_FEWEST = 20.0
"""Independent requests below which the central limit theorem is not trusted."""


class MeanTest(BoundTest):
    """The evidence for and against "the mean is at most ``limit``".

    Args:
        limit: In the unit of the values. A lower bound is tested with both signs changed.
    """

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self._mean = 0.0
        self._variance = 0.0

    def add(self, value: float, predicted: float = 0.0) -> None:
        """Adds the next request in the order of arrival; infinite values (failures) have no part in a mean."""
        self.requests += 1
        if value != inf:
            self._values.append(value)
        self._estimate_when_due()

    def refresh(self) -> None:
        """Estimates mean, variance and dispersion from all requests so far."""
        super().refresh()
        if self._values:
            self.dispersion = mean_dispersion(self._values)
            self._mean = fmean(self._values)
            self._variance = fmean([(value - self._mean) ** 2 for value in self._values])

    @property
    def log_evidence_below(self) -> float:
        """Log of the evidence that the mean is below the limit, on the scale of an e-process."""
        return self._log_evidence(self.limit - self._mean)

    @property
    def log_evidence_above(self) -> float:
        """Log of the evidence that the mean is above the limit."""
        return self._log_evidence(self._mean - self.limit)

    def observation(self, load: float) -> MeanValue:
        """What the curve needs."""
        deviation = sqrt(self._variance)
        distance = (self._mean - self.limit) / deviation if deviation else 0.0
        return MeanValue(load, len(self._values) / self.dispersion, distance)

    def _log_evidence(self, distance: float) -> float:
        """The largest log(1/alpha) at which the sequence excludes the limit on this side."""
        effective = len(self._values) / self.dispersion
        if effective < _FEWEST or distance <= 0:
            return 0.0
        if self._variance == 0:
            return inf
        squared = effective * distance * distance / self._variance
        ratio = effective / _TIGHTEST
        return squared * ratio / (2 * (ratio + 1)) - log(sqrt(ratio + 1))
