"""Objects that a trial creates in a cluster, locations of models, and nodes."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.deployers.kubernetes import model_location, trial_objects
from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.nodes import Nodes
from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.kubernetes.trial_objects import Load, ServerJob
from autotuner.errors import UsageError
from autotuner.manifests.text import amount
from autotuner.study.launch import Flag, Labels, LaunchPlan
from autotuner.study.spec import Model

LABELS = Labels(study="A.study-", trial=12, owner="o" * 32)
DNS = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
STUDIES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)


def launch(plan: LaunchPlan | None = None, **settings: Any) -> ServerJob:
    plan = plan or LaunchPlan(command=("serve", "$(X)"), flags=(Flag(name="--a", value="b c"),), model="m")
    return ServerJob(plan, KubernetesSettings.model_validate(settings), "i:1", "at-x-1-abc", LABELS)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


@given(STUDIES, st.integers(min_value=0, max_value=10**6))
def test_names_are_unique_dns_labels(study: str, trial: int) -> None:
    first, second = (trial_objects.unique_name(study, trial) for _ in range(2))
    assert first != second
    assert DNS.fullmatch(first)
    assert len(first) <= 48


def test_server_job() -> None:
    job = launch(memory="1Gi", cpu=2, service_account="sa", kueue_queue="q").job()
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "q"
    assert job["spec"]["backoffLimit"] == 0
    assert job["metadata"]["annotations"]["autotuner/study"] == "A.study-"
    pod = pod_of(job)
    assert pod["restartPolicy"] == "Never"
    (server,) = pod["containers"]
    assert server["command"] == ["serve"]
    assert server["args"] == ["$$(X)", "--a", "b c", "--host", "0.0.0.0", "--port", "8000"]
    assert server["resources"] == {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in server["env"]
    assert "tolerations" not in pod


def test_gpus_are_requests_and_limits() -> None:
    plan = LaunchPlan(command=("serve",), model="m", gpus=4)
    pod = pod_of(launch(plan, gpu_resource="amd.com/gpu").job())
    resources = pod["containers"][0]["resources"]
    assert resources == {"requests": {"amd.com/gpu": "4"}, "limits": {"amd.com/gpu": "4"}}
    assert pod["tolerations"] == [{"key": "amd.com/gpu", "operator": "Exists"}]
    assert "NVIDIA_VISIBLE_DEVICES" not in [e["name"] for e in pod["containers"][0]["env"]]


def test_hub_token_is_a_reference() -> None:
    plan = LaunchPlan(command=("serve",), model="m", hub_models=("a/b",))
    pod = pod_of(launch(plan, cache_pvc="cache", hub_token_secret={"name": "hub"}).job())
    (token,) = [e for e in pod["containers"][0]["env"] if e["name"] == "HF_TOKEN"]
    assert token["valueFrom"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert {"name": "HF_HOME", "value": "/hub-cache"} in pod["containers"][0]["env"]
    assert {"name": "hub-cache", "persistentVolumeClaim": {"claimName": "cache"}} in pod["volumes"]


def test_load_objects_are_owned_by_the_server() -> None:
    owner = trial_objects.owner_of({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "at-s", "uid": "u"}})
    load = Load("some.module", KubernetesSettings(), "at-l", LABELS, owner)
    secrets = load.secrets([b"one", b"two"])
    job = load.job([s["metadata"]["name"] for s in secrets], "i:1")
    for created in (job, *secrets):
        assert created["metadata"]["ownerReferences"] == [owner]
        assert created["metadata"]["labels"]["autotuner/server"] == "at-s"
    assert pod_of(job)["volumes"][0]["projected"]["sources"] == [
        {"secret": {"name": "at-l-0"}},
        {"secret": {"name": "at-l-1"}},
    ]
    assert len({name for s in secrets for name in s["data"]}) == 2


@pytest.mark.parametrize(
    ("settings", "path", "located"),
    [
        ({"pvc": {"claim": "c"}}, "llama", "/models/llama"),
        ({"pvc": {"claim": "c"}}, "org/llama", "/models/org/llama"),
        ({"pvc": {"claim": "c", "mount_path": "/m"}}, "/m/llama", "/m/llama"),
        ({"model_roots": ["/data", "/more"]}, "llama", "/data/llama"),
        ({"model_roots": ["/data", "/more"]}, "/more/x/llama", "/more/x/llama"),
        ({"model_roots": ["/data"]}, "org/llama", "org/llama"),
        ({}, "llama", "llama"),
    ],
)
def test_model_locations(settings: dict[str, Any], path: str, located: str) -> None:
    model = model_location.locate(Model(path=path), KubernetesSettings.model_validate(settings))
    assert model.path == located
    assert model.name == (None if located == path else path)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({}, "/etc/passwd"),
        ({"model_roots": ["/data"]}, "/data/../etc"),
        ({"model_roots": ["/data"]}, "/database/x"),
        ({"pvc": {"claim": "c"}}, "/data/x"),
        ({}, "../x"),
        ({}, "~/x"),
    ],
)
def test_refused_model_locations(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(UsageError) as caught:
        model_location.locate(Model(path=path), KubernetesSettings.model_validate(settings))
    assert [(problem.where, problem.value) for problem in caught.value.problems] == [("model.path", path)]


@pytest.mark.parametrize(
    ("text", "number"), [("500m", 0.5), ("4", 4), (4, 4), ("1Gi", 2**30), ("1G", 1e9), ("1.5Ki", 1536), ("2M", 2e6)]
)
def test_quantities(text: str | int, number: float) -> None:
    assert amount(text) == number


def node(name: str, gpus: int = 4, **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"zone": name}},
        "spec": changes.pop("spec", {}),
        "status": {
            "conditions": [{"type": "Ready", "status": changes.pop("ready", "True")}],
            "allocatable": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": str(gpus), **changes},
        },
    }


TAINT = {"spec": {"taints": [{"key": "dedicated", "value": "x", "effect": "NoSchedule"}]}}
NOT_TOLERATED = "dedicated:NoSchedule"
FOR_GPUS = {"spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]}}


@pytest.mark.parametrize(
    ("candidate", "settings", "shown"),
    [
        (node("a"), {}, ""),
        (node("a", spec={"unschedulable": True}), {}, "cordoned"),
        (node("a", ready="Unknown"), {}, "not ready"),
        (node("a"), {"node_selector": {"zone": "b"}}, "zone=b"),
        (node("a", **TAINT), {}, NOT_TOLERATED),
        (node("a", **TAINT), {"tolerations": [{"key": "dedicated", "value": "x"}]}, ""),
        (node("a", **TAINT), {"tolerations": [{"key": "dedicated", "value": "y"}]}, NOT_TOLERATED),
        (node("a", **TAINT), {"tolerations": [{"operator": "Exists"}]}, ""),
        (node("a", **FOR_GPUS), {}, ""),
    ],
)  # fmt: skip
def test_usable_nodes(candidate: dict[str, Any], settings: dict[str, Any], shown: str) -> None:
    """``shown``: part of the reason why the node is not usable; empty if it is."""
    reason = kubernetes_nodes.why_not(candidate, KubernetesSettings.model_validate(settings))
    assert shown in reason
    assert bool(shown) == bool(reason)


def test_hardware_is_that_of_one_node() -> None:
    settings = KubernetesSettings(memory="16Gi")
    nodes = Nodes((node("a", 2), node("b", 4)), foreign={"b": [("pod x/y", 1)]}, cluster="c")
    hardware = kubernetes_nodes.hardware(nodes, settings)
    assert (hardware.gpus, hardware.cpus, hardware.memory_gb) == (4, 8, 16)
    places = kubernetes_nodes.places(nodes, settings)
    assert [(gpu.uuid, bool(gpu.users)) for gpu in places] == [
        ("kube:c:a:0", False),
        ("kube:c:a:1", False),
        ("kube:c:b:0", True),
        ("kube:c:b:1", False),
        ("kube:c:b:2", False),
        ("kube:c:b:3", False),
    ]
    assert not any(gpu.users for gpu in kubernetes_nodes.places(nodes, KubernetesSettings(kueue_queue="q")))


@pytest.mark.parametrize(
    ("gpus", "memory", "shown"),
    [(4, "1Gi", set()), (6, "1Gi", {"nvidia.com/gpu", "6", "4"}), (1, "64Gi", {"memory", "64Gi", "32.0Gi"})],
)
def test_requests_that_no_node_can_hold(gpus: int, memory: str, shown: set[str]) -> None:
    """``shown``: resource, requested amount and largest amount of a node, in the reason."""
    nodes = Nodes((node("a", 2), node("b", 4)))
    plan = LaunchPlan(command=("serve",), model="m", gpus=gpus)
    reason = kubernetes_nodes.never_fits(nodes, launch(plan, memory=memory).resources()["requests"])
    assert shown <= set(re.split(r"[ ,;:]+", reason))
    assert bool(shown) == bool(reason)
