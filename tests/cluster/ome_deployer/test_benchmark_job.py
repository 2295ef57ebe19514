"""Servers measured by BenchmarkJobs: a whole study, and runs that go wrong in ways that OME does not tell."""

from pathlib import Path
from typing import Any

import pytest
from ome.furniture import MODEL
from ome.images import GENAI_BENCH

from autotuner import api
from autotuner.study.trial import TrialState

pytestmark = [pytest.mark.cluster]


def study(at: Any, **benchmark: Any) -> dict[str, Any]:
    """Two configurations of the simulated SGLang, measured with what OME brings along."""
    settings = {"claim": "results", "image": GENAI_BENCH, "cpu": "50m", "memory": "128Mi", **benchmark}
    return {
        "name": "by-ome",
        "model": MODEL,
        "engine": "sglang",
        "deploy": {"kind": "ome", **at.settings()},
        "benchmark": {"kind": "ome_job", **settings},
        "parameters": {"mem-fraction-static": [0.8]},
        "workload": {
            "scenarios": ["D(20,10)"],
            "concurrency": [2],
            "requests": 10,
            "duration": "60s",
            "ignore_eos": False,
        },
        "objective": "min p50 ttft",
        "search": {"strategy": "grid", "trials": 2},
        "confirm": {"repeats": 0},
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return tmp_path / "home"


def test_a_study_measured_by_ome(at: Any, results: Path, home: Path) -> None:
    """Every request that OME counts is in the measurement; neither jobs nor result folders stay."""
    result = api.tune(study(at))
    assert [t.state for t in result.trials] == [TrialState.DONE] * 2, [t.failure for t in result.trials]
    for trial in result.trials:
        [measured] = trial.measurements
        assert (measured.requests, measured.failed, measured.errors) == (10, 0, {})
        assert measured.distributions["ttft"].count == 10
        assert 0 < measured.distributions["ttft"].p50 < measured.distributions["e2e_latency"].p50 < measured.window_s
        assert "itl" not in measured.distributions
        assert any("in a BenchmarkJob of OME" in warning for warning in measured.warnings)
    assert at.left() == []
    assert list((results / "autotuner").iterdir()) == []
