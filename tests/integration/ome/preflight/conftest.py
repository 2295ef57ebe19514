"""Fixtures for tests of OME's preflight checks."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from autotuner.deployers.kubernetes.client import connected
from autotuner.deployers.ome import preflight
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.study.check import Check
from autotuner.study.launch import LaunchPlan
from support.labs.cluster import OwnCluster
from support.ome_standin.lab import Lab
from support.ome_standin.sample_objects import MODEL, RUNTIME

PLAN = LaunchPlan(command=("python3", "-m", "sglang.launch_server"), model="m", gpus=1)


@pytest.fixture
def look(ome_cluster: OwnCluster, lab: Lab) -> Callable[..., Awaitable[list[Check]]]:
    """Makes all checks of a study in the test's namespace; keywords override its settings."""

    async def checks(
        *plans: LaunchPlan, model: str | None = MODEL, kubeconfig: Path = ome_cluster.kubeconfig, **changes: Any
    ) -> list[Check]:
        hooks = {key: changes.pop(key) for key in ("problems", "dry_run") if key in changes}
        given = {"namespace": lab.namespace, "runtime": RUNTIME, "loadgen_image": "x", "api_patience": 5, **changes}
        settings = OmeSettings.model_validate({"kubeconfig": str(kubeconfig), **given})
        async with connected(settings) as cluster:
            return await preflight.checks(cluster, plans or (PLAN,), settings, model=model, **hooks)

    return checks
