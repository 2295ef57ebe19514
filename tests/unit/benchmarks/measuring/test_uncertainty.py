"""Coverage of the intervals that are estimated within a window."""

import numpy as np
import pytest

from autotuner.benchmarks.measuring.uncertainty import of_mean, of_percentile, of_rate

RUNS = 300


def covered(truth: float, estimates: list[tuple[float, float | None]]) -> float:
    known = [(value, half) for value, half in estimates if half is not None]
    assert len(known) > 0.9 * len(estimates)
    return sum(abs(value - truth) <= half * value for value, half in known) / len(known)


def test_interval_of_a_rate_covers_it() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(RUNS):
        moments = np.cumsum(rng.exponential(1 / 20, 1000))
        moments = moments[moments < 30]
        found.append((len(moments) / 30, of_rate(moments, np.ones(len(moments)), 30.0)))
    assert covered(20.0, found) >= 0.9


@pytest.mark.parametrize(("count", "share"), [(60, 0.5), (200, 0.9), (1000, 0.99)])
def test_interval_of_a_percentile_covers_it(count: int, share: float) -> None:
    rng = np.random.default_rng(2)
    truth = -np.log(1 - share)
    samples = [rng.exponential(1.0, count) for _ in range(RUNS)]
    assert covered(truth, [(float(np.quantile(s, share)), of_percentile(s, share)) for s in samples]) >= 0.9


def test_correlated_neighbors_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    alike = np.repeat(rng.exponential(1.0, 20), 20)
    half = of_percentile(alike, 0.5)
    shuffled = of_percentile(rng.permutation(alike), 0.5)
    assert half is not None
    assert shuffled is not None
    assert half > 1.5 * shuffled


@pytest.mark.parametrize(("count", "share", "censored"), [(30, 0.99, 0), (99, 0.99, 0), (200, 0.9, 40), (1, 0.5, 0)])
def test_percentile_beyond_the_sample_has_no_interval(count: int, share: float, censored: int) -> None:
    assert of_percentile(np.linspace(1, 2, count), share, censored=censored) is None


def test_falling_rate_has_a_wide_interval() -> None:
    falling = np.sort(30 * np.random.default_rng(4).power(0.4, 600))
    even = np.linspace(0, 29.9, 600)
    wide, narrow = (of_rate(m, np.ones(600), 30.0) for m in (falling, even))
    assert wide is not None
    assert narrow is not None
    assert wide > 0.3 > 0.05 > narrow


def test_mean_of_few_values_has_no_interval() -> None:
    assert of_mean(np.ones(19)) is None
    assert of_mean(np.ones(20)) == 0.0
