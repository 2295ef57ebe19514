"""What is looked at before OME's first service: each fault made on a real API server, and named with its remedy."""

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
from support.ome_standin.furniture import MODEL, RUNTIME, model, runtime
from support.ome_standin.images import MANAGER
from support.ome_standin.lab import Lab, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

PLAN = LaunchPlan(command=("python3", "-m", "sglang.launch_server"), model="m", gpus=1)
OURS = {"app.kubernetes.io/managed-by": "autotuner"}
Object = dict[str, Any]
Look = Callable[..., Awaitable[list[Check]]]


def failing(checks: list[Check], name: str = "", status: CheckStatus = CheckStatus.FAIL) -> list[str]:
    """Details of these; each has a remedy."""
    found = [c for c in checks if c.status is status and name in ("", c.name)]
    assert all(c.remedy for c in found)
    return [c.detail for c in found]


def remedy(checks: list[Check], name: str) -> str:
    return next(c.remedy for c in checks if c.name == name and c.status is not CheckStatus.OK)


async def test_a_cluster_that_is_well(look: Look) -> None:
    checks = await look()
    assert {c.status for c in checks} == {CheckStatus.OK}
    told = {c.name: c.detail for c in checks}
    assert told["model"] == f"ClusterBaseModel {MODEL}, ready on node-1"
    assert told["runtime"] == f"ClusterServingRuntime {RUNTIME}, serves {MODEL}"
    assert told["ome manager"] == "v0.1.5, 1 of 1 ready"
    assert "genai-bench:0.1.113, unless" in told["ome benchmark image"]
    assert told["ome ingress"].startswith("not made")


async def test_what_the_page_shows_is_taken(lab: Lab) -> None:
    page = (Path(__file__).parents[4] / "docs" / "how-to" / "run-in-ome.md").read_text()
    blocks = re.findall(r"^```yaml\n(apiVersion: .*?)^```$", page, re.MULTILINE | re.DOTALL)
    for thing in map(YAML(typ="safe").load, blocks):
        assert lab.post(thing, dryRun="All").status_code == 201
    assert len(blocks) == 2


async def test_what_the_engine_says_of_a_runtime_and_a_dry_run(look: Look) -> None:
    """The first counts where the runtime is well by itself, the second where admission is worth asking."""
    asked: list[LaunchPlan] = []

    async def dry_run(plan: LaunchPlan) -> list[Check]:
        asked.append(plan)
        return [Check.ok("admission")]

    checks = await look(problems=lambda r: (f"{r.name} is another engine's", "choose one"), dry_run=dry_run)
    assert failing(checks, "runtime") == [f"{RUNTIME} is another engine's"]
    assert asked == []
    assert (await look(dry_run=dry_run))[-1].name == "admission"
    assert asked == [PLAN]


async def test_a_cluster_without_a_study(look: Look) -> None:
    checks = await look(model=None, runtime=None)
    assert failing(checks) == []
    assert "models: 1 ready: sim-model" in [f"{c.name}: {c.detail}" for c in checks]


async def test_ome_is_not_installed(cluster: OwnCluster) -> None:
    settings = OmeSettings(kubeconfig=str(cluster.kubeconfig))
    async with connected(settings) as connection:
        checks = await preflight.checks(connection, (), settings)
    assert failing(checks) == ["OME is not installed: the API server has no ome.io/v1beta1"]
    assert [c.name for c in checks][-1] == "nodes", "the rest is looked at all the same"


@pytest.mark.parametrize(
    ("fault", "told", "cure"),
    [
        ("down", "nobody listens: inferenceservice.", "rollout restart deployment/ome-controller-manager"),
        ("x509", "its certificate is not trusted: inferenceservice.", "see that cert-manager works"),
        pytest.param("slow", "no answer within its time", "network policies", marks=pytest.mark.campaign),
    ],
)
async def test_webhooks_that_cannot_be_called(look: Look, ome: OmeStandIn, fault: str, told: str, cure: str) -> None:
    with ome.fault(webhook=fault):
        checks = await look()
        while not failing(checks, "ome webhooks"):  # the API server goes on using a connection that it has
            checks = await look()
    assert failing(checks, "ome webhooks")[0].startswith(told)
    assert cure in remedy(checks, "ome webhooks")
    assert failing(checks, "cert-manager") == (["it is not installed, and OME's webhooks need it"] * (fault == "x509"))
    assert {"model", "runtime", "nodes"} <= {c.name for c in checks if c.status is CheckStatus.OK}


def own_model(lab: Lab, name: str, **spec: Any) -> str:
    made = model("/models/x", name=name, **spec)
    lab.created({**made, "kind": "BaseModel", "metadata": {"name": name, "namespace": lab.namespace}})
    return name


async def test_models(look: Look, lab: Lab, ome: OmeStandIn) -> None:
    path = ome.settings.model_path
    good = {"storageUri": f"local://{path}", "path": path}
    cases: dict[str, tuple[Object, str, str]] = {
        "off": ({"storage": good, "disabled": True}, "is disabled", "spec.disabled"),
        "claimed": ({"storage": {"storageUri": "pvc://c/x", "path": "/x"}}, "is stored at pvc://c/x", "hf://ORG/MODEL"),
        "pathless": ({"storage": {"storageUri": f"local://{path}"}}, "has no storage.path", "spec.storage.path"),
        "dotted-0.5b": ({"storage": good}, "cannot name a volume", "small letters, digits and hyphens"),
        "vendor": ({"storage": good, "vendor": "a b"}, "cannot be a label's value", "spec.vendor"),
        "lost": (
            {"storage": {"storageUri": "local:///no/such", "path": "/no/such"}},
            "could not be brought onto a node; failed on node-1; node-1: Failed",
            "a failed download is not tried again",
        ),
        "coming": (
            {"storage": {"storageUri": "hf://org/m", "path": "/x"}},
            "is In_Transit: no node has it yet; node-1: Updating",
            "wait for the download",
        ),
    }
    with ome.fault(downloads="in_transit"):
        for name, (spec, _, _) in cases.items():
            own_model(lab, name, **spec)
        for name, state in {"off": "Ready", "lost": "Failed", "coming": "In_Transit", "claimed": "In_Transit"}.items():
            eventually(lambda name=name, state=state: state_of(lab, name) == state)  # type: ignore[misc]
        for name, (_, why, cure) in cases.items():
            checks = await look(model=name)
            told = failing(checks, "model")
            assert any(f"{name} {why}" in one or (name in one and why in one) for one in told), (name, told)
            assert cure in " ".join(c.remedy for c in checks if c.name == "model")
    own_model(lab, "own.with-hyphens".replace(".", "-"), storage={**good, "path": path})
    eventually(lambda: state_of(lab, "own-with-hyphens") == "Ready")
    assert failing(await look(model="own-with-hyphens")) == [], "a path that differs from the name is fine"


def state_of(lab: Lab, name: str) -> str:
    return str((lab.get("BaseModel", name).get("status") or {}).get("state"))


async def test_a_model_in_transit_that_a_node_has(
    look: Look, lab: Lab, ome: OmeStandIn, ome_cluster: OwnCluster
) -> None:
    """It is served all the same: said, and no failure."""
    label = f"models.ome.io/{lab.namespace}.basemodel.travels"
    with ome.fault(downloads="in_transit"):
        own_model(lab, "travels", storage={"storageUri": "hf://org/m", "path": "/x"})
        eventually(lambda: state_of(lab, "travels") == "In_Transit")
        with ome.fault(agent="stopped"):  # it would write what it thinks of the node
            lab.patch("Node", ome_cluster.node, {"metadata": {"labels": {label: "Ready"}}}).raise_for_status()
            checks = await look(model="travels")
            lab.patch("Node", ome_cluster.node, {"metadata": {"labels": {label: None}}}).raise_for_status()
    assert failing(checks) == []
    assert "is In_Transit, but node-1 may serve it" in failing(checks, "model", CheckStatus.WARN)[0]


async def test_names_that_are_not_there(look: Look, lab: Lab, ome_cluster: OwnCluster) -> None:
    other = f"{lab.namespace}-other"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}
    ome_cluster.api("POST", "/api/v1/namespaces", json=space).raise_for_status()
    theirs = runtime("engine:1", name="theirs")
    lab.created({**theirs, "kind": "ServingRuntime", "metadata": {"name": "theirs", "namespace": other}})
    checks = await look(model="sim-modle", runtime="theirs")
    assert failing(checks, "runtime") == [f"ServingRuntime theirs is in namespace {other}, not in {lab.namespace}"]
    assert 'did you mean "sim-model"?' in remedy(checks, "model")
    checks = await look(runtime="srt-no-such")
    assert remedy(checks, "runtime") == f"these serve the model: {RUNTIME}"
    checks = await look(runtime=None)
    assert failing(checks, "runtime") == ["the study names no runtime"]
    ome_cluster.api("DELETE", f"/api/v1/namespaces/{other}")


async def test_runtimes(look: Look, lab: Lab) -> None:
    config = runtime("engine:1")["spec"]["engineConfig"]
    own = config["runner"]
    onnx = {"modelFormat": {"name": "onnx"}, "modelFramework": {"name": "onnxruntime"}, "autoSelect": False}
    cases: dict[str, tuple[Object, str]] = {
        "off": ({"disabled": True}, "does not serve sim-model: it is disabled"),
        "other": (
            {"supportedModelFormats": [onnx]},
            "does not serve sim-model: modelArchitecture is LlamaForCausalLM in the model and not set in",
        ),
        "large": ({"modelSizeRange": {"min": "7B", "max": "8B"}}, "modelParameterSize 1B is outside of its"),
        "several": ({"engineConfig": {**config, "worker": {"size": 1}, "leader": {}}}, "runs on several nodes"),
        "split": ({"decoderConfig": {"runner": own}}, "splits prefill from decode (decoderConfig)"),
        "phase": (
            {"engineConfig": {**config, "runner": {**own, "args": ["--disaggregation-mode", "prefill"]}}},
            "splits prefill from decode (--disaggregation-mode)",
        ),
        "empty": ({"engineConfig": {}}, "has no engineConfig.runner"),
        "named": (
            {"engineConfig": {**config, "runner": {**own, "name": "engine"}}},
            "calls its server's container engine",
        ),
        "shell": (
            {"engineConfig": {**config, "runner": {**own, "command": ["/bin/bash", "-c"], "args": ["serve"]}}},
            "starts its server through a shell (/bin/bash)",
        ),
        "jinja": (
            {"engineConfig": {**config, "runner": {**own, "args": ["--chat-template", "{{ messages }}"]}}},
            "has {{ in args[1], which OME takes for a template",
        ),
    }
    for name, (spec, _) in cases.items():
        made = runtime("engine:1", name=name, **spec)
        lab.created({**made, "kind": "ServingRuntime", "metadata": {"name": name, "namespace": lab.namespace}})
    for name, (_, why) in cases.items():
        told = failing(await look(runtime=name), "runtime")
        assert any(f"ServingRuntime {name} " in one and why in one for one in told), (name, told)


async def test_nodes(look: Look, ome_cluster: OwnCluster, lab: Lab) -> None:
    checks = await look(PLAN.model_copy(update={"gpus": 8}))
    assert failing(checks, "nodes") == ["no node is large enough: nvidia.com/gpu 8 requested, the largest node has 4"]
    checks = await look(memory="1000Ti")
    assert "memory 1000Ti requested" in failing(checks, "nodes")[0]
    taint = {"spec": {"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]}}
    lab.patch("Node", ome_cluster.node, taint).raise_for_status()
    try:
        assert "taint team:NoSchedule is not tolerated" in failing(await look(), "nodes")[0]
        assert failing(await look(tolerations=[{"key": "team", "operator": "Exists"}])) == []
    finally:
        lab.patch("Node", ome_cluster.node, {"spec": {"taints": None}}).raise_for_status()
    with gpus(ome_cluster, 0):
        checks = await look()
    assert failing(checks, "nodes")[0].startswith("no node offers any nvidia.com/gpu")
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
        {"name": "c", "persistentVolumeClaim": {"claimName": "nobody-made-it"}}
    )
    lab.created({**made, "kind": "ServingRuntime", "metadata": {"name": "stores", "namespace": lab.namespace}})
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    path = f"/api/v1/namespaces/{lab.namespace}/resourcequotas"
    lab.api("POST", path, json={**quota, "spec": {"hard": {"requests.nvidia.com/gpu": "1"}}}).raise_for_status()
    eventually(lambda: lab.api("GET", f"{path}/small").json()["status"].get("hard"))
    checks = await look(PLAN.model_copy(update={"gpus": 2}), runtime="stores", kueue_queue="nobody")
    assert failing(checks, "volume") == [f"claim nobody-made-it does not exist in {lab.namespace}"]
    assert failing(checks, "quota") == ["small: requests.nvidia.com/gpu 2 requested, the quota is 1"]
    assert failing(checks, "queue")[0].startswith(f"no local queue nobody in {lab.namespace}")


async def test_a_benchmark_that_cannot_have_its_image(look: Look, lab: Lab) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b", "namespace": lab.namespace}}
    pod["metadata"]["labels"] = {"benchmark": "b"}  # type: ignore[index]
    container = {"name": "b", "image": "nowhere/genai-bench:9", "imagePullPolicy": "Never"}
    lab.created({**pod, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}})
    eventually(lambda: "ErrImageNeverPull" in json.dumps(lab.get("Pod", "b").get("status", {})))
    told = failing(await look(), "ome benchmark image", CheckStatus.WARN)
    assert told == ["b cannot have nowhere/genai-bench:9 (ErrImageNeverPull)"]


@pytest.mark.campaign
async def test_what_earlier_runs_left(look: Look, lab: Lab, ome: OmeStandIn) -> None:
    """One that stands, and one that is held by its finalizer since its model is gone."""
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
    told = failing(await look(), "left behind", CheckStatus.WARN)
    assert told[0] == (
        "InferenceService at-held is being deleted, held by its finalizers (inferenceservice.finalizers): "
        "its model gone is gone, and OME's webhook refuses to let it go"
    )
    assert told[1] == "1 of ours: InferenceService at-stands"
    own_model(
        lab, "gone", storage={"storageUri": f"local://{ome.settings.model_path}", "path": ome.settings.model_path}
    )
    eventually(lambda: not lab.get("InferenceService", "at-held"), "the model is back for a moment")


@pytest.mark.campaign
async def test_an_agent_that_crashes(look: Look, ome: OmeStandIn, ome_cluster: OwnCluster) -> None:
    with ome.fault(agent="crash"):

        async def seen(**asked: Any) -> list[Check]:
            while True:
                checks = await look(**asked)
                if any("ends again and again" in c.detail for c in checks):
                    return checks

        checks = await seen(model=None, runtime=None)
        assert "couldn't find shape" in failing(checks, "model agent")[0]
        for cure in ("beta.kubernetes.io/instance-type=", "v0.1.3", "modelAgent.image.tag"):
            assert cure in remedy(checks, "model agent")
        assert failing(await seen()) == [], "a node has the model already"
    await run_sync(eventually, lambda: MANAGER in agent_images(ome_cluster))


def agent_images(cluster: OwnCluster) -> str:
    return json.dumps(cluster.api("GET", "/apis/apps/v1/namespaces/ome/daemonsets/ome-model-agent-daemonset").json())


@pytest.mark.campaign
async def test_an_agent_that_asks_for_too_much(look: Look, ome_cluster: OwnCluster) -> None:
    """OME's default is ten CPUs and a hundred GiB."""
    path = "/apis/apps/v1/namespaces/ome/daemonsets/ome-model-agent-daemonset"
    headers = {"Content-Type": "application/strategic-merge-patch+json"}

    def ask(requests: Object | None) -> None:
        container = {"name": "model-agent", "resources": {"requests": requests}}
        body = {"spec": {"template": {"spec": {"containers": [container]}}}}
        ome_cluster.api("PATCH", path, json=body, headers=headers).raise_for_status()

    ask({"cpu": "1000", "memory": "100Gi"})
    try:
        checks = await look()
        while not any("is Pending" in c.detail for c in checks):
            checks = await look()
        assert "Insufficient cpu" in failing(checks, "model agent", CheckStatus.WARN)[0]
        assert "modelAgent.resources.requests.cpu=500m" in remedy(checks, "model agent")
    finally:
        ask(None)
    await run_sync(eventually, lambda: ome_cluster.api("GET", path).json()["status"].get("numberReady") == 1)


@pytest.mark.campaign
async def test_a_manager_that_is_not_there(look: Look, ome_cluster: OwnCluster) -> None:
    assert failing(await look(ome_namespace="default"), "ome manager") == [
        "no Deployment ome-controller-manager in namespace default"
    ]
    scale = ("-n", "ome", "scale", "deployment/ome-controller-manager")
    ome_cluster.kubectl(*scale, "--replicas=0")
    try:
        checks = await look()
        while not failing(checks, "ome manager"):
            checks = await look()
        assert failing(checks, "ome manager") == ["v0.1.5, 0 of 0 ready: no service would be acted on"]
    finally:
        ome_cluster.kubectl(*scale, "--replicas=1")
    await run_sync(
        eventually, lambda: "readyReplicas" in ome_cluster.kubectl(*scale[:2], "get", scale[3], "-o", "json")
    )
