"""Preflight checks for the OME deployer. Read-only, and every problem is reported, not just the first.

This module reads from the cluster; ``check_installation``, ``check_model`` and ``check_runtime`` evaluate the results.
"""

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass

import httpx

from autotuner.deployers.kubernetes import preflight
from autotuner.deployers.kubernetes.checks import access, capacity
from autotuner.deployers.kubernetes.checks.access import Right, not_checked
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.ome import check_installation, check_model, check_runtime, scheduling
from autotuner.deployers.ome.resources import BENCHMARKS, SERVICES, OmeResource, find_model, find_runtime, known
from autotuner.deployers.ome.runtime_matching import why_not
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.manifests.labels import MANAGED_BY
from autotuner.manifests.ome_command_line import OME
from autotuner.study.check import Check, CheckStatus
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import LaunchPlan

Problems = Callable[[OmeResource], tuple[str, str] | None]
"""Returns (why, remedy) if an engine's flags cannot be put into a runtime's command line."""
_MINIMUM = (1, 28)
"""Kubernetes version that OME v0.1.5 requires."""
_GROUP = "ome.io"
_CERTIFICATES = "cert-manager"
_BENCHMARK_LABEL = "benchmark"
_AGENT_LABEL = "models.ome/basemodel-status=true"
_LOG_LINES = "50"
_LOG_IDLE_S = 5.0
_ALLOW = "allow them to check OME itself and to suggest names (packaging/rbac-ome.yaml)"


@dataclass(frozen=True)
class _Study:
    """Checks of a study's model and runtime, and the objects if they exist."""

    checks: tuple[Check, ...] = ()
    model: OmeResource | None = None
    runtime: OmeResource | None = None
    nodes: tuple[str, ...] = ()
    """Nodes that may serve the model."""


def needed_rights(settings: OmeSettings) -> list[Right]:
    """Returns the permissions that a study with OME needs, and those that are recommended."""
    services = [Right(verb, SERVICES, _GROUP) for verb in ("create", "get", "list", "watch", "delete")]
    made = [Right(verb, "deployments", "apps") for verb in ("get", "list", "watch")]
    found = [Right("get", kind, _GROUP) for kind in ("servingruntimes", "basemodels")]
    shared = ("clusterservingruntimes", "clusterbasemodels")
    # Only recommended, since a tenant's model and runtime may belong to the namespace.
    found += [Right("get", kind, _GROUP, needed=False, cluster_wide=True) for kind in shared]
    nodes = [
        Right("list", "nodes", needed=settings.gpus is None, cluster_wide=True),
        Right("get", "nodes", needed=False, cluster_wide=True),
    ]
    nodes.append(Right("patch", "jobs", "batch", needed=False, why="heartbeat"))
    nodes.append(Right("list", "jobs", "batch", needed=False, why="heartbeats of dead runs"))
    names = [Right("list", kind, _GROUP, needed=False) for kind in ("servingruntimes", "basemodels", BENCHMARKS)]
    names += [Right("list", kind, _GROUP, needed=False, cluster_wide=True) for kind in shared]
    own = [
        ("get", "deployments", "apps"),
        ("get", "daemonsets", "apps"),
        ("list", "pods", ""),
        ("get", "pods/log", ""),
        ("get", "configmaps", ""),
        ("list", "configmaps", ""),
    ]
    names += [Right(v, kind, group, needed=False, namespace=settings.ome_namespace) for v, kind, group in own]
    return [*services, *made, *found, *access.pod_rights(settings), *nodes, *names]


async def checks(
    cluster: Cluster,
    plans: Sequence[LaunchPlan],
    settings: OmeSettings,
    *,
    model: str | None = None,
    problems: Problems = lambda _: None,
    dry_run: Callable[[LaunchPlan], Awaitable[list[Check]]] | None = None,
) -> list[Check]:
    """Makes all checks; without plans and a model, only those of the cluster.

    ``model`` is the name of OME's model. ``dry_run`` checks the first plan if nothing else fails. Raises
    ``TrialFailedError`` (``deployer_lost``) if the API server does not respond at all.
    """
    found: list[Check] = []
    try:
        await _collect(found, cluster, plans, settings, model, problems)
    except TrialFailedError as error:
        if not found:
            raise
        found.append(access.unreachable(error.failure))
    if dry_run and plans and not preflight.stops_admission(found):
        found += preflight.without_quotas(found, await dry_run(plans[0]))
    return list(dict.fromkeys(found))


async def _collect(
    found: list[Check],
    cluster: Cluster,
    plans: Sequence[LaunchPlan],
    settings: OmeSettings,
    model: str | None,
    problems: Problems,
) -> None:
    """Appends the checks to ``found`` one by one, so that none is lost if the API server stops responding."""
    found.append(await access.version(cluster, _MINIMUM))
    if access.denied(found[0]):
        return
    found.append(await access.namespace(cluster))
    found += await access.rights(cluster, needed_rights(settings), _ALLOW)
    found += preflight.load_generator(settings, needed=bool(plans))
    group = await cluster.find(f"/apis/{OME}")
    found.append(check_installation.served(group))
    study = _Study()
    if group is not None:
        study = await _study(cluster, settings, model, problems)
        start = len(found)
        found += study.checks
        found[start:start] = await _installation(cluster, settings, study)
    found += await _room(cluster, plans, settings, study)
    found += preflight.hidden_gpus(plans)
    if settings.kueue_queue:
        found.append(await capacity.queue(cluster, settings.kueue_queue))


async def _checked(name: str, look: Awaitable[list[Check]]) -> list[Check]:
    """Returns the result of a check, or a warning that it is not allowed."""
    try:
        return await look
    except RefusedError as error:
        return [not_checked(name, error)]


# OME itself


async def _installation(cluster: Cluster, settings: OmeSettings, study: _Study) -> list[Check]:
    webhooks = await _checked("ome webhooks", _webhooks(cluster, settings, study))
    down = next((c.detail for c in webhooks if c.status is CheckStatus.FAIL), "")
    needed = study.model is None or not study.nodes
    return [
        *await _checked("ome manager", _manager(cluster, settings.ome_namespace)),
        *webhooks,
        *await _checked("ome ingress", _configuration(cluster, settings.ome_namespace)),
        *await _checked("model agent", _agent(cluster, settings.ome_namespace, needed=needed)),
        *await _checked("ome benchmark image", _benchmarks(cluster, settings.ome_namespace)),
        *await _checked("left behind", _left_behind(cluster, down)),
    ]


async def _manager(cluster: Cluster, namespace: str) -> list[Check]:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{check_installation.MANAGER}"
    return [check_installation.manager(await cluster.find(path), namespace)]


async def _webhooks(cluster: Cluster, settings: OmeSettings, study: _Study) -> list[Check]:
    """Checks the webhooks by a dry run of a service, which passes all of them; a refusal is a response too."""
    reference = {"name": "autotuner-preflight", "kind": "ClusterBaseModel"}
    body = {
        "apiVersion": OME,
        "kind": "InferenceService",
        "metadata": {"name": "at-preflight"},
        "spec": {
            "model": study.model.reference if study.model else reference,
            "runtime": study.runtime.reference if study.runtime else {"name": "autotuner-preflight"},
            "engine": {"minReplicas": 1, "maxReplicas": 1},
        },
    }
    impatient = copy(cluster)
    impatient.patience_s = 0.0
    try:
        await impatient.create(cluster.path(SERVICES, group=OME), body, dry_run=True)
    except RefusedError as error:
        if "denied the request" not in error.message:
            return [not_checked("ome webhooks", error)]
    except TrialFailedError as error:
        if "failed calling webhook" not in error.failure.message:
            raise
        found = [check_installation.webhook(error.failure.message, settings.ome_namespace)]
        if "certificate" in found[0].detail:
            found += await _checked(_CERTIFICATES, _certificates(cluster))
        return found
    return [Check.ok("ome webhooks", "responded to a dry run")]


async def _certificates(cluster: Cluster) -> list[Check]:
    group = await cluster.find("/apis/cert-manager.io/v1")
    deployments: list[Json] = []
    if group is not None:
        deployments = (await cluster.get(f"/apis/apps/v1/namespaces/{_CERTIFICATES}/deployments"))["items"]
    return [check_installation.certificates(group, deployments)]


async def _configuration(cluster: Cluster, namespace: str) -> list[Check]:
    path = f"/api/v1/namespaces/{namespace}/configmaps/inferenceservice-config"
    return [check_installation.configuration(await cluster.find(path))]


async def _benchmarks(cluster: Cluster, namespace: str) -> list[Check]:
    """Checks the default image of BenchmarkJobs, and their pods that cannot pull an image."""
    found = [
        check_installation.benchmark_image(
            await cluster.find(f"/api/v1/namespaces/{namespace}/configmaps/benchmarkjob-config")
        )
    ]
    pods = (await cluster.get(cluster.path("pods"), labelSelector=_BENCHMARK_LABEL))["items"]
    return [*found, *check_installation.benchmark_pods(pods)]


async def _agent(cluster: Cluster, namespace: str, *, needed: bool) -> list[Check]:
    base = f"/api/v1/namespaces/{namespace}/pods"
    found = await cluster.find(f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{check_installation.AGENT}")
    pods = list[Json]()
    logs = dict[str, str]()
    unread = list[Check]()
    labels = ((found or {}).get("spec") or {}).get("selector", {}).get("matchLabels") or {}
    try:
        if labels:
            selector = ",".join(f"{key}={value}" for key, value in labels.items())
            pods = (await cluster.get(base, labelSelector=selector))["items"]
        for pod in filter(check_installation.crashes, pods):
            name = str(pod["metadata"]["name"])
            logs[name] = await _log(cluster, f"{base}/{name}/log", pod)
    except RefusedError as error:
        unread.append(not_checked("model agent's pods", error))
    return [*check_installation.agent(found, pods, logs, needed=needed), *unread]


async def _log(cluster: Cluster, path: str, pod: Json) -> str:
    """Returns the end of the log of a crashing pod's last failed run."""
    states = [one for one in pod["status"]["containerStatuses"] if not one.get("ready")]
    again = not any((one.get("state") or {}).get("terminated") for one in states)
    params = {"tailLines": _LOG_LINES, "container": str(states[0]["name"])}
    if again:
        params["previous"] = "true"
    try:
        async with cluster.stream(path, idle_s=_LOG_IDLE_S, **params) as answer:
            return (await answer.aread()).decode(errors="replace")
    except httpx.TransportError:
        return ""


async def _left_behind(cluster: Cluster, down: str) -> list[Check]:
    objects = []
    for plural, kind in ((SERVICES, "InferenceService"), (BENCHMARKS, "BenchmarkJob")):
        path = cluster.path(plural, group=OME)
        found = (await cluster.get(path, labelSelector=f"{MANAGED_BY}=autotuner"))["items"]
        objects += [{"kind": kind, **one} for one in found]
    held: dict[str, str] = {}
    for one in objects:
        if one["metadata"].get("deletionTimestamp"):
            model = str(((one.get("spec") or {}).get("model") or {}).get("name") or "")
            if down:
                held[one["metadata"]["name"]] = f"OME's webhooks do not respond ({down[:60]})"
            elif model and await find_model(cluster, model) is None:
                held[one["metadata"]["name"]] = (
                    f"its model {model} is gone, and OME's webhook refuses its removal without the model"
                )
    return check_installation.left_behind(objects, held)


# Model and runtime


async def _study(cluster: Cluster, settings: OmeSettings, name: str | None, problems: Problems) -> _Study:
    models = await known(cluster, "basemodels")
    runtimes = await known(cluster, "servingruntimes")
    found = list[Check]()
    model = None
    runtime = None
    nodes = tuple[str, ...]()
    if name is None:
        found += [check_model.overview(models)] if models is not None else []
    else:
        try:
            model = await find_model(cluster, name)
            more, nodes = await _model(cluster, settings, name, model, models or [])
            found += more
        except RefusedError as error:
            found.append(not_checked(check_model.NAME, error))
    if settings.runtime is None and name is None:
        names = [str(one["metadata"]["name"]) for one in runtimes or ()]
        found += [check_runtime.overview(names)] if runtimes is not None else []
        return _Study(tuple(found), model, None, nodes)
    try:
        runtime = await find_runtime(cluster, settings.runtime) if settings.runtime else None
        found += await _runtime(cluster, settings, (runtime, model), runtimes or [], problems)
    except RefusedError as error:
        found.append(not_checked(check_runtime.NAME, error))
    return _Study(tuple(found), model, runtime, nodes)


async def _elsewhere(cluster: Cluster, plural: str, name: str) -> list[str]:
    """Returns other namespaces with an object of this name, if listing them is allowed."""
    found = await cluster.visible(f"/apis/{OME}/{plural}", fieldSelector=f"metadata.name={name}")
    return sorted(str(one["metadata"]["namespace"]) for one in found or ())


async def _model(
    cluster: Cluster, settings: OmeSettings, name: str, model: OmeResource | None, known: Sequence[Json]
) -> tuple[list[Check], tuple[str, ...]]:
    """Returns the checks of the model, and the nodes that may serve it."""
    if model is None:
        names = [str(one["metadata"]["name"]) for one in known]
        elsewhere = await _elsewhere(cluster, "basemodels", name)
        return [check_model.absent(name, cluster.namespace, names, elsewhere)], ()
    nodes = await cluster.visible("/api/v1/nodes")
    maps = await cluster.visible(f"/api/v1/namespaces/{settings.ome_namespace}/configmaps", labelSelector=_AGENT_LABEL)
    downloads = check_model.progress(model, maps or ())
    return check_model.checks(model, nodes, downloads), tuple(check_model.holders(model, nodes))


async def _runtime(
    cluster: Cluster,
    settings: OmeSettings,
    pair: tuple[OmeResource | None, OmeResource | None],
    known: Sequence[Json],
    problems: Problems,
) -> list[Check]:
    runtime, model = pair
    if runtime is None:
        names = [str(one["metadata"]["name"]) for one in known]
        serving = [str(one["metadata"]["name"]) for one in known if model and not why_not(OmeResource(one), model)]
        elsewhere = await _elsewhere(cluster, "servingruntimes", settings.runtime) if settings.runtime else []
        return [check_runtime.absent(settings.runtime, cluster.namespace, names, serving, elsewhere)]
    found = check_runtime.checks(runtime, model, settings.gpu_resource)
    if not check_runtime.faults(runtime, settings.gpu_resource) and (problem := problems(runtime)):
        return [c for c in found if c.status is not CheckStatus.OK] + [
            Check.fail(check_runtime.NAME, problem[0], remedy=problem[1])
        ]
    return found


# Nodes, volumes, quotas


async def _room(cluster: Cluster, plans: Sequence[LaunchPlan], settings: OmeSettings, study: _Study) -> list[Check]:
    runtime = study.runtime
    model = study.model
    if runtime is None:
        gpus = [{settings.gpu_resource: str(plan.gpus)} for plan in plans if plan.gpus]
        return await capacity.nodes(cluster, gpus, settings)
    resources = [scheduling.resources(runtime, plan, settings) for plan in plans]
    demands = [{**one["limits"], **one["requests"]} for one in resources]

    def unfit(node: Json) -> str:
        return "" if model is None or not study.nodes or check_model.holds(model, node) else "does not have the model"

    found = await capacity.nodes(cluster, demands, scheduling.placing(settings, runtime, None), unfit)
    found += [await capacity.claim(cluster, name) for name in scheduling.claims(runtime)]
    needed = capacity.with_load(capacity.most(resources), settings)
    return [*found, *await capacity.quotas(cluster, needed)]
