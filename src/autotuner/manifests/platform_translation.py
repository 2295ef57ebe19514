"""Translation of settings between platforms, with a note for each one that cannot be carried over."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from autotuner.manifests.container_settings import ContainerSettings
from autotuner.manifests.pod_settings import PlainPod
from autotuner.manifests.source_platform import Origin
from autotuner.manifests.text import quantity

POD_IN_COMPOSE: Mapping[str, str] = {
    **dict.fromkeys(
        ("cpu", "ephemeral_storage", "tolerations", "node_selector", "priority_class", "service_account",
         "annotations", "kueue_queue"),
        "Compose has no counterpart",
    ),
    "image_pull_secrets": "log in to the registry where Compose runs",
    "gpu_resource": "Compose reserves GPUs of NVIDIA only",
    "runtime_class": "a runtime class is known to its cluster only",
    "env_from": "give those variables by env_file",
    "pvc": "the model is expected under the same path of the machine",
    "cache_pvc": "downloads go into a volume of the project",
    "hub_token_secret": "HF_TOKEN is taken from the environment in which Compose is started",
}  # fmt: skip
"""Settings of a pod that a container of Compose does not get, and why or what happens instead."""

POD_IN_SERVICE: Mapping[str, str] = {
    "shm_size": "shared memory is the runtime's",
    **dict.fromkeys(("pvc", "model_roots"), "OME's model says where its files are"),
    **dict.fromkeys(("cache_pvc", "hub_token_secret"), "OME downloads models itself"),
}
"""The same of an InferenceService."""

POD_IN_RUNTIME: Mapping[str, str] = {
    **POD_IN_SERVICE,
    "kueue_queue": "label the InferenceService, not the runtime",
}
"""The same of a runtime that starts from another one."""

POD_IN_NEW_RUNTIME: Mapping[str, str] = {name: why for name, why in POD_IN_RUNTIME.items() if name != "shm_size"}
"""The same of a runtime made from scratch, which has shared memory of its own."""

CONTAINER_IN_POD: Mapping[str, str] = {
    "entrypoint": "OME replaces the image's entrypoint",
    "ipc": "a pod has shared memory of its own, of deploy.shm_size",
    "ulimits": "a pod inherits its node's limits",
    "network": "a pod has a network of its own",
    "devices": "a pod gets devices through a device plugin",
    "runtime": "name a runtime class of the cluster instead",
    "init": "a pod has no init process",
    "env_passthrough": "give those variables by reference: --env-secret",
    "gpu_driver": "a cluster's device plugin decides",
}
"""Settings of a container that a pod does not get, and why."""

CONTAINER_IN_DEPLOYMENT: Mapping[str, str] = {n: why for n, why in CONTAINER_IN_POD.items() if n != "entrypoint"}
"""The same of a Deployment, which can keep an image's entrypoint."""

CONTAINER_IN_SERVICE: Mapping[str, str] = {
    **CONTAINER_IN_POD,
    "shm_size": "shared memory is the runtime's",
    "volumes": "OME's model says where its files are; add other volumes to the runtime",
}
"""The same of an InferenceService, or of a runtime that starts from another one."""

CONTAINER_IN_NEW_RUNTIME: Mapping[str, str] = {n: why for n, why in CONTAINER_IN_SERVICE.items() if n != "shm_size"}
"""The same of a runtime made from scratch, which has shared memory of its own."""

CONTAINER_IN_COMPOSE: Mapping[str, str] = {
    "network": "Compose makes a network of its own, and publishes the port on 127.0.0.1",
    "gpu_driver": "GPUs are reserved through the driver nvidia",
}
"""Settings of a container that a service of Compose does not get."""


def as_pod(origin: Origin) -> PlainPod:
    """The pod of an origin: its own, or one like its container."""
    if origin.pod is not None:
        return PlainPod.of(origin.pod)
    if origin.container is None:
        return PlainPod()
    container = origin.container
    given: dict[str, Any] = {
        "shm_size": quantity(container.shm_size),
        "container_port": container.container_port,
        "image_pull_policy": {"always": "Always", "never": "Never", "missing": None}[container.pull],
        "security_context": _user_of(container),
    }
    if container.cpus:
        given["cpu_limit"] = f"{round(container.cpus * 1000)}m"
    if container.memory:
        given["memory"] = quantity(container.memory)
    return PlainPod(**given)


def _user_of(container: ContainerSettings) -> dict[str, int]:
    """User and group if they are numbers: a pod does not know names."""
    parts = (container.user or "").split(":")
    if not all(part.isdigit() for part in parts):
        return {}
    return dict(zip(("runAsUser", "runAsGroup"), map(int, parts), strict=False))


def notes(origin: Origin, of_pod: Mapping[str, str], of_container: Mapping[str, str]) -> list[str]:
    """One line for each reason for which settings of an origin are not carried over."""
    if origin.pod is not None:
        return _left_out(origin.pod, of_pod)
    if origin.container is None:
        return []
    reasons = {**of_container}
    if of_container is not CONTAINER_IN_COMPOSE and not _user_of(origin.container):
        reasons["user"] = "a pod needs a number in place of a user's name"
    return _left_out(origin.container, reasons)


def runtime_note(origin: Origin) -> list[str]:
    """What a form without the study's runtime lacks."""
    if origin.runtime is None:
        return []
    return [f"not carried over: what runtime {origin.runtime} (deploy.runtime) adds, such as sizes and tolerations"]


def _left_out(settings: BaseModel, reasons: Mapping[str, str]) -> list[str]:
    names: dict[str, list[str]] = {}
    for name, why in reasons.items():
        field = type(settings).model_fields.get(name)
        if field is not None and getattr(settings, name) != field.get_default(call_default_factory=True):
            names.setdefault(why, []).append(f"deploy.{name}")
    return [f"not carried over: {', '.join(found)}; {why}" for why, found in names.items()]
