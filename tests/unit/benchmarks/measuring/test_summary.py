"""The summary: hand-made records with known figures, and what must hold for any records."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.distribution import distribution
from autotuner.benchmarks.measuring.records import Records, RunInfo, from_rows
from autotuner.benchmarks.measuring.requirements import Asked, Limits
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.study.metric import METRICS
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.workload import Concurrency, RequestRate

S = 1_000_000_000
MS = 1_000_000


def row(**more: Any) -> dict[str, Any]:
    """A request of 5 tokens in 5 chunks: first after 50 ms, then one each 10 ms."""
    fields = {
        "index": 0,
        "scheduled_ns": None,
        "sent_ns": 1 * S,
        "lag_ns": 0,
        "end_ns": 1 * S + 100 * MS,
        "connect_ns": 0,
        "first_ns": 1 * S + 50 * MS,
        "gaps_ns": [10 * MS] * 4,
        "asked_input": 16,
        "asked_output": 5,
        "input_tokens": 16,
        "output_tokens": 5,
        "token_source": "usage",
        "complete": True,
        "ramp": False,
        "error": None,
        "detail": "",
    }
    return {**fields, **more}


def failed(**more: Any) -> dict[str, Any]:
    return row(**{"complete": False, "error": "http_500", "first_ns": None, "gaps_ns": [], "output_tokens": 0, **more})


def moved(found: dict[str, Any], by_ns: int) -> dict[str, Any]:
    times = {k: found[k] + by_ns for k in ("sent_ns", "end_ns", "first_ns", "scheduled_ns") if found[k] is not None}
    return {**found, **times}


def records(rows: list[dict[str, Any]], *, window_s: float = 10.0, slos: tuple[SLO, ...] = (), **info: Any) -> Records:
    level = RequestRate(rate=info["asked_rate"]) if "asked_rate" in info else Concurrency(in_flight=2)
    asked = Asked(scenario="D(16,5)", level=level, slos=slos, limits=Limits())
    facts = RunInfo(**{"window_ns": round(window_s * S), "begin_epoch_s": 1.0, **info})
    return from_rows(rows, facts, asked.model_dump(mode="json"))


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


def test_percentiles_are_over_pooled_requests() -> None:
    rows = [row(first_ns=1 * S + n * MS, end_ns=2 * S) for n in range(1, 101)]
    seen = summarize(records(rows)).distributions["ttft"]
    truth = np.percentile(np.arange(1, 101) / 1000, (50, 90, 99))
    assert (seen.p50, seen.p90, seen.p99) == pytest.approx(tuple(truth))


def test_the_end_of_the_answer_is_in_no_latency() -> None:
    early = summarize(records([row()]))
    late = summarize(records([row(end_ns=3 * S)]))
    assert early.distributions == late.distributions


def test_four_tokens_a_chunk() -> None:
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


def test_tokens_and_time_outside_of_the_window_are_left_out() -> None:
    before = moved(row(), -2 * S)
    after = moved(row(), 20 * S)
    across = moved(row(), -1 * S - 65 * MS)  # chunks at -15, -5, 5, 15, 25 ms; ends at 35 ms
    seen = summarize(records([before, across, after]))
    assert seen.requests == 1
    assert seen.scalars["output_throughput"] == pytest.approx(0.3)
    assert seen.scalars["input_throughput"] == 0


def test_a_request_still_answered_at_the_end_counts_by_its_tokens_only() -> None:
    whole = row(output_tokens=10)  # two tokens a chunk
    cut = row(complete=False, first_ns=9 * S, gaps_ns=[400 * MS] * 3, end_ns=11 * S, output_tokens=4)
    seen = summarize(records([whole, cut]))
    assert (seen.requests, seen.failed) == (1, 0)
    assert seen.scalars["output_throughput"] == pytest.approx((10 + 3 * 2) / 10)


def test_the_shortened_first_requests_of_a_closed_loop_count_by_their_tokens_only() -> None:
    seen = summarize(records([row(), row(ramp=True, output_tokens=5)]))
    assert seen.requests == 1
    assert seen.scalars["output_throughput"] == pytest.approx(1.0)
    assert summarize(records([row(), failed(ramp=True)])).failed == 1, "failures never vanish"


def test_failures_are_counted_and_have_no_latency() -> None:
    seen = summarize(records([row()] * 3 + [failed()]))
    assert (seen.requests, seen.failed, seen.errors) == (4, 1, {"http_500": 1})
    assert seen.scalars["success_rate"] == 0.75
    assert seen.distributions["ttft"].count == 3
    partial = failed(error="cut_stream", first_ns=1 * S, gaps_ns=[MS], output_tokens=2)
    assert summarize(records([partial])).scalars["output_throughput"] == 0


def test_a_request_that_outlived_the_window_without_an_answer_is_a_timeout_in_it() -> None:
    hung = failed(error="timeout", end_ns=25 * S)
    assert summarize(records([row(), hung])).errors == {"timeout": 1}
    later = failed(error="timeout", sent_ns=11 * S, end_ns=25 * S)
    assert summarize(records([row(), later])).errors == {}
    other = failed(error="cut_stream", end_ns=11 * S)
    assert summarize(records([row(), other])).errors == {}


def test_open_loop_latency_is_from_the_schedule_as_well() -> None:
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


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"loop_lag_p99_s": 0.02}, "event loop lag"),
        ({"client_cpu_cores": 0.95}, "core"),
        ({"asked_rate": 2.0, "scheduled_in_window": 30}, "scheduled requests were sent"),
    ],
)
def test_the_self_check_has_limits(info: Mapping[str, Any], reason: str) -> None:
    check = summarize(records([row()] * 20, **info)).self_check
    assert check.client_limited
    assert reason in check.reasons[0]


def test_the_self_check_allows_a_share_of_a_long_ttft_and_leaves_connecting_out() -> None:
    slow = row(first_ns=3 * S)
    assert not summarize(records([slow] * 9, loop_lag_p99_s=0.1)).self_check.client_limited
    late = row(lag_ns=80 * MS)
    assert summarize(records([late] * 9)).self_check.client_limited
    dialled = row(lag_ns=80 * MS, connect_ns=80 * MS)
    assert not summarize(records([dialled] * 9)).self_check.client_limited


def spread(times: list[float], ttfts: list[float]) -> list[dict[str, Any]]:
    return [
        row(sent_ns=round(at * S), first_ns=round((at + ttft) * S), end_ns=round((at + ttft) * S) + 41 * MS)
        for at, ttft in zip(times, ttfts, strict=True)
    ]


def test_steady_and_not() -> None:
    even = [n * 9.5 / 100 for n in range(100)]
    assert summarize(records(spread(even, [0.05] * 100))).steady
    growing = summarize(records(spread(even, [0.05 + at / 20 for at in even])))
    assert not growing.steady
    assert "median ttft went from" in growing.warnings[0]
    lopsided = [n * 4.5 / 80 for n in range(80)] + [5 + n / 5 for n in range(20)]
    assert "tokens/s in the first half" in summarize(records(spread(lopsided, [0.05] * 100))).warnings[0]
    few = summarize(records([row()] * 3))
    assert not few.steady, "nothing shows that it was"
    assert "too few" in few.warnings[0]


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
def test_what_holds_for_any_records(rows: list[dict[str, Any]]) -> None:
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
        assert every[: len(order)] == order, "what is unknown lies above what is known"
        assert (found.mean is None) is (found.max is None) is (found.censored > 0)
    assert seen == summarize(records(list(rows)))
    assert seen.scalars == pytest.approx(summarize(records(rows[::-1])).scalars), "the order of records is nothing"


@given(ROWS.filter(len))
def test_a_failure_never_improves_anything(rows: list[dict[str, Any]]) -> None:
    before = summarize(records(rows)).scalars
    spoiled = {**rows[0], "error": "cut_stream", "complete": False, "ramp": False}
    after = summarize(records([spoiled, *rows[1:]])).scalars
    assert after["goodput"] <= before["goodput"]
    assert after.get("success_rate", 0) <= before.get("success_rate", 1)


# requests that had not ended when the load generator stopped watching


def arrival(at_s: float, wait_s: float, length_s: float, *, ended: bool = True, **more: Any) -> dict[str, Any]:
    """An open-loop request: its first token after ``wait_s``, its end (or the watch's) ``length_s`` later."""
    at = round(at_s * S)
    first = round((at_s + wait_s) * S)
    end = first + round(length_s * S)
    return row(
        scheduled_ns=at,
        sent_ns=at,
        first_ns=first,
        end_ns=end,
        gaps_ns=[end - first],
        output_tokens=2,
        complete=ended,
        **more,
    )


def opened(rows: list[dict[str, Any]], **more: Any) -> Any:
    return summarize(records(rows, asked_rate=2.0, **more))


def test_every_arrival_of_an_open_loop_counts_wherever_it_ended() -> None:
    rows = [
        arrival(-1, 0.1, 2.0),  # of the warm-up, ends inside
        *(arrival(n, 0.1, 0.5) for n in range(8)),
        arrival(9, 3.0, 4.0),  # ends after the window
        arrival(10.5, 9.0, 1.0),  # arrived after the window: keeps the load up
    ]
    seen = opened(rows)
    assert (seen.arrived, seen.requests, seen.failed) == (9, 9, 0)
    assert seen.distributions["ttft"].count == 9
    assert seen.value("ttft", "max") == pytest.approx(3.0)
    assert seen.value("e2e_latency", "max") == pytest.approx(7.0)
    assert seen.scalars["request_throughput"] == pytest.approx(9 / 10), "ended inside, whenever it arrived"


def test_a_percentile_among_requests_that_still_ran_is_unknown() -> None:
    seen = opened([*(arrival(n, 0.1, 0.5) for n in range(8)), *(arrival(9, 0.2, 9, ended=False) for _ in range(2))])
    whole = seen.distributions["e2e_latency"]
    first = seen.distributions["ttft"]
    assert (first.count, first.censored) == (10, 0)
    assert first.max == pytest.approx(0.2)
    assert (whole.count, whole.censored) == (10, 2)
    assert whole.p50 == pytest.approx(0.6)
    assert whole.p75 == pytest.approx(0.6), "the 8th of 10"
    assert (whole.p90, whole.p99, whole.max, whole.mean, whole.std) == (None,) * 5
    assert (seen.requests, seen.failed, seen.arrived) == (8, 0, 10)
    assert any("had not ended" in w for w in seen.warnings)


def test_a_request_without_a_first_token_ranks_above_all_others() -> None:
    rows = [arrival(n / 2, 0.1, 0.5) for n in range(18)]
    silent = arrival(9.5, 0.0, 15.0, error="timeout", ended=False) | {"first_ns": None, "gaps_ns": []}
    seen = opened([*rows, silent])
    assert seen.errors == {"timeout": 1}
    assert (seen.distributions["ttft"].count, seen.distributions["ttft"].censored) == (19, 1)
    assert (seen.value("ttft", "p90"), seen.value("ttft", "p99")) == (pytest.approx(0.1), None)


@given(st.lists(st.floats(0.001, 9), max_size=30), st.integers(0, 30), st.data())
def test_what_is_known_of_censored_values_never_depends_on_their_true_size(
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


def test_a_closed_loop_hides_no_request_that_outlasts_the_others() -> None:
    quick = [moved(row(), n * S) for n in range(8)]
    slow = row(sent_ns=2 * S, first_ns=3 * S, gaps_ns=[9 * S], end_ns=12 * S, complete=False, output_tokens=2)
    seen = summarize(records([*quick, slow]))
    whole = seen.distributions["e2e_latency"]
    assert (whole.count, whole.censored, whole.max) == (9, 1, None)
    assert whole.p50 == pytest.approx(0.09)
    assert seen.value("ttft", "max") == pytest.approx(1.0), "sent in the window, and its first token came"
    assert any("had not ended" in w for w in seen.warnings)


def test_long_answers_of_a_steady_closed_loop_are_measured() -> None:
    """Answers of 60 s in a window of 30 s: those that end in it are as many as in any other 30 s."""
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


def goal(text: str) -> Objective:
    metric, _, statistic = text.partition(" ")
    return Objective(metric=metric, statistic=statistic or None, direction=METRICS[metric].better)


def asked_for(found: Records, *objectives: str, slos: tuple[SLO, ...] = (), fewest: int = 8) -> Records:
    asked = Asked.model_validate(found.where)
    more = {"objectives": tuple(map(goal, objectives)), "fewest": fewest, "slos": slos}
    return replace(found, where=asked.model_copy(update=more).model_dump(mode="json"))


def test_a_window_with_few_requests_is_thin() -> None:
    few = summarize(asked_for(records([moved(row(), n * S) for n in range(3)]), "output_throughput"))
    assert few.thin
    assert "3 requests finished" in few.thin[0]
    assert not summarize(asked_for(records([moved(row(), n * S // 6) for n in range(50)]), "output_throughput")).thin


def test_a_rate_that_collapses_within_the_window_is_thin() -> None:
    early = [moved(row(), n * 20 * MS - S) for n in range(80)]
    late = [moved(row(), n * S) for n in range(2, 9)]
    seen = summarize(asked_for(records([*early, *late]), "output_throughput"))
    assert not seen.steady
    assert any("throughput went" in reason for reason in seen.thin)
    assert seen.uncertainty["output_throughput"] > 0.3


def test_a_percentile_that_the_sample_cannot_carry_is_named() -> None:
    slo = SLO(metric="ttft", statistic="p99", threshold=0.2)
    few = summarize(asked_for(records([moved(row(), n * S // 4) for n in range(30)]), "output_throughput", slos=(slo,)))
    assert "p99" in few.distributions["ttft"].too_few
    assert "p95" not in few.distributions["ttft"].too_few
    assert any(w.startswith("p99 ttft of 30 requests") for w in few.warnings)
    assert not few.thin, "it is marked, and may win"
    many = summarize(asked_for(records([moved(row(), n * S // 20) for n in range(150)]), "ttft p50", slos=(slo,)))
    assert not any("p99" in w for w in many.warnings)
    assert many.uncertainty["p50 ttft"] == pytest.approx(0, abs=1e-9)
