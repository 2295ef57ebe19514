"""Stages and failures of a pod, read from its status and events.

Pure: the API server's JSON in, a :class:`PodState` out. The same for servers and load generators.
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
    "NodeAffinity": "its node's labels do not fit any more",
    "Preempting": "it gave way to one of a higher priority",
    "UnexpectedAdmissionError": "its node did not take it",
}
_DISRUPTED = {
    "PreemptionByScheduler": "it gave way to one of a higher priority",
    "DeletionByTaintManager": "its node does not answer, or was tainted",
    "EvictionByEvictionAPI": "it was evicted, as draining a node does",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "the kubelet evicted it, or its node shut down",
}


class Stage(StrEnum):
    """How far a pod has got."""

    ACCEPTED = "accepted"
    """There is no pod yet, but the object that makes it exists."""
    HELD = "held"
    """A queue holds it back (SchedulingGated)."""
    UNSCHEDULED = "unscheduled"
    ON_NODE = "on_node"
    """A node has it; image and volumes are made ready."""
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
    """Why it does not get any further; None for a server that ended by itself, whose log tells the cause."""
    patient: bool = False
    """``failure`` may pass, and counts only after a while."""
    exit_code: int | None = None
    started: float = 0.0
    """Seconds since the epoch, of the container's start."""
    restarts: int = 0


def image_id(pod: Json, container: str) -> str:
    """The digest of the image that the container runs; empty where the node does not report it."""
    found = _container(pod.get("status") or {}, "containerStatuses", container)
    return str(found.get("imageID") or "")


def look(pod: Json, container: str) -> PodState:
    """The state of a pod, by its container of this name."""
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
        return PodState(Stage.ENDED, why, _environment(f"the pod ended before its server ran: {why}"))
    return _waiting(status, found)


def _waiting(status: Json, found: Json) -> PodState:
    waiting = (found.get("state") or {}).get("waiting") or {}
    reason = str(waiting.get("reason", ""))
    why = message_in(waiting)
    if trouble := _start_trouble(reason, why):
        failure, patient = trouble
        return PodState(Stage.ON_NODE, why or reason, failure, patient)
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "True" or waiting:
        return PodState(Stage.ON_NODE, why or reason)
    said = message_in(scheduled)
    if scheduled.get("reason") == "SchedulingGated":
        return PodState(Stage.HELD, said or "scheduling gated")
    return PodState(Stage.UNSCHEDULED, said)


def _start_trouble(reason: str, why: str) -> tuple[Failure, bool] | None:
    """(failure, may pass) of a waiting container, by the reason."""
    if reason in _IMAGE_AT_ONCE or reason in _IMAGE:
        remedy = "correct deploy.image, deploy.image_tag, deploy.image_pull_policy or deploy.image_pull_secrets"
        message = f"cannot pull image ({reason}): {why}"
        hopeless = reason in _IMAGE_AT_ONCE or failure_phrases.IMAGE_HOPELESS.found_in(why)
        return Failure(cause=FailureCause.IMAGE_MISSING, message=message, remedy=remedy), not hopeless
    if reason in _CONFIG:
        return not_started(reason, why), failure_phrases.START_PASSING.found_in(why)
    return None


def not_started(reason: str, why: str) -> Failure:
    """Why a container could not be made or started."""
    message = f"the container could not be started ({reason}): {why}"
    if failure_phrases.ROOT_IMAGE.found_in(why):
        remedy = "name a user by its number, e.g. deploy.security_context: {runAsUser: 1000}, or take another image"
        return Failure(cause=FailureCause.NOT_ACCEPTED, message=message, remedy=remedy)
    if failure_phrases.DEVICE_MISSING.found_in(why):
        remedy = "check the node's NVIDIA driver, toolkit and device plugin"
        return Failure(cause=FailureCause.GPU_UNAVAILABLE, message=message, remedy=remedy)
    if failure_phrases.PROGRAM_MISSING.found_in(why):
        remedy = "choose an image that has the server, or correct the engine's command"
        return Failure(cause=FailureCause.NO_BINARY, message=message, remedy=remedy)
    return Failure(
        cause=FailureCause.ENVIRONMENT,
        message=message,
        remedy="make the Secret or ConfigMap that it names, or correct the settings under deploy",
    )


def _ended(found: Json) -> PodState | None:
    """The first end of a container, whether it was restarted or not."""
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
            message="the container was killed: it used more memory than it may",
            remedy="raise deploy.memory, or lower what the server keeps in the host's memory",
            exit_code=code,
        )
    elif reason in _NOT_STARTED:
        failure = not_started(reason, why)
    elif reason == "ContainerStatusUnknown":
        failure = _environment("it is unknown how the container ended: its node went away")
    return PodState(Stage.ENDED, why or reason, failure, exit_code=code, started=started, restarts=restarts)


def _taken_away(pod: Json) -> Failure | None:
    """Why the pod itself ends, where its container is not the cause."""
    status = pod.get("status") or {}
    reason = str(status.get("reason", ""))
    why = message_in(status)
    if reason.startswith("OutOf"):
        cause = FailureCause.GPU_UNAVAILABLE if failure_phrases.GPU.found_in(reason) else FailureCause.ENVIRONMENT
        message = f"its node had no room after all ({reason}): {why}"
        return Failure(cause=cause, message=message, remedy="it is tried again")
    disrupted = condition(status, "DisruptionTarget")
    if disrupted.get("status") == "True":
        told = _DISRUPTED.get(str(disrupted.get("reason")), str(disrupted.get("reason")))
        return _environment(f"the pod was ended: {told}", message_in(disrupted))
    if reason in _REASONS_OF_THE_NODE:
        return _environment(f"the pod was ended: {_REASONS_OF_THE_NODE[reason]}", why)
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return _environment("the pod is being deleted by someone else")
    return None


def _environment(message: str, why: str = "") -> Failure:
    text = f"{message} ({why})" if why else message
    remedy = "leave pods with autotuner's labels alone; a lost node's trial is made again"
    return Failure(cause=FailureCause.ENVIRONMENT, message=text, remedy=remedy)


def _init_names(pod: Json) -> list[str]:
    return [c["name"] for c in (pod.get("spec") or {}).get("initContainers") or ()]


def _init_trouble(found: Json) -> PodState | None:
    state = found.get("state") or {}
    waiting = state.get("waiting") or {}
    end = state.get("terminated") or {}
    if trouble := _start_trouble(str(waiting.get("reason", "")), message_in(waiting)):
        failure, patient = trouble
        return PodState(Stage.ON_NODE, failure.message, failure, patient)
    if end.get("exitCode"):
        failure = _environment(f"init container {found.get('name')} ended with {end['exitCode']}", message_in(end))
        return PodState(Stage.ENDED, failure.message, failure)
    return None


@dataclass(frozen=True)
class StartFailure:
    """Why there is no pod, or none that starts."""

    failure: Failure
    passing: bool = False
    """It may pass, and counts only after a while."""
    queued: bool = False
    """Others hold what it needs, and will release it: it is waited for as in a queue."""

    @classmethod
    def no_room(cls, why: str) -> "StartFailure":
        """No node has what the pod requests."""
        cause = FailureCause.GPU_UNAVAILABLE if failure_phrases.GPU.found_in(why) else FailureCause.ENVIRONMENT
        remedy = "lower what a server requests, free some of it, or add nodes (kubectl describe nodes)"
        return cls(Failure(cause=cause, message=why, remedy=remedy))


def not_made(why: str, part: str = "") -> StartFailure:
    """Why a pod, or the object that makes it, could not be created; ``part`` is the pod's container."""
    if failure_phrases.QUOTA_EXCEEDED.found_in(why):
        remedy = "wait for others to end, or raise the namespace's quota (kubectl describe quota)"
        cause = FailureCause.GPU_UNAVAILABLE if failure_phrases.GPU.found_in(why) else FailureCause.ENVIRONMENT
        failure = Failure(cause=cause, message=f"the quota leaves no room: {why}", remedy=remedy)
        return StartFailure(failure, queued=not _never_allowed(why))
    refused = judge(why, part)
    cause = FailureCause.NOT_ACCEPTED if refused.final else FailureCause.ENVIRONMENT
    failure = Failure(cause=cause, message=refused.message, remedy=refused.remedy)
    return StartFailure(failure, passing=not refused.final)


def _never_allowed(why: str) -> bool:
    """Whether the request is larger than the whole quota, so that waiting for others is pointless."""
    found = _QUOTA_FIGURES.search(why)
    if found is None:
        return False
    asked, limit = (dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair) for text in found.groups())
    try:
        return any(amount(text) > amount(limit[name]) for name, text in asked.items() if name in limit)
    except ValueError:
        return False


def events_trouble(events: Iterable[Json], part: str = "") -> StartFailure | None:
    """The failure that warnings about a pod, or about the object that makes it, report; None without any. ``part`` is
    the pod's container."""
    for event in events:
        reason = str(event.get("reason"))
        why = message_in(event)
        if reason == "FailedCreate":
            return not_made(why, part)
        if reason == "FailedMount" and failure_phrases.HOST_PATH_MISSING.found_in(why):
            remedy = "correct model.path and deploy.model_roots, or choose nodes that have it by deploy.node_selector"
            message = f"the node lacks it: {why}"
            return StartFailure(Failure(cause=FailureCause.MODEL_MISSING, message=message, remedy=remedy))
        if reason in {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"}:
            message = f"the pod cannot be prepared ({reason}): {why}"
            remedy = "see that its volumes exist"
            return StartFailure(Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy), passing=True)
    return None


def condition(status: Json, kind: str) -> Json:
    """A status's condition of this type; empty where there is none."""
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def is_ready_node(node: Json) -> bool:
    """Whether a node answers."""
    return condition(node.get("status") or {}, "Ready").get("status") == "True"


def _container(status: Json, group: str, name: str) -> Json:
    return next((c for c in status.get(group) or () if c.get("name") == name), {})


def message_in(found: Json) -> str:
    """The ``message`` of a condition, a container's state or an event on one line; empty where it has none."""
    return joined_line(str(found.get("message") or ""))


def _time(text: Any) -> float:
    return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else 0.0
