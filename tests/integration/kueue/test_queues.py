"""Servers that wait in Kueue's queues: longer than a node may take, told so, and gone on every path."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.plugins.deployer import Endpoint
from autotuner.study.failure import Blame, Failure, FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import LABELS, Recorder
from autotuner.testing.fake_plans import fake_plan
from support.turns import another_run, take_turns, wait_until_queued

pytestmark = [pytest.mark.anyio, pytest.mark.cluster, pytest.mark.campaign]
TWO_GPUS = fake_plan().model_copy(update={"gpus": 2})
WORDS = json.dumps({"lines": 3, "size": 10, "every": 0.01}).encode()


async def refused(place: Any, recorder: Recorder, plan: LaunchPlan = TWO_GPUS, **changes: Any) -> Failure:
    with anyio.fail_after(60), pytest.raises(TrialFailedError) as caught:
        async with place.deployer(**changes).deploy(plan, recorder.context):
            pytest.fail("must not get ready")
    return caught.value.failure


async def test_a_place_is_waited_for(place: Any, recorder: Recorder, tmp_path: Path) -> None:
    """The nodes have room for the second server all the time, the queue has not. Load generators need no place."""
    waiting = another_run(tmp_path / "next", recorder.ports)

    async def meanwhile(endpoint: Endpoint) -> None:
        if place.kind == "ome":
            [gated] = [p for p in place.lab.all("Pod", "autotuner/role=server") if not p["spec"].get("nodeName")]
            assert "kueue.x-k8s.io/admission" in [gate["name"] for gate in gated["spec"]["schedulingGates"]]
        async with endpoint.client.run("autotuner.testing.fake_worker", WORDS, labels=LABELS) as lines:
            assert len([line async for line in lines]) == 3

    second = place.deployer(schedule_timeout=1), waiting
    await take_turns((place.deployer(), recorder), second, TWO_GPUS, meanwhile)
    steps = [Phase.ACCEPTED] if place.kind == "ome" else []
    assert waiting.phases == [Phase.LAUNCHING, *steps, Phase.QUEUED, Phase.SCHEDULED, Phase.LOADING]


async def test_patience_ends(place: Any, recorder: Recorder, tmp_path: Path) -> None:
    async with place.deployer().deploy(TWO_GPUS, recorder.context):
        failure = await refused(place, another_run(tmp_path / "next", recorder.ports), queue_timeout=2)
    assert failure.blame is Blame.ENVIRONMENT
    assert "waited for 2 s" in failure.message


async def test_cancelled_while_it_waits(place: Any, recorder: Recorder, tmp_path: Path) -> None:
    waiting = another_run(tmp_path / "next", recorder.ports)

    async def second() -> None:
        async with place.deployer().deploy(TWO_GPUS, waiting.context):
            pytest.fail("must not get ready")

    async with place.deployer().deploy(TWO_GPUS, recorder.context), anyio.create_task_group() as tasks:
        tasks.start_soon(second)
        await wait_until_queued(waiting)
        tasks.cancel_scope.cancel()
    assert Phase.LOADING not in waiting.phases


async def test_a_place_that_is_taken_away(place: Any, recorder: Recorder) -> None:
    """For another one of a higher priority: nobody's configuration."""
    async with place.deployer().deploy(TWO_GPUS, recorder.context) as endpoint:
        await anyio.to_thread.run_sync(place.kueue.evict, place.lab.namespace)
        with anyio.fail_after(60):
            failure = await endpoint.died()
    assert failure.cause is FailureCause.ENVIRONMENT


async def test_preflight_names_what_is_wrong_with_queues(place: Any) -> None:
    async def failing(**changes: Any) -> dict[str, str]:
        found = await place.deployer(**changes).preflight([TWO_GPUS])
        return {check.name: f"{check.detail} -> {check.remedy}" for check in found if check.status == "fail"}

    assert (await failing(kueue_queue="nobody"))["queue"].startswith("no LocalQueue nobody in ")
    place.kueue.queue_without_place("empty", place.lab.namespace)
    with anyio.fail_after(30):
        while "not accepting workloads" not in (told := (await failing(kueue_queue="empty")).get("queue", "")):
            assert told == "", "it is not known yet"
    assert await failing() == {}
    assert "the cluster suspends objects without a queue -> set" in (await failing(kueue_queue=None))["admission"]
