"""Checks of whether servers and their load generators have room: nodes, volumes, quotas and queues."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import httpx

from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods.status import condition
from autotuner.deployers.kubernetes.settings import PodSettings, ServerSettings
from autotuner.manifests.labels import QUEUE
from autotuner.manifests.pod import resources
from autotuner.manifests.text import amount
from autotuner.study.check import Check
from autotuner.study.failure import TrialFailedError

_KUEUE_VERSIONS = ("v1beta2", "v1beta1")
_NO_GPUS = (
    "install the GPU vendor's device plugin (Minikube with the Docker driver needs --gpus), "
    "or correct deploy.gpu_resource"
)
Needed = Mapping[str, float]
"""The largest request of any server, by quota key (``requests.cpu``)."""


async def nodes(
    cluster: Cluster,
    demands: Sequence[Mapping[str, str]],
    settings: ServerSettings,
    unfit: Callable[[Json], str] = lambda _: "",
) -> list[Check]:
    """Checks that some node could run each of the servers with these requests; without requests, reports what the nodes
    have. ``unfit`` returns why a node is unsuitable for reasons other than the settings."""
    try:
        found = await kubernetes_nodes.list_nodes(cluster, settings, gpus=False)
    except TrialFailedError as error:
        make = Check.warn if settings.gpus else Check.fail
        return [make("nodes", error.failure.message, remedy=error.failure.remedy)]
    why = {str(node["metadata"]["name"]): unfit(node) for node in found.usable}
    left_out = (*found.left_out, *(f"{name}: {text}" for name, text in why.items() if text))
    usable = tuple(node for node in found.usable if not why[str(node["metadata"]["name"])])
    found = replace(found, usable=usable, left_out=left_out)
    return [room(found, demands, settings), *load_room(found, demands, settings)]


def load_room(
    nodes: kubernetes_nodes.Nodes, demands: Sequence[Mapping[str, str]], settings: ServerSettings
) -> list[Check]:
    """Checks that the nodes could run a load generator beside each of the servers with these requests."""
    if settings.load != "job" or not settings.loadgen_image:
        return []
    load = settings.load_pod()
    make = Check.warn if settings.gpus else Check.fail
    remedy = "correct deploy.loadgen_tolerations or loadgen_node_selector, or lower loadgen_cpu and loadgen_memory"
    for demand in demands or [{}]:
        if why := kubernetes_nodes.never_beside(nodes, demand, load):
            return [make("load generator", f"can never run: {why}", remedy=remedy)]
    return []


def room(nodes: kubernetes_nodes.Nodes, demands: Sequence[Mapping[str, str]], settings: ServerSettings) -> Check:
    """Checks the room on these nodes; see :func:`nodes`."""
    resource = settings.gpu_resource
    make = Check.warn if settings.gpus else Check.fail
    gpus = sum(int(kubernetes_nodes.allocatable(n, resource)) for n in nodes.usable)
    for demand in sorted(demands or [{}], key=lambda d: amount(d.get(resource, 0)), reverse=True):
        if why := kubernetes_nodes.never_fits(nodes, demand):
            if nodes.usable and not gpus and resource in demand:
                return make("nodes", f"no node offers any {resource}: {why}", remedy=_NO_GPUS)
            remedy = "lower deploy.cpu, deploy.memory or the parallelism"
            if not nodes.usable:
                remedy = "correct deploy.node_selector or deploy.tolerations, or check the nodes (kubectl get nodes)"
            return make("nodes", why, remedy=remedy)
    left_out = f"; left out: {'; '.join(nodes.left_out)}" if nodes.left_out else ""
    if not gpus and not demands:
        return Check.warn("nodes", f"{len(nodes.usable)} usable, none offers any {resource}{left_out}", remedy=_NO_GPUS)
    return Check.ok("nodes", f"{len(nodes.usable)} usable with {gpus} GPUs{left_out}")


async def claim(cluster: Cluster, name: str) -> Check:
    """Checks that a PersistentVolumeClaim can be used."""
    try:
        found = await cluster.find(cluster.path("persistentvolumeclaims", name))
    except RefusedError as error:
        return Check.warn(
            "volume", f"{name} cannot be read: {error.message}", remedy="allow get persistentvolumeclaims"
        )
    if found is None:
        return Check.fail(
            "volume", f"claim {name} does not exist in {cluster.namespace}", remedy="correct its name, or create it"
        )
    phase = str((found.get("status") or {}).get("phase"))
    if phase == "Bound":
        return Check.ok("volume", f"claim {name}")
    remedy = "some storage classes bind with the first pod; otherwise see kubectl describe pvc"
    make = Check.fail if phase == "Lost" else Check.warn
    return make("volume", f"claim {name} is {phase}", remedy=remedy)


def most(resources: Iterable[Mapping[str, Mapping[str, str]]]) -> Needed:
    """Returns the largest of each request and limit."""
    needed: dict[str, float] = {}
    for one in resources:
        for kind in ("requests", "limits"):
            for name, text in one[kind].items():
                key = f"{kind}.{name}"
                needed[key] = max(needed.get(key, 0.0), amount(text))
    return needed


def with_load(server: Needed, settings: PodSettings) -> Needed:
    """Returns what a server and its load generator request together: a quota must have room for both."""
    if settings.load != "job" or not server:
        return server
    total = dict(server)
    for key, text in most([resources(settings.load_pod(), 0)]).items():
        total[key] = total.get(key, 0.0) + text
    return total | {"pods": 2.0, "count/pods": 2.0, "count/jobs.batch": 1.0 + ("count/jobs.batch" in server)}


async def quotas(cluster: Cluster, needed: Needed) -> list[Check]:
    """Returns checks for quotas of the namespace that are too small, or used up at the moment."""
    found = await cluster.visible(cluster.path("resourcequotas"))
    return [check for quota in found or () for check in _quota(quota, needed)]


def _quota(quota: Json, needed: Needed) -> list[Check]:
    status = quota.get("status") or {}
    name = quota["metadata"]["name"]
    spec = quota.get("spec") or {}
    if spec.get("scopes") or spec.get("scopeSelector"):
        return []  # it may not apply to these pods; the dry run shows it
    found = []
    for key, hard in (status.get("hard") or {}).items():
        requested = needed.get(key, needed.get(f"requests.{key}", 0.0))
        used = amount((status.get("used") or {}).get(key, 0))
        remedy = "raise the quota, or lower the requests of server and load generator"
        if requested > amount(hard):
            found.append(
                Check.fail("quota", f"{name}: {key} {requested:g} requested, the quota is {hard}", remedy=remedy)
            )
        elif requested and requested > amount(hard) - used:
            found.append(
                Check.warn("quota", f"{name}: {used:g} of {key} {hard} in use", remedy="wait, or raise the quota")
            )
    return found


async def queue(cluster: Cluster, name: str) -> Check:
    """Checks that the LocalQueue exists and accepts workloads."""
    try:
        found = None
        for version in _KUEUE_VERSIONS:
            found = found or await cluster.find(cluster.path("localqueues", name, group=f"kueue.x-k8s.io/{version}"))
    except RefusedError as error:
        if error.code == httpx.codes.FORBIDDEN:
            return Check.warn("queue", f"{name} cannot be read", remedy="allow get localqueues (kueue.x-k8s.io)")
        raise
    if found is None:
        remedy = "install Kueue and create the LocalQueue, or remove deploy.kueue_queue"
        return Check.fail("queue", f"no LocalQueue {name} in {cluster.namespace} ({QUEUE})", remedy=remedy)
    active = condition(found.get("status") or {}, "Active")
    if active.get("status") == "False":
        why = f"LocalQueue {name} is not accepting workloads: {active.get('message')}"
        return Check.fail("queue", why, remedy="see kubectl describe localqueue")
    return Check.ok("queue", name)
