"""Fields of a pod and of its container that follow from a study's settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.manifests.pod_settings import ServerPod
from autotuner.manifests.security import contexts, needs_scratch

Json = dict[str, Any]

NO_SIDECAR_LABELS = {"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none"}
NO_SIDECAR_ANNOTATIONS = {
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",
    "consul.hashicorp.com/connect-inject": "false",
}
"""Keep a service mesh out of the measured path: its proxy adds its own latency to every request, and a Job whose
sidecar runs on never completes. A study's own label or annotation wins."""
GPU_NODES = "nvidia.com/gpu.present"
"""Label that NVIDIA's feature discovery puts on nodes with GPUs."""


def gpu_toleration(resource: str) -> Json:
    """Nodes with GPUs are often kept for pods that ask for some."""
    return {"key": resource, "operator": "Exists"}


def pod_fields(pod: ServerPod, *, tolerations: Sequence[Mapping[str, Any]] | None = None) -> Json:
    """The fields of a server's pod; only those that are set. ``tolerations`` replace the study's."""
    context, _ = contexts(pod.security, pod.security_context, pod.container_security_context)
    return set_only(
        {
            "nodeSelector": dict(pod.node_selector),
            "tolerations": [*map(dict, pod.tolerations if tolerations is None else tolerations)],
            "imagePullSecrets": [{"name": name} for name in pod.image_pull_secrets],
            "serviceAccountName": pod.service_account,
            "priorityClassName": pod.priority_class,
            "runtimeClassName": pod.runtime_class,
            "securityContext": context,
        }
    )


def container_fields(pod: ServerPod) -> Json:
    """The fields of the server's container; only those that are set."""
    _, context = contexts(pod.security, pod.security_context, pod.container_security_context)
    return set_only(
        {
            "imagePullPolicy": pod.image_pull_policy,
            "envFrom": [one.source for one in pod.env_from],
            "securityContext": context,
        }
    )


def wants_scratch(pod: ServerPod) -> bool:
    """Whether the server needs writable folders of its own."""
    return needs_scratch(*contexts(pod.security, pod.security_context, pod.container_security_context))


def resources(pod: ServerPod, gpus: int) -> dict[str, dict[str, str]]:
    """Requests and limits. GPUs and memory are both; CPUs are only requested unless a limit is named."""
    requests = dict[str, str]()
    limits = dict[str, str]()
    if pod.cpu:
        requests["cpu"] = pod.cpu
    if pod.cpu_limit:
        limits["cpu"] = pod.cpu_limit
    if pod.memory:
        requests["memory"] = limits["memory"] = pod.memory
    if pod.ephemeral_storage:
        requests["ephemeral-storage"] = limits["ephemeral-storage"] = pod.ephemeral_storage
    if gpus:
        requests[pod.gpu_resource] = limits[pod.gpu_resource] = str(gpus)
    return {"requests": requests, "limits": limits}


def set_only(fields: Mapping[str, Any]) -> Json:
    """Without the fields that are empty."""
    return {name: value for name, value in fields.items() if value}
