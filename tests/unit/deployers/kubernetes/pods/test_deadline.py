"""Deadline of a server, and the heartbeat that extends it while the tuner is alive."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from autotuner.deployers.kubernetes import trial_objects
from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.kubernetes.pods import deadline
from autotuner.deployers.kubernetes.pods.deadline import Heartbeat
from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.kubernetes.trial_objects import ServerJob
from autotuner.deployers.shared.background import Background
from autotuner.manifests.labels import ROLE
from autotuner.study.launch import Labels, LaunchPlan

pytestmark = pytest.mark.anyio

LABELS = Labels(study="s", trial=1, owner="o")


class Api(Cluster):
    """An API server that records the deadlines that are set; the third one sets ``beaten``."""

    def __init__(self, patches: int = 1000, conflicts: int = 0) -> None:
        """After ``patches`` calls, the object is gone; the first ``conflicts`` calls are refused."""
        self.namespace = "default"
        self.left = patches
        self.conflicts = conflicts
        self.deadlines: list[int] = []
        self.beaten = anyio.Event()

    async def patch(self, path: str, change: dict[str, Any]) -> dict[str, Any]:
        self.left -= 1
        self.conflicts -= 1
        if self.conflicts >= 0:
            raise RefusedError(409, "Conflict", "the object has been modified")
        if self.left < 0:
            raise RefusedError(404, "NotFound", f"{path} not found")
        self.deadlines.append(change["spec"]["activeDeadlineSeconds"])
        if len(self.deadlines) == 3:
            self.beaten.set()
        return {}


@asynccontextmanager
async def beating(heartbeat: Heartbeat) -> AsyncIterator[None]:
    async with Background() as tasks:
        tasks.start(heartbeat.run)
        yield


@pytest.fixture
def api() -> Api:
    return Api()


async def test_heartbeat_extends_the_deadline(api: Api) -> None:
    async with beating(Heartbeat(api, "/jobs/x", 0.04, lambda: True)):
        with anyio.fail_after(30):
            await api.beaten.wait()
    assert api.deadlines == sorted(api.deadlines)
    count = len(api.deadlines)
    await anyio.sleep(0.03)
    assert len(api.deadlines) == count, "the heartbeat ends with the block"


async def test_deadline_starts_after_the_queue(api: Api) -> None:
    """Kueue resets a Job's start time when it admits the Job."""
    begun = False
    async with beating(Heartbeat(api, "/jobs/x", 0.04, lambda: begun)):
        await anyio.sleep(0.1)
        assert api.deadlines == []
        begun = True
        with anyio.fail_after(30):
            await api.beaten.wait()


async def test_heartbeat_ends_when_the_job_is_gone() -> None:
    api = Api(patches=0)
    with anyio.fail_after(30):
        await Heartbeat(api, "/jobs/x", 0.02, lambda: True).run()
    assert api.deadlines == []


async def test_conflict_skips_one_heartbeat() -> None:
    api = Api(conflicts=2)
    async with beating(Heartbeat(api, "/jobs/x", 0.02, lambda: True)):
        with anyio.fail_after(30):
            await api.beaten.wait()


async def test_lease_is_longer_than_a_tolerated_outage() -> None:
    assert deadline.lease_s(KubernetesSettings()) == deadline.LEASE_S
    assert deadline.lease_s(KubernetesSettings(api_patience=3600)) > 3600


async def test_job_has_a_deadline_with_and_without_a_heartbeat() -> None:
    plan = LaunchPlan(command=("serve",), model="m")
    settings = KubernetesSettings()
    without_heartbeat = ServerJob(plan, settings, "i:1", "n", LABELS).job()
    with_heartbeat = ServerJob(plan, settings, "i:1", "n", LABELS, 600.0).job()
    assert without_heartbeat["spec"]["activeDeadlineSeconds"] == trial_objects.LONGEST_S
    assert with_heartbeat["spec"]["activeDeadlineSeconds"] == 600


async def test_lease_job_has_no_pod() -> None:
    job = trial_objects.lease_job(LABELS, "at-x", 600.0)
    assert job["spec"]["parallelism"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 0, "its dependents are removed with it"
    assert job["metadata"]["labels"][ROLE] == trial_objects.LEASE
