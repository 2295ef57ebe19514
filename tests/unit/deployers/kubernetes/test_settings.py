"""What a study says about its pods, in the server's and in the load generator's: without a cluster."""

from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.checks import capacity
from autotuner.deployers.kubernetes.nodes import Nodes
from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.kubernetes.trial_objects import Load, ServerJob
from autotuner.errors import UsageError
from autotuner.manifests.pod import NO_SIDECAR_ANNOTATIONS, NO_SIDECAR_LABELS
from autotuner.manifests.security import HOME
from autotuner.plugins import loading
from autotuner.study.check import CheckStatus
from autotuner.study.launch import Labels, LaunchPlan
from autotuner.study.spec import PluginSpec

LABELS = Labels(study="s", trial=1, owner="o")
SETTINGS: dict[str, Any] = {
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "labels": {"team": "ml"},
    "annotations": {"note": "x"},
    "image_pull_secrets": ["registry"],
    "image_pull_policy": "Never",
    "service_account": "sa",
    "priority_class": "high",
    "security_context": {"runAsUser": 1000},
    "container_security_context": {"readOnlyRootFilesystem": True},
}


def pods(**settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The templates of the server's and of the load generator's pod."""
    found = KubernetesSettings.model_validate(settings)
    server = ServerJob(LaunchPlan(command=("serve",), model="m"), found, "i:1", "at-x", LABELS).job()
    load = Load("some.module", found, "at-l", LABELS, None).job(["spec"], "i:1")
    return server["spec"]["template"], load["spec"]["template"]


def test_the_load_generator_gets_what_the_server_gets() -> None:
    server, load = pods(**SETTINGS)
    for name in ("imagePullSecrets", "serviceAccountName", "priorityClassName", "securityContext"):
        assert load["spec"][name] == server["spec"][name] != {}, name
    for name in ("imagePullPolicy", "securityContext"):
        assert load["spec"]["containers"][0][name] == server["spec"]["containers"][0][name] != {}, name
    assert SETTINGS["tolerations"][0] in load["spec"]["tolerations"]
    for template in (server, load):
        assert template["metadata"]["labels"]["team"] == "ml"
        assert template["metadata"]["annotations"]["note"] == "x"


def test_what_is_set_apart_is_the_load_generators_alone() -> None:
    server, load = pods(
        **SETTINGS,
        node_selector={"gpu": "yes"},
        env_from=[{"secret": "s"}],
        loadgen_tolerations=[],
        loadgen_labels={"team": "qa"},
        loadgen_annotations={},
        loadgen_service_account="other",
        loadgen_priority_class="low",
        loadgen_security_context={"runAsUser": 2000},
        loadgen_container_security_context={},
        loadgen_cpu_limit="2",
        loadgen_node_selector={"cpu": "yes"},
    )
    spec = load["spec"]
    assert "tolerations" not in spec
    assert load["metadata"]["labels"]["team"] == "qa"
    assert "note" not in load["metadata"]["annotations"]
    assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("other", "low")
    assert spec["securityContext"] == {"runAsUser": 2000}
    assert "securityContext" not in spec["containers"][0]
    assert spec["containers"][0]["resources"]["limits"]["cpu"] == "2"
    assert spec["nodeSelector"] == {"cpu": "yes"}
    assert "envFrom" not in spec["containers"][0], "the server's Secrets are not the load generator's"
    assert server["metadata"]["labels"]["team"] == "ml"
    assert server["spec"]["nodeSelector"] == {"gpu": "yes"}


def test_a_mesh_is_kept_out_of_both_unless_the_study_wants_it() -> None:
    for template in pods():
        assert NO_SIDECAR_LABELS.items() <= template["metadata"]["labels"].items()
        assert NO_SIDECAR_ANNOTATIONS.items() <= template["metadata"]["annotations"].items()
    for template in pods(labels={"sidecar.istio.io/inject": "true"}, annotations={"linkerd.io/inject": "enabled"}):
        assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"
        assert template["metadata"]["annotations"]["linkerd.io/inject"] == "enabled"
    for said in ("labels", "annotations"):
        for template in pods(**{said: {"sidecar.istio.io/inject": "true"}}):
            for place in ("labels", "annotations"):
                assert template["metadata"][place]["sidecar.istio.io/inject"] == "true"


def test_the_restricted_preset() -> None:
    for template in pods(security="restricted"):
        spec = template["spec"]
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        (container,) = spec["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert "runAsUser" not in str(spec), "OpenShift gives a namespace its own"
        mounts = {m["mountPath"] for m in container["volumeMounts"]}
        assert {"/tmp", HOME} <= mounts  # noqa: S108 - of the container
        assert {"name": "HOME", "value": HOME} in container["env"]


def test_a_studys_own_fields_win_over_the_preset() -> None:
    server, _ = pods(security="restricted", security_context={"runAsUser": 1000, "seccompProfile": {"type": "X"}})
    assert server["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "X"},
        "runAsUser": 1000,
    }


@pytest.mark.parametrize("settings", [{}, {"security_context": {"fsGroup": 5}}, {"security_context": {"runAsUser": 0}}])
def test_root_keeps_its_own_home(settings: dict[str, Any]) -> None:
    for template in pods(**settings):
        assert HOME not in str(template)


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"security_context": {"runAsuser": 1}}, "deploy.security_context"),
        ({"security_context": {"runAsUser": "1"}}, "deploy.security_context"),
        ({"security_context": {"runAsUser": True}}, "deploy.security_context"),
        ({"security_context": {"capabilities": {}}}, "deploy.security_context"),
        ({"container_security_context": {"fsGroup": 1}}, "deploy.container_security_context"),
        ({"container_security_context": {"capabilities": ["ALL"]}}, "deploy.container_security_context"),
        ({"loadgen_security_context": {"x": 1}}, "deploy.loadgen_security_context"),
        ({"loadgen_labels": {"autotuner/study": "x"}}, "deploy.loadgen_labels"),
        ({"tolerations": [{"keys": "x"}]}, "deploy.tolerations"),
        ({"loadgen_tolerations": [{"keys": "x"}]}, "deploy.loadgen_tolerations"),
        ({"security": "baseline"}, "deploy.security"),
        ({"cpu": "4", "cpu_limit": "2"}, "deploy"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], where: str, snapshot: SnapshotAssertion) -> None:
    with pytest.raises(UsageError) as refused:
        loading.deployer(PluginSpec.model_validate({"kind": "kubernetes", **settings}))
    assert [problem.where for problem in refused.value.problems] == [where]
    assert str(refused.value) == snapshot


def node(name: str, *, cpu: str = "8", taint: str = "") -> dict[str, Any]:
    taints = [{"key": taint, "effect": "NoSchedule"}] if taint else []
    return {
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {"taints": taints},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": cpu, "memory": "32Gi", "nvidia.com/gpu": "4"},
        },
    }


@pytest.mark.parametrize(
    ("nodes", "settings", "told"),
    [
        ([node("a")], {}, ""),
        ([node("a", taint="dedicated")], {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, ""),
        ([node("a", taint="nvidia.com/gpu")], {}, ""),
        ([node("a", taint="nvidia.com/gpu")], {"loadgen_tolerations": []}, "nvidia.com/gpu:NoSchedule is not tolera"),
        ([node("a")], {"loadgen_node_selector": {"name": "b"}}, "no label name=b"),
        ([node("a")], {"loadgen_cpu": "9"}, "cpu 9 requested"),
        ([node("a")], {"loadgen_cpu": "3"}, "a has no room for it beside the server"),
        ([node("a"), node("b")], {"loadgen_cpu": "3"}, ""),
        ([node("a"), node("b", cpu="2")], {"loadgen_cpu": "3"}, "a has no room"),
    ],
)
def test_nodes_for_both_at_once(nodes: list[dict[str, Any]], settings: dict[str, Any], told: str) -> None:
    found = KubernetesSettings.model_validate({"loadgen_image": "l:1", **settings})
    usable = tuple(n for n in nodes if not kubernetes_nodes.why_not(n, found))
    checks = capacity.load_room(Nodes(usable=usable, all_nodes=tuple(nodes)), [{"cpu": "6"}], found)
    assert [c.status for c in checks] == ([CheckStatus.FAIL] if told else [])
    assert told in " ".join(c.detail for c in checks)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"node_selector": {"name": "b"}}, "no label name=b"),
        ({"gpu_resource": "amd.com/gpu"}, "no node offers any amd.com/gpu"),
        ({"gpu_resource": "amd.com/gpu", "gpus": 2}, ""),
        ({}, ""),
    ],
)
def test_why_there_are_no_gpus(settings: dict[str, Any], told: str) -> None:
    found = KubernetesSettings.model_validate(settings)
    why = kubernetes_nodes.why_not(node("a"), found)
    nodes = Nodes(usable=() if why else (node("a"),), left_out=(f"a: {why}",) if why else ())
    hardware = kubernetes_nodes.hardware(nodes, found)
    assert told in hardware.no_gpus
    assert bool(told) == bool(hardware.no_gpus)
    assert "no_gpus" not in hardware.model_dump(), "constraints do not know the name"


def test_a_quota_must_hold_both_at_once() -> None:
    settings = KubernetesSettings(loadgen_cpu="1", loadgen_memory="1Gi")
    needed = capacity.with_load({"requests.cpu": 4.0, "limits.memory": 2.0**30}, settings)
    assert needed["requests.cpu"] == 5.0
    assert needed["limits.memory"] == needed["requests.memory"] + 2.0**30
    assert needed["pods"] == 2
    assert capacity.with_load({"requests.cpu": 4.0}, settings.model_copy(update={"load": "direct"})) == {
        "requests.cpu": 4.0
    }
