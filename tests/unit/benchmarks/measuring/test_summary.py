"""Figures of a window: hand-made records with known results, and invariants of any records."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.summary import summarize
from autotuner.study.metric import METRICS
from autotuner.study.objective import SLO, Comparison
from support.request_records import MS, S, failed, moved, records, row


def test_known_figures() -> None:
    seen = summarize(records([row()] * 20))
    assert seen.requests == 20
    assert seen.value("ttft", "p50") == pytest.approx(0.05)
    assert seen.value("e2e_latency", "p99") == pytest.approx(0.09)
    assert seen.value("tpot", "mean") == pytest.approx(0.01)
    assert seen.value("itl", "max") == pytest.approx(0.01)
    assert seen.scalars["output_throughput"] == pytest.approx(20 * 5 / 10)
    assert seen.scalars["input_throughput"] == pytest.approx(20 * 16 / 10)
    assert seen.scalars["total_throughput"] == pytest.approx(20 * 21 / 10)
    assert seen.scalars["request_throughput"] == pytest.approx(2.0)
    assert seen.scalars["goodput"] == pytest.approx(2.0)
    assert seen.scalars["success_rate"] == 1.0


def test_percentiles_of_pooled_requests() -> None:
    rows = [row(first_ns=1 * S + n * MS, end_ns=2 * S) for n in range(1, 101)]
    seen = summarize(records(rows)).distributions["ttft"]
    truth = np.percentile(np.arange(1, 101) / 1000, (50, 90, 99))
    assert (seen.p50, seen.p90, seen.p99) == pytest.approx(tuple(truth))


def test_latency_ends_at_the_last_token() -> None:
    early = summarize(records([row()]))
    late = summarize(records([row(end_ns=3 * S)]))
    assert early.distributions == late.distributions


def test_four_tokens_per_chunk() -> None:
    seen = summarize(records([row(output_tokens=20, gaps_ns=[20 * MS] * 4)]))
    assert seen.value("itl", "p50") == pytest.approx(0.020)
    assert seen.value("itl_token", "p50") == pytest.approx(0.005)
    assert (seen.distributions["itl"].count, seen.distributions["itl_token"].count) == (4, 16)
    assert seen.value("tpot", "p50") == pytest.approx(0.08 / 19)
    assert seen.scalars["output_throughput"] == pytest.approx(2.0)


def test_one_token_answers_have_no_tpot() -> None:
    seen = summarize(records([row(output_tokens=1, gaps_ns=[])]))
    assert seen.value("tpot", "p50") is None
    assert seen.value("itl", "p50") is None
    assert seen.value("ttft", "p50") == pytest.approx(0.05)


def test_tokens_outside_the_window_do_not_count() -> None:
    before = moved(row(), -2 * S)
    after = moved(row(), 20 * S)
    across = moved(row(), -1 * S - 65 * MS)  # chunks at -15, -5, 5, 15, 25 ms; ends at 35 ms
    seen = summarize(records([before, across, after]))
    assert seen.requests == 1
    assert seen.scalars["output_throughput"] == pytest.approx(0.3)
    assert seen.scalars["input_throughput"] == 0


def test_request_running_at_the_end_counts_only_by_its_tokens() -> None:
    complete = row(output_tokens=10)  # two tokens per chunk
    running = row(complete=False, first_ns=9 * S, gaps_ns=[400 * MS] * 3, end_ns=11 * S, output_tokens=4)
    seen = summarize(records([complete, running]))
    assert (seen.requests, seen.failed) == (1, 0)
    assert seen.scalars["output_throughput"] == pytest.approx((10 + 3 * 2) / 10)


def test_shortened_first_requests_of_a_closed_loop_count_only_by_their_tokens() -> None:
    seen = summarize(records([row(), row(ramp=True, output_tokens=5)]))
    assert seen.requests == 1
    assert seen.scalars["output_throughput"] == pytest.approx(1.0)
    assert summarize(records([row(), failed(ramp=True)])).failed == 1, "failures always count"


def test_failures_count_but_have_no_latency() -> None:
    seen = summarize(records([row()] * 3 + [failed()]))
    assert (seen.requests, seen.failed, seen.errors) == (4, 1, {"http_500": 1})
    assert seen.scalars["success_rate"] == 0.75
    assert seen.distributions["ttft"].count == 3
    partial = failed(error="cut_stream", first_ns=1 * S, gaps_ns=[MS], output_tokens=2)
    assert summarize(records([partial])).scalars["output_throughput"] == 0


def test_hanging_request_is_a_timeout_of_the_window_it_was_sent_in() -> None:
    hung = failed(error="timeout", end_ns=25 * S)
    assert summarize(records([row(), hung])).errors == {"timeout": 1}
    later = failed(error="timeout", sent_ns=11 * S, end_ns=25 * S)
    assert summarize(records([row(), later])).errors == {}
    other = failed(error="cut_stream", end_ns=11 * S)
    assert summarize(records([row(), other])).errors == {}


def test_open_loop_also_measures_latency_from_the_schedule() -> None:
    seen = summarize(records([row(scheduled_ns=S - 300 * MS, lag_ns=300 * MS)], asked_rate=1.0))
    assert seen.value("ttft", "p50") == pytest.approx(0.05)
    assert seen.value("ttft_scheduled", "p50") == pytest.approx(0.35)
    assert seen.value("e2e_latency_scheduled", "p50") == pytest.approx(0.39)


@pytest.mark.parametrize(
    ("slo", "good"),
    [
        (SLO(metric="ttft", threshold=0.05), 2),
        (SLO(metric="ttft", threshold=0.049), 0),
        (SLO(metric="ttft", statistic="p99", threshold=0.001), 2),
        (SLO(metric="ttft", threshold=0.001, at="concurrency=9"), 2),
        (SLO(metric="ttft", threshold=0.001, at="concurrency=2"), 0),
        (SLO(metric="ttft", threshold=0.001, scenario="D(1,1)"), 2),
        (SLO(metric="tpot", threshold=0.009), 0),
        (SLO(metric="ttft_scheduled", threshold=0.001), 0),
        (SLO(metric="e2e_latency", comparison=Comparison.GE, threshold=0.1), 0),
    ],
)
def test_goodput(slo: SLO, good: int) -> None:
    seen = summarize(records([row(), row()], slos=(slo,)))
    assert seen.scalars["goodput"] == pytest.approx(good / 10)


ROWS = st.lists(
    st.builds(
        lambda sent, wait, gaps, tokens, error, ramp: row(
            sent_ns=sent,
            first_ns=sent + wait,
            gaps_ns=gaps,
            end_ns=sent + wait + sum(gaps),
            output_tokens=tokens,
            error=error,
            complete=error is None,
            ramp=ramp,
        ),
        st.integers(-2 * S, 12 * S),
        st.integers(0, 2 * S),
        st.lists(st.integers(0, S), max_size=6),
        st.integers(1, 30),
        st.sampled_from([None, None, "timeout", "cut_stream"]),
        st.booleans(),
    ),
    max_size=12,
)


@given(ROWS)
def test_invariants_of_any_records(rows: list[dict[str, Any]]) -> None:
    seen = summarize(records(rows))
    assert set(seen.distributions) | set(seen.scalars) <= set(METRICS)
    assert seen.failed == sum(seen.errors.values()) <= seen.requests <= len(rows)
    assert seen.scalars["goodput"] == seen.scalars["request_throughput"] == (seen.requests - seen.failed) / 10
    assert seen.scalars["output_throughput"] * 10 <= sum(r["output_tokens"] for r in rows if not r["error"]) + 1e-6
    for found in seen.distributions.values():
        every = [found.min, found.p50, found.p75, found.p90, found.p95, found.p99, found.p99_9, found.max]
        order = [value for value in every if value is not None]
        assert order == sorted(order)
        assert min(order, default=0) >= 0
        assert every[: len(order)] == order, "unknown values lie above known ones"
        assert (found.mean is None) is (found.max is None) is (found.censored > 0)
    assert seen == summarize(records(list(rows)))
    assert seen.scalars == pytest.approx(summarize(records(rows[::-1])).scalars), "the order of records does not matter"


@given(ROWS.filter(len))
def test_failure_never_improves_a_figure(rows: list[dict[str, Any]]) -> None:
    before = summarize(records(rows)).scalars
    aborted = {**rows[0], "error": "cut_stream", "complete": False, "ramp": False}
    after = summarize(records([aborted, *rows[1:]])).scalars
    assert after["goodput"] <= before["goodput"]
    assert after.get("success_rate", 0) <= before.get("success_rate", 1)
