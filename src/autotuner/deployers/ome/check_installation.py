"""Checks of the OME installation. Pure functions from the API server's JSON to checks with a remedy."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autotuner.deployers.kubernetes.client import Json
from autotuner.deployers.kubernetes.pods.status import condition
from autotuner.deployers.ome.resources import BENCHMARKS
from autotuner.manifests.text import amount
from autotuner.study.check import Check

MANAGER = "ome-controller-manager"
AGENT = "ome-model-agent-daemonset"
KINDS = ("inferenceservices", "servingruntimes", "clusterservingruntimes", "basemodels", "clusterbasemodels")
"""Kinds that every service needs."""
_INSTALL = "install OME (docs/how-to/run-in-ome.md), or select another cluster with deploy.context"
_SHAPE = "couldn't find shape"
_SHAPE_REMEDY = (
    "kubectl label node NODE beta.kubernetes.io/instance-type=BM.GPU.H100.8, or image tags v0.1.3 or newer "
    "(helm: modelAgent.image.tag, ome.controller.tag)"
)
_SIZE_REMEDY = (
    "install with --set modelAgent.resources.requests.cpu=500m --set modelAgent.resources.requests.memory=1Gi: "
    "OME's default is 10 CPUs and 100Gi on every node"
)
_LARGE_CPU = 8.0
_LARGE_MEMORY = 64 * 2.0**30
_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_RESTART = "kubectl -n {ns} rollout restart deployment/{name}, and wait until its pods are ready"
_FAULTS = (
    (
        re.compile(r"x509|certificate|tls:", re.IGNORECASE),
        "the API server does not trust its certificate",
        "check that cert-manager works (kubectl get certificate -A), then kubectl -n {ns} rollout restart "
        "deployment/{name}",
    ),
    (
        re.compile(r"deadline exceeded|timeout|timed out", re.IGNORECASE),
        "no answer within the timeout",
        "check that the API server reaches pods of namespace {ns} (network policies, firewall) and that {name} is not "
        "overloaded; kubectl -n {ns} rollout restart deployment/{name}",
    ),
    (
        re.compile(r"connection refused|no endpoints available|no such host|service .* not found", re.IGNORECASE),
        "not reachable",
        _RESTART,
    ),
)


def served(resources: Json | None) -> Check:
    """Checks that OME's kinds are served. ``resources``: response of ``/apis/ome.io/v1beta1``; None if the API server
    does not know the group."""
    if resources is None:
        return Check.fail("ome", "OME is not installed: the API server has no ome.io/v1beta1", remedy=_INSTALL)
    there = {str(one.get("name")) for one in resources.get("resources") or ()}
    missing = [kind for kind in KINDS if kind not in there]
    if missing:
        return Check.fail(
            "ome", f"ome.io/v1beta1 has no {', '.join(missing)}", remedy="reinstall OME's CRDs (chart ome-crd)"
        )
    if BENCHMARKS not in there:
        return Check.warn(
            "ome",
            f"ome.io/v1beta1 has no {BENCHMARKS}",
            remedy="install OME's CRDs (chart ome-crd) to use benchmark.kind ome_job",
        )
    return Check.ok("ome", f"ome.io/v1beta1, {len([n for n in there if '/' not in n])} kinds")


def manager(deployment: Json | None, namespace: str) -> Check:
    """Checks that OME's manager runs, and reports its version."""
    name = "ome manager"
    if deployment is None:
        why = f"no Deployment {MANAGER} in namespace {namespace}"
        return Check.fail(name, why, remedy="correct deploy.ome_namespace, or install OME (chart ome-resources)")
    images = [str(c.get("image", "")) for c in deployment["spec"]["template"]["spec"].get("containers") or ()]
    image = next((i for i in images if i), "")
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2] or "no tag"
    wanted = int(deployment["spec"].get("replicas", 1))
    ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
    detail = f"{tag}, {ready} of {wanted} ready"
    if ready:
        return Check.ok(name, detail)
    return Check.fail(
        name,
        f"{detail}: services would not be processed",
        remedy=f"kubectl -n {namespace} describe pods, and check its log",
    )


def webhook(message: str, namespace: str) -> Check:
    """A failed check from the API server's message that it could not call a webhook of OME."""
    details = " ".join(message.partition("failed calling webhook")[2].split()) or message
    called = details.partition(":")[0].strip('" ')
    cause = details.rpartition('": ')[2][:200]
    names = {"ns": namespace, "name": MANAGER}
    _, why, remedy = next(
        (fault for fault in _FAULTS if fault[0].search(cause)), (None, "the API server cannot call it", _RESTART)
    )
    return Check.fail("ome webhooks", f"{why}: {called}: {cause}", remedy=remedy.format(**names))


def certificates(group: Json | None, deployments: Iterable[Json]) -> Check:
    """Checks cert-manager, which issues the webhooks' certificates. ``group``: its API's resources; None without it."""
    if group is None:
        return Check.fail(
            "cert-manager",
            "not installed; OME's webhooks need it",
            remedy="install cert-manager 1.9 or newer",
        )
    not_ready = [str(d["metadata"]["name"]) for d in deployments if not (d.get("status") or {}).get("readyReplicas")]
    if not_ready:
        return Check.fail(
            "cert-manager", f"not ready: {', '.join(not_ready)}", remedy="kubectl -n cert-manager describe pods"
        )
    remedy = "check kubectl get certificate,certificaterequest -A, and the log of cert-manager-cainjector"
    return Check.warn("cert-manager", "installed, but the API server does not trust OME's certificate", remedy=remedy)


def configuration(config: Json | None) -> Check:
    """Reports whether OME creates Ingresses, according to its ``inferenceservice-config``."""
    name = "ome ingress"
    section = _section(config, "ingress")
    if section is None:
        return Check.warn(
            name, "inferenceservice-config has no readable ingress section", remedy="reinstall OME's configuration"
        )
    if section.get("disableIngressCreation"):
        return Check.ok(name, "not created; each service has its own Service")
    return Check.ok(name, f"created for each service, domain {section.get('ingressDomain') or 'not set'}")


def benchmark_image(config: Json | None) -> Check:
    """Reports the default image of BenchmarkJobs, according to OME's ``benchmarkjob-config``."""
    section = _section(config, "benchmarkjob") or {}
    image = section.get("podConfig", section).get("image")
    if not image:
        remedy = "set benchmark.image to use benchmark.kind ome_job"
        return Check.warn("ome benchmark image", "benchmarkjob-config names no image", remedy=remedy)
    return Check.ok("ome benchmark image", f"{image}, unless benchmark.image is set")


def _section(config: Json | None, key: str) -> Mapping[str, Any] | None:
    try:
        section = json.loads(((config or {}).get("data") or {})[key])
    except (KeyError, ValueError):
        return None
    return section if isinstance(section, dict) else None


def agent(daemon_set: Json | None, pods: Sequence[Json], logs: Mapping[str, str], *, needed: bool) -> list[Check]:
    """Checks the model agent's pods.

    Args:
        daemon_set: The agent's; None if it does not exist.
        pods: Its pods.
        logs: The end of each crashing pod's log, by the pod's name.
        needed: Whether no node has the model yet, so that nothing can be served without the agent.
    """
    name = "model agent"
    make = Check.fail if needed else Check.warn
    if daemon_set is None:
        return [
            make(
                name,
                f"no DaemonSet {AGENT}: models are not downloaded to nodes",
                remedy="reinstall chart ome-resources",
            )
        ]
    status = daemon_set.get("status") or {}
    ready = int(status.get("numberReady") or 0)
    wanted = int(status.get("desiredNumberScheduled") or 0)
    crashed = {p["metadata"]["name"]: logs.get(p["metadata"]["name"], "") for p in pods if crashes(p)}
    found = []
    for pod, log in crashed.items():
        remedy = _SHAPE_REMEDY if _SHAPE in log else f"check its log: kubectl logs {pod} --previous"
        found.append(make(name, f"{pod} keeps crashing: {_last_line(log) or 'its log is empty'}", remedy=remedy))
    for pod in pods:
        if why := _unscheduled(pod):
            remedy = _SIZE_REMEDY if _is_large(daemon_set) else "make room on the node, or lower modelAgent.resources"
            found.append(make(name, f"{pod['metadata']['name']} is Pending: {why}", remedy=remedy))
    if not found and ready < wanted:
        found = [make(name, f"{ready} of {wanted} pods ready", remedy="kubectl describe the pods of the DaemonSet")]
    return found or [Check.ok(name, f"{ready} of {wanted} pods ready")]


def crashes(pod: Json) -> bool:
    """Returns whether a container of the pod failed and is being restarted."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        end = (one.get("state") or {}).get("terminated") or (one.get("lastState") or {}).get("terminated") or {}
        if end.get("exitCode") and not one.get("ready"):
            return True
    return False


def _last_line(log: str) -> str:
    """Returns the line with the cause: one with a known message, else the last."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    known = [line for line in lines if _SHAPE in line]
    return (known or lines or [""])[-1][:300]


def _unscheduled(pod: Json) -> str:
    found = condition(pod.get("status") or {}, "PodScheduled")
    return str(found.get("message") or found.get("reason")) if found.get("status") == "False" else ""


def _is_large(daemon_set: Json) -> bool:
    requests = [
        (c.get("resources") or {}).get("requests") or {} for c in daemon_set["spec"]["template"]["spec"]["containers"]
    ]
    return any(amount(r.get("cpu", 0)) >= _LARGE_CPU or amount(r.get("memory", 0)) >= _LARGE_MEMORY for r in requests)


def left_behind(objects: Iterable[Json], held: Mapping[str, str]) -> list[Check]:
    """Checks for InferenceServices and BenchmarkJobs with autotuner's label in the namespace.

    ``held``: by name, why the deletion of an object does not finish, if that is known.
    """
    found = []
    others = []
    for one in objects:
        metadata = one["metadata"]
        label = f"{one['kind']} {metadata['name']}"
        if not metadata.get("deletionTimestamp"):
            others.append(label)
            continue
        finalizers = ", ".join(metadata.get("finalizers") or ()) or "none"
        why = f"{label} is being deleted, held by its finalizers ({finalizers})"
        remedy = "wait; if it stays, check the log of OME's manager"
        if reason := held.get(str(metadata["name"])):
            why = f"{why}: {reason}"
            remedy = "fix that, then OME removes it; its GPUs are free once its pods have ended"
        found.append(Check.warn("left behind", why, remedy=remedy))
    if others:
        remedy = "autotuner reap removes those of dead runs; a live run removes its own"
        found.append(Check.warn("left behind", f"{len(others)} created by autotuner: {_some(others)}", remedy=remedy))
    return found or [Check.ok("left behind", "nothing")]


def _some(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def benchmark_pods(pods: Iterable[Json]) -> list[Check]:
    """Returns warnings for pods of benchmark jobs whose image cannot be pulled."""
    found = []
    for pod in pods:
        for one in (pod.get("status") or {}).get("containerStatuses") or ():
            waiting = (one.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in _PULL:
                why = f"{pod['metadata']['name']} cannot pull {one.get('image')} ({waiting['reason']})"
                remedy = "set benchmark.image to an image that the nodes can pull"
                found.append(Check.warn("ome benchmark image", why, remedy=remedy))
    return found
