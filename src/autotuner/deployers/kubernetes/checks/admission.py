"""Dry runs of a trial's objects against the API server and its admission: of the controller object and of its pod.

Most policies apply to pods only, so that a Job may be accepted whose pod is refused later. Hence the pod is dry-run as
well, as the Job controller would create it. Nothing is stored.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from autotuner.deployers.kubernetes import failure_phrases
from autotuner.deployers.kubernetes.checks import resource_limits
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods.status import not_made
from autotuner.deployers.kubernetes.refusals import judge, missing_right, resource_setting
from autotuner.manifests.pod_settings import ServerPod
from autotuner.study.check import Check

_NAME = "admission"
_ENFORCED = "pod-security.kubernetes.io/enforce"
PROXIES = frozenset(
    {"istio-proxy", "linkerd-proxy", "envoy", "envoy-sidecar", "kuma-sidecar", "consul-dataplane", "osm-proxy"}
)
"""Containers through which a service mesh routes a pod's traffic."""
_PROXY_VARIABLES = frozenset({"http_proxy", "all_proxy"})


@dataclass(frozen=True)
class PodRequest:
    """One pod of a trial, and the object that creates it, to be dry-run."""

    what: str
    """Its name in messages, e.g. ``server``."""
    part: str
    """Name of its container that autotuner defines."""
    pod: Json
    """Metadata and specification as in a template."""
    path: str = ""
    """API path at which the object that makes the pod is created; empty if the platform creates that object."""
    body: Mapping[str, Any] | None = None


def pod_of(request: PodRequest) -> Json:
    """Returns the pod as its controller would create it, with an owner: policies against bare pods require one."""
    template = deepcopy(request.pod)
    made = dict(request.body or {})
    kind = str(made.get("kind", "Job"))
    version = str(made.get("apiVersion", "batch/v1"))
    name = str((made.get("metadata") or {}).get("name", "preflight"))
    uid = str(uuid4())
    owner = {"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": True}
    labels = dict(template["metadata"].get("labels") or {})
    if kind == "Job":
        labels |= {"batch.kubernetes.io/job-name": name, "job-name": name, "batch.kubernetes.io/controller-uid": uid}
    metadata = {**template["metadata"], "name": f"{name}-dry00", "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


async def checks(cluster: Cluster, requests: Sequence[PodRequest], *, queued: bool) -> list[Check]:
    """Dry-runs each pod and its object, with one or more checks for each. ``queued``: the objects name a queue."""
    found: list[Check] = []
    for one in requests:
        found += await _checked(cluster, one, queued=queued)
    return list(dict.fromkeys(found))


async def check_object(cluster: Cluster, path: str, body: Json, what: str) -> Check:
    """Dry-runs an object that makes no pod."""
    try:
        await cluster.create(path, body, dry_run=True)
    except RefusedError as error:
        make = Check.warn if failure_phrases.NO_DRY_RUN.found_in(error.message) else Check.fail
        return make(_NAME, f"{what}: {error.message}", remedy=judge(error.message).remedy)
    return Check.ok(_NAME, f"{what}: accepted by a dry run")


async def _checked(cluster: Cluster, request: PodRequest, *, queued: bool) -> list[Check]:
    warnings: list[str] = []
    if request.path and request.body is not None:
        try:
            made = await cluster.create(request.path, dict(request.body), dry_run=True, warnings=warnings)
        except RefusedError as error:
            return [_refusal_check(request, error.message)]
        if not queued and (made.get("spec") or {}).get("suspend"):
            remedy = "set deploy.kueue_queue to a LocalQueue of Kueue"
            return [Check.fail(_NAME, f"{request.what}: the cluster suspends objects without a queue", remedy=remedy)]
    try:
        pod = await cluster.create(cluster.path("pods"), pod_of(request), dry_run=True, warnings=warnings)
    except RefusedError as error:
        if missing_right(error.message) != "create pods":
            return [_refusal_check(request, error.message)]
        return await _without_dry_run(cluster, request, warnings)
    return [
        Check.ok(_NAME, f"{request.what}: pod accepted by a dry run"),
        *_warnings(request, warnings),
        *changes(request, pod),
    ]


def _refusal_check(request: PodRequest, why: str) -> Check:
    if failure_phrases.NO_DRY_RUN.found_in(why):  # the webhook may still accept the real object
        return Check.warn(
            _NAME, f"{request.what}: unknown until the first trial: {why}", remedy="ask the operator of that webhook"
        )
    trouble = not_made(why, request.part)
    message = f"{request.what}: {trouble.failure.message}"
    # The quota is used by others at the moment; a run waits until it is free.
    return (Check.warn if trouble.queued else Check.fail)(_NAME, message, remedy=trouble.failure.remedy)


def _warnings(request: PodRequest, warnings: Sequence[str]) -> list[Check]:
    remedy = "check that it does not affect these pods"
    return [
        Check.warn(_NAME, f"{request.what}: the API server warns: {text}", remedy=remedy)
        for text in dict.fromkeys(warnings)
    ]


async def _without_dry_run(cluster: Cluster, request: PodRequest, warnings: Sequence[str]) -> list[Check]:
    """Checks a pod that this account may not create, against policies, LimitRanges and quotas that it can read."""
    remedy = "allow create pods (used for dry runs only) to check it before the first trial"
    found = [Check.warn(_NAME, f"{request.what}: pod not checked, since create pods is not allowed", remedy=remedy)]
    level = ""
    try:
        there = await cluster.find(f"/api/v1/namespaces/{cluster.namespace}")
        level = str(((there or {}).get("metadata") or {}).get("labels", {}).get(_ENFORCED) or "")
    except RefusedError:
        pass
    for text in dict.fromkeys(warnings):
        if not failure_phrases.POD_SECURITY_WARNING.found_in(text):
            found += _warnings(request, [text])
            continue
        refused = judge(text, request.part)
        enforced = f'"{level}:' in text
        found.append(
            (Check.fail if enforced else Check.warn)(_NAME, f"{request.what}: {refused.message}", remedy=refused.remedy)
        )
    ranges = await cluster.visible(cluster.path("limitranges")) or ()
    containers = request.pod["spec"]["containers"]
    for name, why in resource_limits.problems(ranges, containers):
        remedy = judge(why, request.part).remedy
        found.append(Check.fail(_NAME, f"{request.what}: LimitRange {name} refuses the pod: {why}", remedy=remedy))
    quotas = await cluster.visible(cluster.path("resourcequotas")) or ()
    for name, key in resource_limits.unnamed(quotas, ranges, containers):
        remedy = f"set {resource_setting(key, request.part)}"
        found.append(
            Check.fail(
                _NAME, f"{request.what}: ResourceQuota {name} requires {key}, which the pod does not set", remedy=remedy
            )
        )
    return found


async def references(cluster: Cluster, settings: ServerPod) -> list[Check]:
    """Checks that the objects that the pods refer to exist; the dry run covers those that may not be read."""
    wanted = (
        ("service_account", settings.service_account, cluster.path("serviceaccounts")),
        ("priority_class", settings.priority_class, "/apis/scheduling.k8s.io/v1/priorityclasses"),
        ("runtime_class", settings.runtime_class, "/apis/node.k8s.io/v1/runtimeclasses"),
    )
    found = []
    for setting, name, path in wanted:
        if name is None:
            continue
        try:
            there = await cluster.find(f"{path}/{name}")
        except RefusedError:
            continue
        if there is None:
            detail = f"deploy.{setting}: {name} does not exist"
            found.append(Check.fail("reference", detail, remedy=f"correct deploy.{setting}, or create the object"))
    return found


def changes(request: PodRequest, pod: Json) -> list[Check]:
    """Returns warnings about changes by admission that affect the measurements."""
    spec = pod.get("spec") or {}
    found = list[Check]()
    own = {c["name"] for c in request.pod["spec"]["containers"]}
    extra = [str(c["name"]) for c in (*spec.get("containers", ()), *spec.get("initContainers", ()))]
    for name in dict.fromkeys(n for n in extra if n not in own and is_proxy(n)):
        detail = f"{request.what}: a webhook adds the proxy {name}, and requests would go through it"
        found.append(
            Check.warn("proxy", detail, remedy="keep it out by an annotation or label of the mesh (deploy.annotations)")
        )
    ours, before = (_container(one, request.part) for one in (spec, request.pod["spec"]))
    found += _proxy_variables(request, ours, before)
    limits, wanted = ((c.get("resources") or {}).get("limits") or {} for c in (ours, before))
    for name in ("cpu", "memory"):
        if name in limits and name not in wanted:
            own_name = resource_setting(f"limits.{name}", request.part)
            detail = f"{request.what}: the namespace limits its {name} to {limits[name]}, which the study does not set"
            found.append(
                Check.warn("limits", detail, remedy=f"set {own_name}, or the LimitRange's default affects the results")
            )
    return found


def _container(spec: Json, name: str) -> Json:
    return next((c for c in spec.get("containers", ()) if c["name"] == name), {})


def _proxy_variables(request: PodRequest, ours: Json, before: Json) -> list[Check]:
    names, known = ({str(v["name"]) for v in c.get("env") or ()} for c in (ours, before))
    new = sorted(n for n in names - known if n.lower() in _PROXY_VARIABLES)
    remedy = "keep it out of these pods, or add the pods' network to NO_PROXY"
    return [
        Check.warn("proxy", f"{request.what}: a webhook sets {n}, and requests may go through it", remedy=remedy)
        for n in new
    ]


def is_proxy(container: str) -> bool:
    """Returns whether a container of this name is a proxy between a pod and its clients."""
    return container in PROXIES


def proxies_in(pod: Mapping[str, Any]) -> list[str]:
    """Returns the names of the proxies in a running pod."""
    spec = pod.get("spec") or {}
    names = [str(c["name"]) for c in (*spec.get("containers", ()), *spec.get("initContainers", ()))]
    return [name for name in dict.fromkeys(names) if is_proxy(name)]
