"""Continuous batching without a clock: what the next step computes, and how long it takes.

``next_step`` plans a step and ``finish_step`` applies it; the caller waits in between. Deterministic: the same arrivals
yield the same steps.
"""

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field

from autotuner.predict.roofline import StepTimes, Work, prefill
from autotuner.simulator.config import EngineConfig, EngineExitError, Log
from autotuner.simulator.pool import KvPool
from autotuner.simulator.request import Request

HOST_STEP_S = 300e-6
HOST_REQUEST_S = 6e-6
"""CPU time per step and per request in it; hidden if scheduling overlaps with GPU computation. Assumed values."""


@dataclass
class Step:
    """One forward pass."""

    prefill: list[tuple[Request, int]] = field(default_factory=list)
    """Requests with the number of prompt tokens to compute in this step."""
    decode: list[Request] = field(default_factory=list)
    seconds: float = 0.0
    graph: bool = False
    cached: int = 0
    """Prompt tokens from the prefix cache, for requests that start in this step."""
    running: int = 0
    """Requests that were decoding when the step was planned."""

    @property
    def new_tokens(self) -> int:
        """Prompt tokens to compute."""
        return sum(n for _, n in self.prefill)


@dataclass
class Counters:
    """Totals since startup."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    requests: int = 0
    retractions: int = 0
    steps: int = 0
    decode_steps: int = 0


class Scheduler(ABC):
    """The queue, the running batch and the KV cache of one replica."""

    def __init__(self, config: EngineConfig, log: Log = lambda _: None) -> None:
        self.config = config
        self.log = log
        self.pool = KvPool(config.kv_tokens, config.page, reuse=config.prefix_cache)
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.counters = Counters()
        self._times = StepTimes(config.replica)

    def add(self, request: Request) -> None:
        """Queues a request."""
        self.counters.requests += 1
        self.waiting.append(request)

    def abort(self, request: Request) -> None:
        """Removes a request, whether it is waiting, running, or part of the current step."""
        if request in self.waiting:
            self.waiting.remove(request)
        elif request in self.running:
            self.running.remove(request)
        if request.holds:
            self.pool.end(request, keep=False)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self.waiting and not self.running

    @abstractmethod
    def next_step(self) -> Step | None:
        """Plans the next step; None if there is nothing to compute.

        Raises:
            EngineExitError: The engine would exit, for instance because memory runs out.
        """

    @abstractmethod
    def finish_step(self, step: Step) -> list[Request]:
        """Applies a step; returns the requests that got a token, including finished ones."""

    def timed(self, step: Step) -> Step:
        """Sets the duration of a step."""
        config = self.config
        work = Work(0, 0)
        for request, new in step.prefill:
            work += prefill(new, request.kv)
        kv = sum(r.kv for r in step.decode) + len(step.decode)
        work += Work(len(step.decode), len(step.decode), kv, kv)
        limit = config.prefill_graph_max if step.prefill else config.decode_graph_max
        step.graph = work.tokens <= limit
        step.running = len(self.running)
        step.seconds = self._times.step_s(work, graph=step.graph)
        if not config.overlap:
            step.seconds += HOST_STEP_S + HOST_REQUEST_S * work.sequences
        self._fits(work)
        return step

    def _fits(self, work: Work) -> None:
        room = self.config.room_bytes
        if room is None:
            return
        need = self.config.replica.activation_bytes(work.tokens, work.sequences)
        if need > room:
            raise EngineExitError(self.out_of_memory(need, room), -9)

    def out_of_memory(self, need_bytes: float, room_bytes: float) -> str:
        """The log lines of an engine that runs out of memory for activations."""
        raise NotImplementedError

    def emitted(self, request: Request) -> None:
        """Counts one generated token."""
        request.generated += 1
        self.counters.generated_tokens += 1
