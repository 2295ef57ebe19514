"""Stages and failures of a pod, read from its status and events.

Pure functions from the API server's JSON, used for servers and load generators.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from autotuner.deployers.kubernetes import failure_phrases
from autotuner.deployers.kubernetes.refusals import judge
from autotuner.manifests.text import amount
from autotuner.plain_text import joined_line
from autotuner.study import signals
from autotuner.study.failure import Failure, FailureCause

Json = Mapping[str, Any]

_IMAGE_AT_ONCE = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
)
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
_QUOTA_FIGURES = re.compile(r"requested: (\S+), used: \S+, limited: (\S+)")
_REASONS_OF_THE_NODE = {
    "Evicted": "the kubelet evicted it, because its node ran out of resources",
    "NodeLost": "its node was lost",
    "NodeShutdown": "its node was shut down",
    "Terminated": "its node was shut down",
    "Shutdown": "its node was shut down",
    "NodeAffinity": "its node's labels no longer match",
    "Preempting": "it was preempted by a pod with higher priority",
    "UnexpectedAdmissionError": "its node did not admit it",
}
_DISRUPTED = {
    "PreemptionByScheduler": "it was preempted by a pod with higher priority",
    "DeletionByTaintManager": "its node does not respond, or was tainted",
    "EvictionByEvictionAPI": "it was evicted through the API, as by kubectl drain",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "the kubelet evicted it, or its node shut down",
}


class Stage(StrEnum):
    """How far a pod has got."""

    ACCEPTED = "accepted"
    """An operator has accepted the object that makes the pod; there is no pod yet."""
    HELD = "held"
    """A queue holds it back (SchedulingGated)."""
    UNSCHEDULED = "unscheduled"
    ON_NODE = "on_node"
    """It is on a node, which prepares image and volumes."""
    RUNNING = "running"
    READY = "ready"
    ENDED = "ended"


@dataclass(frozen=True)
class PodState:
    """The state of a pod at one moment."""

    stage: Stage
    why: str = ""
    """The reason that Kubernetes reports."""
    failure: Failure | None = None
    """Why it cannot continue; None for a server that ended by itself, whose log shows the cause."""
    transient: bool = False
    """Whether ``failure`` may resolve itself, so that it counts only after a while."""
    exit_code: int | None = None
    started: float = 0.0
    """Start of the container, in seconds since the epoch."""
    restarts: int = 0


def image_id(pod: Json, container: str) -> str:
    """Returns the digest of the image that the container runs; empty if the node does not report it."""
    found = _container(pod.get("status") or {}, "containerStatuses", container)
    return str(found.get("imageID") or "")


def look(pod: Json, container: str) -> PodState:
    """Returns the state of a pod, judged by its container of this name."""
    status = pod.get("status") or {}
    if moved := _taken_away(pod):
        return PodState(Stage.ENDED, moved.message, moved)
    for state in (_container(status, "initContainerStatuses", n) for n in _init_names(pod)):
        if trouble := _init_trouble(state):
            return trouble
    found = _container(status, "containerStatuses", container)
    ended = _ended(found)
    if ended is not None:
        return ended
    running = (found.get("state") or {}).get("running")
    if running:
        stage = Stage.READY if condition(status, "Ready").get("status") == "True" else Stage.RUNNING
        return PodState(stage, started=_time(running.get("startedAt")), restarts=int(found.get("restartCount", 0)))
    if status.get("phase") in {"Failed", "Succeeded"}:
        why = str(status.get("message") or status.get("reason") or "it ended")
        return PodState(Stage.ENDED, why, _environment(f"the pod terminated before its server ran: {why}"))
    return _waiting(status, found)


def _waiting(status: Json, found: Json) -> PodState:
    waiting = (found.get("state") or {}).get("waiting") or {}
    reason = str(waiting.get("reason", ""))
    why = message_in(waiting)
    if trouble := _start_trouble(reason, why):
        failure, transient = trouble
        return PodState(Stage.ON_NODE, why or reason, failure, transient)
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "True" or waiting:
        return PodState(Stage.ON_NODE, why or reason)
    reported = message_in(scheduled)
    if scheduled.get("reason") == "SchedulingGated":
        return PodState(Stage.HELD, reported or "scheduling gated")
    return PodState(Stage.UNSCHEDULED, reported)


def _start_trouble(reason: str, why: str) -> tuple[Failure, bool] | None:
    """Returns (failure, whether it is transient) of a waiting container."""
    if reason in _IMAGE_AT_ONCE or reason in _IMAGE:
        remedy = "correct deploy.image, deploy.image_tag, deploy.image_pull_policy or deploy.image_pull_secrets"
        message = f"cannot pull image ({reason}): {why}"
        hopeless = reason in _IMAGE_AT_ONCE or failure_phrases.IMAGE_HOPELESS.found_in(why)
        return Failure(cause=FailureCause.IMAGE_MISSING, message=message, remedy=remedy), not hopeless
    if reason in _CONFIG:
        return not_started(reason, why), failure_phrases.START_PASSING.found_in(why)
    return None


def not_started(reason: str, why: str) -> Failure:
    """Returns why a container could not be created or started."""
    message = f"the container could not be started ({reason}): {why}"
    if failure_phrases.ROOT_IMAGE.found_in(why):
        remedy = "set a numeric user, e.g. deploy.security_context: {runAsUser: 1000}, or use another image"
        return Failure(cause=FailureCause.NOT_ACCEPTED, message=message, remedy=remedy)
    if failure_phrases.DEVICE_MISSING.found_in(why):
        remedy = "check the node's NVIDIA driver, toolkit and device plugin"
        return Failure(cause=FailureCause.GPU_UNAVAILABLE, message=message, remedy=remedy)
    if failure_phrases.PROGRAM_MISSING.found_in(why):
        remedy = "choose an image that contains the server, or correct the engine's command"
        return Failure(cause=FailureCause.NO_BINARY, message=message, remedy=remedy)
    return Failure(
        cause=FailureCause.ENVIRONMENT,
        message=message,
        remedy="create the Secret or ConfigMap that it names, or correct the settings under deploy",
    )


def _ended(found: Json) -> PodState | None:
    """Returns the first end of a container, even if it was restarted; None if it has not ended."""
    restarts = int(found.get("restartCount", 0))
    end = (found.get("state") or {}).get("terminated")
    end = end or ((found.get("lastState") or {}).get("terminated") if restarts else None)
    if not end:
        return None
    reason = str(end.get("reason", ""))
    why = message_in(end)
    code = signals.container_exit_code(end.get("exitCode"))
    started = _time(end.get("startedAt"))
    failure = None
    if reason == "OOMKilled":
        failure = Failure(
            cause=FailureCause.HOST_OUT_OF_MEMORY,
            message="the container was killed: it exceeded its memory limit",
            remedy="raise deploy.memory, or lower the server's use of host memory",
            exit_code=code,
        )
    elif reason in _NOT_STARTED:
        failure = not_started(reason, why)
    elif reason == "ContainerStatusUnknown":
        failure = _environment("the container's exit status is unknown: its node was lost")
    return PodState(Stage.ENDED, why or reason, failure, exit_code=code, started=started, restarts=restarts)


def _taken_away(pod: Json) -> Failure | None:
    """Returns why the pod itself ended, if its container is not the cause."""
    status = pod.get("status") or {}
    reason = str(status.get("reason", ""))
    why = message_in(status)
    if reason.startswith("OutOf"):
        cause = FailureCause.GPU_UNAVAILABLE if failure_phrases.GPU.found_in(reason) else FailureCause.ENVIRONMENT
        message = f"its node had no room after all ({reason}): {why}"
        return Failure(cause=cause, message=message, remedy="the trial is run again")
    disrupted = condition(status, "DisruptionTarget")
    if disrupted.get("status") == "True":
        disruption = _DISRUPTED.get(str(disrupted.get("reason")), str(disrupted.get("reason")))
        return _environment(f"the pod was terminated: {disruption}", message_in(disrupted))
    if reason in _REASONS_OF_THE_NODE:
        return _environment(f"the pod was terminated: {_REASONS_OF_THE_NODE[reason]}", why)
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return _environment("the pod is being deleted by someone else")
    return None


def _environment(message: str, why: str = "") -> Failure:
    text = f"{message} ({why})" if why else message
    remedy = "do not delete pods with autotuner's labels; the trial of a lost node is run again"
    return Failure(cause=FailureCause.ENVIRONMENT, message=text, remedy=remedy)


def _init_names(pod: Json) -> list[str]:
    return [c["name"] for c in (pod.get("spec") or {}).get("initContainers") or ()]


def _init_trouble(found: Json) -> PodState | None:
    state = found.get("state") or {}
    waiting = state.get("waiting") or {}
    end = state.get("terminated") or {}
    if trouble := _start_trouble(str(waiting.get("reason", "")), message_in(waiting)):
        failure, transient = trouble
        return PodState(Stage.ON_NODE, failure.message, failure, transient)
    if end.get("exitCode"):
        failure = _environment(
            f"init container {found.get('name')} failed with exit code {end['exitCode']}", message_in(end)
        )
        return PodState(Stage.ENDED, failure.message, failure)
    return None


@dataclass(frozen=True)
class StartFailure:
    """Why there is no pod, or why it does not start."""

    failure: Failure
    transient: bool = False
    """Whether it may resolve itself, so that it counts only after a while."""
    queued: bool = False
    """Whether other users hold what it needs and will release it, so that the pod waits as in a queue."""

    @classmethod
    def no_room(cls, why: str) -> "StartFailure":
        """Returns the failure that no node has what the pod requests."""
        cause = FailureCause.GPU_UNAVAILABLE if failure_phrases.GPU.found_in(why) else FailureCause.ENVIRONMENT
        remedy = "lower the server's requests, free resources, or add nodes (kubectl describe nodes)"
        return cls(Failure(cause=cause, message=why, remedy=remedy))


def not_made(why: str, part: str = "") -> StartFailure:
    """Returns why a pod, or the object that makes it, could not be created; ``part`` is the pod's container."""
    if failure_phrases.QUOTA_EXCEEDED.found_in(why):
        remedy = "wait until other pods end, or raise the namespace's quota (kubectl describe quota)"
        cause = FailureCause.GPU_UNAVAILABLE if failure_phrases.GPU.found_in(why) else FailureCause.ENVIRONMENT
        failure = Failure(cause=cause, message=f"the quota leaves no room: {why}", remedy=remedy)
        return StartFailure(failure, queued=not _never_allowed(why))
    refused = judge(why, part)
    cause = FailureCause.NOT_ACCEPTED if refused.final else FailureCause.ENVIRONMENT
    failure = Failure(cause=cause, message=refused.message, remedy=refused.remedy)
    return StartFailure(failure, transient=not refused.final)


def _never_allowed(why: str) -> bool:
    """Returns whether the request exceeds the whole quota, so that waiting is pointless."""
    found = _QUOTA_FIGURES.search(why)
    if found is None:
        return False
    requested, limit = (dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair) for text in found.groups())
    try:
        return any(amount(text) > amount(limit[name]) for name, text in requested.items() if name in limit)
    except ValueError:
        return False


def events_trouble(events: Iterable[Json], part: str = "") -> StartFailure | None:
    """Returns the failure that events about a pod or its controller report; None without any.

    ``part`` is the pod's container.
    """
    for event in events:
        reason = str(event.get("reason"))
        why = message_in(event)
        if reason == "FailedCreate":
            return not_made(why, part)
        if reason == "FailedMount" and failure_phrases.HOST_PATH_MISSING.found_in(why):
            remedy = "correct model.path and deploy.model_roots, or select nodes with the model by deploy.node_selector"
            message = f"the node does not have the model: {why}"
            return StartFailure(Failure(cause=FailureCause.MODEL_MISSING, message=message, remedy=remedy))
        if reason in {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"}:
            message = f"the pod cannot be prepared ({reason}): {why}"
            remedy = "check that its volumes exist"
            return StartFailure(Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy), transient=True)
    return None


def condition(status: Json, kind: str) -> Json:
    """Returns a status's condition of this type; empty if it has none."""
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def is_ready_node(node: Json) -> bool:
    """Returns whether a node is ready."""
    return condition(node.get("status") or {}, "Ready").get("status") == "True"


def _container(status: Json, group: str, name: str) -> Json:
    return next((c for c in status.get(group) or () if c.get("name") == name), {})


def message_in(found: Json) -> str:
    """Returns the ``message`` of a condition, container state or event on one line; empty if it has none."""
    return joined_line(str(found.get("message") or ""))


def _time(text: Any) -> float:
    return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else 0.0
