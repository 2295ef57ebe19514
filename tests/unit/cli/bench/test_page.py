"""What ``bench`` prints about windows whose figures need a caveat."""

import re

from autotuner.benchmarks.measure_url import BenchReport, slo_results
from autotuner.cli.bench.page import bench_text
from autotuner.study.measurement import Measurement, Slice
from autotuner.study.objective import SLO
from autotuner.study.workload import RequestRate
from autotuner.testing.study_maker import spread

P99 = SLO(metric="ttft", statistic="p99", threshold=0.2)


def seen(**changes: object) -> Measurement:
    window = Measurement(
        scenario="D(8,8)",
        level=RequestRate(rate=4.0),
        window_s=10,
        requests=200,
        failed=0,
        arrived=200,
        distributions={"ttft": spread(0.1, 200)},
        scalars={"output_throughput": 100.0, "success_rate": 1.0},
    )
    return window.model_copy(update=changes)


def text(measured: Measurement) -> str:
    return bench_text(BenchReport(url="", measurements=(measured,), slos=slo_results([measured], [P99])))


def test_p99_of_few_requests_has_a_footnote() -> None:
    few = text(seen(distributions={"ttft": spread(0.1, 30)}))
    assert "100.0 / ~180.0" in few
    assert re.search(r"\bmet\b.*\b30\b", few), "the SLO is met, by 30 requests"
    assert {"~", "100"} <= set(few.splitlines()[-1].split()), "the footnote says how many are needed"
    assert "~" not in text(seen())


def test_unknown_percentile_is_a_question_mark() -> None:
    censored = spread(0.1, 200).model_copy(update={"p99": None, "censored": 9})
    assert "100.0 / ?" in text(seen(distributions={"ttft": censored}))


def test_overloaded_and_thin_windows_have_notes() -> None:
    done = text(seen(overloaded=True, steady=False, warnings=("overloaded: backlog grew",), thin=("3 only",)))
    assert "overloaded" in done
    assert any(line.startswith("! D(8,8)") and line.endswith("3 only") for line in done.splitlines())
    assert "missed" in done, "a latency under overload meets no bound"
    assert "warm-up" not in done, "it does not help against overload"


def test_parts_of_a_mix_have_rows_of_their_own() -> None:
    part = Slice(
        label="0.3 D(9,9)",
        requests=50,
        failed=1,
        distributions={"ttft": spread(0.2, 49)},
        scalars={"output_throughput": 31.5},
    )
    (line,) = [line for line in text(seen(slices=(part,))).splitlines() if "0.3 D(9,9)" in line]
    assert {"50", "98", "200.0", "31.5"} <= set(line.split())
    assert "~" in line, "49 requests are too few for a p99"
