"""Room for servers and load generators on nodes and in quotas."""

import re
from typing import Any

import pytest

from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.checks import capacity
from autotuner.deployers.kubernetes.nodes import Nodes
from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.study.check import CheckStatus


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
