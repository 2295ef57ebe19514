"""Choice of the levels."""

from dataclasses import replace
from itertools import pairwise
from math import log, sqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.capacity.clusters import dispersions_at
from autotuner.capacity.level import LevelState
from autotuner.capacity.level_result import used
from autotuner.capacity.observation import ShareCount
from autotuner.capacity.search import CapacitySearch, LevelResult, Limits, Missing, Plan

CAPACITY = 10.0


def level(plan: Plan, capacity: float, random: Random) -> LevelResult:
    """A level of a steep server, decided the right way unless it only explores or is too close to the capacity."""
    excess = plan.load / capacity
    exploring = plan.patience.likely is not None
    requests = min(plan.patience.requests, 200 if exploring or excess > 1.2 else 1_000)
    share = min(0.6, 0.01 * excess**30)
    misses = sum(random.random() < share for _ in range(requests))
    state = LevelState.OPEN
    if excess > (1.2 if exploring else 1.01):
        state = LevelState.REFUTED
    elif not exploring and excess < 0.99 and requests >= 662:
        state = LevelState.CERTIFIED
    leaning = (0.01 * requests - misses) / sqrt(requests)
    return LevelResult(plan.load, state, requests, (ShareCount(plan.load, requests, misses, 0.01),), leaning)


def searched(
    limits: Limits, start: float, seed: int, capacity: float = CAPACITY, required: float | None = None
) -> CapacitySearch:
    search = CapacitySearch(limits, start, required=required)
    random = Random(seed)
    while (plan := search.next_level()) is not None:
        assert limits.low <= plan.load <= limits.high
        assert 0 < plan.certify <= 1
        assert 0 < plan.refute <= 1
        search.add(level(plan, capacity, random))
    return search


@settings(max_examples=15, deadline=None)
@given(st.floats(0.5, 200), st.integers(0, 10_000), st.integers(500, 20_000))
def test_the_bracket_is_ordered_and_the_budget_kept(start: float, seed: int, budget: int) -> None:
    search = searched(Limits(max_requests=budget), start, seed)
    last = search.results[-1].requests if search.results else 0
    assert search.spent - last < budget
    assert search.spent <= budget
    if search.certified is not None and search.refuted is not None:
        assert search.certified < search.refuted


@settings(max_examples=15, deadline=None)
@given(st.floats(0.5, 200), st.integers(0, 10_000))
def test_no_level_is_tested_twice(start: float, seed: int) -> None:
    search = searched(Limits(), start, seed)
    lengthy = sorted(r.load for r in search.results if r.state is not LevelState.OPEN or r.requests > 400)
    assert all(above / below - 1 > 0.004 for below, above in pairwise(lengthy))


@settings(max_examples=15, deadline=None)
@given(st.floats(0.5, 200), st.integers(0, 10_000))
def test_the_capacity_is_found(start: float, seed: int) -> None:
    search = searched(Limits(), start, seed)
    assert search.precise
    assert search.certified is not None
    assert search.certified <= CAPACITY <= search.certified * 1.1001
    assert search.missing() == (None, None)


@pytest.mark.parametrize("precision", [0.3, 0.5])
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_a_wide_precision_leaves_room_around_the_capacity(precision: float, seed: int) -> None:
    # Close to the capacity, waiting requests are anything but independent, and a level takes thousands of them.
    search = CapacitySearch(Limits(precision=precision), 7.0 + seed)
    random = Random(seed)
    while (plan := search.next_level()) is not None:
        if plan.patience.likely is None:
            distance = abs(log(plan.load / search.capacity_estimate().median))
            assert distance > 0.2 * log(1 + precision) - 0.03
        search.add(level(plan, CAPACITY, random))
    assert search.precise


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 200), st.integers(1, 300), st.integers(0, 1_000))
def test_loads_in_flight_are_whole(capacity: int, start: int, seed: int) -> None:
    search = searched(Limits(whole=True, low=1), float(start), seed, capacity + 0.5)
    assert all(result.load == int(result.load) >= 1 for result in search.results)


def test_a_server_that_never_meets_its_bounds_is_said_so() -> None:
    search = searched(Limits(low=100.0, high=1_000.0), 200.0, 1)
    assert search.certified is None
    assert search.missing()[0] is Missing.NEVER_MET


def test_a_server_that_meets_its_bounds_everywhere_is_said_so() -> None:
    search = searched(Limits(low=1.0, high=5.0), 2.0, 1)
    assert search.certified == pytest.approx(5.0)
    assert search.missing() == (None, Missing.NEVER_SATURATED)


def test_a_budget_that_ends_first_is_said_so() -> None:
    assert searched(Limits(max_requests=300), 2.0, 1).missing() == (Missing.BUDGET, Missing.BUDGET)


def test_a_client_at_its_limit_ends_the_search() -> None:
    search = CapacitySearch(Limits(), 1.0)
    search.client_limited = True
    assert search.next_level() is None
    assert search.missing() == (Missing.CLIENT_LIMITED, Missing.CLIENT_LIMITED)


def result(load: float, state: LevelState, requests: int = 800, misses: float = 0.0) -> LevelResult:
    return LevelResult(load, state, requests, (ShareCount(load, requests, misses, 0.01),), 1.0 if misses == 0 else -1.0)


def test_a_curve_that_is_not_monotone_is_reported() -> None:
    search = CapacitySearch(
        Limits(), 1.0, results=[result(2, LevelState.CERTIFIED), result(4, LevelState.REFUTED, 800, 80)]
    )
    assert search.monotone
    search.add(result(8, LevelState.CERTIFIED))
    assert not search.monotone
    assert search.certified == 8
    assert search.refuted is None


def test_a_first_level_that_fails_at_once_is_no_end_of_the_bracket() -> None:
    search = CapacitySearch(
        Limits(), 4.0, results=[result(4, LevelState.REFUTED, 98, 60), result(2, LevelState.CERTIFIED)]
    )
    assert search.refuted is None
    plan = search.next_level()
    assert plan is not None
    assert plan.load > 2


def test_all_levels_of_a_cold_server_are_left_out() -> None:
    cold = [result(load, LevelState.REFUTED, 90, 60) for load in (4, 2)]
    search = CapacitySearch(Limits(), 4.0, results=[*cold, result(1, LevelState.CERTIFIED)])
    assert search.refuted is None
    assert search.monotone
    warm = CapacitySearch(Limits(), 4.0, results=[*cold, result(1.5, LevelState.REFUTED, 90, 60)])
    assert warm.refuted == 1.5


def test_a_required_load_is_asked_again_of_a_cold_server() -> None:
    search = CapacitySearch(Limits(), 4.0, required=4.0, results=[result(4, LevelState.REFUTED, 90, 60)] * 2)
    assert not search.cut
    plan = search.next_level()
    assert plan is not None
    assert plan.load == 4
    search.add(result(4, LevelState.REFUTED, 90, 60))
    assert search.cut


def test_clusters_at_bad_levels_are_held_against_good_ones() -> None:
    clustered = LevelResult(4, LevelState.REFUTED, 1_000, (ShareCount(4, 100, 8, 0.01),), -5.0)
    search = CapacitySearch(Limits(), 2.0, results=[result(2, LevelState.CERTIFIED), clustered])
    plan = search.next_level()
    assert plan is not None
    assert 2 < plan.dispersions[0] < 10


def test_a_lucky_level_says_nothing_about_clusters() -> None:
    clustered = LevelResult(3, LevelState.REFUTED, 1_000, (ShareCount(3, 100, 8, 0.01),), -5.0)
    lucky = LevelResult(2.8, LevelState.CERTIFIED, 3_000, (ShareCount(2.8, 3_000, 3, 0.01),), 4.0)
    assert dispersions_at(2.9, [lucky, clustered]) == (pytest.approx(10 / sqrt(8)),)


def test_a_level_as_short_as_its_clusters_may_have_met_only_a_few() -> None:
    short = LevelResult(3, LevelState.REFUTED, 400, (ShareCount(3, 40, 8, 0.01),), -5.0)
    assert dispersions_at(3, [short])[0] == pytest.approx(40 * sqrt(0.01 * 400 / 80))


def test_clusters_at_twice_the_load_say_little() -> None:
    clustered = LevelResult(8, LevelState.REFUTED, 1_000, (ShareCount(8, 10, 0.8, 0.01),), -5.0)
    search = CapacitySearch(Limits(high=4), 2.0, results=[result(2, LevelState.CERTIFIED), clustered])
    plan = search.next_level()
    assert plan is not None
    assert plan.load <= 4
    assert plan.dispersions[0] < 2


def test_no_level_takes_more_than_half_while_nothing_is_certified() -> None:
    bad = LevelResult(20, LevelState.REFUTED, 100, (ShareCount(20, 100, 60, 0.01),), -9.0)
    levels = [result(load, LevelState.OPEN, 200) for load in (10.0, 9.0)] + [bad]
    levels += [LevelResult(load, LevelState.OPEN, 300, (ShareCount(load, 300, 9, 0.01),), -1.0) for load in (10.5, 11)]
    search = CapacitySearch(Limits(), 8.0, results=levels)
    plan = search.next_level()
    assert plan is not None
    assert plan.patience.likely is None
    assert plan.patience.requests <= (20_000 - search.spent) / 2


@settings(max_examples=15, deadline=None)
@given(st.floats(0.5, 200), st.integers(0, 10_000), st.integers(3_000, 20_000))
def test_the_error_rates_of_all_levels_add_up_to_no_more_than_the_whole(start: float, seed: int, budget: int) -> None:
    search = CapacitySearch(Limits(max_requests=budget), start)
    random = Random(seed)
    certify = refute = 0.0
    while (plan := search.next_level()) is not None:
        found = level(plan, CAPACITY, random)
        # Evidence of 0 at the end would give a level's part back; these have used all of theirs.
        search.add(replace(found, below=-100.0, above=-100.0))
        certify += plan.certify
        refute += plan.refute
    assert certify <= 1
    assert refute <= 1


@settings(max_examples=15, deadline=None)
@given(st.floats(2, 50), st.integers(0, 10_000))
def test_a_short_budget_certifies_something_first(start: float, seed: int) -> None:
    search = searched(Limits(max_requests=8_000), start, seed)
    decided = [result.state for result in search.results if result.state is not LevelState.OPEN]
    assert search.certified is not None
    assert search.certified <= CAPACITY
    assert LevelState.CERTIFIED in decided


@settings(max_examples=15, deadline=None)
@given(st.floats(2, 50), st.integers(0, 10_000), st.integers(1_000, 9_000))
def test_a_budget_of_time_has_the_same_levels_as_one_of_requests(start: float, seed: int, budget: int) -> None:
    timed = CapacitySearch(Limits(max_requests=20_000), start)
    random = Random(seed)
    while (plan := timed.next_level(budget - timed.spent)) is not None:
        timed.add(level(plan, CAPACITY, random))
    assert timed.results == searched(Limits(max_requests=budget), start, seed).results


def test_a_level_that_is_left_with_its_stake_has_used_nothing_of_the_error_rate() -> None:
    assert used(0.5, 0.3, decided=False) == 0
    assert used(0.5, -100.0, decided=False) == pytest.approx(0.5)
    assert used(0.5, 4.0, decided=True) == 0.5


def test_a_bracket_of_exactly_the_precision_is_precise() -> None:
    levels = [result(100, LevelState.CERTIFIED), result(115, LevelState.REFUTED, 800, 80)]
    search = CapacitySearch(Limits(precision=0.15, whole=True), 1.0, results=levels)
    assert search.precise


@settings(max_examples=15, deadline=None)
@given(st.floats(1.3, 5), st.integers(0, 10_000))
def test_a_server_that_cannot_hold_the_required_load_is_left_at_once(excess: float, seed: int) -> None:
    search = searched(Limits(), CAPACITY * excess, seed, required=CAPACITY * excess)
    assert search.cut
    assert search.refuted == CAPACITY * excess
    assert len(search.results) <= 2
    assert search.missing()[0] is Missing.CUT


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 0.8), st.integers(0, 10_000))
def test_a_better_server_is_certified_and_not_searched_to_its_end(part: float, seed: int) -> None:
    required = CAPACITY * part
    search = searched(Limits(), required, seed, required=required)
    assert not search.cut
    assert search.certified is not None
    assert required <= search.certified <= CAPACITY
    assert search.spent <= 10_000


@settings(max_examples=15, deadline=None)
@given(st.floats(0.97, 1.03), st.integers(0, 10_000))
def test_a_server_that_is_about_as_good_takes_no_more_than_half(part: float, seed: int) -> None:
    required = CAPACITY * part
    search = searched(Limits(), required, seed, required=required)
    assert search.spent <= 10_000 + 1
    if search.certified is None and search.refuted is not None:
        assert search.cut
        assert search.refuted >= CAPACITY


def cliff(plan: Plan, capacity: float) -> LevelResult:
    """A level of a server that misses nothing up to its capacity, and a fifth beyond."""
    good = plan.load <= capacity
    decided = plan.patience.likely is None
    requests = (700 if good else 130) if decided else 100
    state = (LevelState.CERTIFIED if good else LevelState.REFUTED) if decided else LevelState.OPEN
    misses = 0 if good else requests // 5
    leaning = 1.0 if good else -5.0
    return LevelResult(plan.load, state, requests, (ShareCount(plan.load, requests, misses, 0.01),), leaning)


@settings(max_examples=15, deadline=None)
@given(st.floats(2, 50))
def test_a_level_below_a_cliff_is_tested_with_the_error_rate_of_one_that_should_hold(start: float) -> None:
    search = CapacitySearch(Limits(), start)
    good = 0.0
    while (plan := search.next_level()) is not None:
        found = cliff(plan, CAPACITY)
        if plan.patience.likely is None and plan.load <= good:
            assert plan.certify > plan.refute
        good = max(good, plan.load if found.leaning > 0 else 0.0)
        search.add(found)
    assert search.precise
