"""Capacity of a cluster's nodes: for one server (the largest node), and for all trials together (every node).

Trials lease places on nodes, not GPU devices: Kubernetes assigns the devices. The names of the places are the same for
every run on a cluster, so runs that share a store never start more servers than the cluster can hold.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods.status import is_ready_node
from autotuner.deployers.kubernetes.refusals import not_authenticated
from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.manifests.labels import MANAGED_BY
from autotuner.manifests.pod import gpu_toleration, resources
from autotuner.manifests.pod_settings import ServerPod
from autotuner.manifests.text import amount
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Gpu, Hardware

_GIB = 2**30
_PRODUCT = "nvidia.com/gpu.product"
_MEMORY = "nvidia.com/gpu.memory"
"""Labels that NVIDIA's feature discovery puts on nodes; memory in MiB."""
_KEEPS_AWAY = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True)
class Nodes:
    """The nodes that a server may run on, and what other users run on them."""

    usable: tuple[Json, ...] = ()
    left_out: tuple[str, ...] = ()
    """Nodes that are not used, each with its reason."""
    foreign: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    """By node, (pod, GPUs) of pods that autotuner did not create."""
    cluster: str = ""
    """Identifies the cluster."""
    all_nodes: tuple[Json, ...] = ()
    """All nodes, those that a server may not run on included."""


async def list_nodes(cluster: Cluster, settings: ServerSettings, *, gpus: bool) -> Nodes:
    """Lists the nodes, with other users' pods if those may be listed. Raises ``TrialFailedError``."""
    try:
        found = (await cluster.get("/api/v1/nodes"))["items"]
    except RefusedError as error:
        if error.code == httpx.codes.UNAUTHORIZED:
            raise TrialFailedError(not_authenticated(error.message)) from error
        message = f"cannot list nodes: {error.message}"
        remedy = "give the tuner's account the verb list on nodes, or set deploy.gpus"
        raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=remedy) from error
    why = {node["metadata"]["name"]: why_not(node, settings) for node in found}
    usable = sorted((n for n in found if not why[n["metadata"]["name"]]), key=lambda n: str(n["metadata"]["name"]))
    left_out = tuple(f"{name}: {text}" for name, text in why.items() if text)
    foreign = await _foreign(cluster, settings) if gpus else {}
    uid = await _cluster_uid(cluster) if gpus else ""
    return Nodes(usable=tuple(usable), all_nodes=tuple(found), left_out=left_out, foreign=foreign, cluster=uid)


async def list_nodes_if_allowed(cluster: Cluster, settings: ServerSettings, *, gpus: bool) -> Nodes:
    """As :func:`list_nodes`, but no nodes if they may not be listed and the study gives the number of GPUs."""
    try:
        return await list_nodes(cluster, settings, gpus=gpus)
    except TrialFailedError as error:
        if settings.gpus is None or error.failure.cause is not FailureCause.ENVIRONMENT:
            raise
        return Nodes(cluster=await _cluster_uid(cluster) if gpus else "")


async def _foreign(cluster: Cluster, settings: ServerSettings) -> dict[str, list[tuple[str, int]]]:
    fields = "status.phase!=Succeeded,status.phase!=Failed"
    pods = await cluster.visible("/api/v1/pods", fieldSelector=fields)
    found: dict[str, list[tuple[str, int]]] = {}
    for pod in pods or ():
        node = pod["spec"].get("nodeName")
        metadata = pod["metadata"]
        used = sum(int(amount(_limits(c).get(settings.gpu_resource, 0))) for c in pod["spec"]["containers"])
        if node and used and (metadata.get("labels") or {}).get(MANAGED_BY) != "autotuner":
            found.setdefault(node, []).append((f"pod {metadata['namespace']}/{metadata['name']}", used))
    return found


def _limits(container: Json) -> Json:
    limits: Json = (container.get("resources") or {}).get("limits") or {}
    return limits


async def _cluster_uid(cluster: Cluster) -> str:
    """Returns the uid of the namespace kube-system, which lives as long as the cluster.

    Falls back to the uid of the study's namespace, then to a digest of its name, as far as reading is allowed.
    """
    for namespace in ("kube-system", cluster.namespace):
        try:
            return str((await cluster.get(f"/api/v1/namespaces/{namespace}"))["metadata"]["uid"])
        except RefusedError as error:
            if error.code != httpx.codes.FORBIDDEN:
                raise
    return hashlib.sha256(cluster.namespace.encode()).hexdigest()[:16]


def why_not(node: Json, settings: ServerPod, *, gpus: bool = True) -> str:
    """Returns why a pod of any size cannot run on a node; empty if it can. ``gpus``: it requests GPUs, and so
    tolerates nodes that are reserved for them."""
    spec = node.get("spec") or {}
    labels = node["metadata"].get("labels") or {}
    if spec.get("unschedulable"):
        return "cordoned"
    if not is_ready_node(node):
        return "not ready"
    missing = [f"{k}={v}" for k, v in settings.node_selector.items() if labels.get(k) != v]
    if missing:
        return f"no label {missing[0]}"
    own = (gpu_toleration(settings.gpu_resource),) if gpus else ()
    tolerations = (*settings.tolerations, *own)
    for taint in spec.get("taints") or ():
        if taint.get("effect") in _KEEPS_AWAY and not any(_tolerates(t, taint) for t in tolerations):
            return f"taint {taint['key']}:{taint['effect']} is not tolerated"
    return ""


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in {None, "", taint.get("effect")}:
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in {None, "", taint["key"]}
    return toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or "")


def allocatable(node: Json, resource: str) -> float:
    """Returns how much of a resource pods can have on a node."""
    return amount(((node.get("status") or {}).get("allocatable") or {}).get(resource, 0))


def hardware(nodes: Nodes, settings: ServerSettings) -> Hardware:
    """Returns the most that one server can have: the largest amount of each over the nodes, capped by the settings."""
    usable = nodes.usable
    memory = max((allocatable(n, "memory") for n in usable), default=0.0)
    memory = min(memory, amount(settings.memory)) if settings.memory and memory else memory
    counted = [int(allocatable(n, settings.gpu_resource)) for n in usable]
    with_gpus = [n["metadata"].get("labels") or {} for n, count in zip(usable, counted, strict=True) if count]
    names = {label.get(_PRODUCT, "").replace("-", " ") for label in with_gpus}
    no_gpus, no_gpus_remedy = _no_gpus(nodes, settings)
    return Hardware(
        cpus=max(1, int(max((allocatable(n, "cpu") for n in usable), default=1.0))),
        memory_gb=round(memory / _GIB, 2),
        gpus=settings.gpus or max(counted, default=0),
        gpu_memory_gb=min((_memory_gb(label) for label in with_gpus), default=0.0),
        gpu_name=names.pop() if len(names) == 1 else "",
        no_gpus=no_gpus,
        no_gpus_remedy=no_gpus_remedy,
    )


def _no_gpus(nodes: Nodes, settings: ServerSettings) -> tuple[str, str]:
    """Returns (reason, remedy) if no node offers a GPU; empty if one does, or if the study gives the number of GPUs."""
    if settings.gpus or any(allocatable(n, settings.gpu_resource) for n in nodes.usable):
        return "", ""
    if nodes.usable:
        reason = f"no node offers any {settings.gpu_resource}"
        return reason, "correct deploy.gpu_resource, or install the device plugin"
    return never_fits(nodes, {}), "correct deploy.node_selector or deploy.tolerations"


def _memory_gb(labels: Mapping[str, str]) -> float:
    text = labels.get(_MEMORY, "")
    return round(int(text) / 1024, 2) if text.isdigit() else 0.0


def places(nodes: Nodes, settings: ServerSettings) -> list[Gpu]:
    """Returns one place for each GPU of each node.

    Places held by other users' pods name those as users, unless a queue decides who gets the GPUs next.
    """
    if settings.gpus:
        return [Gpu(index=i, uuid=f"kube:{nodes.cluster}:{i}") for i in range(settings.gpus)]
    found: list[Gpu] = []
    for node in nodes.usable:
        name = node["metadata"]["name"]
        labels = node["metadata"].get("labels") or {}
        foreign = () if settings.kueue_queue else nodes.foreign.get(name, ())
        users = [pod for pod, count in foreign for _ in range(count)]
        for number in range(int(allocatable(node, settings.gpu_resource))):
            found.append(
                Gpu(
                    index=len(found),
                    uuid=f"kube:{nodes.cluster}:{name}:{number}",
                    name=labels.get(_PRODUCT, "").replace("-", " "),
                    memory_gb=_memory_gb(labels),
                    users=tuple(users[number : number + 1]),
                )
            )
    return found


def never_fits(nodes: Nodes, requests: Mapping[str, str]) -> str:
    """Returns why no node, even if idle, could hold a server with these requests; empty if one could."""
    if not nodes.usable:
        return f"no node can be used ({'; '.join(nodes.left_out) or 'the cluster has none'})"
    if any(_holds(n, requests) for n in nodes.usable):
        return ""
    most = {name: max(allocatable(n, name) for n in nodes.usable) for name in requests}
    lacking = [
        f"{name} {text} requested, the largest node has {_short(most[name])}"
        for name, text in requests.items()
        if most[name] < amount(text)
    ]
    return "no node is large enough: " + ("; ".join(lacking) or "none has room for all requests together")


def _holds(node: Json, *requests: Mapping[str, str]) -> bool:
    """Returns whether an idle node could hold pods with these requests at the same time."""
    names = {name for one in requests for name in one}
    return all(allocatable(node, n) >= sum(amount(one.get(n, 0)) for one in requests) for n in names)


def never_beside(nodes: Nodes, server: Mapping[str, str], load: ServerPod) -> str:
    """Returns why no nodes could hold a load generator beside a server with these requests; empty if they could, or
    if none can hold the server itself."""
    requests = resources(load, 0)["requests"]
    why = {str(n["metadata"]["name"]): why_not(n, load, gpus=False) for n in nodes.all_nodes}
    usable = tuple(n for n in nodes.all_nodes if not why[str(n["metadata"]["name"])])
    left_out = tuple(f"{name}: {text}" for name, text in why.items() if text)
    if reason := never_fits(Nodes(usable=usable, left_out=left_out), requests):
        return reason
    servers = [n for n in nodes.usable if _holds(n, server)]
    for one in servers:
        for other in usable:
            apart = one["metadata"]["name"] != other["metadata"]["name"]
            if _holds(other, requests) if apart else _holds(one, server, requests):
                return ""
    names = ", ".join(str(n["metadata"]["name"]) for n in servers)
    return f"{names} has no room for it beside the server, and no other node can run it" if servers else ""


def _short(number: float) -> str:
    return f"{number / _GIB:.1f}Gi" if number >= _GIB else f"{number:g}"
