"""The deadline that ends the server of a tuner that was killed: how it is set, and how it is moved."""

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
    """An API server that keeps what it is asked to change."""

    def __init__(self, answers: int = 1000, conflicts: int = 0) -> None:
        self.namespace = "default"
        self.left = answers
        self.conflicts = conflicts
        self.deadlines: list[int] = []
        self.asked = anyio.Event()

    async def patch(self, path: str, change: dict[str, Any]) -> dict[str, Any]:
        self.left -= 1
        self.conflicts -= 1
        if self.conflicts >= 0:
            raise RefusedError(409, "Conflict", "the object has been modified")
        if self.left < 0:
            raise RefusedError(404, "NotFound", f"{path} not found")
        self.deadlines.append(change["spec"]["activeDeadlineSeconds"])
        if len(self.deadlines) == 3:
            self.asked.set()
        return {}


@asynccontextmanager
async def beating(heartbeat: Heartbeat) -> AsyncIterator[None]:
    async with Background() as tasks:
        tasks.start(heartbeat.run)
        yield


@pytest.fixture
def api() -> Api:
    return Api()


async def test_a_heartbeat_moves_the_deadline_ahead(api: Api) -> None:
    async with beating(Heartbeat(api, "/jobs/x", 0.04, lambda: True)):
        with anyio.fail_after(30):
            await api.asked.wait()
    assert api.deadlines == sorted(api.deadlines)
    count = len(api.deadlines)
    await anyio.sleep(0.03)
    assert len(api.deadlines) == count, "it ends with the block"


async def test_time_in_a_queue_does_not_count(api: Api) -> None:
    """Kueue resets a Job's start when it lets it go."""
    begun = False
    async with beating(Heartbeat(api, "/jobs/x", 0.04, lambda: begun)):
        await anyio.sleep(0.1)
        assert api.deadlines == []
        begun = True
        with anyio.fail_after(30):
            await api.asked.wait()


async def test_a_heartbeat_ends_with_its_job() -> None:
    api = Api(answers=0)
    with anyio.fail_after(30):
        await Heartbeat(api, "/jobs/x", 0.02, lambda: True).run()
    assert api.deadlines == []


async def test_a_conflict_costs_one_beat_and_no_server() -> None:
    api = Api(conflicts=2)
    async with beating(Heartbeat(api, "/jobs/x", 0.02, lambda: True)):
        with anyio.fail_after(30):
            await api.asked.wait()


async def test_an_outage_that_a_run_survives_costs_no_server() -> None:
    assert deadline.lease_s(KubernetesSettings()) == deadline.LEASE_S
    assert deadline.lease_s(KubernetesSettings(api_patience=3600)) > 3600


async def test_a_job_has_a_deadline_with_and_without_a_heartbeat() -> None:
    plan = LaunchPlan(command=("serve",), model="m")
    settings = KubernetesSettings()
    whole = ServerJob(plan, settings, "i:1", "n", LABELS).job()
    leased = ServerJob(plan, settings, "i:1", "n", LABELS, 600.0).job()
    assert whole["spec"]["activeDeadlineSeconds"] == trial_objects.LONGEST_S
    assert leased["spec"]["activeDeadlineSeconds"] == 600


async def test_a_lease_owns_without_a_pod() -> None:
    job = trial_objects.lease_job(LABELS, "at-x", 600.0)
    assert job["spec"]["parallelism"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 0, "what it owns goes with it"
    assert job["metadata"]["labels"][ROLE] == trial_objects.LEASE
