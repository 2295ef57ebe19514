"""Preflight checks of models, runtimes and nodes, from JSON of the API server."""

import json
from typing import Any

import httpx
import pytest

from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.checks import access, capacity
from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.ome import check_model, check_runtime, scheduling
from autotuner.deployers.ome import preflight as ome_preflight
from autotuner.deployers.ome.resources import OmeResource
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.study.check import Check, CheckStatus
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import LaunchPlan
from support.ome_standin.sample_objects import model as a_model
from support.ome_standin.sample_objects import runtime as a_runtime

OK = CheckStatus.OK
WARN = CheckStatus.WARN
FAIL = CheckStatus.FAIL
LABEL = "models.ome.io/clusterbasemodel.m"
GPU = "nvidia.com/gpu"
Object = dict[str, Any]


def model(name: str = "m", status: Object | None = None, **spec: Any) -> OmeResource:
    return OmeResource({**a_model("/models/m", name=name, **spec), "status": status or {}})


def runtime(runner: Object | None = None, **spec: Any) -> OmeResource:
    made = a_runtime("engine:1", **spec)
    made["spec"].get("engineConfig", {}).get("runner", {}).update(runner or {})
    return OmeResource(made)


def node(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": {k.replace("__", "/"): v for k, v in labels.items()}}}


def holder(name: str) -> Object:
    return {"metadata": {"name": name, "labels": {LABEL: "Ready"}}}


def the_only(checks: list[Check]) -> Check:
    (found,) = checks
    return found


# Models


@pytest.mark.parametrize(
    ("status", "nodes", "kind", "facts"),
    [
        ({"state": "Ready", "nodesReady": ["a"]}, [holder("a")], OK, ["ready on a"]),
        ({"state": "Ready", "nodesReady": ["a"]}, None, OK, ["ready on a"]),
        (
            {"state": "Ready", "nodesReady": ["a"], "nodesFailed": ["b"]},
            [holder("a")],
            OK,
            ["ready on a", "failed on b"],
        ),
        ({"state": "Ready", "nodesReady": ["a"]}, [node("a")], FAIL, ["Ready", LABEL]),
        ({"state": "In_Transit"}, [holder("a"), node("b")], WARN, ["In_Transit", " a "]),
        ({"state": "In_Transit"}, [node("a")], FAIL, ["In_Transit"]),
        ({"state": "Failed", "nodesFailed": ["a", "b"]}, [node("a")], FAIL, ["failed on a, b"]),
        ({}, [node("a")], FAIL, ["ClusterBaseModel m "]),
    ],
)
def test_state_of_a_model(status: Object, nodes: list[Object] | None, kind: CheckStatus, facts: list[str]) -> None:
    found = the_only(check_model.checks(model(status=status), nodes, {}))
    assert (found.status, [fact for fact in facts if fact not in found.detail]) == (kind, []), found
    assert bool(found.remedy) is (kind is not OK)


def test_many_nodes_are_counted() -> None:
    found = the_only(check_model.checks(model(status={"state": "Ready"}), [holder(f"n{i}") for i in range(11)], {}))
    assert found.detail.endswith("n0, n1, n10, n2, n3, n4, n5, n6 and 3 more")


def test_model_with_a_long_name_is_found_by_its_status() -> None:
    """OME's label contains a digest of the name."""
    long = model(name="x" * 40, status={"state": "Ready", "nodesReady": ["a"]})
    assert check_model.holders(long, [node("a"), node("b")]) == ["a"]
    assert the_only(check_model.checks(long, [node("a")], {})).status is OK


def test_download_progress_reported_by_agents() -> None:
    entry = {"status": "Updating", "progress": {"totalBytes": 2e9, "completedBytes": 5e8}}
    maps = [
        {"metadata": {"name": "a"}, "data": {"clusterbasemodel.m": json.dumps(entry)}},
        {
            "metadata": {"name": "b"},
            "data": {"clusterbasemodel.m": '{"status": "Updating", "progress": {"phase": "Copy"}}'},
        },
        {"metadata": {"name": "c"}, "data": {"clusterbasemodel.m": '{"status": "Failed", "progress": null}'}},
        {"metadata": {"name": "d"}, "data": {"clusterbasemodel.m": "{"}},
        {"metadata": {"name": "e"}, "data": {"clusterbasemodel.m": "3"}},
        {"metadata": {"name": "f"}, "data": {"clusterbasemodel.other": "{}"}},
        {"metadata": {"name": "g"}},
    ]
    progress = check_model.progress(model(), maps)
    assert progress == {"a": "Updating, 25% of 2.0 GB", "b": "Updating, Copy", "c": "Failed"}
    own = OmeResource({**model().body, "metadata": {"name": "m", "namespace": "ns"}})
    mine = [{"metadata": {"name": "a"}, "data": {"ns.basemodel.m": '{"status": "Ready"}'}}]
    assert check_model.progress(own, mine) == {"a": "Ready"}
    found = the_only(check_model.checks(model(status={"state": "In_Transit"}), [], progress))
    assert "; a: Updating, 25% of 2.0 GB; b: Updating, Copy; c: Failed" in found.detail


@pytest.mark.parametrize(
    ("changes", "fact", "setting"),
    [
        ({"spec": {"disabled": True}}, "ClusterBaseModel m ", "spec.disabled"),
        ({"spec": {"storage": {"storageUri": "hf://a/b"}}}, "storage.path", "spec.storage.path"),
        ({"spec": {"storage": {"storageUri": "pvc://c/d", "path": "/m"}}}, "pvc://c/d", "storageUri"),
        ({"name": "qwen2.5"}, "qwen2.5 ", "name"),
        ({"name": "x" * 64}, "x" * 64, "name"),
        ({"spec": {"vendor": "a b"}}, "vendor a b of m ", "spec.vendor"),
        ({"deleted": True}, "ClusterBaseModel m ", "create it again"),
    ],
)
def test_faults_of_a_model(changes: Object, fact: str, setting: str) -> None:
    made = model(changes.get("name", "m"), {"state": "Ready", "nodesReady": ["a"]}, **changes.get("spec", {}))
    if changes.get("deleted"):
        made.body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    failed = [c for c in check_model.checks(made, None, {}) if c.status is FAIL]
    assert fact in the_only(failed).detail
    assert setting in failed[0].remedy


def test_path_may_differ_from_the_name() -> None:
    made = model(
        storage={"storageUri": "local:///data/Qwen2.5-0.5B", "path": "/data/Qwen2.5-0.5B"}, status={"state": "Ready"}
    )
    assert the_only(check_model.checks(made, [holder("a")], {})).status is OK


def test_overview_of_models() -> None:
    things = [model("a", {"state": "Ready"}).body, model("b", {"state": "Failed"}).body, model("c").body]
    assert check_model.overview(things).detail == "1 ready: a; not ready: b (Failed), c (no state)"
    assert check_model.overview(things[1:]).status is WARN
    assert check_model.overview([]).status is WARN


# Runtimes


def why(found: OmeResource) -> list[str]:
    return [text for text, remedy in check_runtime.faults(found, GPU) if remedy]


@pytest.mark.parametrize(
    ("runner", "fact"),
    [
        ({"name": "main"}, "container main"),
        ({"name": ""}, "ome-container"),
        ({"command": ["sh", "-c", "serve"]}, "shell (sh)"),
        ({"command": [], "args": []}, "command nor args"),
        ({"command": ["serve", 8]}, "8 in command"),
        ({"args": ["--disaggregation-mode=decode"]}, "--disaggregation-mode"),
        ({"args": ["--disaggregation_mode", "decode"]}, "--disaggregation-mode"),
        ({"args": ["{{ .Values.x }}"]}, "{{ in args[0]"),
        ({"env": [{"name": "T", "value": "{% if %}{{ m }}"}]}, "{{ in env T"),
        ({"resources": {"requests": {"rdma/x": "2"}, "limits": {"rdma/x": "1"}}}, "rdma/x 2 with a limit of 1"),
        ({"resources": {"requests": {"rdma/x": "2"}}}, "rdma/x 2 with no limit"),
    ],
)
def test_runtimes_that_cannot_be_tuned(runner: Object, fact: str) -> None:
    (reason,) = why(runtime(runner))
    assert fact in reason


@pytest.mark.parametrize(
    "runner",
    [
        {"args": ["--name", "{{.Name}}.{{ .Namespace }}", "{{.Labels.trial}}"], "env": [{"name": "A", "value": "1"}]},
        {"args": ['{"a": {"b": 1}}', "$(MODEL_PATH)"]},
        {"resources": {"requests": {GPU: "2"}, "limits": {GPU: "1"}}},
        {"resources": {"limits": {"rdma/x": "1"}}},
        {"command": ["/opt/shell-server"], "args": ["disaggregation-mode"]},
    ],
)
def test_runtimes_that_can_be_tuned(runner: Object) -> None:
    assert why(runtime(runner)) == []


def test_all_faults_are_reported_at_once() -> None:
    config = {"leader": {}, "worker": {"size": 2}, "runner": {"name": "x", "command": ["bash"]}}
    reasons = why(runtime(engineConfig=config, decoderConfig={"runner": {}}))
    facts = ("leader, worker", "decoderConfig", "container x", "shell (bash)")
    assert [fact in reason for fact, reason in zip(facts, reasons, strict=True)] == [True] * 4
    assert ["engineConfig.runner" in reason for reason in why(runtime(engineConfig={}))] == [True]
    assert why(OmeResource({"kind": "ServingRuntime", "metadata": {"name": "x" * 64}, "spec": runtime().spec}))


def test_runtime_and_its_model() -> None:
    good = the_only(check_runtime.checks(runtime(), model(), GPU))
    assert (good.status, good.detail) == (OK, "ClusterServingRuntime srt-sim-model, serves m")
    bad = the_only(check_runtime.checks(runtime(), model(modelArchitecture="X"), GPU))
    assert [fact for fact in (" m: modelArchitecture ", " X ", "LlamaForCausalLM") if fact not in bad.detail] == []
    classes = runtime(acceleratorRequirements={"acceleratorClasses": ["h100"]})
    assert [c.status for c in check_runtime.checks(classes, None, GPU)] == [OK, WARN]


def test_missing_runtimes() -> None:
    absent = check_runtime.absent
    assert absent("rt", "ns", ["rtt"], [], []).remedy.count('"rtt"') == 1
    elsewhere = absent("rt", "ns", [], ["good"], ["other"]).detail
    assert [fact for fact in ("ServingRuntime rt ", " other", " ns") if fact not in elsewhere] == []
    assert absent("rt", "ns", ["rtt"], ["good"], []).remedy.endswith(": good")
    assert absent("rt", "ns", [], [], []).remedy
    unset = absent(None, "ns", [], ["good"], []).remedy
    assert "deploy.runtime" in unset
    assert unset.endswith(": good")


# Nodes


def test_resources_of_a_server() -> None:
    own = {"requests": {"cpu": 10, "memory": "30Gi", GPU: 1}, "limits": {"cpu": 10, "memory": "30Gi", GPU: 1}}
    found = runtime({"resources": own})
    plan = LaunchPlan(command=("x",), model="m", gpus=4)
    found_resources = scheduling.resources(found, plan, OmeSettings(cpu="16", memory="64Gi"))
    assert found_resources == {
        "requests": {"cpu": "16", "memory": "64Gi", GPU: "4"},
        "limits": {"cpu": "16", "memory": "64Gi", GPU: "4"},
    }
    unchanged = scheduling.resources(found, plan.model_copy(update={"gpus": 0}), OmeSettings())
    assert unchanged["requests"] == {"cpu": "10", "memory": "30Gi", GPU: "1"}


def test_node_selection_of_a_server() -> None:
    toleration = {"key": "a", "operator": "Exists"}
    config = {**runtime().spec["engineConfig"], "nodeSelector": {"b": "1", "c": "1"}, "tolerations": [toleration]}
    mine = {"key": "d", "operator": "Exists"}
    settings = OmeSettings(node_selector={"c": "2"}, tolerations=(mine,))
    placed = scheduling.placing(settings, runtime(engineConfig=config, nodeSelector={"a": "1"}), model())
    assert placed.node_selector == {"a": "1", "b": "1", "c": "2", LABEL: "Ready"}
    assert placed.tolerations == (toleration, mine)
    volumes = [{"name": "x", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "y", "emptyDir": {}}]
    assert scheduling.claims(runtime(engineConfig={**config, "volumes": [*volumes, volumes[0]]})) == ["c"]


def test_nodes_without_gpus() -> None:
    """A warning without a study; a failure if a server needs GPUs."""
    bare = {"metadata": {"name": "a"}, "status": {"allocatable": {"cpu": "4"}}}
    nodes = kubernetes_nodes.Nodes(usable=(bare,))
    settings = OmeSettings()
    for demands, status in (([], WARN), ([{"cpu": "1"}], OK), ([{GPU: "1"}], FAIL)):
        found = capacity.room(nodes, demands, settings)
        assert found.status is status
        assert ("device plugin" in found.remedy) is (status is not OK)
    assert capacity.room(kubernetes_nodes.Nodes(), [], settings).status is FAIL
    assert capacity.room(nodes, [{GPU: "1"}], OmeSettings(gpus=1)).status is WARN, "an autoscaler may add nodes"


def test_objects_that_cannot_be_read() -> None:
    message = (
        'deployments.apps "x" is forbidden: User "u" cannot get resource "deployments" in API group "apps" in the ...'
    )
    found = access.not_checked("ome manager", RefusedError(403, "Forbidden", message))
    assert (found.status, "get deployments (apps)" in found.detail) == (WARN, True)
    other = access.not_checked("ome manager", RefusedError(405, "MethodNotAllowed", "no"))
    assert (other.status, other.detail.endswith(": no")) == (FAIL, True)


@pytest.mark.anyio
async def test_api_server_that_stops_responding() -> None:
    """The checks before are reported."""
    responds = True

    def answer(request: httpx.Request) -> httpx.Response:
        if responds and request.url.path == "/version":
            return httpx.Response(200, json={"major": "1", "minor": "27+", "gitVersion": "v1.27.0"})
        raise httpx.ConnectError("refused", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://x") as http:
        found = await ome_preflight.checks(Cluster(http, None, "ns", 0.0), (), OmeSettings())
        assert [(c.status, c.name) for c in found] == [(FAIL, "kubernetes")] * 2
        assert "1.28" in found[0].remedy
        assert "refused" in found[1].detail
        responds = False
        with pytest.raises(TrialFailedError):
            await ome_preflight.checks(Cluster(http, None, "ns", 0.0), (), OmeSettings())
