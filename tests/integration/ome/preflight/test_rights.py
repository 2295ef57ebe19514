"""Permission checks with the project's manifests: complete, without one verb each, and without any permission."""

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from autotuner.deployers.kubernetes import preflight
from autotuner.deployers.kubernetes.checks import access
from autotuner.deployers.kubernetes.checks.access import Right
from autotuner.deployers.kubernetes.client import connected
from autotuner.deployers.kubernetes.deployer import KubernetesDeployer
from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.ome import preflight as ome_preflight
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.study.check import Check, CheckStatus
from autotuner.study.launch import LaunchPlan
from support.labs.cluster import OwnCluster
from support.labs.cluster_parts import User
from support.ome_standin import OmeStandIn

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

PACKAGING = Path(__file__).parents[4] / "packaging"
Object = dict[str, Any]
Look = Callable[..., Awaitable[list[Check]]]


async def test_without_permissions(look: Look, ome_cluster: OwnCluster) -> None:
    """Checks without permission are reported, and do not hide others."""
    checks = await look(kubeconfig=ome_cluster.kubeconfig_for(User.GUEST))
    missing = next(c.detail for c in checks if c.name == "rights" and c.status is CheckStatus.FAIL)
    for verb in ("create inferenceservices (ome.io)", "watch deployments (apps)", "list nodes", "create secrets"):
        assert verb in missing
    recommended = next(c.detail for c in checks if c.name == "rights" and c.status is CheckStatus.WARN)
    assert "get clusterbasemodels (ome.io)" in recommended, "a model may belong to the namespace"
    unchecked = {c.name: c.detail for c in checks if c.detail.startswith("not checked")}
    assert unchecked["ome manager"] == "not checked: get deployments (apps) is not allowed"
    assert {"model", "runtime", "ome webhooks", "ome ingress", "model agent", "left behind"} <= unchecked.keys()
    assert all(c.status is CheckStatus.WARN for c in checks if c.name in unchecked)


@pytest.fixture(scope="module")
def namespace(ome_cluster: OwnCluster) -> Iterator[str]:
    """The namespace of the manifests."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "autotuner"}}
    ome_cluster.api("POST", "/api/v1/namespaces", json=space).raise_for_status()
    yield "autotuner"
    ome_cluster.api("DELETE", "/api/v1/namespaces/autotuner")


@pytest.fixture
def applied(
    ome_cluster: OwnCluster, ome: OmeStandIn, namespace: str, tmp_path: Path
) -> Iterator[Callable[[str], Path]]:
    """Applies one of the project's manifests unchanged, and returns the kubeconfig of its account."""
    files: list[str] = []

    def apply(name: str) -> Path:
        files.append(str(PACKAGING / name))
        ome_cluster.kubectl("apply", "-f", files[-1])
        token = ome_cluster.kubectl("-n", namespace, "create", "token", "autotuner").strip()
        config = json.loads(ome_cluster.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        return path

    yield apply
    for file in files:
        ome_cluster.kubectl("delete", "-f", file)


async def test_least_permissions(look: Look, applied: Callable[[str], Path]) -> None:
    kubeconfig = applied("rbac-ome.yaml")
    checks = await look(kubeconfig=kubeconfig, namespace="autotuner")
    while any(
        c.name == "rights" and c.status is not CheckStatus.OK for c in checks
    ):  # the authorizer takes a moment to see the role
        checks = await look(kubeconfig=kubeconfig, namespace="autotuner")
    assert {c.status for c in checks} == {CheckStatus.OK}


async def test_least_permissions_of_jobs(applied: Callable[[str], Path]) -> None:
    given = {"kubeconfig": str(applied("rbac-kubernetes.yaml")), "namespace": "autotuner", "image": "x"}
    deployer = KubernetesDeployer(KubernetesSettings.model_validate({**given, "loadgen_image": "x"}))
    checks = await deployer.preflight([LaunchPlan(command=("x",), model="m", gpus=1)])
    while any(c.name == "rights" and c.status is not CheckStatus.OK for c in checks):
        checks = await deployer.preflight([LaunchPlan(command=("x",), model="m", gpus=1)])
    assert {c.status for c in checks} == {CheckStatus.OK}


async def rights(kubeconfig: Path, wanted: list[Right]) -> dict[CheckStatus, str]:
    async with connected(OmeSettings(kubeconfig=str(kubeconfig), namespace="autotuner")) as cluster:
        return {c.status: c.detail for c in await access.rights(cluster, wanted)}


def granted_by(thing: Object, rule: Object, verb: str, right: Right) -> bool:
    """Whether a verb of a rule grants this permission."""
    where = right.namespace or "autotuner"
    return (
        (right.verb, right.cluster_wide) == (verb, thing["kind"] == "ClusterRole")
        and right.group in rule["apiGroups"]
        and right.resource in rule["resources"]
        and where == thing["metadata"].get("namespace", where)
    )


def without(thing: Object, number: int, verb: str) -> Object:
    """Returns the role without one verb of one rule."""
    rules = [
        {**rule, "verbs": [v for v in rule["verbs"] if (i, v) != (number, verb)]}
        for i, rule in enumerate(thing["rules"])
    ]
    return {**thing, "rules": [rule for rule in rules if rule["verbs"]]}


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["rbac-ome.yaml", "rbac-kubernetes.yaml"])
async def test_each_missing_permission_is_reported(
    name: str, applied: Callable[[str], Path], ome_cluster: OwnCluster
) -> None:
    """Removes each verb of the manifest alone; exactly the permissions that it grants are reported."""
    kubeconfig = applied(name)
    reported = set[Right]()
    of_jobs = preflight.needed_rights(KubernetesSettings(loadgen_image="x"))
    wanted = ome_preflight.needed_rights(OmeSettings()) if "ome" in name else of_jobs
    roles = [thing for thing in YAML(typ="safe").load_all(PACKAGING / name) if "rules" in thing]
    for role, number, verb in [(r, i, v) for r in roles for i, rule in enumerate(r["rules"]) for v in rule["verbs"]]:
        while set(await rights(kubeconfig, wanted)) != {CheckStatus.OK}:
            pass
        missing = [right for right in wanted if granted_by(role, role["rules"][number], verb, right)]
        if not missing:
            continue
        ome_cluster.kubectl("apply", "-f", "-", stdin=json.dumps(without(role, number, verb)))
        details: dict[CheckStatus, str] = {}
        while set(details) <= {CheckStatus.OK}:
            details = await rights(kubeconfig, wanted)
        lacking = {need: ", ".join(r.text for r in missing if r.needed is need) for need in (True, False)}
        for need, status in ((True, CheckStatus.FAIL), (False, CheckStatus.WARN)):
            assert details.get(status, ": ").partition(": ")[2] == lacking[need]
        reported |= set(missing)
        ome_cluster.kubectl("apply", "-f", "-", stdin=json.dumps(role))
    assert reported == set(wanted), "the manifest grants every permission that is checked"
