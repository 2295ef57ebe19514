"""Settings of a study in the pods of server and load generator, and in the checks of nodes and quotas."""

import re
from typing import Any

import pytest

from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.checks import capacity
from autotuner.deployers.kubernetes.nodes import Nodes
from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.kubernetes.trial_objects import Load, ServerJob
from autotuner.manifests.pod import NO_SIDECAR_ANNOTATIONS, NO_SIDECAR_LABELS
from autotuner.manifests.security import HOME
from autotuner.study.check import CheckStatus
from autotuner.study.launch import Labels, LaunchPlan

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
    parsed = KubernetesSettings.model_validate(settings)
    server = ServerJob(LaunchPlan(command=("serve",), model="m"), parsed, "i:1", "at-x", LABELS).job()
    load = Load("some.module", parsed, "at-l", LABELS, None).job(["spec"], "i:1")
    return server["spec"]["template"], load["spec"]["template"]


def test_load_generator_inherits_the_servers_settings() -> None:
    server, load = pods(**SETTINGS)
    for name in ("imagePullSecrets", "serviceAccountName", "priorityClassName", "securityContext"):
        assert load["spec"][name] == server["spec"][name] != {}, name
    for name in ("imagePullPolicy", "securityContext"):
        assert load["spec"]["containers"][0][name] == server["spec"]["containers"][0][name] != {}, name
    assert SETTINGS["tolerations"][0] in load["spec"]["tolerations"]
    for template in (server, load):
        assert template["metadata"]["labels"]["team"] == "ml"
        assert template["metadata"]["annotations"]["note"] == "x"


def test_loadgen_settings_do_not_affect_the_server() -> None:
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


def test_service_mesh_is_kept_out_unless_the_study_enables_it() -> None:
    for template in pods():
        assert NO_SIDECAR_LABELS.items() <= template["metadata"]["labels"].items()
        assert NO_SIDECAR_ANNOTATIONS.items() <= template["metadata"]["annotations"].items()
    for template in pods(labels={"sidecar.istio.io/inject": "true"}, annotations={"linkerd.io/inject": "enabled"}):
        assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"
        assert template["metadata"]["annotations"]["linkerd.io/inject"] == "enabled"
    for setting in ("labels", "annotations"):
        for template in pods(**{setting: {"sidecar.istio.io/inject": "true"}}):
            for field in ("labels", "annotations"):
                assert template["metadata"][field]["sidecar.istio.io/inject"] == "true"


def test_restricted_preset() -> None:
    for template in pods(security="restricted"):
        spec = template["spec"]
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        (container,) = spec["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert "runAsUser" not in str(spec), "OpenShift assigns a user id to each namespace"
        mounts = {m["mountPath"] for m in container["volumeMounts"]}
        assert {"/tmp", HOME} <= mounts  # noqa: S108 - of the container
        assert {"name": "HOME", "value": HOME} in container["env"]


def test_fields_of_the_study_override_the_preset() -> None:
    server, _ = pods(security="restricted", security_context={"runAsUser": 1000, "seccompProfile": {"type": "X"}})
    assert server["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "X"},
        "runAsUser": 1000,
    }


@pytest.mark.parametrize("settings", [{}, {"security_context": {"fsGroup": 5}}, {"security_context": {"runAsUser": 0}}])
def test_root_keeps_its_home(settings: dict[str, Any]) -> None:
    for template in pods(**settings):
        assert HOME not in str(template)


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
    ("nodes", "settings", "shown"),
    [
        ([node("n1")], {}, ()),
        ([node("n1", taint="dedicated")], {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}, ()),
        ([node("n1", taint="nvidia.com/gpu")], {}, ()),
        ([node("n1", taint="nvidia.com/gpu")], {"loadgen_tolerations": []}, ("n1", "nvidia.com/gpu:NoSchedule")),
        ([node("n1")], {"loadgen_node_selector": {"name": "n2"}}, ("n1", "name=n2")),
        ([node("n1")], {"loadgen_cpu": "9"}, ("cpu 9", "8")),
        ([node("n1")], {"loadgen_cpu": "3"}, ("n1",)),
        ([node("n1"), node("n2")], {"loadgen_cpu": "3"}, ()),
        ([node("n1"), node("n2", cpu="2")], {"loadgen_cpu": "3"}, ("n1",)),
    ],
)
def test_room_for_server_and_load_generator(
    nodes: list[dict[str, Any]], settings: dict[str, Any], shown: tuple[str, ...]
) -> None:
    """The server requests 6 CPUs. ``shown``: names and numbers in the check's detail, without which it passes."""
    parsed = KubernetesSettings.model_validate({"loadgen_image": "l:1", **settings})
    usable = tuple(n for n in nodes if not kubernetes_nodes.why_not(n, parsed))
    checks = capacity.load_room(Nodes(usable=usable, all_nodes=tuple(nodes)), [{"cpu": "6"}], parsed)
    assert [(c.name, c.status) for c in checks] == ([("load generator", CheckStatus.FAIL)] if shown else [])
    for check in checks:
        assert all(text in check.detail for text in shown)
        assert ("n2" in check.detail) == ("name=n2" in shown), "a node that cannot hold the server is not named"


@pytest.mark.parametrize(
    ("settings", "shown", "remedy"),
    [
        ({"node_selector": {"name": "n2"}}, "name=n2", ["node_selector", "tolerations"]),
        ({"gpu_resource": "amd.com/gpu"}, "amd.com/gpu", ["gpu_resource"]),
        ({"gpu_resource": "amd.com/gpu", "gpus": 2}, "", []),
        ({}, "", []),
    ],
)
def test_reason_for_missing_gpus(settings: dict[str, Any], shown: str, remedy: list[str]) -> None:
    parsed = KubernetesSettings.model_validate(settings)
    why = kubernetes_nodes.why_not(node("n1"), parsed)
    nodes = Nodes(usable=() if why else (node("n1"),), left_out=(f"n1: {why}",) if why else ())
    hardware = kubernetes_nodes.hardware(nodes, parsed)
    assert shown in hardware.no_gpus
    assert bool(shown) == bool(hardware.no_gpus) == bool(hardware.no_gpus_remedy)
    assert re.findall(r"\bdeploy\.(\w+)", hardware.no_gpus_remedy) == remedy
    assert "deploy." not in hardware.no_gpus, "the remedy is not part of the reason"
    assert not {"no_gpus", "no_gpus_remedy"} & hardware.model_dump().keys(), "constraints do not know these names"


def test_quota_must_hold_server_and_load_generator() -> None:
    settings = KubernetesSettings(loadgen_cpu="1", loadgen_memory="1Gi")
    needed = capacity.with_load({"requests.cpu": 4.0, "limits.memory": 2.0**30}, settings)
    assert needed["requests.cpu"] == 5.0
    assert needed["limits.memory"] == needed["requests.memory"] + 2.0**30
    assert needed["pods"] == 2
    assert capacity.with_load({"requests.cpu": 4.0}, settings.model_copy(update={"load": "direct"})) == {
        "requests.cpu": 4.0
    }
