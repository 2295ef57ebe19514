"""Latencies that the twin of a server predicts."""

import runpy
from itertools import pairwise
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.capacity.twin.fit import Simulate, simulate
from autotuner.capacity.twin.model import Latency, Twin, TwinModel

COPY = Path(__file__).parents[4] / "benchmarks" / "queue_models.py"
MODEL = TwinModel(step=0.01, per_request=0.002, prefill=0.0)


def latencies(
    model: TwinModel, *requests: tuple[float, float, float], latency: Latency = Latency.E2E
) -> list[float | None]:
    """Of requests that arrive at a time with input and output lengths."""
    twin = Twin(model, latency)
    for at, inputs, outputs in requests:
        twin.arrive(at, inputs, outputs)
    twin.advance(inf)
    return twin.latencies


def test_a_request_alone_takes_its_steps_after_its_prompt() -> None:
    model = TwinModel(step=0.01, per_request=0.002, prefill=0.001)
    assert latencies(model, (5.0, 100, 50)) == [pytest.approx(0.1 + 50 * 0.012)]
    assert latencies(model, (5.0, 100, 50), latency=Latency.TTFT) == [pytest.approx(0.1)]


def test_requests_slow_each_other_down_as_long_as_they_run_together() -> None:
    # 50 steps of 14 ms together, then 50 of 12 ms alone
    assert latencies(MODEL, (0.0, 0, 50), (0.0, 0, 100)) == [pytest.approx(0.7), pytest.approx(1.3)]


def test_the_prompt_of_a_new_request_holds_up_those_that_run() -> None:
    model = TwinModel(step=0.01, per_request=0.0, prefill=0.001)
    assert latencies(model, (0.0, 0, 100), (0.5, 200, 10)) == [pytest.approx(1.2), pytest.approx(0.3)]


def test_tokens_take_as_long_as_their_steps_and_the_prompts_among_these() -> None:
    model = TwinModel(step=0.01, per_request=0.0, prefill=0.001)
    requests = [(0.0, 0.0, 100.0), (0.5, 200.0, 10.0), (2.0, 0.0, 1.0)]
    found = latencies(model, *requests, latency=Latency.TPOT)
    assert found == [pytest.approx(0.012), pytest.approx(0.01), 0.0]


def test_requests_beyond_the_slots_wait_in_the_order_of_arrival() -> None:
    model = TwinModel(step=0.01, per_request=0.0, prefill=0.001, slots=1)
    requests = [(0.0, 0.0, 100.0), (0.1, 10.0, 10.0), (0.2, 10.0, 10.0)]
    assert latencies(model, *requests) == [pytest.approx(one) for one in (1.0, 1.01, 1.02)]
    assert latencies(model, *requests, latency=Latency.TTFT) == [pytest.approx(one) for one in (0.0, 0.91, 0.92)]


def test_a_latency_is_not_known_before_it_is_over() -> None:
    twin = Twin(MODEL)
    twin.arrive(0.0, 0, 100)
    twin.advance(1.1)
    assert twin.latencies == [None]
    twin.advance(1.3)
    assert twin.latencies == [pytest.approx(1.2)]


@given(
    st.lists(st.tuples(st.floats(0, 0.2), st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=40),
    st.integers(1, 8),
)
def test_looking_in_between_changes_nothing(gaps: list[tuple[float, int, int]], slots: int) -> None:
    model = TwinModel(step=0.01, per_request=0.002, prefill=0.0005, slots=slots)
    at = 0.0
    requests = []
    for gap, inputs, outputs in gaps:
        at += gap
        requests.append((at, float(inputs), float(outputs)))
    looked_at = Twin(model)
    for (now, inputs, outputs), (later, _, _) in pairwise([*requests, (at + 1.0, 0.0, 0.0)]):
        looked_at.arrive(now, inputs, outputs)
        looked_at.advance((now + later) / 2)
    looked_at.advance(inf)
    assert looked_at.latencies == pytest.approx(latencies(model, *requests))


@pytest.fixture(scope="module")
def run_twin() -> Simulate:
    """The simulation in C with which the benchmark of capacity searches replaces this one."""
    found: Simulate = runpy.run_path(str(COPY))["run_twin"]
    return found


@pytest.mark.parametrize("latency", list(Latency))
@pytest.mark.parametrize("slots", [None, 1, 3, 32])
@pytest.mark.parametrize("rate", [0.5, 4.0, 40.0])
def test_the_copy_in_the_benchmark_predicts_the_same(
    run_twin: Simulate, rate: float, slots: int | None, latency: Latency
) -> None:
    random = np.random.RandomState(7)
    arrivals = np.cumsum(random.exponential(1 / rate, 500))
    inputs = random.randint(0, 400, 500).astype(np.float64)
    outputs = random.randint(1, 200, 500).astype(np.float64)
    model = TwinModel(step=0.01, per_request=0.0004, prefill=0.0002, slots=slots)
    predicted = simulate(model, latency, arrivals, inputs, outputs)
    assert run_twin(model, latency, arrivals, inputs, outputs) == pytest.approx(predicted, rel=1e-9)
