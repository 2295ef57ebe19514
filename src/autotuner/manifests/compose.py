"""Compose files with one server (github.com/compose-spec/compose-spec)."""

from collections.abc import Mapping
from typing import Any

from autotuner.manifests.container_settings import ContainerSettings, compose_fields
from autotuner.manifests.pod_settings import PlainPod
from autotuner.manifests.security import contexts, needs_scratch, scratch, scratch_env
from autotuner.manifests.server import HUB_CACHE, Server
from autotuner.manifests.text import amount, literal
from autotuner.manifests.volume import Volume

Json = dict[str, Any]

_LOOPBACK = "127.0.0.1"
_HUB_VOLUME = "hub-cache"


def compose_file(
    name: str,
    server: Server,
    settings: ContainerSettings,
    *,
    env: Mapping[str, str | None],
    labels: Mapping[str, str],
    keeps_hub: bool,
    pod: PlainPod | None = None,
) -> Json:
    """A file with one service.

    Args:
        name: Of the project and of the service.
        server: What the container starts.
        settings: The container's; defaults for a pod.
        env: Variables; None for one that comes from the environment in which Compose is started.
        labels: Of the container.
        keeps_hub: Whether downloads from the Hub go into a volume of their own.
        pod: The pod whose sizes and permissions the container gets.
    """
    volumes = [_bind(volume) for volume in server.volumes]
    if keeps_hub:
        volumes.append({"type": "volume", "source": _HUB_VOLUME, "target": HUB_CACHE})
    values = {n: None if v is None else literal(v) for n, v in env.items()}
    service: Json = {
        "image": server.image,
        **({"entrypoint": [literal(word) for word in server.command[:1]]} if server.command else {}),
        "command": [literal(word) for word in (*server.command[1:], *server.args)],
        "init": settings.init,
        "ports": [f"{_LOOPBACK}:{server.port}:{server.port}"],
        **({"environment": values} if values else {}),
        **({"volumes": volumes} if volumes else {}),
        **compose_fields(settings),
        **(_of_pod(pod) if pod else {}),
        "healthcheck": {"disable": True},
        "labels": dict(labels),
        "restart": "unless-stopped",
    }
    if server.gpus:
        device = {"driver": "nvidia", "count": server.gpus, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    file: Json = {"name": name, "services": {name: service}}
    return {**file, "volumes": {_HUB_VOLUME: {}}} if keeps_hub else file


def container_env(pod: PlainPod | None) -> dict[str, str]:
    """Variables that a container needs under a pod's security context."""
    return scratch_env() if pod and needs_scratch(*_contexts(pod)) else {}


def _contexts(pod: PlainPod) -> tuple[Json, Json]:
    return contexts(pod.security, pod.security_context, pod.container_security_context)


def _bind(volume: Volume) -> Json:
    found: Json = {"type": "bind", "source": literal(volume.source), "target": literal(volume.target)}
    return {**found, "read_only": True} if volume.read_only else found


def _of_pod(pod: PlainPod) -> Json:
    """Sizes and permissions of a pod. Requests have no counterpart: Compose cannot reserve."""
    context, inner = _contexts(pod)
    found: Json = {"shm_size": int(amount(pod.shm_size))}
    if pod.image_pull_policy:
        found["pull_policy"] = {"Always": "always", "IfNotPresent": "missing", "Never": "never"}[pod.image_pull_policy]
    if pod.memory:
        found |= {"mem_limit": int(amount(pod.memory)), "memswap_limit": int(amount(pod.memory))}
    if pod.cpu_limit:
        found["cpus"] = amount(pod.cpu_limit)
    user, group = (inner.get(name, context.get(name)) for name in ("runAsUser", "runAsGroup"))
    if user is not None:
        found["user"] = str(user) if group is None else f"{user}:{group}"
    if groups := [*context.get("supplementalGroups", ()), *([context["fsGroup"]] if "fsGroup" in context else ())]:
        found["group_add"] = [str(one) for one in groups]
    capabilities = inner.get("capabilities") or {}
    for kind, key in (("drop", "cap_drop"), ("add", "cap_add")):
        if capabilities.get(kind):
            found[key] = list(capabilities[kind])
    if inner.get("allowPrivilegeEscalation") is False:
        found["security_opt"] = ["no-new-privileges:true"]
    if inner.get("readOnlyRootFilesystem"):
        found["read_only"] = True
    if needs_scratch(context, inner):
        found["tmpfs"] = [f"{mount['mountPath']}:mode=1777" for _, mount in scratch()]
    return found
