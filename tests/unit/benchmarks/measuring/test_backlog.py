"""Detection of overload, in simulations below and above capacity in virtual time."""

import heapq
from collections.abc import Callable
from random import Random

import pytest

from autotuner.benchmarks.loadgen.schedule import arrivals
from autotuner.benchmarks.measuring.backlog import Arrival, overload_reason
from support.request_records import numbers

RATE = 4.0
DRAIN_S = 15.0


def simulated(
    seed: int,
    *,
    load: float,
    requests: int,
    slots: int = 1,
    random: bool = True,
    warm: bool = True,
    kind: str = "poisson",
    answer_s: float | None = None,
) -> tuple[list[Arrival], float]:
    """Arrivals at ``slots`` servers at ``load`` times their capacity, and the window's length in seconds."""
    rng = Random(seed)
    window_s = requests / RATE
    service = load * slots / RATE if answer_s is None else answer_s
    draw: Callable[[], float] = (lambda: rng.expovariate(1 / service)) if random else (lambda: service)
    warmup_s = window_s / 5 if warm else 0.0
    spans = [(-warmup_s, warmup_s), (0.0, window_s), (window_s, DRAIN_S)]
    at = [begin + t for begin, span in spans for t in arrivals(kind, RATE, span, rng, burstiness=0.5)]
    free = [-1e9] * slots
    found = []
    stop = window_s + DRAIN_S
    for scheduled in at:
        start = max(scheduled, heapq.heappop(free))
        end = start + draw()
        heapq.heappush(free, end)
        found.append(Arrival(scheduled, min(end, stop), start if start < stop else None, end <= stop))
    return found, window_s


def alarms(runs: int, **more: object) -> int:
    return sum(overload_reason(*simulated(seed, **more)) is not None for seed in range(runs))  # type: ignore[arg-type]


@pytest.mark.parametrize("slots", [1, 8])
@pytest.mark.parametrize("kind", ["poisson", "gamma", "constant"])
@pytest.mark.parametrize("random", [True, False])
def test_server_below_capacity_is_not_overloaded(slots: int, kind: str, random: bool) -> None:
    for load in (0.5, 0.8, 0.95):
        for requests in (10, 40, 120):
            assert alarms(40, load=load, requests=requests, slots=slots, kind=kind, random=random) <= 2


@pytest.mark.parametrize("slots", [1, 8])
@pytest.mark.parametrize("random", [True, False])
def test_server_above_capacity_is_overloaded(slots: int, random: bool) -> None:
    for load, requests in ((2.4, 60), (4.0, 60), (1.6, 200), (3.0, 400), (10.0, 100)):
        assert alarms(20, load=load, requests=requests, slots=slots, random=random) >= 17


@pytest.mark.parametrize("answer_s", [2.0, 5.0, 12.0])
def test_backlog_that_only_rises_to_its_level_is_not_overload(answer_s: float) -> None:
    """Without warm-up, or with answers as long as the window, requests in flight increase at first on any server."""
    for requests in (20, 48, 100):
        assert alarms(20, load=0, answer_s=answer_s, requests=requests, slots=1000, random=False, warm=False) == 0


def test_reason_states_arrivals_and_backlog() -> None:
    found, window_s = simulated(1, load=3.0, requests=60, random=False)
    arrived, ended, before, after = numbers(overload_reason(found, window_s) or "")
    assert arrived == 60
    assert after - before == arrived - ended > 30
