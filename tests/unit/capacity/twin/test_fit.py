"""Fit of a server's twin to the requests of earlier levels, and what it expects of another load."""

from dataclasses import replace
from functools import cache
from math import erf, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from autotuner.capacity.level import Bound, LevelState
from autotuner.capacity.level_result import LevelResult
from autotuner.capacity.observation import ShareCount
from autotuner.capacity.search import CapacitySearch, Limits
from autotuner.capacity.twin.control import Control
from autotuner.capacity.twin.expected_misses import capacity_of, expected_share
from autotuner.capacity.twin.fit import LevelInput, control_of, fit_twin, simulate
from autotuner.capacity.twin.model import Latency, TwinModel
from autotuner.capacity.twin.prediction import Prediction

Floats = NDArray[np.float64]

SERVER = TwinModel(step=0.01, per_request=0.0004, prefill=0.0001, slots=16)
LIMIT = 3.0
CAPACITY = 4.2
"""About the rate at which 1% of its requests take longer than the limit."""


def lengths(random: np.random.RandomState, count: int) -> tuple[Floats, Floats]:
    return np.full(count, 100.0), np.maximum(1.0, random.normal(128, 32, count))


def level(server: TwinModel, rate: float, count: int, seed: int, *, noise: float = 0.01) -> LevelInput:
    """What a server like its twin answers, but for a random part of each latency."""
    random = np.random.RandomState(seed)
    arrivals = np.cumsum(random.exponential(1 / rate, count))
    inputs, outputs = lengths(random, count)
    disturbed = random.normal(1, noise, count)
    latencies, firsts = (
        simulate(server, latency, arrivals, inputs, outputs) * disturbed for latency in (Latency.E2E, Latency.TTFT)
    )
    latencies[arrivals + latencies > arrivals[-1]] = np.nan
    return LevelInput(arrivals, inputs, outputs, latencies, firsts)


@cache
def history(noise: float = 0.01) -> tuple[LevelInput, ...]:
    return tuple(
        level(SERVER, CAPACITY * part, 250, seed, noise=noise) for seed, part in enumerate((0.4, 0.8, 1.3, 1.0))
    )


def test_the_twin_of_a_server_like_it_is_found() -> None:
    found = fit_twin(history(), 2 * LIMIT)
    assert found is not None
    assert found.slots == 16
    assert found.step == pytest.approx(SERVER.step, rel=0.03)
    assert found.per_request == pytest.approx(SERVER.per_request, rel=0.1)
    assert found.prefill == pytest.approx(SERVER.prefill, rel=0.3)


@pytest.mark.parametrize("seed", range(3))
def test_the_twin_is_found_where_a_level_was_far_too_high(seed: int) -> None:
    levels = [
        level(SERVER, CAPACITY * part, 250, 10 * seed + 7 * number) for number, part in enumerate((0.5, 1.7, 1.3))
    ]
    found = fit_twin(levels, 2 * LIMIT)
    assert found is not None
    assert capacity_of(Control(found, False, spread=0.03), LIMIT, 0.01, (2.0, 8.0), lengths) == pytest.approx(
        CAPACITY, rel=0.1
    )


def test_latencies_that_do_not_follow_from_the_input_have_no_twin() -> None:
    random = np.random.RandomState(5)
    unrelated = [replace(one, latencies=random.lognormal(0, 0.5, len(one.arrivals))) for one in history()]
    assert fit_twin(unrelated, 2 * LIMIT) is None


def test_a_few_requests_have_no_twin() -> None:
    assert fit_twin(history()[:1], 2 * LIMIT) is None


def test_the_spread_of_a_control_is_that_of_the_latencies() -> None:
    exact, noisy = (control_of(SERVER, history(noise), LIMIT, Latency.E2E) for noise in (0.01, 0.05))
    assert exact is not None
    assert noisy is not None
    assert 2 * exact.spread < noisy.spread < 10 * exact.spread
    assert control_of(replace(SERVER, step=0.05), history(), LIMIT, Latency.E2E) is None
    assert control_of(SERVER, history(), 100 * LIMIT, Latency.E2E) is None  # no request was near that limit


def unloaded(limit: float) -> Control:
    """Of a server whose requests do not meet."""
    return Control(TwinModel(step=0.01, per_request=0.0, prefill=0.0), Latency.E2E, spread=limit / 1000)


@pytest.mark.parametrize("limit", [1.5, 1.8])
def test_the_expected_share_is_that_of_the_lengths_where_requests_do_not_meet(limit: float) -> None:
    found = expected_share(unloaded(limit), limit, 0.01, 2.0, lengths)
    assert found is not None
    longer = 0.5 - erf((limit / 0.01 - 128) / 32 / sqrt(2)) / 2
    assert found.expected == pytest.approx(longer, abs=4 * found.error + 1e-3)
    assert 0 < found.error < 0.001
    assert found.settles == round(2 * limit * 2.0)


def test_a_twin_whose_queue_grows_expects_nothing() -> None:
    control = Control(SERVER, Latency.E2E, spread=0.03)
    assert expected_share(control, LIMIT, 0.01, 3 * CAPACITY, lengths) is None
    assert expected_share(control, LIMIT, 0.01, CAPACITY, lengths) is not None


def test_the_capacity_of_a_twin_has_the_allowed_share() -> None:
    control = Control(SERVER, Latency.E2E, spread=0.03)
    found = capacity_of(control, LIMIT, 0.01, (2.0, 8.0), lengths)
    assert found == pytest.approx(CAPACITY, rel=0.05)
    slower = capacity_of(replace(control, model=replace(SERVER, step=0.011)), LIMIT, 0.01, (2.0, 8.0), lengths)
    assert slower < found


def result(load: float, leaning: float) -> LevelResult:
    return LevelResult(load, LevelState.OPEN, 250, (ShareCount(load, 250, 0, 0.01),), leaning)


def test_a_search_hears_of_the_capacity_once_it_has_levels_on_both_sides() -> None:
    search = CapacitySearch(Limits(), CAPACITY)
    prediction = Prediction([Bound("p99", LIMIT, 0.01)], [Latency.E2E], lengths)
    search.results = [result(CAPACITY * part, 1.0) for part in (0.4, 0.8)]
    prediction.prepare(search, history()[:2])
    assert search.predicted == (None,)
    assert prediction.controls(CAPACITY) == (None,)
    search.results += [result(CAPACITY * 1.3, -1.0), result(CAPACITY, 1.0)]
    prediction.prepare(search, history())
    assert search.predicted[0] == pytest.approx(CAPACITY, rel=0.05)
    plan = search.next_level()
    assert plan is not None
    assert plan.patience.likely is None  # it is there to be decided
    assert 0.9 * CAPACITY < plan.load < 1.1 * CAPACITY
    control = prediction.controls(plan.load)[0]
    assert control is not None
    assert control.expected > 0


def test_a_bound_that_no_twin_has_leaves_the_search_to_its_curve() -> None:
    search = CapacitySearch(Limits(), CAPACITY)
    search.results = [result(CAPACITY * 0.8, 1.0), result(CAPACITY * 1.3, -1.0)]
    prediction = Prediction([Bound("success_rate", 0.02, 0.01)], [None], lengths)
    prediction.prepare(search, history())
    assert search.predicted == (None,)
    assert search.capacity_estimate().width > 1
