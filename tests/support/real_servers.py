"""Real inference servers as child processes, for opt-in tests of engines with the process deployer."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from autotuner.deployers.local import procfs
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.plugins.deployer import DeployContext
from autotuner.plugins.engine import Engine
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Labels, LaunchPlan
from autotuner.testing.deployer_kit import MemoryPorts
from support.processes import free_range

LABELS = Labels(study=f"real-{uuid4().hex[:8]}", trial=1, owner="owner")


@pytest.fixture
def deployer() -> ProcessDeployer:
    """A deployer with twenty free ports."""
    return ProcessDeployer(ProcessSettings(ports=free_range(20)))


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Checks after each test that no process of the trial is left."""
    yield
    assert server_pids() == set()


def server_pids() -> set[int]:
    """Process ids with the labels of the trial."""
    return {p.pid for p in procfs.processes() if p.pid != os.getpid() and procfs.carries(p.pid, LABELS.env())}


def context(engine: Engine, folder: Path) -> DeployContext:
    """A trial's context whose failures the engine explains."""

    def explain(code: int | None, tail: str, ready: bool) -> Failure:
        failure = engine.explain(code, tail, ready=ready)
        return failure or Failure(cause=FailureCause.CRASH_LOADING, message="unknown", exit_code=code, log_tail=tail)

    return DeployContext(LABELS, folder, explain, lambda _: None, MemoryPorts())


async def failed_start(engine: Engine, deployer: ProcessDeployer, folder: Path, plan: LaunchPlan) -> Failure:
    """Starts a server that cannot become ready; returns the failure."""
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, context(engine, folder)):
            pytest.fail("the server must not become ready")
    return caught.value.failure
