"""A tenant of a shared cluster: the project's Role in one namespace, and nothing of the whole cluster."""

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
    """Makes a deployer that has the Role of the project's manifest in a namespace of its own, as far as ``keep`` wants
    each rule, and no ClusterRole."""
    name = f"tenant-{uuid4().hex[:8]}"

    def deployer(*, labels: Any = None, keep: Callable[[Any], bool] = lambda _: True) -> KubernetesDeployer:
        body = {"metadata": {"name": name, "labels": labels or {}}}
        kube.cluster.api("POST", "/api/v1/namespaces", json=body).raise_for_status()
        text = MANIFEST.read_text().replace("namespace: autotuner", f"namespace: {name}")
        things = [t for t in YAML(typ="safe").load_all(text) if not t["kind"].startswith("Cluster")]
        for thing in things:
            thing.update({"rules": [rule for rule in thing["rules"] if keep(rule)]} if "rules" in thing else {})
            kube.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
        token = kube.cluster.kubectl("-n", name, "create", "token", "autotuner").strip()
        config = json.loads(kube.cluster.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(config))
        return kube.deployer(kubeconfig=str(file), namespace=name, gpus=4)  # type: ignore[no-any-return]

    yield deployer
    kube.cluster.api("DELETE", f"/api/v1/namespaces/{name}")


async def allowed(deployer: KubernetesDeployer) -> list[Check]:
    """What the preflight says, once the API server knows the new Role."""
    with anyio.fail_after(30):
        while True:
            checks = await deployer.preflight([fake_plan().model_copy(update={"gpus": 1})])
            if not any(c.name == "rights" and c.status is CheckStatus.FAIL for c in checks):
                return checks


async def test_a_trial_with_rights_in_one_namespace(kube: Any, tenant: Tenant, recorder: Recorder) -> None:
    """Nodes may not be listed, so the study says how many GPUs there are; the preflight only warns."""
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


async def test_a_refusal_is_foreseen_without_the_right_to_try_a_pod(tenant: Tenant) -> None:
    """From the warning that the dry run of the Job is answered with."""
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    deployer = tenant(labels=enforce, keep=lambda rule: rule["verbs"] not in (["create"], ["patch"]))
    checks = await allowed(deployer)
    told = [c for c in checks if c.status is CheckStatus.FAIL]
    assert [c.detail.partition(":")[0] for c in told] == ["server", "load generator"]
    assert all("Pod Security" in c.detail and "deploy.security: restricted" in c.remedy for c in told)
    assert sum("create pods is not allowed" in c.detail for c in checks) == 2
    better = next(c.detail for c in checks if c.name == "rights" and c.status is CheckStatus.WARN)
    assert "create pods" in better
    assert "patch jobs" in better
