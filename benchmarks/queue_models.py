"""Simulated servers on virtual time, whose capacity is known from long runs: queues, batching engines, and odd ones."""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

Draw = Callable[[Random], float]
Request = tuple[float, int]
"""Latency in seconds, and requests in flight at its arrival."""
Server = Callable[[float, Random], Iterator[Request]]
"""Requests per second and a random source to the requests in the order of arrival, from an empty start."""


def queue(
    servers: int, service: Draw, *, waiting: bool = False, slowdown: Callable[[float], float] | None = None
) -> Server:
    """M/G/k, first come, first served. Its latency is the waiting time, or waiting and service.

    Args:
        servers: Requests that are served at the same time.
        service: Draws a service time in seconds.
        waiting: Whether the latency is the waiting time alone.
        slowdown: Factor on the service time, by the time since the start in seconds.
    """

    def run(rate: float, random: Random) -> Iterator[Request]:
        free = [0.0] * servers
        ends: list[float] = []
        now = 0.0
        while True:
            now += random.expovariate(rate)
            while ends and ends[0] <= now:
                heapq.heappop(ends)
            start = max(free[0], now)
            took = service(random)
            if slowdown is not None:
                took *= slowdown(now)
            end = start + took
            heapq.heapreplace(free, end)
            yield (start if waiting else end) - now, len(ends)
            heapq.heappush(ends, end)

    return run


@dataclass(frozen=True)
class Engine:
    """Continuous batching: all running requests share the steps, and a step takes longer with more of them."""

    slots: int
    """Requests that run at the same time; the others wait."""
    step_s: float
    per_request_s: float
    """What one more running request adds to a step, in seconds."""
    output: Draw
    """Draws the steps (output tokens) of a request."""
    prefill_s: Draw
    """Draws the time of the prefill, in which no other request advances."""
    first_token: bool = False
    """Whether the latency is the time to the first token instead of to the last."""

    def __call__(self, rate: float, random: Random) -> Iterator[Request]:
        """Simulates by the progress that a request running since the start would have made: all running requests
        advance alike, so each ends when that progress has grown by its own length."""
        progress = now = 0.0
        running: list[tuple[float, int, float]] = []
        waiting: deque[tuple[int, float]] = deque()
        latencies: dict[int, float] = {}
        found: deque[int] = deque()
        arrival = random.expovariate(rate)
        arrived = reported = 0
        while True:
            step = self.step_s + self.per_request_s * len(running)
            end = now + (running[0][0] - progress) * step if running else math.inf
            if arrival <= end:
                progress += (arrival - now) / step
                now = arrival
                arrival = now + random.expovariate(rate)
                found.append(len(running) + len(waiting))
                waiting.append((arrived, now))
                arrived += 1
            else:
                progress += (end - now) / step
                now = end
                _, number, came = heapq.heappop(running)
                if not self.first_token:
                    latencies[number] = now - came
            while waiting and len(running) < self.slots:
                number, came = waiting.popleft()
                prefill = self.prefill_s(random)
                step = self.step_s + self.per_request_s * (len(running) + 1)
                heapq.heappush(running, (progress + self.output(random) + prefill / step, number, came))
                progress -= prefill / step if len(running) > 1 else 0.0
                if self.first_token:
                    latencies[number] = now - came + prefill
            while reported in latencies:
                yield latencies.pop(reported), found.popleft()
                reported += 1


def share(misses: Callable[[float], float], *, burst: float = 1.0, active: float = 1.0) -> Server:
    """A server without a queue whose share of slow requests is a function of the rate.

    Args:
        misses: Requests per second to the share of requests with a latency of 2 s instead of 0.1 s.
        burst: Mean number of requests that the server stays in one mode.
        active: Share of the time in which it is in the mode that misses; 1 for independent misses.
    """

    def run(rate: float, random: Random) -> Iterator[Request]:
        miss = min(1.0, misses(rate) / active)
        slow = random.random() < active
        while True:
            if random.random() < 1 / burst:
                slow = random.random() < active
            slow_now = slow and random.random() < miss
            yield (2.0 if slow_now else 0.1), int(rate)

    return run


def cold(server: Server, requests: int, factor: float) -> Server:
    """A server whose first requests after a start take longer, as while kernels are compiled."""

    def run(rate: float, random: Random) -> Iterator[Request]:
        for number, (latency, in_flight) in enumerate(server(rate, random)):
            yield (latency * factor if number < requests else latency), in_flight

    return run
