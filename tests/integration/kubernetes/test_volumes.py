"""PersistentVolumeClaims that contain models, or cache downloads from the Hub."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import telling_plan
from support.ome_standin.lab import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.cluster, pytest.mark.campaign]

ENDS_ON_SIGTERM = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))"
COMMON = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
SIZE = {"storage": "1Gi"}
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"


@pytest.fixture
def claim(kube: Any, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Creates claims for folders of this machine, which is also the node."""
    api = kube.cluster.api
    names = list[str]()

    def bound(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(mode=0o777)
        spec = {**COMMON, "capacity": SIZE, "hostPath": {"path": str(folder)}}
        body: dict[str, Any] = {"metadata": {"name": name}, "spec": spec}
        api("POST", "/api/v1/persistentvolumes", json=body).raise_for_status()
        body = {"metadata": {"name": name}, "spec": {**COMMON, "resources": {"requests": SIZE}, "volumeName": name}}
        api("POST", CLAIMS, json=body).raise_for_status()
        names.append(name)
        number = count()
        headers = {"Content-Type": "application/merge-patch+json"}

        def is_bound() -> bool:
            # A change of the claim makes its controller process it at once instead of every 15 s.
            change = {"metadata": {"annotations": {"changed": str(next(number))}}}
            claim = api("PATCH", f"{CLAIMS}/{name}", json=change, headers=headers).json()
            return bool(claim["status"]["phase"] == "Bound")

        eventually(is_bound)
        return folder

    yield bound
    for name in names:
        api("DELETE", f"{CLAIMS}/{name}")
        api("DELETE", f"/api/v1/persistentvolumes/{name}")


async def report_of(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as client:
        report: dict[str, Any] = (await client.get(url)).json()
    return report


async def test_model_in_a_claim(kube: Any, recorder: Recorder, claim: Callable[[str], Path]) -> None:
    folder = claim("models")
    (folder / "all" / "m").mkdir(parents=True)
    (folder / "all" / "m" / "config.json").write_text(json.dumps({"a": 1}))
    file = "/models/m/config.json"
    code = f"extra = {{'seen': open({file!r}).read(), 'writable': os.access({file!r}, os.W_OK)}}\n{ENDS_ON_SIGTERM}"
    plan = telling_plan(code, needs_files=("/models/m",))
    deployer = kube.deployer(pvc={"claim": "models", "sub_path": "all"})
    assert [c for c in await deployer.preflight([plan]) if c.status == "fail"] == []
    async with deployer.deploy(plan, recorder.context) as endpoint:
        report = await report_of(endpoint.url)
    assert (report["seen"], report["writable"]) == ('{"a": 1}', False)


async def test_hub_cache_is_kept_for_the_next_trial(kube: Any, tmp_path: Path, claim: Callable[[str], Path]) -> None:
    claim("hub")
    code = (
        "import pathlib\nmark = pathlib.Path(os.environ['HF_HOME']) / 'downloaded'\n"
        f"extra = {{'before': mark.exists()}}\nmark.write_text('x')\n{ENDS_ON_SIGTERM}"
    )
    plan = telling_plan(code, hub_models=("org/model",))
    downloaded_before = []
    for number in range(2):
        async with kube.deployer(cache_pvc="hub").deploy(plan, Recorder(tmp_path / str(number)).context) as endpoint:
            downloaded_before.append((await report_of(endpoint.url))["before"])
    assert downloaded_before == [False, True]


async def test_missing_claim(kube: Any) -> None:
    checks = await kube.deployer(pvc={"claim": "nope"}).preflight([telling_plan(needs_files=("/models/m",))])
    (failed,) = [c for c in checks if c.status == "fail"]
    assert failed.name == "volume"
    assert {"nope", "default"} <= set(failed.detail.split()), "claim and namespace"
    assert failed.remedy
