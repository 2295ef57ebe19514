"""A whole study on the process deployer with the simulated engine: failures, a winner that is not the default."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FailureCause
from autotuner.study.trial import TrialRole, TrialState
from autotuner.testing.relaxed_settings import CALM_BENCHMARK

pytestmark = pytest.mark.usefixtures("home")
EXAMPLE = Path(__file__).parents[2] / "examples/simulated_sglang.yaml"


@pytest.fixture
def study(name: str) -> dict[str, Any]:
    """A study on a GPU where the engine's own memory fraction leaves room for about 17 of 40 requests.

    A busy machine may delay the client: the two configurations differ by more than that.
    """
    return {
        "name": name,
        "model": "Qwen/Qwen3-8B",
        "engine": {"kind": "simulated", "gpu": "RTX-4090", "speed": 3, "args": {"context-length": 4096}},
        "parameters": {"mem-fraction-static": [0.5, 0.92, 0.955, 0.99]},
        "workload": {
            "scenarios": ["D(300,64)"],
            "concurrency": [40],
            "warmup": "700ms",
            "duration": "1s",
        },
        "benchmark": CALM_BENCHMARK,
        "objective": "max output_throughput",
        "search": {"strategy": "grid", "trials": 4, "seed": 1},
        "confirm": {"repeats": 1},
    }


def test_study_finds_a_configuration_that_beats_the_default(
    study: dict[str, Any], leftovers: Callable[[], list[str]]
) -> None:
    result = autotuner.tune(study)
    assert result.winner is not None
    assert result.winner.configuration.values == {"mem-fraction-static": 0.92}
    default = next(t for t in result.trials if t.role is TrialRole.DEFAULT)
    assert default.resolved["mem-fraction-static"] == 0.699
    done = [t for t in result.trials if t.state is TrialState.DONE]
    assert all(t.simulated and t.gpus == 0 for t in done)
    causes = {t.configuration.values.get("mem-fraction-static"): t.failure.cause for t in result.trials if t.failure}
    assert causes == {0.955: FailureCause.GPU_OUT_OF_MEMORY_RUNNING}
    launched = {t.configuration.values.get("mem-fraction-static") for t in result.trials}
    assert launched == {None, 0.92, 0.955}, "neither the weights fit in 0.5 of the memory, nor the graphs beside 0.99"
    assert leftovers() == []


def test_a_default_that_cannot_fit_is_not_launched(study: dict[str, Any], leftovers: Callable[[], list[str]]) -> None:
    study["engine"]["args"]["mem-fraction-static"] = 0.5
    study["parameters"] = {"quantization": ["fp8"]}
    plan = autotuner.plan_study(study)
    assert any(c.status is CheckStatus.WARN and "default cannot fit" in c.detail for c in plan.checks)
    result = autotuner.tune(study)
    default = next(t for t in result.trials if t.role is TrialRole.DEFAULT)
    assert default.failure is not None
    assert default.failure.cause is FailureCause.KV_CACHE_TOO_SMALL
    assert default.argv == ()
    assert result.winner is not None
    assert result.winner.configuration.values == {"quantization": "fp8"}
    assert leftovers() == []


def test_flag_that_changes_at_run_time_needs_no_launch(
    study: dict[str, Any], leftovers: Callable[[], list[str]]
) -> None:
    """Two stages of a pipeline with one request each at a time are slower than with eight."""
    study["engine"] |= {"gpu_count": 2, "args": {"pp-size": 2}}
    study["parameters"] = {"pp-max-micro-batch-size": [1, 8]}
    study["workload"] |= {"scenarios": ["D(100,8)"], "concurrency": [16]}
    study["search"]["trials"] = 3
    result = autotuner.tune(study)
    searched = [t for t in result.trials if t.role is TrialRole.SEARCH]
    assert [t.server_of for t in searched] == [None, searched[0].number]
    assert searched[0].identity == searched[1].identity
    windows = {t.configuration.values["pp-max-micro-batch-size"]: (*t.looks, *t.measurements)[-1] for t in searched}
    assert windows[8].scalars["output_throughput"] > 2 * windows[1].scalars["output_throughput"]
    assert leftovers() == []


def test_example_can_run() -> None:
    plan = autotuner.plan_study(EXAMPLE)
    assert "--chunked-prefill-size" in json.dumps(plan.__dict__, default=str)
