"""What the sequential tests of a share and of a mean have in common."""

_FIRST_ESTIMATE = 24
"""Requests after which the dispersion is first estimated; then again with every eighth more."""


class BoundTest:
    """The requests of one bound, and what is known about their dependence.

    Args:
        limit: In the unit of the values.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.requests = 0
        self.dispersion = 1.0
        self.estimated = 0
        """Requests at the last estimate of the dispersion."""
        self.least_dispersion = 1.0
        self.in_flight = 0.0
        """Median of the requests in flight."""
        self.memory = 1.0
        """Requests for which the queue remembers its state."""
        self._values: list[float] = []
        self._next_estimate = _FIRST_ESTIMATE

    @property
    def settles(self) -> int | None:
        """Requests that are not bet on; None without a prediction of the values."""
        return None

    def _estimate_when_due(self) -> None:
        if self.requests >= self._next_estimate and self._values:
            self._next_estimate = self.requests + self.requests // 8
            self.refresh()

    def refresh(self) -> None:
        """Estimates the dispersion from all requests so far."""
        self.estimated = self.requests
