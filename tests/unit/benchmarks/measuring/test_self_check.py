"""Self-check of the load generator: when it counts as the bottleneck of its own measurement."""

from collections.abc import Mapping
from itertools import pairwise
from random import Random
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


@pytest.mark.parametrize(
    ("info", "lagged"),
    [
        ({"loop_lag_p99_s": 0.02}, True),
        ({"asked_rate": 2.0, "scheduled_in_window": 30}, True),
        ({"loop_lag_p99_s": 0.02, "client_cpu_cores": 0.95}, False),
        ({"loop_lag_p99_s": 0.02, "file_limit": 1024}, False),
        ({"client_cpu_cores": 0.95}, False),
        ({}, False),
    ],
)
def test_lags_may_be_those_of_a_moment_but_a_lack_of_cpu_or_files_lasts(
    info: Mapping[str, Any], *, lagged: bool
) -> None:
    assert summarize(records([row()] * 20, **info)).self_check.lagged is lagged


def test_a_lag_moves_a_tpot_by_its_share_of_the_gaps_between_tokens() -> None:
    """Whenever each chunk is read, as long as none is read later than the lag."""
    lag_ns = 20 * MS
    random = Random(1)
    seen = []
    for late in (False, True):
        rows = []
        for tokens in (5, 9, 41):
            reads = [at * 10 * MS + (random.randrange(lag_ns + 1) if late else 0) for at in range(tokens)]
            reads.sort()
            gaps = [b - a for a, b in pairwise(reads)]
            rows.append(row(gaps_ns=gaps, output_tokens=tokens, asked_output=tokens, end_ns=2 * S + reads[-1]))
        rows += [row(ramp=True, output_tokens=2, gaps_ns=[10 * MS]), row(output_tokens=1, gaps_ns=[])]
        seen.append(summarize(records(rows, loop_lag_p99_s=lag_ns / S)))
    assert seen[1].self_check.tpot_lag_s == 0.02 / 4, "of the shortest answer that has a TPOT"
    exact, late_one = (m.distributions["tpot"] for m in seen)
    assert exact.p50 == 0.01
    for statistic in ("min", "mean", "p50", "max"):
        moved = abs((late_one.value(statistic) or 0.0) - (exact.value(statistic) or 0.0))
        assert 0 < moved <= 0.02 / 4
    assert summarize(records([row(output_tokens=1, gaps_ns=[])] * 9)).self_check.tpot_lag_s is None
