"""User-visible wordings of the Kubernetes deployer: refused settings, failures and preflight checks."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.lowlevel import checkpoint
from syrupy.assertion import SnapshotAssertion

from autotuner.deployers.kubernetes import logs, model_location, nodes, patience, preflight, refused_object, watch
from autotuner.deployers.kubernetes.checks import access, admission, capacity
from autotuner.deployers.kubernetes.checks.admission import PodRequest
from autotuner.deployers.kubernetes.client import Cluster, RefusedError, connected
from autotuner.deployers.kubernetes.load import job as load_job
from autotuner.deployers.kubernetes.nodes import Nodes
from autotuner.deployers.kubernetes.pods import removal
from autotuner.deployers.kubernetes.pods import status as pod_status
from autotuner.deployers.kubernetes.refusals import LOADGEN, judge, not_authenticated
from autotuner.deployers.kubernetes.settings import KubernetesSettings, PodSettings
from autotuner.errors import UsageError
from autotuner.net.proxies import Proxy
from autotuner.plugins import loading
from autotuner.study.check import Check
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.spec import Model, PluginSpec


def described(failure: Failure) -> list[str]:
    return [failure.cause.value, failure.message, failure.remedy]


def shown(checks: Sequence[Check]) -> list[str]:
    return [f"{check.status}: {check.name}: {check.detail}; {check.remedy}" for check in checks]


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"security_context": {"runAsuser": 1}}, "deploy.security_context"),
        ({"security_context": {"runAsUser": "1"}}, "deploy.security_context"),
        ({"security_context": {"runAsUser": True}}, "deploy.security_context"),
        ({"security_context": {"runAsNonRoot": 1}}, "deploy.security_context"),
        ({"security_context": {"fsGroupChangePolicy": 1}}, "deploy.security_context"),
        ({"security_context": {"sysctls": {}}}, "deploy.security_context"),
        ({"security_context": {"capabilities": {}}}, "deploy.security_context"),
        ({"container_security_context": {"fsGroup": 1}}, "deploy.container_security_context"),
        ({"container_security_context": {"capabilities": ["ALL"]}}, "deploy.container_security_context"),
        ({"loadgen_security_context": {"x": 1}}, "deploy.loadgen_security_context"),
        ({"loadgen_labels": {"autotuner/study": "x"}}, "deploy.loadgen_labels"),
        ({"tolerations": [{"keys": "x"}]}, "deploy.tolerations"),
        ({"loadgen_tolerations": [{"keys": "x"}]}, "deploy.loadgen_tolerations"),
        ({"security": "baseline"}, "deploy.security"),
        ({"cpu": "4", "cpu_limit": "2"}, "deploy"),
        ({"pvc": {"claim": "c"}, "model_roots": ["/m"]}, "deploy"),
        ({"model_roots": ["m"]}, "deploy.model_roots"),
        ({"model_roots": ["/"]}, "deploy.model_roots"),
        ({"image": "a:1", "image_tag": "2"}, "deploy"),
        ({"memory": "much"}, "deploy.memory"),
        ({"cpu": 0}, "deploy.cpu"),
        ({"labels": {"autotuner/study": "x"}}, "deploy.labels"),
        ({"labels": {"a": "b c"}}, "deploy.labels"),
        ({"env_from": [{}]}, "deploy.env_from[0]"),
        ({"url_template": "http://{ip}"}, "deploy"),
        ({"load": "direct", "url_template": "http://{host}"}, "deploy"),
        ({"namespace": "Big"}, "deploy.namespace"),
        ({"no_such_setting": 1}, "deploy.no_such_setting"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value,
)
def test_refused_settings(settings: dict[str, Any], where: str, snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UsageError) as caught:
        loading.deployer(PluginSpec.model_validate({"kind": "kubernetes", **settings}))
    assert [problem.where for problem in caught.value.problems] == [where]
    assert str(caught.value) == snapshot


@pytest.mark.parametrize(
    ("settings", "path"),
    [({}, "../x"), ({}, "/etc/passwd"), ({"pvc": {"claim": "c"}}, "/data/x"), ({"model_roots": ["/data"]}, "/x")],
    ids=["name", "path", "claim", "roots"],
)
def test_refused_model_locations(settings: dict[str, Any], path: str, snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UsageError) as caught:
        model_location.locate(Model(path=path), KubernetesSettings.model_validate(settings))
    assert [str(problem) for problem in caught.value.problems] == snapshot


FORBIDDEN = 'Error creating: pods "at-x" is forbidden: '
REFUSALS = {
    "context": 'violates PodSecurity "restricted:latest": runAsNonRoot != true',
    "volume": 'violates PodSecurity "baseline:latest": hostPath volumes (volume "models-0")',
    "context and volume": 'violates PodSecurity "restricted:v1": seccompProfile, restricted volume types',
    "another rule": 'violates PodSecurity "baseline:latest": host namespaces',
    "openshift": "unable to validate against any security context constraint: []",
    "quota": "failed quota: few: must specify limits.cpu for: server; memory for: server",
    "unknown quota": "failed quota: few: must specify pods",
    "largest": "maximum cpu usage per Container is 1. No limit is specified",
    "ratio": "memory max limit to request ratio per Container is 1, but provided ratio is 4",
    "policy": "ValidatingAdmissionPolicy 'team' with binding 'team' denied request: label team is required",
    "webhook": 'admission webhook "validate.kyverno.svc" denied the request: no',
    "account": 'serviceaccount "sa" not found',
    "priority": "no PriorityClass with name high was found",
    "runtime class": 'pod rejected: RuntimeClass "nvidia" not found',
    "permission": 'User "u" cannot create resource "pods" in API group "" in the namespace "n"',
    "namespace": "unable to create new content in namespace n because it is being terminated",
    "another": "something new",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_pods(name: str, snapshot: SnapshotAssertion) -> None:
    refused = judge(FORBIDDEN + REFUSALS[name])
    assert [refused.final, refused.message, *refused.remedies] == snapshot


def test_refused_load_generators(snapshot: SnapshotAssertion) -> None:
    names = ("quota", "largest", "account", "priority", "runtime class")
    assert [judge(REFUSALS[name], LOADGEN).remedy for name in names] == snapshot


def pod(status: dict[str, Any], **container: Any) -> dict[str, Any]:
    containers = [{"name": "server", "restartCount": 0, "state": container}] if container else []
    return {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"initContainers": [{"name": "fetch"}]},
        "status": {"containerStatuses": containers, **status},
    }


def waiting(reason: str, message: str) -> dict[str, Any]:
    return pod({}, waiting={"reason": reason, "message": message})


def terminated(reason: str, message: str = "") -> dict[str, Any]:
    return pod({}, terminated={"exitCode": 137, "reason": reason, "message": message})


def disrupted(reason: str) -> dict[str, Any]:
    return pod({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason}]})


PODS: dict[str, dict[str, Any]] = {
    "image": waiting("ErrImagePull", "docker.io/x/y:1: not found"),
    "secret": waiting("CreateContainerConfigError", 'secret "hub" not found'),
    "root": waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
    "device": waiting("RunContainerError", "nvidia-container-cli: initialization error"),
    "program": terminated("StartError", 'exec: "nope": executable file not found'),
    "memory": terminated("OOMKilled"),
    "unknown status": terminated("ContainerStatusUnknown"),
    "ended early": pod({"phase": "Failed", "message": "no runtime"}),
    "no room": pod({"reason": "OutOfnvidia.com/gpu", "message": "Node has 0 left"}),
    "deleted": {**pod({}), "metadata": {"name": "p", "deletionTimestamp": "2026-11-25T03:06:54Z"}},
    "init container": pod({"initContainerStatuses": [{"name": "fetch", "state": {"terminated": {"exitCode": 7}}}]}),
    **{reason: pod({"reason": reason, "message": "as the node says"}) for reason in pod_status._REASONS_OF_THE_NODE},
    **{reason: disrupted(reason) for reason in pod_status._DISRUPTED},
}


@pytest.mark.parametrize("name", PODS)
def test_failed_pods(name: str, snapshot: SnapshotAssertion) -> None:
    failure = pod_status.look(PODS[name], "server").failure
    assert failure is not None
    assert described(failure) == snapshot


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("FailedCreate", "exceeded quota: gpus, requested: pods=1, used: pods=2, limited: pods=2"),
        ("FailedMount", "hostPath type check failed: /m is not a directory"),
        ("FailedMount", 'secret "x" not found'),
    ],
    ids=["quota", "model", "volume"],
)
def test_events(reason: str, message: str, snapshot: SnapshotAssertion) -> None:
    trouble = pod_status.events_trouble([{"reason": reason, "message": message}])
    assert trouble is not None
    assert described(trouble.failure) == snapshot


REFUSED = RefusedError(403, "Forbidden", 'pods is forbidden: User "u" cannot list resource "pods"')
FAILURES: dict[str, Callable[[], Failure]] = {
    "API server lost": lambda: patience.lost("connection refused"),
    "API server lost behind a proxy": lambda: patience.lost(
        "connection refused", Proxy(url="http://proxy:3128", variable="HTTPS_PROXY")
    ),
    "webhook lost": lambda: patience.lost('failed calling webhook "x": connection refused'),
    "credentials": lambda: not_authenticated("Unauthorized"),
    "log": lambda: logs._forbidden(REFUSED),
    "watch": lambda: watch._cannot_watch("/api/v1/namespaces/n/pods", REFUSED),
    "no such namespace": lambda: refused_object.refusal(
        RefusedError(404, "NotFound", 'namespaces "n" not found'), "Job at-x"
    ),
    "refused Job": lambda: refused_object.refusal(REFUSED, "Job at-x"),
    "no GPU": lambda: pod_status.StartFailure.no_room("1 Insufficient nvidia.com/gpu").failure,
    "no memory": lambda: pod_status.StartFailure.no_room("1 Insufficient memory").failure,
    "stuck removal": lambda: removal._still_there("at-x", [{"metadata": {"finalizers": ["a/b"]}}]),
    "load generator's image": lambda: load_job._load_failure(
        Failure(cause=FailureCause.IMAGE_MISSING, message="cannot pull image", remedy="")
    ),
    "load generator's memory": lambda: load_job._load_failure(
        Failure(cause=FailureCause.HOST_OUT_OF_MEMORY, message="out of memory", remedy="")
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name: str, snapshot: SnapshotAssertion) -> None:
    assert described(FAILURES[name]()) == snapshot


@pytest.mark.anyio
@pytest.mark.parametrize("content", [None, "{}"], ids=["missing", "empty"])
async def test_unusable_kubeconfigs(content: str | None, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    with pytest.raises(TrialFailedError) as caught:
        async with connected(PodSettings(kubeconfig=str(file))):
            pass
    assert [text.replace(str(tmp_path), "FOLDER") for text in described(caught.value.failure)] == snapshot


def node(name: str, *, taint: str = "", ready: str = "True", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {"taints": [{"key": taint, "effect": "NoSchedule"}] if taint else [], **spec},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "4"},
        },
    }


def test_unusable_nodes(snapshot: SnapshotAssertion) -> None:
    candidates = (node("a"), node("a", unschedulable=True), node("a", ready="False"), node("a", taint="dedicated"))
    reasons = [nodes.why_not(one, KubernetesSettings()) for one in candidates]
    assert [*reasons, nodes.why_not(node("a"), KubernetesSettings(node_selector={"zone": "b"}))] == snapshot


TWO = Nodes(usable=(node("a"),), all_nodes=(node("a"),), left_out=("b: cordoned",))
NONE = Nodes(left_out=("a: cordoned", "b: not ready"))
AMD = KubernetesSettings(gpu_resource="amd.com/gpu")
LOADED = KubernetesSettings(loadgen_image="l:1", loadgen_cpu="3")
PLAN = LaunchPlan(command=("vllm",), model="m", needs_files=("/models/m",), hub_models=("org/m",))


def of_nodes() -> Sequence[Check]:
    return [
        capacity.room(TWO, [{"cpu": "4"}], KubernetesSettings()),
        capacity.room(TWO, [{"cpu": "9"}, {"nvidia.com/gpu": "8", "memory": "64Gi"}], KubernetesSettings()),
        capacity.room(TWO, [{"amd.com/gpu": "1"}], AMD),
        capacity.room(TWO, [], AMD),
        capacity.room(NONE, [], KubernetesSettings(gpus=4)),
        *capacity.load_room(TWO, [{"cpu": "6"}], LOADED),
        *capacity.load_room(TWO, [{"cpu": "6"}], LOADED.model_copy(update={"loadgen_cpu": "9"})),
    ]


def of_gpus() -> Sequence[Check]:
    found = [nodes.hardware(TWO, AMD), nodes.hardware(NONE, KubernetesSettings())]
    return [
        *(Check.fail("no GPUs", hardware.no_gpus, remedy=hardware.no_gpus_remedy) for hardware in found),
        *preflight.hidden_gpus([PLAN.model_copy(update={"env": {"CUDA_VISIBLE_DEVICES": "0"}})]),
    ]


def of_quotas() -> Sequence[Check]:
    status = {"hard": {"requests.cpu": "8", "pods": "4"}, "used": {"requests.cpu": "6", "pods": "0"}}
    quota = {"metadata": {"name": "few"}, "status": status}
    return [*capacity._quota(quota, {"requests.cpu": 4.0}), *capacity._quota(quota, {"pods": 9.0})]


def of_images_and_models() -> Sequence[Check]:
    return [
        *preflight._images([PLAN], KubernetesSettings(loadgen_image="l:1")),
        *preflight._images([PLAN.model_copy(update={"image": "i:1"})], KubernetesSettings(load="port-forward")),
        *preflight.load_generator(KubernetesSettings(), needed=True),
        *preflight._models([PLAN], KubernetesSettings(model_roots=("/data",))),
        *preflight._models([PLAN], KubernetesSettings(model_roots=("/models",), cache_pvc="c")),
    ]


REQUEST = PodRequest("server", "server", {"metadata": {}, "spec": {"containers": [{"name": "server"}]}})


def of_admission() -> Sequence[Check]:
    limited = {
        "name": "server",
        "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
        "env": [{"name": "HTTP_PROXY", "value": "http://p"}],
    }
    return [
        *admission.changes(REQUEST, {"spec": {"containers": [limited, {"name": "istio-proxy"}]}}),
        *admission._warnings(REQUEST, ["deprecated field"]),
        admission._refusal_check(REQUEST, 'admission webhook "x" does not support dry run'),
        admission._refusal_check(REQUEST, FORBIDDEN + REFUSALS["policy"]),
        access.not_checked("volume", RefusedError(403, "Forbidden", REFUSALS["permission"])),
        access.not_checked("volume", RefusedError(500, "", "etcd is down")),
    ]


@pytest.mark.parametrize("checks", [of_nodes, of_gpus, of_quotas, of_images_and_models, of_admission])
def test_checks(checks: Callable[[], Sequence[Check]], snapshot: SnapshotAssertion) -> None:
    assert shown(checks()) == snapshot


OBJECTS: dict[str, Any] = {
    "/version": {"major": "1", "minor": "26", "gitVersion": "v1.26.0"},
    "/api/v1/namespaces/n": {"status": {"phase": "Terminating"}},
    "/api/v1/namespaces/n/persistentvolumeclaims/lost": {"status": {"phase": "Lost"}},
    "/api/v1/namespaces/n/persistentvolumeclaims/bound": {"status": {"phase": "Bound"}},
    "/apis/kueue.x-k8s.io/v1beta2/namespaces/n/localqueues/full": {
        "status": {"conditions": [{"type": "Active", "status": "False", "message": "no ClusterQueue"}]}
    },
    "/api/v1/namespaces/n/limitranges": {
        "items": [{"metadata": {"name": "lr"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}]
    },
    "/api/v1/namespaces/n/resourcequotas": {
        "items": [{"metadata": {"name": "few"}, "spec": {"hard": {"limits.memory": "9Gi"}}}]
    },
}


async def respond(request: httpx.Request) -> httpx.Response:
    """Denies every permission; other objects are those of ``OBJECTS``."""
    await checkpoint()
    if request.url.path.endswith("selfsubjectaccessreviews"):
        return httpx.Response(200, json={"status": {"allowed": False}})
    found = OBJECTS.get(request.url.path)
    return httpx.Response(200, json=found) if found else httpx.Response(404, json={"message": "not found"})


@pytest.mark.anyio
async def test_checks_of_a_cluster(snapshot: SnapshotAssertion) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(respond), base_url="http://api") as http:
        cluster = Cluster(http, None, "n", 0.0)
        settings = KubernetesSettings(service_account="sa", priority_class="high")
        checks = [
            await access.version(cluster),
            await access.namespace(cluster),
            *await access.rights(cluster, preflight.needed_rights(settings)),
            *[await capacity.claim(cluster, name) for name in ("bound", "lost", "missing")],
            *[await capacity.queue(cluster, name) for name in ("full", "missing")],
            *await admission.references(cluster, settings),
            *await admission._without_dry_run(
                cluster, REQUEST, ['would violate PodSecurity "restricted:latest": runAsNonRoot != true']
            ),
        ]
    assert shown(checks) == snapshot
