"""Decision about a replay: all requests of a finite list are counted, so that nothing is inferred from a sample.

The verdict is about this list of requests on this run of the server. It says nothing about other traces, and a second
replay of the same one may come out differently.
"""

from collections.abc import Sequence
from math import floor, inf, sqrt

from autotuner.capacity.level import Bound, LevelState, Patience
from autotuner.capacity.observation import MeanValue, Observation, ShareCount

_ROUNDING = 1e-9


def allowed_misses(bound: Bound, requests: int) -> int:
    """Requests of a replay that may miss a bound on a share.

    Args:
        bound: A latency, or with the limit 0 the success rate.
        requests: All requests of the replay.
    """
    allowed = bound.allowed or 0.0
    # A percentile interpolates between two requests. The slower of them has to be within the limit too, so that the
    # verdict never contradicts the percentile that is shown beside it.
    return floor(allowed * (requests if bound.limit <= 0 else requests - 1) + _ROUNDING)


class BoundCount:
    """What the requests so far mean for one bound.

    Args:
        bound: The SLO.
        replayed: All requests of the replay.
    """

    def __init__(self, bound: Bound, replayed: int) -> None:
        self.bound = bound
        self.requests = 0
        self.misses = 0
        self._replayed = replayed
        self._most = allowed_misses(bound, replayed)
        self._known = 0
        self._sum = self._squares = 0.0

    def add(self, value: float) -> None:
        """Adds the next request in the order of arrival."""
        self.requests += 1
        self.misses += value > self.bound.limit
        if value != inf:  # a failure has no part in a mean; the success rate limits how many there are
            self._known += 1
            self._sum += value
            self._squares += value * value

    @property
    def broken(self) -> bool:
        """Whether the bound is broken, whatever the requests that are left do."""
        if self.bound.allowed is not None:
            return self.misses > self._most
        left = self._replayed - self.requests  # latencies are not negative, and one that failed lowers the divisor
        return self._sum > self.bound.limit * (self._known + left)

    def observation(self, load: float) -> Observation:
        """The counts, or the mean."""
        if self.bound.allowed is not None:
            return ShareCount(load, self.requests, self.misses, self.bound.allowed)
        mean = self._sum / self._known if self._known else 0.0
        deviation = sqrt(max(0.0, self._squares / self._known - mean * mean)) if self._known else 0.0
        return MeanValue(load, self._known, (mean - self.bound.limit) / deviation if deviation else 0.0)


class ReplayTest:
    """Tests all bounds of one replay: refuted as soon as too many requests have missed one, certified at the end only.

    A growing queue does not end a replay, because the queue of a recorded burst may drain again. The interface is that
    of :class:`~autotuner.capacity.level.LevelTest`.

    Args:
        bounds: The SLOs, at least one.
        replayed: All requests of the replay.
    """

    memory = 1.0
    log_evidence_below = 0.0
    log_evidence_above = 0.0

    def __init__(self, bounds: Sequence[Bound], replayed: int) -> None:
        if not bounds:
            raise ValueError("a level needs at least one bound")
        self.tests = [BoundCount(bound, replayed) for bound in bounds]
        self.state = LevelState.OPEN
        self.decided_by: int | None = None
        """Index of the bound that refuted the level."""
        self._replayed = replayed

    @property
    def requests(self) -> int:
        """Requests of which every bound is known."""
        return min(test.requests for test in self.tests)

    def arrive(self, in_flight: int) -> None:
        """Takes an arrival, which decides nothing."""

    def saturate(self) -> None:
        """Takes a growing queue, which decides nothing: it may be a burst."""

    def feed(self, index: int, value: float, predicted: float = 0.0) -> None:
        """Adds the value of one bound for the next request in the order of arrival; infinity for a failure or a certain
        miss."""
        if self.state is not LevelState.OPEN:
            return
        test = self.tests[index]
        test.add(value)
        if test.broken:
            self.state = LevelState.REFUTED
            self.decided_by = index
        elif self.requests == self._replayed:
            self.state = LevelState.CERTIFIED

    def over(self, _patience: Patience) -> bool:
        """Whether the level is decided. A replay is never given up: it ends by itself."""
        return self.state is not LevelState.OPEN

    def observations(self, load: float) -> tuple[Observation, ...]:
        """What each bound showed."""
        return tuple(test.observation(load) for test in self.tests)
