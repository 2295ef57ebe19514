"""Distributions: sample sizes and censored values."""

import pytest

from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.metric import STATISTICS, fewest_samples
from autotuner.study.workload import Concurrency

_NUMBERS = ("mean", "std", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max")


def distribution(count: int, **changes: object) -> Distribution:
    return Distribution.model_validate({**dict.fromkeys(_NUMBERS, 0.1), "count": count, **changes})


@pytest.mark.parametrize(
    ("statistic", "fewest"), [("p50", 2), ("p75", 4), ("p90", 10), ("p95", 20), ("p99", 100), ("p99.9", 1000)]
)
def test_a_percentile_needs_a_large_enough_sample(statistic: str, fewest: int) -> None:
    assert fewest_samples(statistic) == fewest
    assert distribution(fewest).carries(statistic)
    assert not distribution(fewest - 1).carries(statistic)


def test_other_statistics_need_one_value() -> None:
    assert {fewest_samples(s) for s in STATISTICS if not s.startswith("p")} == {1}


def test_a_percentile_among_censored_values_is_unknown() -> None:
    found = Measurement(
        scenario="D(8,8)",
        level=Concurrency(in_flight=1),
        window_s=1.0,
        requests=3,
        failed=0,
        distributions={"ttft": distribution(3, p99=None, max=None, censored=1)},
        scalars={"output_throughput": 1.0},
    )
    assert found.value("ttft", "p50") == 0.1
    assert found.value("ttft", "p99") is None
    assert not found.carries("ttft", "p99")
    assert found.carries("output_throughput", None)
