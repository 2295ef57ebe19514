"""Requests that had not ended when the load generator stopped watching."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.distribution import distribution
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.study.measurement import Measurement
from support.request_records import S, arrival, moved, numbers, records, row


def open_loop(rows: list[dict[str, Any]]) -> Measurement:
    return summarize(records(rows, asked_rate=2.0))


def test_open_loop_counts_every_arrival_wherever_it_ended() -> None:
    rows = [
        arrival(-1, 0.1, 2.0),  # arrived during the warm-up, ends inside
        *(arrival(n, 0.1, 0.5) for n in range(8)),
        arrival(9, 3.0, 4.0),  # ends after the window
        arrival(10.5, 9.0, 1.0),  # arrived after the window: keeps the load up
    ]
    seen = open_loop(rows)
    assert (seen.arrived, seen.requests, seen.failed) == (9, 9, 0)
    assert seen.distributions["ttft"].count == 9
    assert seen.value("ttft", "max") == pytest.approx(3.0)
    assert seen.value("e2e_latency", "max") == pytest.approx(7.0)
    assert seen.scalars["request_throughput"] == pytest.approx(9 / 10), "ended inside, whenever it arrived"


def test_percentile_among_running_requests_is_unknown() -> None:
    seen = open_loop([*(arrival(n, 0.1, 0.5) for n in range(8)), *(arrival(9, 0.2, 9, ended=False) for _ in range(2))])
    whole = seen.distributions["e2e_latency"]
    first = seen.distributions["ttft"]
    assert (first.count, first.censored) == (10, 0)
    assert first.max == pytest.approx(0.2)
    assert (whole.count, whole.censored) == (10, 2)
    assert whole.p50 == pytest.approx(0.6)
    assert whole.p75 == pytest.approx(0.6), "the 8th of 10"
    assert (whole.p90, whole.p99, whole.max, whole.mean, whole.std) == (None,) * 5
    assert (seen.requests, seen.failed, seen.arrived) == (8, 0, 10)
    assert [2, 10, 9.2] in map(numbers, seen.warnings), "2 of 10, after 9.2 s"


def test_request_without_a_first_token_ranks_above_all_others() -> None:
    rows = [arrival(n / 2, 0.1, 0.5) for n in range(18)]
    silent = arrival(9.5, 0.0, 15.0, error="timeout", ended=False) | {"first_ns": None, "gaps_ns": []}
    seen = open_loop([*rows, silent])
    assert seen.errors == {"timeout": 1}
    assert (seen.distributions["ttft"].count, seen.distributions["ttft"].censored) == (19, 1)
    assert (seen.value("ttft", "p90"), seen.value("ttft", "p99")) == (pytest.approx(0.1), None)


@given(st.lists(st.floats(0.001, 9), max_size=30), st.integers(0, 30), st.data())
def test_statistics_do_not_depend_on_the_true_size_of_censored_values(
    values: list[float], censored: int, data: st.DataObject
) -> None:
    if not values and not censored:
        return
    known = distribution(np.array(values), censored)
    top = max(values, default=0.0)
    truth = values + data.draw(st.lists(st.floats(top, 99), min_size=censored, max_size=censored))
    for statistic, share in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)):
        found = known.value(statistic)
        assert found is None or found == pytest.approx(float(np.percentile(truth, share)))
    assert known.count == len(truth)


def test_closed_loop_includes_requests_that_outlast_all_others() -> None:
    quick = [moved(row(), n * S) for n in range(8)]
    slow = row(sent_ns=2 * S, first_ns=3 * S, gaps_ns=[9 * S], end_ns=12 * S, complete=False, output_tokens=2)
    seen = summarize(records([*quick, slow]))
    whole = seen.distributions["e2e_latency"]
    assert (whole.count, whole.censored, whole.max) == (9, 1, None)
    assert whole.p50 == pytest.approx(0.09)
    assert seen.value("ttft", "max") == pytest.approx(1.0), "sent in the window, and its first token arrived"
    assert [1, 10.0] in map(numbers, seen.warnings), "1 request, after 10 s"


def test_answers_longer_than_the_window_of_a_steady_closed_loop() -> None:
    """Answers of 60 s in a window of 30 s: as many end in it as in any other 30 s."""
    rows = [
        row(
            sent_ns=at * S,
            first_ns=at * S + S,
            gaps_ns=[59 * S],
            end_ns=min(at + 60, 31) * S,
            complete=at <= -30,
            output_tokens=2,
        )
        for at in range(-56, 30, 4)
    ]
    seen = summarize(records(rows, window_s=30.0))
    whole = seen.distributions["e2e_latency"]
    assert (whole.count, whole.censored) == (7, 0)
    assert whole.p50 == pytest.approx(60)
    assert seen.distributions["ttft"].count == 8
