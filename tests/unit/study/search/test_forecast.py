"""Forecasts, and what is known of a server before it is launched."""

import pytest
from pydantic import ValidationError

from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.search.forecast import OUTPUT_THROUGHPUT, TPOT, TTFT, Forecast, LevelForecast
from autotuner.study.search.serving import Serving
from autotuner.study.workload import Concurrency


def test_a_channel_is_observed_in_a_window() -> None:
    statistics = dict.fromkeys(("std", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"))
    ttft = Distribution(count=10, mean=0.25, **statistics)
    level = Concurrency(in_flight=4)
    window = Measurement(
        scenario="D(128,64)",
        level=level,
        window_s=1,
        requests=10,
        failed=0,
        distributions={"ttft": ttft},
        scalars={"output_throughput": 640.0},
    )
    assert TTFT.observed(window) == 0.25
    assert TPOT.observed(window) is None
    assert OUTPUT_THROUGHPUT.observed(window) == 640.0
    forecast = Forecast((LevelForecast(window.scenario, level.text, {TTFT: -1.4}),), source="test", version="1")
    found = forecast.at(window.scenario, level.text)
    assert found is not None
    assert found.log_mean[TTFT] == -1.4
    assert forecast.at(window.scenario, "concurrency=8") is None


def test_replicas_multiply_the_gpus_and_groups_of_attention_do_not() -> None:
    assert Serving(tp=8, pp=2, dp=2, attention_dp=8, ep=8).gpus == 32
    with pytest.raises(ValidationError):
        Serving(tp=0)
