"""Preflight checks for the Kubernetes deployer. Read-only; each check carries a remedy."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import anyio
import httpx

from autotuner.deployers.kubernetes import admission, model_location, trial_objects
from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.admission import Asked
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods.status import condition
from autotuner.deployers.kubernetes.refusals import not_authenticated
from autotuner.deployers.kubernetes.settings import KubernetesSettings, PodSettings, ServerSettings
from autotuner.deployers.kubernetes.trial_objects import LOADGEN, Load, ServerJob
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.labels import QUEUE
from autotuner.manifests.pod import SERVER, resources
from autotuner.manifests.text import amount
from autotuner.study.check import Check, CheckStatus
from autotuner.study.failure import Failure, TrialFailedError
from autotuner.study.launch import Labels, LaunchPlan

_LEAST = (1, 27)
"""The first version with strict validation of fields."""
_SERVER = "API server"
_LABELS = Labels(study="preflight", trial=0, owner="preflight")
_APART = frozenset({"nodes", "quota", "volume", "queue", "load generator", "environment"})
"""Checks whose failures say nothing about whether objects are admitted: neither hides the other."""
_KUEUE_VERSIONS = ("v1beta2", "v1beta1")
_CANNOT = re.compile(r'cannot (\w+) resource "([^"]+)"(?: in API group "([^"]*)")?')
_ALLOW = "allow them, to have arguments read from the running process and lost nodes told from slow servers"
_NO_GPUS = (
    "install the device plugin of the GPUs' maker (on Minikube, its Docker driver shows none without --gpus), "
    "or correct deploy.gpu_resource"
)
Needed = Mapping[str, float]
"""The most that one server asks for, by a quota's key (``requests.cpu``)."""


@dataclass(frozen=True)
class Right:
    """A verb on a resource, and what it is for; ``needed`` or only recommended."""

    verb: str
    resource: str
    group: str = ""
    needed: bool = True
    cluster_wide: bool = False
    namespace: str = ""
    """A namespace other than the servers'."""
    why: str = ""
    """What it is for, where that is not obvious."""

    @property
    def text(self) -> str:
        """As it is written in a role."""
        group = f" ({self.group})" if self.group else ""
        purpose = f" ({self.why})" if self.why else ""
        return f"{self.verb} {self.resource}{group}{purpose}" + (f" in {self.namespace}" if self.namespace else "")


def pod_rights(settings: PodSettings) -> list[Right]:
    """What every deployer with servers in pods needs."""
    rights = [Right(verb, "pods") for verb in ("get", "list", "watch")]
    rights += [Right("get", "pods/log"), Right("list", "events"), Right("watch", "events")]
    if settings.load == "job":
        rights += [Right(verb, "jobs", "batch") for verb in ("create", "get", "delete")]
        rights += [Right("create", "secrets"), Right("delete", "secrets")]
    tunnel = settings.load == "port-forward"
    rights += [Right(verb, "pods/portforward", needed=tunnel) for verb in ("get", "create")]
    rights += [Right(verb, "pods/exec", needed=False) for verb in ("get", "create")]
    rights += [Right("create", "pods", needed=False, why="dry runs"), Right("list", "limitranges", needed=False)]
    return rights


def needed_rights(settings: KubernetesSettings) -> list[Right]:
    """What the deployer needs, and what is recommended."""
    own = [Right(verb, "jobs", "batch") for verb in ("create", "get", "list", "delete")]
    own.append(Right("patch", "jobs", "batch", needed=False, why="heartbeat"))
    nodes = [
        Right("list", "nodes", needed=settings.gpus is None, cluster_wide=True),
        Right("get", "nodes", needed=False, cluster_wide=True),
    ]
    return list(dict.fromkeys([*own, *pod_rights(settings), *nodes]))


def unreachable(failure: Failure) -> Check:
    """The only check that is possible without a cluster."""
    return Check.fail("kubernetes", failure.message, remedy=failure.remedy)


async def checks(cluster: Cluster, plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[Check]:
    """All checks. Raises ``TrialFailedError`` (``deployer_lost``) when the API server does not answer."""
    reached = await version(cluster)
    if denied(reached):
        return [reached]
    found = [reached, await namespace(cluster)]
    allowed = await rights(cluster, needed_rights(settings))
    found += [*allowed, *_images(plans, settings), *_models(plans, settings)]
    asked = [ServerJob(plan, settings, "none", "preflight", _LABELS).resources() for plan in plans]
    found += await nodes(cluster, [one["requests"] for one in asked], settings)
    for name in dict.fromkeys(_claims(plans, settings)):
        found.append(await claim(cluster, name))
    found += await quotas(cluster, with_load(most(asked), settings))
    if settings.kueue_queue:
        found.append(await queue(cluster, settings.kueue_queue))
    if not stops_admission(found):
        found += without_quotas(found, await _admission(cluster, plans[:1], settings))
    return list(dict.fromkeys(found))


def stops_admission(found: Iterable[Check]) -> bool:
    """Whether a dry run could only repeat what is known to be wrong."""
    return any(check.status is CheckStatus.FAIL and check.name not in _APART for check in found)


def without_quotas(found: Sequence[Check], more: Iterable[Check]) -> list[Check]:
    """What a dry run adds; that a quota has no room is reported by name already."""
    known = any(check.name == "quota" and check.status is not CheckStatus.OK for check in found)
    return [check for check in more if not (known and "exceeded quota" in check.detail)]


async def version(cluster: Cluster, least: tuple[int, int] = _LEAST) -> Check:
    """The version of the API server, and whether it is new enough."""
    try:
        told = await cluster.get("/version")
    except RefusedError as error:
        if error.code == httpx.codes.UNAUTHORIZED:
            return unreachable(not_authenticated(error.message))
        remedy = "correct the credentials that deploy.kubeconfig names (kubectl auth whoami)"
        return Check.fail("kubernetes", f"access refused: {error.message}", remedy=remedy)
    numbers = tuple(int(re.sub(r"\D.*", "", str(told.get(part))) or 0) for part in ("major", "minor"))
    detail = f"{_SERVER} {told.get('gitVersion')}"
    if numbers >= least:
        return Check.ok("kubernetes", detail)
    return Check.fail("kubernetes", detail, remedy=f"Kubernetes {least[0]}.{least[1]} or newer is needed")


def denied(reached: Check) -> bool:
    """Whether the API server refuses to talk to us, so that every other call gets the same answer."""
    return reached.status is CheckStatus.FAIL and not reached.detail.startswith(_SERVER)


async def namespace(cluster: Cluster) -> Check:
    """Whether the namespace exists and is not being deleted."""
    remedy = f"kubectl create namespace {cluster.namespace}, or correct deploy.namespace"
    try:
        found = await cluster.find(f"/api/v1/namespaces/{cluster.namespace}")
    except RefusedError:
        return Check.ok("namespace", f"{cluster.namespace} (not looked at: get namespaces is not allowed)")
    if found is None:
        return Check.fail("namespace", f"{cluster.namespace} does not exist", remedy=remedy)
    if (found.get("status") or {}).get("phase") == "Terminating":
        return Check.fail("namespace", f"{cluster.namespace} is being deleted", remedy=remedy)
    return Check.ok("namespace", cluster.namespace)


async def rights(cluster: Cluster, wanted: Sequence[Right], why_allow: str = _ALLOW) -> list[Check]:
    """One check for what is needed, one for what is recommended; each names the missing verbs.
    ``why_allow`` is the remedy for the latter."""
    answers: dict[Right, bool] = {}

    async def ask(right: Right) -> None:
        answers[right] = await _allowed(cluster, right)

    async with anyio.create_task_group() as tasks:
        for right in wanted:
            tasks.start_soon(ask, right)
    lacking = {need: [r.text for r in wanted if r.needed is need and not answers[r]] for need in (True, False)}
    found = []
    if lacking[True]:
        remedy = f"give the tuner's account a role with these verbs in namespace {cluster.namespace}"
        found.append(Check.fail("rights", f"not allowed: {', '.join(lacking[True])}", remedy=remedy))
    else:
        found.append(Check.ok("rights", f"{sum(r.needed for r in wanted)} verbs"))
    if lacking[False]:
        found.append(Check.warn("rights", f"better to have: {', '.join(lacking[False])}", remedy=why_allow))
    return found


async def _allowed(cluster: Cluster, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": subresource}
    if not right.cluster_wide:
        attributes["namespace"] = right.namespace or cluster.namespace
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    try:
        answer = await cluster.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    except RefusedError:
        return False
    return bool(answer["status"].get("allowed"))


def unseen(name: str, error: RefusedError) -> Check:
    """A check that could not be made: a missing right says nothing about the object itself."""
    match = _CANNOT.search(error.message) if error.code == httpx.codes.FORBIDDEN else None
    if match is None:
        return Check.fail(name, f"cannot be looked at: {error.message}", remedy="check the health of the cluster")
    group = f" ({match[3]})" if match[3] else ""
    return Check.warn(
        name, f"not looked at: {match[1]} {match[2]}{group} is not allowed", remedy="allow it, to have it checked"
    )


def _images(plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[Check]:
    names = dict.fromkeys(settings.image_name(plan.image) for plan in plans)
    no_name = Check.fail("image", "the engine names no image", remedy="set deploy.image")
    found = [Check.ok("image", name) if name else no_name for name in names]
    return [*found, *load_generator(settings, needed=bool(plans))]


def load_generator(settings: PodSettings, *, needed: bool) -> list[Check]:
    """Where the load comes from. ``needed``: there is a study; the cluster is not only being diagnosed."""
    if settings.load == "job":
        remedy = "set deploy.loadgen_image to an image with autotuner, or deploy.load to port-forward"
        if settings.loadgen_image:
            return [Check.ok("load generator", settings.loadgen_image)]
        return [(Check.fail if needed else Check.warn)("load generator", "no image is named", remedy=remedy)]
    if settings.load == "port-forward":
        remedy = "set deploy.load: job for figures to be compared with others"
        return [
            Check.warn(
                "load generator", "its load goes through the API server, which shows in the figures", remedy=remedy
            )
        ]
    return []


def _models(plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[Check]:
    found = []
    for file in dict.fromkeys(file for plan in plans for file in plan.needs_files):
        why = model_location.missing(file, settings)
        remedy = "list a folder above it in deploy.model_roots, or give deploy.pvc"
        found.append(
            Check.fail("model", f"{file} {why}", remedy=remedy)
            if why
            else Check.ok("model", f"{file} (on nodes: not looked at)")
        )
    if any(plan.hub_models for plan in plans) and not settings.cache_pvc:
        remedy = "name a claim in deploy.cache_pvc"
        found.append(Check.warn("model", "every trial fetches the model from the hub again", remedy=remedy))
    return [*found, *hidden_gpus(plans)]


def hidden_gpus(plans: Sequence[LaunchPlan]) -> list[Check]:
    """Variables of the study that would hide GPUs that the cluster assigns."""
    names = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
    set_by_study = [name for name in names if any(name in plan.env for plan in plans)]
    why = "in engine.env would hide the GPUs that the cluster gives out"
    return [Check.fail("environment", f"{name} {why}", remedy="remove it") for name in set_by_study]


async def nodes(
    cluster: Cluster,
    demands: Sequence[Mapping[str, str]],
    settings: ServerSettings,
    unfit: Callable[[Json], str] = lambda _: "",
) -> list[Check]:
    """Whether some node could ever hold each of the servers with these requests; without any, what the nodes have.
    ``unfit`` says why a node is unsuitable beyond what the settings ask of nodes."""
    try:
        found = await kubernetes_nodes.look(cluster, settings, gpus=False)
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
    """Whether some nodes could ever hold a load generator beside each of the servers with these requests."""
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
    """:func:`nodes`, of nodes that were looked at."""
    resource = settings.gpu_resource
    make = Check.warn if settings.gpus else Check.fail
    gpus = sum(int(kubernetes_nodes.allocatable(n, resource)) for n in nodes.usable)
    for demand in sorted(demands or [{}], key=lambda d: amount(d.get(resource, 0)), reverse=True):
        if why := kubernetes_nodes.never_fits(nodes, demand):
            if nodes.usable and not gpus and resource in demand:
                return make("nodes", f"no node offers any {resource}: {why}", remedy=_NO_GPUS)
            remedy = "lower deploy.cpu, deploy.memory or the parallelism"
            if not nodes.usable:
                remedy = "correct deploy.node_selector or deploy.tolerations, or see to the nodes (kubectl get nodes)"
            return make("nodes", why, remedy=remedy)
    left_out = f"; left out: {'; '.join(nodes.left_out)}" if nodes.left_out else ""
    if not gpus and not demands:
        return Check.warn("nodes", f"{len(nodes.usable)} usable, none offers any {resource}{left_out}", remedy=_NO_GPUS)
    return Check.ok("nodes", f"{len(nodes.usable)} usable with {gpus} GPUs{left_out}")


def _claims(plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[str]:
    names = [settings.pvc.claim] if settings.pvc else []
    return [*names, *([settings.cache_pvc] if settings.cache_pvc and any(p.hub_models for p in plans) else [])]


async def claim(cluster: Cluster, name: str) -> Check:
    """Whether a PersistentVolumeClaim can be used."""
    try:
        found = await cluster.find(cluster.path("persistentvolumeclaims", name))
    except RefusedError as error:
        return Check.warn(
            "volume", f"{name} may not be looked at: {error.message}", remedy="allow get persistentvolumeclaims"
        )
    if found is None:
        return Check.fail(
            "volume", f"claim {name} does not exist in {cluster.namespace}", remedy="correct its name, or make it"
        )
    phase = str((found.get("status") or {}).get("phase"))
    if phase == "Bound":
        return Check.ok("volume", f"claim {name}")
    remedy = "some storage binds with the first pod; else see kubectl describe pvc"
    make = Check.fail if phase == "Lost" else Check.warn
    return make("volume", f"claim {name} is {phase}", remedy=remedy)


def most(resources: Iterable[Mapping[str, Mapping[str, str]]]) -> Needed:
    """The largest of each request and limit."""
    needed: dict[str, float] = {}
    for one in resources:
        for kind in ("requests", "limits"):
            for name, text in one[kind].items():
                key = f"{kind}.{name}"
                needed[key] = max(needed.get(key, 0.0), amount(text))
    return needed


def with_load(server: Needed, settings: PodSettings) -> Needed:
    """What a server and its load generator request together: a quota must have room for both at once."""
    if settings.load != "job" or not server:
        return server
    total = dict(server)
    for key, text in most([resources(settings.load_pod(), 0)]).items():
        total[key] = total.get(key, 0.0) + text
    return total | {"pods": 2.0, "count/pods": 2.0, "count/jobs.batch": 1.0 + ("count/jobs.batch" in server)}


async def quotas(cluster: Cluster, needed: Needed) -> list[Check]:
    """Quotas of the namespace that are too small, or used up at the moment."""
    found = await cluster.visible(cluster.path("resourcequotas"))
    return [check for quota in found or () for check in _quota(quota, needed)]


def _quota(quota: Json, needed: Needed) -> list[Check]:
    status = quota.get("status") or {}
    name = quota["metadata"]["name"]
    spec = quota.get("spec") or {}
    if spec.get("scopes") or spec.get("scopeSelector"):
        return []  # it may not be for these pods; the dry run tells
    found = []
    for key, hard in (status.get("hard") or {}).items():
        asked = needed.get(key, needed.get(f"requests.{key}", 0.0))
        used = amount((status.get("used") or {}).get(key, 0))
        remedy = "raise the quota, or lower what server and load generator ask for"
        if asked > amount(hard):
            found.append(Check.fail("quota", f"{name}: {key} {asked:g} requested, the quota is {hard}", remedy=remedy))
        elif asked and asked > amount(hard) - used:
            found.append(
                Check.warn("quota", f"{name}: of {key} {hard}, {used:g} is used now", remedy="wait, or raise the quota")
            )
    return found


async def queue(cluster: Cluster, name: str) -> Check:
    """Whether Kueue has the local queue."""
    try:
        found = None
        for version in _KUEUE_VERSIONS:
            found = found or await cluster.find(cluster.path("localqueues", name, group=f"kueue.x-k8s.io/{version}"))
    except RefusedError as error:
        if error.code == httpx.codes.FORBIDDEN:
            return Check.warn("queue", f"{name} may not be looked at", remedy="allow get localqueues (kueue.x-k8s.io)")
        raise
    if found is None:
        remedy = "install Kueue and make the local queue, or remove deploy.kueue_queue"
        return Check.fail("queue", f"no local queue {name} in {cluster.namespace} ({QUEUE})", remedy=remedy)
    active = condition(found.get("status") or {}, "Active")
    if active.get("status") == "False":
        why = f"LocalQueue {name} is not accepting workloads: {active.get('message')}"
        return Check.fail("queue", why, remedy="see kubectl describe localqueue")
    return Check.ok("queue", name)


async def _admission(cluster: Cluster, plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[Check]:
    """What the API server and its admission say to the first trial's objects, by dry runs."""
    asked = []
    for plan in plans:
        name = trial_objects.unique_name("preflight", 0)
        job = ServerJob(plan, settings, settings.image_name(plan.image) or "none", name, _LABELS).job()
        path = cluster.path("jobs", group=BATCH)
        asked.append(Asked("server", SERVER, job["spec"]["template"], path, job))
    found = await admission.checks(cluster, asked, queued=settings.kueue_queue is not None)
    return [*found, *await admission.references(cluster, settings), *await load_admission(cluster, settings)]


async def load_admission(cluster: Cluster, settings: ServerSettings) -> list[Check]:
    """The same of the load generator's objects, where there are any. A queue that takes the server takes them with it:
    they belong to it. Without a queue, a cluster that holds back such a Job holds back servers too."""
    if settings.load != "job" or not settings.loadgen_image:
        return []
    load = Load("none", settings, trial_objects.unique_name("preflight", 0), _LABELS, None)
    secret = load.secrets([b"{}"])[0]
    job = load.job([secret["metadata"]["name"]], settings.loadgen_image)
    asked = Asked("load generator", LOADGEN, job["spec"]["template"], cluster.path("jobs", group=BATCH), job)
    return [
        await admission.taken(cluster, cluster.path("secrets"), secret, "load generator's Secret"),
        *await admission.checks(cluster, [asked], queued=settings.kueue_queue is not None),
    ]
