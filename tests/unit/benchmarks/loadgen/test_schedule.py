"""Open-loop schedules: the distribution of their gaps, and the exact number of arrivals."""

from itertools import pairwise
from math import log
from random import Random
from statistics import mean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.schedule import arrivals


def gaps(times: list[float]) -> list[float]:
    return [b - a for a, b in pairwise(times)]


def test_constant_gaps_are_equal() -> None:
    times = arrivals("constant", 40.0, 10.0, Random(1))
    assert len(times) == 400
    assert gaps(times) == pytest.approx([1 / 40] * 399)


@pytest.mark.parametrize(
    ("kind", "burstiness", "cv"),
    [("poisson", 5.0, 1.0), ("gamma", 1.0, 1.0), ("gamma", 0.25, 2.0), ("gamma", 4.0, 0.5)],
)
def test_mean_and_spread_of_gaps(kind: str, burstiness: float, cv: float) -> None:
    found = gaps(arrivals(kind, 100.0, 200.0, Random(3), burstiness=burstiness))
    assert mean(found) == pytest.approx(0.01, rel=0.01)
    assert pstdev(found) / mean(found) == pytest.approx(cv, rel=0.05)


def test_poisson_gaps_are_exponential() -> None:
    found = sorted(gaps(arrivals("poisson", 1.0, 20_000.0, Random(5))))
    for share in (0.1, 0.5, 0.9):
        below = sum(gap <= -log(1 - share) for gap in found) / len(found)
        assert below == pytest.approx(share, abs=0.01)


@given(
    st.sampled_from(["constant", "poisson", "gamma"]),
    st.floats(0.1, 500),
    st.floats(0.5, 20),
    st.integers(0, 9),
    st.floats(0.05, 8),
)
def test_schedule_has_the_requested_rate_and_is_reproducible(
    kind: str, rate: float, duration: float, seed: int, burstiness: float
) -> None:
    times = arrivals(kind, rate, duration, Random(seed), burstiness=burstiness)
    assert len(times) == max(1, round(rate * duration))
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] < duration
    assert times == arrivals(kind, rate, duration, Random(seed), burstiness=burstiness)


def test_seeds_differ() -> None:
    assert arrivals("poisson", 5.0, 5.0, Random(1)) != arrivals("poisson", 5.0, 5.0, Random(2))
