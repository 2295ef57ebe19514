"""Evidence for and against a share of misses."""

from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.capacity.level import Bound, LevelState, LevelTest, Outcome
from autotuner.capacity.share_test import ShareTest, floor_requests

LIMIT = 1.0
HIT = 0.9
MISS = 1.1

marks = st.lists(st.booleans(), max_size=23)  # short enough that no dispersion has been estimated


def fed(misses: list[bool], allowed: float = 0.1) -> ShareTest:
    test = ShareTest(LIMIT, allowed)
    for missed in misses:
        test.add(MISS if missed else HIT)
    return test


@pytest.mark.parametrize(
    ("percentile", "requests"), [(0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636), (0.5, 64), (0.97, 662)]
)
def test_the_floor_is_that_of_mlperf(percentile: float, requests: int) -> None:
    assert floor_requests(1 - percentile) == requests


def test_the_floor_grows_in_proportion_beyond_the_table() -> None:
    assert floor_requests(0.0001) == 66_360


def test_no_evidence_exceeds_that_of_the_exact_binomial_rule() -> None:
    """459 independent requests without a miss are the fewest that reject p99 at 99%."""
    assert 0.99**459 <= 0.01 < 0.99**458
    test = ShareTest(LIMIT, 0.01)
    for requests in range(1, 1000):
        test.add(HIT)
        assert test.log_evidence_below <= -requests * log(0.99) + 1e-9
        if requests <= 458:
            assert test.log_evidence_below < log(100)


@given(marks, st.integers(0, 22))
def test_a_further_miss_is_never_evidence_for_the_bound(misses: list[bool], place: int) -> None:
    if place >= len(misses):
        return
    worse = [*misses[:place], True, *misses[place + 1 :]]
    assert fed(worse).log_evidence_below <= fed(misses).log_evidence_below + 1e-12


@given(marks)
def test_the_order_does_not_matter_for_independent_requests(misses: list[bool]) -> None:
    assert fed(misses).log_evidence_below == pytest.approx(fed(misses[::-1]).log_evidence_below)
    assert fed(misses).log_evidence_above == pytest.approx(fed(misses[::-1]).log_evidence_above)


@given(st.floats(0.001, 0.5), st.integers(0, 20))
def test_the_evidence_is_an_e_value(allowed: float, requests: int) -> None:
    """Over all sequences, weighted by their chance under the bound, the evidence averages at most 1."""
    total = 0.0
    chance = (1 - allowed) ** requests
    for misses in range(requests + 1):
        # Hits first: the run of misses is the longest, which only lowers the evidence above.
        test = fed([False] * (requests - misses) + [True] * misses, allowed)
        total += chance * exp(test.log_evidence_below)
        chance *= (requests - misses) / (misses + 1) * allowed / (1 - allowed)
    assert total <= 1 + 1e-9


def test_a_cluster_of_misses_counts_as_one_event() -> None:
    random = Random(1)
    clusters = [random.random() < 0.1 for _ in range(200)]
    clustered = fed([missed for missed in clusters for _ in range(10)])
    spread = fed(random.sample([missed for missed in clusters for _ in range(10)], 2_000))
    assert clustered.dispersion > 5 > 2.5 > spread.dispersion


def test_clusters_seen_at_other_levels_weaken_the_evidence_for_the_bound() -> None:
    alone = ShareTest(LIMIT, 0.01)
    warned = ShareTest(LIMIT, 0.01)
    warned.least_dispersion = 10.0
    for _ in range(800):
        alone.add(HIT)
        warned.add(HIT)
    assert warned.log_evidence_below < alone.log_evidence_below / 5


def test_a_long_memory_weakens_the_evidence_of_a_server_that_was_never_slow() -> None:
    quick = ShareTest(LIMIT, 0.01)
    slow = ShareTest(LIMIT, 0.01)
    for test, value in ((quick, 0.05), (slow, HIT)):
        test.memory = 20.0
        for _ in range(800):
            test.add(value)
    assert quick.log_evidence_below < slow.log_evidence_below / 5


@pytest.mark.parametrize(("share", "wrong"), [(0.1, LevelState.REFUTED), (0.1001, LevelState.CERTIFIED)])
def test_errors_at_the_bound_are_rarer_than_asked_for(share: float, wrong: LevelState) -> None:
    alpha = 0.1
    runs = 120
    random = Random(5)
    errors = 0
    for _ in range(runs):
        test = LevelTest([Bound("p90", LIMIT, 0.1)], alpha, alpha)
        for _ in range(400):
            value = LIMIT + random.random() if random.random() < share else random.random()
            if test.add(Outcome((value,), 0)) is not LevelState.OPEN:
                break
        errors += test.state is wrong
    assert errors <= alpha * runs + 2 * (alpha * (1 - alpha) * runs) ** 0.5


def test_clusters_known_from_other_levels_are_held_against_a_short_level_only() -> None:
    short = fed([False] * 10 + [True] * 10, 0.01)
    alone = short.log_evidence_above
    short.least_dispersion = 20.0
    assert short.log_evidence_above < alone / 2
    lengthy = ShareTest(LIMIT, 0.01)
    for index in range(2_100):
        lengthy.add(MISS if index % 25 == 0 else HIT)
    alone = lengthy.log_evidence_above
    lengthy.least_dispersion = 20.0
    assert lengthy.log_evidence_above == alone
