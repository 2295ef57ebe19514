"""A workload that searches for a capacity: its keys, what does not go with them, and its metrics."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.errors import UsageError
from autotuner.study.spec import StudySpec
from autotuner.study.workload import CapacityLoad, LoadUnit
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

BASE: dict[str, Any] = {
    "model": "m",
    "engine": "llama_cpp",
    "objective": "max capacity",
    "slo": "p99 ttft <= 500ms",
}
LOAD: dict[str, Any] = {"scenarios": "D(128,64)", "load": "capacity"}
TRACE: dict[str, Any] = {"scenarios": "trace:t from=1m sample=10%", "load": "capacity"}


def read(workload: dict[str, Any], **more: Any) -> StudySpec:
    return parse_study({**BASE, "workload": workload, **more}, source="s.yaml", folder=Path("/nowhere")).spec


def again(spec: StudySpec) -> StudySpec:
    return parse_study(render_study(spec), source="s.yaml", folder=Path("/nowhere")).spec


def test_capacity_is_one_level_with_a_budget_of_its_own() -> None:
    spec = read({**LOAD, "precision": "20%", "confidence": 0.99, "low": 2, "high": 40.5, "max_duration": "10m"})
    assert spec.workload.levels == (
        CapacityLoad(precision=0.2, confidence=0.99, low=2.0, high=40.5, max_duration_s=600.0),
    )
    assert spec.workload.max_duration_s is None
    assert spec.workload.levels[0].text == "capacity"


@given(
    unit=st.sampled_from(["rate", "concurrency"]),
    precision=st.floats(0.001, 1),
    confidence=st.floats(0.5, 0.999),
    ends=st.lists(st.floats(0.001, 10**6), min_size=2, max_size=2).map(sorted),
    max_requests=st.integers(100, 10**9),
)
def test_what_is_written_is_read_again(ends: list[float], **given_: Any) -> None:
    spec = read({**LOAD, **given_, "low": ends[0], "high": ends[1]})
    assert again(spec) == spec


@given(
    unit=st.sampled_from([{}, {"unit": "speed"}]),
    precision=st.floats(0.001, 1),
    ends=st.lists(st.floats(0.001, 10**6), min_size=2, max_size=2).map(sorted),
)
def test_the_capacity_of_a_trace_is_a_speed(unit: dict[str, str], precision: float, ends: list[float]) -> None:
    spec = read({**TRACE, **unit, "precision": precision, "low": ends[0], "high": ends[1]})
    assert spec.workload.levels == (CapacityLoad(unit=LoadUnit.SPEED, precision=precision, low=ends[0], high=ends[1]),)
    assert again(spec) == spec


def test_capacity_stands_for_the_speed_of_a_trace() -> None:
    spec = read(
        TRACE, objective="max capacity_per_gpu", slo=["p99 ttft <= 1s", "capacity >= 2", "capacity_speed >= 3x"]
    )
    assert [goal.metric for goal in (*spec.objectives, *spec.slos)] == [
        "capacity_speed_per_gpu",
        "ttft",
        "capacity_speed",
        "capacity_speed",
    ]
    assert again(spec) == spec


def test_capacity_stands_for_the_metric_of_the_unit() -> None:
    for unit, metric in (("rate", "capacity"), ("concurrency", "capacity_in_flight")):
        spec = read({**LOAD, "unit": unit}, objective="max capacity", slo=["p99 ttft <= 1s", "capacity >= 4"])
        assert (spec.objectives[0].metric, spec.slos[1].metric) == (metric, metric)
        assert again(spec) == spec
    assert read({**LOAD, "unit": "concurrency"}, objective="max capacity_per_gpu").objectives[0].metric == (
        "capacity_in_flight_per_gpu"
    )


@pytest.mark.parametrize("bound", ["capacity >= 4", "capacity >= 4 requests/s", "capacity_in_flight >= 4 in flight"])
def test_a_bound_on_the_capacity_has_the_unit_of_its_metric(bound: str) -> None:
    unit = "concurrency" if "flight" in bound else "rate"
    assert read({**LOAD, "unit": unit}, slo=["p99 ttft <= 1s", bound]).slos[1].threshold == 4


@pytest.mark.parametrize(
    ("workload", "named"),
    [
        ({**LOAD, "concurrency": 4}, "concurrency"),
        ({**LOAD, "rates": 4}, "rates"),
        ({**LOAD, "requests": 100}, "requests"),
        ({**LOAD, "duration": "10s"}, "duration"),
        ({**LOAD, "load": "levels"}, "capacity"),
        ({**LOAD, "precision": "0%"}, "precision"),
        ({**LOAD, "precision": "wide"}, "precision"),
        ({**LOAD, "confidence": 1}, "confidence"),
        ({**LOAD, "confidence": "40%"}, "confidence"),
        ({**LOAD, "low": 8, "high": 4}, "low is above high"),
        ({**LOAD, "low": 0}, "low"),
        ({**LOAD, "max_requests": 10}, "max_requests"),
        ({**LOAD, "unit": "speed"}, "no trace"),
        ({**TRACE, "unit": "rate"}, "unit"),
        ({**TRACE, "unit": "concurrency"}, "unit"),
        ({**TRACE, "confidence": "95%"}, "confidence"),
        ({**TRACE, "speeds": [1, 2]}, "speeds"),
        ({**TRACE, "scenarios": ["trace:t", "D(1,1)"]}, "mixes"),
        ({**TRACE, "low": 2, "high": 1}, "low is above high"),
        ({"scenarios": "trace:t", "unit": "speed"}, "load: capacity"),
        ({"scenarios": "D(1,1)", "concurrency": 4, "precision": 0.2}, "load: capacity"),
    ],
)
def test_what_does_not_go_together_is_one_problem(workload: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(workload)
    assert len(caught.value.problems) == 1
    assert named in str(caught.value)


def test_results_depend_on_the_slos_and_objectives_that_decided_the_loads() -> None:
    spec = read(LOAD)
    assert spec.digest != read(LOAD, slo="p99 ttft <= 600ms").digest
    assert spec.digest != read(LOAD, objective="max capacity_tokens").digest
    fixed = {"scenarios": "D(128,64)", "concurrency": 4}
    assert read(fixed, objective="min p50 ttft").digest == read(fixed, objective="min p50 ttft", slo=[]).digest
