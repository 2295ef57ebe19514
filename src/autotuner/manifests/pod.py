"""A server's pod: its container, volumes and environment, from the settings of a study."""

from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.manifests.pod_settings import PlainPod, SecretKey, ServerPod
from autotuner.manifests.security import contexts, needs_scratch, scratch, scratch_env
from autotuner.manifests.server import HUB_CACHE, Server
from autotuner.manifests.text import amount, literal

Json = dict[str, Any]
Mounted = tuple[Json, Json]
"""A volume of the pod, and its mount in the container."""

SERVER = "server"
"""Name of the server's container."""
NO_SIDECAR_LABELS = {"sidecar.istio.io/inject": "false", "istio.io/dataplane-mode": "none"}
NO_SIDECAR_ANNOTATIONS = {
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",
    "consul.hashicorp.com/connect-inject": "false",
}
"""Keep a service mesh out of the measured path: its proxy adds its own latency to every request, and a Job whose
sidecar keeps running never completes. A study's own label or annotation takes precedence."""
GPU_NODES = "nvidia.com/gpu.present"
"""Label that NVIDIA's feature discovery puts on nodes with GPUs."""


def server_pod(server: Server, settings: PlainPod, *, probe_period_s: int, grace_s: int) -> Json:
    """Specification of a server's pod: the same for a trial's Job and for an exported Deployment.

    Args:
        server: What the container starts.
        settings: What the study says about its pods.
        probe_period_s: Seconds between two readiness probes: a trial waits for the first success, a Service does not.
        grace_s: Seconds between SIGTERM and SIGKILL: a trial has no requests left to finish.
    """
    volumes = _volumes(server, settings)
    own = [gpu_toleration(settings.gpu_resource)] if server.gpus else []
    return {
        "enableServiceLinks": False,  # a Service called vllm would set VLLM_PORT, which vLLM reads
        "automountServiceAccountToken": settings.service_account is not None,
        "terminationGracePeriodSeconds": grace_s,
        "containers": [_container(server, settings, [mount for _, mount in volumes], probe_period_s)],
        "volumes": [volume for volume, _ in volumes],
        **pod_fields(settings, tolerations=[*settings.tolerations, *own]),
    }


def _container(server: Server, settings: PlainPod, mounts: Sequence[Json], probe_period_s: int) -> Json:
    home = scratch_env() if wants_scratch(settings) else {}
    env = env_list({**home, **server.own_env(), **server.env}, server.secrets)
    sizes = set_only(resources(settings, server.gpus))
    timing = {"periodSeconds": probe_period_s, "timeoutSeconds": 5, "failureThreshold": 3}
    return {
        "name": SERVER,
        "image": server.image,
        **({"command": [literal(word) for word in server.command]} if server.command else {}),
        "args": [literal(word) for word in server.args],
        **({"env": env} if env else {}),
        "ports": [{"name": "http", "containerPort": server.port}],
        **({"resources": sizes} if sizes else {}),
        "readinessProbe": probe(server.ready_path, server.port, **timing),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*mounts],
        **container_fields(settings),
    }


def _volumes(server: Server, settings: PlainPod) -> list[Mounted]:
    found = [shared_memory("shm", settings.shm_size), *scratch_of(settings)]
    if server.claim:
        mount: Json = {"name": "model", "mountPath": server.claim.mount_path, "readOnly": True}
        if server.claim.sub_path:
            mount["subPath"] = server.claim.sub_path
        claim = {"claimName": server.claim.claim, "readOnly": True}
        found.append(({"name": "model", "persistentVolumeClaim": claim}, mount))
    for number, volume in enumerate(server.volumes):
        name = "model" if number == 0 and not server.claim else f"files-{number}"
        kind = {"type": volume.kind} if volume.kind else {}
        on_host = {"name": name, "hostPath": {"path": volume.source, **kind}}
        shown = {"name": name, "mountPath": volume.target, **({"readOnly": True} if volume.read_only else {})}
        found.append((on_host, shown))
    if server.uses_hub:
        kept = {"persistentVolumeClaim": {"claimName": settings.cache_pvc}} if settings.cache_pvc else {"emptyDir": {}}
        found.append(({"name": "hub-cache", **kept}, {"name": "hub-cache", "mountPath": HUB_CACHE}))
    return found


def shared_memory(name: str, size: str | None) -> Mounted:
    """``/dev/shm`` of a size; None: all memory that the pod may use."""
    medium = {"medium": "Memory", **({"sizeLimit": size} if size else {})}
    return {"name": name, "emptyDir": medium}, {"name": name, "mountPath": "/dev/shm"}  # noqa: S108 - of the container


def probe(path: str, port: int, **timing: int) -> Json:
    """A readiness probe of the engine's path."""
    return {"httpGet": {"path": path, "port": port}, **timing}


def env_list(values: Mapping[str, str], secrets: Mapping[str, SecretKey] | None = None) -> list[Json]:
    """A container's ``env``; a secret's reference takes the place of a value."""
    by_reference = secrets or {}
    env: list[Json] = [{"name": n, "value": literal(v)} for n, v in values.items() if n not in by_reference]
    return env + [{"name": n, "valueFrom": key.reference} for n, key in by_reference.items()]


def gpu_toleration(resource: str) -> Json:
    """The toleration of GPU nodes, which are often tainted for pods that request no GPU."""
    return {"key": resource, "operator": "Exists"}


def pod_metadata(pod: ServerPod, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Json:
    """Labels and annotations of a pod; these override the study's."""
    merged = {**pod.annotations, **annotations}
    return {"labels": {**pod.labels, **labels}, **({"annotations": merged} if merged else {})}


def measured_metadata(pod: ServerPod, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Json:
    """As :func:`pod_metadata`, plus the entries that keep a mesh's proxy out of a measured pod unless the study wants
    one."""
    # Istio reads its key from both, the label first: what a study sets in one place must not be undone in the other.
    no_labels = {key: pod.annotations.get(key, value) for key, value in NO_SIDECAR_LABELS.items()}
    no_annotations = {key: pod.labels.get(key, value) for key, value in NO_SIDECAR_ANNOTATIONS.items()}
    own = pod_metadata(pod, labels, annotations)
    return {
        "labels": {**no_labels, **own["labels"]},
        "annotations": {**no_annotations, **own.get("annotations", {})},
    }


def pod_fields(pod: ServerPod, *, tolerations: Sequence[Mapping[str, Any]] | None = None) -> Json:
    """The fields of a server's pod; only those that are set. ``tolerations`` replace the study's."""
    context, _ = _contexts(pod)
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
    _, context = _contexts(pod)
    return set_only(
        {
            "imagePullPolicy": pod.image_pull_policy,
            "envFrom": [one.source for one in pod.env_from],
            "securityContext": context,
        }
    )


def _contexts(pod: ServerPod) -> tuple[Json, Json]:
    return contexts(pod.security, pod.security_context, pod.container_security_context)


def wants_scratch(pod: ServerPod) -> bool:
    """Whether the server needs writable folders of its own."""
    return needs_scratch(*_contexts(pod))


def scratch_of(pod: ServerPod) -> list[Mounted]:
    """The writable folders that the security context makes necessary."""
    return scratch() if wants_scratch(pod) else []


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


def merged_resources(base: Mapping[str, Any], pod: ServerPod, gpus: int) -> Json:
    """Requests and limits of a runtime with the study's over them, as OME merges them.

    A limit is raised to its request: Kubernetes would refuse the pod, and OME would not report it.
    """
    found: Json = {**base}
    for part, amounts in resources(pod, gpus).items():
        if merged := {**(base.get(part) or {}), **amounts}:
            found[part] = merged
    limits = found.get("limits") or {}
    for name, text in (found.get("requests") or {}).items():
        if name in limits and amount(text) > amount(limits[name]):
            limits[name] = text
    return found


def set_only(fields: Mapping[str, Any]) -> Json:
    """The fields without the empty ones."""
    return {name: value for name, value in fields.items() if value}
