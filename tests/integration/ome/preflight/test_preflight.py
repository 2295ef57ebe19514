"""Preflight checks for OME against a real API server: each fault is reported with a remedy."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync
from ruamel.yaml import YAML

from autotuner.deployers.kubernetes.client import connected
from autotuner.deployers.ome import preflight
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.study.check import Check, CheckStatus
from autotuner.study.launch import LaunchPlan
from support.labs.cluster import OwnCluster
from support.ome_standin import OmeStandIn
from support.ome_standin.images import MANAGER
from support.ome_standin.lab import Lab, eventually
from support.ome_standin.sample_objects import MODEL, RUNTIME, model, runtime

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

PLAN = LaunchPlan(command=("python3", "-m", "sglang.launch_server"), model="m", gpus=1)
OURS = {"app.kubernetes.io/managed-by": "autotuner"}
Object = dict[str, Any]
Look = Callable[..., Awaitable[list[Check]]]


def failing(checks: list[Check], name: str = "", status: CheckStatus = CheckStatus.FAIL) -> list[str]:
    """Returns the details of the checks with this name and status, each of which must have a remedy."""
    found = [c for c in checks if c.status is status and name in ("", c.name)]
    assert all(c.remedy for c in found)
    return [c.detail for c in found]


def remedy(checks: list[Check], name: str) -> str:
    return next(c.remedy for c in checks if c.name == name and c.status is not CheckStatus.OK)


async def test_healthy_cluster(look: Look) -> None:
    checks = await look()
    assert {c.status for c in checks} == {CheckStatus.OK}
    details = {c.name: c.detail for c in checks}
    assert details["model"] == f"ClusterBaseModel {MODEL}, ready on node-1"
    assert details["runtime"] == f"ClusterServingRuntime {RUNTIME}, serves {MODEL}"
    assert details["ome manager"] == "v0.1.5, 1 of 1 ready"
    assert "genai-bench:0.1.113, unless" in details["ome benchmark image"]
    assert details["ome ingress"].startswith("not ")


async def test_manifests_of_the_documentation_are_accepted(lab: Lab) -> None:
    page = (Path(__file__).parents[4] / "docs" / "how-to" / "run-in-ome.md").read_text()
    blocks = re.findall(r"^```yaml\n(apiVersion: .*?)^```$", page, re.MULTILINE | re.DOTALL)
    for thing in map(YAML(typ="safe").load, blocks):
        assert lab.post(thing, dryRun="All").status_code == 201
    assert len(blocks) == 2


async def test_problems_of_the_engine_and_the_dry_run(look: Look) -> None:
    """The engine only checks a runtime without faults, and the dry run is made if no other check fails."""
    planned: list[LaunchPlan] = []

    async def dry_run(plan: LaunchPlan) -> list[Check]:
        planned.append(plan)
        return [Check.ok("admission")]

    checks = await look(problems=lambda r: (f"{r.name} starts another engine", "choose one"), dry_run=dry_run)
    assert failing(checks, "runtime") == [f"{RUNTIME} starts another engine"]
    assert planned == []
    assert (await look(dry_run=dry_run))[-1].name == "admission"
    assert planned == [PLAN]


async def test_cluster_without_a_study(look: Look) -> None:
    checks = await look(model=None, runtime=None)
    assert failing(checks) == []
    assert "models: 1 ready: sim-model" in [f"{c.name}: {c.detail}" for c in checks]


async def test_ome_is_not_installed(cluster: OwnCluster) -> None:
    settings = OmeSettings(kubeconfig=str(cluster.kubeconfig))
    async with connected(settings) as connection:
        checks = await preflight.checks(connection, (), settings)
    (detail,) = failing(checks)
    assert "ome.io/v1beta1" in detail
    assert [c.name for c in checks][-1] == "nodes", "the other checks are still made"


@pytest.mark.parametrize(
    ("fault", "cause", "command"),
    [
        ("down", "reachable", "rollout restart deployment/ome-controller-manager"),
        ("x509", "certificate", "kubectl get certificate"),
        pytest.param("slow", "timeout", "network policies", marks=pytest.mark.campaign),
    ],
)
async def test_unreachable_webhooks(look: Look, ome: OmeStandIn, fault: str, cause: str, command: str) -> None:
    with ome.fault(webhook=fault):
        checks = await look()
        while not failing(checks, "ome webhooks"):  # the API server keeps using an open connection
            checks = await look()
    why, _, rest = failing(checks, "ome webhooks")[0].partition(": ")
    assert cause in why
    assert fault == "slow" or rest.startswith("inferenceservice.")
    assert command in remedy(checks, "ome webhooks")
    assert len(failing(checks, "cert-manager")) == (fault == "x509")
    assert {"model", "runtime", "nodes"} <= {c.name for c in checks if c.status is CheckStatus.OK}


def own_model(lab: Lab, name: str, **spec: Any) -> str:
    made = model("/models/x", name=name, **spec)
    lab.created({**made, "kind": "BaseModel", "metadata": {"name": name, "namespace": lab.namespace}})
    return name


async def test_models(look: Look, lab: Lab, ome: OmeStandIn) -> None:
    path = ome.settings.model_path
    good = {"storageUri": f"local://{path}", "path": path}
    cases: dict[str, tuple[Object, str, str]] = {
        "off": ({"storage": good, "disabled": True}, "disabled", "spec.disabled"),
        "claimed": ({"storage": {"storageUri": "pvc://c/x", "path": "/x"}}, "pvc://c/x", "hf://ORG/MODEL"),
        "pathless": ({"storage": {"storageUri": f"local://{path}"}}, "storage.path", "spec.storage.path"),
        "dotted-0.5b": ({"storage": good}, "volume", "letters, digits and hyphens"),
        "vendor": ({"storage": good, "vendor": "a b"}, "vendor a b", "spec.vendor"),
        "lost": (
            {"storage": {"storageUri": "local:///no/such", "path": "/no/such"}},
            "; failed on node-1; node-1: Failed",
            "download",
        ),
        "coming": ({"storage": {"storageUri": "hf://org/m", "path": "/x"}}, "; node-1: Updating", "download"),
    }
    with ome.fault(downloads="in_transit"):
        for name, (spec, _, _) in cases.items():
            own_model(lab, name, **spec)
        for name, state in {"off": "Ready", "lost": "Failed", "coming": "In_Transit", "claimed": "In_Transit"}.items():
            eventually(lambda name=name, state=state: state_of(lab, name) == state)  # type: ignore[misc]
        for name, (_, why, hint) in cases.items():
            checks = await look(model=name)
            details = failing(checks, "model")
            assert any(name in one and why in one for one in details), (name, details)
            assert hint in " ".join(c.remedy for c in checks if c.name == "model")
    own_model(lab, "own-with-hyphens", storage=good)
    eventually(lambda: state_of(lab, "own-with-hyphens") == "Ready")
    assert failing(await look(model="own-with-hyphens")) == [], "the path may differ from the name"


def state_of(lab: Lab, name: str) -> str:
    return str((lab.get("BaseModel", name).get("status") or {}).get("state"))


async def test_model_in_transit_on_a_node_that_has_it(
    look: Look, lab: Lab, ome: OmeStandIn, ome_cluster: OwnCluster
) -> None:
    """A warning, not a failure, since the node can serve it."""
    label = f"models.ome.io/{lab.namespace}.basemodel.travels"
    with ome.fault(downloads="in_transit"):
        own_model(lab, "travels", storage={"storageUri": "hf://org/m", "path": "/x"})
        eventually(lambda: state_of(lab, "travels") == "In_Transit")
        with ome.fault(agent="stopped"):  # a running agent would reset the label
            lab.patch("Node", ome_cluster.node, {"metadata": {"labels": {label: "Ready"}}}).raise_for_status()
            checks = await look(model="travels")
            lab.patch("Node", ome_cluster.node, {"metadata": {"labels": {label: None}}}).raise_for_status()
    assert failing(checks) == []
    (warning,) = failing(checks, "model", CheckStatus.WARN)
    assert [part for part in ("In_Transit", "node-1") if part not in warning] == []


async def test_unknown_names(look: Look, lab: Lab, ome_cluster: OwnCluster) -> None:
    other = f"{lab.namespace}-other"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}
    ome_cluster.api("POST", "/api/v1/namespaces", json=space).raise_for_status()
    foreign = runtime("engine:1", name="foreign")
    lab.created({**foreign, "kind": "ServingRuntime", "metadata": {"name": "foreign", "namespace": other}})
    checks = await look(model="sim-modle", runtime="foreign")
    (detail,) = failing(checks, "runtime")
    assert [part for part in ("ServingRuntime foreign", other, f"not in {lab.namespace}") if part not in detail] == []
    assert 'did you mean "sim-model"?' in remedy(checks, "model")
    checks = await look(runtime="srt-no-such")
    assert remedy(checks, "runtime").endswith(f": {RUNTIME}")
    checks = await look(runtime=None)
    assert len(failing(checks, "runtime")) == 1
    ome_cluster.api("DELETE", f"/api/v1/namespaces/{other}")


async def test_runtimes(look: Look, lab: Lab) -> None:
    config = runtime("engine:1")["spec"]["engineConfig"]
    own = config["runner"]
    onnx = {"modelFormat": {"name": "onnx"}, "modelFramework": {"name": "onnxruntime"}, "autoSelect": False}
    cases: dict[str, tuple[Object, str]] = {
        "off": ({"disabled": True}, "sim-model: it is disabled"),
        "other": ({"supportedModelFormats": [onnx]}, "sim-model: modelArchitecture is LlamaForCausalLM "),
        "large": ({"modelSizeRange": {"min": "7B", "max": "8B"}}, "modelParameterSize 1B "),
        "several": ({"engineConfig": {**config, "worker": {"size": 1}, "leader": {}}}, "several nodes"),
        "split": ({"decoderConfig": {"runner": own}}, "(decoderConfig)"),
        "phase": (
            {"engineConfig": {**config, "runner": {**own, "args": ["--disaggregation-mode", "prefill"]}}},
            "(--disaggregation-mode)",
        ),
        "empty": ({"engineConfig": {}}, "engineConfig.runner"),
        "named": ({"engineConfig": {**config, "runner": {**own, "name": "engine"}}}, "container engine"),
        "shell": (
            {"engineConfig": {**config, "runner": {**own, "command": ["/bin/bash", "-c"], "args": ["serve"]}}},
            "shell (/bin/bash)",
        ),
        "jinja": (
            {"engineConfig": {**config, "runner": {**own, "args": ["--chat-template", "{{ messages }}"]}}},
            "{{ in args[1]",
        ),
    }
    for name, (spec, _) in cases.items():
        made = runtime("engine:1", name=name, **spec)
        lab.created({**made, "kind": "ServingRuntime", "metadata": {"name": name, "namespace": lab.namespace}})
    for name, (_, why) in cases.items():
        details = failing(await look(runtime=name), "runtime")
        assert any(f"ServingRuntime {name} " in one and why in one for one in details), (name, details)


async def test_nodes(look: Look, ome_cluster: OwnCluster, lab: Lab) -> None:
    checks = await look(PLAN.model_copy(update={"gpus": 8}))
    (detail,) = failing(checks, "nodes")
    assert re.search(r"nvidia\.com/gpu 8 .* 4$", detail)
    checks = await look(memory="1000Ti")
    assert "memory 1000Ti " in failing(checks, "nodes")[0]
    taint = {"spec": {"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]}}
    lab.patch("Node", ome_cluster.node, taint).raise_for_status()
    try:
        assert "taint team:NoSchedule " in failing(await look(), "nodes")[0]
        assert failing(await look(tolerations=[{"key": "team", "operator": "Exists"}])) == []
    finally:
        lab.patch("Node", ome_cluster.node, {"spec": {"taints": None}}).raise_for_status()
    with gpus(ome_cluster, 0):
        checks = await look()
    assert "nvidia.com/gpu" in failing(checks, "nodes")[0]
    assert "device plugin" in remedy(checks, "nodes")
    assert "Minikube" in remedy(checks, "nodes")


@contextmanager
def gpus(cluster: OwnCluster, count: int) -> Iterator[None]:
    before = cluster.gpus
    cluster.set_gpus(count)
    try:
        yield
    finally:
        cluster.set_gpus(before)


async def test_volumes_and_quotas(look: Look, lab: Lab) -> None:
    made = runtime("engine:1", name="stores")
    made["spec"]["engineConfig"]["volumes"].append(
        {"name": "c", "persistentVolumeClaim": {"claimName": "missing-claim"}}
    )
    lab.created({**made, "kind": "ServingRuntime", "metadata": {"name": "stores", "namespace": lab.namespace}})
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    path = f"/api/v1/namespaces/{lab.namespace}/resourcequotas"
    lab.api("POST", path, json={**quota, "spec": {"hard": {"requests.nvidia.com/gpu": "1"}}}).raise_for_status()
    eventually(lambda: lab.api("GET", f"{path}/small").json()["status"].get("hard"))
    checks = await look(PLAN.model_copy(update={"gpus": 2}), runtime="stores", kueue_queue="missing-queue")
    (volume,) = failing(checks, "volume")
    assert volume.startswith("claim missing-claim ")
    assert lab.namespace in volume
    (quota_detail,) = failing(checks, "quota")
    assert re.fullmatch(r"small: requests\.nvidia\.com/gpu 2 .* 1", quota_detail)
    assert f"missing-queue in {lab.namespace}" in failing(checks, "queue")[0]


async def test_benchmark_image_that_cannot_be_pulled(look: Look, lab: Lab) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b", "namespace": lab.namespace}}
    pod["metadata"]["labels"] = {"benchmark": "b"}  # type: ignore[index]
    container = {"name": "b", "image": "nowhere/genai-bench:9", "imagePullPolicy": "Never"}
    lab.created({**pod, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}})
    eventually(lambda: "ErrImageNeverPull" in json.dumps(lab.get("Pod", "b").get("status", {})))
    (detail,) = failing(await look(), "ome benchmark image", CheckStatus.WARN)
    assert detail.startswith("b ")
    assert detail.endswith(" nowhere/genai-bench:9 (ErrImageNeverPull)")


@pytest.mark.campaign
async def test_leftovers_of_earlier_runs(look: Look, lab: Lab, ome: OmeStandIn) -> None:
    """A running service, and one whose finalizer cannot be removed because its model is gone."""
    own_model(
        lab, "gone", storage={"storageUri": f"local://{ome.settings.model_path}", "path": ome.settings.model_path}
    )
    eventually(lambda: state_of(lab, "gone") == "Ready")
    reference = {"name": "gone", "kind": "BaseModel"}
    for name, more in {"at-held": {"model": reference}, "at-stands": {}}.items():
        made = lab.service(name, **more)
        made["metadata"]["labels"].update(OURS)
        lab.created(made)
        eventually(lambda name=name: lab.get("InferenceService", name)["metadata"].get("finalizers"))  # type: ignore[misc]
    lab.delete("BaseModel", "gone")
    eventually(lambda: not lab.get("BaseModel", "gone"))
    lab.delete("InferenceService", "at-held")
    eventually(lambda: lab.get("InferenceService", "at-held")["metadata"].get("deletionTimestamp"))
    held, stands = failing(await look(), "left behind", CheckStatus.WARN)
    assert held.startswith("InferenceService at-held ")
    assert "(inferenceservice.finalizers): " in held
    assert "model gone " in held
    assert "at-stands" not in held
    assert stands.startswith("1 ")
    assert stands.endswith(": InferenceService at-stands")
    own_model(
        lab, "gone", storage={"storageUri": f"local://{ome.settings.model_path}", "path": ome.settings.model_path}
    )
    eventually(lambda: not lab.get("InferenceService", "at-held"), "it is removed once the model exists again")


@pytest.mark.campaign
async def test_crashing_agent(look: Look, ome: OmeStandIn, ome_cluster: OwnCluster) -> None:
    with ome.fault(agent="crash"):

        async def crashed(**given: Any) -> list[Check]:
            while True:
                checks = await look(**given)
                if any("keeps crashing" in c.detail for c in checks):
                    return checks

        checks = await crashed(model=None, runtime=None)
        assert "couldn't find shape" in failing(checks, "model agent")[0]
        for hint in ("beta.kubernetes.io/instance-type=", "v0.1.3", "modelAgent.image.tag"):
            assert hint in remedy(checks, "model agent")
        assert failing(await crashed()) == [], "a node already has the model"
    await run_sync(eventually, lambda: MANAGER in agent_images(ome_cluster))


def agent_images(cluster: OwnCluster) -> str:
    return json.dumps(cluster.api("GET", "/apis/apps/v1/namespaces/ome/daemonsets/ome-model-agent-daemonset").json())


@pytest.mark.campaign
async def test_agent_that_requests_too_much(look: Look, ome_cluster: OwnCluster) -> None:
    """OME requests 10 CPUs and 100 GiB by default."""
    path = "/apis/apps/v1/namespaces/ome/daemonsets/ome-model-agent-daemonset"
    headers = {"Content-Type": "application/strategic-merge-patch+json"}

    def set_requests(requests: Object | None) -> None:
        container = {"name": "model-agent", "resources": {"requests": requests}}
        body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        ome_cluster.api("PATCH", path, json=body, headers=headers).raise_for_status()

    set_requests({"cpu": "1000", "memory": "100Gi"})
    try:
        checks = await look()
        while not any("is Pending" in c.detail for c in checks):
            checks = await look()
        assert "Insufficient cpu" in failing(checks, "model agent", CheckStatus.WARN)[0]
        assert "modelAgent.resources.requests.cpu=500m" in remedy(checks, "model agent")
    finally:
        set_requests(None)
    await run_sync(eventually, lambda: ome_cluster.api("GET", path).json()["status"].get("numberReady") == 1)


@pytest.mark.campaign
async def test_missing_manager(look: Look, ome_cluster: OwnCluster) -> None:
    (absent,) = failing(await look(ome_namespace="default"), "ome manager")
    assert [part for part in ("Deployment ome-controller-manager", "default") if part not in absent] == []
    scale = ("-n", "ome", "scale", "deployment/ome-controller-manager")
    ome_cluster.kubectl(*scale, "--replicas=0")
    try:
        checks = await look()
        while not failing(checks, "ome manager"):
            checks = await look()
        (detail,) = failing(checks, "ome manager")
        assert detail.startswith("v0.1.5, 0 of 0 ready")
    finally:
        ome_cluster.kubectl(*scale, "--replicas=1")
    await run_sync(
        eventually, lambda: "readyReplicas" in ome_cluster.kubectl(*scale[:2], "get", scale[3], "-o", "json")
    )
