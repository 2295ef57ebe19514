"""The decision about a level while it is measured: outcomes in the order of arrival, as soon as they are certain."""

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic_ns
from typing import Any

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.spec import LevelSpec
from autotuner.capacity.backlog import Backlog
from autotuner.capacity.level import Bound, LevelState, Patience
from autotuner.capacity.level_kinds import level_test
from autotuner.capacity.twin.control import Predictions

_LOOK_S = 0.02
_LATE_S = 10.0
"""How much later than on schedule the last request of a replay is waited for."""

SUCCESS = "success_rate"


class LevelWatch:
    """Follows the requests of one level and tells when its window may end.

    Args:
        spec: What the level is tested for.
        open_loop: Whether arrivals do not wait for answers, so that a queue can grow without bound.
        known_until: Returns the time (monotonic ns) until which all that happened has been reported: an answer that
            arrived in time must not count as a miss because its report is still on its way.
    """

    def __init__(self, spec: LevelSpec, *, open_loop: bool, known_until: Callable[[], int] = monotonic_ns) -> None:
        self._known_until = known_until
        bounds = [Bound(*bound) for bound in zip(spec.metrics, spec.limits, spec.allowed, strict=True)]
        self.test = level_test(
            bounds, spec.certify, spec.refute, spec.dispersions, spec.controls, replayed=spec.replayed
        )
        self._predictions = Predictions(spec.controls, spec.limits) if spec.controls else None
        self._first_ns: int | None = None
        self._spec = spec
        self._patience = Patience(spec.requests, spec.likely, spec.checkpoint, spec.near)
        self._backlog = Backlog() if open_loop else None
        self._arrived: list[Request] = []
        self._next = [0] * len(bounds)
        self._opened = False
        self._begin_ns = 0
        self._most = inf if spec.replayed is None else spec.replayed

    def open(self) -> None:
        """Counts requests from now on."""
        self._opened = True

    def open_at(self, begin_ns: int) -> None:
        """Counts the requests of a replay: those that are due from then on, whenever the window opens."""
        self._begin_ns = begin_ns
        self._opened = True

    def arrived(self, request: Request, in_flight: int) -> None:
        """Records an arrival and the requests that it found in flight."""
        counted = self._opened and not request.ramp and request.scheduled_ns >= self._begin_ns
        if self._predictions is not None:
            self._first_ns = request.scheduled_ns if self._first_ns is None else self._first_ns
            at = (request.scheduled_ns - self._first_ns) / 1e9
            self._predictions.arrive(at, request.asked_input, request.asked_output, counted=counted)
        if not counted:
            return
        if len(self._arrived) >= self._most:
            return  # what follows the range of the trace only keeps the load up
        request.in_flight = in_flight
        self._arrived.append(request)
        self.test.arrive(in_flight)
        if self._backlog is not None and self._backlog.arrive(in_flight):
            self.test.saturate()

    async def wait(self, longest_s: float) -> None:
        """Waits until the level is decided or given up, at most ``longest_s`` seconds."""
        end = monotonic_ns() + round(longest_s * 1e9)
        last = end + round(_LATE_S * 1e9)
        while not self.over() and monotonic_ns() < (last if self._incomplete else end):  # noqa: ASYNC110 - by time alone
            await asyncio.sleep(_LOOK_S)

    async def settle(self, longest_s: float) -> None:
        """Waits after the window until a replay is decided, which needs the outcome of every request."""
        if self._spec.replayed is not None:
            await self.wait(longest_s)

    def refuted_late(self) -> bool:
        """Whether a replay has been refuted by an outcome after its window."""
        return self._spec.replayed is not None and self.over() and self.failed

    @property
    def _incomplete(self) -> bool:
        """Whether requests of a replay have not been sent yet."""
        return self._spec.replayed is not None and len(self._arrived) < self._spec.replayed

    def over(self) -> bool:
        """Feeds what has become known, and returns whether the level has ended."""
        now = self._known_until()
        for index, metric in enumerate(self._spec.metrics):
            while self._next[index] < len(self._arrived):
                value = self._value(self._arrived[self._next[index]], index, metric, now)
                predicted: float | None = 0.0
                if self._predictions is not None:
                    predicted = self._predictions.value(index, self._next[index])
                if value is None or predicted is None:
                    break
                self._next[index] += 1
                self.test.feed(index, value, predicted)
                if self.test.over(self._patience):
                    return True
        return self.test.over(self._patience)

    @property
    def failed(self) -> bool:
        """Whether the server does not hold this level, so that nothing in its queue is worth waiting for."""
        return self.test.state in (LevelState.REFUTED, LevelState.SATURATED)

    def summary(self) -> dict[str, Any]:
        """The requests of each bound when the level ended; the decision follows from the records of these."""
        return {"requests": [test.requests for test in self.test.tests]}

    def _value(self, request: Request, index: int, metric: str, now: int) -> float | None:
        """The value of one bound in seconds, infinity for a failure or a certain miss; None while it is not known."""
        begin = request.scheduled_ns if metric.endswith("_scheduled") else request.sent_ns
        limit = self._spec.limits[index]
        # Before failures: what comes after the first token must not change what was counted when it arrived.
        if request.chunks and metric in ("ttft", "ttft_scheduled"):
            return (request.chunks[0] - begin) / 1e9
        if request.error is not None:
            return inf
        if metric == SUCCESS:
            return 0.0 if request.end_ns else None
        if request.end_ns:
            return _whole(request, metric, begin)
        # Waiting longer than the limit is a miss whatever comes. A mean needs the value itself.
        if self._spec.allowed[index] is not None and metric != "tpot" and begin and (now - begin) / 1e9 > limit:
            return inf
        return None


def _whole(request: Request, metric: str, begin: int) -> float:
    """A latency of a request that has ended without a failure."""
    chunks = request.chunks
    if not chunks:
        return 0.0  # an answer without tokens was not asked for any
    if metric == "tpot":
        tokens = request.usage_tokens or len(chunks)
        return (chunks[-1] - chunks[0]) / 1e9 / (tokens - 1) if tokens > 1 else 0.0
    return (chunks[-1] - begin) / 1e9
