"""Preflight checks for the Kubernetes deployer. Read-only; each check carries a remedy."""

from collections.abc import Iterable, Sequence

from autotuner.deployers.kubernetes import model_location, trial_objects
from autotuner.deployers.kubernetes.checks import access, admission, capacity
from autotuner.deployers.kubernetes.checks.access import Right
from autotuner.deployers.kubernetes.checks.admission import PodRequest
from autotuner.deployers.kubernetes.client import Cluster
from autotuner.deployers.kubernetes.settings import KubernetesSettings, PodSettings, ServerSettings
from autotuner.deployers.kubernetes.trial_objects import LOADGEN, Load, ServerJob
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.pod import SERVER
from autotuner.study.check import Check, CheckStatus
from autotuner.study.launch import Labels, LaunchPlan

_LABELS = Labels(study="preflight", trial=0, owner="preflight")
_INDEPENDENT = frozenset({"nodes", "quota", "volume", "queue", "load generator", "environment"})
"""Checks whose failures do not predict whether objects are admitted, so admission is still checked."""


def needed_rights(settings: KubernetesSettings) -> list[Right]:
    """Returns the permissions that the deployer needs, and those that are recommended."""
    own = [Right(verb, "jobs", "batch") for verb in ("create", "get", "list", "delete")]
    own.append(Right("patch", "jobs", "batch", needed=False, why="heartbeat"))
    nodes = [
        Right("list", "nodes", needed=settings.gpus is None, cluster_wide=True),
        Right("get", "nodes", needed=False, cluster_wide=True),
    ]
    return list(dict.fromkeys([*own, *access.pod_rights(settings), *nodes]))


async def checks(cluster: Cluster, plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[Check]:
    """Makes all checks. Raises ``TrialFailedError`` (``deployer_lost``) if the API server does not respond."""
    reached = await access.version(cluster)
    if access.denied(reached):
        return [reached]
    found = [reached, await access.namespace(cluster)]
    allowed = await access.rights(cluster, needed_rights(settings))
    found += [*allowed, *_images(plans, settings), *_models(plans, settings)]
    demands = [ServerJob(plan, settings, "none", "preflight", _LABELS).resources() for plan in plans]
    found += await capacity.nodes(cluster, [one["requests"] for one in demands], settings)
    for name in dict.fromkeys(_claims(plans, settings)):
        found.append(await capacity.claim(cluster, name))
    found += await capacity.quotas(cluster, capacity.with_load(capacity.most(demands), settings))
    if settings.kueue_queue:
        found.append(await capacity.queue(cluster, settings.kueue_queue))
    if not stops_admission(found):
        found += without_quotas(found, await _admission(cluster, plans[:1], settings))
    return list(dict.fromkeys(found))


def stops_admission(found: Iterable[Check]) -> bool:
    """Returns whether a dry run could only repeat known failures."""
    return any(check.status is CheckStatus.FAIL and check.name not in _INDEPENDENT for check in found)


def without_quotas(found: Sequence[Check], more: Iterable[Check]) -> list[Check]:
    """Returns the checks of a dry run without full quotas, if those are reported by name already."""
    known = any(check.name == "quota" and check.status is not CheckStatus.OK for check in found)
    return [check for check in more if not (known and "exceeded quota" in check.detail)]


def _images(plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[Check]:
    names = dict.fromkeys(settings.image_name(plan.image) for plan in plans)
    no_name = Check.fail("image", "no image is set, and the engine has no default", remedy="set deploy.image")
    found = [Check.ok("image", name) if name else no_name for name in names]
    return [*found, *load_generator(settings, needed=bool(plans))]


def load_generator(settings: PodSettings, *, needed: bool) -> list[Check]:
    """Checks where the load comes from. ``needed``: there is a study, not only a diagnosis of the cluster."""
    if settings.load == "job":
        remedy = "set deploy.loadgen_image to an image with autotuner, or deploy.load to port-forward"
        if settings.loadgen_image:
            return [Check.ok("load generator", settings.loadgen_image)]
        return [(Check.fail if needed else Check.warn)("load generator", "no image is set", remedy=remedy)]
    if settings.load == "port-forward":
        remedy = "set deploy.load: job for results that are comparable"
        return [
            Check.warn("load generator", "requests go through the API server, which affects the results", remedy=remedy)
        ]
    return []


def _models(plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[Check]:
    found = []
    for file in dict.fromkeys(file for plan in plans for file in plan.needs_files):
        why = model_location.missing(file, settings)
        remedy = "add a folder that contains it to deploy.model_roots, or set deploy.pvc"
        found.append(
            Check.fail("model", f"{file} {why}", remedy=remedy)
            if why
            else Check.ok("model", f"{file} (on the nodes, not checked)")
        )
    if any(plan.hub_models for plan in plans) and not settings.cache_pvc:
        remedy = "set deploy.cache_pvc to a PersistentVolumeClaim"
        found.append(Check.warn("model", "every trial downloads the model from the Hub again", remedy=remedy))
    return [*found, *hidden_gpus(plans)]


def hidden_gpus(plans: Sequence[LaunchPlan]) -> list[Check]:
    """Returns failed checks for variables of the study that would hide the GPUs that the cluster assigns."""
    names = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
    set_by_study = [name for name in names if any(name in plan.env for plan in plans)]
    why = "in engine.env would hide the GPUs that the cluster assigns"
    return [Check.fail("environment", f"{name} {why}", remedy="remove it") for name in set_by_study]


def _claims(plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[str]:
    names = [settings.pvc.claim] if settings.pvc else []
    return [*names, *([settings.cache_pvc] if settings.cache_pvc and any(p.hub_models for p in plans) else [])]


async def _admission(cluster: Cluster, plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[Check]:
    """Dry-runs the first trial's objects against the API server and its admission."""
    requests = []
    for plan in plans:
        name = trial_objects.unique_name("preflight", 0)
        job = ServerJob(plan, settings, settings.image_name(plan.image) or "none", name, _LABELS).job()
        path = cluster.path("jobs", group=BATCH)
        requests.append(PodRequest("server", SERVER, job["spec"]["template"], path, job))
    found = await admission.checks(cluster, requests, queued=settings.kueue_queue is not None)
    return [*found, *await admission.references(cluster, settings), *await load_admission(cluster, settings)]


async def load_admission(cluster: Cluster, settings: ServerSettings) -> list[Check]:
    """Dry-runs the load generator's objects, if it has any.

    A queue that admits the server admits them too, since the server owns them. Without a queue, a cluster that suspends
    such a Job suspends servers too.
    """
    if settings.load != "job" or not settings.loadgen_image:
        return []
    load = Load("none", settings, trial_objects.unique_name("preflight", 0), _LABELS, None)
    secret = load.secrets([b"{}"])[0]
    job = load.job([secret["metadata"]["name"]], settings.loadgen_image)
    request = PodRequest("load generator", LOADGEN, job["spec"]["template"], cluster.path("jobs", group=BATCH), job)
    return [
        await admission.check_object(cluster, cluster.path("secrets"), secret, "load generator's Secret"),
        *await admission.checks(cluster, [request], queued=settings.kueue_queue is not None),
    ]
