"""Sequential decision about one level: all bounds certified, one of them refuted, saturated, or still open."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log, log2

from autotuner.capacity.dispersion import memory
from autotuner.capacity.mean_test import MeanTest
from autotuner.capacity.observation import Observation
from autotuner.capacity.share_test import ShareTest, floor_requests
from autotuner.capacity.twin.control import Control

_EVERY = 16
"""Requests between two looks at the evidence. Looking more often costs time and hardly ends a level earlier."""
_RECENT = 16
"""Part of the requests that may have come since the last estimate when a level is certified."""
_FEWEST_REFUTED = 48
"""Requests before a level may be refuted: one long queue at the start is not yet a bad level."""
_SOJOURNS = 10
"""Sojourn times for which a level must have been watched before it may be refuted, in requests in flight (Little's
law). A queue changes no faster than its requests leave it; fewer requests may all have met the same long queue."""
_MEMORIES_REFUTED = 10
"""The same in lengths of the queue's memory; an estimate cannot exceed a twelfth of the requests."""
_OVERWHELMING = 3
"""Multiple of the decisive evidence that refutes a level sooner: no queue of a good level misses that often."""
_NEARLY = 0.5
"""Part of these requests from which an exploring level close to the capacity is refuted rather than left."""
_LIKELY_AFTER = 48
_LIKELY_MEMORIES = 5
_LIKELY_TURNOVERS = 4
"""Requests per request in flight before an exploring level looks good: at several times the capacity, a burst has
arrived before its first request is late."""
_HOPELESS = 0.1
"""Share of the decisive evidence without which a level is left at a checkpoint, times the checkpoints before."""
_MEMORIES = 30
"""Lengths of the queue's memory that a certified level must cover. A queue that remembers 200 requests shows in 600 of
them hardly more than one of its states; then the absence of misses proves nothing."""


@dataclass(frozen=True)
class Bound:
    """One SLO, as the share of requests that may be over a limit, or as the limit of a mean."""

    name: str
    """The SLO's text, e.g. ``p99 ttft <= 500ms``."""
    limit: float
    allowed: float | None = None
    """Share of requests that may be over ``limit``; None for a mean."""


@dataclass(frozen=True)
class Outcome:
    """What became of one request."""

    values: tuple[float, ...]
    """One value per bound. Infinity for a request that failed, or that is certain to be over the limit."""
    in_flight: int
    """Requests in flight when it arrived, itself not counted."""
    predicted: tuple[float, ...] = ()
    """The values that the controls predict."""


@dataclass(frozen=True)
class Patience:
    """When a level is left although it is not decided."""

    requests: int
    """Requests at most, the warm-up not counted."""
    likely: float | None = None
    """Log evidence for the bounds at which an exploring level is left. None: it is there to be decided."""
    checkpoint: int = 2_000
    """Requests after which the evidence must point somewhere; then again after twice as many."""
    near: bool = False
    """Whether an exploring level is close enough to the capacity for its refutation to be of use."""


class LevelState(StrEnum):
    """What is known about a level."""

    OPEN = "open"
    CERTIFIED = "certified"
    REFUTED = "refuted"
    SATURATED = "saturated"


class LevelTest:
    """Tests all bounds of one level, request by request.

    Certifying needs every bound, so each is tested at the full error rate (an intersection-union test). Refuting needs
    only one of them, so the error rate is divided.

    Args:
        bounds: The SLOs, at least one.
        certify: Largest chance that a bad level is certified, between 0 and 1.
        refute: Largest chance that a good level is refuted.
    """

    def __init__(
        self,
        bounds: Sequence[Bound],
        certify: float,
        refute: float,
        dispersions: Sequence[float] = (),
        controls: Sequence[Control | None] = (),
    ) -> None:
        if not bounds:
            raise ValueError("a level needs at least one bound")
        known = controls or [None] * len(bounds)
        self.tests = [
            MeanTest(b.limit) if b.allowed is None else ShareTest(b.limit, b.allowed, control)
            for b, control in zip(bounds, known, strict=True)
        ]
        for test, least in zip(self.tests, dispersions, strict=False):
            test.least_dispersion = least
        self.state = LevelState.OPEN
        self.decided_by: int | None = None
        """Index of the bound that refuted the level."""
        self._fewest = max((floor_requests(b.allowed) for b in bounds if b.allowed is not None), default=0)
        self._below = -log(certify)
        self._above = -log(refute / len(bounds))
        self._in_flight: list[int] = []
        self._queues: list[tuple[int, float, float]] = [(0, 1.0, 0.0)]
        self._evidence: list[list[float]] = [[] for _ in self.tests]
        self._next_memory = [1] * len(self.tests)
        self.requests = 0
        """Requests of which every bound is known."""

    def add(self, outcome: Outcome) -> LevelState:
        """Adds the next request in the order of arrival, and decides.

        Returns:
            The state after this request. It is final once it is not ``open``; later requests do not change it.
        """
        self.arrive(outcome.in_flight)
        predicted = outcome.predicted or (0.0,) * len(outcome.values)
        for index, value in enumerate(outcome.values):
            self.feed(index, value, predicted[index])
        return self.state

    def arrive(self, in_flight: int) -> None:
        """Records the requests in flight when the next request arrived."""
        self._in_flight.append(in_flight)

    def feed(self, index: int, value: float, predicted: float = 0.0) -> None:
        """Adds the value of one bound for the next request in the order of arrival; a miss may be known earlier for one
        bound than for another."""
        test = self.tests[index]
        count = test.requests + 1
        if count >= self._next_memory[index]:  # by the number of requests alone, so that a replay finds the same
            self._next_memory[index] = count + count // 8 + 1
            test.memory, test.in_flight = self._queue_of(count)
        test.add(value, predicted)
        if len(self.tests) == 1:
            self.requests = count
        elif count == self.requests + 1:
            self.requests = min(one.requests for one in self.tests)
        if self.state is not LevelState.OPEN or count % _EVERY:
            return
        if count >= _FEWEST_REFUTED and self._refutes(index):
            self.state = LevelState.REFUTED
            self.decided_by = index
            return
        self._evidence[index].append(self._settled(index))
        if self.requests == count and self._certifies():
            self.state = LevelState.CERTIFIED

    def _queue_of(self, count: int) -> tuple[float, float]:
        """Memory and median length of the queue by the first requests, estimated once for all bounds."""
        if self._queues[-1][0] < count:
            seen = self._in_flight[:count]
            self._queues.append((count, memory(seen), float(sorted(seen)[len(seen) // 2]) if seen else 0.0))
        return next(found[1:] for found in reversed(self._queues) if found[0] <= count)

    def _refutes(self, index: int) -> bool:
        test = self.tests[index]
        enough = self._above if test.requests >= self._fewest_refuted(index) else _OVERWHELMING * self._above
        if test.log_evidence_above < enough:
            return False
        test.refresh()  # a cluster may have come since the last estimate
        return test.log_evidence_above >= enough

    def _fewest_refuted(self, index: int) -> float:
        test = self.tests[index]
        if test.settles is None:
            return max(_SOJOURNS * test.in_flight, _MEMORIES_REFUTED * test.memory)
        return test.settles + _FEWEST_REFUTED  # what a long queue causes is in the prediction

    def _settled(self, index: int) -> float:
        """The evidence for one bound, with an estimate that is recent if the evidence suffices."""
        test = self.tests[index]
        if test.log_evidence_below >= self._below and test.requests - test.estimated >= test.requests // _RECENT:
            test.refresh()
        return test.log_evidence_below

    def _certifies(self) -> bool:
        """Whether each bound is supported by the requests of which all bounds are known; some tests may be ahead."""
        look = self.requests // _EVERY - 1
        return all(evidence[look] >= self._below for evidence in self._evidence) and self.shortfall == 0

    @property
    def memory(self) -> float:
        """Requests for which the queue remembers its state; estimated again with every eighth more."""
        return min(self.tests, key=lambda test: test.requests).memory

    def supports(self, state: LevelState) -> bool:
        """Whether the evidence so far is decisive for a state, as a check of a recorded decision."""
        if self.state is state:
            return True
        if state is LevelState.CERTIFIED:
            return self.log_evidence_below >= self._below and self.shortfall == 0
        if state is LevelState.REFUTED:
            return self.log_evidence_above >= self._above
        return True

    def saturate(self) -> None:
        """Ends the level because the server cannot keep up with its arrivals."""
        if self.state is LevelState.OPEN:
            self.state = LevelState.SATURATED

    def over(self, patience: Patience) -> bool:
        """Whether the level has ended: decided, or not worth more requests."""
        if self.state is not LevelState.OPEN or self.requests >= patience.requests:
            return True
        if self.requests < _LIKELY_AFTER or self.requests % _EVERY:
            return False
        if patience.likely is not None and self.log_evidence_below >= patience.likely:
            queue = self._in_flight[-1] if self._in_flight else 0
            return self.requests >= max(_LIKELY_MEMORIES * self.memory, _LIKELY_TURNOVERS * queue)
        if patience.likely is not None and self.log_evidence_above >= self._above:
            # Bad, by too few requests to say so. To refute another level would take all of them again.
            needed = max(range(len(self.tests)), key=lambda index: self.tests[index].log_evidence_above)
            return not patience.near or self.requests < _NEARLY * self._fewest_refuted(needed)
        doublings = log2(self.requests / patience.checkpoint)
        if doublings < 0 or not doublings.is_integer():
            return False
        hope = max(self.log_evidence_below / self._below, self.log_evidence_above / self._above)
        return hope < _HOPELESS * doublings

    @property
    def log_evidence_below(self) -> float:
        """Evidence that all bounds hold: that of the weakest."""
        return min(test.log_evidence_below for test in self.tests)

    @property
    def log_evidence_above(self) -> float:
        """Evidence that a bound is broken: that of the strongest."""
        return max(test.log_evidence_above for test in self.tests)

    @property
    def shortfall(self) -> int:
        """Requests that are missing before the level may be certified, whatever its evidence."""
        settles = [test.settles for test in self.tests]
        needed = self._fewest + max((one for one in settles if one is not None), default=0)
        if None in settles:
            needed = max(needed, round(_MEMORIES * self.memory))
        return max(0, needed - self.requests)

    def observations(self, load: float) -> tuple[Observation, ...]:
        """What each bound showed, for the curve."""
        return tuple(test.observation(load) for test in self.tests)
