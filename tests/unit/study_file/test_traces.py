"""Traces in a study file: short and long form, their speeds, and what does not go with them."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.study.spec import StudySpec
from autotuner.study.workload import TracePart, TraceSpeed
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

BASE: dict[str, Any] = {"model": "m", "engine": "llama_cpp", "objective": "max output_throughput"}


def read(workload: dict[str, Any], folder: Path = Path("/nowhere"), **more: Any) -> StudySpec:
    data = {**BASE, "workload": workload, **more}
    return parse_study(data, source="s.yaml", folder=folder, exists=Path.exists).spec


@pytest.mark.parametrize(
    "scenario",
    [
        "trace:t.csv from=10s to=1m sample=25%",
        {"trace": "t.csv", "from": "10s", "to": "1m", "sample": "25%"},
        {"trace": "t.csv", "from": 10, "to": 60.0, "sample": 0.25},
    ],
)
def test_short_and_long_form_are_the_same(scenario: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    (found,) = read({"scenarios": scenario}, tmp_path).workload.scenarios
    assert found.text == "trace:t.csv from=10s to=60s sample=25%"
    assert found.trace == TracePart(file=str(tmp_path / "t.csv"), begin_s=10, end_s=60, sample=0.25)


def test_speeds() -> None:
    assert read({"scenarios": "trace:t"}).workload.levels == (TraceSpeed(speed=1.0),)
    spec = read({"scenarios": "trace:t", "speeds": [1, 2.5]}, slo="p99 ttft <= 1s at speed=2.5 for trace:t")
    assert spec.workload.levels == (TraceSpeed(speed=1.0), TraceSpeed(speed=2.5))
    assert parse_study(render_study(spec), source="s.yaml", folder=Path("/nowhere")).spec == spec


@pytest.mark.parametrize(
    ("workload", "named"),
    [
        ({"scenarios": "trace:t", "concurrency": 2}, "speeds"),
        ({"scenarios": "trace:t", "rates": 2}, "speeds"),
        ({"scenarios": ["trace:t", "D(1,1)"]}, "other scenarios"),
        ({"scenarios": "D(1,1)", "speeds": 2}, "no trace"),
        ({"scenarios": "trace:t", "speeds": [2, 2.0]}, "twice"),
        ({"scenarios": "trace:t", "speeds": 0}, "speed"),
        ({"scenarios": "trace:t", "speeds": True}, "speed"),
        ({"scenarios": ["trace:t", "trace: t"]}, "twice"),
        ({"scenarios": {"trace": "t", "form": "1s"}}, "form"),
        ({"scenarios": {"from": "1s"}}, "trace"),
        ({"scenarios": {"trace": 3}}, "trace"),
        ({"scenarios": "trace:t", "token_ids": True}, "completions"),
        ({"scenarios": "dataset:d", "concurrency": 1, "api": "completions", "token_ids": True}, "dataset:d"),
        ({"scenarios": "trace:t", "prefix_tokens": 9}, "trace:t"),
    ],
)
def test_what_does_not_go_together_is_refused(workload: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as error:
        read(workload)
    (problem,) = error.value.problems
    assert problem.where.startswith("s.yaml workload")
    assert named in f"{problem.why} {problem.remedy}"


def test_unknown_level_is_named() -> None:
    with pytest.raises(UsageError) as error:
        read({"scenarios": "trace:t", "speeds": 2}, slo="p99 ttft <= 1s at speed=1")
    assert "speed=2" in str(error.value)
