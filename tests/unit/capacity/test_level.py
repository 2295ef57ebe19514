"""Decisions about one level."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.capacity.level import Bound, LevelState, LevelTest, Outcome, Patience

P90 = Bound("p90 ttft <= 1s", 1.0, 0.1)
P99 = Bound("p99 ttft <= 1s", 1.0, 0.01)
MEAN = Bound("mean ttft <= 1s", 1.0)


def level(*bounds: Bound, dispersions: tuple[float, ...] = ()) -> LevelTest:
    return LevelTest(bounds, 0.05, 0.05, dispersions)


def values_of(share: float, count: int, seed: int) -> list[float]:
    random = Random(seed)
    return [1 + random.random() if random.random() < share else random.random() for _ in range(count)]


def test_a_level_without_bounds_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least one bound"):
        LevelTest([], 0.05, 0.05)


def test_a_clean_level_is_certified_no_sooner_than_the_floor() -> None:
    test = level(P99)
    values = iter(values_of(0.0, 5_000, 1))
    while test.state is LevelState.OPEN:
        test.add(Outcome((next(values),), 0))
    assert test.state is LevelState.CERTIFIED
    assert 662 <= test.requests < 1_500


def test_a_bad_level_is_refuted_after_tens_of_requests_by_the_bound_that_is_broken() -> None:
    test = level(P90, P90)
    values = iter(values_of(0.6, 200, 2))
    while test.state is LevelState.OPEN:
        test.add(Outcome((0.1, next(values)), 0))
    assert (test.state, test.decided_by) == (LevelState.REFUTED, 1)
    assert test.requests < 100


def test_one_cluster_of_misses_does_not_refute_a_level() -> None:
    test = level(P99)
    for value in [0.9] * 100 + [1.1] * 30 + [0.9] * 400:
        test.add(Outcome((value,), 0))
    assert test.state is not LevelState.REFUTED


def test_a_queue_that_remembers_for_long_delays_the_certificate() -> None:
    forgetful = level(P99)
    slow = level(P99)
    random = Random(3)
    for number, value in enumerate(values_of(0.0, 1_000, 3)):
        forgetful.add(Outcome((value,), random.randrange(10)))
        slow.add(Outcome((value,), 9 if 300 <= number < 400 else 0))
    assert forgetful.state is LevelState.CERTIFIED
    assert (slow.state, slow.shortfall > 0) == (LevelState.OPEN, True)


def test_a_saturated_level_stays_so() -> None:
    test = level(P90)
    test.saturate()
    for value in values_of(0.0, 300, 4):
        test.add(Outcome((value,), 0))
    assert test.state is LevelState.SATURATED


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 0.6), st.integers(0, 1_000))
def test_a_decision_is_final(share: float, seed: int) -> None:
    test = level(P90)
    states = [test.add(Outcome((value,), 3)) for value in values_of(share, 500, seed)]
    decided = [state for state in states if state is not LevelState.OPEN]
    assert len(set(decided)) <= 1
    test.saturate()
    assert not decided or test.state is decided[0]


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.3), st.integers(0, 1_000), st.integers(1, 90))
def test_the_interleaving_of_the_bounds_does_not_matter(share: float, seed: int, ahead: int) -> None:
    values = values_of(share, 400, seed)
    others = values_of(0.02, 400, seed + 1)
    in_flight = [Random(seed + number // 20).randrange(9) for number in range(400)]
    together = level(P90, P90)
    for value, other, count in zip(values, others, in_flight, strict=True):
        together.add(Outcome((value, other), count))
    apart = level(P90, P90)
    for count in in_flight:
        apart.arrive(count)
    for number in range(len(values) + ahead):
        if number < len(values):
            apart.feed(1, others[number])
        if number >= ahead:
            apart.feed(0, values[number - ahead])
    assert (apart.state, apart.decided_by) == (together.state, together.decided_by)
    assert apart.memory == together.memory


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_decision_supports_itself_and_not_its_opposite(share: float) -> None:
    test = level(P90)
    for value in values_of(share, 400, 5):
        if test.add(Outcome((value,), 0)) is not LevelState.OPEN:
            break
    opposite = {LevelState.CERTIFIED: LevelState.REFUTED, LevelState.REFUTED: LevelState.CERTIFIED}[test.state]
    assert test.supports(test.state)
    assert not test.supports(opposite)


def test_a_mean_is_decided_in_both_directions() -> None:
    for scale, expected in ((0.5, LevelState.CERTIFIED), (2.0, LevelState.REFUTED)):
        test = level(MEAN)
        random = Random(6)
        for _ in range(600):
            test.add(Outcome((random.expovariate(1 / scale),), 0))
        assert test.state is expected


def test_an_exploring_level_is_left_when_it_looks_good() -> None:
    test = level(P99)
    patience = Patience(400, likely=0.7)
    values = iter(values_of(0.0, 400, 7))
    while not test.over(patience):
        test.add(Outcome((next(values),), 0))
    assert test.state is LevelState.OPEN
    assert test.requests < 300


def test_a_level_never_takes_more_requests_than_its_patience() -> None:
    test = level(P90)
    patience = Patience(150)
    for value in values_of(0.1, 1_000, 8):
        if test.over(patience):
            break
        test.add(Outcome((value,), 0))
    assert test.requests <= 150


@pytest.mark.parametrize(("near", "state"), [(False, LevelState.OPEN), (True, LevelState.REFUTED)])
def test_an_exploring_level_is_refuted_if_it_is_nearly_and_close_to_the_capacity(near: bool, state: LevelState) -> None:
    test = level(P99)
    patience = Patience(400, likely=0.6, near=near)
    for value in values_of(0.2, 400, 4):
        test.add(Outcome((value,), 9))
        if test.over(patience):
            break
    assert test.state is state
    assert test.requests < 150


def test_an_exploring_level_is_left_if_its_queue_is_too_long_to_refute_it_soon() -> None:
    test = level(P99)
    patience = Patience(400, likely=0.6, near=True)
    for value in values_of(0.2, 400, 4):
        test.add(Outcome((value,), 100))
        if test.over(patience):
            break
    assert test.state is LevelState.OPEN
    assert test.requests < 150
