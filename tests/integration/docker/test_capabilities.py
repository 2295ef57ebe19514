"""What an engine would refuse at every launch is known before the first, and asked for once: on a real engine."""

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
Tells = Callable[[str], Awaitable[dict[str, Any]]]

WRONG = [
    ({"network": "no-such-network"}, "network"),
    ({"runtime": "no-such-runtime"}, "runtime"),
    ({"volumes": ["/no/such/folder:/x"]}, "volumes"),
    ({"cpus": 4096.0}, "cpus"),
]


@pytest.mark.parametrize(("settings", "name"), WRONG)
async def test_a_permanent_refusal_is_foreseen_and_never_tried_again(
    make: Make, recorder: Recorder, settings: dict[str, Any], name: str
) -> None:
    (check,) = [c for c in await make(**settings).preflight([fake_plan()]) if c.status is CheckStatus.FAIL]
    assert check.name == name
    assert f"deploy.{name}" in check.remedy
    with pytest.raises(TrialFailedError) as caught:
        async with make(**settings).deploy(fake_plan(), recorder.context):
            pytest.fail("the engine takes it")
    assert caught.value.failure.cause in FATAL


async def test_limits_are_foreseen_as_the_engine_takes_them(make: Make, recorder: Recorder) -> None:
    """Whether this machine's engine may raise limits or not: preflight and launch agree."""
    deployer = make(ulimits={"memlock": -1, "nofile": 1 << 30})
    foreseen = [c for c in await deployer.preflight([fake_plan()]) if c.name == "ulimits"]
    failures = []
    try:
        async with deployer.deploy(fake_plan(), recorder.context):
            pass
    except TrialFailedError as error:
        failures.append(error.failure)
    assert bool(foreseen) is bool(failures)
    assert all(f.cause in FATAL and "deploy.ulimits" in f.remedy for f in failures), failures


@pytest.fixture
def with_entrypoint(engine: OwnEngine) -> Callable[[list[str]], str]:
    """The test image with an entrypoint of its own."""

    def make_image(words: list[str]) -> str:
        empty = io.BytesIO()
        tarfile.open(fileobj=empty, mode="w").close()
        name = f"entry-{abs(hash(tuple(words)))}"
        told = ["ENV PATH=/usr/local/bin:/usr/bin:/bin", f"ENTRYPOINT {json.dumps(words)}"]
        params: dict[str, Any] = {"fromSrc": "-", "repo": name, "tag": "1", "changes": told}
        engine.api("POST", "/images/create", params=params, content=empty.getvalue()).raise_for_status()
        return f"{name}:1"

    return make_image


async def test_an_entrypoint_that_wraps_the_command_is_kept(
    make: Make, recorder: Recorder, tells: Tells, with_entrypoint: Callable[[list[str]], str]
) -> None:
    image = with_entrypoint(["/usr/bin/env", "WRAPPED=yes"])
    plan = telling_plan()
    async with make(image=image, entrypoint="image").deploy(plan, recorder.context) as endpoint:
        assert (await tells(endpoint.url))["env"]["WRAPPED"] == "yes"
        assert "--entrypoint" not in endpoint.command
    async with make(image=image).deploy(plan, recorder.context) as endpoint:
        assert "WRAPPED" not in (await tells(endpoint.url))["env"]


async def test_an_entrypoint_that_is_the_engines_command_is_not_repeated(
    make: Make, recorder: Recorder, with_entrypoint: Callable[[list[str]], str]
) -> None:
    plan = fake_plan()
    image = with_entrypoint(list(plan.command))
    deployer = make(image=image, entrypoint="image")
    planned = await deployer.command(plan)
    assert planned[planned.index(image) + 1 :] == plan.argv(host="0.0.0.0", port=8000)[len(plan.command) :]
    async with deployer.deploy(plan, recorder.context) as endpoint:
        assert endpoint.argv


async def test_the_planned_line_is_the_one_that_is_run(make: Make, recorder: Recorder, tmp_path: Path) -> None:
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


async def test_a_user_who_cannot_write_to_the_hub_cache(make: Make, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    cache.mkdir(mode=0o755)
    plan = LaunchPlan(command=("server",), model="m", hub_models=("org/model",))
    (check,) = [c for c in await make(user="4711", hub_cache=str(cache)).preflight([plan]) if c.name == "hub cache"]
    assert check.status is CheckStatus.FAIL
    assert "4711" in check.detail
    cache.chmod(0o777)
    (check,) = [c for c in await make(user="4711", hub_cache=str(cache)).preflight([plan]) if c.name == "hub cache"]
    assert check.status is CheckStatus.OK
