"""Schedules of loads whose rate changes: each stage has its share of the requests, at the right times."""

from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.schedule import arrivals, stage_arrivals, window_arrivals
from autotuner.benchmarks.loadgen.spec import WorkerSpec

_STAGES = st.lists(
    st.tuples(st.just(0.0) | st.floats(0.01, 50), st.just(0.0) | st.floats(0.01, 50), st.floats(0.1, 10)),
    min_size=1,
    max_size=6,
)


@given(st.sampled_from(["constant", "poisson", "gamma"]), _STAGES, st.integers(0, 9))
def test_each_stage_has_its_share(kind: str, stages: list[tuple[float, float, float]], seed: int) -> None:
    times = stage_arrivals(kind, stages, Random(seed), burstiness=0.5)
    assert times == sorted(times)
    assert times == stage_arrivals(kind, stages, Random(seed), burstiness=0.5)
    due = [0.0, *accumulate((begin + end) / 2 * span for begin, end, span in stages)]
    ends = [0.0, *accumulate(span for _, _, span in stages)]
    for index in range(len(stages)):
        count = sum(ends[index] <= at < ends[index + 1] for at in times)
        assert count == pytest.approx(round(due[index + 1]) - round(due[index]), abs=1)  # a time may fall on an edge
    assert len(times) == round(due[-1])


def test_a_stage_of_constant_rate_is_the_usual_schedule() -> None:
    assert stage_arrivals("poisson", [(5.0, 5.0, 10.0)], Random(1)) == pytest.approx(
        arrivals("poisson", 5.0, 10.0, Random(1))
    )


@pytest.mark.parametrize(("begin", "end"), [(0.0, 20.0), (20.0, 0.0), (5.0, 15.0)])
def test_the_rate_of_a_ramp_rises_evenly(begin: float, end: float) -> None:
    span_s = 1000.0
    times = stage_arrivals("constant", [(begin, end, span_s)], Random(0))
    for share in (0.25, 0.5, 0.75):
        expected = (begin + (end - begin) * share / 2) * share * span_s
        assert sum(at < share * span_s for at in times) == pytest.approx(expected, abs=2)


def test_the_load_is_kept_up_before_and_after_the_window() -> None:
    spec = WorkerSpec(
        "http://x",
        "m",
        rate=6.0,
        arrivals="constant",
        stages=((4.0, 4.0, 2.0), (4.0, 12.0, 2.0)),
        warmup_s=1.0,
        duration_s=4.0,
        max_duration_s=4.0,
        drain_s=2.0,
    )
    warm, main = window_arrivals(WorkerSpec.from_json(spec.to_json()))
    assert warm == pytest.approx([0.0, 0.25, 0.5, 0.75])
    assert sum(at < 4 for at in main) == 8 + 16
    assert [at for at in main if at >= 4] == pytest.approx([4 + index / 12 for index in range(24)])
