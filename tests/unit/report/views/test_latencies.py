"""Distributions of latencies for plots."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.distribution import distribution
from autotuner.report.views.latencies import BINS, POINTS, TAIL_POINTS, LatencyDistribution, latency_distribution
from autotuner.study.measurement import Measurement
from autotuner.study.objective import SLO
from autotuner.study.workload import Concurrency

SLOS = (
    SLO(metric="ttft", statistic="p99", threshold=0.4),
    SLO(metric="ttft", threshold=0.3),
    SLO(metric="ttft", statistic="p90", threshold=0.2, at="concurrency=9"),
    SLO(metric="ttft", statistic="p90", threshold=0.2, of="part 1"),
    SLO(metric="tpot", statistic="p99", threshold=0.1),
)


def described(values: list[float], censored: int = 0) -> LatencyDistribution:
    found = np.array(values)
    measured = Measurement(
        scenario="D(1,1)",
        level=Concurrency(in_flight=4),
        window_s=1,
        requests=len(values),
        failed=0,
        distributions={"ttft": distribution(found, censored)},
    )
    return latency_distribution("ttft", measured, found, censored, SLOS)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=900), st.integers(0, 3))
def test_every_value_is_in_a_bin_and_the_percentiles_lie_on_the_curve(values: list[float], censored: int) -> None:
    found = described(values, censored)
    assert found.agrees
    for histogram in (found.linear, found.logarithmic):
        assert histogram is not None
        assert sum(histogram.counts) == len(values)
        assert len(histogram.counts) <= BINS + 2
        assert histogram.edges == tuple(sorted(histogram.edges))
        assert histogram.edges[0] <= min(values) * (1 + 1e-9)
        assert histogram.edges[-1] >= max(values) * (1 - 1e-9)
    if len(values) <= POINTS + TAIL_POINTS and len(values) > 1:
        for share, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99")):
            stored = found.statistics.value(name)
            if stored is not None:
                assert np.interp(share, found.shares, found.values) == pytest.approx(stored, rel=1e-9)


def test_a_large_window_has_few_points_that_are_exact_and_dense_in_the_tail() -> None:
    values = np.random.default_rng(0).lognormal(-2, 0.6, 100_000)
    found = described([float(v) for v in values])
    assert len(found.values) <= POINTS + TAIL_POINTS
    assert found.values[0] == min(values)
    assert found.values[-1] == max(values)
    assert sum(share > 0.95 for share in found.shares) >= TAIL_POINTS
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        assert np.interp(share, found.shares, found.values) == pytest.approx(found.statistics.value(name), rel=0.005)


def test_censored_requests_lie_above_the_curve() -> None:
    assert described([0.1, 0.2, 0.3], censored=2).shares == (0, 0.25, 0.5)
    assert described([0.1]).shares == (1,)


def test_only_slos_on_this_latency_in_this_window() -> None:
    assert [(slo.text, slo.statistic) for slo in described([0.1, 0.2]).slos] == [
        ("p99 ttft <= 400ms", "p99"),
        ("ttft <= 300ms", None),
    ]


@pytest.mark.parametrize("others", [[0.1, 0.2, 0.4], [0.1, 0.2], [0.05, 0.2, 0.3]])
def test_records_of_another_window_are_recognized(others: list[float]) -> None:
    found = described([0.1, 0.2, 0.3])
    measured = Measurement(
        scenario="D(1,1)",
        level=Concurrency(in_flight=4),
        window_s=1,
        requests=3,
        failed=0,
        distributions={"ttft": found.statistics},
    )
    other = latency_distribution("ttft", measured, np.array(others), 0, ())
    assert other.agrees is (others == [0.1, 0.2, 0.4])
    assert other.statistics == found.statistics


def test_a_value_of_zero_has_no_place_on_a_logarithmic_axis() -> None:
    assert described([0.0, 0.5]).logarithmic is None
    assert described([0.0, 0.0]).linear.counts[0] == 2
