"""A whole trial with the least permissions, as the project's manifest grants them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan

pytestmark = [pytest.mark.anyio, pytest.mark.cluster, pytest.mark.campaign]

MANIFEST = Path(__file__).parents[4] / "packaging" / "rbac-ome.yaml"


@pytest.fixture
def account(at: Any, tmp_path: Path) -> Iterator[Path]:
    """Kubeconfig of the manifest's account in the test's namespace."""
    file = tmp_path / "rbac.yaml"
    config = tmp_path / "kubeconfig"
    file.write_text(MANIFEST.read_text().replace("namespace: autotuner", f"namespace: {at.lab.namespace}"))
    at.cluster.kubectl("apply", "-f", str(file))
    token = at.cluster.kubectl("-n", at.lab.namespace, "create", "token", "autotuner").strip()
    parsed = json.loads(at.cluster.kubeconfig.read_text())
    parsed["users"][0]["user"] = {"token": token}
    config.write_text(json.dumps(parsed))
    yield config
    at.cluster.kubectl("delete", "-f", str(file))


async def test_trial_with_the_least_permissions(at: Any, account: Path, recorder: Recorder) -> None:
    deployer = at.deployer(kubeconfig=str(account))
    assert (await deployer.hardware()).gpus == 4
    assert len(await deployer.gpus()) == 4
    async with deployer.deploy(fake_plan(parallel=3), recorder.context) as endpoint:
        assert "--parallel=3" in endpoint.argv
        before = await endpoint.identity()
        order = json.dumps({"lines": 3}).encode()
        async with endpoint.client.run("autotuner.testing.fake_worker", order, labels=recorder.context.labels) as lines:
            assert len([line async for line in lines]) == 3
        assert await endpoint.identity() == before
    assert await deployer.reap(lambda _: True) == []
    assert at.left() == []
