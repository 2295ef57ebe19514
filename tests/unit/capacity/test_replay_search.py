"""The speeds that a search replays a trace at."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.capacity.level import LevelState
from autotuner.capacity.level_result import LevelResult
from autotuner.capacity.replay_search import ReplaySearch
from autotuner.capacity.search import Limits, Missing

REPLAYED = 100
ENDLESS = Limits(max_requests=10**6)


def result(speed: float, *, good: bool, requests: int = REPLAYED) -> LevelResult:
    state = LevelState.CERTIFIED if good else LevelState.REFUTED
    return LevelResult(load=speed, state=state, requests=requests, observations=(), leaning=0.0)


def searched(
    capacity: float, limits: Limits = ENDLESS, *, required: float | None = None, cold: bool = False
) -> ReplaySearch:
    """A search on a server that holds every speed up to its capacity."""
    search = ReplaySearch(limits, 1.0, REPLAYED, required=required)
    while (plan := search.next_level()) is not None:
        search.add(result(plan.load, good=plan.load <= capacity and not (cold and not search.results)))
        assert len(search.results) < 40
    return search


@given(st.floats(0.001, 1000), st.floats(0.01, 1), st.booleans())
def test_the_capacity_is_inside_a_precise_bracket(capacity: float, precision: float, cold: bool) -> None:
    search = searched(capacity, replace(ENDLESS, precision=precision), cold=cold)
    assert search.certified is not None
    assert search.refuted is not None
    assert search.certified <= capacity < search.refuted
    assert search.refuted / search.certified <= (1 + precision) * 1.001
    assert search.precise
    assert search.monotone


def test_a_bracket_of_ten_percent_takes_few_replays() -> None:
    assert [one.load for one in searched(1.5).results] == [1.0, 2.0, 1.4142, 1.6818, 1.5422]


@given(st.floats(0.001, 1000), st.floats(0.01, 10), st.floats(1, 100))
def test_no_speed_is_outside_of_the_range(capacity: float, low: float, factor: float) -> None:
    search = searched(capacity, replace(ENDLESS, low=low, high=low * factor))
    assert all(low <= one.load <= low * factor for one in search.results)
    missing = search.missing()
    assert (missing[0] is Missing.NEVER_MET) == (capacity < low)
    assert (missing[1] is Missing.NEVER_SATURATED) == (capacity >= low * factor)


def test_a_required_speed_that_is_refuted_at_once_is_repeated_before_the_search_is_cut() -> None:
    search = searched(1.0, required=3.0)
    assert [one.load for one in search.results] == [3.0, 3.0]
    assert (search.cut, search.refuted, search.missing()) == (True, 3.0, (Missing.CUT, None))
    assert not searched(3.5, required=3.0, cold=True).cut


def test_a_required_speed_that_many_requests_refute_is_not_repeated() -> None:
    search = ReplaySearch(ENDLESS, 1.0, 1_000, required=3.0)
    search.next_level()
    search.add(result(3.0, good=False, requests=400))
    assert search.next_level() is None
    assert (search.cut, search.refuted) == (True, 3.0)


@pytest.mark.parametrize("requests", [100, 250, 450])
def test_no_replay_is_begun_that_the_budget_would_cut(requests: int) -> None:
    search = searched(1.5, replace(ENDLESS, max_requests=requests))
    assert search.spent <= requests
    assert search.spent + REPLAYED > requests
    assert not search.precise


def test_a_replay_whose_outcome_is_unknown_is_neither_end_of_the_bracket() -> None:
    search = ReplaySearch(ENDLESS, 1.0, REPLAYED)
    for _ in range(12):
        plan = search.next_level()
        if plan is None:
            break
        unknown = LevelResult(load=plan.load, state=LevelState.OPEN, requests=REPLAYED, observations=(), leaning=0.0)
        search.add(result(plan.load, good=True) if plan.load <= 1 else unknown)
    assert (search.certified, search.refuted, search.precise) == (1.0, None, False)
    assert search.next_level() is None
    assert search.missing() == (None, Missing.UNDECIDED)


def test_a_lowest_speed_whose_outcome_is_unknown_leaves_both_ends_undecided() -> None:
    search = ReplaySearch(replace(ENDLESS, low=1.0), 1.0, REPLAYED)
    search.add(LevelResult(load=1.0, state=LevelState.OPEN, requests=REPLAYED, observations=(), leaning=0.0))
    assert search.next_level() is None
    assert search.missing() == (Missing.UNDECIDED, Missing.UNDECIDED)


@pytest.mark.parametrize("low", [0.0, 1.234567])
def test_a_required_speed_with_many_digits_is_tested_as_it_is(low: float) -> None:
    search = searched(1.0, replace(ENDLESS, low=low), required=1.234567)
    assert [one.load for one in search.results] == [1.234567, 1.234567]
    assert search.cut


def test_replays_that_do_not_count_are_paid_for() -> None:
    search = ReplaySearch(replace(ENDLESS, max_requests=3 * REPLAYED), 1.0, REPLAYED)
    search.uncounted = 2 * REPLAYED
    assert search.next_level() is not None
    search.uncounted += 1
    assert search.next_level() is None
    assert search.missing() == (Missing.BUDGET, Missing.BUDGET)


def test_a_limited_load_generator_ends_the_search() -> None:
    search = ReplaySearch(ENDLESS, 1.0, REPLAYED)
    search.client_limited = True
    assert search.next_level() is None
    assert search.missing() == (Missing.CLIENT_LIMITED, Missing.CLIENT_LIMITED)
