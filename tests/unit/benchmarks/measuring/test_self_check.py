"""Self-check of the load generator: when it counts as the bottleneck of its own measurement."""

from collections.abc import Mapping
from typing import Any

import pytest

from autotuner.benchmarks.measuring.summary import summarize
from support.request_records import MS, S, numbers, records, row


@pytest.mark.parametrize(
    ("info", "figures"),
    [
        ({"loop_lag_p99_s": 0.02}, [99, 20.0, 10.0]),
        ({"loop_lag_p99_s": 0.01004}, [99, 10.04, 10.0]),
        ({"client_cpu_cores": 0.95}, [0.95]),
        ({"client_cpu_cores": 3.7, "workers": 4}, [3.7, 4]),
        ({"file_limit": 1024}, [1024]),
        ({"asked_rate": 2.0, "scheduled_in_window": 30}, [20, 30]),
    ],
)
def test_exceeded_limit_is_reported(info: Mapping[str, Any], figures: list[float]) -> None:
    check = summarize(records([row()] * 20, **info)).self_check
    assert check.client_limited
    assert numbers(check.reasons[0]) == figures


def test_long_ttft_allows_more_lag_and_connecting_is_not_lag() -> None:
    slow = row(first_ns=3 * S)
    assert not summarize(records([slow] * 9, loop_lag_p99_s=0.1)).self_check.client_limited
    late = row(lag_ns=80 * MS)
    assert summarize(records([late] * 9)).self_check.client_limited
    connecting = row(lag_ns=80 * MS, connect_ns=80 * MS)
    assert not summarize(records([connecting] * 9)).self_check.client_limited


def test_one_busy_process_among_several_is_not_the_limit() -> None:
    assert not summarize(records([row()] * 20, client_cpu_cores=1.2, workers=4)).self_check.client_limited
