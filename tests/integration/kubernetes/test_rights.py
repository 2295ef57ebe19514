"""A tenant of a shared cluster: the project's Role in one namespace, and no cluster-wide permissions."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from ruamel.yaml import YAML

from autotuner.deployers.kubernetes.deployer import KubernetesDeployer
from autotuner.study.check import Check, CheckStatus
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

MANIFEST = Path(__file__).parents[3] / "packaging" / "rbac-kubernetes.yaml"

Tenant = Callable[..., KubernetesDeployer]


@pytest.fixture
def tenant(kube: Any, tmp_path: Path) -> Iterator[Tenant]:
    """Makes a deployer for a new namespace, with the rules of the project's Role that ``keep`` selects.

    It has no ClusterRole.
    """
    name = f"tenant-{uuid4().hex[:8]}"

    def deployer(*, labels: Any = None, keep: Callable[[Any], bool] = lambda _: True) -> KubernetesDeployer:
        body = {"metadata": {"name": name, "labels": labels or {}}}
        kube.cluster.api("POST", "/api/v1/namespaces", json=body).raise_for_status()
        text = MANIFEST.read_text().replace("namespace: autotuner", f"namespace: {name}")
        manifests = [m for m in YAML(typ="safe").load_all(text) if not m["kind"].startswith("Cluster")]
        for manifest in manifests:
            if "rules" in manifest:
                manifest["rules"] = [rule for rule in manifest["rules"] if keep(rule)]
            kube.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        token = kube.cluster.kubectl("-n", name, "create", "token", "autotuner").strip()
        config = json.loads(kube.cluster.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(config))
        return kube.deployer(kubeconfig=str(file), namespace=name, gpus=4)  # type: ignore[no-any-return]

    yield deployer
    kube.cluster.api("DELETE", f"/api/v1/namespaces/{name}")


async def allowed(deployer: KubernetesDeployer) -> list[Check]:
    """Returns the preflight checks, once the API server has applied the new Role."""
    with anyio.fail_after(30):
        while True:
            checks = await deployer.preflight([fake_plan().model_copy(update={"gpus": 1})])
            if not any(c.name == "rights" and c.status is CheckStatus.FAIL for c in checks):
                return checks


async def test_trial_with_permissions_in_one_namespace(kube: Any, tenant: Tenant, recorder: Recorder) -> None:
    """Nodes may not be listed, so the study gives the number of GPUs; the preflight only warns."""
    deployer = tenant()
    checks = await allowed(deployer)
    assert [c for c in checks if c.status is CheckStatus.FAIL] == []
    assert {c.name for c in checks if c.status is CheckStatus.WARN} == {"rights", "nodes"}
    assert (await deployer.hardware()).gpus == 4
    assert len(await deployer.gpus()) == 4
    plan = kube.polite(fake_plan()).model_copy(update={"gpus": 1})
    async with deployer.deploy(plan, recorder.context) as endpoint:
        await endpoint.identity()
        run = endpoint.client.run("autotuner.testing.fake_worker", b'{"lines": 2}', labels=recorder.context.labels)
        async with run as lines:
            assert len([line async for line in lines]) == 2
    assert await deployer.reap(lambda _: True) == []


async def test_refusal_is_predicted_without_permission_to_create_pods(tenant: Tenant) -> None:
    """The API server warns about the pod in the dry run of its Job."""
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    deployer = tenant(labels=enforce, keep=lambda rule: rule["verbs"] not in (["create"], ["patch"]))
    checks = await allowed(deployer)
    failed = [c for c in checks if c.status is CheckStatus.FAIL]
    assert [(c.name, c.detail.partition(":")[0]) for c in failed] == [
        ("admission", "server"),
        ("admission", "load generator"),
    ]
    assert all("PodSecurity" in c.detail and "deploy.security: restricted" in c.remedy for c in failed)
    unchecked = [c for c in checks if c.name == "admission" and c.status is CheckStatus.WARN]
    assert [c.detail.partition(":")[0] for c in unchecked if "create pods" in c.detail] == ["server", "load generator"]
    recommended = next(c.detail for c in checks if c.name == "rights" and c.status is CheckStatus.WARN)
    assert "create pods" in recommended
    assert "patch jobs" in recommended
