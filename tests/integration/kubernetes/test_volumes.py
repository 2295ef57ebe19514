"""Models in volumes: a claim that holds them, and one that keeps what a hub was asked for."""

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

ENDS = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(0))"
COMMON = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
SIZE = {"storage": "1Gi"}
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"


@pytest.fixture
def claim(kube: Any, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a claim on a folder of this machine, which is the node too."""
    api = kube.cluster.api
    made = list[str]()

    def bound(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(mode=0o777)
        spec = {**COMMON, "capacity": SIZE, "hostPath": {"path": str(folder)}}
        body: dict[str, Any] = {"metadata": {"name": name}, "spec": spec}
        api("POST", "/api/v1/persistentvolumes", json=body).raise_for_status()
        body = {"metadata": {"name": name}, "spec": {**COMMON, "resources": {"requests": SIZE}, "volumeName": name}}
        api("POST", CLAIMS, json=body).raise_for_status()
        made.append(name)
        number = count()
        headers = {"Content-Type": "application/merge-patch+json"}

        def is_bound() -> bool:
            """Any news of the claim makes its controller look again; by itself it does so every 15 s."""
            news = {"metadata": {"annotations": {"looked": str(next(number))}}}
            told = api("PATCH", f"{CLAIMS}/{name}", json=news, headers=headers).json()
            return bool(told["status"]["phase"] == "Bound")

        eventually(is_bound)
        return folder

    yield bound
    for name in made:
        api("DELETE", f"{CLAIMS}/{name}")
        api("DELETE", f"/api/v1/persistentvolumes/{name}")


async def told_by(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer: dict[str, Any] = (await client.get(url)).json()
    return answer


async def test_a_model_in_a_claim(kube: Any, recorder: Recorder, claim: Callable[[str], Path]) -> None:
    folder = claim("models")
    (folder / "all" / "m").mkdir(parents=True)
    (folder / "all" / "m" / "config.json").write_text(json.dumps({"a": 1}))
    file = "/models/m/config.json"
    look = f"told = {{'seen': open({file!r}).read(), 'writable': os.access({file!r}, os.W_OK)}}\n{ENDS}"
    plan = telling_plan(look, needs_files=("/models/m",))
    deployer = kube.deployer(pvc={"claim": "models", "sub_path": "all"})
    assert [c for c in await deployer.preflight([plan]) if c.status == "fail"] == []
    async with deployer.deploy(plan, recorder.context) as endpoint:
        told = await told_by(endpoint.url)
    assert (told["seen"], told["writable"]) == ('{"a": 1}', False)


async def test_what_a_hub_gave_is_kept_for_the_next_trial(
    kube: Any, tmp_path: Path, claim: Callable[[str], Path]
) -> None:
    claim("hub")
    look = (
        "import pathlib\nmark = pathlib.Path(os.environ['HF_HOME']) / 'fetched'\n"
        f"told = {{'before': mark.exists()}}\nmark.write_text('x')\n{ENDS}"
    )
    plan = telling_plan(look, hub_models=("org/model",))
    seen = []
    for number in range(2):
        async with kube.deployer(cache_pvc="hub").deploy(plan, Recorder(tmp_path / str(number)).context) as endpoint:
            seen.append((await told_by(endpoint.url))["before"])
    assert seen == [False, True]


async def test_a_claim_that_is_not_there(kube: Any) -> None:
    checks = await kube.deployer(pvc={"claim": "nope"}).preflight([telling_plan(needs_files=("/models/m",))])
    (wrong,) = [c for c in checks if c.status == "fail"]
    assert (wrong.name, "nope does not exist" in wrong.detail, bool(wrong.remedy)) == ("volume", True, True)
