"""Capacity of a running server: invalid settings are refused before anything is sent."""

import json
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.errors import UsageError


@pytest.mark.parametrize(
    ("search", "where"),
    [
        ({"precision": "0%"}, "workload.precision"),
        ({"confidence": 1}, "workload.confidence"),
        ({"max_requests": 10}, "workload.max_requests"),
        ({"low": 0}, "workload.low"),
        ({"unit": "speed"}, "workload"),
        ({"accuracy": "5%"}, "workload.accuracy"),
        ({"start": 0}, "capacity.start"),
        ({"start": float("inf")}, "capacity.start"),
        ({"start": "fast"}, "capacity.start"),
    ],
)
def test_invalid_settings(search: dict[str, Any], where: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        autotuner.measure_capacity(
            "http://127.0.0.1:1", slos=["p99 ttft <= 1s"], folder=tmp_path / "certificate", search=search
        )
    (problem,) = caught.value.problems
    assert problem.where.endswith(where)
    assert not (tmp_path / "certificate").exists()


def test_a_first_replay_that_takes_longer_than_the_budget_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    row = {"input_tokens": 1, "output_tokens": 1}
    trace.write_text("\n".join(json.dumps({"timestamp": at, **row}) for at in (0, 1_700)))
    with pytest.raises(UsageError) as caught:
        autotuner.measure_capacity(
            "http://127.0.0.1:1",
            slos=["p50 ttft <= 1s"],
            workload={"scenarios": f"trace:{trace}"},
            folder=tmp_path / "certificate",
            search={"start": 0.1, "max_duration": "30m"},
        )
    (problem,) = caught.value.problems
    assert problem.where == "capacity.max_duration"
    assert "start" in problem.remedy
    assert not (tmp_path / "certificate").exists()
