"""Credentials, strict validation of request bodies, and GPUs that other pods use."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.deployers.kubernetes.client import RefusedError, connected
from autotuner.deployers.shared.failures import UnusableTargetError
from autotuner.study.failure import FATAL, FailureCause, TrialFailedError
from autotuner.testing.fake_plans import fake_plan

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

PATH = "/api/v1/namespaces/default/configmaps"


def config_with(kube: Any, user: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    config: dict[str, Any] = json.loads(kube.cluster.kubeconfig.read_text())
    config["users"][0]["user"] = user
    config["contexts"].append(
        {"name": "other", "context": {**config["contexts"][0]["context"], "namespace": namespace}}
    )
    return config


async def test_credential_plugin(kube: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its token is renewed when it is refused, and no temporary file is left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    token = json.loads(kube.cluster.kubeconfig.read_text())["users"][0]["user"]["token"]
    calls = tmp_path / "calls"
    code = (
        "import json, pathlib; calls = pathlib.Path(__import__('sys').argv[1]);"
        "first = not calls.exists(); calls.open('a').write('x');"
        "token = 'old' if first else __import__('sys').argv[2];"
        "print(json.dumps({'status': {'token': token}}))"
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", code, str(calls), token],
    }
    file = tmp_path / "config"
    file.write_text(json.dumps(config_with(kube, {"exec": plugin}, namespace="elsewhere")))
    settings = kube.deployer(kubeconfig=str(file), context="other").settings
    async with connected(settings) as cluster:
        assert cluster.namespace == "elsewhere", "the namespace of the selected context, not of the current one"
        assert (await cluster.get("/version"))["major"] == "1"
        assert calls.read_text() == "xx"
        assert list(temporary.iterdir()) == []


async def test_refused_token(kube: Any, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(json.dumps(config_with(kube, {"token": "unknown"})))
    async with connected(kube.deployer(kubeconfig=str(file)).settings) as cluster:
        with pytest.raises(RefusedError) as caught:
            await cluster.get("/api/v1/nodes")
    assert caught.value.code == 401
    for gpus in (None, 4):
        deployer = kube.deployer(kubeconfig=str(file), gpus=gpus)
        (check,) = await deployer.preflight([fake_plan()])
        assert (check.name, check.status) == ("kubernetes", "fail")
        with pytest.raises(UnusableTargetError) as unusable:
            await deployer.hardware()
        assert unusable.value.details["cause"] == FailureCause.NOT_ACCEPTED
        with pytest.raises(TrialFailedError) as failed:
            await deployer.gpus()
        assert failed.value.failure.cause is FailureCause.NOT_ACCEPTED
        assert failed.value.failure.cause in FATAL


async def test_unknown_fields_are_refused(kube: Any) -> None:
    async with connected(kube.deployer().settings) as cluster:
        with pytest.raises(RefusedError) as caught:
            await cluster.create(PATH, {"metadata": {"name": "x"}, "no_such_field": 1}, dry_run=True)
    assert caught.value.code == 400
    assert "no_such_field" in caught.value.message


async def test_gpus_in_use_by_other_pods(kube: Any) -> None:
    """A foreign pod uses two of four GPUs: two places remain, with stable names. A cordoned node offers none."""
    container = {
        "name": "c",
        "image": "local/pause:1",
        "imagePullPolicy": "Never",
        "resources": {"limits": {"nvidia.com/gpu": "2"}},
    }
    body = {"metadata": {"name": "foreign"}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    pods = "/api/v1/namespaces/default/pods"
    before = await kube.deployer().gpus()
    kube.cluster.api("POST", pods, json=body).raise_for_status()
    try:
        with anyio.fail_after(30):
            gpus = before
            while not any(gpu.users for gpu in gpus):
                gpus = await kube.deployer().gpus()
        assert [gpu.users for gpu in gpus] == [("pod default/foreign",)] * 2 + [()] * 2
        assert [gpu.uuid for gpu in gpus] == [gpu.uuid for gpu in before]
        assert len({gpu.uuid for gpu in gpus}) == 4
        assert (await kube.deployer().hardware()).gpus == 4
        kube.cluster.cordon()
        assert await kube.deployer().gpus() == []
        assert (await kube.deployer().hardware()).gpus == 0
        assert len(await kube.deployer(gpus=6).gpus()) == 6
    finally:
        kube.cluster.cordon(on=False)
        kube.cluster.api("DELETE", f"{pods}/foreign", params={"gracePeriodSeconds": 0})
