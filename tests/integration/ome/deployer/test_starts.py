"""Why a service does not become a server, each in its own words: on a real cluster, by what OME says and does not."""

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import LABELS, Recorder
from autotuner.testing.fake_plans import fake_plan
from support.ome_standin.furniture import MODEL, model
from support.ome_standin.lab import eventually
from support.turns import another_run, take_turns

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

campaign = pytest.mark.campaign


async def refused(deployer: Any, plan: LaunchPlan, recorder: Recorder) -> tuple[FailureCause, str]:
    with anyio.fail_after(100), pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, recorder.context):
            pytest.fail("must not get ready")
    assert caught.value.failure.remedy
    return caught.value.failure.cause, caught.value.failure.message


async def test_a_bad_flag_is_noticed_at_its_first_end(at: Any, recorder: Recorder) -> None:
    """The pod is one that Kubernetes starts again and again; its first exit code and log are the configuration's."""
    plan = fake_plan(no_such_flag=1)
    with anyio.fail_after(60), pytest.raises(TrialFailedError):
        async with at.deployer().deploy(plan, recorder.context):
            pytest.fail("must not get ready")
    [(code, log, ready)] = recorder.ends
    assert (code, ready) == (2, False)
    assert "unrecognized arguments: --no-such-flag" in log


async def test_what_the_service_and_its_pod_carry(at: Any, recorder: Recorder) -> None:
    async with at.deployer(labels={"team": "a"}).deploy(fake_plan(parallel=2), recorder.context):
        service = at.service()["metadata"]
        pod = at.pod()["metadata"]
        for metadata in (service, pod):
            assert metadata["labels"]["team"] == "a"
            assert metadata["labels"]["autotuner/study"] == LABELS.study
            assert metadata["annotations"]["autotuner/owner"] == LABELS.owner
        assert len(service["name"]) <= 20
        assert "ome.io/inferenceservice" in pod["labels"]
        [container] = at.pod()["spec"]["containers"]
        assert {"name": "AUTOTUNER_STUDY", "value": LABELS.study} in container["env"]
    assert recorder.phases == [Phase.LAUNCHING, Phase.ACCEPTED, Phase.SCHEDULED, Phase.LOADING]


@campaign
async def test_a_controller_that_does_nothing(at: Any, recorder: Recorder) -> None:
    with at.ome.fault(controller_stopped=True):
        # the service's finalizer was never set, so that it can go without a controller
        cause, message = await refused(at.deployer(accept_timeout="2s"), fake_plan(), recorder)
    assert (cause, message) == (
        FailureCause.NOT_ACCEPTED,
        "OME did not create a Deployment for the InferenceService within 2 s, and reported no reason",
    )


@campaign
async def test_a_runtime_that_does_not_serve_the_model(at: Any, recorder: Recorder) -> None:
    """Admitted, and then only an event says so."""
    made = at.fake_runtime("other")
    made["spec"]["supportedModelFormats"][0]["modelArchitecture"] = "Other"
    at.lab.created(made)
    cause, message = await refused(at.deployer(runtime="other"), fake_plan(), recorder)
    assert cause is FailureCause.NOT_ACCEPTED
    assert "RuntimeValidationError" in message
    assert "architecture mismatch" in message


@campaign
async def test_what_is_not_there(at: Any, recorder: Recorder) -> None:
    cause, message = await refused(at.deployer(runtime="nope"), fake_plan(), recorder)
    assert (cause, "runtime nope is neither in namespace" in message) == (FailureCause.NOT_ACCEPTED, True)
    cause, message = await refused(at.deployer(model="nope"), fake_plan(), recorder)
    assert (cause, "model nope is neither in namespace" in message) == (FailureCause.MODEL_MISSING, True)
    at.lab.created(at.fake_runtime("shell", command=["sh", "-c", "fake_server"], args=[]))
    cause, message = await refused(at.deployer(runtime="shell"), fake_plan(), recorder)
    assert (cause, "through a shell (sh)" in message) == (FailureCause.NOT_ACCEPTED, True)


@campaign
async def test_webhooks_that_are_down(at: Any, recorder: Recorder) -> None:
    with at.ome.fault(webhook="down"):
        cause, message = await refused(at.deployer(api_patience="2s"), fake_plan(), recorder)
    assert cause is FailureCause.DEPLOYER_LOST
    assert "webhook" in message


@campaign
async def test_more_gpus_than_a_node_has(at: Any, recorder: Recorder) -> None:
    plan = fake_plan().model_copy(update={"gpus": 8})
    cause, message = await refused(at.deployer(), plan, recorder)
    assert cause is FailureCause.GPU_UNAVAILABLE
    assert "nvidia.com/gpu 8 requested, the largest node has 4" in message


def made_quota(at: Any, hard: dict[str, str]) -> None:
    """It goes with its namespace."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}}
    path = f"/api/v1/namespaces/{at.lab.namespace}/resourcequotas"
    at.lab.api("POST", path, json=quota).raise_for_status()


@campaign
async def test_a_quota_that_is_too_small(at: Any, recorder: Recorder) -> None:
    """No pod and no event of the service; the Deployment alone knows. It is not waited for."""
    made_quota(at, {"requests.nvidia.com/gpu": "1"})
    plan = fake_plan().model_copy(update={"gpus": 2})
    cause, message = await refused(at.deployer(), plan, recorder)
    assert cause is FailureCause.GPU_UNAVAILABLE
    assert "exceeded quota: few" in message


@campaign
@pytest.mark.parametrize("hard", [{"requests.nvidia.com/gpu": "2"}, {"count/inferenceservices.ome.io": "1"}])
async def test_a_quota_that_is_used_up_is_waited_for(
    at: Any, recorder: Recorder, tmp_path: Path, hard: dict[str, str]
) -> None:
    made_quota(at, hard)
    plan = fake_plan().model_copy(update={"gpus": 2})
    second = at.deployer(schedule_timeout=1), another_run(tmp_path / "next", recorder.ports)
    notes = await take_turns((at.deployer(), recorder), second, plan)
    assert "exceeded quota: few" in notes[0]
    async with at.deployer().deploy(plan, recorder.context):
        cause, message = await refused(at.deployer(queue_timeout=2), plan, second[1])
    assert cause in {FailureCause.GPU_UNAVAILABLE, FailureCause.ENVIRONMENT}
    assert "exceeded quota: few" in message


@campaign
async def test_a_node_that_takes_nothing(at: Any, recorder: Recorder) -> None:
    node = f"/api/v1/nodes/{at.cluster.node}"
    headers = {"Content-Type": "application/merge-patch+json"}
    at.cluster.api("PATCH", node, json={"spec": {"unschedulable": True}}, headers=headers).raise_for_status()
    try:
        cause, message = await refused(at.deployer(schedule_timeout="3s"), fake_plan(), recorder)
    finally:
        at.cluster.api("PATCH", node, json={"spec": {"unschedulable": False}}, headers=headers).raise_for_status()
    assert cause is FailureCause.ENVIRONMENT
    assert "cordoned" in message


@campaign
async def test_an_image_that_is_not_there(at: Any, recorder: Recorder) -> None:
    cause, message = await refused(at.deployer(image="no/such:1"), fake_plan(), recorder)
    assert (cause, "ErrImageNeverPull" in message) == (FailureCause.IMAGE_MISSING, True)


@campaign
async def test_a_status_that_lags_is_waited_for(at: Any, recorder: Recorder) -> None:
    with at.ome.fault(slow_status_s=2.0):
        async with at.deployer().deploy(fake_plan(), recorder.context):
            name = at.service()["metadata"]["name"]
            assert at.lab.ready(name)


@campaign
async def test_changes_while_it_is_measured(at: Any, recorder: Recorder) -> None:
    """OME rolls a change of the runtime, or of the Deployment, out at once."""
    async with at.deployer().deploy(fake_plan(), recorder.context) as endpoint:
        await endpoint.identity()
        change = {"spec": {"engineConfig": {"annotations": {"a": "b"}}}}
        (await run_sync(at.lab.patch, "ServingRuntime", "fake-runtime", change)).raise_for_status()
        with pytest.raises(TrialFailedError) as caught:
            await endpoint.identity()
        assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
    async with at.deployer().deploy(fake_plan(), recorder.context) as endpoint:
        name = f"{at.service()['metadata']['name']}-engine"
        change = {"spec": {"template": {"metadata": {"annotations": {"c": "d"}}}}}
        (await run_sync(at.lab.patch, "Deployment", name, change)).raise_for_status()
        with pytest.raises(TrialFailedError) as caught:
            await endpoint.identity()
        assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED


@campaign
async def test_a_runtime_changed_between_two_trials_is_another_studys(at: Any, recorder: Recorder) -> None:
    deployer = at.deployer()
    before = (await deployer.base_arguments()).version
    assert before == (await at.deployer().base_arguments()).version
    async with deployer.deploy(fake_plan(), recorder.context):
        pass
    change = {"spec": {"engineConfig": {"labels": {"a": "b"}}}}
    at.lab.patch("ServingRuntime", "fake-runtime", change).raise_for_status()
    assert (await at.deployer().base_arguments()).version != before, "of the next run"
    cause, message = await refused(deployer, fake_plan(), recorder)
    assert (cause, message) == (
        FailureCause.NOT_ACCEPTED,
        "runtime fake-runtime was changed while the study runs",
    )


@campaign
async def test_a_model_from_another_source_between_two_trials(at: Any, recorder: Recorder) -> None:
    own = model(at.ome.settings.model_path)
    own["kind"] = "BaseModel"
    own["metadata"]["namespace"] = at.lab.namespace
    at.lab.created(own)
    deployer = at.deployer()
    before = (await deployer.facts(fake_plan()))["model"]
    assert before.startswith(f"BaseModel {MODEL} from local:/")
    change = {"spec": {"storage": {"storageUri": "hf://org/m@v2"}}}
    at.lab.patch("BaseModel", MODEL, change).raise_for_status()
    assert (await at.deployer().facts(fake_plan()))["model"] == f"BaseModel {MODEL} from hf://org/m@v2", (
        "of the next run"
    )
    cause, message = await refused(deployer, fake_plan(), recorder)
    assert cause is FailureCause.NOT_ACCEPTED
    assert [source for source in (before, "hf://org/m@v2") if source not in message] == []


@campaign
async def test_model_of_the_namespace_takes_precedence(at: Any, recorder: Recorder) -> None:
    """And is named by its own kind, without which OME would make nothing of it."""
    own = model(at.ome.settings.model_path)
    own["kind"] = "BaseModel"
    own["metadata"]["namespace"] = at.lab.namespace
    at.lab.created(own)
    eventually(lambda: at.lab.get("BaseModel", MODEL).get("status", {}).get("state") == "Ready")
    label = f"models.ome.io/{at.lab.namespace}.basemodel.{MODEL}"
    eventually(lambda: label in at.lab.get("Node", at.cluster.node)["metadata"]["labels"])
    async with at.deployer().deploy(fake_plan(), recorder.context):
        assert at.service()["spec"]["model"]["kind"] == "BaseModel"
        assert at.pod()["spec"]["nodeSelector"] == {label: "Ready"}


@campaign
@pytest.mark.parametrize("until", ["asked", "loading", "ready"])
async def test_cancelled_at_any_time_leaves_nothing(at: Any, recorder: Recorder, until: str) -> None:
    plan = fake_plan(never_ready=until != "ready")
    ready = anyio.Event()

    async def trial() -> None:
        async with at.deployer().deploy(plan, recorder.context):
            ready.set()
            await anyio.sleep_forever()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trial)
            if until == "asked":
                while not recorder.phases:  # noqa: ASYNC110 - a list tells no news
                    await anyio.sleep(0.005)
            else:
                await (ready if until == "ready" else recorder.loading).wait()
            tasks.cancel_scope.cancel()
    assert at.left() == []


@campaign
@pytest.mark.parametrize("load", ["port-forward", "direct"])
async def test_load_from_here(at: Any, recorder: Recorder, load: str) -> None:
    """A look through the API server is marked as such; a machine in the cluster's network goes straight."""
    async with at.deployer(load=load).deploy(fake_plan(), recorder.context) as endpoint:
        async with httpx.AsyncClient(base_url=endpoint.url, trust_env=False) as client:
            assert (await client.get("/health")).status_code == 200
        assert bool(endpoint.client.caveats) is (load == "port-forward")
        assert ("127.0.0.1" in endpoint.url) is (load == "port-forward")
