"""Servers that wait in queues of Kueue: their phases and limits, and their removal on every path."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.plugins.deployer import Endpoint
from autotuner.study.check import Check, CheckStatus
from autotuner.study.failure import Blame, Failure, FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import LABELS, Recorder
from autotuner.testing.fake_plans import fake_plan
from support.turns import another_run, take_turns, wait_until_queued

pytestmark = [pytest.mark.anyio, pytest.mark.cluster, pytest.mark.campaign]
TWO_GPUS = fake_plan().model_copy(update={"gpus": 2})
WORKER_SPEC = json.dumps({"lines": 3, "size": 10, "every": 0.01}).encode()


async def failed_start(queue_lab: Any, recorder: Recorder, plan: LaunchPlan = TWO_GPUS, **changes: Any) -> Failure:
    with anyio.fail_after(60), pytest.raises(TrialFailedError) as caught:
        async with queue_lab.deployer(**changes).deploy(plan, recorder.context):
            pytest.fail("must not get ready")
    return caught.value.failure


async def test_waiting_in_a_queue(queue_lab: Any, recorder: Recorder, tmp_path: Path) -> None:
    """The nodes have room for the second server, but the queue has not. Load generators need no room in it."""
    waiting = another_run(tmp_path / "next", recorder.ports)

    async def meanwhile(endpoint: Endpoint) -> None:
        if queue_lab.kind == "ome":
            [gated] = [p for p in queue_lab.lab.all("Pod", "autotuner/role=server") if not p["spec"].get("nodeName")]
            assert "kueue.x-k8s.io/admission" in [gate["name"] for gate in gated["spec"]["schedulingGates"]]
        async with endpoint.client.run("autotuner.testing.fake_worker", WORKER_SPEC, labels=LABELS) as lines:
            assert len([line async for line in lines]) == 3

    second = queue_lab.deployer(schedule_timeout=1), waiting
    await take_turns((queue_lab.deployer(), recorder), second, TWO_GPUS, meanwhile)
    steps = [Phase.ACCEPTED] if queue_lab.kind == "ome" else []
    assert waiting.phases == [Phase.LAUNCHING, *steps, Phase.QUEUED, Phase.SCHEDULED, Phase.LOADING]


async def test_queue_timeout(queue_lab: Any, recorder: Recorder, tmp_path: Path) -> None:
    async with queue_lab.deployer().deploy(TWO_GPUS, recorder.context):
        failure = await failed_start(queue_lab, another_run(tmp_path / "next", recorder.ports), queue_timeout=2)
    assert failure.blame is Blame.ENVIRONMENT
    assert "2 s" in failure.message


async def test_cancellation_in_the_queue(queue_lab: Any, recorder: Recorder, tmp_path: Path) -> None:
    waiting = another_run(tmp_path / "next", recorder.ports)

    async def second() -> None:
        async with queue_lab.deployer().deploy(TWO_GPUS, waiting.context):
            pytest.fail("must not get ready")

    async with queue_lab.deployer().deploy(TWO_GPUS, recorder.context), anyio.create_task_group() as tasks:
        tasks.start_soon(second)
        await wait_until_queued(waiting)
        tasks.cancel_scope.cancel()
    assert Phase.LOADING not in waiting.phases


async def test_evicted_server(queue_lab: Any, recorder: Recorder) -> None:
    """The environment is at fault, as for a workload of higher priority."""
    async with queue_lab.deployer().deploy(TWO_GPUS, recorder.context) as endpoint:
        await anyio.to_thread.run_sync(queue_lab.kueue.evict, queue_lab.lab.namespace)
        with anyio.fail_after(60):
            failure = await endpoint.died()
    assert failure.cause is FailureCause.ENVIRONMENT


async def test_preflight_checks_of_queues(queue_lab: Any) -> None:
    async def failed(**changes: Any) -> dict[str, Check]:
        checks = await queue_lab.deployer(**changes).preflight([TWO_GPUS])
        return {check.name: check for check in checks if check.status is CheckStatus.FAIL}

    missing = (await failed(kueue_queue="no-such-queue"))["queue"]
    assert {"no-such-queue", queue_lab.lab.namespace} <= set(missing.detail.split())
    assert "deploy.kueue_queue" in missing.remedy
    queue_lab.kueue.local_queue("inactive", queue_lab.lab.namespace)
    with anyio.fail_after(30):
        # Kueue reports the state of a queue a moment after its creation.
        while (inactive := (await failed(kueue_queue="inactive")).get("queue")) is None:
            pass
    assert "inactive" in inactive.detail.split()
    assert "localqueue" in inactive.remedy, "it exists, unlike the first"
    assert await failed() == {}
    suspended = (await failed(kueue_queue=None))["admission"]
    assert "suspend" in suspended.detail
    assert "deploy.kueue_queue" in suspended.remedy
