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
    """Returns a Compose file with one service.

    Args:
        name: Name of the project and of the service.
        server: The server that the container starts.
        settings: Settings of the container; defaults for a server that ran in a pod.
        env: Environment variables; None for a value that Compose takes from its own environment.
        labels: Labels of the container.
        keeps_hub: Whether a named volume keeps downloads from the Hub.
        pod: Pod settings whose sizes and permissions apply to the container.
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
        **(_pod_service_fields(pod) if pod else {}),
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
    """Returns the variables that a container needs under a pod's security context."""
    return scratch_env() if pod and needs_scratch(*_contexts(pod)) else {}


def _contexts(pod: PlainPod) -> tuple[Json, Json]:
    return contexts(pod.security, pod.security_context, pod.container_security_context)


def _bind(volume: Volume) -> Json:
    bind: Json = {"type": "bind", "source": literal(volume.source), "target": literal(volume.target)}
    return {**bind, "read_only": True} if volume.read_only else bind


def _pod_service_fields(pod: PlainPod) -> Json:
    """Returns the fields for a pod's sizes and permissions. Requests have no counterpart in Compose."""
    context, inner = _contexts(pod)
    fields: Json = {"shm_size": int(amount(pod.shm_size))}
    if pod.image_pull_policy:
        fields["pull_policy"] = {"Always": "always", "IfNotPresent": "missing", "Never": "never"}[pod.image_pull_policy]
    if pod.memory:
        fields |= {"mem_limit": int(amount(pod.memory)), "memswap_limit": int(amount(pod.memory))}
    if pod.cpu_limit:
        fields["cpus"] = amount(pod.cpu_limit)
    user, group = (inner.get(name, context.get(name)) for name in ("runAsUser", "runAsGroup"))
    if user is not None:
        fields["user"] = str(user) if group is None else f"{user}:{group}"
    if groups := [*context.get("supplementalGroups", ()), *([context["fsGroup"]] if "fsGroup" in context else ())]:
        fields["group_add"] = [str(group) for group in groups]
    capabilities = inner.get("capabilities") or {}
    for kind, key in (("drop", "cap_drop"), ("add", "cap_add")):
        if capabilities.get(kind):
            fields[key] = list(capabilities[kind])
    if inner.get("allowPrivilegeEscalation") is False:
        fields["security_opt"] = ["no-new-privileges:true"]
    if inner.get("readOnlyRootFilesystem"):
        fields["read_only"] = True
    if needs_scratch(context, inner):
        fields["tmpfs"] = [f"{mount['mountPath']}:mode=1777" for _, mount in scratch()]
    return fields
