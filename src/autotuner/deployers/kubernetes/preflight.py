"""Preflight checks for the Kubernetes deployer. Read-only; each check carries a remedy."""

from collections.abc import Iterable, Sequence

from autotuner.deployers.kubernetes import model_location, trial_objects
from autotuner.deployers.kubernetes.checks import access, admission, capacity
from autotuner.deployers.kubernetes.checks.access import Right
from autotuner.deployers.kubernetes.checks.admission import Asked
from autotuner.deployers.kubernetes.client import Cluster
from autotuner.deployers.kubernetes.settings import KubernetesSettings, PodSettings, ServerSettings
from autotuner.deployers.kubernetes.trial_objects import LOADGEN, Load, ServerJob
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.pod import SERVER
from autotuner.study.check import Check, CheckStatus
from autotuner.study.launch import Labels, LaunchPlan

_LABELS = Labels(study="preflight", trial=0, owner="preflight")
_APART = frozenset({"nodes", "quota", "volume", "queue", "load generator", "environment"})
"""Checks whose failures say nothing about whether objects are admitted: neither hides the other."""


def needed_rights(settings: KubernetesSettings) -> list[Right]:
    """What the deployer needs, and what is recommended."""
    own = [Right(verb, "jobs", "batch") for verb in ("create", "get", "list", "delete")]
    own.append(Right("patch", "jobs", "batch", needed=False, why="heartbeat"))
    nodes = [
        Right("list", "nodes", needed=settings.gpus is None, cluster_wide=True),
        Right("get", "nodes", needed=False, cluster_wide=True),
    ]
    return list(dict.fromkeys([*own, *access.pod_rights(settings), *nodes]))


async def checks(cluster: Cluster, plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[Check]:
    """All checks. Raises ``TrialFailedError`` (``deployer_lost``) when the API server does not answer."""
    reached = await access.version(cluster)
    if access.denied(reached):
        return [reached]
    found = [reached, await access.namespace(cluster)]
    allowed = await access.rights(cluster, needed_rights(settings))
    found += [*allowed, *_images(plans, settings), *_models(plans, settings)]
    asked = [ServerJob(plan, settings, "none", "preflight", _LABELS).resources() for plan in plans]
    found += await capacity.nodes(cluster, [one["requests"] for one in asked], settings)
    for name in dict.fromkeys(_claims(plans, settings)):
        found.append(await capacity.claim(cluster, name))
    found += await capacity.quotas(cluster, capacity.with_load(capacity.most(asked), settings))
    if settings.kueue_queue:
        found.append(await capacity.queue(cluster, settings.kueue_queue))
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
            else Check.ok("model", f"{file} (on the nodes, not checked)")
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


def _claims(plans: Sequence[LaunchPlan], settings: KubernetesSettings) -> list[str]:
    names = [settings.pvc.claim] if settings.pvc else []
    return [*names, *([settings.cache_pvc] if settings.cache_pvc and any(p.hub_models for p in plans) else [])]


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
