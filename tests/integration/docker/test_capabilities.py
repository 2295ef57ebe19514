"""Preflight checks of what a real Docker engine would refuse at every launch."""

import io
import json
import shlex
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from autotuner.deployers.docker.deployer import DockerDeployer
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FATAL, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan, telling_plan
from support.labs.docker_engine import OwnEngine

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.usefixtures("nothing_left")]

Make = Callable[..., DockerDeployer]
GetReport = Callable[[str], Awaitable[dict[str, Any]]]

WRONG = [
    ({"network": "no-such-network"}, "network"),
    ({"runtime": "no-such-runtime"}, "runtime"),
    ({"volumes": ["/no/such/folder:/x"]}, "volumes"),
    ({"cpus": 4096.0}, "cpus"),
]


@pytest.mark.parametrize(("settings", "name"), WRONG)
async def test_permanent_refusal_fails_preflight_and_is_fatal(
    make: Make, recorder: Recorder, settings: dict[str, Any], name: str
) -> None:
    (check,) = [c for c in await make(**settings).preflight([fake_plan()]) if c.status is CheckStatus.FAIL]
    assert check.name == name
    assert f"deploy.{name}" in check.remedy
    with pytest.raises(TrialFailedError) as caught:
        async with make(**settings).deploy(fake_plan(), recorder.context):
            pytest.fail("the engine accepts it")
    assert caught.value.failure.cause in FATAL


async def test_preflight_and_launch_agree_on_ulimits(make: Make, recorder: Recorder) -> None:
    """Whether the engine may raise limits depends on the machine."""
    deployer = make(ulimits={"memlock": -1, "nofile": 1 << 30})
    checks = [c for c in await deployer.preflight([fake_plan()]) if c.name == "ulimits"]
    failures = []
    try:
        async with deployer.deploy(fake_plan(), recorder.context):
            pass
    except TrialFailedError as error:
        failures.append(error.failure)
    assert bool(checks) is bool(failures)
    assert all(f.cause in FATAL and "deploy.ulimits" in f.remedy for f in failures), failures


@pytest.fixture
def with_entrypoint(engine: OwnEngine) -> Callable[[list[str]], str]:
    """Creates the test image with an entrypoint."""

    def make_image(entrypoint: list[str]) -> str:
        empty = io.BytesIO()
        tarfile.open(fileobj=empty, mode="w").close()
        name = f"entry-{abs(hash(tuple(entrypoint)))}"
        changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin", f"ENTRYPOINT {json.dumps(entrypoint)}"]
        params: dict[str, Any] = {"fromSrc": "-", "repo": name, "tag": "1", "changes": changes}
        engine.api("POST", "/images/create", params=params, content=empty.getvalue()).raise_for_status()
        return f"{name}:1"

    return make_image


async def test_wrapper_entrypoint_is_kept(
    make: Make, recorder: Recorder, get_report: GetReport, with_entrypoint: Callable[[list[str]], str]
) -> None:
    image = with_entrypoint(["/usr/bin/env", "WRAPPED=yes"])
    plan = telling_plan()
    async with make(image=image, entrypoint="image").deploy(plan, recorder.context) as endpoint:
        assert (await get_report(endpoint.url))["env"]["WRAPPED"] == "yes"
        assert "--entrypoint" not in endpoint.command
    async with make(image=image).deploy(plan, recorder.context) as endpoint:
        assert "WRAPPED" not in (await get_report(endpoint.url))["env"]


async def test_entrypoint_equal_to_the_command_is_not_repeated(
    make: Make, recorder: Recorder, with_entrypoint: Callable[[list[str]], str]
) -> None:
    plan = fake_plan()
    image = with_entrypoint(list(plan.command))
    deployer = make(image=image, entrypoint="image")
    planned = await deployer.command(plan)
    assert planned[planned.index(image) + 1 :] == plan.argv(host="0.0.0.0", port=8000)[len(plan.command) :]
    async with deployer.deploy(plan, recorder.context) as endpoint:
        assert endpoint.argv


async def test_planned_command_is_the_one_that_runs(make: Make, recorder: Recorder, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    plan = fake_plan().model_copy(update={"needs_files": (str(weights),), "gpus": 1})
    deployer = make(model_roots=[str(tmp_path)], gpu_ids=["0"])
    line = shlex.join(await deployer.command(plan))
    assert f"-v {weights}:{weights}:ro" in line
    assert "--gpus" in line
    recorder = Recorder(tmp_path / "trial")
    plan = plan.model_copy(update={"gpus": 0})
    async with deployer.deploy(plan, recorder.context) as endpoint:
        assert endpoint.command == await deployer.command(plan)


async def test_hub_cache_not_writable_for_the_user(make: Make, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    cache.mkdir(mode=0o755)
    plan = LaunchPlan(command=("server",), model="m", hub_models=("org/model",))
    (check,) = [c for c in await make(user="4711", hub_cache=str(cache)).preflight([plan]) if c.name == "hub cache"]
    assert check.status is CheckStatus.FAIL
    assert "4711" in check.detail
    cache.chmod(0o777)
    (check,) = [c for c in await make(user="4711", hub_cache=str(cache)).preflight([plan]) if c.name == "hub cache"]
    assert check.status is CheckStatus.OK
