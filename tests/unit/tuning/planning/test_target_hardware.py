"""Planning for a Docker engine that does not answer."""

from typing import Any

import pytest

import autotuner
from autotuner.deployers.local import machine
from autotuner.errors import EnvironmentFaultError
from autotuner.study.check import CheckStatus
from autotuner.study.spec import EngineSpec, Model, PluginSpec, StudySpec
from autotuner.tuning.environment_watch import EnvironmentWatch
from autotuner.tuning.planning.prepared_study import prepare

STUDY = {
    "name": "s",
    "model": "Qwen/Qwen3-0.6B",
    "engine": "vllm",
    "deploy": {"kind": "docker", "docker_host": "unix:///no/such/socket"},
    "parameters": {"max-num-seqs": [1, 2]},
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": "max output_throughput",
}


@pytest.fixture
def spec(loop: Any) -> StudySpec:
    made: StudySpec = loop.spec()
    deploy = PluginSpec.model_validate(STUDY["deploy"])
    return made.replaced(
        model=Model(path="Qwen/Qwen3-0.6B"), engine=EngineSpec(kind="vllm"), deploy=deploy, parameters=()
    )


@pytest.mark.anyio
async def test_hardware_is_assumed_for_planning_only(spec: StudySpec) -> None:
    with pytest.raises(EnvironmentFaultError):
        await prepare(spec)
    prepared = await prepare(spec, planning=True)
    assert prepared.hardware_assumed
    assert (prepared.hardware.cpus, prepared.hardware.memory_gb) == (
        machine.hardware().cpus,
        machine.hardware().memory_gb,
    )
    assert "machine" not in await EnvironmentWatch(prepared).read(), (
        "assumed hardware is not compared with a stored study's"
    )


def test_plan_has_a_failed_check(tmp_path: Any) -> None:
    plan = autotuner.plan_study(STUDY)
    failed = {check.name: check for check in plan.checks if check.status is CheckStatus.FAIL}
    assert "docker" in failed
    assert failed["docker"].remedy
    assert len(plan.launches) == 3
    assert all(launch.command[:2] == ("docker", "run") for launch in plan.launches)
