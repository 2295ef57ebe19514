"""The verdict about a replay: every request counts, and nothing else does."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.capacity.level import Bound, LevelState, Patience
from autotuner.capacity.level_kinds import level_test
from autotuner.capacity.replay_test import ReplayTest, allowed_misses

P90 = Bound("p90 ttft <= 1s", 1.0, 0.1)
MEAN = Bound("mean ttft <= 1s", 1.0)
SUCCESS = Bound("success_rate >= 90%", 0.0, 0.1)
LATENCIES = st.lists(st.floats(0, 2), min_size=1, max_size=150)


def replayed(bound: Bound, values: list[float]) -> ReplayTest:
    test = ReplayTest([bound], len(values))
    for value in values:
        test.feed(0, value)
    return test


@given(LATENCIES)
def test_a_replay_is_always_decided_and_a_certified_one_meets_the_percentile_that_is_shown(values: list[float]) -> None:
    state = replayed(P90, values).state
    assert state is not LevelState.OPEN
    if state is LevelState.CERTIFIED:
        assert np.percentile(values, 90) <= 1.0
    else:
        assert sum(value > 1.0 for value in values) > 0.1 * (len(values) - 1)


@given(LATENCIES)
def test_a_mean_is_decided_exactly(values: list[float]) -> None:
    distance = sum(values) - len(values)
    if abs(distance) > 1e-6:
        assert (replayed(MEAN, values).state is LevelState.CERTIFIED) == (distance < 0)


@given(LATENCIES, st.data())
def test_the_order_of_answers_does_not_matter(values: list[float], data: st.DataObject) -> None:
    orders = [replayed(P90, order).state for order in (values, data.draw(st.permutations(values)))]
    assert orders[0] is orders[1]


def test_it_is_refuted_by_the_first_miss_too_many_and_not_before() -> None:
    test = ReplayTest([P90], 101)
    for count in range(1, 12):
        assert test.state is LevelState.OPEN, count
        test.feed(0, inf)
    assert (test.state, test.decided_by, test.requests) == (LevelState.REFUTED, 0, 11)
    test.feed(0, 0.1)
    assert test.requests == 11


def test_a_mean_is_refuted_as_soon_as_the_requests_that_are_left_cannot_lower_it() -> None:
    test = ReplayTest([MEAN], 10)
    test.feed(0, 9.0)
    assert test.state is LevelState.OPEN
    test.feed(0, 1.5)
    assert test.state is LevelState.REFUTED


def test_it_is_certified_only_by_the_last_request_of_the_last_bound() -> None:
    test = level_test([P90, SUCCESS], 0.0, 0.0, replayed=20)
    for index, requests in ((0, 20), (1, 19)):
        for _ in range(requests):
            test.feed(index, 0.0)
    assert not test.over(Patience(1))
    test.feed(1, 0.0)
    assert test.state is LevelState.CERTIFIED


def test_a_growing_queue_is_not_saturation() -> None:
    test = level_test([P90], 0.0, 0.0, replayed=300)
    for arrived in range(300):
        test.arrive(arrived)
    test.saturate()
    assert test.state is LevelState.OPEN


@pytest.mark.parametrize(("requests", "latency", "success"), [(1, 0, 0), (10, 0, 1), (100, 9, 10), (101, 10, 10)])
def test_allowed_misses(requests: int, latency: int, success: int) -> None:
    assert allowed_misses(P90, requests) == latency
    assert allowed_misses(SUCCESS, requests) == success
