"""A whole study on the process deployer with the simulated engine: failures, a winner that is not the default."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autotuner import api
from autotuner.study.failure import FailureCause
from autotuner.study.trial import TrialRole, TrialState

pytestmark = pytest.mark.usefixtures("home")
EXAMPLE = Path(__file__).parents[2] / "examples/simulated_sglang.yaml"


@pytest.fixture
def study(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": "meta-llama/Llama-3.1-8B-Instruct",
        "engine": {"kind": "simulated", "speed": 0.5, "args": {"max-running-requests": 2}},
        "parameters": {"max-running-requests": [2, 32], "mem-fraction-static": [0.15, 0.828]},
        "workload": {
            "scenarios": ["D(64,16)"], "concurrency": [16], "warmup": "200ms", "duration": "700ms",
        },
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 5, "seed": 1},
        "confirm": {"repeats": 1},
    }  # fmt: skip


def test_a_study_finds_what_beats_the_default(study: dict[str, Any], leftovers: Callable[[], list[str]]) -> None:
    result = api.tune(study)
    assert result.winner is not None
    assert result.winner.configuration.values["max-running-requests"] == 32
    assert result.winner.configuration.values["mem-fraction-static"] == 0.828
    default = next(t for t in result.trials if t.role is TrialRole.DEFAULT)
    assert default.resolved["max-running-requests"] == 2
    done = [t for t in result.trials if t.state is TrialState.DONE]
    assert all(t.simulated and t.gpus == 0 for t in done)
    failed = [t for t in result.trials if t.state is TrialState.FAILED]
    assert {t.configuration.values["mem-fraction-static"] for t in failed} == {0.15}
    causes = {t.failure.cause for t in failed if t.failure}
    assert causes == {FailureCause.GPU_OUT_OF_MEMORY_LOADING}
    assert leftovers() == []


def test_the_example_is_a_study_that_can_run() -> None:
    plan = api.plan(EXAMPLE)
    assert "--chunked-prefill-size" in json.dumps(plan.__dict__, default=str)
