"""Failed starts of services on a real cluster, each with its cause, whether or not OME reports it."""

import re
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.to_thread import run_sync

from autotuner.deployers.kubernetes.trial_objects import lease_job
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Labels, LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import LABELS, Recorder
from autotuner.testing.fake_plans import fake_plan
from support.ome_standin.lab import eventually
from support.ome_standin.sample_objects import MODEL, model
from support.turns import another_run, take_turns

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

campaign = pytest.mark.campaign


async def refused(deployer: Any, plan: LaunchPlan, recorder: Recorder) -> tuple[FailureCause, str]:
    with anyio.fail_after(100), pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, recorder.context):
            pytest.fail("it should have failed")
    assert caught.value.failure.remedy
    return caught.value.failure.cause, caught.value.failure.message


async def test_invalid_flag_is_detected_at_the_first_exit(at: Any, recorder: Recorder) -> None:
    """Kubernetes restarts the container; the first exit code and log are the configuration's."""
    plan = fake_plan(no_such_flag=1)
    with anyio.fail_after(60), pytest.raises(TrialFailedError):
        async with at.deployer().deploy(plan, recorder.context):
            pytest.fail("it should have failed")
    [(code, log, ready)] = recorder.ends
    assert (code, ready) == (2, False)
    assert "unrecognized arguments: --no-such-flag" in log


async def test_lease_without_a_service_is_reaped(at: Any) -> None:
    """A run may be killed between the two calls that create the lease Job and the service."""
    job = lease_job(Labels(study="killed", trial=3, owner="dead"), "at-killed", 600.0)
    at.lab.created({**job, "metadata": {**job["metadata"], "namespace": at.lab.namespace}})
    assert await at.deployer().reap({"other"}.__contains__) == []
    assert at.left() == ["Job at-killed"]
    (line,) = await at.deployer().reap({"dead"}.__contains__)
    assert [part for part in ("job at-killed", "study killed", "trial 3", "owner dead") if part not in line] == []
    await run_sync(eventually, lambda: at.left() == [], "the Job is gone")


async def test_labels_of_the_service_and_its_pod(at: Any, recorder: Recorder) -> None:
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
async def test_stopped_controller(at: Any, recorder: Recorder) -> None:
    with at.ome.fault(controller_stopped=True):
        # the controller has not set its finalizer, so the service can be removed without it
        cause, message = await refused(at.deployer(accept_timeout="2s"), fake_plan(), recorder)
    assert cause is FailureCause.NOT_ACCEPTED
    assert [part for part in ("Deployment", " 2 s") if part not in message] == []


@campaign
async def test_runtime_that_does_not_serve_the_model(at: Any, recorder: Recorder) -> None:
    """Admitted; only an event reports it."""
    made = at.fake_runtime("other")
    made["spec"]["supportedModelFormats"][0]["modelArchitecture"] = "Other"
    at.lab.created(made)
    cause, message = await refused(at.deployer(runtime="other"), fake_plan(), recorder)
    assert cause is FailureCause.NOT_ACCEPTED
    assert "RuntimeValidationError" in message
    assert "architecture mismatch" in message


@campaign
async def test_missing_objects(at: Any, recorder: Recorder) -> None:
    cause, message = await refused(at.deployer(runtime="nope"), fake_plan(), recorder)
    assert (cause, "runtime nope " in message) == (FailureCause.NOT_ACCEPTED, True)
    cause, message = await refused(at.deployer(model="nope"), fake_plan(), recorder)
    assert (cause, "model nope " in message) == (FailureCause.MODEL_MISSING, True)
    at.lab.created(at.fake_runtime("shell", command=["sh", "-c", "fake_server"], args=[]))
    cause, message = await refused(at.deployer(runtime="shell"), fake_plan(), recorder)
    assert (cause, "shell (sh)" in message) == (FailureCause.NOT_ACCEPTED, True)


@campaign
async def test_unreachable_webhooks(at: Any, recorder: Recorder) -> None:
    with at.ome.fault(webhook="down"):
        cause, message = await refused(at.deployer(api_patience="2s"), fake_plan(), recorder)
    assert cause is FailureCause.DEPLOYER_LOST
    assert "webhook" in message


@campaign
async def test_more_gpus_than_any_node_has(at: Any, recorder: Recorder) -> None:
    plan = fake_plan().model_copy(update={"gpus": 8})
    cause, message = await refused(at.deployer(), plan, recorder)
    assert cause is FailureCause.GPU_UNAVAILABLE
    assert re.search(r"nvidia\.com/gpu 8 .* 4\b", message)


def create_quota(at: Any, hard: dict[str, str]) -> None:
    """Creates a quota, which is deleted with its namespace."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": hard}}
    path = f"/api/v1/namespaces/{at.lab.namespace}/resourcequotas"
    at.lab.api("POST", path, json=quota).raise_for_status()


@campaign
async def test_quota_that_is_too_small(at: Any, recorder: Recorder) -> None:
    """No pod and no event of the service, only a condition of the Deployment; there is no wait."""
    create_quota(at, {"requests.nvidia.com/gpu": "1"})
    plan = fake_plan().model_copy(update={"gpus": 2})
    cause, message = await refused(at.deployer(), plan, recorder)
    assert cause is FailureCause.GPU_UNAVAILABLE
    assert "exceeded quota: few" in message


@campaign
@pytest.mark.parametrize("hard", [{"requests.nvidia.com/gpu": "2"}, {"count/inferenceservices.ome.io": "1"}])
async def test_wait_for_a_quota_that_is_used_up(
    at: Any, recorder: Recorder, tmp_path: Path, hard: dict[str, str]
) -> None:
    create_quota(at, hard)
    plan = fake_plan().model_copy(update={"gpus": 2})
    second = at.deployer(schedule_timeout=1), another_run(tmp_path / "next", recorder.ports)
    notes = await take_turns((at.deployer(), recorder), second, plan)
    assert "exceeded quota: few" in notes[0]
    async with at.deployer().deploy(plan, recorder.context):
        cause, message = await refused(at.deployer(queue_timeout=2), plan, second[1])
    assert cause in {FailureCause.GPU_UNAVAILABLE, FailureCause.ENVIRONMENT}
    assert "exceeded quota: few" in message


@campaign
async def test_cordoned_node(at: Any, recorder: Recorder) -> None:
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
async def test_missing_image(at: Any, recorder: Recorder) -> None:
    cause, message = await refused(at.deployer(image="no/such:1"), fake_plan(), recorder)
    assert (cause, "ErrImageNeverPull" in message) == (FailureCause.IMAGE_MISSING, True)


@campaign
async def test_wait_for_a_delayed_status(at: Any, recorder: Recorder) -> None:
    with at.ome.fault(slow_status_s=2.0):
        async with at.deployer().deploy(fake_plan(), recorder.context):
            name = at.service()["metadata"]["name"]
            assert at.lab.ready(name)


@campaign
async def test_changes_during_the_measurement(at: Any, recorder: Recorder) -> None:
    """OME rolls out any change of the runtime or the Deployment at once."""
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
async def test_runtime_changed_between_two_trials(at: Any, recorder: Recorder) -> None:
    deployer = at.deployer()
    before = (await deployer.base_arguments()).version
    assert before == (await at.deployer().base_arguments()).version
    async with deployer.deploy(fake_plan(), recorder.context):
        pass
    change = {"spec": {"engineConfig": {"labels": {"a": "b"}}}}
    at.lab.patch("ServingRuntime", "fake-runtime", change).raise_for_status()
    assert (await at.deployer().base_arguments()).version != before, "a new run uses the changed runtime"
    cause, message = await refused(deployer, fake_plan(), recorder)
    assert cause is FailureCause.NOT_ACCEPTED
    assert "runtime fake-runtime " in message


@campaign
async def test_source_of_the_model_changed_between_two_trials(at: Any, recorder: Recorder) -> None:
    own = model(at.ome.settings.model_path)
    own["kind"] = "BaseModel"
    own["metadata"]["namespace"] = at.lab.namespace
    at.lab.created(own)
    deployer = at.deployer()
    deployer = deployer.built_over(await deployer.base_arguments())  # a study does this before its first trial
    before = (await deployer.facts(fake_plan()))["model"]
    assert before.startswith(f"BaseModel {MODEL} from local:/")
    change = {"spec": {"storage": {"storageUri": "hf://org/m@v2"}}}
    at.lab.patch("BaseModel", MODEL, change).raise_for_status()
    assert (await at.deployer().facts(fake_plan()))["model"] == f"BaseModel {MODEL} from hf://org/m@v2", (
        "a new run uses the changed model"
    )
    cause, message = await refused(deployer, fake_plan(), recorder)
    assert cause is FailureCause.NOT_ACCEPTED
    assert [source for source in (before, "hf://org/m@v2") if source not in message] == []


@campaign
async def test_model_of_the_namespace_takes_precedence(at: Any, recorder: Recorder) -> None:
    """The service refers to it with its kind, without which OME would create no Deployment."""
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
@pytest.mark.parametrize("until", ["launching", "loading", "ready"])
async def test_cancellation_leaves_nothing(at: Any, recorder: Recorder, until: str) -> None:
    plan = fake_plan(never_ready=until != "ready")
    ready = anyio.Event()

    async def trial() -> None:
        async with at.deployer().deploy(plan, recorder.context):
            ready.set()
            await anyio.sleep_forever()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(trial)
            if until == "launching":
                while not recorder.phases:  # noqa: ASYNC110 - a list has no event
                    await anyio.sleep(0.005)
            else:
                await (ready if until == "ready" else recorder.loading).wait()
            tasks.cancel_scope.cancel()
    assert at.left() == []


@campaign
@pytest.mark.parametrize("load", ["port-forward", "direct"])
async def test_load_from_this_machine(at: Any, recorder: Recorder, load: str) -> None:
    """Requests through the API server add a caveat; a machine in the cluster's network connects directly."""
    async with at.deployer(load=load).deploy(fake_plan(), recorder.context) as endpoint:
        async with httpx.AsyncClient(base_url=endpoint.url, trust_env=False) as client:
            assert (await client.get("/health")).status_code == 200
        assert bool(endpoint.client.caveats) is (load == "port-forward")
        assert ("127.0.0.1" in endpoint.url) is (load == "port-forward")
