"""A model of a batching server that predicts latencies from arrivals and lengths alone: the server's twin.

Running requests advance together, one token per step; a step takes longer the more of them run. A request that starts
holds the others up while its prompt is processed. Requests beyond the slots wait in the order of arrival.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from heapq import heappop, heappush
from math import inf


class Latency(StrEnum):
    """What a twin predicts of each request."""

    TTFT = "ttft"
    TPOT = "tpot"
    """0 for a single token."""
    E2E = "e2e_latency"


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
        latency: Which one it predicts.
    """

    def __init__(self, model: TwinModel, latency: Latency = Latency.E2E) -> None:
        self._model = model
        self._slots = inf if model.slots is None else model.slots
        self._latency = latency
        self._now = 0.0
        self._progress = 0.0
        self._running: list[tuple[float, int]] = []
        self._waiting: deque[int] = deque()
        self._came: list[float] = []
        self._lengths: list[tuple[float, float]] = []
        self._firsts: list[float] = []
        self.latencies: list[float | None] = []
        """Of each request in the order of arrival, in seconds; None while it is not known."""

    def arrive(self, at: float, inputs: float, outputs: float) -> None:
        """Adds an arrival, later than those before it, with its numbers of tokens."""
        self._run([(at, inputs, outputs)])

    def advance(self, until: float) -> None:
        """Runs on without further arrivals."""
        self._run([(until, 0.0, None)])

    def arrive_all(self, arrivals: Iterable[tuple[float, float, float]]) -> None:
        """As :meth:`arrive`, one after the other, in less time than as many calls."""
        self._run(arrivals)

    def _run(self, events: Iterable[tuple[float, float, float | None]]) -> None:
        """Runs up to each time; there, a request arrives if it has a number of output tokens.

        Everything is in this one loop, because simulations for a single level run millions of requests through it.
        """
        base_s = self._model.step
        more_s = self._model.per_request
        prefill_s = self._model.prefill
        slots = self._slots
        ttft = self._latency is Latency.TTFT
        tpot = self._latency is Latency.TPOT
        now = self._now
        progress = self._progress
        running = self._running
        waiting = self._waiting
        came = self._came
        lengths = self._lengths
        latencies = self.latencies
        for until, inputs, outputs in events:
            over = False
            while not over:
                step_s = base_s + more_s * len(running)
                end = now + (running[0][0] - progress) * step_s if running else inf
                if not running or end > until:
                    over = True
                    if running:
                        progress += (until - now) / step_s
                    now = until
                    if outputs is not None:
                        waiting.append(len(came))
                        came.append(until)
                        lengths.append((inputs, outputs))
                        latencies.append(None)
                else:
                    now = end
                    progress, number = heappop(running)
                    if tpot:
                        tokens = lengths[number][1]  # each of which takes a step, the first one too
                        latencies[number] = (end - self._firsts[number]) / tokens if tokens > 1 else 0.0
                    elif not ttft:
                        latencies[number] = end - came[number]
                while waiting and len(running) < slots:
                    number = waiting.popleft()
                    tokens_in, tokens_out = lengths[number]
                    prompt_s = prefill_s * tokens_in
                    pause = prompt_s / (base_s + more_s * (len(running) + 1))
                    if running:
                        progress -= pause  # the others stand still meanwhile
                    heappush(running, (progress + tokens_out + pause, number))
                    if ttft:
                        latencies[number] = now - came[number] + prompt_s
                    elif tpot:
                        self._firsts.append(now + prompt_s)
        self._now = now
        self._progress = progress
