"""The simulated SGLang in virtual time, as a server for searches: the scheduler of the repository, without a clock.

The steps are those of ``python -m autotuner.simulator --flavor sglang``; only waiting is left out.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from autotuner.capacity.twin.model import Latency
from autotuner.simulator.options import Simulation, engine_options
from autotuner.simulator.request import Request, token_ids
from autotuner.simulator.scheduler import Scheduler
from autotuner.simulator.sglang.flavor import SGLangFlavor
from queue_models import Floats, Taken

_NOISE = 0.05
"""Relative standard deviation of a step's time."""
_WORD = token_ids(["word"])
_SATURATED = 4_000
"""Unanswered requests at which a run ends."""


@dataclass(frozen=True)
class SimulatedSGLang:
    """One configuration under one kind of request; ``limit`` is the bound on its latency."""

    gpu: str
    model: str
    flags: Mapping[str, str]
    prompt_tokens: tuple[int, int]
    """Mean and standard deviation."""
    output_tokens: tuple[int, int]
    limit: float

    def scheduler(self) -> Scheduler:
        """A replica as the engine starts it with these flags. Raises ``EngineExitError`` if it does not start."""
        argv = ["--model-path", self.model, *(word for flag in self.flags.items() for word in flag)]
        flavor = SGLangFlavor(Simulation(gpu=self.gpu), lambda _: None)
        return flavor.scheduler(flavor.start(engine_options("sglang", argv)))

    @property
    def latency(self) -> Latency:
        """What the bound is on."""
        return Latency.E2E

    def lengths(self, random: np.random.RandomState, count: int) -> tuple[Floats, Floats]:
        """Input and output lengths of as many requests."""
        inputs, outputs = (
            np.maximum(1, np.rint(random.normal(*normal, count))) for normal in (self.prompt_tokens, self.output_tokens)
        )
        return inputs, outputs

    def run(self, rate: float, seed: int, served: int = 0) -> "Run":
        """Starts it, empty, at a rate of arrivals."""
        return Run(self, rate, seed)


class Run:
    """One run; requests come in the order of arrival."""

    def __init__(self, server: SimulatedSGLang, rate: float, seed: int) -> None:
        self._server = server
        self._rate = rate
        self._random = Random(seed)
        self._scheduler = server.scheduler()
        self._now = 0.0
        self._next_arrival = self._random.expovariate(rate)
        self._arrived: deque[tuple[Request, int, int]] = deque()
        """Requests that were not yet handed out, with the requests in flight that each found and its output tokens."""
        self._ended: dict[Request, float] = {}
        self._in_flight = 0

    def take(self, requests: int) -> tuple[Floats, NDArray[np.int32]]:
        """Latencies in seconds and requests in flight of the next requests; fewer if it is saturated."""
        taken = self.take_all(requests)
        return taken.latencies, taken.in_flight

    def take_all(self, requests: int) -> Taken:
        """The next requests with what the client knows of them."""
        rows: list[tuple[float, ...]] = []
        while len(rows) < requests:
            while self._arrived and len(rows) < requests:
                request, in_flight, output = self._arrived[0]
                ended = self._ended.pop(request, None)
                if ended is None:
                    break
                self._arrived.popleft()
                came = request.arrived_s
                rows.append((ended - came, in_flight, came, request.prompt_tokens, output, ended))
            if len(rows) < requests and not self._step():
                break
        latencies, found, came, inputs, outputs, ends = np.array(rows, dtype=np.float64).reshape(-1, 6).T
        return Taken(latencies, found.astype(np.int32), came, inputs, outputs, ends)

    def _step(self) -> bool:
        """Computes one step, or waits for an arrival. False if the server is saturated."""
        if len(self._arrived) > _SATURATED:
            return False
        self._admit()
        step = self._scheduler.next_step()
        if step is None:
            self._now = self._next_arrival
            return True
        self._now += step.seconds * max(0.2, self._random.gauss(1.0, _NOISE))
        for request in self._scheduler.finish_step(step):
            if request.left <= 0:
                self._in_flight -= 1
                self._ended[request] = self._now
        return True

    def _admit(self) -> None:
        """Queues all requests that have arrived by now."""
        while self._next_arrival <= self._now:
            prompt = self._length(self._server.prompt_tokens)
            tokens = token_ids([f"{self._random.getrandbits(40)}"]) + _WORD * (prompt - 1)
            output = self._length(self._server.output_tokens)
            request = Request(tokens, output, ignore_eos=True, arrived_s=self._next_arrival)
            self._scheduler.add(request)
            self._arrived.append((request, self._in_flight, output))
            self._in_flight += 1
            self._next_arrival += self._random.expovariate(self._rate)

    def _length(self, normal: tuple[int, int]) -> int:
        return max(1, round(self._random.gauss(*normal)))
