"""Stages and failures of pods, from statuses and events as API servers report them."""

from typing import Any

import pytest

from autotuner.deployers.kubernetes.pods import status as pod_status
from autotuner.deployers.kubernetes.pods.status import Stage
from autotuner.study.failure import Blame, FailureCause

NOW = "2026-11-25T03:06:54Z"
SCHEDULED = {"type": "PodScheduled", "status": "True"}


def pod(state: dict[str, Any] | None = None, *conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    containers = [] if state is None else [{"name": "server", "restartCount": 0, **state}]
    return {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {},
        "status": {"phase": "Pending", "conditions": list(conditions), "containerStatuses": containers, **status},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return pod({"state": {"waiting": {"reason": reason, "message": message}}}, SCHEDULED)


def terminated(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    end = {"exitCode": code, "reason": reason, "message": message, "startedAt": NOW}
    return pod({"state": {"terminated": end}}, SCHEDULED, phase="Failed")


def disrupted(reason: str) -> dict[str, str]:
    return {"type": "DisruptionTarget", "status": "True", "reason": reason}


def unscheduled(reason: str, message: str) -> dict[str, Any]:
    return pod(None, {"type": "PodScheduled", "status": "False", "reason": reason, "message": message})


@pytest.mark.parametrize(
    ("status", "stage", "why"),
    [
        (pod(), Stage.UNSCHEDULED, ""),
        (unscheduled("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."), Stage.UNSCHEDULED,
         "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
        (unscheduled("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"), Stage.HELD,
         "Scheduling is blocked due to non-empty scheduling gates"),
        (pod(None, SCHEDULED), Stage.ON_NODE, ""),
        (waiting("ContainerCreating"), Stage.ON_NODE, "ContainerCreating"),
        (pod({"state": {"running": {"startedAt": NOW}}}, SCHEDULED, phase="Running"), Stage.RUNNING, ""),
        (pod({"state": {"running": {"startedAt": NOW}}}, SCHEDULED, {"type": "Ready", "status": "True"}), Stage.READY,
         ""),
    ],
)  # fmt: skip
def test_stages(status: dict[str, Any], stage: Stage, why: str) -> None:
    seen = pod_status.look(status, "server")
    assert (seen.stage, seen.why, seen.failure) == (stage, why, None)


PULL = 'failed to pull and unpack image "docker.io/x/y:1"'


@pytest.mark.parametrize(
    ("reason", "message", "cause", "transient"),
    [
        ("InvalidImageName", "couldn't parse image name", FailureCause.IMAGE_MISSING, False),
        ("ErrImageNeverPull", "Container image is not present with pull policy of Never", FailureCause.IMAGE_MISSING,
         False),
        ("ErrImagePull", f"{PULL}: docker.io/x/y:1: not found", FailureCause.IMAGE_MISSING, False),
        ("ErrImagePull", f"{PULL}: 429 Too Many Requests", FailureCause.IMAGE_MISSING, True),
        ("ImagePullBackOff", "Back-off pulling image", FailureCause.IMAGE_MISSING, True),
        ("CreateContainerConfigError", 'secret "hub" not found', FailureCause.ENVIRONMENT, False),
        ("CreateContainerError", "context deadline exceeded", FailureCause.ENVIRONMENT, True),
        ("RunContainerError", 'exec: "nope": executable file not found in $PATH', FailureCause.NO_BINARY, False),
        ("RunContainerError", "nvidia-container-cli: initialization error", FailureCause.GPU_UNAVAILABLE, False),
    ],
)  # fmt: skip
def test_containers_that_cannot_start(reason: str, message: str, cause: FailureCause, transient: bool) -> None:
    seen = pod_status.look(waiting(reason, message), "server")
    assert seen.stage is Stage.ON_NODE
    assert seen.failure is not None
    assert (seen.failure.cause, seen.transient) == (cause, transient)
    assert reason in seen.failure.message
    assert message in seen.failure.message
    assert seen.failure.remedy


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (terminated(0, "Completed"), 0, None),
        (terminated(2), 2, None),
        (terminated(1), 1, None),
        (terminated(137), -9, None),
        (terminated(143), -15, None),
        (terminated(137, "OOMKilled"), -9, FailureCause.HOST_OUT_OF_MEMORY),
        (terminated(128, "StartError", 'exec: "nope": executable file not found'), 128, FailureCause.NO_BINARY),
        (terminated(137, "ContainerStatusUnknown"), -9, FailureCause.ENVIRONMENT),
    ],
)
def test_ended_containers(status: dict[str, Any], code: int, cause: FailureCause | None) -> None:
    seen = pod_status.look(status, "server")
    assert (seen.stage, seen.exit_code) == (Stage.ENDED, code)
    assert (seen.failure.cause if seen.failure else None) == cause


def test_first_exit_counts_after_a_restart() -> None:
    """A Deployment restarts its containers; the trial does not wait for a crash loop."""
    state = {"restartCount": 1, "lastState": {"terminated": {"exitCode": 2, "reason": "Error"}}}
    for now in ({"running": {"startedAt": NOW}}, {"waiting": {"reason": "CrashLoopBackOff"}}):
        seen = pod_status.look(pod({**state, "state": now}, SCHEDULED), "server")
        assert (seen.stage, seen.exit_code, seen.restarts, seen.failure) == (Stage.ENDED, 2, 1, None)


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, "low on resource: memory"),
        ({"reason": "NodeLost"}, ""),
        ({"conditions": [disrupted("PreemptionByScheduler")]}, ""),
        ({"conditions": [disrupted("DeletionByTaintManager")]}, ""),
        ({"conditions": [disrupted("UnknownReason")]}, "UnknownReason"),
        ({"reason": "OutOfcpu"}, "OutOfcpu"),
    ],
)
def test_evicted_pods(status: dict[str, Any], shown: str) -> None:
    """The environment is at fault, although the container ended with 137. ``test_wording.py`` has the messages."""
    evicted = terminated(137)
    evicted["status"].update(phase="Failed", **status)
    seen = pod_status.look(evicted, "server")
    assert seen.failure is not None
    assert (seen.stage, seen.failure.cause, seen.failure.blame) == (
        Stage.ENDED,
        FailureCause.ENVIRONMENT,
        Blame.ENVIRONMENT,
    )
    assert shown in seen.failure.message


def test_node_without_free_gpus() -> None:
    failed = pod(None, SCHEDULED, phase="Failed", reason="OutOfnvidia.com/gpu")
    failure = pod_status.look(failed, "server").failure
    assert failure is not None
    assert failure.cause is FailureCause.GPU_UNAVAILABLE


def test_deleted_by_another_client() -> None:
    running = pod({"state": {"running": {"startedAt": NOW}}}, SCHEDULED)
    assert pod_status.look(running, "server").stage is Stage.RUNNING
    running["metadata"]["deletionTimestamp"] = NOW
    seen = pod_status.look(running, "server")
    assert seen.failure is not None
    assert (seen.stage, seen.failure.cause) == (Stage.ENDED, FailureCause.ENVIRONMENT)


def test_failed_init_container() -> None:
    failed = pod(None, SCHEDULED)
    failed["spec"]["initContainers"] = [{"name": "fetch"}]
    failed["status"]["initContainerStatuses"] = [{"name": "fetch", "state": {"terminated": {"exitCode": 7}}}]
    seen = pod_status.look(failed, "server")
    assert seen.failure is not None
    assert (seen.stage, seen.failure.cause) == (Stage.ENDED, FailureCause.ENVIRONMENT)
    assert {"fetch", "7"} <= set(seen.failure.message.split())


QUOTA = 'pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, '
QUOTA += "used: requests.nvidia.com/gpu=3, limited: requests.nvidia.com/gpu=4"


@pytest.mark.parametrize(
    ("reason", "message", "cause", "waits"),
    [
        ("FailedCreate", QUOTA, FailureCause.GPU_UNAVAILABLE, "queue"),
        ("FailedCreate", QUOTA.replace("gpu=2", "gpu=5"), FailureCause.GPU_UNAVAILABLE, "never"),
        ("FailedCreate", QUOTA.replace("gpu=2", "gpu=some"), FailureCause.GPU_UNAVAILABLE, "queue"),
        ("FailedCreate", "failed quota: x: must specify limits.cpu", FailureCause.NOT_ACCEPTED, "never"),
        ("FailedCreate", 'violates PodSecurity "restricted:latest"', FailureCause.NOT_ACCEPTED, "never"),
        ("FailedCreate", "Internal error occurred: failed calling webhook", FailureCause.ENVIRONMENT, "fault"),
        ("FailedMount", "hostPath type check failed: /m is not a directory", FailureCause.MODEL_MISSING, "never"),
        ("FailedMount", 'secret "x" not found', FailureCause.ENVIRONMENT, "fault"),
    ],
)
def test_events(reason: str, message: str, cause: FailureCause, waits: str) -> None:
    """``waits``: as in a queue, as for a transient fault, or never."""
    harmless = {"reason": "Scheduled", "message": "assigned"}
    trouble = pod_status.events_trouble([harmless, {"reason": reason, "message": message}])
    assert trouble is not None
    assert trouble.failure.cause is cause
    assert (trouble.transient, trouble.queued) == (waits == "fault", waits == "queue")
    assert pod_status.events_trouble([harmless]) is None
