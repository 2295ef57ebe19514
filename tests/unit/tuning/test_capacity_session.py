"""Capacity of a running server: invalid settings are refused before anything is sent."""

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
