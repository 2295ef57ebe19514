"""Quality of a window: steadiness, and whether its requests support the required figures."""

import pytest

from autotuner.benchmarks.measuring.summary import summarize
from autotuner.study.objective import SLO
from support.request_records import MS, S, moved, numbers, records, required, row, spread


def test_steadiness() -> None:
    even = [n * 9.5 / 100 for n in range(100)]
    assert summarize(records(spread(even, [0.05] * 100))).steady
    growing = summarize(records(spread(even, [0.05 + at / 20 for at in even])))
    assert not growing.steady
    assert numbers(growing.warnings[0]) == pytest.approx([170, 405], rel=0.05), "median TTFT of the halves, in ms"
    lopsided = [n * 4.5 / 80 for n in range(80)] + [5 + n / 5 for n in range(20)]
    slower = summarize(records(spread(lopsided, [0.05] * 100)))
    assert not slower.steady
    assert numbers(slower.warnings[0]) == [80, 20], "tokens/s of the halves"
    few = summarize(records([row()] * 3))
    assert not few.steady, "nothing shows that it was"
    assert numbers(few.warnings[0]) == [3]


def test_window_with_few_requests_is_thin() -> None:
    few = summarize(required(records([moved(row(), n * S) for n in range(3)]), "output_throughput"))
    assert few.thin
    assert numbers(few.thin[0]) == [3, 8]
    assert not summarize(required(records([moved(row(), n * S // 6) for n in range(50)]), "output_throughput")).thin


def test_window_whose_rate_collapses_is_thin() -> None:
    early = [moved(row(), n * 20 * MS - S) for n in range(80)]
    late = [moved(row(), n * S) for n in range(2, 9)]
    seen = summarize(required(records([*early, *late]), "output_throughput"))
    assert not seen.steady
    first, second = numbers(seen.thin[0])
    assert first > 10 * second, "tokens/s of the halves"
    assert seen.uncertainty["output_throughput"] > 0.3


def test_percentile_that_the_sample_does_not_support_is_named() -> None:
    slo = SLO(metric="ttft", statistic="p99", threshold=0.2)
    few = summarize(required(records([moved(row(), n * S // 4) for n in range(30)]), "output_throughput", slos=(slo,)))
    assert "p99" in few.distributions["ttft"].too_few
    assert "p95" not in few.distributions["ttft"].too_few
    assert [99, 30, 99, 100] in map(numbers, few.warnings), "p99 of 30 requests, and 100 are needed"
    assert not few.thin, "the figure is marked, but its configuration may win"
    many = summarize(required(records([moved(row(), n * S // 20) for n in range(150)]), "ttft p50", slos=(slo,)))
    assert not any("p99" in w for w in many.warnings)
    assert many.uncertainty["p50 ttft"] == pytest.approx(0, abs=1e-9)
