"""A model of a batching server that predicts latencies from arrivals and lengths alone: the server's twin.

Running requests advance together, one token per step; a step takes longer the more of them run. A request that starts
holds the others up while its prompt is processed. Requests beyond the slots wait in the order of arrival.
"""

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf


@dataclass(frozen=True)
class TwinModel:
    """Parameters of a twin. Times in seconds."""

    step: float
    """A step with a single request."""
    per_request: float
    """What each running request adds to a step."""
    prefill: float
    """Processing one input token."""
    slots: int | None = None
    """Requests that may run at once; None: without a limit."""


class Twin:
    """One run of a twin, empty at first.

    Args:
        model: Its parameters.
        first: Whether latencies end with the first token.
    """

    def __init__(self, model: TwinModel, *, first: bool = False) -> None:
        self._model = model
        self._slots = inf if model.slots is None else model.slots
        self._first = first
        self._now = 0.0
        self._progress = 0.0
        self._running: list[tuple[float, int]] = []
        self._waiting: deque[int] = deque()
        self._came: list[float] = []
        self._lengths: list[tuple[float, float]] = []
        self.latencies: list[float | None] = []
        """Of each request in the order of arrival; None while it is not known."""

    def arrive(self, at: float, inputs: float, outputs: float) -> None:
        """Adds an arrival, later than those before it, with its numbers of tokens."""
        self.advance(at)
        self._waiting.append(len(self._came))
        self._came.append(at)
        self._lengths.append((inputs, outputs))
        self.latencies.append(None)
        self._start()

    def advance(self, until: float) -> None:
        """Runs on without further arrivals."""
        model = self._model
        running = self._running
        while running:
            step = model.step + model.per_request * len(running)
            end = self._now + (running[0][0] - self._progress) * step
            if end > until:
                self._progress += (until - self._now) / step
                break
            self._now = end
            self._progress, number = heappop(running)
            if not self._first:
                self.latencies[number] = end - self._came[number]
            if self._waiting:
                self._start()
        self._now = until

    def _start(self) -> None:
        model = self._model
        running = self._running
        while self._waiting and len(running) < self._slots:
            number = self._waiting.popleft()
            inputs, outputs = self._lengths[number]
            prefill = model.prefill * inputs
            pause = prefill / (model.step + model.per_request * (len(running) + 1))
            if running:
                self._progress -= pause  # the others stand still meanwhile
            heappush(running, (self._progress + outputs + pause, number))
            if self._first:
                self.latencies[number] = self._now - self._came[number] + prefill
